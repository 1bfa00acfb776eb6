/* admission.c: where a request goes, whether it may go on, and its request id. */
#include "fake.h"

#define F(n, v)                                                                  \
    (struct header_field)                                                        \
    {                                                                            \
        .name = (n), .name_len = strlen(n), .value = (v), .value_len = strlen(v) \
    }

struct head {
    const char *method, *target;
    struct header_field field;
    int64_t body_bytes;
    enum failure_kind malformed;
};

static struct relay *ask(const struct head *h)
{
    static struct header_field fields[2];
    struct relay *r = relay_new(&ctx, &fake.sink, h->target);

    fields[0] = F("Host", "localhost");
    fields[1] = h->field;
    admission_on_head(
        r,
        &(struct admission_request){
            .method = h->method,
            .fields = fields,
            .count = h->field.name == NULL ? 1 : 2,
            .check = { .kind = h->malformed, .why = "because", .body_bytes = h->body_bytes } });
    return r;
}

static void each_request_goes_where_it_belongs(void **state)
{
    static const struct {
        struct head head;
        enum relay_phase phase;
        enum failure_kind failure;
    } cases[] = {
        { { "GET", "/chains", { 0 }, 0, FAIL_NONE }, RELAY_SENDING, FAIL_NONE },
        { { "POST", "/x", { 0 }, -1, FAIL_NONE }, RELAY_SENDING, FAIL_NONE },
        { { "POST", "/token", { 0 }, 10, FAIL_NONE }, RELAY_LOCAL, FAIL_NONE },
        { { "GET", "/x", { 0 }, 0, FAIL_BAD_REQUEST }, RELAY_FAILED, FAIL_BAD_REQUEST },
        { { "HEAD", "/x", { 0 }, 5, FAIL_NONE }, RELAY_FAILED, FAIL_BAD_REQUEST },
        { { "CONNECT", "/x", { 0 }, 0, FAIL_NONE }, RELAY_FAILED, FAIL_METHOD_DENIED },
        { { "GET", "/../x", { 0 }, 0, FAIL_NONE }, RELAY_FAILED, FAIL_BAD_TARGET },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct relay *r = ask(&cases[i].head);
        if (r->phase != cases[i].phase || r->failure.kind != cases[i].failure)
            fail_msg("%s %s: phase %d, failure %d", cases[i].head.method, cases[i].head.target,
                     (int)r->phase, (int)r->failure.kind);
        relay_end(r);
    }
}

static void a_page_of_somebody_elses_and_our_own_requests_are_refused(void **state)
{
    (void)state;
    struct relay *r =
        ask(&(struct head){ "GET", "/x", F("Origin", "https://evil.test"), 0, 0 });
    assert_int_equal(r->failure.kind, FAIL_ORIGIN_DENIED);
    relay_end(r);
    r = ask(&(struct head){ "GET", "/x", F("Via", "1.1 oneshot-proxy"), 0, 0 });
    assert_int_equal(r->failure.kind, FAIL_LOOP);
    relay_end(r);
    assert_int_equal(fake_exchange.starts, 0);
}

static void a_sound_name_is_taken_over_and_another_is_made(void **state)
{
    (void)state;
    struct relay *r = ask(&(struct head){ "GET", "/x", F("X-Request-Id", "mine-1"), 0, 0 });
    assert_string_equal(r->request_id, "mine-1");
    assert_string_equal(fake.sink.request_id, "mine-1");
    assert_false(r->request_id_ours);
    relay_end(r);
    r = ask(&(struct head){ "GET", "/x", F("X-Request-Id", "with a blank"), 0, 0 });
    assert_int_equal(strlen(r->request_id), 32);
    assert_true(r->request_id_ours);
    char first[33];
    memcpy(first, r->request_id, sizeof first);
    relay_end(r);
    r = ask(&(struct head){ "GET", "/x", { 0 }, 0, 0 });
    assert_string_not_equal(r->request_id, first);
    relay_end(r);
}

/* A failure has a name too: it is what is looked for in the log. */
static void what_is_refused_has_a_name(void **state)
{
    (void)state;
    struct relay *r = ask(&(struct head){ "GET", "/x", { 0 }, 0, FAIL_BAD_REQUEST });
    assert_int_equal(strlen(fake.sink.request_id), 32);
    relay_end(r);
}

static void only_so_many_are_under_way_at_a_time(void **state)
{
    (void)state;
    const struct head get = { "GET", "/x", { 0 }, 0, FAIL_NONE };
    struct relay *a = ask(&get), *b = ask(&get), *c = ask(&get);
    assert_int_equal(a->phase, RELAY_SENDING);
    assert_int_equal(b->phase, RELAY_SENDING);
    assert_int_equal(c->failure.kind, FAIL_OVERLOAD);
    assert_int_equal(c->failure.retry_after_s, 1);
    relay_end(c);
    relay_end(a);
    c = ask(&get);
    assert_int_equal(c->phase, RELAY_SENDING);
    relay_end(b);
    relay_end(c);
    assert_int_equal(atomic_load(&in_flight), 0);
}

static void nothing_begins_above_the_limit_of_connections_or_at_the_end(void **state)
{
    (void)state;
    const struct head get = { "GET", "/x", { 0 }, 0, FAIL_NONE };
    fake.sink.refused = true;
    struct relay *r = ask(&get);
    assert_int_equal(r->failure.kind, FAIL_OVERLOAD);
    relay_end(r);
    fake.sink.refused = false;
    ctx.giving_up = true;
    r = ask(&get);
    assert_int_equal(r->failure.kind, FAIL_DRAINING);
    relay_end(r);
    assert_int_equal(fake_exchange.starts, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(each_request_goes_where_it_belongs),
        T(a_page_of_somebody_elses_and_our_own_requests_are_refused),
        T(a_sound_name_is_taken_over_and_another_is_made),
        T(what_is_refused_has_a_name),
        T(only_so_many_are_under_way_at_a_time),
        T(nothing_begins_above_the_limit_of_connections_or_at_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

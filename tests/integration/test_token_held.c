/* A 401 of the upstream is held while a new token is fetched. What happens to it when no
 * token comes, when the 401 itself ends too early, when the request's body becomes larger
 * than what is kept for a repetition; and that a request is repeated at most once. */
#include <signal.h>
#include <unistd.h>

#include "control.h"
#include "harness.h"
#include "later.h"

#define THEIR_401 "{\"type\":\"UnauthenticatedError\",\"message\":\"m\",\"retryable\":false}"
#define PATIENT "token.timeout = 60s\ntoken.wait_timeout = 60s\n"
#define STOPPABLE PATIENT UNCONFINED "admin.address = 127.0.0.1:0\n"

static struct gate gate;

/* Refuses the first token in the way that the target says; takes all others. */
static void serve(struct peer_conn *c, void *arg)
{
    struct peer_request *r;

    (void)arg;
    while ((r = peer_read_head(c)) != NULL) {
        if (api_token_of(r) == 1 && strcmp(r->target, "/v0/early") == 0) {
            /* before the body is here, of which it goes on to read */
            (void)peer_puts(c, "HTTP/1.1 401 Unauthorized\r\nContent-Length: 5\r\n\r\nearly");
            peer_read_eof(c);
            return;
        }
        if (!peer_read_body(c, r))
            return;
        if (api_token_of(r) == 1 && strcmp(r->target, "/v0/cut") == 0) {
            (void)peer_puts(c, "HTTP/1.1 401 Unauthorized\r\nContent-Length: 100\r\n\r\npart");
            (void)gate_pass(&gate, c);
            return;
        }
        if (api_token_of(r) == 1)
            (void)peer_answer(c, 401, "WWW-Authenticate: Bearer\r\n", THEIR_401);
        else
            api_echo(c, r, NULL);
    }
}

/* The first token is there, and the next one does not come until tokens_release. */
static void start_with(struct world *w, const char *settings, const char *const *env)
{
    gate_init(&gate);
    world_start(w, &(struct world_options){ .serve = serve, .settings = settings, .env = env });
    assert_true(proxy_log_wait(w->proxy, "event=token_obtained", 1, SOON_MS));
    tokens_hold(w->tokens);
}

static void start(struct world *w, const char *settings)
{
    start_with(w, settings, NULL);
}

static void ask(struct world *w, struct client *c, const char *request)
{
    client_open(c, w->port);
    client_puts(c, request);
    assert_true(proxy_log_wait(w->proxy, "event=token_suspect", 1, SOON_MS));
}

/* What happened before on any connection has been seen once this is answered: there is one
 * worker, and it is answered without the upstream. */
static void worker_has_seen_it(struct world *w)
{
    struct answer a = { 0 };
    http_call(w->port, "TRACE", "/x", NULL, NULL, &a);
    assert_int_equal(a.status, 405);
    answer_free(&a);
}

static void it_goes_through_untouched_when_the_wait_is_over(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    char waited[32];
    start(&w, "token.timeout = 60s\ntoken.wait_timeout = 300ms\n");
    http_call(w.port, "POST", "/x", NULL, "{}", &a);
    assert_int_equal(a.status, 401);
    assert_string_equal(bytes_text(&a.body), THEIR_401);
    assert_string_equal(answer_header(&a, "WWW-Authenticate"), "Bearer");
    assert_string_equal(answer_header(&a, "Proxy-Status"),
                        "oneshot-proxy; received-status=401");
    assert_int_equal(answer_header_count(&a, "Retry-After"), 0);
    assert_int_equal(peer_count(w.api, ""), 1);
    assert_true(proxy_log_wait(w.proxy, "event=access", 1, SOON_MS));
    assert_true(proxy_log_field(w.proxy, "event=access", 0, "token_ms", waited, sizeof waited));
    assert_true(strtod(waited, NULL) >= 299);
    answer_free(&a);
}

#define POST_CUT "POST /cut HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nmoney"

static void one_that_is_cut_in_its_body_is_a_refusal_all_the_same(void **state)
{
    (void)state;
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    start(&w, PATIENT);
    ask(&w, &c, POST_CUT);
    gate_open(&gate);
    assert_true(peer_wait_closed_to(w.api, 0, SOON_MS));
    worker_has_seen_it(&w);
    tokens_release(w.tokens);
    client_read(&c, &a, false, SOON_MS);
    assert_int_equal(a.status, 200);
    assert_string_equal(bytes_text(&a.body), "money");
    assert_int_equal(peer_count(w.api, "POST /v0/cut"), 2);
    client_close(&c);
    answer_free(&a);
}

static void one_that_is_cut_in_its_body_never_ends_cleanly(void **state)
{
    (void)state;
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    start(&w, "token.timeout = 60s\ntoken.wait_timeout = 500ms\n");
    ask(&w, &c, POST_CUT);
    gate_open(&gate);
    client_read(&c, &a, false, SOON_MS);
    assert_int_equal(a.status, 401);
    assert_int_equal(a.end, ANSWER_CUT);
    assert_int_equal(peer_count(w.api, ""), 1);
    client_close(&c);
    answer_free(&a);
}

static void one_whose_request_outgrows_the_replay_buffer_goes_through_at_once(void **state)
{
    (void)state;
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    struct bytes more = { 0 };
    start(&w, PATIENT "upstream.replay_limit = 1k\n");
    ask(&w, &c,
        "POST /early HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        "5\r\nmoney\r\n");
    bytes_add_str(&more, "800\r\n");
    bytes_fill(&more, 'x', 2048);
    bytes_add_str(&more, "\r\n0\r\n\r\n");
    client_send(&c, more.data, more.len);
    client_read(&c, &a, false, SOON_MS); /* no token has come meanwhile */
    assert_int_equal(a.status, 401);
    assert_string_equal(bytes_text(&a.body), "early");
    tokens_release(w.tokens);
    assert_true(proxy_log_wait(w.proxy, "event=token_obtained", 2, SOON_MS));
    worker_has_seen_it(&w);
    assert_int_equal(peer_count(w.api, ""), 1); /* and nothing is sent again afterwards */
    client_close(&c);
    bytes_free(&more);
    answer_free(&a);
}

static void it_goes_through_when_the_body_never_becomes_whole(void **state)
{
    (void)state;
    LATER(later);
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    start_with(&w, PATIENT "listen.body_timeout = 30s\n", later.env);
    ask(&w, &c, "POST /early HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\npart");
    later_by(&later, 31000); /* the wait for a token is not over */
    worker_has_seen_it(&w);
    client_read(&c, &a, false, SOON_MS);
    assert_int_equal(a.status, 401); /* the upstream's word, and not a 408 */
    assert_string_equal(bytes_text(&a.body), "early");
    assert_int_equal(peer_count(w.api, ""), 1);
    client_close(&c);
    answer_free(&a);
}

/* Refuses every token; the second request waits at the gate. */
static void refuse_all(struct peer_conn *c, const struct peer_request *r, void *arg)
{
    (void)arg;
    if (api_token_of(r) == 1 || gate_pass(&gate, c))
        (void)peer_answer(c, 401, NULL, THEIR_401);
}

static void a_request_is_repeated_once_even_if_another_token_could_be_had(void **state)
{
    (void)state;
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    gate_init(&gate);
    world_start(&w, &(struct world_options){
                        .answer = refuse_all,
                        .settings = "token.retry_min = 1ms\ntoken.retry_max = 1ms\n" });
    assert_true(proxy_log_wait(w.proxy, "event=token_obtained", 1, SOON_MS));
    client_open(&c, w.port);
    client_puts(&c, "POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}");
    assert_true(gate_wait_arrived(&gate, 1, SOON_MS));
    /* until the next refusal is worth a fetch again */
    for (int64_t until_ms = now_ms() + 20; now_ms() < until_ms;)
        worker_has_seen_it(&w);
    gate_open(&gate);
    client_read(&c, &a, false, SOON_MS);
    assert_int_equal(a.status, 401);
    assert_string_equal(bytes_text(&a.body), THEIR_401);
    assert_int_equal(peer_count(w.api, ""), 2);
    assert_true(proxy_log_wait(w.proxy, "event=token_obtained", 3, SOON_MS));
    worker_has_seen_it(&w);
    assert_int_equal(peer_count(w.api, ""), 2);
    client_close(&c);
    answer_free(&a);
}

/* Refuses the first token, and on /never every token. */
static void refuse_some(struct peer_conn *c, const struct peer_request *r, void *arg)
{
    (void)arg;
    if (api_token_of(r) == 1 || strcmp(r->target, "/v0/never") == 0)
        (void)peer_answer(c, 401, NULL, THEIR_401);
    else
        api_echo(c, r, NULL);
}

static void it_goes_through_at_once_while_no_other_token_is_asked_for(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){
                        .answer = refuse_some,
                        .settings = PATIENT "token.retry_min = 60s\ntoken.retry_max = 60s\n" });
    assert_true(proxy_log_wait(w.proxy, "event=token_obtained", 1, SOON_MS));
    http_call(w.port, "POST", "/x", NULL, "{}", &a);
    assert_int_equal(a.status, 200);
    for (size_t i = 1; i <= 3; i++) {
        http_call(w.port, "POST", "/never", NULL, "{}", &a); /* and not after wait_timeout */
        assert_int_equal(a.status, 401);
        assert_string_equal(bytes_text(&a.body), THEIR_401);
        /* once with the new token, and, as that is young, once with the one before */
        assert_int_equal(peer_count(w.api, "POST /v0/never"), 2 * i);
    }
    http_call(w.port, "POST", "/x", NULL, "{}", &a); /* the token goes on serving others */
    assert_int_equal(a.status, 200);
    assert_int_equal(tokens_fetches(w.tokens), 2);
    answer_free(&a);
}

/* Between the moment in which a worker learns of another upstream and the one in which it is
 * told that there is no token for it yet, its old token must not be used. */
static void no_worker_sends_its_old_token_to_a_new_upstream(void **state)
{
    (void)state;
    WORLD(w);
    struct control control;
    struct client c;
    struct answer a = { 0 };
    struct bytes settings = { 0 };
    control_init(&control);
    world_start(&w, &(struct world_options){ .env = control.env, .settings = STOPPABLE });
    http_get(w.port, "/x", &a);
    assert_int_equal(a.status, 200);
    struct peer *other = api_start(&(struct api_options){ 0 });
    bytes_addf(&settings, STOPPABLE "upstream.base_url = %s/v0\n", peer_url(other));
    /* the control thread is done with it */
    assert_true(proxy_log_wait(w.proxy, "event=token_obtained", 1, SOON_MS));
    control_stops(&control, &w, bytes_text(&settings));
    worker_has_seen_it(&w);
    client_open(&c, w.port);
    client_puts(&c, "POST /y HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}");
    worker_has_seen_it(&w);
    assert_false(peer_wait(other, "", 1, 100));
    control_goes_on(&control);
    client_read(&c, &a, false, SOON_MS);
    assert_int_equal(a.status, 200);
    assert_int_equal(peer_count(other, ""), 1);
    assert_int_equal(api_token_of(peer_request(other, "", 0)), 2);
    assert_int_equal(peer_count(w.api, ""), 1);
    client_close(&c);
    answer_free(&a);
    bytes_free(&settings);
    world_end(&w);
    peer_stop(other);
}

/* A worker looks at the clock itself, and does not wait to be told. */
static void no_worker_sends_an_expired_token_while_the_control_thread_is_busy(void **state)
{
    (void)state;
    static const char settings[] = STOPPABLE;
    LATER(later);
    WORLD(w);
    struct control control;
    struct client c;
    struct answer a = { 0 };
    control_init(&control);
    later_preload(&later, LATE_MAIL);
    later.env[2] = control.env_stop;
    world_start(&w, &(struct world_options){ .env = later.env, .settings = settings });
    http_get(w.port, "/x", &a);
    assert_int_equal(a.status, 200);
    /* the control thread is done with it */
    assert_true(proxy_log_wait(w.proxy, "event=token_obtained", 1, SOON_MS));
    control_stops(&control, &w, settings);
    worker_has_seen_it(&w);
    later_by(&later, 3600 * 1000);
    client_open(&c, w.port);
    client_puts(&c, "POST /y HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}");
    worker_has_seen_it(&w);
    assert_false(peer_wait(w.api, "POST", 1, 100));
    control_goes_on(&control);
    client_read(&c, &a, false, SOON_MS);
    assert_int_equal(a.status, 200);
    assert_true(api_token_of(peer_request(w.api, "POST", 0)) >= 2);
    client_close(&c);
    answer_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(it_goes_through_untouched_when_the_wait_is_over),
        TEST(one_that_is_cut_in_its_body_is_a_refusal_all_the_same),
        TEST(one_that_is_cut_in_its_body_never_ends_cleanly),
        TEST(one_whose_request_outgrows_the_replay_buffer_goes_through_at_once),
        TEST(it_goes_through_when_the_body_never_becomes_whole),
        TEST(a_request_is_repeated_once_even_if_another_token_could_be_had),
        TEST(it_goes_through_at_once_while_no_other_token_is_asked_for),
        TEST(no_worker_sends_its_old_token_to_a_new_upstream),
        TEST(no_worker_sends_an_expired_token_while_the_control_thread_is_busy),
    };
    return RUN_TESTS(tests);
}

/* recent_failures.c, with the test's own clock: clock, timers and mailbox are defined here
 * in place of clock.c, loop.c and mailbox.c. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "stats/recent_failures.h"
#include "unit.h"

static int64_t now_ms;
static struct mail *posted[16];
static size_t mails;
static struct mailbox control;
static struct recent_failures list;
static struct loop loops[2];
static struct recent_failures_outbox box[2];

int64_t clock_ms(void)
{
    return now_ms;
}
int64_t clock_us(void)
{
    return now_ms * 1000;
}
int64_t clock_wall_s(void)
{
    return 1700000000 + now_ms / 1000;
}
void loop_timer_set(struct loop *l, struct loop_timer *t, int64_t due_ms)
{
    (void)l;
    t->due_ms = due_ms;
    t->slot = 1;
}
void loop_timer_clear(struct loop *l, struct loop_timer *t)
{
    (void)l;
    t->slot = 0;
}
void mailbox_send(struct mailbox *m, struct mail *mail)
{
    assert_ptr_equal(m, &control);
    assert_true(mails < 16);
    posted[mails++] = mail;
}

/* What is due by then happens; then control reads its mail. */
static void pass(int64_t ms)
{
    now_ms += ms;
    for (size_t i = 0; i < 2; i++) {
        loops[i].now_ms = now_ms;
        if (box[i].timer.slot != 0 && box[i].timer.due_ms <= now_ms) {
            box[i].timer.slot = 0;
            box[i].timer.on_due(&box[i].timer);
        }
    }
}
static size_t deliver(void)
{
    size_t n = mails;
    for (size_t i = 0; i < n; i++) {
        posted[i]->run(posted[i]);
        posted[i]->free(posted[i]);
    }
    mails = 0;
    return n;
}

static int setup(void **state)
{
    (void)state;
    now_ms = 0;
    mails = 0;
    recent_failures_init(&list, &control);
    for (size_t i = 0; i < 2; i++) {
        loops[i].now_ms = 0;
        recent_failures_outbox_init(&box[i], &loops[i], &list);
    }
    return 0;
}
static int teardown(void **state)
{
    (void)state;
    deliver();
    for (size_t i = 0; i < 2; i++)
        recent_failures_outbox_done(&box[i]);
    return 0;
}

static void note(size_t worker, const char *path)
{
    struct failure f = failure_make(FAIL_UPSTREAM_DNS, "No such name; check it.");
    recent_failures_note(&box[worker],
                         &(struct recent_failures_request){ .failure = &f,
                                                            .status = 502,
                                                            .method = "GET",
                                                            .path = path,
                                                            .path_len = strlen(path),
                                                            .request_id = "id-1" });
}

static void a_lone_failure_arrives_at_once_and_whole(void **state)
{
    (void)state;
    pass(70000);
    note(0, "/v0/chains");
    assert_int_equal(list.count, 0);
    pass(0);
    assert_int_equal(deliver(), 1);
    assert_int_equal(list.count, 1);
    const struct recent_failures_entry *e = &list.entry[0];
    assert_int_equal(e->at_ms, 70000);
    assert_int_equal(e->wall_s, 1700000070);
    assert_int_equal(e->kind, FAIL_UPSTREAM_DNS);
    assert_int_equal(e->stage, STAGE_UPSTREAM);
    assert_int_equal(e->status, 502);
    assert_string_equal(e->method, "GET");
    assert_string_equal(e->path, "/v0/chains");
    assert_string_equal(e->request_id, "id-1");
    assert_string_equal(e->detail, "No such name; check it.");
}

static void a_storm_is_ten_mails_a_second_and_keeps_the_newest(void **state)
{
    (void)state;
    char path[32];
    size_t sent = 0;
    for (int i = 0; i < 10000; i++) {
        (void)snprintf(path, sizeof path, "/%d", i);
        note(0, path);
        if (i % 10 == 9) /* a second for the lot */
            pass(1);
        sent += deliver();
    }
    pass(RECENT_FAILURES_INTERVAL_MS);
    sent += deliver();
    assert_in_range(sent, 10, 12);
    assert_int_equal(list.count, RECENT_FAILURES_KEPT);
    for (int i = 0; i < RECENT_FAILURES_KEPT; i++) {
        (void)snprintf(path, sizeof path, "/%d", 9999 - i);
        assert_string_equal(list.entry[i].path, path);
    }
}

static void those_of_two_workers_are_merged_by_time(void **state)
{
    (void)state;
    char path[32];
    for (int i = 0; i < 30; i++) {
        (void)snprintf(path, sizeof path, "/%d", i);
        note(i % 3 == 0, path);
        now_ms++;
    }
    pass(RECENT_FAILURES_INTERVAL_MS);
    deliver();
    assert_int_equal(list.count, RECENT_FAILURES_KEPT);
    for (int i = 0; i < RECENT_FAILURES_KEPT; i++) {
        (void)snprintf(path, sizeof path, "/%d", 29 - i);
        assert_string_equal(list.entry[i].path, path);
    }
}

static void one_that_is_older_than_the_whole_list_is_passed_over(void **state)
{
    (void)state;
    note(0, "/old");
    for (int i = 0; i < RECENT_FAILURES_KEPT; i++) {
        now_ms++;
        note(1, "/new");
    }
    box[0].timer.due_ms += 1000;
    pass(RECENT_FAILURES_INTERVAL_MS);
    deliver();
    pass(1000);
    deliver();
    assert_int_equal(list.count, RECENT_FAILURES_KEPT);
    for (int i = 0; i < RECENT_FAILURES_KEPT; i++)
        assert_string_equal(list.entry[i].path, "/new");
}

static void what_is_too_long_is_cut_and_says_so(void **state)
{
    (void)state;
    char long_path[1000], long_id[200];
    memset(long_path, 'a', sizeof long_path);
    memset(long_id, 'b', sizeof long_id);
    long_path[sizeof long_path - 1] = long_id[sizeof long_id - 1] = '\0';
    struct failure f = failure_make(FAIL_BAD_REQUEST, "No.");
    recent_failures_note(&box[0],
                         &(struct recent_failures_request){ .failure = &f,
                                                            .status = 400,
                                                            .method = "ABCDEFGHIJKLMNOPQRST",
                                                            .path = long_path,
                                                            .path_len = strlen(long_path),
                                                            .request_id = long_id });
    pass(0);
    deliver();
    const struct recent_failures_entry *e = &list.entry[0];
    assert_string_equal(e->method, "ABCDEFGHIJKL...");
    assert_int_equal(strlen(e->path), sizeof e->path - 1);
    assert_string_equal(e->path + strlen(e->path) - 5, "aa...");
    assert_int_equal(strlen(e->request_id), sizeof e->request_id - 1);
}

static void a_text_that_just_fits_is_not_cut(void **state)
{
    (void)state;
    char path[sizeof list.entry[0].path];
    memset(path, 'a', sizeof path);
    path[sizeof path - 1] = '\0';
    note(0, path);
    pass(0);
    deliver();
    assert_string_equal(list.entry[0].path, path);
}

static void a_failure_before_there_was_a_request_has_no_path(void **state)
{
    (void)state;
    struct failure f = failure_make(FAIL_HEAD_TIMEOUT, "Too slow.");
    recent_failures_note(&box[0],
                         &(struct recent_failures_request){ .failure = &f, .status = 408 });
    pass(0);
    deliver();
    assert_string_equal(list.entry[0].path, "-");
    assert_string_equal(list.entry[0].method, "");
    assert_string_equal(list.entry[0].request_id, "");
    assert_int_equal(list.entry[0].stage, STAGE_REQUEST);
}

static void the_upstreams_own_answers_are_its_stage(void **state)
{
    (void)state;
    const struct failure none = { .kind = FAIL_NONE };
    recent_failures_note(
        &box[0],
        &(struct recent_failures_request){
            .failure = &none, .status = 503, .method = "GET", .path = "/x", .path_len = 2 });
    pass(0);
    deliver();
    assert_int_equal(list.entry[0].stage, STAGE_UPSTREAM);
    assert_int_equal(list.entry[0].status, 503);
    assert_true(recent_failures_upstream_status(500));
    assert_true(recent_failures_upstream_status(401));
    assert_true(recent_failures_upstream_status(429));
    assert_false(recent_failures_upstream_status(404));
    assert_false(recent_failures_upstream_status(200));
}

static void where_nobody_looks_nothing_is_kept(void **state)
{
    (void)state;
    recent_failures_outbox_init(&box[0], &loops[0], NULL);
    note(0, "/x");
    assert_int_equal(box[0].count, 0);
    assert_int_equal(box[0].timer.slot, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_lone_failure_arrives_at_once_and_whole),
        T(a_storm_is_ten_mails_a_second_and_keeps_the_newest),
        T(those_of_two_workers_are_merged_by_time),
        T(one_that_is_older_than_the_whole_list_is_passed_over),
        T(what_is_too_long_is_cut_and_says_so),
        T(a_text_that_just_fits_is_not_cut),
        T(a_failure_before_there_was_a_request_has_no_path),
        T(the_upstreams_own_answers_are_its_stage),
        T(where_nobody_looks_nothing_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

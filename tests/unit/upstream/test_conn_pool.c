/* conn_pool.c: which connection is given to whom, when it is closed, and what is read and
 * written on it. */
#include "scripted.h"

/* What became of the connections of one test. */
static struct {
    unsigned opened, failed, ready;
    CURLcode code;
} seen;

static void on_open(struct upstream_conn *conn, CURLcode code)
{
    if (code == CURLE_OK) {
        seen.opened++;
        return;
    }
    seen.failed++;
    seen.code = code;
    upstream_conn_close(conn);
}

static void on_ready(struct upstream_conn *conn)
{
    (void)conn;
    seen.ready++;
}

static const struct conn_pool_user user = { .on_open = on_open, .on_ready = on_ready };

static int owner; /* its address is an owner */

static void begin(struct scripted *s, size_t kept)
{
    memset(&seen, 0, sizeof seen);
    scripted_start(s, &user, kept);
}

/* A new connection that is open on both sides. */
static struct upstream_conn *take_new(struct scripted *s)
{
    size_t before = s->conns;
    unsigned opened = seen.opened;
    struct upstream_conn *conn = conn_pool_take(&s->pool, s->config, true);

    assert_non_null(conn);
    conn->owner = &owner;
    assert_int_equal(seen.opened, opened); /* not from within */
    UNTIL(s, seen.opened == opened + 1 && s->conns == before + 1);
    assert_true(upstream_conn_is_open(conn));
    assert_false(conn->used);
    return conn;
}

/* One that has carried a request and is idle. */
static struct upstream_conn *idle(struct scripted *s)
{
    struct upstream_conn *conn = take_new(s);
    char byte;

    while (conn->readable)
        assert_int_equal(upstream_conn_read(conn, &byte, 1), IO_AGAIN);
    conn_pool_give(conn);
    return conn;
}

static struct upstream_conn *take(struct scripted *s)
{
    struct upstream_conn *conn = conn_pool_take(&s->pool, s->config, false);

    assert_non_null(conn);
    conn->owner = &owner;
    return conn;
}

static void an_idle_connection_is_given_out_again(void **state)
{
    (void)state;
    struct scripted s;
    begin(&s, 4);
    struct upstream_conn *first = idle(&s), *again = take(&s);
    assert_ptr_equal(again, first);
    assert_true(again->used);
    assert_true(upstream_conn_is_open(again));
    conn_pool_give(again);
    settle(&s);
    assert_int_equal(s.conns, 1);
    scripted_stop(&s);
}

static void the_one_used_last_is_given_out_first(void **state)
{
    (void)state;
    struct scripted s;
    begin(&s, 4);
    struct upstream_conn *a = take_new(&s), *b = take_new(&s);
    conn_pool_give(a);
    conn_pool_give(b);
    assert_ptr_equal(take(&s), b);
    assert_ptr_equal(take(&s), a);
    upstream_conn_close(a);
    upstream_conn_close(b);
    scripted_stop(&s);
}

static void a_fresh_one_is_never_an_idle_one(void **state)
{
    (void)state;
    struct scripted s;
    begin(&s, 4);
    struct upstream_conn *first = idle(&s), *other = take_new(&s);
    assert_ptr_not_equal(other, first);
    assert_int_equal(s.pool.count, 2);
    upstream_conn_close(other);
    scripted_stop(&s);
}

static void no_more_are_kept_than_is_said(void **state)
{
    (void)state;
    struct scripted s;
    begin(&s, 2);
    struct upstream_conn *conn[4];
    for (size_t i = 0; i < 4; i++)
        conn[i] = take_new(&s);
    assert_int_equal(s.pool.count, 4);
    for (size_t i = 0; i < 4; i++)
        conn_pool_give(conn[i]);
    assert_int_equal(s.pool.count, 2);
    assert_ptr_equal(take(&s), conn[3]);
    upstream_conn_close(conn[3]);
    settle(&s);
    scripted_stop(&s);
}

/* What came on it, or its end, may not have been told by the loop yet: both must be found. */
static void an_idle_connection_on_which_something_came_is_not_given_out(void **state)
{
    (void)state;
    enum { BYTES, END, RESET, KINDS };
    for (int kind = 0; kind < KINDS; kind++)
        for (int told = 0; told < 2; told++) {
            struct scripted s;
            begin(&s, 4);
            (void)idle(&s);
            clock_ahead_ms += 100;
            turn(&s);
            if (kind == BYTES)
                peer_say(&s, 0, "HTTP/1.1 200 OK\r\n", 17);
            else
                peer_close(&s, 0, kind == RESET);
            if (told)
                settle(&s);
            assert_int_equal(s.pool.count, told ? 0 : 1);
            struct upstream_conn *conn = take(&s);
            assert_false(conn->used);
            UNTIL(&s, seen.opened == 2);
            upstream_conn_close(conn);
            scripted_stop(&s);
        }
}

static void bytes_that_nobody_has_read_end_a_connection_that_is_given_back(void **state)
{
    (void)state;
    struct scripted s;
    begin(&s, 4);
    struct upstream_conn *conn = take_new(&s);
    peer_say(&s, 0, "surplus", 7);
    settle(&s);
    assert_true(conn->readable);
    conn_pool_give(conn);
    struct upstream_conn *other = take(&s);
    assert_false(other->used);
    UNTIL(&s, seen.opened == 2);
    upstream_conn_close(other);
    scripted_stop(&s);
}

static void a_connection_that_is_ending_is_not_kept(void **state)
{
    (void)state;
    struct scripted s;
    begin(&s, 4);
    struct upstream_conn *conn = take_new(&s);
    peer_say(&s, 0, "all", 3);
    peer_close(&s, 0, false);
    UNTIL(&s, seen.ready > 0 && conn->ending);
    char bytes[8];
    assert_int_equal(upstream_conn_read(conn, bytes, 3),
                     3); /* all of the answer, not its end */
    conn_pool_give(conn);
    assert_int_equal(s.pool.count, 0);
    scripted_stop(&s);
}

static void idle_connections_are_closed_when_their_time_is_up(void **state)
{
    (void)state;
    struct scripted s;
    begin(&s, 4);
    (void)idle(&s);
    clock_ahead_ms += 4000;
    settle(&s);
    assert_int_equal(s.pool.count, 1);
    clock_ahead_ms += 2000;
    UNTIL(&s, s.pool.count == 0);
    UNTIL(&s, s.ended[0]);
    scripted_stop(&s);
}

static void one_whose_time_is_up_is_not_given_out_before_the_timer_has_closed_it(void **state)
{
    (void)state;
    struct scripted s;
    begin(&s, 4);
    (void)idle(&s);
    clock_ahead_ms += 6000;
    s.loop.now_ms = clock_ms(); /* the turn has begun, its timers have not */
    struct upstream_conn *conn = take(&s);
    assert_false(conn->used);
    UNTIL(&s, seen.opened == 2);
    upstream_conn_close(conn);
    scripted_stop(&s);
}

static void other_settings_get_other_connections(void **state)
{
    (void)state;
    struct scripted s;
    begin(&s, 4);
    struct config *before = s.config;
    char text[512];
    int n = snprintf(text, sizeof text,
                     "[upstream]\nbase_url = %s\nproxy = none\nkeepalive = 5s\n"
                     "[token]\nclient_id = id\nclient_secret = secret\n",
                     before->upstream.base_url);
    struct config_report report;
    config_report_init(&report);
    struct config *now = config_load_text("test", text, (size_t)n, &report);
    config_report_done(&report);
    assert_non_null(now);
    (void)idle(&s);
    s.config = now;
    struct upstream_conn *conn = take(&s);
    assert_false(conn->used);
    UNTIL(&s, seen.opened == 2);
    conn_pool_give(conn);
    assert_int_equal(s.pool.count, 1); /* the old one is gone */
    conn_pool_forget(&s.pool);
    assert_int_equal(s.pool.count, 0);
    config_unref(before);
    scripted_stop(&s);
}

static void a_connection_that_cannot_be_made_is_told(void **state)
{
    (void)state;
    struct scripted s;
    begin(&s, 4);
    (void)close(s.listener);
    s.listener = -1;
    struct upstream_conn *conn = conn_pool_take(&s.pool, s.config, false);
    assert_non_null(conn);
    conn->owner = &owner;
    UNTIL(&s, seen.failed == 1);
    assert_int_equal(seen.code, CURLE_COULDNT_CONNECT);
    assert_int_equal(s.pool.count, 0);
    scripted_stop(&s);
}

static void one_that_is_being_made_may_be_closed(void **state)
{
    (void)state;
    struct scripted s;
    begin(&s, 4);
    for (int turns = 0; turns < 3; turns++) {
        struct upstream_conn *conn = conn_pool_take(&s.pool, s.config, true);
        assert_non_null(conn);
        conn->owner = &owner;
        for (int i = 0; i < turns; i++)
            turn(&s);
        upstream_conn_wake(conn);
        upstream_conn_close(conn);
        settle(&s);
        assert_int_equal(s.pool.count, 0);
        assert_int_equal(seen.ready, 0);
    }
    scripted_stop(&s);
}

static void bytes_go_both_ways_and_are_counted(void **state)
{
    (void)state;
    struct scripted s;
    char bytes[16];
    begin(&s, 4);
    struct upstream_conn *conn = take_new(&s);
    assert_int_equal(upstream_conn_sent_bytes(conn), 0);
    assert_int_equal(upstream_conn_write(conn, "request", 7), 7);
    assert_int_equal(upstream_conn_sent_bytes(conn), 7);
    UNTIL(&s, peer_has(&s, 0, "request"));
    peer_say(&s, 0, "answer", 6);
    UNTIL(&s, conn->readable);
    assert_int_equal(upstream_conn_read(conn, bytes, sizeof bytes), 6);
    assert_memory_equal(bytes, "answer", 6);
    assert_int_equal(upstream_conn_read(conn, bytes, sizeof bytes), IO_AGAIN);
    assert_false(conn->readable);
    peer_close(&s, 0, false);
    UNTIL(&s, conn->readable);
    assert_int_equal(upstream_conn_read(conn, bytes, sizeof bytes), IO_END);
    upstream_conn_close(conn);
    scripted_stop(&s);
}

static void a_reset_is_a_failure_and_nothing_more_is_counted_as_sent(void **state)
{
    (void)state;
    struct scripted s;
    char byte;
    begin(&s, 4);
    struct upstream_conn *conn = take_new(&s);
    peer_close(&s, 0, true);
    UNTIL(&s, conn->ending);
    assert_int_equal(upstream_conn_write(conn, "x", 1), IO_FAILED);
    assert_int_equal(upstream_conn_sent_bytes(conn), 0);
    /* The socket's error is told once: reading may find the end or the reset. */
    assert_true(upstream_conn_read(conn, &byte, 1) != 1);
    upstream_conn_close(conn);
    scripted_stop(&s);
}

static void writing_stops_when_the_other_side_does_not_read(void **state)
{
    (void)state;
    static char much[1 << 20];
    struct scripted s;
    ssize_t n;
    uint64_t sent = 0;
    begin(&s, 4);
    struct upstream_conn *conn = take_new(&s);
    while ((n = upstream_conn_write(conn, much, sizeof much)) > 0)
        sent += (uint64_t)n;
    assert_int_equal(n, IO_AGAIN);
    assert_false(conn->writable);
    assert_int_equal(upstream_conn_sent_bytes(conn), sent);
    UNTIL(&s, conn->writable); /* it reads now */
    assert_true(upstream_conn_write(conn, much, 1) == 1);
    upstream_conn_close(conn);
    scripted_stop(&s);
}

static void those_that_are_woken_are_told_once_in_the_next_turn(void **state)
{
    (void)state;
    struct scripted s;
    begin(&s, 4);
    struct upstream_conn *conn = take_new(&s);
    settle(&s);
    unsigned before = seen.ready;
    upstream_conn_wake(conn);
    upstream_conn_wake(conn);
    assert_int_equal(seen.ready, before);
    assert_true(conn_pool_turn(&s.pool));
    assert_int_equal(seen.ready, before + 1);
    assert_false(conn_pool_turn(&s.pool));
    upstream_conn_wake(conn); /* given back before it is told: nobody to tell */
    conn_pool_give(conn);
    assert_false(conn_pool_turn(&s.pool));
    scripted_stop(&s);
}

/* At 10 minutes, give or take a tenth, however often it is used. */
static void one_that_is_old_is_not_given_out(void **state)
{
    (void)state;
    struct scripted s;
    begin(&s, 4);
    struct upstream_conn *first = idle(&s), *conn = first;
    int64_t born_ms = clock_ms();
    while (clock_ms() - born_ms < 534000) {
        clock_ahead_ms += 3000;
        turn(&s);
        conn = take(&s);
        assert_ptr_equal(conn, first);
        conn_pool_give(conn);
    }
    while (conn->used && clock_ms() - born_ms < 700000) {
        clock_ahead_ms += 3000;
        turn(&s);
        conn = take(&s);
        if (conn->used)
            conn_pool_give(conn);
    }
    assert_false(conn->used);
    assert_in_range(clock_ms() - born_ms, 540000, 668000);
    upstream_conn_close(conn);
    scripted_stop(&s);
}

/* N, for how long it is given out, and from when on it is not. */
static void the_other_sides_time_is_heeded_less_a_margin(void **state)
{
    static const struct {
        int64_t timeout_s, given_out_ms, closed_ms;
    } cases[] = { { 0, -1, 0 },      { 1, 500, 501 },    { 2, 1000, 1001 },
                  { 5, 4000, 4001 }, { 60, 5000, 5001 }, { INT64_MAX, 5000, 5001 } };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int late = 0; late < 2; late++) {
            struct scripted s;
            begin(&s, 4);
            struct upstream_conn *conn = take_new(&s);
            clock_stop();
            turn(&s);
            upstream_conn_limit_idle(conn, cases[i].timeout_s);
            conn_pool_give(conn);
            settle(&s);
            bool kept = s.pool.count == 1;
            assert_int_equal(kept, cases[i].given_out_ms >= 0);
            if (kept) {
                clock_ahead_ms += late ? cases[i].closed_ms : cases[i].given_out_ms;
                turn(&s);
                conn = take(&s);
                assert_int_equal(conn->used, !late);
                upstream_conn_close(conn);
            }
            clock_go_on();
            scripted_stop(&s);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_idle_connection_is_given_out_again),
        cmocka_unit_test(the_one_used_last_is_given_out_first),
        cmocka_unit_test(a_fresh_one_is_never_an_idle_one),
        cmocka_unit_test(no_more_are_kept_than_is_said),
        cmocka_unit_test(one_that_is_old_is_not_given_out),
        cmocka_unit_test(the_other_sides_time_is_heeded_less_a_margin),
        cmocka_unit_test(an_idle_connection_on_which_something_came_is_not_given_out),
        cmocka_unit_test(bytes_that_nobody_has_read_end_a_connection_that_is_given_back),
        cmocka_unit_test(a_connection_that_is_ending_is_not_kept),
        cmocka_unit_test(idle_connections_are_closed_when_their_time_is_up),
        cmocka_unit_test(one_whose_time_is_up_is_not_given_out_before_the_timer_has_closed_it),
        cmocka_unit_test(other_settings_get_other_connections),
        cmocka_unit_test(a_connection_that_cannot_be_made_is_told),
        cmocka_unit_test(one_that_is_being_made_may_be_closed),
        cmocka_unit_test(bytes_go_both_ways_and_are_counted),
        cmocka_unit_test(a_reset_is_a_failure_and_nothing_more_is_counted_as_sent),
        cmocka_unit_test(writing_stops_when_the_other_side_does_not_read),
        cmocka_unit_test(those_that_are_woken_are_told_once_in_the_next_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

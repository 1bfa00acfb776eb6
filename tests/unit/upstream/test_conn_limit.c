/* conn_limit.c: every permit that is granted, given back or not wanted any more reaches the next
 * in the queue, and none is lost. */
#include "event/loop.h"
#include "unit.h"
#include "upstream/conn_limit.h"

static struct loop loop;
static struct mailbox mailbox; /* of both threads: the order of mail is kept */
static struct conn_limit limit;

/* A thread's part. */
struct side {
    struct conn_limit_user user;
    unsigned grants, wishes;
    struct conn_waiter *last; /* who was granted */
};

static struct side mine, others;

static void on_granted(struct conn_limit_user *u, struct conn_waiter *w)
{
    struct side *s = CONTAINER_OF(u, struct side, user);

    s->grants++;
    s->last = w;
}

static void on_wanted(struct conn_limit_user *u)
{
    CONTAINER_OF(u, struct side, user)->wishes++;
}

static void join(struct side *s)
{
    *s = (struct side){
        .user = { .mailbox = &mailbox, .on_granted = on_granted, .on_wanted = on_wanted }
    };
    conn_limit_join(&limit, &s->user);
}

static int begin_with_one(void **state)
{
    (void)state;
    assert_int_equal(loop_init(&loop), 0);
    assert_int_equal(mailbox_init(&mailbox, &loop), 0);
    assert_int_equal(conn_limit_init(&limit, 1), 0);
    join(&mine);
    join(&others);
    return 0;
}

static int end(void **state)
{
    (void)state;
    conn_limit_leave(&mine.user);
    conn_limit_leave(&others.user);
    conn_limit_done(&limit);
    mailbox_done(&mailbox);
    loop_done(&loop);
    return 0;
}

static void stop(struct mail *m)
{
    (void)m;
    loop_stop(&loop);
}

static void leave_alone(struct mail *m)
{
    (void)m;
}

/* All mail that was sent so far is delivered. */
static void deliver(void)
{
    struct mail last = { .run = stop, .free = leave_alone };

    mailbox_send(&mailbox, &last);
    loop.stopping = false;
    loop_run(&loop);
}

/* Nobody waits, and there is one permit again. */
static void assert_none_lost(void)
{
    struct conn_waiter w = { 0 };

    assert_false(conn_limit_is_wanted(&mine.user));
    assert_true(conn_limit_take(&mine.user, &w));
    assert_false(conn_limit_take(&mine.user, &w));
    conn_limit_cancel(&w);
    conn_limit_give(&mine.user);
}

static void what_is_given_back_goes_to_the_first_who_waits(void **state)
{
    struct conn_waiter w[3] = { 0 };

    (void)state;
    assert_true(conn_limit_take(&mine.user, &w[0]));
    assert_false(conn_limit_take(&others.user, &w[1]));
    assert_false(conn_limit_take(&mine.user, &w[2]));
    conn_limit_give(&mine.user);
    deliver();
    assert_int_equal(others.grants, 1);
    assert_ptr_equal(others.last, &w[1]);
    assert_int_equal(mine.grants, 0);
    conn_limit_give(&others.user);
    deliver();
    assert_int_equal(mine.grants, 1);
    assert_ptr_equal(mine.last, &w[2]);
    conn_limit_give(&mine.user);
    assert_none_lost();
}

static void a_permit_on_its_way_to_one_who_gives_up_goes_to_the_next(void **state)
{
    struct conn_waiter w[3] = { 0 };

    (void)state;
    assert_true(conn_limit_take(&mine.user, &w[0]));
    assert_false(conn_limit_take(&others.user, &w[1]));
    assert_false(conn_limit_take(&mine.user, &w[2]));
    conn_limit_give(&mine.user);
    conn_limit_cancel(&w[1]); /* the mail is sent, and not there yet */
    deliver();
    assert_int_equal(others.grants, 0);
    assert_int_equal(mine.grants, 1);
    assert_ptr_equal(mine.last, &w[2]);
    conn_limit_give(&mine.user);
    assert_none_lost();
}

static void a_permit_on_its_way_to_the_only_one_who_gives_up_is_free_again(void **state)
{
    struct conn_waiter w[2] = { 0 };

    (void)state;
    assert_true(conn_limit_take(&mine.user, &w[0]));
    assert_false(conn_limit_take(&others.user, &w[1]));
    conn_limit_give(&mine.user);
    conn_limit_cancel(&w[1]);
    conn_limit_cancel(&w[1]); /* it does not wait any more: nothing happens */
    deliver();
    assert_int_equal(others.grants, 0);
    assert_none_lost();
}

static void who_gives_up_in_the_queue_is_passed_over(void **state)
{
    struct conn_waiter w[3] = { 0 };

    (void)state;
    assert_true(conn_limit_take(&mine.user, &w[0]));
    assert_false(conn_limit_take(&others.user, &w[1]));
    assert_false(conn_limit_take(&mine.user, &w[2]));
    conn_limit_cancel(&w[1]);
    assert_null(conn_limit_pop(&others.user));
    conn_limit_give(&mine.user);
    deliver();
    assert_int_equal(others.grants, 0);
    assert_int_equal(mine.grants, 1);
    conn_limit_give(&mine.user);
    assert_none_lost();
}

static void a_permit_whose_owner_waits_first_is_used_without_mail(void **state)
{
    struct conn_waiter w[2] = { 0 };

    (void)state;
    assert_true(conn_limit_take(&mine.user, &w[0]));
    assert_false(conn_limit_take(&mine.user, &w[1]));
    assert_null(conn_limit_pop(&others.user));
    assert_ptr_equal(conn_limit_pop(&mine.user), &w[1]);
    deliver();
    assert_int_equal(mine.grants, 0);
    conn_limit_give(&mine.user);
    assert_none_lost();
}

static void only_who_has_an_idle_connection_is_asked_for_it(void **state)
{
    struct conn_waiter w[2] = { 0 };

    (void)state;
    assert_true(conn_limit_take(&others.user, &w[0]));
    atomic_store(&others.user.idle, 1);
    assert_false(conn_limit_take(&mine.user, &w[1]));
    deliver();
    assert_int_equal(others.wishes, 1);
    assert_int_equal(mine.wishes, 0);
    conn_limit_give(&others.user);
    deliver();
    assert_int_equal(mine.grants, 1);
    atomic_store(&others.user.idle, 0);
    conn_limit_give(&mine.user);
    assert_none_lost();
}

/* If there are enough for all, each keeps one, and who waits takes none from those who have no
 * more than itself. */
static void if_there_are_enough_only_who_has_more_is_asked(void **state)
{
    struct conn_waiter w[5] = { 0 };

    (void)state;
    assert_true(conn_limit_take(&mine.user, &w[0]));
    assert_false(conn_limit_take(&others.user, &w[1]));
    assert_true(conn_limit_is_asked(&mine.user));
    assert_false(conn_limit_is_asked(&mine.user)); /* once for each who waits */
    conn_limit_cancel(&w[1]);
    limit.max = 2; /* one of both is on its way to somebody */
    assert_false(conn_limit_take(&others.user, &w[2]));
    assert_false(conn_limit_is_asked(&mine.user));
    conn_limit_cancel(&w[2]);
    limit.left++;
    assert_true(conn_limit_take(&mine.user, &w[3]));
    assert_false(conn_limit_take(&others.user, &w[4]));
    assert_true(conn_limit_is_asked(&mine.user));
    conn_limit_give(&mine.user);
    deliver();
    assert_int_equal(others.grants, 1);
    conn_limit_give(&others.user);
    conn_limit_give(&mine.user);
    assert_int_equal(mine.user.held, 0);
    assert_int_equal(others.user.held, 0);
    assert_int_equal(limit.left, 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin_with_one, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_given_back_goes_to_the_first_who_waits),
        TEST(a_permit_on_its_way_to_one_who_gives_up_goes_to_the_next),
        TEST(a_permit_on_its_way_to_the_only_one_who_gives_up_is_free_again),
        TEST(who_gives_up_in_the_queue_is_passed_over),
        TEST(a_permit_whose_owner_waits_first_is_used_without_mail),
        TEST(only_who_has_an_idle_connection_is_asked_for_it),
        TEST(if_there_are_enough_only_who_has_more_is_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* rights/rate.c: a bucket holds N, refills N in its duration, and never gives more. */
#include <pthread.h>

#include "rights/rate.h"
#include "unit.h"

#define SECOND 1000000

static void a_full_bucket_gives_n_and_then_one_each_interval(void **state)
{
    (void)state;
    const struct rate r = { .n = 6, .duration_us = 60 * SECOND };
    struct rate_bucket b = { 0 };
    int64_t now = 1000 * (int64_t)SECOND;

    for (int i = 0; i < 6; i++) {
        assert_int_equal(rate_look(&b, &r, now).left, 6 - i);
        assert_true(rate_take(&b, &r, now));
    }
    assert_false(rate_take(&b, &r, now));
    assert_int_equal(rate_look(&b, &r, now).left, 0);
    assert_int_equal(rate_look(&b, &r, now).again_us, 10 * SECOND);
    assert_false(rate_take(&b, &r, now + 10 * SECOND - 1));
    assert_true(rate_take(&b, &r, now + 10 * SECOND));
    assert_false(rate_take(&b, &r, now + 10 * SECOND));
    assert_int_equal(rate_look(&b, &r, now + 3600 * (int64_t)SECOND).left, 6);
}

static void no_rate_is_no_limit(void **state)
{
    (void)state;
    const struct rate none = { .n = 0 };
    struct rate_bucket b = { 0 };

    for (int i = 0; i < 1000; i++)
        assert_true(rate_take(&b, &none, 0));
}

/* However the requests are spread, no more than N + rate x time are let through. */
static void never_more_than_it_says_is_let_through(void **state)
{
    (void)state;
    static const struct rate rates[] = { { 1, SECOND },      { 3, SECOND },
                                         { 7, 60 * SECOND }, { 1000, SECOND },
                                         { 999983, SECOND }, { 11, 24 * 3600LL * SECOND } };

    for (size_t i = 0; i < ARRAY_LEN(rates); i++) {
        const struct rate *r = &rates[i];
        struct rate_bucket b = { 0 };
        int64_t start = 5 * (int64_t)SECOND, now = start, taken = 0;
        unsigned dice = 12345;

        for (int n = 0; n < 20000; n++) {
            dice = dice * 1664525 + 1013904223;
            now += (int64_t)(dice >> 8) % (1 + r->duration_us / r->n);
            taken += rate_take(&b, r, now);
            int64_t most = r->n + (now - start) * r->n / r->duration_us;
            assert_true(taken <= most);
        }
        /* and not much less: each interval was asked about twice on average */
        assert_true(taken >= (now - start) / (1 + r->duration_us / r->n) / 2);
    }
}

static void a_changed_rate_keeps_what_is_in_the_bucket_cut_to_its_size(void **state)
{
    (void)state;
    const struct rate six = { 6, 60 * SECOND }, two = { 2, 60 * SECOND }, ten = { 10, SECOND },
                      none = { 0 };
    struct rate_bucket b = { 0 };
    int64_t now = SECOND;

    assert_true(rate_take(&b, &six, now));
    rate_change(&b, &six, &ten, now);
    assert_int_equal(rate_look(&b, &ten, now).left, 5);
    rate_change(&b, &ten, &two, now);
    assert_int_equal(rate_look(&b, &two, now).left, 2);
    assert_true(rate_take(&b, &two, now));
    assert_true(rate_take(&b, &two, now));
    rate_change(&b, &two, &six, now);
    assert_false(rate_take(&b, &six, now));
    rate_change(&b, &none, &six, now);
    assert_int_equal(rate_look(&b, &six, now).left, 6);
}

struct crowd {
    struct rate_bucket bucket;
    _Atomic int taken;
};

static void *take_many(void *arg)
{
    const struct rate r = { 500, 3600LL * SECOND };
    struct crowd *c = arg;

    for (int i = 0; i < 1000; i++)
        if (rate_take(&c->bucket, &r, SECOND))
            atomic_fetch_add(&c->taken, 1);
    return NULL;
}

static void threads_share_a_bucket_exactly(void **state)
{
    (void)state;
    struct crowd c = { 0 };
    pthread_t thread[4];

    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, take_many, &c), 0);
    for (int i = 0; i < 4; i++)
        (void)pthread_join(thread[i], NULL);
    assert_int_equal(c.taken, 500);
}

/* A thread that does not know of the new rate yet may charge by the old one: the bucket is
 * empty then, and not for longer than it takes to fill. */
static void a_bucket_charged_by_another_rate_is_no_emptier_than_empty(void **state)
{
    (void)state;
    const struct rate slow = { .n = 2, .duration_us = 24 * 3600LL * SECOND },
                      fast = { .n = 10, .duration_us = SECOND };
    struct rate_bucket b = { 0 };
    int64_t now = 1000 * (int64_t)SECOND;

    rate_change(&b, &slow, &fast, now);
    assert_true(rate_take(&b, &slow, now));
    assert_false(rate_take(&b, &fast, now));
    assert_true(rate_take(&b, &fast, now + 2 * SECOND));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_bucket_gives_n_and_then_one_each_interval),
        cmocka_unit_test(no_rate_is_no_limit),
        cmocka_unit_test(never_more_than_it_says_is_let_through),
        cmocka_unit_test(a_changed_rate_keeps_what_is_in_the_bucket_cut_to_its_size),
        cmocka_unit_test(threads_share_a_bucket_exactly),
        cmocka_unit_test(a_bucket_charged_by_another_rate_is_no_emptier_than_empty),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

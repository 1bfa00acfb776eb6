/* The limit that threads share: what is taken and given back in batches is never more than the
 * limit, and nothing of it is lost on the way. */
#include <pthread.h>

#include "proxy/limit.h"
#include "unit.h"

/* How many can be taken before it refuses; all of them are kept. */
static int64_t take_all(struct limit_share *s)
{
    int64_t n = 0;

    while (limit_take(s))
        n++;
    return n;
}

static void give(struct limit_share *s, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        limit_give(s);
}

static void a_small_limit_is_exact_whoever_takes_from_it(void **state)
{
    struct limit l;
    struct limit_share a, b;

    (void)state;
    limit_init(&l, 10, 2);
    a = b = (struct limit_share){ .limit = &l };
    assert_int_equal(take_all(&a), 10);
    assert_false(limit_take(&b));
    limit_give(&a);
    assert_true(limit_take(&b)); /* at once: nothing stays in other hands */
    assert_false(limit_take(&a));
    give(&a, 9);
    limit_give(&b);
    assert_int_equal(take_all(&b), 10);
}

static void nothing_is_lost_or_gained_by_giving_back_in_batches(void **state)
{
    static const int64_t limits[] = { 1, 127, 128, 255, 256, 257, 1024, 4096, 5000, 100000 };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        struct limit l;
        struct limit_share s;

        limit_init(&l, limits[i], 1);
        s = (struct limit_share){ .limit = &l };
        for (int round = 0; round < 50; round++) {
            assert_int_equal(take_all(&s), limits[i]);
            give(&s, limits[i]);
        }
        assert_int_equal(take_all(&s), limits[i]);
    }
}

/* What one thread has given back another one can have, but for a few that it keeps in hand. */
static void what_is_given_back_can_be_taken_by_others(void **state)
{
    struct limit l;
    struct limit_share a, b;

    (void)state;
    limit_init(&l, 8192, 2);
    a = b = (struct limit_share){ .limit = &l };
    assert_int_equal(take_all(&a), 8192);
    give(&a, 8192);
    int64_t theirs = take_all(&b);
    assert_in_range(theirs, 8192 - 8192 / 50, 8192);
    assert_int_equal(take_all(&a) + theirs, 8192); /* the others were in its hand */
    assert_false(limit_take(&b));
}

#define THREADS 4
#define LIMIT 2048

static struct limit shared;
static _Atomic int64_t taken, most;

static void *take_and_give(void *arg)
{
    struct limit_share s = { .limit = &shared };

    (void)arg;
    for (int round = 0; round < 200; round++) {
        int64_t mine = 0;

        while (mine < LIMIT && limit_take(&s)) {
            int64_t now = atomic_fetch_add(&taken, 1) + 1;
            int64_t before = atomic_load(&most);

            while (now > before && !atomic_compare_exchange_weak(&most, &before, now))
                ;
            mine++;
        }
        for (; mine > 0; mine--) {
            (void)atomic_fetch_sub(&taken, 1);
            limit_give(&s);
        }
    }
    return NULL;
}

static void threads_together_never_take_more_than_the_limit(void **state)
{
    pthread_t thread[THREADS];

    (void)state;
    limit_init(&shared, LIMIT, THREADS);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, take_and_give, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    assert_int_equal(taken, 0);
    assert_true(most <= LIMIT);
    assert_true(most > LIMIT / 2);
}

static void a_changed_limit_counts_from_now_on(void **state)
{
    struct limit l;
    struct limit_share s;

    (void)state;
    limit_init(&l, 10, 1);
    s = (struct limit_share){ .limit = &l };
    assert_int_equal(take_all(&s), 10);
    limit_change(&l, 3);
    assert_int_equal(take_all(&s), 3);
    limit_change(&l, -8); /* 5: what is above it is waited for */
    give(&s, 8);
    assert_false(limit_take(&s));
    limit_give(&s);
    assert_true(limit_take(&s));
    assert_false(limit_take(&s));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_small_limit_is_exact_whoever_takes_from_it),
        cmocka_unit_test(nothing_is_lost_or_gained_by_giving_back_in_batches),
        cmocka_unit_test(what_is_given_back_can_be_taken_by_others),
        cmocka_unit_test(threads_together_never_take_more_than_the_limit),
        cmocka_unit_test(a_changed_limit_counts_from_now_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* limit.h: threads that share a limit never have more than it together, and nothing of it is
 * lost. */
#include <pthread.h>

#include "base/limit.h"
#include "unit.h"

/* How many can be taken before it refuses; all of them are kept. */
static int64_t take_all(_Atomic int64_t *taken, int64_t most)
{
    int64_t n = 0;

    while (limit_take(taken, most))
        n++;
    return n;
}

static void as_many_as_the_limit_can_be_taken_again_and_again(void **state)
{
    static const int64_t limits[] = { 1, 10, 127, 128, 4096, 100000 };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        _Atomic int64_t taken = 0;

        for (int round = 0; round < 10; round++) {
            assert_int_equal(take_all(&taken, limits[i]), limits[i]);
            for (int64_t n = 0; n < limits[i]; n++)
                limit_give(&taken);
        }
        assert_int_equal(taken, 0);
    }
}

static void what_is_given_back_can_be_taken_at_once(void **state)
{
    _Atomic int64_t taken = 0;

    (void)state;
    assert_int_equal(take_all(&taken, 8192), 8192);
    assert_false(limit_take(&taken, 8192));
    limit_give(&taken);
    assert_true(limit_take(&taken, 8192));
    assert_false(limit_take(&taken, 8192));
}

/* Of a limit that was lowered, those above it are waited for. */
static void a_changed_limit_counts_from_now_on(void **state)
{
    _Atomic int64_t taken = 0;

    (void)state;
    assert_int_equal(take_all(&taken, 10), 10);
    assert_int_equal(take_all(&taken, 13), 3);
    for (int i = 0; i < 8; i++)
        limit_give(&taken);
    assert_false(limit_take(&taken, 5));
    limit_give(&taken);
    assert_true(limit_take(&taken, 5));
    assert_false(limit_take(&taken, 5));
}

#define THREADS 4
#define LIMIT 2048

static _Atomic int64_t shared, inside, highest;

static void *take_and_give(void *arg)
{
    (void)arg;
    for (int round = 0; round < 200; round++) {
        int64_t mine = 0;

        while (mine < LIMIT && limit_take(&shared, LIMIT)) {
            int64_t now = atomic_fetch_add(&inside, 1) + 1;
            int64_t before = atomic_load(&highest);

            while (now > before && !atomic_compare_exchange_weak(&highest, &before, now))
                ;
            mine++;
        }
        for (; mine > 0; mine--) {
            (void)atomic_fetch_sub(&inside, 1);
            limit_give(&shared);
        }
    }
    return NULL;
}

static void threads_together_never_take_more_than_the_limit(void **state)
{
    pthread_t thread[THREADS];

    (void)state;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, take_and_give, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    assert_int_equal(shared, 0);
    assert_int_equal(inside, 0);
    assert_int_equal(highest, LIMIT); /* reached by a thread alone at the latest */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_many_as_the_limit_can_be_taken_again_and_again),
        cmocka_unit_test(what_is_given_back_can_be_taken_at_once),
        cmocka_unit_test(a_changed_limit_counts_from_now_on),
        cmocka_unit_test(threads_together_never_take_more_than_the_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

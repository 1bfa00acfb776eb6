/* arena.c: pieces are aligned and apart, the limit holds, clearing keeps one block. */
#include <stdalign.h>
#include <string.h>

#include "base/arena.h"
#include "unit.h"

static void pieces_are_aligned_and_do_not_overlap(void **state)
{
    struct arena a;
    unsigned char *pieces[200];

    (void)state;
    arena_init(&a, 1 << 20);
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        pieces[i] = arena_alloc(&a, i);
        assert_non_null(pieces[i]);
        assert_int_equal((uintptr_t)pieces[i] % alignof(max_align_t), 0);
        memset(pieces[i], (int)i, i);
    }
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++)
        for (size_t k = 0; k < i; k++)
            assert_int_equal(pieces[i][k], i);
    arena_done(&a);
}

static void nothing_is_given_past_the_limit(void **state)
{
    struct arena a;

    (void)state;
    arena_init(&a, 64);
    assert_null(arena_alloc(&a, 65));
    assert_non_null(arena_alloc(&a, 48));
    assert_null(arena_alloc(&a, 17));
    assert_non_null(arena_alloc(&a, 16));
    assert_null(arena_alloc(&a, 1));
    assert_null(arena_alloc(&a, 0));
    arena_clear(&a);
    assert_non_null(arena_alloc(&a, 64));
    arena_done(&a);
}

static void absurd_sizes_are_refused(void **state)
{
    struct arena a;

    (void)state;
    arena_init(&a, SIZE_MAX);
    assert_null(arena_alloc(&a, SIZE_MAX));
    assert_null(arena_copy(&a, "x", SIZE_MAX));
    arena_done(&a);
}

static void a_copy_ends_in_nul(void **state)
{
    struct arena a;

    (void)state;
    arena_init(&a, 1000);
    assert_string_equal(arena_copy(&a, "header", 4), "head");
    assert_string_equal(arena_copy(&a, NULL, 0), "");
    arena_done(&a);
}

static void a_large_piece_leaves_the_room_in_the_small_block_usable(void **state)
{
    struct arena a;

    (void)state;
    arena_init(&a, 1 << 20);
    char *small = arena_alloc(&a, 16);
    char *large = arena_alloc(&a, 100000);
    char *next = arena_alloc(&a, 16);
    assert_non_null(large);
    memset(large, 'x', 100000);
    assert_ptr_equal(next, small + 16);
    arena_done(&a);
}

static void clearing_keeps_the_first_block_and_wipes_it(void **state)
{
    struct arena a;

    (void)state;
    arena_init(&a, 1 << 20);
    char *first = arena_copy(&a, "Authorization: Bearer canary", 28);
    for (int i = 0; i < 20; i++)
        assert_non_null(arena_alloc(&a, 1000));
    arena_clear(&a);
    assert_int_equal(a.used_bytes, 0);
    char *again = arena_alloc(&a, 29);
    assert_ptr_equal(again, first);
    for (int i = 0; i < 29; i++)
        assert_int_equal(again[i], 0);
    arena_done(&a);
}

static void a_done_arena_can_be_used_again(void **state)
{
    struct arena a;

    (void)state;
    arena_init(&a, 100);
    arena_clear(&a);
    assert_non_null(arena_alloc(&a, 10));
    arena_done(&a);
    assert_non_null(arena_alloc(&a, 96));
    arena_done(&a);
    arena_done(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_are_aligned_and_do_not_overlap),
        cmocka_unit_test(nothing_is_given_past_the_limit),
        cmocka_unit_test(absurd_sizes_are_refused),
        cmocka_unit_test(a_copy_ends_in_nul),
        cmocka_unit_test(a_large_piece_leaves_the_room_in_the_small_block_usable),
        cmocka_unit_test(clearing_keeps_the_first_block_and_wipes_it),
        cmocka_unit_test(a_done_arena_can_be_used_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* buf.c: what is written is read in order, and the limit holds. */
#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "unit.h"

static void an_empty_buffer_allocates_nothing_and_reads_as_empty(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 10);
    assert_null(b.data);
    assert_int_equal(buf_unread(&b), 0);
    assert_int_equal(buf_room(&b), 10);
    assert_string_equal(buf_text(&b), "");
    assert_string_equal(buf_front(&b), "");
    buf_done(&b);
}

static void a_zeroed_buffer_can_be_done_and_wiped(void **state)
{
    struct buf b = { 0 };

    (void)state;
    buf_done(&b);
    buf_wipe(&b);
    assert_int_equal(buf_add(&b, "x", 1), -EMSGSIZE);
    assert_int_equal(buf_add(&b, NULL, 0), 0);
}

static void what_is_added_comes_back_in_order(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 1000);
    assert_int_equal(buf_add(&b, "one ", 4), 0);
    assert_int_equal(buf_add_str(&b, "two "), 0);
    assert_int_equal(buf_addf(&b, "%d", 3), 0);
    assert_string_equal(buf_text(&b), "one two 3");
    buf_consume(&b, 4);
    assert_string_equal(buf_text(&b), "two 3");
    assert_memory_equal(buf_front(&b), "two 3", 5);
    assert_int_equal(buf_unread(&b), 5);
    buf_done(&b);
}

static void the_limit_is_exact(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 5);
    assert_int_equal(buf_add(&b, "123456", 6), -EMSGSIZE);
    assert_int_equal(buf_unread(&b), 0);
    assert_int_equal(buf_add(&b, "12345", 5), 0);
    assert_int_equal(buf_add(&b, "6", 1), -EMSGSIZE);
    assert_int_equal(buf_addf(&b, "%s", "6"), -EMSGSIZE);
    assert_null(buf_reserve(&b, 1));
    assert_string_equal(buf_text(&b), "12345");
    assert_int_equal(buf_room(&b), 0);
    buf_done(&b);
}

static void the_limit_counts_unread_bytes_only(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 5);
    assert_int_equal(buf_add(&b, "12345", 5), 0);
    buf_consume(&b, 3);
    assert_int_equal(buf_room(&b), 3);
    assert_int_equal(buf_add(&b, "678", 3), 0);
    assert_string_equal(buf_text(&b), "45678");
    assert_int_equal(buf_add(&b, "9", 1), -EMSGSIZE);
    buf_done(&b);
}

static void memory_stays_bounded_while_bytes_flow_through(void **state)
{
    struct buf b;
    unsigned char in = 0;
    unsigned char out = 0;

    (void)state;
    buf_init(&b, 1000);
    for (int i = 0; i < 2000; i++) {
        while (buf_room(&b) > 0) {
            assert_int_equal(buf_add(&b, &in, 1), 0);
            in++;
        }
        for (int k = 0; k < 37; k++) {
            assert_int_equal((unsigned char)*buf_front(&b), out);
            out++;
            buf_consume(&b, 1);
        }
    }
    assert_true(b.cap <= 1001);
    buf_done(&b);
}

static void a_huge_limit_does_not_overflow(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, SIZE_MAX);
    assert_int_equal(buf_add_str(&b, "x"), 0);
    assert_null(buf_reserve(&b, SIZE_MAX));
    assert_null(buf_reserve(&b, SIZE_MAX - 1));
    assert_string_equal(buf_text(&b), "x");
    buf_done(&b);
}

static void reserved_bytes_count_once_committed(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 100);
    char *to = buf_reserve(&b, 100);
    assert_non_null(to);
    memset(to, 'a', 100);
    assert_int_equal(buf_unread(&b), 0);
    buf_commit(&b, 60);
    assert_int_equal(buf_unread(&b), 60);
    assert_int_equal(buf_room(&b), 40);
    assert_int_equal(strlen(buf_text(&b)), 60);
    buf_done(&b);
}

static void formatted_text_longer_than_the_first_block_is_whole(void **state)
{
    struct buf b;
    char long_text[3000];

    (void)state;
    memset(long_text, 'q', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = '\0';
    buf_init(&b, 10000);
    assert_int_equal(buf_addf(&b, "<%s>", long_text), 0);
    assert_int_equal(buf_addf(&b, "<%s>", "end"), 0);
    assert_int_equal(buf_unread(&b), 2 + 2999 + 5);
    assert_string_equal(buf_text(&b) + 2999, "q><end>");
    buf_done(&b);
}

static void a_cleared_buffer_keeps_its_memory(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 100);
    assert_int_equal(buf_add_str(&b, "text"), 0);
    char *data = b.data;
    buf_clear(&b);
    assert_string_equal(buf_text(&b), "");
    assert_int_equal(buf_add_str(&b, "more"), 0);
    assert_ptr_equal(b.data, data);
    assert_string_equal(buf_text(&b), "more");
    buf_done(&b);
}

static void a_wiped_buffer_is_usable_again_with_its_limit(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 4);
    assert_int_equal(buf_add_str(&b, "1234"), 0);
    buf_wipe(&b);
    assert_null(b.data);
    assert_int_equal(buf_add_str(&b, "12345"), -EMSGSIZE);
    assert_int_equal(buf_add_str(&b, "abcd"), 0);
    assert_string_equal(buf_text(&b), "abcd");
    buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_buffer_allocates_nothing_and_reads_as_empty),
        cmocka_unit_test(a_zeroed_buffer_can_be_done_and_wiped),
        cmocka_unit_test(what_is_added_comes_back_in_order),
        cmocka_unit_test(the_limit_is_exact),
        cmocka_unit_test(the_limit_counts_unread_bytes_only),
        cmocka_unit_test(memory_stays_bounded_while_bytes_flow_through),
        cmocka_unit_test(a_huge_limit_does_not_overflow),
        cmocka_unit_test(reserved_bytes_count_once_committed),
        cmocka_unit_test(formatted_text_longer_than_the_first_block_is_whole),
        cmocka_unit_test(a_cleared_buffer_keeps_its_memory),
        cmocka_unit_test(a_wiped_buffer_is_usable_again_with_its_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

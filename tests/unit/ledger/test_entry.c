/* ledger/entry.c: ids and the names of states. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "ledger/entry.h"
#include "unit.h"

static void ids_are_sound_and_in_the_order_in_which_they_are_made(void **state)
{
    char last[LEDGER_ID_BYTES] = "", id[LEDGER_ID_BYTES];
    unsigned long long ms = 0;

    (void)state;
    for (size_t i = 0; i < 1000; i++) {
        int64_t until_ns = clock_wall_ns() + 500;

        while (clock_wall_ns() < until_ns)
            ;
        ledger_id_new(id);
        assert_true(ledger_id_valid(id));
        assert_true(strcmp(id, last) > 0);
        memcpy(last, id, sizeof last);
    }
    char time[13] = "";

    memcpy(time, id, 8);
    memcpy(time + 8, id + 9, 4);
    assert_int_equal(sscanf(time, "%llx", &ms), 1);
    assert_in_range(clock_wall_ms() - (int64_t)ms, 0, 5000);
}

static void what_is_no_id_is_told(void **state)
{
    static const char *const wrong[] = { "",
                                         "019a0000-0000-7000-8000-00000000000",
                                         "019a0000-0000-7000-8000-0000000000000",
                                         "019A0000-0000-7000-8000-000000000000",
                                         "019a0000-0000-4000-8000-000000000000",
                                         "019a0000x0000-7000-8000-000000000000" };

    (void)state;
    assert_true(ledger_id_valid("019a0000-0000-7000-8000-000000000000"));
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        assert_false(ledger_id_valid(wrong[i]));
}

static void states_have_names(void **state)
{
    (void)state;
    for (int i = 0; i < LEDGER_STATES; i++)
        assert_int_equal(ledger_state_find(ledger_state_name((enum ledger_state)i)), i);
    assert_int_equal(ledger_state_find("lost"), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_are_sound_and_in_the_order_in_which_they_are_made),
        cmocka_unit_test(what_is_no_id_is_told),
        cmocka_unit_test(states_have_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

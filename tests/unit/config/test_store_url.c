/* store_url.c: parsing the URL of a PostgreSQL store, and what is refused. */
#include "config/store_url.h"
#include "unit.h"

static void hosts_ports_user_and_database_are_taken_apart(void **state)
{
    struct config_store_url u;

    (void)state;
    assert_null(config_store_url_split(
        "postgresql://pro%78y@a.example:6432,[::1],10.0.0.1:1/led%20ger", &u));
    assert_string_equal(u.user, "proxy");
    assert_string_equal(u.database, "led ger");
    assert_int_equal(u.hosts, 3);
    assert_string_equal(u.host[0].name, "a.example");
    assert_int_equal(u.host[0].port, 6432);
    assert_string_equal(u.host[1].name, "::1");
    assert_int_equal(u.host[1].port, 5432);
    assert_string_equal(u.host[2].name, "10.0.0.1");
    assert_int_equal(u.host[2].port, 1);
    assert_null(config_store_url_split("postgresql://u@%2Frun%2Fpostgresql/db", &u));
    assert_string_equal(u.host[0].name, "/run/postgresql");
}

static void what_is_odd_is_refused(void **state)
{
    static const char *const cases[][2] = {
        { "postgres://u@h/d", "does not begin with postgresql://" },
        { "postgresql://h/d", "names no user" },
        { "postgresql://@h/d", "has no valid user" },
        { "postgresql://u:p@h/d", "has a password, which belongs into "
                                  "ledger.store_password_file" },
        { "postgresql://u@h", "names no database" },
        { "postgresql://u@h/", "names no database" },
        { "postgresql://u@h/d/e", "has no valid database" },
        { "postgresql://u@h/d%0a", "has no valid database" },
        { "postgresql://u@h/d%zz", "has no valid database" },
        { "postgresql://u@h/d%4", "has no valid database" },
        { "postgresql://u@h/d?sslmode=disable", "has options" },
        { "postgresql://u@h/d#f", "has options" },
        { "postgresql://u@/d", "has no valid host" },
        { "postgresql://u@h,/d", "has no valid host" },
        { "postgresql://u@,h/d", "has no valid host" },
        { "postgresql://u@127.1/d", "has no valid host" },
        { "postgresql://u@%41/d", "has no valid host" },
        { "postgresql://u@h:0/d", "has no valid port" },
        { "postgresql://u@h:/d", "has no valid port" },
        { "postgresql://u@h:65536/d", "has no valid port" },
        { "postgresql://u@h:5432x/d", "has no valid port" },
        { "postgresql://u@a,a,a,a,a,a,a,a,a/d", "has more than 8 hosts" },
    };
    struct config_store_url u;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *wrong = config_store_url_split(cases[i][0], &u);
        if (wrong == NULL)
            fail_msg("%s is taken", cases[i][0]);
        assert_string_equal(wrong, cases[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hosts_ports_user_and_database_are_taken_apart),
        cmocka_unit_test(what_is_odd_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

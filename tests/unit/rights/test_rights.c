/* rights/rights.c: what lists allow, and that no order of entries matters. */
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "rights/rights.h"
#include "unit.h"

#define U "6f1c0de0-aaaa-4bbb-8ccc-dddddddddddd"
#define V "00000000-aaaa-4bbb-8ccc-dddddddddddd"

static void add_all(struct rights_list *l, const char *list)
{
    while (*list != '\0') {
        size_t n = strcspn(list, ",");
        const char *wrong = rights_list_add(l, list, n);

        if (wrong != NULL)
            fail_msg("%.*s %s", (int)n, list, wrong);
        list += n + strspn(list + n, ", ");
    }
}

static struct rights_decision decide(const char *allow, const char *deny, const char *method,
                                     const char *path)
{
    struct rights r = { .allow.count = 0 };
    struct classes c;

    classes_init(&c, CLASS_TABLE_1SHOT);
    add_all(&r.allow, allow);
    add_all(&r.deny, deny);
    struct operation o;

    classes_find(&c,
                 &(struct class_request){
                     .method = method, .api_path = path, .api_path_len = strlen(path) },
                 &o);
    struct rights_decision d = rights_decide(&r, method, &o);
    rights_list_done(&r.allow);
    rights_list_done(&r.deny);
    return d;
}

static void assert_rule(enum rights_rule rule, const char *allow, const char *deny,
                        const char *method, const char *path)
{
    struct rights_decision d = decide(allow, deny, method, path);

    if (d.rule != rule)
        fail_msg("%s %s with allow %s, deny %s: %d", method, path, allow, deny, (int)d.rule);
}

static void what_no_entry_allows_is_refused(void **state)
{
    (void)state;
    assert_rule(RIGHTS_NOT_ALLOWED, "", "", "GET", "/chains");
    assert_rule(RIGHTS_ALLOWED, "read", "", "GET", "/chains");
    assert_rule(RIGHTS_NOT_ALLOWED, "read", "", "POST", "/methods/" U "/execute");
    assert_rule(RIGHTS_ALLOWED, "POST /methods/" U "/execute", "", "POST",
                "/methods/" U "/execute");
    assert_rule(RIGHTS_NOT_ALLOWED, "POST /methods/" U "/execute", "", "POST",
                "/methods/" V "/execute");
    assert_rule(RIGHTS_NOT_ALLOWED, "money", "", "POST", "/methods/" U "/execute/");
    assert_rule(RIGHTS_ALLOWED, "all", "", "POST", "/methods/" U "/execute/");
    assert_rule(RIGHTS_ALLOWED, "unknown", "", "POST", "/nowhere");
}

static void a_denied_entry_wins_however_wide_it_is(void **state)
{
    (void)state;
    assert_rule(RIGHTS_DENIED, "money", "POST /wallets/{uuid}/transfer", "POST",
                "/wallets/" U "/transfer");
    assert_rule(RIGHTS_DENIED, "POST /wallets/" U "/transfer", "POST /wallets/{uuid}/transfer",
                "POST", "/wallets/" U "/transfer");
    assert_rule(RIGHTS_DENIED, "POST /wallets/" U "/transfer", "money", "POST",
                "/wallets/" U "/transfer");
    assert_rule(RIGHTS_ALLOWED, "money", "POST /wallets/" V "/transfer", "POST",
                "/wallets/" U "/transfer");
}

static void the_entry_that_decided_is_told(void **state)
{
    (void)state;
    struct rights_decision d = decide("read, money", "POST /wallets/{uuid}/transfer", "POST",
                                      "/wallets/" U "/transfer");

    assert_int_equal(d.rule, RIGHTS_DENIED);
    assert_int_equal(d.entry_len, strlen("POST /wallets/{uuid}/transfer"));
    assert_memory_equal(d.entry, "POST /wallets/{uuid}/transfer", d.entry_len);
    d = decide("read, money", "", "GET", "/chains");
    assert_string_equal(d.entry, "read");
    assert_null(decide("read", "", "POST", "/x").entry);
}

/* Adding a deny or removing an allow never lets more through; reordering changes nothing. */
static void more_deny_or_less_allow_never_lets_more_through(void **state)
{
    (void)state;
    static const char *const entries[] = { "read",
                                           "simulate",
                                           "money",
                                           "POST /wallets/{uuid}/transfer",
                                           "POST /methods/{uuid}/{}",
                                           "GET /{}",
                                           "unknown" };
    static const char *const requests[][2] = { { "GET", "/chains" },
                                               { "POST", "/wallets/" U "/transfer" },
                                               { "POST", "/methods/" U "/execute" },
                                               { "POST", "/methods/" U "/read" },
                                               { "POST", "/nowhere" },
                                               { "HEAD", "/webhooks" } };
    enum { N = ARRAY_LEN(entries) };
    struct classes c;

    classes_init(&c, CLASS_TABLE_1SHOT);
    for (unsigned mask = 0; mask < 1U << (2 * N); mask += 7) {
        struct rights r = { .allow.count = 0 }, reversed = { .allow.count = 0 };

        for (unsigned i = 0; i < N; i++) {
            unsigned back = N - 1 - i;
            if ((mask & 1U << i) != 0)
                add_all(&r.allow, entries[i]);
            if ((mask & 1U << (N + i)) != 0)
                add_all(&r.deny, entries[i]);
            if ((mask & 1U << back) != 0)
                add_all(&reversed.allow, entries[back]);
            if ((mask & 1U << (N + back)) != 0)
                add_all(&reversed.deny, entries[back]);
        }
        for (size_t q = 0; q < ARRAY_LEN(requests); q++) {
            struct operation o;

            classes_find(&c,
                         &(struct class_request){ .method = requests[q][0],
                                                  .api_path = requests[q][1],
                                                  .api_path_len = strlen(requests[q][1]) },
                         &o);
            enum rights_rule rule = rights_decide(&r, requests[q][0], &o).rule;
            struct rights less = r;

            assert_int_equal(rule, rights_decide(&reversed, requests[q][0], &o).rule);
            less.allow = (struct rights_list){ 0 };
            assert_int_not_equal(rights_decide(&less, requests[q][0], &o).rule, RIGHTS_ALLOWED);
            less = r;
            less.deny = (struct rights_list){ 0 };
            if (rule == RIGHTS_ALLOWED)
                assert_int_equal(rights_decide(&less, requests[q][0], &o).rule, RIGHTS_ALLOWED);
        }
        rights_list_done(&r.allow);
        rights_list_done(&r.deny);
        rights_list_done(&reversed.allow);
        rights_list_done(&reversed.deny);
    }
}

static void a_bad_entry_is_told_what_is_wrong(void **state)
{
    (void)state;
    struct rights_list l = { 0 };

    assert_non_null(strstr(rights_list_add(&l, "reads", 5), "neither a class"));
    assert_non_null(strstr(rights_list_add(&l, "GET /a/*", 8), "{}"));
    assert_non_null(strstr(rights_list_add(&l, "/a", 2), "METHOD"));
    for (size_t i = 0; i < RIGHTS_PATTERNS_MAX; i++)
        assert_null(rights_list_add(&l, "GET /a", 6));
    assert_non_null(strstr(rights_list_add(&l, "GET /a", 6), "too many"));
    rights_list_done(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_no_entry_allows_is_refused),
        cmocka_unit_test(a_denied_entry_wins_however_wide_it_is),
        cmocka_unit_test(the_entry_that_decided_is_told),
        cmocka_unit_test(more_deny_or_less_allow_never_lets_more_through),
        cmocka_unit_test(a_bad_entry_is_told_what_is_wrong),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

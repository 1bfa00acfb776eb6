#pragma once
/* What every store must do: tests that run with each kind of store. Whoever includes this
 * provides a setup that makes an empty store, and a teardown. */
#include <stdio.h>
#include <string.h>

#include "ledger/store.h"
#include "unit.h"

struct fixture {
    const struct store_type *type;
    struct store *store;
    void (*age)(
        int64_t ms); /* ends all leases so much earlier; NULL: the store takes the time as
                                it is told */
};

/* An empty store; teardown frees it. */
static struct fixture *fixture_of(void **state)
{
    return *state;
}

#define LEASE_MS 60000
#define NOW_MS 1700000000000

static const unsigned char print_a[LEDGER_FINGERPRINT_BYTES] = { 1, 2, 3 };
static const unsigned char print_b[LEDGER_FINGERPRINT_BYTES] = { 4, 5, 6 };
static const struct ledger_bytes nothing;

struct claim {
    char id[LEDGER_ID_BYTES];
    struct store_claim c;
};

static void claim_done(struct claim *c)
{
    ledger_entry_done(&c->c.found);
}
#define auto_claim __attribute__((cleanup(claim_done))) struct claim

/* Fills in a claim for that key; without an id it is a look. */
static void claim_of(struct claim *c, const char *scope, const char *key, bool is_look)
{
    memset(c, 0, sizeof *c);
    if (!is_look)
        ledger_id_new(c->id);
    c->c = (struct store_claim){ .id = c->id,
                                 .scope = scope,
                                 .key = key,
                                 .fingerprint = print_a,
                                 .method = "POST",
                                 .path = "/v0/methods/1/execute",
                                 .request_id = "request-1",
                                 .request_body = &nothing,
                                 .lease_ms = LEASE_MS };
}

static void batch_at(struct fixture *f, int64_t now_ms, struct store_claim *const *claims,
                     size_t claim_count, struct store_outcome *const *outcomes,
                     size_t outcome_count)
{
    struct buf error;

    buf_init(&error, 4096);
    enum store_result r = f->type->batch(f->store,
                                         &(struct store_batch){ .claim = claims,
                                                                .claims = claim_count,
                                                                .outcome = outcomes,
                                                                .outcomes = outcome_count,
                                                                .now_ms = now_ms },
                                         &error);
    if (r != STORE_OK)
        fail_msg("%s", buf_text(&error));
    buf_done(&error);
}

/* Makes one claim in a batch of its own. */
static enum store_claimed make(struct fixture *f, struct claim *c)
{
    batch_at(f, NOW_MS, (struct store_claim *[]){ &c->c }, 1, NULL, 0);
    return c->c.result;
}

static enum store_claimed claim_key(struct fixture *f, struct claim *c, const char *key)
{
    claim_of(c, "", key, false);
    return make(f, c);
}

static enum store_written tell_outcome(struct fixture *f, struct store_outcome o)
{
    if (o.cause == NULL)
        o.cause = "";
    if (o.body == NULL)
        o.body = &nothing;
    batch_at(f, NOW_MS + 5, NULL, 0, (struct store_outcome *[]){ &o }, 1);
    return o.result;
}

static enum store_written tell_state(struct fixture *f, const char *id, enum ledger_state state)
{
    return tell_outcome(f, (struct store_outcome){ .id = id, .state = state });
}

static struct store_census census_at(struct fixture *f, enum store_lost_owners which,
                                     int64_t now_ms)
{
    struct store_census census;
    struct buf error;

    buf_init(&error, 4096);
    if (f->type->orphans(f->store, which, now_ms, &census, &error) != STORE_OK)
        fail_msg("%s", buf_text(&error));
    buf_done(&error);
    return census;
}

static enum store_resolved resolve_entry(struct fixture *f, struct store_resolve r)
{
    struct buf error;

    if (r.by == NULL)
        r.by = "uid 0";
    if (r.note == NULL)
        r.note = "looked";
    buf_init(&error, 4096);
    if (f->type->resolve(f->store, &r, &error) != STORE_OK)
        fail_msg("%s", buf_text(&error));
    buf_done(&error);
    ledger_entry_done(&r.entry);
    return r.result;
}

struct listed {
    size_t count;
    struct ledger_entry last;
    char ids[16][LEDGER_ID_BYTES];
};

static bool keep_last(void *arg, const struct ledger_entry *e)
{
    struct listed *l = arg;

    if (l->count < 16)
        memcpy(l->ids[l->count], e->id, LEDGER_ID_BYTES);
    l->count++;
    l->last = *e;
    return true;
}

static size_t list_of(struct fixture *f, struct store_list what)
{
    struct listed listed = { .count = 0 };
    struct buf error;

    what.on_entry = keep_last;
    what.arg = &listed;
    buf_init(&error, 4096);
    if (f->type->list(f->store, &what, &error) != STORE_OK)
        fail_msg("%s", buf_text(&error));
    buf_done(&error);
    return listed.count;
}

/* --- claims --- */

static void a_key_is_claimed_once(void **state)
{
    struct fixture *f = fixture_of(state);
    auto_claim first, second;

    assert_int_equal(claim_key(f, &first, "k"), STORE_CLAIMED);
    assert_int_equal(claim_key(f, &second, "k"), STORE_FOUND);
    assert_string_equal(second.c.found.id, first.id);
    assert_int_equal(second.c.found.state, LEDGER_IN_FLIGHT);
    assert_true(second.c.found.has_fingerprint);
    assert_memory_equal(second.c.found.fingerprint, print_a, sizeof print_a);
    assert_string_equal(second.c.found.method, "POST");
    assert_string_equal(second.c.found.path, "/v0/methods/1/execute");
    assert_string_equal(second.c.found.request_id, "request-1");
    assert_int_equal(second.c.found.lease_ms - second.c.found.claimed_ms, LEASE_MS);
}

static void of_two_in_one_batch_one_claims(void **state)
{
    struct fixture *f = fixture_of(state);
    auto_claim a, b;

    claim_of(&a, "", "k", false);
    claim_of(&b, "", "k", false);
    batch_at(f, NOW_MS, (struct store_claim *[]){ &a.c, &b.c }, 2, NULL, 0);
    assert_true((a.c.result == STORE_CLAIMED) != (b.c.result == STORE_CLAIMED));
    assert_true((a.c.result == STORE_FOUND) != (b.c.result == STORE_FOUND));
}

static void another_caller_has_keys_of_its_own(void **state)
{
    struct fixture *f = fixture_of(state);
    auto_claim a, b, c;

    claim_of(&a, "payroll", "k", false);
    claim_of(&b, "shop", "k", false);
    claim_of(&c, "payroll", "k", false);
    assert_int_equal(make(f, &a), STORE_CLAIMED);
    assert_int_equal(make(f, &b), STORE_CLAIMED);
    assert_int_equal(make(f, &c), STORE_FOUND);
    assert_string_equal(c.c.found.id, a.id);
    assert_string_equal(c.c.found.scope, "payroll");
}

static void the_same_claim_made_again_is_still_ours(void **state)
{
    struct fixture *f = fixture_of(state);
    auto_claim a;

    assert_int_equal(claim_key(f, &a, "k"), STORE_CLAIMED);
    assert_int_equal(make(f, &a), STORE_CLAIMED);
    assert_int_equal(list_of(f, (struct store_list){ .states = 0 }), 1);
}

static void a_look_claims_nothing(void **state)
{
    struct fixture *f = fixture_of(state);
    auto_claim look, claim, again;

    claim_of(&look, "", "k", true);
    assert_int_equal(make(f, &look), STORE_ABSENT);
    assert_int_equal(claim_key(f, &claim, "k"), STORE_CLAIMED);
    claim_of(&again, "", "k", true);
    assert_int_equal(make(f, &again), STORE_FOUND);
}

static void records_without_a_key_are_never_in_each_others_way(void **state)
{
    struct fixture *f = fixture_of(state);
    auto_claim a, b;

    claim_of(&a, "", NULL, false);
    claim_of(&b, "", NULL, false);
    a.c.fingerprint = b.c.fingerprint = NULL;
    assert_int_equal(make(f, &a), STORE_CLAIMED);
    assert_int_equal(make(f, &b), STORE_CLAIMED);
    assert_int_equal(tell_outcome(f, (struct store_outcome){ .id = a.id,
                                                             .state = LEDGER_ANSWERED,
                                                             .status = 201,
                                                             .fingerprint = print_b }),
                     STORE_WRITTEN);
    assert_int_equal(list_of(f, (struct store_list){ .states = 1U << LEDGER_ANSWERED }), 1);
}

static void texts_are_values_and_nothing_else(void **state)
{
    static const char *const keys[] = {
        "'; DROP TABLE ledger_entry; --", "\"", "%s", "\\0", "\xc3\xbc", "?1", "$1"
    };
    struct fixture *f = fixture_of(state);

    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        auto_claim first, second;

        assert_int_equal(claim_key(f, &first, keys[i]), STORE_CLAIMED);
        assert_int_equal(claim_key(f, &second, keys[i]), STORE_FOUND);
        assert_string_equal(second.c.found.key, keys[i]);
    }
}

/* --- outcomes --- */

static void an_answer_is_found_byte_for_byte(void **state)
{
    struct fixture *f = fixture_of(state);
    const struct ledger_bytes body = { .data = (char *)"{\"a\":\0\xff}", .len = 8 };
    auto_claim a, retry;

    assert_int_equal(claim_key(f, &a, "k"), STORE_CLAIMED);
    assert_int_equal(
        tell_outcome(f, (struct store_outcome){ .id = a.id,
                                                .state = LEDGER_ANSWERED,
                                                .status = 201,
                                                .head = "Content-Type: text/plain\r\n",
                                                .body = &body }),
        STORE_WRITTEN);
    assert_int_equal(claim_key(f, &retry, "k"), STORE_FOUND);
    assert_int_equal(retry.c.found.state, LEDGER_ANSWERED);
    assert_int_equal(retry.c.found.status, 201);
    assert_string_equal(retry.c.found.answer_head, "Content-Type: text/plain\r\n");
    assert_int_equal(retry.c.found.answer_body.len, 8);
    assert_memory_equal(retry.c.found.answer_body.data, body.data, 8);
    assert_true(retry.c.found.ended_ms >= retry.c.found.claimed_ms);
}

static void an_empty_body_is_kept_and_none_is_not(void **state)
{
    struct fixture *f = fixture_of(state);
    const struct ledger_bytes empty = { .data = (char *)"" };
    auto_claim a, b, a2, b2;

    assert_int_equal(claim_key(f, &a, "a"), STORE_CLAIMED);
    assert_int_equal(claim_key(f, &b, "b"), STORE_CLAIMED);
    assert_int_equal(
        tell_outcome(
            f, (struct store_outcome){ .id = a.id, .state = LEDGER_ANSWERED, .body = &empty }),
        STORE_WRITTEN);
    assert_int_equal(tell_state(f, b.id, LEDGER_ANSWERED), STORE_WRITTEN);
    assert_int_equal(claim_key(f, &a2, "a"), STORE_FOUND);
    assert_int_equal(claim_key(f, &b2, "b"), STORE_FOUND);
    assert_non_null(a2.c.found.answer_body.data);
    assert_int_equal(a2.c.found.answer_body.len, 0);
    assert_null(b2.c.found.answer_body.data);
}

static void a_retry_in_the_same_batch_sees_the_outcome(void **state)
{
    struct fixture *f = fixture_of(state);
    auto_claim a, retry;

    assert_int_equal(claim_key(f, &a, "k"), STORE_CLAIMED);
    struct store_outcome o = {
        .id = a.id, .state = LEDGER_RELEASED, .cause = "upstream-dns", .body = &nothing
    };

    claim_of(&retry, "", "k", false);
    batch_at(f, NOW_MS, (struct store_claim *[]){ &retry.c }, 1,
             (struct store_outcome *[]){ &o }, 1);
    assert_int_equal(o.result, STORE_WRITTEN);
    assert_int_equal(retry.c.result, STORE_CLAIMED);
}

static void a_released_key_is_free_and_its_row_is_kept(void **state)
{
    struct fixture *f = fixture_of(state);
    auto_claim a, again;

    assert_int_equal(claim_key(f, &a, "k"), STORE_CLAIMED);
    assert_int_equal(tell_state(f, a.id, LEDGER_RELEASED), STORE_WRITTEN);
    assert_int_equal(claim_key(f, &again, "k"), STORE_CLAIMED);
    assert_int_equal(list_of(f, (struct store_list){ .states = 0 }), 2);
    assert_int_equal(list_of(f, (struct store_list){ .states = 1U << LEDGER_RELEASED }), 1);
}

static void a_late_answer_closes_an_unknown_entry(void **state)
{
    struct fixture *f = fixture_of(state);
    auto_claim a, retry;

    assert_int_equal(claim_key(f, &a, "k"), STORE_CLAIMED);
    assert_int_equal(tell_state(f, a.id, LEDGER_UNKNOWN), STORE_WRITTEN);
    assert_int_equal(tell_state(f, a.id, LEDGER_UNKNOWN), STORE_WRITTEN_ALREADY);
    assert_int_equal(tell_state(f, a.id, LEDGER_ANSWERED), STORE_WRITTEN_LATE);
    assert_int_equal(claim_key(f, &retry, "k"), STORE_FOUND);
    assert_int_equal(retry.c.found.state, LEDGER_ANSWERED);
}

static void an_outcome_told_twice_changes_nothing(void **state)
{
    struct fixture *f = fixture_of(state);
    auto_claim a;

    assert_int_equal(claim_key(f, &a, "k"), STORE_CLAIMED);
    assert_int_equal(tell_state(f, a.id, LEDGER_ANSWERED), STORE_WRITTEN);
    assert_int_equal(tell_state(f, a.id, LEDGER_ANSWERED), STORE_WRITTEN_ALREADY);
    assert_int_equal(tell_state(f, a.id, LEDGER_RELEASED), STORE_GONE);
    assert_int_equal(list_of(f, (struct store_list){ .states = 1U << LEDGER_ANSWERED }), 1);
}

static void an_outcome_of_nothing_is_gone(void **state)
{
    char id[LEDGER_ID_BYTES];

    ledger_id_new(id);
    assert_int_equal(tell_state(fixture_of(state), id, LEDGER_RELEASED), STORE_GONE);
}

/* --- orphans --- */

static void all_in_flight_become_unknown_when_their_owner_is_gone(void **state)
{
    struct fixture *f = fixture_of(state);
    auto_claim a, b, retry;

    assert_int_equal(claim_key(f, &a, "a"), STORE_CLAIMED);
    assert_int_equal(claim_key(f, &b, "b"), STORE_CLAIMED);
    assert_int_equal(tell_state(f, b.id, LEDGER_ANSWERED), STORE_WRITTEN);
    struct store_census c = census_at(f, STORE_COUNT_ONLY, NOW_MS);

    assert_int_equal(c.orphans, 0);
    assert_int_equal(c.in_flight, 1);
    c = census_at(f, STORE_ALL, NOW_MS);
    assert_int_equal(c.orphans, 1);
    assert_int_equal(c.in_flight, 0);
    assert_int_equal(c.unknown, 1);
    assert_true(c.unknown_oldest_ms > 0);
    assert_true(c.newest_ms > 0);
    assert_int_equal(claim_key(f, &retry, "a"), STORE_FOUND);
    assert_int_equal(retry.c.found.state, LEDGER_UNKNOWN);
    assert_string_equal(retry.c.found.cause, "owner-lost");
}

/* --- resolve --- */

/* When nothing from before can be in progress any more. */
static int64_t after_all(const struct fixture *f)
{
    const int64_t wait_ms = LEASE_MS + STORE_RESOLVE_AFTER_MS + 1;

    if (f->age != NULL)
        f->age(wait_ms);
    return NOW_MS + wait_ms;
}

static void what_an_operator_says_is_found(void **state)
{
    struct fixture *f = fixture_of(state);
    const struct ledger_bytes body = { .data = (char *)"done", .len = 4 };
    auto_claim a, b, a2, b2;

    assert_int_equal(claim_key(f, &a, "a"), STORE_CLAIMED);
    assert_int_equal(claim_key(f, &b, "b"), STORE_CLAIMED);
    assert_int_equal(census_at(f, STORE_ALL, NOW_MS).orphans, 2);
    assert_int_equal(resolve_entry(f, (struct store_resolve){ .id = a.id,
                                                              .executed = true,
                                                              .status = 200,
                                                              .body = &body,
                                                              .now_ms = NOW_MS }),
                     STORE_RESOLVED);
    assert_int_equal(
        resolve_entry(f, (struct store_resolve){ .id = b.id, .now_ms = after_all(f) }),
        STORE_RESOLVED);
    assert_int_equal(claim_key(f, &a2, "a"), STORE_FOUND);
    assert_int_equal(a2.c.found.state, LEDGER_ANSWERED);
    assert_int_equal(a2.c.found.status, 200);
    assert_memory_equal(a2.c.found.answer_body.data, "done", 4);
    assert_string_equal(a2.c.found.resolved_by, "uid 0");
    assert_string_equal(a2.c.found.note, "looked");
    assert_int_equal(claim_key(f, &b2, "b"), STORE_CLAIMED);
}

/* What was kept of a failed answer was evidence. It is not what became of the request. */
static void what_an_operator_does_not_say_is_not_known(void **state)
{
    struct fixture *f = fixture_of(state);
    const struct ledger_bytes body = { .data = (char *)"failed", .len = 6 };
    auto_claim a, retry;

    assert_int_equal(claim_key(f, &a, "a"), STORE_CLAIMED);
    assert_int_equal(tell_outcome(f, (struct store_outcome){ .id = a.id,
                                                             .state = LEDGER_UNKNOWN,
                                                             .cause = "server-error",
                                                             .status = 500,
                                                             .head = "Content-Type: a\r\n",
                                                             .body = &body }),
                     STORE_WRITTEN);
    assert_int_equal(
        resolve_entry(f,
                      (struct store_resolve){ .id = a.id, .executed = true, .now_ms = NOW_MS }),
        STORE_RESOLVED);
    assert_int_equal(claim_key(f, &retry, "a"), STORE_FOUND);
    assert_int_equal(retry.c.found.state, LEDGER_ANSWERED);
    assert_int_equal(retry.c.found.status, 0);
    assert_null(retry.c.found.answer_head);
    assert_null(retry.c.found.answer_body.data);
    assert_string_equal(retry.c.found.cause, "resolved-executed");
}

static void not_executed_has_to_wait_unless_forced(void **state)
{
    struct fixture *f = fixture_of(state);
    auto_claim a;

    assert_int_equal(claim_key(f, &a, "a"), STORE_CLAIMED);
    assert_int_equal(census_at(f, STORE_ALL, NOW_MS).orphans, 1);
    assert_int_equal(
        resolve_entry(f, (struct store_resolve){ .id = a.id, .now_ms = NOW_MS + LEASE_MS + 1 }),
        STORE_TOO_EARLY);
    assert_int_equal(
        resolve_entry(f, (struct store_resolve){ .id = a.id,
                                                 .force = true,
                                                 .now_ms = NOW_MS + LEASE_MS + 1 }),
        STORE_RESOLVED);
}

static void what_is_not_open_is_not_resolved(void **state)
{
    struct fixture *f = fixture_of(state);
    char id[LEDGER_ID_BYTES];
    auto_claim a;

    ledger_id_new(id);
    assert_int_equal(
        resolve_entry(f,
                      (struct store_resolve){ .id = id, .executed = true, .now_ms = NOW_MS }),
        STORE_NO_SUCH);
    assert_int_equal(claim_key(f, &a, "a"), STORE_CLAIMED);
    assert_int_equal(
        resolve_entry(f,
                      (struct store_resolve){ .id = a.id, .executed = true, .now_ms = NOW_MS }),
        STORE_IN_FLIGHT);
    assert_int_equal(tell_state(f, a.id, LEDGER_ANSWERED), STORE_WRITTEN);
    assert_int_equal(
        resolve_entry(f, (struct store_resolve){ .id = a.id, .now_ms = after_all(f) }),
        STORE_NOT_OPEN);
}

static void an_answer_against_an_operators_word_is_a_contradiction(void **state)
{
    struct fixture *f = fixture_of(state);
    auto_claim a, b, retry;

    assert_int_equal(claim_key(f, &a, "a"), STORE_CLAIMED);
    assert_int_equal(claim_key(f, &b, "b"), STORE_CLAIMED);
    assert_int_equal(census_at(f, STORE_ALL, NOW_MS).orphans, 2);
    assert_int_equal(
        resolve_entry(f, (struct store_resolve){ .id = a.id, .now_ms = after_all(f) }),
        STORE_RESOLVED);
    assert_int_equal(
        resolve_entry(
            f, (struct store_resolve){ .id = b.id, .executed = true, .now_ms = after_all(f) }),
        STORE_RESOLVED);
    assert_int_equal(tell_state(f, a.id, LEDGER_ANSWERED), STORE_CONTRADICTED);
    assert_int_equal(tell_state(f, a.id, LEDGER_UNKNOWN), STORE_WRITTEN_ALREADY);
    assert_int_equal(tell_state(f, b.id, LEDGER_ANSWERED), STORE_WRITTEN_ALREADY);
    assert_int_equal(tell_state(f, b.id, LEDGER_RELEASED), STORE_CONTRADICTED);
    assert_int_equal(claim_key(f, &retry, "a"), STORE_CLAIMED);
}

/* --- list --- */

static void a_list_goes_by_age_and_by_what_is_asked(void **state)
{
    struct fixture *f = fixture_of(state);
    auto_claim a, b, c;

    claim_of(&a, "payroll", "1", false);
    claim_of(&b, "shop", "2", false);
    claim_of(&c, "shop", "3", false);
    batch_at(f, NOW_MS, (struct store_claim *[]){ &a.c, &b.c, &c.c }, 3, NULL, 0);
    assert_int_equal(tell_state(f, b.id, LEDGER_UNKNOWN), STORE_WRITTEN);
    assert_int_equal(list_of(f, (struct store_list){ .states = 0 }), 3);
    assert_int_equal(list_of(f, (struct store_list){ .states = 1U << LEDGER_UNKNOWN }), 1);
    assert_int_equal(list_of(f, (struct store_list){ .caller = "shop" }), 2);
    assert_int_equal(list_of(f, (struct store_list){ .id = c.id }), 1);
    assert_int_equal(list_of(f, (struct store_list){ .at_most = 2 }), 2);
    assert_int_equal(list_of(f, (struct store_list){ .after = a.id, .caller = "payroll" }), 0);
}

#define CONTRACT_TESTS(setup, teardown)                                                        \
    cmocka_unit_test_setup_teardown(a_key_is_claimed_once, setup, teardown),                   \
        cmocka_unit_test_setup_teardown(of_two_in_one_batch_one_claims, setup, teardown),      \
        cmocka_unit_test_setup_teardown(another_caller_has_keys_of_its_own, setup, teardown),  \
        cmocka_unit_test_setup_teardown(the_same_claim_made_again_is_still_ours, setup,        \
                                        teardown),                                             \
        cmocka_unit_test_setup_teardown(a_look_claims_nothing, setup, teardown),               \
        cmocka_unit_test_setup_teardown(records_without_a_key_are_never_in_each_others_way,    \
                                        setup, teardown),                                      \
        cmocka_unit_test_setup_teardown(texts_are_values_and_nothing_else, setup, teardown),   \
        cmocka_unit_test_setup_teardown(an_answer_is_found_byte_for_byte, setup, teardown),    \
        cmocka_unit_test_setup_teardown(an_empty_body_is_kept_and_none_is_not, setup,          \
                                        teardown),                                             \
        cmocka_unit_test_setup_teardown(a_retry_in_the_same_batch_sees_the_outcome, setup,     \
                                        teardown),                                             \
        cmocka_unit_test_setup_teardown(a_released_key_is_free_and_its_row_is_kept, setup,     \
                                        teardown),                                             \
        cmocka_unit_test_setup_teardown(a_late_answer_closes_an_unknown_entry, setup,          \
                                        teardown),                                             \
        cmocka_unit_test_setup_teardown(an_outcome_told_twice_changes_nothing, setup,          \
                                        teardown),                                             \
        cmocka_unit_test_setup_teardown(an_outcome_of_nothing_is_gone, setup, teardown),       \
        cmocka_unit_test_setup_teardown(all_in_flight_become_unknown_when_their_owner_is_gone, \
                                        setup, teardown),                                      \
        cmocka_unit_test_setup_teardown(what_an_operator_says_is_found, setup, teardown),      \
        cmocka_unit_test_setup_teardown(what_an_operator_does_not_say_is_not_known, setup,     \
                                        teardown),                                             \
        cmocka_unit_test_setup_teardown(not_executed_has_to_wait_unless_forced, setup,         \
                                        teardown),                                             \
        cmocka_unit_test_setup_teardown(what_is_not_open_is_not_resolved, setup, teardown),    \
        cmocka_unit_test_setup_teardown(                                                       \
            an_answer_against_an_operators_word_is_a_contradiction, setup, teardown),          \
        cmocka_unit_test_setup_teardown(a_list_goes_by_age_and_by_what_is_asked, setup,        \
                                        teardown)

/* The store in PostgreSQL, against a real server: a key is claimed once and durably, and
 * what is not certain is never reported as certain. */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <libpq-fe.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "certs.h"
#include "config/config_case.h"
#include "ledger/ledger.h"
#include "ledger/store_postgresql.h"
#include "postgres.h"
#include "unit.h"

#define TIMEOUT_MS 30000 /* reaching it is a failure */
#define LEASE_MS 60000

#define DATABASE "ledger"

static const struct store_type *const type = &store_postgresql;
static struct postgres *server;
static struct buf error;

/* --- a fresh ledger for each test ------------------------------------------------------ */

struct fixture {
    char url[160];
    struct store *store;
};

static struct store_options options_of(const struct fixture *f)
{
    return (struct store_options){ .url = f->url, .instance = "i", .timeout_ms = TIMEOUT_MS };
}

static enum store_result open_with(const struct store_options *o, struct store **out)
{
    buf_clear(&error);
    return type->open(out, o, &error);
}

static struct store *another(const struct fixture *f)
{
    struct store_options o = options_of(f);
    struct store *s = NULL;

    if (open_with(&o, &s) != STORE_OK)
        fail_msg("%s", buf_text(&error));
    return s;
}

static void fixture_start(struct fixture *f)
{
    *f = (struct fixture){ .store = NULL };
    (void)snprintf(f->url, sizeof f->url, "%s", postgres_url(server, DATABASE));
    (void)postgres_ask(server, DATABASE, "DROP TABLE IF EXISTS ledger_meta, ledger_entry");
    struct store_options o = options_of(f);

    buf_clear(&error);
    if (type->init(&o, &error) != STORE_OK)
        fail_msg("%s", buf_text(&error));
    f->store = another(f);
}

static void fixture_end(struct fixture *f)
{
    type->close(f->store);
}

#define FIXTURE(f)                                          \
    struct fixture f __attribute__((cleanup(fixture_end))); \
    fixture_start(&(f))

static const char *ask(const char *sql)
{
    return postgres_ask(server, DATABASE, sql);
}

/* --- calls -------------------------------------------------------------------------------- */

static const unsigned char fingerprint[LEDGER_FINGERPRINT_BYTES] = { 1, 2, 0, 255 };

struct claim {
    char id[LEDGER_ID_BYTES], key[48];
    struct store_claim claim;
};

static void claim_init(struct claim *c, const char *key)
{
    ledger_id_new(c->id);
    (void)snprintf(c->key, sizeof c->key, "%s", key == NULL ? "" : key);
    c->claim = (struct store_claim){ .id = c->id,
                                     .scope = "shop",
                                     .key = key == NULL ? NULL : c->key,
                                     .fingerprint = fingerprint,
                                     .method = "POST",
                                     .path = "/v0/methods/1/execute",
                                     .request_id = "r-1",
                                     .lease_ms = LEASE_MS };
}

static void claim_done(struct claim *c)
{
    ledger_entry_done(&c->claim.found);
}

#define CLAIM(name, key)                                    \
    struct claim name __attribute__((cleanup(claim_done))); \
    claim_init(&(name), key)

static enum store_result ask_again(struct store *s, struct claim *c)
{
    struct store_claim *one = &c->claim;
    struct store_batch b = { .claim = &one, .claims = 1 };

    ledger_entry_done(&c->claim.found);
    buf_clear(&error);
    return type->batch(s, &b, &error);
}

static enum store_claimed claimed(struct store *s, struct claim *c)
{
    if (ask_again(s, c) != STORE_OK)
        fail_msg("%s", buf_text(&error));
    return c->claim.result;
}

static enum store_claimed looked(struct store *s, struct claim *c)
{
    c->id[0] = '\0';
    return claimed(s, c);
}

static enum store_written told(struct store *s, struct store_outcome outcome)
{
    struct store_outcome *one = &outcome;
    struct store_batch b = { .outcome = &one, .outcomes = 1 };

    if (outcome.cause == NULL)
        outcome.cause = "";
    buf_clear(&error);
    if (type->batch(s, &b, &error) != STORE_OK)
        fail_msg("%s", buf_text(&error));
    return outcome.result;
}

static struct store_census swept(struct store *s, enum store_lost_owners which)
{
    struct store_census c;

    buf_clear(&error);
    if (type->orphans(s, which, 0, &c, &error) != STORE_OK)
        fail_msg("%s", buf_text(&error));
    return c;
}

/* --- claims and outcomes ------------------------------------------------------------------ */

static void a_key_is_claimed_once_and_found_from_then_on(void **state)
{
    FIXTURE(f);
    CLAIM(first, "k");
    CLAIM(second, "k");

    (void)state;
    assert_int_equal(claimed(f.store, &first), STORE_CLAIMED);
    assert_int_equal(claimed(f.store, &second), STORE_FOUND);
    const struct ledger_entry *e = &second.claim.found;
    assert_string_equal(e->id, first.id);
    assert_int_equal(e->state, LEDGER_IN_FLIGHT);
    assert_string_equal(e->scope, "shop");
    assert_string_equal(e->key, "k");
    assert_true(e->has_fingerprint);
    assert_memory_equal(e->fingerprint, fingerprint, sizeof fingerprint);
    assert_string_equal(e->method, "POST");
    assert_string_equal(e->path, "/v0/methods/1/execute");
    assert_string_equal(e->request_id, "r-1");
    assert_string_equal(e->instance, "i");
    assert_in_range(e->claimed_ms, clock_wall_ms() - 60000, clock_wall_ms() + 60000);
    assert_int_equal(e->lease_ms - e->claimed_ms, LEASE_MS);
    assert_null(e->answer_head);
    assert_null(e->answer_body.data);

    CLAIM(other, "k");
    other.claim.scope = "till";
    assert_int_equal(claimed(f.store, &other), STORE_CLAIMED);
}

static void a_look_claims_nothing(void **state)
{
    FIXTURE(f);
    CLAIM(look, "k");

    (void)state;
    assert_int_equal(looked(f.store, &look), STORE_ABSENT);
    assert_string_equal(ask("SELECT count(*) FROM ledger_entry"), "0");
    CLAIM(first, "k");
    assert_int_equal(claimed(f.store, &first), STORE_CLAIMED);
    assert_int_equal(looked(f.store, &look), STORE_FOUND);
}

static void twins_in_one_batch_are_one_claim(void **state)
{
    FIXTURE(f);
    CLAIM(a, "k");
    CLAIM(b, "k");
    struct store_claim *both[] = { &a.claim, &b.claim };
    struct store_batch batch = { .claim = both, .claims = 2 };

    (void)state;
    assert_int_equal(type->batch(f.store, &batch, &error), STORE_OK);
    assert_int_equal((a.claim.result == STORE_CLAIMED) + (b.claim.result == STORE_CLAIMED), 1);
    assert_int_equal((a.claim.result == STORE_FOUND) + (b.claim.result == STORE_FOUND), 1);
}

static void an_answer_comes_back_byte_for_byte(void **state)
{
    FIXTURE(f);
    CLAIM(first, "k");
    CLAIM(retry, "k");
    char body[512], head[300];

    (void)state;
    for (size_t i = 0; i < sizeof body; i++)
        body[i] = (char)i;
    (void)snprintf(head, sizeof head, "ETag: \"");
    for (int i = 0x20; i < 0x100; i++)
        head[7 + i - 0x20] = (char)i;
    (void)snprintf(head + 7 + 0xe0, sizeof head - 7 - 0xe0, "\"\r\n");
    struct ledger_bytes bytes = { body, sizeof body };

    assert_int_equal(claimed(f.store, &first), STORE_CLAIMED);
    assert_int_equal(told(f.store, (struct store_outcome){ .id = first.id,
                                                           .state = LEDGER_ANSWERED,
                                                           .status = 201,
                                                           .head = head,
                                                           .body = &bytes }),
                     STORE_WRITTEN);
    assert_int_equal(claimed(f.store, &retry), STORE_FOUND);
    const struct ledger_entry *e = &retry.claim.found;
    assert_int_equal(e->state, LEDGER_ANSWERED);
    assert_int_equal(e->status, 201);
    assert_string_equal(e->answer_head, head);
    assert_int_equal(e->answer_body.len, sizeof body);
    assert_memory_equal(e->answer_body.data, body, sizeof body);
    assert_true(e->ended_ms >= e->claimed_ms);
}

static void an_empty_body_is_not_the_same_as_none(void **state)
{
    FIXTURE(f);
    CLAIM(a, "a");
    CLAIM(b, "b");
    char nothing[1] = "";
    struct ledger_bytes empty = { nothing, 0 }, none = { NULL, 0 };

    (void)state;
    assert_int_equal(claimed(f.store, &a), STORE_CLAIMED);
    assert_int_equal(claimed(f.store, &b), STORE_CLAIMED);
    struct store_outcome o = {
        .id = a.id, .state = LEDGER_ANSWERED, .status = 204, .body = &empty
    };
    assert_int_equal(told(f.store, o), STORE_WRITTEN);
    o.id = b.id;
    o.body = &none;
    assert_int_equal(told(f.store, o), STORE_WRITTEN);
    assert_int_equal(looked(f.store, &a), STORE_FOUND);
    assert_int_equal(looked(f.store, &b), STORE_FOUND);
    assert_non_null(a.claim.found.answer_body.data);
    assert_int_equal(a.claim.found.answer_body.len, 0);
    assert_null(b.claim.found.answer_body.data);
}

static void bytes_that_are_no_text_do_no_harm(void **state)
{
    FIXTURE(f);
    CLAIM(odd, "k");
    CLAIM(plain, "l");
    struct store_claim *both[] = { &odd.claim, &plain.claim };
    struct store_batch batch = { .claim = both, .claims = 2 };

    (void)state;
    odd.claim.path = "/v0/\xff\xc0'\\";
    odd.claim.request_id = "\x80";
    assert_int_equal(type->batch(f.store, &batch, &error), STORE_OK);
    assert_int_equal(odd.claim.result, STORE_CLAIMED);
    assert_int_equal(plain.claim.result, STORE_CLAIMED);
}

static void a_released_key_is_free_and_its_row_is_kept(void **state)
{
    FIXTURE(f);
    CLAIM(first, "k");
    CLAIM(second, "k");

    (void)state;
    assert_int_equal(claimed(f.store, &first), STORE_CLAIMED);
    struct store_outcome o = { .id = first.id, .state = LEDGER_RELEASED, .cause = "refused" };
    assert_int_equal(told(f.store, o), STORE_WRITTEN);
    assert_int_equal(told(f.store, o), STORE_WRITTEN_ALREADY);
    assert_int_equal(claimed(f.store, &second), STORE_CLAIMED);
    assert_string_equal(ask("SELECT count(*) FROM ledger_entry"), "2");
    /* Made again, the first one is not taken for the second. */
    assert_int_equal(claimed(f.store, &first), STORE_FOUND);
    assert_string_equal(first.claim.found.id, second.id);
}

static void outcomes_of_a_batch_are_seen_by_its_claims(void **state)
{
    FIXTURE(f);
    CLAIM(first, "k");
    CLAIM(second, "k");

    (void)state;
    assert_int_equal(claimed(f.store, &first), STORE_CLAIMED);
    struct store_outcome outcome = { .id = first.id, .state = LEDGER_RELEASED, .cause = "x" };
    struct store_outcome *one = &outcome;
    struct store_claim *claim = &second.claim;
    struct store_batch b = { .outcome = &one, .outcomes = 1, .claim = &claim, .claims = 1 };

    assert_int_equal(type->batch(f.store, &b, &error), STORE_OK);
    assert_int_equal(outcome.result, STORE_WRITTEN);
    assert_int_equal(second.claim.result, STORE_CLAIMED);
}

static void a_late_answer_closes_an_unknown_but_not_an_operators_word(void **state)
{
    FIXTURE(f);
    CLAIM(late, "late");
    CLAIM(decided, "decided");

    (void)state;
    assert_int_equal(claimed(f.store, &late), STORE_CLAIMED);
    assert_int_equal(claimed(f.store, &decided), STORE_CLAIMED);
    struct store_outcome o = { .id = late.id, .state = LEDGER_UNKNOWN, .cause = "timeout" };
    assert_int_equal(told(f.store, o), STORE_WRITTEN);
    o = (struct store_outcome){ .id = late.id, .state = LEDGER_ANSWERED, .status = 200 };
    assert_int_equal(told(f.store, o), STORE_WRITTEN_LATE);

    struct store_resolve r = {
        .id = decided.id, .force = true, .by = "uid 0", .note = "looked"
    };
    assert_int_equal(type->resolve(f.store, &r, &error), STORE_OK);
    assert_int_equal(r.result, STORE_RESOLVED);
    ledger_entry_done(&r.entry);
    o.id = decided.id;
    assert_int_equal(told(f.store, o), STORE_CONTRADICTED);
    o.id = "00000000-0000-7000-8000-000000000000";
    assert_int_equal(told(f.store, o), STORE_GONE);
}

static void a_record_without_a_key_stands_in_nobodys_way(void **state)
{
    FIXTURE(f);
    CLAIM(a, NULL);
    CLAIM(b, NULL);

    (void)state;
    a.claim.fingerprint = b.claim.fingerprint = NULL;
    assert_int_equal(claimed(f.store, &a), STORE_CLAIMED);
    assert_int_equal(claimed(f.store, &b), STORE_CLAIMED);
    assert_int_equal(told(f.store, (struct store_outcome){ .id = a.id,
                                                           .state = LEDGER_ANSWERED,
                                                           .status = 200,
                                                           .fingerprint = fingerprint }),
                     STORE_WRITTEN);
    assert_string_equal(ask("SELECT count(*) FROM ledger_entry WHERE fingerprint IS NOT NULL"),
                        "1");
}

/* --- orphans, pruning, the operator ------------------------------------------------------- */

static void what_outlives_its_lease_is_unknown(void **state)
{
    FIXTURE(f);
    CLAIM(lost, "lost");
    CLAIM(alive, "alive");

    (void)state;
    lost.claim.lease_ms = -1;
    assert_int_equal(claimed(f.store, &lost), STORE_CLAIMED);
    assert_int_equal(claimed(f.store, &alive), STORE_CLAIMED);
    assert_int_equal(swept(f.store, STORE_COUNT_ONLY).in_flight, 2);
    struct store_census c = swept(f.store, STORE_EXPIRED);
    assert_int_equal(c.orphans, 1);
    assert_int_equal(c.in_flight, 1);
    assert_int_equal(c.unknown, 1);
    assert_true(c.unknown_oldest_ms > 0 && c.newest_ms >= c.unknown_oldest_ms);
    assert_true(c.bytes > 0);
    assert_int_equal(looked(f.store, &lost), STORE_FOUND);
    assert_int_equal(lost.claim.found.state, LEDGER_UNKNOWN);
    assert_string_equal(lost.claim.found.cause, "owner-lost");
}

static void pruning_takes_answers_then_keys_and_never_what_is_open(void **state)
{
    FIXTURE(f);
    struct ledger_bytes body = { (char[]){ "x" }, 1 };

    (void)state;
    for (int i = 0; i < 12; i++) {
        char key[8];
        (void)snprintf(key, sizeof key, "k%d", i);
        CLAIM(c, key);
        assert_int_equal(claimed(f.store, &c), STORE_CLAIMED);
        if (i < 10)
            assert_int_equal(told(f.store, (struct store_outcome){ .id = c.id,
                                                                   .state = LEDGER_ANSWERED,
                                                                   .status = 200,
                                                                   .body = &body }),
                             STORE_WRITTEN);
    }
    int64_t later = clock_wall_ms() + 60000;
    struct store_prune p = { .answers_before_ms = later, .keys_before_ms = 0, .at_most = 8 };

    assert_int_equal(type->prune(f.store, &p, &error), STORE_OK);
    assert_int_equal(p.pruned, 8);
    assert_true(p.more);
    assert_int_equal(type->prune(f.store, &p, &error), STORE_OK);
    assert_int_equal(p.pruned, 2);
    assert_false(p.more);
    assert_string_equal(ask("SELECT count(*) FROM ledger_entry WHERE answer_body IS NOT NULL"),
                        "0");
    p.keys_before_ms = later;
    p.at_most = 100;
    assert_int_equal(type->prune(f.store, &p, &error), STORE_OK);
    assert_string_equal(ask("SELECT count(*) FROM ledger_entry"), "2");
}

struct seen {
    size_t count, limit;
    char last_key[64], body[16];
};

static bool on_entry(void *arg, const struct ledger_entry *e)
{
    struct seen *s = arg;

    s->count++;
    (void)snprintf(s->last_key, sizeof s->last_key, "%s", e->key ?: "none");
    (void)snprintf(s->body, sizeof s->body, "%.*s", (int)e->answer_body.len,
                   e->answer_body.data ?: "");
    return s->limit == 0 || s->count < s->limit;
}

static size_t listed(struct store *s, struct store_list what, struct seen *seen)
{
    *seen = (struct seen){ .limit = seen->limit };
    what.on_entry = on_entry;
    what.arg = seen;
    buf_clear(&error);
    if (type->list(s, &what, &error) != STORE_OK)
        fail_msg("%s", buf_text(&error));
    return seen->count;
}

static void entries_are_listed_by_what_they_are(void **state)
{
    FIXTURE(f);
    struct seen seen = { .count = 0 };
    struct ledger_bytes body = { (char[]){ "bo" }, 2 };
    CLAIM(a, "a");
    CLAIM(b, "b");

    (void)state;
    while (strcmp(a.id, b.id) >= 0) /* within a millisecond it is by chance which is older */
        ledger_id_new(b.id);
    /* Ids of one millisecond come in any order. */
    while (strcmp(b.id, a.id) <= 0)
        ledger_id_new(b.id);
    b.claim.scope = "till";
    assert_int_equal(claimed(f.store, &a), STORE_CLAIMED);
    assert_int_equal(claimed(f.store, &b), STORE_CLAIMED);
    assert_int_equal(told(f.store, (struct store_outcome){ .id = a.id,
                                                           .state = LEDGER_ANSWERED,
                                                           .status = 200,
                                                           .body = &body }),
                     STORE_WRITTEN);
    assert_int_equal(listed(f.store, (struct store_list){ .states = 0 }, &seen), 2);
    assert_string_equal(seen.last_key, "b");
    assert_int_equal(
        listed(f.store, (struct store_list){ .states = 1U << LEDGER_IN_FLIGHT }, &seen), 1);
    assert_string_equal(seen.last_key, "b");
    assert_int_equal(listed(f.store, (struct store_list){ .caller = "shop" }, &seen), 1);
    assert_string_equal(seen.last_key, "a");
    assert_int_equal(listed(f.store, (struct store_list){ .id = a.id }, &seen), 1);
    assert_string_equal(seen.body, "bo");
    assert_int_equal(
        listed(f.store, (struct store_list){ .since_ms = clock_wall_ms() + 60000 }, &seen), 0);
    assert_int_equal(listed(f.store, (struct store_list){ .at_most = 1 }, &seen), 1);
    assert_string_equal(seen.last_key, "a");
    seen.limit = 1;
    assert_int_equal(listed(f.store, (struct store_list){ .states = 0 }, &seen), 1);
    assert_int_equal(looked(f.store, &a), STORE_FOUND);
}

static enum store_resolved resolved(struct store *s, struct store_resolve r)
{
    r.by = "uid 0";
    r.note = "looked";
    buf_clear(&error);
    if (type->resolve(s, &r, &error) != STORE_OK)
        fail_msg("%s", buf_text(&error));
    ledger_entry_done(&r.entry);
    return r.result;
}

static void an_operator_decides_what_is_open_and_waits_before_a_repeat(void **state)
{
    FIXTURE(f);
    CLAIM(c, "k");

    (void)state;
    assert_int_equal(resolved(f.store, (struct store_resolve){ .id = "none" }), STORE_NO_SUCH);
    assert_int_equal(claimed(f.store, &c), STORE_CLAIMED);
    assert_int_equal(resolved(f.store, (struct store_resolve){ .id = c.id }), STORE_IN_FLIGHT);
    assert_int_equal(
        told(f.store,
             (struct store_outcome){ .id = c.id, .state = LEDGER_UNKNOWN, .cause = "timeout" }),
        STORE_WRITTEN);
    assert_int_equal(resolved(f.store, (struct store_resolve){ .id = c.id }), STORE_TOO_EARLY);
    struct ledger_bytes body = { (char[]){ "{}" }, 2 };
    struct store_resolve done = { .id = c.id,
                                  .executed = true,
                                  .status = 201,
                                  .head = "Content-Type: a\r\n",
                                  .body = &body };
    assert_int_equal(resolved(f.store, done), STORE_RESOLVED);
    assert_int_equal(resolved(f.store, done), STORE_NOT_OPEN);
    assert_int_equal(looked(f.store, &c), STORE_FOUND);
    assert_int_equal(c.claim.found.state, LEDGER_ANSWERED);
    assert_int_equal(c.claim.found.status, 201);
    assert_string_equal(c.claim.found.resolved_by, "uid 0");
    assert_string_equal(c.claim.found.note, "looked");
    assert_memory_equal(c.claim.found.answer_body.data, "{}", 2);
}

/* --- opening ------------------------------------------------------------------------------ */

static void nothing_is_made_unasked_and_nothing_twice(void **state)
{
    FIXTURE(f);
    struct store_options o = options_of(&f);
    struct store *s = NULL;
    char url[160];

    (void)state;
    buf_clear(&error);
    assert_int_equal(type->init(&o, &error), STORE_REFUSED);
    assert_non_null(strstr(buf_text(&error), "already"));
    (void)snprintf(url, sizeof url, "%s", postgres_url(server, "empty"));
    o.url = url;
    assert_int_equal(open_with(&o, &s), STORE_REFUSED);
    assert_null(s);
    assert_non_null(strstr(buf_text(&error), "ledger init"));
    assert_string_equal(
        postgres_ask(server, "empty",
                     "SELECT count(*) FROM pg_tables WHERE tablename LIKE 'ledger%'"),
        "0");
    (void)ask("UPDATE ledger_meta SET version = 2");
    o.url = f.url;
    assert_int_equal(open_with(&o, &s), STORE_REFUSED);
    assert_non_null(strstr(buf_text(&error), "version"));
}

static void a_role_with_few_rights_is_enough(void **state)
{
    FIXTURE(f);
    struct store_options o = options_of(&f);
    struct store *s = NULL;
    char url[160];

    (void)state;
    (void)ask("GRANT SELECT, INSERT, UPDATE, DELETE ON ledger_meta, ledger_entry TO guarded");
    (void)snprintf(url, sizeof url, "postgresql://guarded@127.0.0.1:%d/%s",
                   postgres_port(server), DATABASE);
    o.url = url;
    assert_int_equal(open_with(&o, &s), STORE_LOST); /* no password */
    type->close(s);
    char password[128];
    certs_write_text(password, "canary-wrong\n");
    o.password_file = password;
    assert_int_equal(open_with(&o, &s), STORE_LOST);
    assert_null(strstr(buf_text(&error), "canary"));
    type->close(s);
    o.password_file = postgres_password_file(server);
    if (open_with(&o, &s) != STORE_OK)
        fail_msg("%s", buf_text(&error));
    CLAIM(c, "k");
    assert_int_equal(claimed(s, &c), STORE_CLAIMED);
    assert_int_equal(told(s, (struct store_outcome){ .id = c.id, .state = LEDGER_ANSWERED }),
                     STORE_WRITTEN);
    (void)swept(s, STORE_EXPIRED);
    struct store_prune p = { .keys_before_ms = clock_wall_ms() + 60000, .at_most = 10 };
    assert_int_equal(type->prune(s, &p, &error), STORE_OK);
    assert_int_equal(p.pruned, 1);
    assert_int_equal(type->check(s, &error), STORE_OK);
    type->close(s);
}

static void the_environment_says_nothing(void **state)
{
    FIXTURE(f);

    (void)state;
    assert_int_equal(setenv("PGHOST", "192.0.2.1", 1), 0);
    assert_int_equal(setenv("PGSSLMODE", "require", 1), 0);
    assert_int_equal(setenv("PGSERVICE", "none", 1), 0);
    assert_int_equal(setenv("PGOPTIONS", "-c synchronous_commit=off", 1), 0);
    struct store *s = another(&f);

    CLAIM(c, "k");
    assert_int_equal(claimed(s, &c), STORE_CLAIMED);
    assert_null(getenv("PGOPTIONS"));
    assert_null(getenv("PGHOST"));
    type->close(s);
}

static void a_lost_index_claims_nothing(void **state)
{
    FIXTURE(f);
    CLAIM(c, "k");

    (void)state;
    (void)ask("DROP INDEX ledger_key");
    assert_int_equal(ask_again(f.store, &c), STORE_BUSY);
    assert_int_equal(c.claim.result, STORE_NOT_DONE);
    assert_int_equal(type->check(f.store, &error), STORE_BROKEN);
    assert_string_equal(ask("SELECT count(*) FROM ledger_entry"), "0");
}

static void another_ledger_behind_the_same_url_is_final(void **state)
{
    FIXTURE(f);
    CLAIM(c, "k");

    (void)state;
    (void)ask("UPDATE ledger_meta SET store_id = 'another'");
    (void)ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = "
              "current_database() AND application_name = 'oneshot-proxy'");
    assert_int_equal(ask_again(f.store, &c), STORE_LOST);
    assert_int_equal(ask_again(f.store, &c), STORE_BROKEN);
    assert_int_equal(c.claim.result, STORE_NOT_DONE);
    assert_non_null(strstr(buf_text(&error), "another ledger"));
    (void)ask("UPDATE ledger_meta SET store_id = 'back again'");
    assert_int_equal(ask_again(f.store, &c), STORE_BROKEN);
}

/* --- many at once ------------------------------------------------------------------------- */

#define KEYS 400
#define AT_ONCE 16

struct racer {
    struct store *store;
    pthread_t thread;
    unsigned seed;
    unsigned char won[KEYS];
    unsigned failures;
};

static void *race(void *arg)
{
    struct racer *r = arg;
    struct store *s = r->store;

    for (int done = 0; done < KEYS; done += AT_ONCE) {
        struct claim c[AT_ONCE];
        struct store_claim *claim[AT_ONCE];
        struct store_batch b = { .claim = claim, .claims = AT_ONCE };
        struct buf why;

        buf_init(&why, 1024);
        for (int i = 0; i < AT_ONCE; i++) {
            char key[16];
            /* The same keys in every thread, in an order of its own within the batch. */
            (void)snprintf(key, sizeof key, "%d",
                           done + (int)((unsigned)i * 5 + r->seed) % AT_ONCE);
            claim_init(&c[i], key);
            claim[i] = &c[i].claim;
        }
        r->failures += type->batch(s, &b, &why) != STORE_OK;
        for (int i = 0; i < AT_ONCE; i++) {
            if (c[i].claim.result == STORE_CLAIMED)
                r->won[strtol(c[i].key, NULL, 10)]++;
            claim_done(&c[i]);
        }
        buf_done(&why);
    }
    type->close(s);
    return NULL;
}

static void of_several_replicas_one_has_each_key(void **state)
{
    FIXTURE(f);
    static struct racer racer[4];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(racer); i++) {
        racer[i] = (struct racer){ .store = another(&f), .seed = (unsigned)i * 3 };
        assert_int_equal(pthread_create(&racer[i].thread, NULL, race, &racer[i]), 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(racer); i++) {
        assert_int_equal(pthread_join(racer[i].thread, NULL), 0);
        assert_int_equal(racer[i].failures, 0);
    }
    for (int k = 0; k < KEYS; k++) {
        int won = 0;
        for (size_t i = 0; i < ARRAY_LEN(racer); i++)
            won += racer[i].won[k];
        assert_int_equal(won, 1);
    }
}

/* --- what is not certain ------------------------------------------------------------------ */

struct in_commit {
    struct store *store;
    struct claim *claim;
    enum store_result result;
    struct buf why;
    pthread_t thread;
};

static void *commit(void *arg)
{
    struct in_commit *c = arg;
    struct store_claim *one = &c->claim->claim;
    struct store_batch b = { .claim = &one, .claims = 1 };

    ledger_entry_done(&one->found);
    c->result = type->batch(c->store, &b, &c->why);
    return NULL;
}

#define WAITS \
    "FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'SyncRep'"

/* Commits wait for standbys, or do not, once the checkpointer has read the settings anew: new
 * connections may know them before. It reads them ahead of a checkpoint, so of the second one for
 * sure. */
static void reload(const char *standbys)
{
    (void)postgres_ask(server, "postgres", "SELECT pg_reload_conf()");
    assert_true(postgres_wait(server, "postgres", "SHOW synchronous_standby_names", standbys));
    (void)postgres_ask(server, "postgres", "CHECKPOINT");
    (void)postgres_ask(server, "postgres", "CHECKPOINT");
}

/* Makes a claim whose COMMIT waits for a standby that is not there, does that to its
 * backend, and returns what the claim came to. */
static enum store_claimed commit_and(const struct fixture *f, struct claim *c, const char *call)
{
    struct in_commit in = { .store = f->store, .claim = c };
    char sql[200];

    buf_init(&in.why, 1024);
    (void)postgres_ask(server, "postgres",
                       "ALTER SYSTEM SET synchronous_standby_names = 'none'");
    reload("none");
    assert_int_equal(pthread_create(&in.thread, NULL, commit, &in), 0);
    bool waits = postgres_wait(server, DATABASE, "SELECT count(*) " WAITS, "1");
    (void)snprintf(sql, sizeof sql, "SELECT %s(pid) " WAITS, call);
    (void)ask(sql);
    assert_int_equal(pthread_join(in.thread, NULL), 0);
    (void)postgres_ask(server, "postgres", "ALTER SYSTEM RESET synchronous_standby_names");
    reload("");
    assert_true(waits);
    assert_int_not_equal(in.result, STORE_OK);
    assert_true(buf_unread(&in.why) > 0);
    buf_done(&in.why);
    return c->claim.result;
}

static void a_commit_that_no_standby_confirmed_is_not_durable(void **state)
{
    FIXTURE(f);
    CLAIM(c, "k");
    CLAIM(other, "k");

    (void)state;
    assert_int_equal(commit_and(&f, &c, "pg_cancel_backend"), STORE_UNCLEAR);
    assert_string_equal(ask("SELECT count(*) FROM ledger_entry"), "1"); /* yet it is there */
    assert_int_equal(claimed(f.store, &other), STORE_FOUND);
    assert_int_equal(claimed(f.store, &c), STORE_CLAIMED);
    assert_string_equal(ask("SELECT count(*) FROM ledger_entry"), "1");
}

/* That the claim can be seen does not mean that the standby has it: finding it is no commit. */
static void a_claim_that_finds_itself_waits_for_the_standby_too(void **state)
{
    FIXTURE(f);
    CLAIM(c, "k");

    (void)state;
    assert_int_equal(commit_and(&f, &c, "pg_cancel_backend"), STORE_UNCLEAR);
    assert_int_equal(commit_and(&f, &c, "pg_cancel_backend"), STORE_UNCLEAR);
    assert_int_equal(claimed(f.store, &c), STORE_CLAIMED);
}

static void
a_connection_lost_in_commit_leaves_a_claim_unclear_until_it_is_made_again(void **state)
{
    FIXTURE(f);
    CLAIM(keyed, "k");
    CLAIM(journal, NULL);

    (void)state;
    assert_int_equal(commit_and(&f, &keyed, "pg_terminate_backend"), STORE_UNCLEAR);
    assert_int_equal(claimed(f.store, &keyed), STORE_CLAIMED);
    assert_int_equal(commit_and(&f, &journal, "pg_terminate_backend"), STORE_UNCLEAR);
    assert_int_equal(claimed(f.store, &journal), STORE_CLAIMED);
    assert_string_equal(ask("SELECT count(*) FROM ledger_entry"), "2");
}

static void run_in(PGconn *c, const char *sql)
{
    PGresult *r = PQexec(c, sql);

    if (PQresultStatus(r) != PGRES_COMMAND_OK)
        fail_msg("%s: %s", sql, PQerrorMessage(c));
    PQclear(r);
}

/* The first try, given up with its connection, is at work still when the second one comes: its row
 * has an id by then, and no key yet. The server refuses the second as a twin of the first. */
static void a_claim_made_again_beside_its_first_try_finds_it(void **state)
{
    FIXTURE(f);
    CLAIM(c, "k");
    struct in_commit in = { .store = f.store, .claim = &c };
    char sql[400];
    PGconn *first = PQconnectdb(f.url);

    (void)state;
    buf_init(&in.why, 1024);
    run_in(first, "BEGIN");
    (void)snprintf(sql, sizeof sql,
                   "INSERT INTO ledger_entry (id, scope, idem_key, state, method, path, "
                   "request_id, instance, claimed_ms, lease_ms) VALUES ('%s', 'shop', 'none "
                   "yet', 0, 'POST', '/', 'r-1', 'i', 1, 2)",
                   c.id);
    run_in(first, sql);
    assert_int_equal(pthread_create(&in.thread, NULL, commit, &in), 0);
    assert_true(postgres_wait(server, DATABASE,
                              "SELECT count(*) FROM pg_stat_activity WHERE datname = '" DATABASE
                              "' AND wait_event_type = 'Lock'",
                              "1"));
    run_in(first, "UPDATE ledger_entry SET idem_key = 'k'");
    run_in(first, "COMMIT");
    PQfinish(first);
    assert_int_equal(pthread_join(in.thread, NULL), 0);
    assert_string_equal(buf_text(&in.why), "");
    assert_int_equal(in.result, STORE_OK);
    assert_int_equal(c.claim.result, STORE_CLAIMED);
    assert_string_equal(ask("SELECT count(*) FROM ledger_entry"), "1");
    buf_done(&in.why);
}

/* --- a whole ledger, for once ------------------------------------------------------------- */

static void on_reply(struct ledger_ask *a)
{
    loop_stop(a->port->loop);
}

/* What a worker is told about a claim of this key. */
static enum ledger_result ask_ledger(struct ledger_port *port, const char *key)
{
    struct ledger_ask a = { .mail = NULL };

    port->loop->stopping = false;
    ledger_ask(&a, port,
               &(struct ledger_question){ .want = LEDGER_CLAIM,
                                          .scope = "shop",
                                          .key = key,
                                          .fingerprint = fingerprint,
                                          .method = "POST",
                                          .path = "/",
                                          .request_id = "r-1",
                                          .lease_ms = LEASE_MS },
               on_reply);
    loop_run(port->loop);
    enum ledger_result result = a.result;
    ledger_ask_done(&a);
    return result;
}

#define LEDGERS                                                 \
    "FROM pg_stat_activity WHERE datname = current_database() " \
    "AND application_name = 'oneshot-proxy'"

/* The commit of a claim takes longer than store_timeout: the claim's key is locked meanwhile by
 * another transaction. */
static void a_claim_that_is_committed_after_it_was_given_up_is_released(void **state)
{
    FIXTURE(f);
    struct loop loop;
    struct mailbox mailbox;
    struct ledger *ledger;
    struct ledger_port port = { .loop = &loop, .mailbox = &mailbox };
    PGconn *other = PQconnectdb(f.url);
    char text[400];

    (void)state;
    type->close(f.store);
    f.store = NULL;
    (void)snprintf(text, sizeof text, CREDENTIALS "[ledger]\nstore = %s\nstore_timeout = 1s\n",
                   f.url);
    auto_result struct result r = load(text);

    assert_loads(r);
    assert_int_equal(loop_init(&loop), 0);
    assert_int_equal(mailbox_init(&mailbox, &loop), 0);
    assert_int_equal(ledger_open(&ledger, r.config, &error), 0);
    assert_int_equal(ledger_start(ledger), 0);
    port.ledger = ledger;
    run_in(other, "BEGIN");
    run_in(other, "INSERT INTO ledger_entry (id, scope, idem_key, state, method, path, "
                  "request_id, instance, claimed_ms, lease_ms) VALUES ('none', 'shop', 'k', 0, "
                  "'POST', '/', 'r-1', 'i', 1, 2)");
    do /* on a slow machine the time may be over before it is asked */
        assert_int_equal(ask_ledger(&port, "k"), LEDGER_DOWN);
    while (strcmp(ask("SELECT count(*) FILTER (WHERE wait_event_type = 'Lock') " LEDGERS),
                  "0") == 0);
    /* The claim waits for its key still, without its client; on another connection its release
     * has found nothing. */
    assert_true(postgres_wait(server, DATABASE,
                              "SELECT count(*) FILTER (WHERE state = 'idle' AND query = "
                              "'COMMIT') > 0 " LEDGERS,
                              "t"));
    run_in(other, "ROLLBACK");
    PQfinish(other);
    assert_true(postgres_wait(
        server, DATABASE, "SELECT state || ' ' || cause FROM ledger_entry", "3 not-wanted"));
    int64_t until_ms = clock_ms() + TIMEOUT_MS;
    while (ask_ledger(&port, "k") != LEDGER_CLAIMED)
        assert_true(clock_ms() < until_ms);
    ledger_stop(ledger);
    mailbox_done(&mailbox);
    ledger_close(ledger, 1000);
    loop_done(&loop);
}

/* What was given up may be carried out all the same, as soon as the server goes on: so until
 * only the fixture is connected. */
static void let_server_go_on(void)
{
    postgres_signal(server, SIGCONT);
    assert_true(postgres_wait(server, DATABASE,
                              "SELECT count(*) FROM pg_stat_activity WHERE datname = '" DATABASE
                              "' AND application_name = 'oneshot-proxy'",
                              "1"));
}

static void a_server_that_does_not_answer_is_given_up_in_time(void **state)
{
    FIXTURE(f);
    struct store_options o = options_of(&f);
    struct store *s = NULL;
    CLAIM(c, "k");

    (void)state;
    o.timeout_ms = 1500;
    /* A slow machine may not connect in that time at once. */
    for (int64_t until_ms = clock_ms() + 2 * TIMEOUT_MS; open_with(&o, &s) != STORE_OK;) {
        assert_true(clock_ms() < until_ms);
        if (s != NULL)
            type->close(s);
        s = NULL;
    }
    postgres_signal(server, SIGSTOP);
    int64_t began = clock_ms();
    assert_int_equal(ask_again(s, &c), STORE_LOST);
    assert_int_equal(c.claim.result, STORE_UNCLEAR);
    assert_int_equal(ask_again(s, &c), STORE_LOST); /* cannot even connect */
    assert_int_equal(c.claim.result, STORE_NOT_DONE);
    assert_in_range(clock_ms() - began, 2750, TIMEOUT_MS);
    let_server_go_on();
    assert_int_equal(claimed(f.store, &c), STORE_CLAIMED);
    type->close(s);
}

static void a_proxy_that_ends_does_not_wait_for_a_server(void **state)
{
    FIXTURE(f);
    struct store_options o = options_of(&f);
    struct store *s = NULL;
    CLAIM(c, "k");

    (void)state;
    o.hurry_fd = eventfd(0, EFD_CLOEXEC);
    assert_true(o.hurry_fd > 0);
    assert_int_equal(open_with(&o, &s), STORE_OK);
    postgres_signal(server, SIGSTOP);
    assert_int_equal(eventfd_write(o.hurry_fd, 1), 0);
    int64_t began_ms = clock_ms();
    assert_int_equal(ask_again(s, &c), STORE_LOST);
    assert_int_equal(c.claim.result, STORE_UNCLEAR);
    assert_int_equal(ask_again(s, &c), STORE_LOST); /* nor for a connection */
    assert_true(clock_ms() - began_ms < TIMEOUT_MS);
    let_server_go_on();
    assert_int_equal(claimed(s, &c), STORE_CLAIMED);
    type->close(s);
    (void)close(o.hurry_fd);
}

/* --- names -------------------------------------------------------------------------------- */

static _Atomic unsigned asked_silent;
static sem_t silent_answers;

/* Instead of the C library's, but by it: "localhost" has an address where nobody listens
 * before the right one; of "silent.test" nothing is heard until the test says so. */
/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name) */
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **found)
{
    __typeof__(getaddrinfo) *real = (__typeof__(getaddrinfo) *)dlsym(RTLD_NEXT, "getaddrinfo");

    if (node != NULL && strcmp(node, "silent.test") == 0) {
        asked_silent++;
        (void)sem_wait(&silent_answers);
        return EAI_AGAIN;
    }
    if (node == NULL || strcmp(node, "localhost") != 0)
        return real(node, service, hints, found);
    int rc = real("127.0.0.99", service, hints, found);
    return rc == 0 ? real("127.0.0.1", service, hints, &(*found)->ai_next) : rc;
}

static void url_of_host(struct fixture *f, const char *host)
{
    (void)snprintf(f->url, sizeof f->url, "postgresql://postgres@%s:%d/" DATABASE, host,
                   postgres_port(server));
}

static void each_address_of_a_name_is_tried(void **state)
{
    FIXTURE(f);
    CLAIM(c, "k");

    (void)state;
    url_of_host(&f, "localhost");
    struct store *s = another(&f);
    assert_int_equal(claimed(s, &c), STORE_CLAIMED);
    type->close(s);
}

/* The thread of a lookup cannot be stopped: there is one, and not one more each time. */
static void name_servers_that_are_silent_hold_nothing_up(void **state)
{
    FIXTURE(f);
    CLAIM(c, "k");

    (void)state;
    assert_int_equal(sem_init(&silent_answers, 0, 0), 0);
    url_of_host(&f, "silent.test,127.0.0.1");
    struct store_options o = options_of(&f);
    struct store *s = NULL;

    o.timeout_ms = 1000;
    (void)open_with(&o, &s);
    assert_non_null(s);
    /* By the other host, in what is left of the time: on a slow machine it takes more than
     * one. */
    for (int i = 0; i < 2; i++) {
        int64_t until_ms = clock_ms() + 2 * TIMEOUT_MS;

        while (ask_again(s, &c) != STORE_OK)
            assert_true(clock_ms() < until_ms);
        assert_int_equal(c.claim.result, STORE_CLAIMED);
        (void)ask("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                  "WHERE application_name = 'oneshot-proxy'");
    }
    assert_int_equal(asked_silent, 1);
    type->close(s);
    assert_int_equal(sem_post(&silent_answers), 0);
}

static void a_server_that_ends_at_once_loses_no_claim(void **state)
{
    FIXTURE(f);
    size_t claims = 0;

    (void)state;
    for (int round = 0; round < 2; round++) {
        char key[16];
        for (int i = 0; i < 20; i++) {
            (void)snprintf(key, sizeof key, "%d-%d", round, i);
            CLAIM(c, key);
            claims += claimed(f.store, &c) == STORE_CLAIMED;
        }
        postgres_restart(server, SIGQUIT, NULL);
        CLAIM(c, "lost");
        assert_int_equal(ask_again(f.store, &c), STORE_LOST);
    }
    char count[16];
    (void)snprintf(count, sizeof count, "%zu", claims);
    assert_string_equal(ask("SELECT count(*) FROM ledger_entry WHERE idem_key <> 'lost'"),
                        count);
}

/* Servers whose settings forget claims, and one that only follows another. */
static void a_server_that_may_forget_is_refused(void **state)
{
    static const struct {
        const char *settings[2], *why;
    } cases[] = {
        { { "fsync=off" }, "fsync" },
        { { "full_page_writes=off" }, "full_page_writes" },
        { { "default_transaction_read_only=on" }, "read-only" },
    };
    FIXTURE(f);
    struct store_options o = options_of(&f);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct store *s = NULL;
        CLAIM(c, "k");

        postgres_restart(server, SIGINT, cases[i].settings);
        assert_int_equal(open_with(&o, &s), STORE_REFUSED);
        assert_null(s);
        assert_non_null(strstr(buf_text(&error), cases[i].why));
        assert_int_equal(ask_again(f.store, &c), STORE_LOST);
        assert_int_equal(ask_again(f.store, &c), STORE_LOST);
        assert_int_equal(c.claim.result, STORE_NOT_DONE);
    }
    postgres_restart(server, SIGINT, NULL);
    assert_string_equal(ask("SELECT count(*) FROM ledger_entry"), "0");
}

/* A port that nobody listens on: it is bound. */
static int dead_port(int *fd)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof a;

    *fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(*fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(getsockname(*fd, (struct sockaddr *)&a, &len), 0);
    return ntohs(a.sin_port);
}

/* That one alone is why a start fails: one that is down may be back in a moment. */
static void of_several_hosts_the_one_that_was_refused_is_told(void **state)
{
    FIXTURE(f);
    struct store_options o = options_of(&f);
    enum store_result results[2];
    char url[160], expected[64], told[2][1024];
    int fd, dead = dead_port(&fd), alive = postgres_port(server);

    (void)state;
    o.url = url;
    (void)postgres_ask(server, "postgres",
                       "ALTER DATABASE " DATABASE " SET default_transaction_read_only = on");
    for (int i = 0; i < 2; i++) {
        struct store *s = NULL;

        (void)snprintf(url, sizeof url, "postgresql://postgres@127.0.0.1:%d,127.0.0.1:%d/%s",
                       i == 0 ? alive : dead, i == 0 ? dead : alive, DATABASE);
        results[i] = open_with(&o, &s);
        type->close(s);
        (void)snprintf(told[i], sizeof told[i], "%s", buf_text(&error));
    }
    (void)postgres_ask(server, "postgres",
                       "ALTER DATABASE " DATABASE " RESET default_transaction_read_only");
    (void)close(fd);
    (void)snprintf(expected, sizeof expected, "127.0.0.1:%d: this PostgreSQL is read-only",
                   alive);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(results[i], STORE_REFUSED);
        if (strstr(told[i], expected) == NULL || strstr(told[i], "cannot be reached") != NULL)
            fail_msg("%d: %s", i, told[i]);
    }
}

static void with_an_authority_nothing_but_verified_tls_will_do(void **state)
{
    FIXTURE(f);
    struct store_options o = options_of(&f);
    struct store *s = NULL;
    struct cert_files files = { .serial = 0 };

    (void)state;
    o.ca_file = certs_ca_file();
    assert_int_equal(open_with(&o, &s), STORE_LOST); /* the server has no TLS */
    type->close(s);
    certs_write(&files, CERT_VALID);
    assert_int_equal(setenv("POSTGRES_CERTIFICATE", files.certificate, 1), 0);
    assert_int_equal(setenv("POSTGRES_KEY", files.key, 1), 0);
    postgres_restart(server, SIGINT, NULL);
    if (open_with(&o, &s) != STORE_OK)
        fail_msg("%s", buf_text(&error));
    CLAIM(c, "k");
    assert_int_equal(claimed(s, &c), STORE_CLAIMED);
    assert_string_equal(ask("SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity "
                            "USING (pid) WHERE application_name = 'oneshot-proxy' AND "
                            "datname = current_database() AND ssl"),
                        "t");
    type->close(s);
    o.ca_file = certs_other_ca_file();
    assert_int_equal(open_with(&o, &s), STORE_LOST);
    type->close(s);
    certs_write(&files, CERT_WRONG_NAME);
    postgres_restart(server, SIGINT, NULL);
    o.ca_file = certs_ca_file();
    assert_int_equal(open_with(&o, &s), STORE_LOST);
    type->close(s);
    assert_int_equal(unsetenv("POSTGRES_CERTIFICATE"), 0);
    postgres_restart(server, SIGINT, NULL);
}

/* --- a connection cut at every byte ------------------------------------------------------- */

/* Passes bytes on between one client and the server at a time, so many each way. */
struct cutter {
    pthread_t thread;
    int listening, port;
    _Atomic size_t up_left, down_left; /* of the next connection */
    _Atomic size_t up, down;           /* passed by the last one */
};

static bool pass(int from, int to, _Atomic size_t *left, _Atomic size_t *passed)
{
    char bytes[4096];
    ssize_t n = recv(from, bytes, sizeof bytes, 0);
    size_t take = n > 0 && (size_t)n < *left ? (size_t)n : *left;

    if (n <= 0 || (take > 0 && send(to, bytes, take, MSG_NOSIGNAL) != (ssize_t)take))
        return false;
    *left -= take;
    *passed += take;
    return *left > 0;
}

static int server_socket(void)
{
    struct sockaddr_in a = { .sin_family = AF_INET,
                             .sin_port = htons((uint16_t)postgres_port(server)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)connect(fd, (struct sockaddr *)&a, sizeof a);
    return fd;
}

static void *cut(void *arg)
{
    struct cutter *c = arg;

    for (;;) {
        int client = accept4(c->listening, NULL, NULL, SOCK_CLOEXEC), up = -1;

        if (client < 0)
            return NULL;
        up = server_socket();
        struct pollfd fd[2] = { { client, POLLIN, 0 }, { up, POLLIN, 0 } };
        c->up = c->down = 0;
        for (bool more = true; more;) {
            (void)poll(fd, 2, -1);
            if (fd[0].revents != 0)
                more = pass(client, up, &c->up_left, &c->up);
            if (more && fd[1].revents != 0)
                more = pass(up, client, &c->down_left, &c->down);
        }
        (void)close(client);
        (void)close(up);
    }
}

static void cutter_start(struct cutter *c)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof a;

    *c = (struct cutter){ .listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) };
    assert_int_equal(bind(c->listening, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(c->listening, 8), 0);
    assert_int_equal(getsockname(c->listening, (struct sockaddr *)&a, &len), 0);
    c->port = ntohs(a.sin_port);
    assert_int_equal(pthread_create(&c->thread, NULL, cut, c), 0);
}

static void cutter_end(struct cutter *c)
{
    (void)shutdown(c->listening, SHUT_RDWR);
    (void)pthread_join(c->thread, NULL);
    (void)close(c->listening);
}

/* One claim over a connection that ends after so many bytes. What is told must be true, and the
 * same claim made again over a whole one must be had. */
static void claim_over_a_cut(const struct fixture *f, struct cutter *cutter, size_t up,
                             size_t down)
{
    struct store_options o = options_of(f);
    struct store *s = NULL;
    char url[160], key[48], sql[128];

    (void)snprintf(url, sizeof url, "postgresql://postgres@127.0.0.1:%d/%s", cutter->port,
                   DATABASE);
    (void)snprintf(key, sizeof key, "%zu-%zu", up, down);
    o.url = url;
    cutter->up_left = up;
    cutter->down_left = down;
    CLAIM(c, key);
    enum store_result opened = open_with(&o, &s);
    if (opened == STORE_OK)
        (void)ask_again(s, &c);
    else
        assert_int_equal(opened, STORE_LOST);
    enum store_claimed result = opened == STORE_OK ? c.claim.result : STORE_NOT_DONE;
    type->close(s);
    (void)snprintf(sql, sizeof sql, "SELECT count(*) FROM ledger_entry WHERE idem_key = '%s'",
                   key);
    if (result == STORE_CLAIMED)
        assert_string_equal(ask(sql), "1");
    else if (result == STORE_NOT_DONE)
        assert_string_equal(ask(sql), "0");
    else
        assert_int_equal(result, STORE_UNCLEAR);
    assert_int_equal(claimed(f->store, &c), STORE_CLAIMED);
    assert_string_equal(ask(sql), "1");
}

static void a_connection_cut_at_any_byte_of_a_claim_tells_nothing_untrue(void **state)
{
    FIXTURE(f);
    struct cutter cutter;
    /* All of them with ./dev ledger; some here, other ones at each run. */
    const char *step_text = getenv("LEDGER_CUT_STEP");
    size_t step = step_text == NULL ? 211 : (size_t)strtoul(step_text, NULL, 10);

    (void)state;
    cutter_start(&cutter);
    claim_over_a_cut(&f, &cutter, SIZE_MAX, SIZE_MAX);
    size_t up = cutter.up, down = cutter.down;
    assert_true(up > 500 && down > 500);
    for (size_t n = (size_t)getpid() % step; n < up; n += step)
        claim_over_a_cut(&f, &cutter, n + 1, SIZE_MAX);
    for (size_t n = (size_t)getpid() % step; n < down; n += step)
        claim_over_a_cut(&f, &cutter, SIZE_MAX, n + 1);
    cutter_end(&cutter);
}

static void on_weakness(void *arg, const char *text)
{
    *(size_t *)arg += strstr(text, "synchronous_standby_names") != NULL;
}

static void a_missing_standby_is_named_as_a_weakness(void **state)
{
    FIXTURE(f);
    size_t named = 0;

    (void)state;
    type->weaknesses(f.store, on_weakness, &named);
    assert_int_equal(named, 1);
}

static int start(void **state)
{
    (void)state;
    buf_init(&error, 4096);
    server = postgres_start(NULL);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    postgres_stop(server);
    buf_done(&error);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_is_claimed_once_and_found_from_then_on),
        cmocka_unit_test(a_look_claims_nothing),
        cmocka_unit_test(twins_in_one_batch_are_one_claim),
        cmocka_unit_test(an_answer_comes_back_byte_for_byte),
        cmocka_unit_test(an_empty_body_is_not_the_same_as_none),
        cmocka_unit_test(bytes_that_are_no_text_do_no_harm),
        cmocka_unit_test(a_released_key_is_free_and_its_row_is_kept),
        cmocka_unit_test(outcomes_of_a_batch_are_seen_by_its_claims),
        cmocka_unit_test(a_late_answer_closes_an_unknown_but_not_an_operators_word),
        cmocka_unit_test(a_record_without_a_key_stands_in_nobodys_way),
        cmocka_unit_test(what_outlives_its_lease_is_unknown),
        cmocka_unit_test(pruning_takes_answers_then_keys_and_never_what_is_open),
        cmocka_unit_test(entries_are_listed_by_what_they_are),
        cmocka_unit_test(an_operator_decides_what_is_open_and_waits_before_a_repeat),
        cmocka_unit_test(nothing_is_made_unasked_and_nothing_twice),
        cmocka_unit_test(a_role_with_few_rights_is_enough),
        cmocka_unit_test(the_environment_says_nothing),
        cmocka_unit_test(a_lost_index_claims_nothing),
        cmocka_unit_test(another_ledger_behind_the_same_url_is_final),
        cmocka_unit_test(of_several_replicas_one_has_each_key),
        cmocka_unit_test(a_commit_that_no_standby_confirmed_is_not_durable),
        cmocka_unit_test(a_claim_that_finds_itself_waits_for_the_standby_too),
        cmocka_unit_test(
            a_connection_lost_in_commit_leaves_a_claim_unclear_until_it_is_made_again),
        cmocka_unit_test(a_claim_made_again_beside_its_first_try_finds_it),
        cmocka_unit_test(a_claim_that_is_committed_after_it_was_given_up_is_released),
        cmocka_unit_test(a_server_that_does_not_answer_is_given_up_in_time),
        cmocka_unit_test(a_proxy_that_ends_does_not_wait_for_a_server),
        cmocka_unit_test(each_address_of_a_name_is_tried),
        cmocka_unit_test(name_servers_that_are_silent_hold_nothing_up),
        cmocka_unit_test(a_server_that_ends_at_once_loses_no_claim),
        cmocka_unit_test(a_server_that_may_forget_is_refused),
        cmocka_unit_test(of_several_hosts_the_one_that_was_refused_is_told),
        cmocka_unit_test(with_an_authority_nothing_but_verified_tls_will_do),
        cmocka_unit_test(a_connection_cut_at_any_byte_of_a_claim_tells_nothing_untrue),
        cmocka_unit_test(a_missing_standby_is_named_as_a_weakness),
    };

    return cmocka_run_group_tests(tests, start, stop);
}

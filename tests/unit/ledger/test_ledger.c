/* ledger.c: its thread, with a store that does what the test says; the test is the worker. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "config/config_case.h"
#include "ledger/ledger.h"
#include "ledger/stores.h"

/* --- the store ---------------------------------------------------------------------------- */

#define ENTRIES_MAX 512

/* Entries by key. What the ledger's thread and the test both touch is under the lock. */
static struct fake {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct fake_entry {
        char id[LEDGER_ID_BYTES], key[64], cause[32];
        enum ledger_state state;
        size_t body_len;
        bool has_body;
    } entry[ENTRIES_MAX];
    size_t entries;
    size_t batches, largest; /* of claims and outcomes together */
    size_t looks_only;
    enum store_result result;  /* of each batch */
    enum store_claimed missed; /* what claims are then */
    bool commits_anyway;       /* though unclear */
    struct fake_entry late;    /* the last claim that was not, and may be later */
    size_t gone;               /* outcomes of which there was no entry */
    bool full_for_orphans;     /* they cannot be written */
    bool absent;               /* neither inserted nor found */
    bool held;                 /* the batch waits */
    bool is_in_batch;
    size_t all_orphans; /* calls with STORE_ALL */
    size_t prunes;
    int64_t keys_before_ms; /* of the last one */
    int64_t newest_ms;
} fake = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

/* --- the log ------------------------------------------------------------------------------- */

/* How often it was told that the store is down; under the same lock. */
static struct {
    size_t downs, final_downs; /* of these, until a restart */
} logged;

void log_setup(enum log_level level, enum log_format format)
{
    (void)level;
    (void)format;
}

bool log_wanted(enum log_level level)
{
    return level <= LOG_INFO;
}

void log_emit(enum log_level level, const char *event, const struct log_field *fields)
{
    (void)level;
    if (strcmp(event, "ledger_down") != 0)
        return;
    (void)pthread_mutex_lock(&fake.lock);
    logged.downs++;
    for (; fields->key != NULL; fields++)
        logged.final_downs +=
            strcmp(fields->key, "until") == 0 && strcmp(fields->str, "restart") == 0;
    (void)pthread_mutex_unlock(&fake.lock);
}

void log_flush(void)
{
}

uint64_t log_dropped(void)
{
    return 0;
}

/* --- the clocks ---------------------------------------------------------------------------- */

static _Atomic int64_t passed_ms; /* more than really did, on each clock */
static _Atomic int64_t jumped_ms; /* of the wall clock alone */
static _Atomic int64_t stands_us; /* the other one stands still there; 0: it goes */

static int64_t read_us(clockid_t id)
{
    struct timespec ts;

    (void)clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t clock_us(void)
{
    return stands_us != 0 ? stands_us : read_us(CLOCK_BOOTTIME) + passed_ms * 1000;
}

int64_t clock_ms(void)
{
    return clock_us() / 1000;
}

int64_t clock_wall_ms(void)
{
    return read_us(CLOCK_REALTIME) / 1000 + passed_ms + jumped_ms;
}

int64_t clock_wall_ns(void)
{
    return clock_wall_ms() * 1000000;
}

int64_t clock_wall_s(void)
{
    return clock_wall_ms() / 1000;
}

/* --- the store ---------------------------------------------------------------------------- */

static struct fake_entry *by_id(const char *id)
{
    for (size_t i = 0; i < fake.entries; i++)
        if (strcmp(fake.entry[i].id, id) == 0)
            return &fake.entry[i];
    return NULL;
}

static struct fake_entry *by_key(const char *key)
{
    for (size_t i = 0; i < fake.entries; i++)
        if (strcmp(fake.entry[i].key, key) == 0 && fake.entry[i].state != LEDGER_RELEASED)
            return &fake.entry[i];
    return NULL;
}

static enum store_result fake_open(struct store **out, const struct store_options *o,
                                   struct buf *error)
{
    (void)o;
    (void)error;
    *out = (struct store *)&fake;
    return STORE_OK;
}

static void fake_close(struct store *s)
{
    (void)s;
}

static void fake_outcome(struct store_outcome *o)
{
    struct fake_entry *e = by_id(o->id);

    if (e != NULL && e->state == o->state) {
        o->result = STORE_WRITTEN_ALREADY;
        return;
    }
    if (e == NULL || e->state == LEDGER_ANSWERED || e->state == LEDGER_RELEASED) {
        fake.gone += e == NULL;
        o->result = STORE_GONE;
        return;
    }
    o->result = e->state == LEDGER_UNKNOWN ? STORE_WRITTEN_LATE : STORE_WRITTEN;
    e->state = o->state;
    e->has_body = o->body->data != NULL;
    e->body_len = o->body->len;
    (void)snprintf(e->cause, sizeof e->cause, "%s", o->cause);
}

static struct fake_entry entry_of(const struct store_claim *c)
{
    struct fake_entry e = { .state = LEDGER_IN_FLIGHT };

    memcpy(e.id, c->id, LEDGER_ID_BYTES);
    (void)snprintf(e.key, sizeof e.key, "%s", c->key == NULL ? "" : c->key);
    return e;
}

static void fake_claim(struct store_claim *c)
{
    struct fake_entry *e = c->key == NULL ? NULL : by_key(c->key);

    if (e != NULL && strcmp(e->id, c->id) != 0) {
        c->found = (struct ledger_entry){ .state = e->state,
                                          .key = strdup(e->key),
                                          .has_fingerprint = true,
                                          .fingerprint = { 7 } };
        c->result = STORE_FOUND;
    } else if (c->id[0] == '\0' || fake.absent) {
        c->result = STORE_ABSENT;
    } else {
        if (e == NULL) {
            assert_true(fake.entries < ENTRIES_MAX);
            fake.entry[fake.entries++] = entry_of(c);
        }
        c->result = STORE_CLAIMED;
    }
}

static enum store_result fake_batch(struct store *s, const struct store_batch *b,
                                    struct buf *error)
{
    (void)s;
    (void)pthread_mutex_lock(&fake.lock);
    fake.is_in_batch = true;
    (void)pthread_cond_broadcast(&fake.changed);
    while (fake.held)
        (void)pthread_cond_wait(&fake.changed, &fake.lock);
    fake.is_in_batch = false;
    fake.batches++;
    if (b->claims + b->outcomes > fake.largest)
        fake.largest = b->claims + b->outcomes;
    enum store_result r = fake.result;

    for (size_t i = 0; i < b->outcomes; i++) {
        if (r == STORE_OK || fake.commits_anyway)
            fake_outcome(b->outcome[i]);
        if (r != STORE_OK)
            b->outcome[i]->result = STORE_NOT_WRITTEN;
    }
    for (size_t i = 0; i < b->claims; i++) {
        b->claim[i]->found = (struct ledger_entry){ .key = NULL };
        if (r == STORE_OK || fake.commits_anyway)
            fake_claim(b->claim[i]);
        else
            fake.late = entry_of(b->claim[i]);
        if (r != STORE_OK)
            b->claim[i]->result = fake.missed;
    }
    if (r != STORE_OK)
        (void)buf_addf(error, "the test says so");
    (void)pthread_mutex_unlock(&fake.lock);
    return r;
}

static enum store_result fake_orphans(struct store *s, enum store_lost_owners which,
                                      int64_t now_ms, struct store_census *out,
                                      struct buf *error)
{
    (void)s;
    (void)now_ms;
    *out = (struct store_census){ .bytes = 4096 };
    (void)pthread_mutex_lock(&fake.lock);
    out->newest_ms = fake.newest_ms;
    fake.all_orphans += which == STORE_ALL;
    for (size_t i = 0; i < fake.entries; i++) {
        struct fake_entry *e = &fake.entry[i];

        if (fake.result == STORE_OK && which == STORE_ALL && e->state == LEDGER_IN_FLIGHT) {
            e->state = LEDGER_UNKNOWN;
            out->orphans++;
        }
        out->in_flight += e->state == LEDGER_IN_FLIGHT;
        out->unknown += e->state == LEDGER_UNKNOWN;
    }
    enum store_result r =
        which == STORE_ALL && fake.full_for_orphans ? STORE_BUSY : fake.result;

    if (r != STORE_OK)
        (void)buf_addf(error, "the test says so");
    (void)pthread_mutex_unlock(&fake.lock);
    return r;
}

static enum store_result fake_prune(struct store *s, struct store_prune *p, struct buf *error)
{
    (void)s;
    (void)error;
    (void)pthread_mutex_lock(&fake.lock);
    fake.prunes++;
    fake.keys_before_ms = p->keys_before_ms;
    (void)pthread_mutex_unlock(&fake.lock);
    return STORE_OK;
}

static const struct store_type fake_type = { .scheme = "sqlite",
                                             .exclusive = true,
                                             .open = fake_open,
                                             .close = fake_close,
                                             .batch = fake_batch,
                                             .orphans = fake_orphans,
                                             .prune = fake_prune };

const struct store_type *store_type_of(const char *url)
{
    (void)url;
    return &fake_type;
}

static void set_result(enum store_result r, enum store_claimed missed)
{
    (void)pthread_mutex_lock(&fake.lock);
    fake.result = r;
    fake.missed = missed;
    fake.commits_anyway = missed == STORE_UNCLEAR;
    (void)pthread_mutex_unlock(&fake.lock);
}

static void set_absent(void)
{
    (void)pthread_mutex_lock(&fake.lock);
    fake.absent = true;
    (void)pthread_mutex_unlock(&fake.lock);
}

static void hold(bool held)
{
    (void)pthread_mutex_lock(&fake.lock);
    fake.held = held;
    (void)pthread_cond_broadcast(&fake.changed);
    (void)pthread_mutex_unlock(&fake.lock);
}

/* Until the thread is inside a batch, which is held. */
static void wait_for_batch(void)
{
    (void)pthread_mutex_lock(&fake.lock);
    while (!fake.is_in_batch)
        (void)pthread_cond_wait(&fake.changed, &fake.lock);
    (void)pthread_mutex_unlock(&fake.lock);
}

static size_t count_of(const size_t *counter)
{
    (void)pthread_mutex_lock(&fake.lock);
    size_t n = *counter;

    (void)pthread_mutex_unlock(&fake.lock);
    return n;
}

static struct fake_entry entry_at(size_t i)
{
    (void)pthread_mutex_lock(&fake.lock);
    struct fake_entry e = fake.entry[i];

    (void)pthread_mutex_unlock(&fake.lock);
    return e;
}

/* --- the worker --------------------------------------------------------------------------- */

static struct loop loop;
static struct mailbox mailbox;
static struct ledger_port port;
static struct ledger *ledger;
static bool started, worker_ended;

static bool (*awaited)(void);
static bool came;

static bool on_turn(void *arg)
{
    (void)arg;
    if (awaited()) {
        came = true;
        loop_stop(&loop);
    }
    return false;
}

static void on_late(struct loop_timer *t)
{
    (void)t;
    loop_stop(&loop);
}

/* Look again, since nothing may tell this loop. */
static void on_look(struct loop_timer *t)
{
    loop_timer_set(&loop, t, clock_ms() + 1);
}

static void turn_until(bool (*condition)(void))
{
    struct loop_timer late = { .on_due = on_late }, look = { .on_due = on_look };

    awaited = condition;
    came = false;
    loop.stopping = false;
    loop.on_turn = on_turn;
    loop_timer_set(&loop, &late, clock_ms() + 60000);
    loop_timer_set(&loop, &look, 0);
    loop_run(&loop);
    loop_timer_clear(&loop, &late);
    loop_timer_clear(&loop, &look);
    assert_true(came);
}

static size_t replies;

static void on_reply(struct ledger_ask *a)
{
    (void)a;
    replies++;
}

static size_t wanted;
static bool all_replied(void)
{
    return replies >= wanted;
}

static void await_replies(size_t n)
{
    wanted = n;
    turn_until(all_replied);
}

static void ask_for(struct ledger_ask *a, const char *key, enum ledger_want want)
{
    static const unsigned char fingerprint[LEDGER_FINGERPRINT_BYTES] = { 7 };

    ledger_ask(a, &port,
               &(struct ledger_question){ .want = want,
                                          .scope = "",
                                          .key = key,
                                          .fingerprint = fingerprint,
                                          .method = "POST",
                                          .path = "/v0/x",
                                          .request_id = "r",
                                          .lease_ms = 430000 },
               on_reply);
}

static struct ledger_status status(void)
{
    struct ledger_status s;

    ledger_status_take(ledger, &s);
    return s;
}

/* Only its socket is ever made: the store is the fake one. */
static char directory[64];

/* So long that only the clock of the tests reaches its end. */
#define STORE_TIMEOUT "30s"
#define TOO_LONG_MS 31000

static int begin(void)
{
    char text[512];
    struct buf error;

    (void)snprintf(directory, sizeof directory, "/tmp/ledger-unit-XXXXXX");
    assert_non_null(mkdtemp(directory));

    fake.entries = fake.batches = fake.largest = fake.all_orphans = fake.prunes = 0;
    fake.gone = 0;
    fake.result = STORE_OK;
    fake.commits_anyway = fake.absent = fake.held = false;
    replies = wanted = 0;
    logged.downs = logged.final_downs = 0;
    (void)snprintf(text, sizeof text,
                   CREDENTIALS "[ledger]\nstore = sqlite:%s/ledger.db\n"
                               "store_timeout = " STORE_TIMEOUT "\n",
                   directory);
    auto_result struct result r = load(text);

    assert_loads(r);
    buf_init(&error, 4096);
    assert_int_equal(loop_init(&loop), 0);
    assert_int_equal(mailbox_init(&mailbox, &loop), 0);
    assert_int_equal(ledger_open(&ledger, r.config, &error), 0);
    assert_int_equal(ledger_start(ledger), 0);
    port = (struct ledger_port){ .ledger = ledger, .loop = &loop, .mailbox = &mailbox };
    buf_done(&error);
    started = true;
    worker_ended = false;
    return 0;
}

static int setup(void **state)
{
    (void)state;
    return begin();
}

static int setup_after_a_week(void **state)
{
    (void)state;
    fake.newest_ms = clock_wall_ms() - 8 * (int64_t)86400000;
    return begin();
}

static int setup_before_its_entries(void **state)
{
    (void)state;
    fake.newest_ms = clock_wall_ms() + 2 * (int64_t)3600000;
    return begin();
}

/* In the order in which the program ends. */
static void end_worker(void)
{
    ledger_stop(ledger);
    mailbox_done(&mailbox);
    worker_ended = true;
}

static int teardown(void **state)
{
    (void)state;
    stands_us = 0;
    hold(false);
    if (!worker_ended)
        end_worker();
    ledger_close(ledger, 5000);
    fake.newest_ms = 0;
    loop_done(&loop);
    assert_int_equal(rmdir(directory), 0);
    return 0;
}

/* --- tests -------------------------------------------------------------------------------- */

static void a_claim_is_made_and_may_be_sent_for_half_of_its_lease(void **state)
{
    struct ledger_ask a = { .mail = NULL };
    int64_t before_ms = clock_ms();

    (void)state;
    ask_for(&a, "k", LEDGER_CLAIM);
    assert_int_equal(replies, 0);
    await_replies(1);
    assert_int_equal(a.result, LEDGER_CLAIMED);
    assert_string_equal(a.id, entry_at(0).id);
    assert_in_range(a.send_until_ms, before_ms + 215000, clock_ms() + 215000);
    assert_in_range(a.end_by_ms, before_ms + 400000, clock_ms() + 400000);
    ledger_ask_done(&a);
    assert_int_equal(entry_at(0).state, LEDGER_IN_FLIGHT);
    assert_true(status().up);
    assert_true(status().claim_us > 0);
}

static void what_is_there_is_found_and_compared(void **state)
{
    struct ledger_ask a = { .mail = NULL }, b = { .mail = NULL }, c = { .mail = NULL };

    (void)state;
    ask_for(&a, "k", LEDGER_LOOK);
    await_replies(1);
    assert_int_equal(a.result, LEDGER_ABSENT);
    ask_for(&a, "k", LEDGER_CLAIM);
    await_replies(2);
    ask_for(&b, "k", LEDGER_CLAIM);
    ask_for(&c, "k", LEDGER_LOOK);
    await_replies(4);
    assert_int_equal(b.result, LEDGER_FOUND);
    assert_int_equal(b.found.state, LEDGER_IN_FLIGHT);
    assert_true(b.same);
    assert_int_equal(c.result, LEDGER_FOUND);
    ledger_ask_done(&a);
    ledger_ask_done(&b);
    ledger_ask_done(&c);
}

static struct ledger_ask many[400];

static void what_comes_during_a_commit_is_the_next_batch(void **state)
{
    char key[16];

    (void)state;
    hold(true);
    for (size_t i = 0; i < ARRAY_LEN(many); i++) {
        many[i] = (struct ledger_ask){ .mail = NULL };
        (void)snprintf(key, sizeof key, "k%zu", i);
        ask_for(&many[i], key, LEDGER_CLAIM);
        if (i == 0)
            wait_for_batch();
    }
    hold(false);
    await_replies(ARRAY_LEN(many));
    for (size_t i = 0; i < ARRAY_LEN(many); i++) {
        assert_int_equal(many[i].result, LEDGER_CLAIMED);
        ledger_ask_done(&many[i]);
    }
    assert_int_equal(count_of(&fake.largest), 128);
    assert_int_equal(count_of(&fake.batches), 1 + 4); /* of 399, at most 128 at once */
}

/* No time passes meanwhile: without a claim it would wait. */
static void an_outcome_shares_the_commit_of_the_next_claim(void **state)
{
    struct ledger_ask a = { .mail = NULL }, b = { .mail = NULL };

    (void)state;
    ask_for(&a, "k", LEDGER_CLAIM);
    await_replies(1);
    stands_us = clock_us();
    ledger_outcome(
        &port, &(struct ledger_outcome){ .id = a.id, .state = LEDGER_ANSWERED, .status = 200 });
    ask_for(&b, "l", LEDGER_CLAIM);
    await_replies(2);
    assert_int_equal(entry_at(0).state, LEDGER_ANSWERED);
    assert_int_equal(count_of(&fake.batches), 2);
    assert_int_equal(count_of(&fake.largest), 2);
    /* A caller waits for a release, so that waits for nothing. */
    char id[LEDGER_ID_BYTES];

    memcpy(id, b.id, sizeof id);
    ledger_settle(&b, &port,
                  &(struct ledger_outcome){ .id = id, .state = LEDGER_RELEASED, .cause = "x" },
                  on_reply);
    await_replies(3);
    assert_int_equal(entry_at(1).state, LEDGER_RELEASED);
    stands_us = 0;
    ledger_ask_done(&a);
    ledger_ask_done(&b);
}

static bool is_released(void)
{
    return count_of(&fake.entries) > 0 && entry_at(0).state == LEDGER_RELEASED;
}

static void a_claim_that_comes_too_late_is_given_back(void **state)
{
    struct ledger_ask a = { .mail = NULL };

    (void)state;
    hold(true);
    ask_for(&a, "k", LEDGER_CLAIM);
    wait_for_batch();
    passed_ms += TOO_LONG_MS;
    await_replies(1);
    assert_int_equal(a.result, LEDGER_DOWN);
    assert_non_null(a.why);
    ledger_ask_done(&a);
    hold(false);
    turn_until(is_released);
}

static void a_claim_of_a_request_that_is_gone_is_given_back(void **state)
{
    struct ledger_ask a = { .mail = NULL };

    (void)state;
    hold(true);
    ask_for(&a, "k", LEDGER_CLAIM);
    wait_for_batch();
    ledger_ask_done(&a);
    hold(false);
    turn_until(is_released);
    assert_int_equal(replies, 0);
}

static void a_claim_of_a_worker_that_is_gone_is_given_back(void **state)
{
    struct ledger_ask a = { .mail = NULL };

    (void)state;
    hold(true);
    ask_for(&a, "k", LEDGER_CLAIM);
    wait_for_batch();
    hold(false);
    ledger_stop(ledger);
    mailbox_done(&mailbox); /* with the reply in it */
    worker_ended = true;
    ledger_ask_done(&a);
    ledger_close(ledger, 5000);
    ledger = NULL;
    assert_true(is_released());
    assert_int_equal(replies, 0);
}

static void expired_asks_are_not_claimed(void **state)
{
    struct ledger_ask a = { .mail = NULL }, b = { .mail = NULL };

    (void)state;
    hold(true);
    ask_for(&a, "a", LEDGER_CLAIM);
    wait_for_batch();
    ask_for(&b, "b", LEDGER_CLAIM);
    passed_ms += TOO_LONG_MS;
    await_replies(2);
    assert_int_equal(b.result, LEDGER_DOWN);
    ledger_ask_done(&a);
    ledger_ask_done(&b);
    hold(false);
    turn_until(is_released);
    assert_int_equal(count_of(&fake.entries), 1);
}

static void a_full_store_claims_nothing_and_is_up_again_by_itself(void **state)
{
    struct ledger_ask a = { .mail = NULL };

    (void)state;
    set_result(STORE_BUSY, STORE_NOT_DONE);
    ask_for(&a, "k", LEDGER_CLAIM);
    await_replies(1);
    assert_int_equal(a.result, LEDGER_DOWN);
    assert_non_null(strstr(a.why, "is full"));
    assert_false(status().up);
    assert_non_null(status().why);
    set_result(STORE_OK, STORE_NOT_DONE);
    ask_for(&a, "k", LEDGER_CLAIM);
    await_replies(2);
    assert_int_equal(a.result, LEDGER_CLAIMED);
    ledger_ask_done(&a);
    assert_true(status().up);
}

static bool is_up(void)
{
    return status().up;
}

static void a_store_that_works_again_is_seen_without_a_request(void **state)
{
    struct ledger_ask a = { .mail = NULL };

    (void)state;
    set_result(STORE_BUSY, STORE_NOT_DONE);
    ask_for(&a, "k", LEDGER_CLAIM);
    await_replies(1);
    ledger_ask_done(&a);
    set_result(STORE_OK, STORE_NOT_DONE);
    turn_until(is_up);
}

static void a_broken_store_is_not_asked_again(void **state)
{
    struct ledger_ask a = { .mail = NULL };

    (void)state;
    set_result(STORE_BROKEN, STORE_NOT_DONE);
    ask_for(&a, "k", LEDGER_CLAIM);
    await_replies(1);
    assert_int_equal(a.result, LEDGER_DOWN);
    size_t batches = count_of(&fake.batches);

    set_result(STORE_OK, STORE_NOT_DONE);
    ask_for(&a, "k", LEDGER_CLAIM);
    await_replies(2);
    assert_int_equal(a.result, LEDGER_DOWN);
    assert_int_equal(count_of(&fake.batches), batches);
    assert_false(status().up);
    ledger_ask_done(&a);
}

static bool is_down(void)
{
    return !status().up;
}

static void a_store_that_is_lost_and_then_broken_is_told_twice(void **state)
{
    struct ledger_ask a = { .mail = NULL };

    (void)state;
    set_result(STORE_LOST, STORE_NOT_DONE);
    ask_for(&a, "k", LEDGER_CLAIM);
    turn_until(is_down);
    set_result(STORE_BROKEN, STORE_NOT_DONE);
    await_replies(1);
    assert_int_equal(a.result, LEDGER_DOWN);
    assert_int_equal(count_of(&logged.downs), 2);
    assert_int_equal(count_of(&logged.final_downs), 1);
    ledger_ask_done(&a);
}

static void a_lost_connection_is_waited_for(void **state)
{
    struct ledger_ask a = { .mail = NULL };

    (void)state;
    set_result(STORE_LOST, STORE_NOT_DONE);
    ask_for(&a, "k", LEDGER_CLAIM);
    while (status().up)
        turn_until(all_replied); /* wanted is 0: one turn */
    assert_int_equal(replies, 0);
    set_result(STORE_OK, STORE_NOT_DONE);
    await_replies(1);
    assert_int_equal(a.result, LEDGER_CLAIMED);
    ledger_ask_done(&a);
}

static void an_unclear_claim_is_made_again_with_the_same_id(void **state)
{
    struct ledger_ask a = { .mail = NULL };

    (void)state;
    set_result(STORE_LOST, STORE_UNCLEAR);
    ask_for(&a, "k", LEDGER_CLAIM);
    wanted = 0;
    while (status().up)
        turn_until(all_replied);
    set_result(STORE_OK, STORE_NOT_DONE);
    await_replies(1);
    assert_int_equal(a.result, LEDGER_CLAIMED);
    assert_int_equal(count_of(&fake.entries), 1);
    assert_string_equal(a.id, entry_at(0).id);
    ledger_ask_done(&a);
}

static void an_unclear_claim_whose_time_is_over_is_released(void **state)
{
    struct ledger_ask a = { .mail = NULL };

    (void)state;
    set_result(STORE_LOST, STORE_UNCLEAR);
    ask_for(&a, "k", LEDGER_CLAIM);
    wanted = 0;
    while (status().up)
        turn_until(all_replied);
    passed_ms += TOO_LONG_MS;
    await_replies(1);
    assert_int_equal(a.result, LEDGER_DOWN);
    ledger_ask_done(&a);
    set_result(STORE_OK, STORE_NOT_DONE);
    turn_until(is_released);
}

static bool was_missed(void)
{
    return count_of(&fake.gone) > 0;
}

/* A claim that the store goes on committing though it was given up; its release has found
 * nothing. */
static void give_up_an_unclear_claim(void)
{
    struct ledger_ask a = { .mail = NULL };

    set_result(STORE_LOST, STORE_UNCLEAR);
    fake.commits_anyway = false;
    ask_for(&a, "k", LEDGER_CLAIM);
    wanted = 0;
    while (status().up)
        turn_until(all_replied);
    passed_ms += TOO_LONG_MS;
    await_replies(1);
    assert_int_equal(a.result, LEDGER_DOWN);
    ledger_ask_done(&a);
    set_result(STORE_OK, STORE_NOT_DONE);
    turn_until(was_missed);
}

static void commit_late(void)
{
    (void)pthread_mutex_lock(&fake.lock);
    fake.entry[fake.entries++] = fake.late;
    (void)pthread_mutex_unlock(&fake.lock);
}

static void a_claim_that_is_committed_after_it_was_given_up_is_released(void **state)
{
    struct ledger_ask a = { .mail = NULL };

    (void)state;
    give_up_an_unclear_claim();
    assert_int_equal(status().outcomes_waiting, 0);
    commit_late();
    turn_until(is_released);
    ask_for(&a, "k", LEDGER_CLAIM);
    await_replies(2);
    assert_int_equal(a.result, LEDGER_CLAIMED);
    ledger_ask_done(&a);
}

static void at_the_end_it_is_released_too(void **state)
{
    (void)state;
    give_up_an_unclear_claim();
    end_worker();
    commit_late();
    ledger_close(ledger, 60000);
    ledger = NULL;
    assert_true(is_released());
}

static void what_is_neither_written_nor_found_is_tried_three_times(void **state)
{
    struct ledger_ask a = { .mail = NULL };

    (void)state;
    set_absent();
    ask_for(&a, "k", LEDGER_CLAIM);
    await_replies(1);
    assert_int_equal(a.result, LEDGER_DOWN);
    assert_int_equal(count_of(&fake.batches), 3);
    ledger_ask_done(&a);
}

static bool is_answered(void)
{
    return count_of(&fake.entries) > 0 && entry_at(0).state == LEDGER_ANSWERED;
}

static void outcomes_wait_until_the_store_is_back(void **state)
{
    const struct ledger_bytes body = { .data = (char *)"done", .len = 4 };
    struct ledger_ask a = { .mail = NULL };

    (void)state;
    ask_for(&a, "k", LEDGER_CLAIM);
    await_replies(1);
    set_result(STORE_BUSY, STORE_NOT_DONE);
    ledger_outcome(&port, &(struct ledger_outcome){ .id = a.id,
                                                    .state = LEDGER_ANSWERED,
                                                    .status = 200,
                                                    .head = "A: b\r\n",
                                                    .body = body });
    ledger_ask_done(&a);
    wanted = 0;
    while (status().up)
        turn_until(all_replied);
    assert_int_equal(status().outcomes_waiting, 1);
    assert_int_equal(status().waiting_bytes, 4);
    set_result(STORE_OK, STORE_NOT_DONE);
    turn_until(is_answered);
    assert_int_equal(entry_at(0).body_len, 4);
    assert_int_equal(status().outcomes[LEDGER_ANSWERED], 1);
}

static bool an_unknown_is_counted(void)
{
    return status().outcomes[LEDGER_UNKNOWN] == 1;
}

static void an_outcome_whose_commit_was_unclear_is_counted(void **state)
{
    struct ledger_ask a = { .mail = NULL };

    (void)state;
    ask_for(&a, "k", LEDGER_CLAIM);
    await_replies(1);
    set_result(STORE_LOST, STORE_UNCLEAR);
    ledger_outcome(&port, &(struct ledger_outcome){
                              .id = a.id, .state = LEDGER_UNKNOWN, .cause = "timeout" });
    ledger_ask_done(&a);
    turn_until(is_down);
    set_result(STORE_OK, STORE_NOT_DONE);
    turn_until(an_unknown_is_counted);
}

static void only_so_many_bytes_wait(void **state)
{
    auto_free char *bytes = base_alloc(5 << 20);
    const struct ledger_bytes body = { .data = bytes, .len = 5 << 20 };

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        char key[8];

        many[i] = (struct ledger_ask){ .mail = NULL };
        (void)snprintf(key, sizeof key, "k%zu", i);
        ask_for(&many[i], key, LEDGER_CLAIM);
    }
    await_replies(4);
    set_result(STORE_BUSY, STORE_NOT_DONE);
    for (size_t i = 0; i < 4; i++) {
        ledger_outcome(&port, &(struct ledger_outcome){
                                  .id = many[i].id, .state = LEDGER_ANSWERED, .body = body });
        ledger_ask_done(&many[i]);
    }
    wanted = 0;
    while (status().outcomes_waiting < 4)
        turn_until(all_replied);
    assert_int_equal(status().waiting_bytes, 15 << 20);
    set_result(STORE_OK, STORE_NOT_DONE);
    while (status().outcomes_waiting > 0)
        turn_until(all_replied);
    size_t kept = 0;

    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(entry_at(i).state, LEDGER_ANSWERED);
        kept += entry_at(i).has_body;
    }
    assert_int_equal(kept, 3);
}

static void a_release_is_told_once_it_is_written(void **state)
{
    struct ledger_ask a = { .mail = NULL };

    (void)state;
    ask_for(&a, "k", LEDGER_CLAIM);
    await_replies(1);
    char id[LEDGER_ID_BYTES];

    memcpy(id, a.id, sizeof id);
    ledger_settle(
        &a, &port,
        &(struct ledger_outcome){ .id = id, .state = LEDGER_RELEASED, .cause = "upstream-dns" },
        on_reply);
    await_replies(2);
    assert_true(is_released());
    assert_string_equal(entry_at(0).cause, "upstream-dns");
    ledger_ask_done(&a);
}

static void a_release_that_cannot_be_written_does_not_hold_its_caller_up(void **state)
{
    struct ledger_ask a = { .mail = NULL };

    (void)state;
    ask_for(&a, "k", LEDGER_CLAIM);
    await_replies(1);
    char id[LEDGER_ID_BYTES];

    memcpy(id, a.id, sizeof id);
    set_result(STORE_BUSY, STORE_NOT_DONE);
    ledger_settle(&a, &port, &(struct ledger_outcome){ .id = id, .state = LEDGER_RELEASED },
                  on_reply);
    passed_ms += TOO_LONG_MS;
    await_replies(2);
    ledger_ask_done(&a);
    assert_int_equal(entry_at(0).state, LEDGER_IN_FLIGHT);
    set_result(STORE_OK, STORE_NOT_DONE);
    turn_until(is_released);
}

static void above_the_limit_asks_are_refused_at_once(void **state)
{
    static struct ledger_ask asks[LEDGER_WAITING_MAX + 1];

    (void)state;
    hold(true);
    for (size_t i = 0; i < ARRAY_LEN(asks); i++) {
        asks[i] = (struct ledger_ask){ .mail = NULL };
        ask_for(&asks[i], "k", LEDGER_LOOK);
    }
    assert_int_equal(replies, 0);
    await_replies(1);
    assert_int_equal(asks[LEDGER_WAITING_MAX].result, LEDGER_DOWN);
    assert_non_null(strstr(asks[LEDGER_WAITING_MAX].why, "too many"));
    hold(false);
    await_replies(ARRAY_LEN(asks));
    for (size_t i = 0; i < ARRAY_LEN(asks); i++)
        ledger_ask_done(&asks[i]);
    ask_for(&asks[0], "k", LEDGER_LOOK);
    await_replies(ARRAY_LEN(asks) + 1);
    assert_int_equal(asks[0].result, LEDGER_ABSENT);
    ledger_ask_done(&asks[0]);
}

static void at_the_end_outcomes_are_written_and_the_rest_is_unknown(void **state)
{
    struct ledger_ask a = { .mail = NULL }, b = { .mail = NULL };

    (void)state;
    ask_for(&a, "a", LEDGER_CLAIM);
    await_replies(1);
    ask_for(&b, "b", LEDGER_CLAIM);
    await_replies(2);
    ledger_stop(ledger);
    ledger_outcome(&port, &(struct ledger_outcome){ .id = a.id, .state = LEDGER_ANSWERED });
    mailbox_done(&mailbox);
    worker_ended = true;
    ledger_ask_done(&a);
    ledger_ask_done(&b);
    ledger_close(ledger, 5000);
    ledger = NULL;
    assert_int_equal(entry_at(0).state, LEDGER_ANSWERED);
    assert_int_equal(entry_at(1).state, LEDGER_UNKNOWN);
}

static void a_store_that_is_down_at_the_end_does_not_hold_the_end_up(void **state)
{
    struct ledger_ask a = { .mail = NULL };
    int64_t before_ms = 0;

    (void)state;
    ask_for(&a, "a", LEDGER_CLAIM);
    await_replies(1);
    set_result(STORE_LOST, STORE_NOT_DONE);
    ledger_outcome(&port, &(struct ledger_outcome){ .id = a.id, .state = LEDGER_ANSWERED });
    ledger_ask_done(&a);
    end_worker();
    before_ms = clock_ms();
    ledger_close(ledger, 50);
    ledger = NULL;
    assert_true(clock_ms() - before_ms >= 50);
    set_result(STORE_OK, STORE_NOT_DONE);
    assert_int_equal(entry_at(0).state, LEDGER_IN_FLIGHT);
}

static void without_a_store_there_is_nothing(void **state)
{
    struct ledger *none = NULL;
    struct ledger_status s;
    struct buf error;

    (void)state;
    auto_result struct result r = load(CREDENTIALS);
    buf_init(&error, 256);
    assert_int_equal(ledger_open(&none, r.config, &error), 0);
    assert_null(none);
    ledger_status_take(none, &s);
    assert_false(s.on);
    ledger_stop(none);
    ledger_close(none, 1);
    buf_done(&error);
}

static void entries_of_a_process_that_is_gone_are_unknown_at_the_start(void **state)
{
    (void)state;
    assert_int_equal(count_of(&fake.all_orphans), 1);
}

/* Nobody would make them unknown later on: from then on what is in flight is this process's own. */
static void entries_of_a_process_that_is_gone_do_not_stay_in_flight(void **state)
{
    struct buf error;
    struct ledger *none = NULL;

    (void)state;
    auto_result struct result r =
        load(CREDENTIALS "[ledger]\nstore = sqlite:/tmp/ledger-unit-none/ledger.db\n");

    fake.full_for_orphans = true;
    fake.result = STORE_OK;
    buf_init(&error, 256);
    assert_int_not_equal(ledger_open(&none, r.config, &error), 0);
    assert_null(none);
    assert_string_equal(buf_text(&error), "the test says so");
    buf_done(&error);
    fake.full_for_orphans = false;
}

/* --- time ---------------------------------------------------------------------------------- */

#define MINUTES(n) ((n) * (int64_t)60000)
#define HOURS(n) ((n)*MINUTES(60))
#define DAYS(n) ((n)*HOURS(24))
#define A_MINUTE (MINUTES(1) + 1000)

/* Lets time pass and the wall clock jump. When this returns, the ledger has done what was
 * due. */
static void later(int64_t passed, int64_t jump)
{
    struct ledger_ask a = { .mail = NULL };

    jumped_ms += jump; /* first: whatever is due sees both */
    passed_ms += passed;
    ask_for(&a, "wakes the thread", LEDGER_LOOK);
    await_replies(replies + 1);
    ledger_ask_done(&a);
}

static void old_entries_are_pruned_each_hour(void **state)
{
    (void)state;
    later(A_MINUTE, 0);
    assert_int_equal(count_of(&fake.prunes), 1);
    assert_true(fake.keys_before_ms > clock_wall_ms() - DAYS(401));
    assert_true(fake.keys_before_ms < clock_wall_ms() - DAYS(399));
    later(MINUTES(30), 0);
    assert_int_equal(count_of(&fake.prunes), 1);
    later(MINUTES(31), 0);
    assert_int_equal(count_of(&fake.prunes), 2);
}

static void after_a_jump_nothing_is_pruned_for_a_day(int64_t jump)
{
    later(A_MINUTE, jump);
    assert_int_equal(count_of(&fake.prunes), 0);
    later(HOURS(23), 0);
    assert_int_equal(count_of(&fake.prunes), 0);
    later(HOURS(2), 0);
    assert_int_equal(count_of(&fake.prunes), 1);
}

static void a_clock_that_is_put_ahead_has_nothing_pruned_for_a_day(void **state)
{
    (void)state;
    after_a_jump_nothing_is_pruned_for_a_day(DAYS(3650));
}

static void a_clock_that_is_put_back_has_nothing_pruned_for_a_day(void **state)
{
    (void)state;
    after_a_jump_nothing_is_pruned_for_a_day(-HOURS(2));
}

static void a_clock_that_is_corrected_is_believed(void **state)
{
    (void)state;
    later(A_MINUTE, MINUTES(59));
    assert_int_equal(count_of(&fake.prunes), 1);
    later(HOURS(1) + A_MINUTE, -MINUTES(59));
    assert_int_equal(count_of(&fake.prunes), 2);
}

/* Both clocks go on meanwhile: the wall clock has not jumped. */
static void a_suspend_is_no_jump(void **state)
{
    (void)state;
    later(DAYS(3), 0);
    assert_int_equal(count_of(&fake.prunes), 1);
}

static void entries_of_long_ago_or_of_the_future_have_nothing_pruned_for_a_day(void **state)
{
    (void)state;
    after_a_jump_nothing_is_pruned_for_a_day(0);
}

static void a_jump_moves_no_time_until_which_may_be_sent(void **state)
{
    struct ledger_ask a = { .mail = NULL };

    (void)state;
    later(0, -DAYS(3650));
    int64_t before_ms = clock_ms();
    ask_for(&a, "k", LEDGER_CLAIM);
    await_replies(replies + 1);
    assert_int_equal(a.result, LEDGER_CLAIMED);
    jumped_ms += DAYS(7300);
    assert_in_range(a.send_until_ms, before_ms + 215000, clock_ms() + 215000);
    assert_true(a.end_by_ms > a.send_until_ms);
    ledger_ask_done(&a);
}

static void it_is_waited_for_as_long_as_its_lease(void **state)
{
    (void)state;
    give_up_an_unclear_claim();
    for (int i = 0; i < 4; i++) /* of 430 s: once more at the end of each */
        later(MINUTES(2), 0);
    size_t looked = count_of(&fake.gone);

    assert_in_range(looked, 2, 5);
    later(HOURS(1), 0);
    assert_int_equal(count_of(&fake.gone), looked);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_claim_is_made_and_may_be_sent_for_half_of_its_lease),
        TEST(what_is_there_is_found_and_compared),
        TEST(what_comes_during_a_commit_is_the_next_batch),
        TEST(an_outcome_shares_the_commit_of_the_next_claim),
        TEST(a_claim_that_comes_too_late_is_given_back),
        TEST(a_claim_of_a_request_that_is_gone_is_given_back),
        TEST(a_claim_of_a_worker_that_is_gone_is_given_back),
        TEST(expired_asks_are_not_claimed),
        TEST(a_full_store_claims_nothing_and_is_up_again_by_itself),
        TEST(a_store_that_works_again_is_seen_without_a_request),
        TEST(a_broken_store_is_not_asked_again),
        TEST(a_store_that_is_lost_and_then_broken_is_told_twice),
        TEST(a_lost_connection_is_waited_for),
        TEST(an_unclear_claim_is_made_again_with_the_same_id),
        TEST(an_unclear_claim_whose_time_is_over_is_released),
        TEST(a_claim_that_is_committed_after_it_was_given_up_is_released),
        TEST(at_the_end_it_is_released_too),
        TEST(it_is_waited_for_as_long_as_its_lease),
        TEST(what_is_neither_written_nor_found_is_tried_three_times),
        TEST(outcomes_wait_until_the_store_is_back),
        TEST(an_outcome_whose_commit_was_unclear_is_counted),
        TEST(only_so_many_bytes_wait),
        TEST(a_release_is_told_once_it_is_written),
        TEST(a_release_that_cannot_be_written_does_not_hold_its_caller_up),
        TEST(above_the_limit_asks_are_refused_at_once),
        TEST(at_the_end_outcomes_are_written_and_the_rest_is_unknown),
        TEST(a_store_that_is_down_at_the_end_does_not_hold_the_end_up),
        TEST(old_entries_are_pruned_each_hour),
        TEST(a_clock_that_is_put_ahead_has_nothing_pruned_for_a_day),
        TEST(a_clock_that_is_put_back_has_nothing_pruned_for_a_day),
        TEST(a_clock_that_is_corrected_is_believed),
        TEST(a_suspend_is_no_jump),
        cmocka_unit_test_setup_teardown(
            entries_of_long_ago_or_of_the_future_have_nothing_pruned_for_a_day,
            setup_after_a_week, teardown),
        cmocka_unit_test_setup_teardown(
            entries_of_long_ago_or_of_the_future_have_nothing_pruned_for_a_day,
            setup_before_its_entries, teardown),
        TEST(a_jump_moves_no_time_until_which_may_be_sent),
        cmocka_unit_test(without_a_store_there_is_nothing),
        cmocka_unit_test(entries_of_a_process_that_is_gone_do_not_stay_in_flight),
        TEST(entries_of_a_process_that_is_gone_are_unknown_at_the_start),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

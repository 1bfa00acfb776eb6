/* The ledger's thread: collects the questions and outcomes of workers into batches, has the
 * store commit them, and reports the results.
 *
 *   claim:    worker --ask--> WAITING --batch--> CLAIMED, FOUND, ABSENT --reply--> worker
 *                               |  ^
 *                               |  +-- lost, unclear: again, with the same id
 *                               +-- store_timeout is over: DOWN; one whose commit is unclear is
 *                                   released by its id
 *   outcome:  worker --mail--> WAITING --batch--> written
 *                               ^  |
 *                               +--+ the store is down: again, until the end of the program
 *   release of an unclear claim: as an outcome; while there is no such entry: again, until a
 *                                lease is over, since the store may still be committing it
 *
 * When a reply with a claim arrives and its request is gone (timed out, cancelled, its
 * worker stopped), it sends the release of that claim back here: whoever receives a claim is
 * responsible for giving it back. */
#include "ledger/ledger.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "config/command_line.h"
#include "config/value.h"
#include "ledger/control.h"
#include "ledger/stores.h"

/* A batch has at most this many outcomes and claims together. */
#define BATCH_MAX 128
/* So many places are kept for each of the two kinds while both wait. */
#define BATCH_SHARE 64
/* How long an outcome waits for a claim to share its commit with: about as long as a commit
 * takes. A caller who sends one payment after the other then needs one commit for each, not two. */
#define SHARE_MS 5
/* How often to try a claim that was neither written nor found. */
#define CLAIM_TRIES 3

#define LOCK_WAIT_MS 45000
#define RETRY_MS 100      /* after a batch that must be repeated; it doubles ... */
#define RETRY_DOUBLINGS 4 /* ... this often */
/* After a release whose entry is not there yet it doubles this often, to 100 s. */
#define ABSENT_DOUBLINGS 10
#define MINUTE_MS 60000 /* interval for orphans and the clock check */
#define CENSUS_MS 1000  /* counting entries, after something has changed */
#define PRUNE_MS 3600000
#define PRUNE_PAUSE_MS 86400000 /* while the clock cannot be trusted */
#define PRUNE_ROWS 200
#define PRUNE_GAP_MS 50 /* between the parts of one pruning */
#define CLOCK_JUMP_MS 3600000
#define NEWEST_AGE_MS (7 * (int64_t)86400000)
#define JOIN_LOOK_MS 2
#define JOIN_TIMEOUT_MS 3000
#define DETAIL_MAX 8192 /* bytes of one text for the log */

enum kind { KIND_ASK, KIND_OUTCOME, KIND_SETTLE };

/* A question on its way to the thread and back, or an outcome. */
struct ledger_mail {
    struct mail mail;
    TAILQ_ENTRY(ledger_mail) link;
    struct ledger *ledger;
    enum kind kind;
    struct ledger_ask *ask; /* used by the worker only; NULL: nobody waits any more */
    struct mailbox *back;   /* where to reply; NULL: no reply is wanted */
    int64_t asked_us, deadline_ms, send_until_ms, end_by_ms;
    int64_t lease_ms; /* of a release: the lease of its claim, which may yet be committed */
    int64_t again_ms; /* ... when to look for it again, until deadline_ms; 0: not missed yet */
    unsigned tries;
    bool unclear; /* a commit that contains it has begun, and its result is not known */
    bool taken;   /* the reply was delivered */

    char id[LEDGER_ID_BYTES];
    char *text; /* memory of the strings below */
    struct ledger_bytes body;
    unsigned char fingerprint[LEDGER_FINGERPRINT_BYTES];
    struct store_claim claim;
    struct store_outcome outcome;

    enum ledger_result result; /* of a question */
    bool same;
    const char *why;
};

TAILQ_HEAD(mail_queue, ledger_mail);

struct counts {
    _Atomic bool up;
    _Atomic(const char *) why;
    _Atomic int64_t down_ms, claim_us, unknown_oldest_ms;
    _Atomic uint64_t in_flight, unknown, outcomes_waiting, waiting_bytes, store_bytes;
    _Atomic uint64_t outcomes[LEDGER_STATES], orphans, contradictions;
    _Atomic uint64_t claim_bucket[METRICS_BUCKETS], claim_sum_us;
    _Atomic uint64_t waiting; /* questions in progress, counted by the workers */
    _Atomic int64_t keep_answers_ms, keep_keys_ms;
};

struct ledger {
    const struct store_type *type;
    struct store *store;
    char *config_file; /* for commands that people are told to run; NULL: none */
    int64_t store_timeout_ms;
    struct loop loop;
    struct mailbox mailbox;
    pthread_t thread;
    bool started;
    int hurry_fd;   /* becomes readable when the thread must end */
    bool broken;    /* the store is not used any more */
    bool closing;   /* no claims any more; the loop ends when no outcome waits */
    bool was_quiet; /* ... and none waited in the previous turn */
    bool time_over;
    struct mail_queue claims, outcomes;
    struct mail_queue absent; /* releases whose entries are not there yet */
    size_t outcomes_count, outcomes_bytes;
    int64_t write_by_ms; /* outcomes are written by then, also without a claim */
    struct loop_timer share, retry, appear, minute, census, pruning;
    bool is_waiting;        /* `retry` is armed: no batch before */
    unsigned failures;      /* failed batches in a row */
    int64_t clock_gap_ms;   /* wall clock minus the clock that is never set */
    int64_t prune_from_ms;  /* no pruning before this time */
    struct control control; /* with an SQLite store */
    struct control_user control_user;
    struct counts counts;
};

static uint64_t get(const _Atomic uint64_t *v)
{
    return atomic_load_explicit(v, memory_order_relaxed);
}
static void set(_Atomic uint64_t *v, uint64_t value)
{
    atomic_store_explicit(v, value, memory_order_relaxed);
}

/* --- the worker's side -------------------------------------------------------------------- */

static struct ledger_mail *mail_new(struct ledger *l, enum kind kind)
{
    struct ledger_mail *m = base_alloc(sizeof *m);

    m->ledger = l;
    m->kind = kind;
    m->claim.id = m->id;
    m->outcome.id = m->id;
    m->asked_us = clock_us();
    return m;
}

static void mail_done(struct ledger_mail *m)
{
    ledger_entry_done(&m->claim.found);
    free(m->body.data);
    free(m->text);
    free(m);
}

/* Copies strings, any of which may be NULL, into one block of memory, and makes them point
 * there. */
static char *keep_texts(const char **const text[], size_t count)
{
    size_t bytes = 1;

    for (size_t i = 0; i < count; i++)
        bytes += *text[i] == NULL ? 0 : strlen(*text[i]) + 1;
    char *all = base_alloc(bytes), *p = all;

    for (size_t i = 0; i < count; i++) {
        size_t len = *text[i] == NULL ? 0 : strlen(*text[i]) + 1;

        if (len > 0)
            *text[i] = memcpy(p, *text[i], len);
        p += len;
    }
    return all;
}

static struct ledger_bytes copy_of(const struct ledger_bytes *b)
{
    struct ledger_bytes copy = { .data = NULL };

    if (b->data == NULL)
        return copy;
    copy.data = base_alloc(b->len + 1);
    memcpy(copy.data, b->data, b->len);
    copy.len = b->len;
    return copy;
}

static void take_fingerprint(struct ledger_mail *m, const unsigned char **field)
{
    if (*field == NULL)
        return;
    memcpy(m->fingerprint, *field, sizeof m->fingerprint);
    *field = m->fingerprint;
}

static void arrived(struct mail *mail);

/* The worker does not wait for it any more. */
static void forget_ask(struct ledger_mail *m)
{
    if (m->ask != NULL)
        m->ask->mail = NULL;
    m->ask = NULL;
}

/* Frees mail that was never delivered; after `arrived` the queue owns it. */
static void free_unread(struct mail *mail)
{
    struct ledger_mail *m = CONTAINER_OF(mail, struct ledger_mail, mail);

    forget_ask(m);
    mail_done(m);
}
static void free_nothing(struct mail *mail)
{
    (void)mail;
}

static void post(struct ledger_mail *m)
{
    m->mail = (struct mail){ .run = arrived, .free = free_unread };
    mailbox_send(&m->ledger->mailbox, &m->mail);
}

static struct ledger_mail *outcome_mail(struct ledger *l, enum kind kind,
                                        const struct ledger_outcome *o)
{
    struct ledger_mail *m = mail_new(l, kind);

    assert(o->state != LEDGER_IN_FLIGHT && strlen(o->id) == LEDGER_ID_BYTES - 1);
    memcpy(m->id, o->id, LEDGER_ID_BYTES);
    m->outcome = (struct store_outcome){ .id = m->id,
                                         .state = o->state,
                                         .cause = o->cause == NULL ? "" : o->cause,
                                         .status = o->status,
                                         .head = o->head,
                                         .body = &m->body,
                                         .fingerprint = o->fingerprint };
    m->text = keep_texts((const char **const[]){ &m->outcome.cause, &m->outcome.head }, 2);
    m->body = copy_of(&o->body);
    take_fingerprint(m, &m->outcome.fingerprint);
    return m;
}

void ledger_outcome(struct ledger_port *port, const struct ledger_outcome *o)
{
    post(outcome_mail(port->ledger, KIND_OUTCOME, o));
}

/* Gives back a claim that nobody uses. lease_ms: its lease, if it may be committed only later;
 * otherwise 0. */
static void release(struct ledger *l, const char *id, int64_t lease_ms)
{
    const struct ledger_outcome o = { .id = id,
                                      .state = LEDGER_RELEASED,
                                      .cause = "not-wanted" };
    struct ledger_mail *m = outcome_mail(l, KIND_OUTCOME, &o);

    m->lease_ms = lease_ms;
    post(m);
}

static void leave(struct ledger *l)
{
    (void)atomic_fetch_sub_explicit(&l->counts.waiting, 1, memory_order_relaxed);
}

/* Ends a question; its mail will find that nobody waits. */
static void detach(struct ledger_ask *a)
{
    if (a->port == NULL)
        return;
    loop_timer_clear(a->port->loop, &a->timer);
    if (a->mail != NULL)
        a->mail->ask = NULL;
    a->mail = NULL;
}

static void on_time_over(struct loop_timer *t)
{
    struct ledger_ask *a = CONTAINER_OF(t, struct ledger_ask, timer);

    detach(a);
    a->result = LEDGER_DOWN;
    if (a->why == NULL)
        a->why = "the ledger did not answer within ledger.store_timeout";
    a->on_reply(a);
}

static void begin(struct ledger_ask *a, struct ledger_port *port,
                  void (*on_reply)(struct ledger_ask *a))
{
    assert(a->mail == NULL);
    detach(a);
    ledger_entry_done(&a->found);
    *a = (struct ledger_ask){ .port = port, .on_reply = on_reply };
    a->timer.on_due = on_time_over;
}

static void replied(struct mail *mail)
{
    struct ledger_mail *m = CONTAINER_OF(mail, struct ledger_mail, mail);
    struct ledger_ask *a = m->ask;

    if (a == NULL)
        return;
    m->taken = true;
    detach(a);
    a->result = m->result;
    a->why = m->why;
    if (m->result == LEDGER_CLAIMED) {
        memcpy(a->id, m->id, sizeof a->id);
        a->send_until_ms = m->send_until_ms;
        a->end_by_ms = m->end_by_ms;
    }
    a->found = m->claim.found;
    m->claim.found = (struct ledger_entry){ .key = NULL };
    a->same = m->same;
    a->on_reply(a);
}

static void free_reply(struct mail *mail)
{
    struct ledger_mail *m = CONTAINER_OF(mail, struct ledger_mail, mail);

    forget_ask(m);
    leave(m->ledger);
    if (m->kind == KIND_ASK && m->result == LEDGER_CLAIMED && !m->taken)
        release(m->ledger, m->id, 0);
    mail_done(m);
}

/* Counts a question, up to a limit: above it the answer is DOWN, in the next turn. */
static bool enter(struct ledger_ask *a)
{
    struct ledger *l = a->port->ledger;
    uint64_t before = atomic_fetch_add_explicit(&l->counts.waiting, 1, memory_order_relaxed);

    loop_timer_set(a->port->loop, &a->timer,
                   before < LEDGER_WAITING_MAX ? clock_ms() + l->store_timeout_ms : 0);
    if (before < LEDGER_WAITING_MAX)
        return true;
    a->why = "too many requests wait for it";
    leave(l);
    return false;
}

void ledger_ask(struct ledger_ask *a, struct ledger_port *port, const struct ledger_question *q,
                void (*on_reply)(struct ledger_ask *a))
{
    assert(q->key != NULL || q->want == LEDGER_CLAIM);
    begin(a, port, on_reply);
    if (!enter(a))
        return;
    struct ledger_mail *m = mail_new(port->ledger, KIND_ASK);
    int64_t now_ms = clock_ms();

    a->mail = m;
    m->ask = a;
    m->back = port->mailbox;
    m->deadline_ms = now_ms + port->ledger->store_timeout_ms;
    m->send_until_ms = now_ms + q->lease_ms / 2;
    m->end_by_ms = now_ms + q->lease_ms - LEDGER_LEASE_MARGIN_MS;
    if (q->want == LEDGER_CLAIM)
        ledger_id_new(m->id);
    m->claim = (struct store_claim){ .id = m->id,
                                     .scope = q->scope,
                                     .key = q->key,
                                     .fingerprint = q->fingerprint,
                                     .method = q->method,
                                     .path = q->path,
                                     .request_id = q->request_id,
                                     .request_body = &m->body,
                                     .lease_ms = q->lease_ms };
    m->text =
        keep_texts((const char **const[]){ &m->claim.scope, &m->claim.key, &m->claim.method,
                                           &m->claim.path, &m->claim.request_id },
                   5);
    m->body = copy_of(&q->request_body);
    take_fingerprint(m, &m->claim.fingerprint);
    post(m);
}

void ledger_settle(struct ledger_ask *a, struct ledger_port *port,
                   const struct ledger_outcome *o, void (*on_reply)(struct ledger_ask *a))
{
    begin(a, port, on_reply);
    struct ledger_mail *m = outcome_mail(port->ledger, KIND_SETTLE, o);

    /* Above the limit nobody waits for the result, but it is sent all the same. */
    if (enter(a)) {
        a->mail = m;
        m->ask = a;
        m->back = port->mailbox;
    } else {
        m->kind = KIND_OUTCOME;
    }
    post(m);
}

void ledger_ask_done(struct ledger_ask *a)
{
    detach(a);
    ledger_entry_done(&a->found);
}

/* --- the thread's side -------------------------------------------------------------------- */

static void reply(struct ledger_mail *m, enum ledger_result result, const char *why)
{
    m->result = result;
    m->why = why;
    m->mail = (struct mail){ .run = replied, .free = free_reply };
    mailbox_send(m->back, &m->mail);
}

static void tell_waiting(struct ledger *l)
{
    set(&l->counts.outcomes_waiting, l->outcomes_count);
    set(&l->counts.waiting_bytes, l->outcomes_bytes);
}

/* An outcome that does not fit into memory is kept without its body. */
static void add_outcome(struct ledger *l, struct ledger_mail *m)
{
    if (l->outcomes_bytes + m->body.len > LEDGER_WAITING_BYTES) {
        free(m->body.data);
        m->body = (struct ledger_bytes){ .data = NULL };
    }
    if (TAILQ_EMPTY(&l->outcomes))
        l->write_by_ms = clock_ms() + SHARE_MS;
    if (m->kind == KIND_SETTLE) /* its caller waits */
        l->write_by_ms = 0;
    l->outcomes_bytes += m->body.len;
    l->outcomes_count++;
    TAILQ_INSERT_TAIL(&l->outcomes, m, link);
    tell_waiting(l);
}

static void remove_outcome(struct ledger *l, struct ledger_mail *m)
{
    TAILQ_REMOVE(&l->outcomes, m, link);
    l->outcomes_bytes -= m->body.len;
    l->outcomes_count--;
    tell_waiting(l);
}

/* The outcome is written, or never will be. */
static void end_outcome(struct ledger *l, struct ledger_mail *m)
{
    remove_outcome(l, m);
    if (m->kind == KIND_SETTLE)
        reply(m, LEDGER_DOWN, NULL);
    else
        mail_done(m);
}

/* It is answered in on_turn at the earliest: until this returns the mail belongs to the
 * mailbox. */
static void arrived(struct mail *mail)
{
    struct ledger_mail *m = CONTAINER_OF(mail, struct ledger_mail, mail);
    struct ledger *l = m->ledger;

    mail->free = free_nothing;
    if (m->kind != KIND_ASK)
        add_outcome(l, m);
    else
        TAILQ_INSERT_TAIL(&l->claims, m, link);
}

/* --- up and down --- */

static const char *sentence(enum store_result r)
{
    switch (r) {
    case STORE_BUSY:
        return "the ledger's store is full or cannot be written at present";
    case STORE_LOST:
        return "the ledger's store cannot be reached";
    default:
        return "the ledger's store has failed, and is not used again before a restart";
    }
}

static void go_up(struct ledger *l)
{
    if (atomic_load_explicit(&l->counts.up, memory_order_relaxed))
        return;
    int64_t since_ms = atomic_load_explicit(&l->counts.down_ms, memory_order_relaxed);

    atomic_store_explicit(&l->counts.up, true, memory_order_relaxed);
    atomic_store_explicit(&l->counts.why, NULL, memory_order_relaxed);
    atomic_store_explicit(&l->counts.down_ms, 0, memory_order_relaxed);
    log_info("ledger_up", log_str("store", l->type->scheme),
             log_int("after_ms", since_ms == 0 ? 0 : clock_ms() - since_ms));
}

static void go_down(struct ledger *l, enum store_result r, const char *detail)
{
    bool was_up = atomic_exchange_explicit(&l->counts.up, false, memory_order_relaxed);
    bool is_final = r == STORE_BROKEN && !l->broken;

    l->broken |= is_final;
    if (was_up)
        atomic_store_explicit(&l->counts.down_ms, clock_ms(), memory_order_relaxed);
    /* A database that was lost may turn out to be another one: report that too. */
    if (was_up || is_final)
        log_error("ledger_down", log_str("store", l->type->scheme), log_str("detail", detail),
                  log_str("until", l->broken ? "restart" : "recovery"));
    atomic_store_explicit(&l->counts.why, sentence(r), memory_order_relaxed);
}

static void want_census(struct ledger *l)
{
    if (l->census.slot == 0)
        loop_timer_set(&l->loop, &l->census, clock_ms() + CENSUS_MS);
}

/* Evaluates the result of any call to the store. Returns whether it succeeded. */
static bool looked(struct ledger *l, enum store_result r, struct buf *error)
{
    if (r == STORE_OK)
        go_up(l);
    else
        go_down(l, r, buf_text(error));
    if (r != STORE_OK && !l->broken)
        want_census(l);
    return r == STORE_OK;
}

/* --- the results of a batch --- */

static void count_claim(struct ledger *l, const struct ledger_mail *m)
{
    static const int64_t bounds[] = METRICS_BOUNDS_US;
    int64_t us = base_max(0, clock_us() - m->asked_us);
    int64_t typical = atomic_load_explicit(&l->counts.claim_us, memory_order_relaxed);
    size_t i = 0;

    while (i < ARRAY_LEN(bounds) && us > bounds[i])
        i++;
    metrics_bump(&l->counts.claim_bucket[i], 1);
    metrics_bump(&l->counts.claim_sum_us, (uint64_t)us);
    atomic_store_explicit(&l->counts.claim_us, typical == 0 ? us : typical + (us - typical) / 8,
                          memory_order_relaxed);
}

static const char unclear[] = "whether it was recorded is not known";

/* Ends a claim that nobody may use. It may have been written all the same, or may be so later:
 * then its release is written, too. */
static void end_claim(struct ledger *l, struct ledger_mail *m, enum ledger_result result,
                      const char *why)
{
    if (m->unclear && !l->broken)
        release(l, m->id, m->claim.lease_ms);
    reply(m, result, why);
}

static void took_claim(struct ledger *l, struct ledger_mail *m)
{
    const struct store_claim *c = &m->claim;
    bool is_look = c->id[0] == '\0';

    TAILQ_REMOVE(&l->claims, m, link);
    switch (c->result) {
    case STORE_CLAIMED:
        count_claim(l, m);
        reply(m, LEDGER_CLAIMED, NULL);
        break;
    case STORE_FOUND:
        m->same = c->found.has_fingerprint && c->fingerprint != NULL &&
                  memcmp(c->found.fingerprint, c->fingerprint, LEDGER_FINGERPRINT_BYTES) == 0;
        end_claim(l, m, LEDGER_FOUND, NULL);
        break;
    default: /* absent */
        if (is_look)
            reply(m, LEDGER_ABSENT, NULL);
        else if (++m->tries < CLAIM_TRIES)
            TAILQ_INSERT_TAIL(&l->claims, m, link);
        else
            end_claim(l, m, LEDGER_DOWN, "what was there under this key keeps changing");
        break;
    }
}

/* A claim that was not made is tried again only as long as that can help. */
static void missed_claim(struct ledger *l, struct ledger_mail *m, enum store_result r)
{
    m->unclear |= m->claim.result == STORE_UNCLEAR;
    if (r == STORE_LOST && clock_ms() < m->deadline_ms)
        return;
    TAILQ_REMOVE(&l->claims, m, link);
    end_claim(l, m, LEDGER_DOWN, m->unclear ? unclear : sentence(r));
}

static void count_outcome(struct ledger *l, const struct ledger_mail *m)
{
    metrics_bump(&l->counts.outcomes[m->outcome.state], 1);
    if (m->outcome.state != LEDGER_UNKNOWN)
        return;
    struct buf detail;

    buf_init(&detail, DETAIL_MAX);
    (void)buf_addf(&detail,
                   "whether it was carried out is not known; repeating with its key will not "
                   "execute it again: oneshot-proxy ledger show %s",
                   m->id);
    command_line_add_config(&detail, l->config_file);
    log_warn("ledger_unknown", log_str("ledger_id", m->id), log_str("cause", m->outcome.cause),
             log_str("detail", buf_text(&detail)));
    buf_done(&detail);
}

/* Whether it is the release of a claim that is not there, and may still come: the store had
 * begun to commit it, and goes on with that though its connection was given up. Until then its
 * transaction is invisible. When it comes nobody else would release it, so look again. */
static bool may_appear(const struct ledger_mail *m)
{
    return m->outcome.result == STORE_GONE && m->lease_ms > 0 &&
           (m->again_ms == 0 || clock_ms() < m->deadline_ms);
}

static void wait_for_entry(struct ledger *l, struct ledger_mail *m)
{
    int64_t now_ms = clock_ms();

    remove_outcome(l, m);
    if (m->again_ms == 0)
        m->deadline_ms = now_ms + m->lease_ms;
    m->again_ms =
        now_ms + (RETRY_MS << (l->closing ? 0 : base_min(m->tries++, ABSENT_DOUBLINGS)));
    TAILQ_INSERT_TAIL(&l->absent, m, link);
    if (l->appear.slot == 0 || m->again_ms < l->appear.due_ms)
        loop_timer_set(&l->loop, &l->appear, m->again_ms);
}

/* Writes those releases again that are due. */
static void look_for_entries(struct ledger *l, int64_t now_ms)
{
    int64_t next_ms = INT64_MAX;

    for (struct ledger_mail *m = TAILQ_FIRST(&l->absent), *next; m != NULL; m = next) {
        next = TAILQ_NEXT(m, link);
        if (m->again_ms > now_ms) {
            next_ms = base_min(next_ms, m->again_ms);
            continue;
        }
        TAILQ_REMOVE(&l->absent, m, link);
        add_outcome(l, m);
    }
    if (!TAILQ_EMPTY(&l->absent)) /* not for each alone */
        loop_timer_set(&l->loop, &l->appear, base_max(next_ms, now_ms + RETRY_MS));
}

static void wrote_outcome(struct ledger *l, struct ledger_mail *m)
{
    if (may_appear(m)) {
        wait_for_entry(l, m);
        return;
    }
    switch (m->outcome.result) {
    case STORE_WRITTEN_ALREADY: /* by our own commit that was not answered, or by others */
        if (m->unclear)
            count_outcome(l, m);
        break;
    case STORE_WRITTEN:
        count_outcome(l, m);
        break;
    case STORE_WRITTEN_LATE:
        metrics_bump(&l->counts.outcomes[m->outcome.state], 1);
        log_info("ledger_late_answer", log_str("ledger_id", m->id),
                 log_str("outcome", ledger_state_name(m->outcome.state)),
                 log_int("status", m->outcome.status));
        break;
    case STORE_CONTRADICTED:
        metrics_bump(&l->counts.contradictions, 1);
        log_error("ledger_contradiction", log_str("ledger_id", m->id),
                  log_str("outcome", ledger_state_name(m->outcome.state)),
                  log_int("status", m->outcome.status),
                  log_str("detail", "an operator had decided otherwise, and that stands: look "
                                    "whether it was carried out twice"));
        break;
    default:
        break;
    }
    end_outcome(l, m);
}

/* --- batches --- */

static void expire_claims(struct ledger *l)
{
    int64_t now_ms = clock_ms();

    for (struct ledger_mail *m = TAILQ_FIRST(&l->claims), *next; m != NULL; m = next) {
        next = TAILQ_NEXT(m, link);
        if (now_ms < m->deadline_ms)
            continue;
        TAILQ_REMOVE(&l->claims, m, link);
        end_claim(l, m, LEDGER_DOWN,
                  m->unclear ? unclear
                             : "the ledger did not answer within ledger.store_timeout");
    }
}

static size_t gather(struct mail_queue *q, struct ledger_mail **out, size_t most)
{
    struct ledger_mail *m;
    size_t n = 0;

    TAILQ_FOREACH (m, q, link) {
        if (n == most)
            break;
        out[n++] = m;
    }
    return n;
}

static void wait_to_retry(struct ledger *l)
{
    l->is_waiting = true;
    loop_timer_set(&l->loop, &l->retry,
                   clock_ms() + (RETRY_MS << base_min(l->failures++, RETRY_DOUBLINGS)));
}

/* Commits one batch. Returns the store's result. */
static enum store_result commit(struct ledger *l)
{
    struct ledger_mail *claim[BATCH_MAX], *outcome[BATCH_MAX];
    struct store_claim *claims[BATCH_MAX];
    struct store_outcome *outcomes[BATCH_MAX];
    size_t told = gather(&l->outcomes, outcome, BATCH_MAX);
    size_t asked =
        gather(&l->claims, claim, BATCH_MAX - (told < BATCH_SHARE ? told : BATCH_SHARE));
    struct buf error;

    told = gather(&l->outcomes, outcome, BATCH_MAX - asked);
    for (size_t i = 0; i < asked; i++)
        claims[i] = &claim[i]->claim;
    for (size_t i = 0; i < told; i++)
        outcomes[i] = &outcome[i]->outcome;
    buf_init(&error, 2048);
    enum store_result r = l->type->batch(l->store,
                                         &(struct store_batch){ .outcome = outcomes,
                                                                .outcomes = told,
                                                                .claim = claims,
                                                                .claims = asked,
                                                                .now_ms = clock_wall_ms() },
                                         &error);

    (void)looked(l, r, &error);
    buf_done(&error);
    for (size_t i = 0; i < asked; i++)
        if (claims[i]->result == STORE_NOT_DONE || claims[i]->result == STORE_UNCLEAR)
            missed_claim(l, claim[i], r);
        else
            took_claim(l, claim[i]);
    for (size_t i = 0; i < told; i++)
        if (outcomes[i]->result != STORE_NOT_WRITTEN)
            wrote_outcome(l, outcome[i]);
        else
            outcome[i]->unclear = true;
    want_census(l);
    if (r == STORE_OK)
        l->failures = 0;
    return r;
}

/* Whether there is a batch to commit now. */
static bool is_due(const struct ledger *l)
{
    if (l->is_waiting || l->broken)
        return false;
    return !TAILQ_EMPTY(&l->claims) ||
           (!TAILQ_EMPTY(&l->outcomes) && (l->closing || clock_ms() >= l->write_by_ms));
}

/* Has the loop wake up when outcomes without a claim are due. */
static void wait_for_claims(struct ledger *l)
{
    if (!TAILQ_EMPTY(&l->outcomes) && l->share.slot == 0)
        loop_timer_set(&l->loop, &l->share, l->write_by_ms);
}

static void tidy(struct ledger *l)
{
    struct buf error;

    if (l->type->idle == NULL || l->broken)
        return;
    buf_init(&error, 2048);
    enum store_result r = l->type->idle(l->store, &error);

    if (r != STORE_OK)
        go_down(l, r, buf_text(&error));
    buf_done(&error);
}

static void write_batch(struct ledger *l)
{
    if (commit(l) != STORE_OK && !l->broken)
        wait_to_retry(l);
    tidy(l);
}

/* Answers everybody who still waits: no more claims are made. */
static void give_up(struct ledger *l, const char *why)
{
    while (!TAILQ_EMPTY(&l->claims)) {
        struct ledger_mail *m = TAILQ_FIRST(&l->claims);

        TAILQ_REMOVE(&l->claims, m, link);
        end_claim(l, m, LEDGER_DOWN, why);
    }
}

/* Mail that is sent in one turn arrives in the next, so two turns without any mean the end. */
static void look_at_end(struct ledger *l)
{
    bool is_quiet = l->broken || (TAILQ_EMPTY(&l->outcomes) && TAILQ_EMPTY(&l->absent));

    if (l->time_over || (is_quiet && l->was_quiet))
        loop_stop(&l->loop);
    l->was_quiet = is_quiet;
}

static bool on_turn(void *arg)
{
    struct ledger *l = arg;

    if (l->closing)
        give_up(l, "the proxy is shutting down");
    expire_claims(l);
    if (is_due(l)) {
        write_batch(l);
    } else if (!l->is_waiting && !l->broken) {
        wait_for_claims(l);
    }
    if (l->broken)
        give_up(l, sentence(STORE_BROKEN));
    if (l->closing)
        look_at_end(l);
    return is_due(l) || l->was_quiet;
}

/* --- timers --- */

static void on_retry(struct loop_timer *t)
{
    CONTAINER_OF(t, struct ledger, retry)->is_waiting = false;
}

static void on_appear(struct loop_timer *t)
{
    look_for_entries(CONTAINER_OF(t, struct ledger, appear), clock_ms());
}

static void tell_census(struct ledger *l, const struct store_census *census)
{
    set(&l->counts.in_flight, census->in_flight);
    set(&l->counts.unknown, census->unknown);
    set(&l->counts.store_bytes, census->bytes);
    atomic_store_explicit(&l->counts.unknown_oldest_ms, census->unknown_oldest_ms,
                          memory_order_relaxed);
    if (census->orphans == 0)
        return;
    metrics_bump(&l->counts.orphans, census->orphans);
    struct buf detail;

    buf_init(&detail, DETAIL_MAX);
    (void)buf_addf(&detail, "whoever sent these requests is gone, and what became of them is "
                            "not known: oneshot-proxy ledger list --state unknown");
    command_line_add_config(&detail, l->config_file);
    log_warn("ledger_orphans", log_int("count", (int64_t)census->orphans),
             log_str("detail", buf_text(&detail)));
    buf_done(&detail);
}

static void take_census(struct ledger *l, enum store_lost_owners which)
{
    struct store_census census;
    struct buf error;

    if (l->broken)
        return;
    buf_init(&error, 2048);
    if (looked(l, l->type->orphans(l->store, which, clock_wall_ms(), &census, &error), &error))
        tell_census(l, &census);
    buf_done(&error);
}

/* The loop has woken up, which is all that is wanted. */
static void on_share(struct loop_timer *t)
{
    (void)t;
}

static void on_census(struct loop_timer *t)
{
    take_census(CONTAINER_OF(t, struct ledger, census), STORE_COUNT_ONLY);
}

static void pause_pruning(struct ledger *l, const char *detail)
{
    l->prune_from_ms = clock_ms() + PRUNE_PAUSE_MS;
    log_warn("ledger_clock", log_str("detail", detail));
}

static void look_at_clock(struct ledger *l)
{
    int64_t gap_ms = clock_wall_ms() - clock_ms();
    int64_t jump_ms = gap_ms - l->clock_gap_ms;

    l->clock_gap_ms = gap_ms;
    if (jump_ms > CLOCK_JUMP_MS || jump_ms < -CLOCK_JUMP_MS)
        pause_pruning(l,
                      "the wall clock has jumped by more than an hour; nothing is pruned for "
                      "a day");
}

static void on_minute(struct loop_timer *t)
{
    struct ledger *l = CONTAINER_OF(t, struct ledger, minute);

    look_at_clock(l);
    /* If the store is exclusive, everything in flight belongs to this process. */
    take_census(l, l->type->exclusive ? STORE_COUNT_ONLY : STORE_EXPIRED);
    loop_timer_set(&l->loop, t, clock_ms() + MINUTE_MS);
}

static void on_pruning(struct loop_timer *t)
{
    struct ledger *l = CONTAINER_OF(t, struct ledger, pruning);
    int64_t now_ms = clock_ms(), wall_ms = clock_wall_ms();
    struct store_prune p = {
        .answers_before_ms =
            wall_ms - atomic_load_explicit(&l->counts.keep_answers_ms, memory_order_relaxed),
        .keys_before_ms =
            wall_ms - atomic_load_explicit(&l->counts.keep_keys_ms, memory_order_relaxed),
        .at_most = PRUNE_ROWS,
    };
    struct buf error;

    look_at_clock(l);
    buf_init(&error, 2048);
    if (now_ms >= l->prune_from_ms && !l->broken)
        (void)looked(l, l->type->prune(l->store, &p, &error), &error);
    buf_done(&error);
    loop_timer_set(&l->loop, t, now_ms + (p.more ? PRUNE_GAP_MS : PRUNE_MS));
}

/* --- the operator's command --- */

/* Writes the outcomes that still wait for a claim: an operator who has seen an answer must not
 * be told that its request is in flight. */
static void write_waiting(struct ledger *l)
{
    size_t batches = l->outcomes_count / BATCH_SHARE + 1;

    expire_claims(l);
    for (; batches > 0 && !TAILQ_EMPTY(&l->outcomes) && !l->is_waiting && !l->broken; batches--)
        write_batch(l);
}

static enum store_result list_for_command(void *arg, const struct store_list *what,
                                          struct buf *error)
{
    struct ledger *l = arg;

    write_waiting(l);
    return l->type->list(l->store, what, error);
}

static enum store_result resolve_for_command(void *arg, struct store_resolve *r,
                                             struct buf *error)
{
    struct ledger *l = arg;

    write_waiting(l);
    r->owned = l->type->exclusive;
    enum store_result result = l->type->resolve(l->store, r, error);

    if (result == STORE_OK && r->result == STORE_RESOLVED)
        log_info("ledger_resolved", log_str("ledger_id", r->id),
                 log_str("as", r->executed ? "executed" : "not-executed"), log_str("by", r->by),
                 log_str("note", r->note), log_str("forced", r->force ? "yes" : "no"));
    if (result == STORE_OK)
        take_census(l, STORE_COUNT_ONLY);
    else
        go_down(l, result, buf_text(error));
    return result;
}

static void status_for_command(void *arg, struct buf *out)
{
    struct ledger_status s;

    ledger_status_take(arg, &s);
    (void)buf_addf(out, "%s, %s%s%s\n", s.kind, s.up ? "up" : "down", s.up ? "" : ": ",
                   s.up ? "" : s.why);
    (void)buf_addf(out, "in flight: %" PRIu64 "\nunknown: %" PRIu64 "\n", s.in_flight,
                   s.unknown);
    (void)buf_addf(out, "outcomes waiting to be written: %" PRIu64 "\n", s.outcomes_waiting);
    (void)buf_addf(out, "bytes: %" PRIu64 "\n", s.store_bytes);
}

/* For a store that only this process can open. */
static int open_control(struct ledger *l, const struct config *c, struct buf *error)
{
    auto_free char *path = control_path(c->ledger.store);

    l->control_user = (struct control_user){ .list = list_for_command,
                                             .resolve = resolve_for_command,
                                             .status = status_for_command,
                                             .arg = l };
    return path == NULL ? 0
                        : control_open(&l->control, &l->loop, path, &l->control_user, error);
}

/* --- its life ----------------------------------------------------------------------------- */

static void on_weakness(void *arg, const char *text)
{
    const struct ledger *l = arg;

    log_warn("ledger_weak", log_str("store", l->type->scheme), log_str("detail", text));
}

/* Before anything is pruned. */
static void compare_clocks(struct ledger *l, const struct store_census *census)
{
    int64_t wall_ms = clock_wall_ms();

    if (census->newest_ms != 0 && (census->newest_ms < wall_ms - NEWEST_AGE_MS ||
                                   census->newest_ms > wall_ms + CLOCK_JUMP_MS))
        pause_pruning(l,
                      "the newest entry is far from now: either nothing was asked for a week, "
                      "or the clock is wrong; nothing is pruned for a day");
}

static int open_store(struct ledger *l, const struct config *c, struct buf *error)
{
    char instance[LEDGER_ID_BYTES];
    struct store_census census;

    ledger_id_new(instance);
    enum store_result r =
        l->type->open(&l->store,
                      &(struct store_options){ .url = c->ledger.store,
                                               .ca_file = c->ledger.store_ca_file,
                                               .password_file = c->ledger.store_password_file,
                                               .instance = instance,
                                               .timeout_ms = c->ledger.store_timeout_ms,
                                               .wait_ms = LOCK_WAIT_MS,
                                               .hurry_fd = l->hurry_fd },
                      error);

    /* If the database cannot be reached, everything else is still served. */
    if (r == STORE_LOST && l->store != NULL) {
        atomic_store_explicit(&l->counts.up, true, memory_order_relaxed);
        go_down(l, r, buf_text(error));
        want_census(l);
        return 0;
    }
    /* In a store for one process whatever is in flight now is of one that has died. This is the
     * only time to say so: later there are claims of our own. */
    if (r == STORE_OK)
        r = l->type->orphans(l->store, l->type->exclusive ? STORE_ALL : STORE_COUNT_ONLY,
                             clock_wall_ms(), &census, error);
    if (r != STORE_OK)
        return r == STORE_HELD ? -EBUSY : -EINVAL;
    if (l->type->weaknesses != NULL)
        l->type->weaknesses(l->store, on_weakness, l);
    compare_clocks(l, &census);
    tell_census(l, &census);
    atomic_store_explicit(&l->counts.up, true, memory_order_relaxed);
    if (!l->type->exclusive)
        take_census(l, STORE_EXPIRED);
    return l->broken ? -EIO : 0;
}

static void init_timers(struct ledger *l)
{
    l->share.on_due = on_share;
    l->retry.on_due = on_retry;
    l->appear.on_due = on_appear;
    l->minute.on_due = on_minute;
    l->census.on_due = on_census;
    l->pruning.on_due = on_pruning;
    loop_timer_set(&l->loop, &l->minute, clock_ms() + MINUTE_MS);
    loop_timer_set(&l->loop, &l->pruning, clock_ms() + MINUTE_MS);
    l->loop.on_turn = on_turn;
    l->loop.on_turn_arg = l;
}

static void free_ledger(struct ledger *l)
{
    control_done(&l->control);
    mailbox_done(&l->mailbox);
    loop_done(&l->loop);
    l->type->close(l->store);
    if (l->hurry_fd >= 0)
        (void)close(l->hurry_fd);
    free(l->config_file);
    free(l);
}

int ledger_open(struct ledger **out, const struct config *c, struct buf *error)
{
    *out = NULL;
    if (c->ledger.store == NULL)
        return 0;
    struct ledger *l = base_alloc(sizeof *l);

    l->type = store_type_of(c->ledger.store);
    if (c->file != NULL)
        config_string_set(&l->config_file, "%s", c->file);
    l->loop.epoll_fd = -1;
    l->store_timeout_ms = c->ledger.store_timeout_ms;
    l->clock_gap_ms = clock_wall_ms() - clock_ms();
    TAILQ_INIT(&l->claims);
    TAILQ_INIT(&l->outcomes);
    TAILQ_INIT(&l->absent);
    ledger_reconfigure(l, c);
    l->hurry_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int err = l->hurry_fd < 0 ? -errno : loop_init(&l->loop);

    if (err == 0)
        err = mailbox_init(&l->mailbox, &l->loop);
    if (err == 0)
        err = open_store(l, c, error);
    if (err == 0)
        err = open_control(l, c, error);
    if (err == 0) {
        init_timers(l);
        *out = l;
    } else {
        free_ledger(l);
    }
    return err;
}

static void *run(void *arg)
{
    struct ledger *l = arg;

    (void)pthread_setname_np(pthread_self(), "ledger");
    loop_run(&l->loop);
    return NULL;
}

int ledger_start(struct ledger *l)
{
    sigset_t all, before;

    /* Signals are handled by the control thread. */
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int err = pthread_create(&l->thread, NULL, run, l);

    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    l->started = err == 0;
    return -err;
}

void ledger_reconfigure(struct ledger *l, const struct config *c)
{
    atomic_store_explicit(&l->counts.keep_answers_ms, c->ledger.keep_answers_ms,
                          memory_order_relaxed);
    atomic_store_explicit(&l->counts.keep_keys_ms, c->ledger.keep_keys_ms,
                          memory_order_relaxed);
}

struct stop_mail {
    struct mail mail;
    struct ledger *ledger;
};

static void on_stop(struct mail *mail)
{
    loop_stop(&CONTAINER_OF(mail, struct stop_mail, mail)->ledger->loop);
}

/* As for workers: a thread that hangs in a write to a dead disk must not keep the program
 * alive. */
static void join(struct ledger *l)
{
    const struct timespec look = { .tv_nsec = JOIN_LOOK_MS * 1000000L };
    int64_t until_ms = clock_ms() + JOIN_TIMEOUT_MS;

    while (pthread_tryjoin_np(l->thread, NULL) != 0) {
        if (clock_ms() >= until_ms) {
            log_error("ledger_stuck",
                      log_str("detail",
                              "its store does not answer; leaving without it: what is "
                              "in flight will be unknown"));
            log_flush();
            _exit(EXIT_FAILURE);
        }
        (void)nanosleep(&look, NULL);
    }
}

void ledger_stop(struct ledger *l)
{
    if (l == NULL || !l->started)
        return;
    struct stop_mail *m = base_alloc(sizeof *m);

    *m = (struct stop_mail){ .mail = { .run = on_stop, .free = mail_free }, .ledger = l };
    (void)eventfd_write(l->hurry_fd, 1);
    mailbox_send(&l->mailbox, &m->mail);
    join(l);
    l->started = false;
}

static void on_close_timeout(struct loop_timer *t)
{
    CONTAINER_OF(t, struct ledger, minute)->time_over = true;
}

/* The thread has ended: runs its loop here, until the outcomes that wait are written. */
static void write_rest(struct ledger *l, int64_t timeout_ms)
{
    l->closing = true;
    l->loop.stopping = false;
    loop_timer_clear(&l->loop, &l->census);
    l->minute.on_due = on_close_timeout;
    loop_timer_set(&l->loop, &l->minute, clock_ms() + timeout_ms);
    loop_timer_clear(&l->loop, &l->pruning);
    loop_timer_set(&l->loop, &l->share, 0); /* starts at once */
    look_for_entries(l, INT64_MAX);
    loop_run(&l->loop);
    if (l->type->exclusive)
        take_census(l, STORE_ALL);
    if (l->outcomes_count > 0)
        log_error("ledger_outcomes_lost", log_int("count", (int64_t)l->outcomes_count),
                  log_str("detail", "they could not be written before the end; their entries "
                                    "will be unknown"));
}

static void free_queue(struct mail_queue *q)
{
    struct ledger_mail *m;

    while ((m = TAILQ_FIRST(q)) != NULL) {
        TAILQ_REMOVE(q, m, link);
        forget_ask(m);
        mail_done(m);
    }
}

void ledger_close(struct ledger *l, int64_t timeout_ms)
{
    if (l == NULL)
        return;
    ledger_stop(l);
    write_rest(l, timeout_ms);
    mailbox_close(&l->mailbox);
    free_queue(&l->claims);
    free_queue(&l->outcomes);
    free_queue(&l->absent);
    free_ledger(l);
}

void ledger_status_take(const struct ledger *l, struct ledger_status *out)
{
    *out = (struct ledger_status){ .on = l != NULL };
    if (l == NULL)
        return;
    const struct counts *c = &l->counts;

    out->kind = l->type->scheme;
    out->up = atomic_load_explicit(&c->up, memory_order_relaxed);
    out->why = atomic_load_explicit(&c->why, memory_order_relaxed);
    out->down_ms = atomic_load_explicit(&c->down_ms, memory_order_relaxed);
    out->claim_us = atomic_load_explicit(&c->claim_us, memory_order_relaxed);
    out->in_flight = get(&c->in_flight);
    out->unknown = get(&c->unknown);
    out->unknown_oldest_ms = atomic_load_explicit(&c->unknown_oldest_ms, memory_order_relaxed);
    out->outcomes_waiting = get(&c->outcomes_waiting);
    out->waiting_bytes = get(&c->waiting_bytes);
    out->store_bytes = get(&c->store_bytes);
    for (size_t i = 0; i < LEDGER_STATES; i++)
        out->outcomes[i] = get(&c->outcomes[i]);
    out->orphans = get(&c->orphans);
    out->contradictions = get(&c->contradictions);
    for (size_t i = 0; i < METRICS_BUCKETS; i++)
        out->claim_bucket[i] = get(&c->claim_bucket[i]);
    out->claim_sum_us = get(&c->claim_sum_us);
}

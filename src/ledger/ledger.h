#pragma once
/* The ledger: a record of unsafe requests, made before any byte of them is sent, so that a
 * caller's retry finds the outcome of the first request instead of executing it again.
 *
 *   worker                        ledger thread                    store
 *   ledger_ask ------- mail ----> collects a batch -- commit ----> (SQLite, PostgreSQL)
 *   on_reply  <------- mail ----- each claim's result <-----------
 *   ledger_outcome --- mail ----> written with the next batch; kept while the store is down
 *
 * One thread uses the store; workers never wait for it. What arrives while a batch is being
 * committed is the next batch; an outcome by itself waits up to 5 ms for a claim to share the
 * commit with. `struct ledger *` NULL means that there is no ledger; check that before any
 * call. */
#include "base/buf.h"
#include "config/config.h"
#include "event/loop.h"
#include "event/mailbox.h"
#include "ledger/entry.h"
#include "stats/metrics.h"

struct ledger;
struct ledger_mail;

/* Most questions that wait for the ledger thread at the same time; above it they are
 * answered DOWN. */
#define LEDGER_WAITING_MAX 4096
/* Most bytes of answers kept in memory while the store is down; above it an outcome is kept
 * without its body. */
#define LEDGER_WAITING_BYTES (16 << 20)
/* An exchange ends at least this long before its lease does. */
#define LEDGER_LEASE_MARGIN_MS 30000

/* --- for a worker --------------------------------------------------------------------------- */

/* A worker's connection to the ledger. Its loop and mailbox outlive its questions. */
struct ledger_port {
    struct ledger *ledger; /* NULL: none, and no function below may be called */
    struct loop *loop;
    struct mailbox *mailbox;
};

enum ledger_want {
    LEDGER_LOOK, /* only look */
    LEDGER_CLAIM /* claim the key if nothing is there */
};

/* Borrowed during the call of ledger_ask. */
struct ledger_question {
    enum ledger_want want;
    const char *scope; /* the caller's name, or "" */
    const char *key; /* up to LEDGER_KEY_MAX bytes; NULL: a record without a key (only CLAIM) */
    const unsigned char *fingerprint;       /* NULL: not known yet (a record without a key) */
    const char *method, *path, *request_id; /* the path without query */
    struct ledger_bytes request_body; /* if ledger.store_requests is set; otherwise zeroed */
    int64_t lease_ms;                 /* duration of the lease, from config_lease_ms */
};

enum ledger_result {
    LEDGER_CLAIMED, /* ours, and durable: it may be sent until send_until_ms */
    LEDGER_ABSENT,  /* nothing is there (LEDGER_LOOK) */
    LEDGER_FOUND,   /* an entry is there, see `found` */
    LEDGER_DOWN     /* nothing is known and nothing was claimed, see `why` */
};

struct ledger_ask {
    struct ledger_port *port;
    struct ledger_mail *mail; /* the question in progress; NULL: none */
    struct loop_timer timer;
    void (*on_reply)(struct ledger_ask *a);

    /* For on_reply; valid until ledger_ask_done or the next question. */
    enum ledger_result result;
    char id[LEDGER_ID_BYTES]; /* CLAIMED */
    int64_t send_until_ms; /* CLAIMED: sending must begin before this time: half of the lease */
    int64_t end_by_ms;     /* CLAIMED: the exchange must end before this time */
    struct ledger_entry found; /* FOUND */
    bool same;                 /* FOUND: its fingerprint equals the question's */
    const char *why;           /* DOWN: a sentence without its full stop; a literal */
};

/* Asks. on_reply is called once, later, on this thread, at the latest after
 * ledger.store_timeout: then with DOWN, and a claim that becomes durable after that is
 * released by itself. `a` is zeroed or was used before, and no question may be in progress
 * in it. Thread: the worker's. */
void ledger_ask(struct ledger_ask *a, struct ledger_port *port, const struct ledger_question *q,
                void (*on_reply)(struct ledger_ask *a));

/* on_reply is not called any more, and a claim that arrives later is released by itself;
 * frees the entry found. A claim that has arrived before is not released: tell its outcome.
 * Takes a zeroed one. Thread: the worker's. */
void ledger_ask_done(struct ledger_ask *a);

/* The outcome of a claim. Borrowed during the call. */
struct ledger_outcome {
    const char *id;
    enum ledger_state state;          /* ANSWERED, UNKNOWN or RELEASED */
    const char *cause;                /* a slug; NULL: none */
    int status;                       /* of the answer; 0: there was none */
    const char *head;                 /* field lines for replay; NULL: none */
    struct ledger_bytes body;         /* data NULL: not kept */
    const unsigned char *fingerprint; /* for a record without a key; otherwise NULL */
};

/* Reports an outcome. It is written with the next claim, or by itself after 5 ms, or as soon
 * as the store works again. If the program crashes before that, the entry stays in flight and
 * becomes unknown later. Thread: the worker's. */
void ledger_outcome(struct ledger_port *port, const struct ledger_outcome *o);

/* Reports an outcome, and calls on_reply (with nothing else set) once it is durable, or
 * after ledger.store_timeout: for a caller that must find the key free when it gets its
 * answer. Otherwise like ledger_ask. */
void ledger_settle(struct ledger_ask *a, struct ledger_port *port,
                   const struct ledger_outcome *o, void (*on_reply)(struct ledger_ask *a));

/* --- for the control thread ----------------------------------------------------------------- */

/* Opens the store that the settings name, and for SQLite the socket of the operator's
 * command; nothing else is opened for writing later. May wait 45 s for another process to
 * release the file. *out is NULL if the settings name no store. Returns 0, or -errno with a
 * sentence in `error`. Call it before the sandbox is entered. */
int ledger_open(struct ledger **out, const struct config *c, struct buf *error) MUST_CHECK;
/* Starts the thread. Returns 0 or -errno. */
int ledger_start(struct ledger *l) MUST_CHECK;
/* Takes new settings, as far as they need no restart. */
void ledger_reconfigure(struct ledger *l, const struct config *c);
/* Ends the thread. Call it after the workers' threads have ended and before their mailboxes
 * are closed; outcomes after that wait for ledger_close. Takes NULL, and one that was not
 * started. */
void ledger_stop(struct ledger *l);
/* After the workers are gone: writes the outcomes that wait, for at most timeout_ms, marks
 * the remaining claims of this process as unknown, and frees everything. Takes NULL, and one
 * that was not started. */
void ledger_close(struct ledger *l, int64_t timeout_ms);

/* What the status page, the metrics and /readyz show. */
struct ledger_status {
    bool on; /* if false, the rest is zero */
    bool up;
    const char *kind;            /* "sqlite", "postgresql": a literal */
    const char *why;             /* why it is down, as in ledger_ask; NULL: it is up */
    int64_t down_ms;             /* since when it is down (clock_ms); 0: it is up */
    int64_t claim_us;            /* duration of a claim: running average */
    uint64_t in_flight, unknown; /* entries in these states, of all processes */
    int64_t unknown_oldest_ms;   /* wall clock; 0: none */
    uint64_t outcomes_waiting, waiting_bytes;
    uint64_t store_bytes;
    uint64_t outcomes[LEDGER_STATES]; /* number reported, by state */
    uint64_t orphans; /* entries that became unknown because their owner was gone */
    uint64_t contradictions;
    uint64_t claim_bucket[METRICS_BUCKETS]; /* from the question to the commit */
    uint64_t claim_sum_us;
};
/* l may be NULL: there is no ledger. Thread: any. */
void ledger_status_take(const struct ledger *l, struct ledger_status *out);

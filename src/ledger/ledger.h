#pragma once
/* The ledger: a record of unsafe requests, made before anything of them is sent, so that a
 * caller's retry finds what became of the first one instead of doing it again.
 *
 *   worker                        ledger thread                    store
 *   ledger_ask ------- mail ----> gathers a batch --- commit ----> (SQLite, PostgreSQL)
 *   on_reply  <------- mail ----- each claim's result <-----------
 *   ledger_outcome --- mail ----> written with the next batch; kept here while the store is down
 *
 * One thread owns the store; workers never wait for it, nor touch it. What arrives while a batch
 * is being committed is the next batch. `struct ledger *` NULL means that there is no ledger:
 * whoever asks one branches on that first. */
#include "base/buf.h"
#include "config/config.h"
#include "event/loop.h"
#include "event/mailbox.h"
#include "ledger/entry.h"
#include "stats/metrics.h"

struct ledger;
struct ledger_mail;

/* Most asks that wait for the ledger thread at one time; above it they are answered DOWN. */
#define LEDGER_WAITING_MAX 4096
/* Most bytes of answers that wait in memory while the store is down; above it an outcome is
 * kept without its body. */
#define LEDGER_WAITING_BYTES (16 << 20)
/* Before the end of its lease an exchange is over. */
#define LEDGER_LEASE_MARGIN_MS 30000

/* ---- for a worker -------------------------------------------------------------------------- */

/* A worker's way to the ledger. Its loop and mailbox outlive what is asked by it. */
struct ledger_port {
    struct ledger *ledger; /* NULL: there is none, and no call below is made */
    struct loop *loop;
    struct mailbox *mailbox;
};

enum ledger_want {
    LEDGER_LOOK, /* only what is there */
    LEDGER_CLAIM /* claim it when nothing is there */
};

/* Borrowed for the call of ledger_ask. */
struct ledger_question {
    enum ledger_want want;
    const char *scope; /* the caller's name, or "" */
    const char *key; /* up to LEDGER_KEY_MAX bytes; NULL: a record without a key, CLAIM only */
    const unsigned char *fingerprint;       /* NULL: none yet (a record without a key) */
    const char *method, *path, *request_id; /* the path without its query */
    struct ledger_bytes request_body;       /* with ledger.store_requests; else zeroed */
    int64_t lease_ms;                       /* how long; of config_lease_ms */
};

enum ledger_result {
    LEDGER_CLAIMED, /* ours, and durable: it may be sent until send_until_ms */
    LEDGER_ABSENT,  /* nothing is there (LOOK) */
    LEDGER_FOUND,   /* `found` says what is there */
    LEDGER_DOWN     /* nothing is known and nothing was claimed; `why` */
};

struct ledger_ask {
    struct ledger_port *port;
    struct ledger_mail *mail; /* what is under way; NULL: nothing is */
    struct loop_timer timer;
    void (*on_reply)(struct ledger_ask *a);

    /* For on_reply, and until ledger_ask_done or the next ask. */
    enum ledger_result result;
    char id[LEDGER_ID_BYTES];  /* CLAIMED */
    int64_t send_until_ms;     /* CLAIMED: no sending may begin later: half of the lease */
    int64_t end_by_ms;         /* CLAIMED: the exchange is over by then */
    struct ledger_entry found; /* FOUND */
    bool same;                 /* FOUND: its fingerprint is the question's */
    const char *why;           /* DOWN: a sentence without its stop; a literal */
};

/* Asks. on_reply is called once, on this thread, later, and at the latest after
 * ledger.store_timeout: DOWN then, and a claim that becomes durable after that is released by
 * itself. Nothing may be under way in `a`, which is zeroed or was used before. Thread: the
 * worker's. */
void ledger_ask(struct ledger_ask *a, struct ledger_port *port, const struct ledger_question *q,
                void (*on_reply)(struct ledger_ask *a));

/* Nothing is called any more, and a claim that arrives is released by itself; frees what was
 * found. A claim that has arrived is not: its outcome is to be told. Takes a zeroed one.
 * Thread: the worker's. */
void ledger_ask_done(struct ledger_ask *a);

/* What became of a claim. Borrowed for the call. */
struct ledger_outcome {
    const char *id;
    enum ledger_state state;          /* ANSWERED, UNKNOWN or RELEASED */
    const char *cause;                /* a slug; NULL: none */
    int status;                       /* of the answer; 0: there was none */
    const char *head;                 /* field lines to be replayed; NULL: none */
    struct ledger_bytes body;         /* data NULL: it is not kept */
    const unsigned char *fingerprint; /* for a record without a key; else NULL */
};

/* Tells it. It is written as soon as the store can; a crash before that leaves the entry in
 * flight, to become unknown. Thread: the worker's. */
void ledger_outcome(struct ledger_port *port, const struct ledger_outcome *o);

/* Tells it, and calls on_reply (with nothing else set) once it is durable, or after
 * ledger.store_timeout: for a caller who is to see the key freed when it has its answer.
 * Otherwise as ledger_ask. */
void ledger_settle(struct ledger_ask *a, struct ledger_port *port,
                   const struct ledger_outcome *o, void (*on_reply)(struct ledger_ask *a));

/* ---- for the control thread ---------------------------------------------------------------- */

/* Opens the store that the settings name, and with SQLite the socket of the operator's command;
 * nothing else is opened for writing later on. May wait 45 s for another process to let go of the
 * file. *out is NULL when the settings name no store. Returns 0, or -errno with a sentence in
 * `error`. Before the sandbox closes. */
int ledger_open(struct ledger **out, const struct config *c, struct buf *error) MUST_CHECK;
/* Starts the thread. Returns 0 or -errno. */
int ledger_start(struct ledger *l) MUST_CHECK;
/* New settings, of which those that need no restart count. */
void ledger_reconfigure(struct ledger *l, const struct config *c);
/* Ends the thread, once the workers' threads have ended and before their mailboxes are closed;
 * what is told after that waits for ledger_close. Takes NULL, and one that was not started. */
void ledger_stop(struct ledger *l);
/* After the workers are gone: writes the outcomes that wait, for at most timeout_ms, makes what
 * is left of this process's claims unknown, and frees everything. Takes NULL, and
 * one that was not started. */
void ledger_close(struct ledger *l, int64_t timeout_ms);

/* What the page, the metrics and readiness tell. */
struct ledger_status {
    bool on; /* else the rest is zero */
    bool up;
    const char *kind;            /* "sqlite", "postgresql": a literal */
    const char *why;             /* why it is down, as in ledger_ask; NULL: it is up */
    int64_t down_ms;             /* since when (clock_ms); 0: it is up */
    int64_t claim_us;            /* what a claim takes at present: a running average */
    uint64_t in_flight, unknown; /* entries in these states, of all processes */
    int64_t unknown_oldest_ms;   /* wall clock; 0: none */
    uint64_t outcomes_waiting, waiting_bytes;
    uint64_t store_bytes;
    uint64_t outcomes[LEDGER_STATES]; /* told, by what they were */
    uint64_t orphans;                 /* made unknown, since their owner was gone */
    uint64_t contradictions;
    uint64_t claim_bucket[METRICS_BUCKETS]; /* from the question to the commit */
    uint64_t claim_sum_us;
};
/* Takes NULL: there is no ledger. Thread: any. */
void ledger_status_take(const struct ledger *l, struct ledger_status *out);

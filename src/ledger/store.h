#pragma once
/* Where the ledger keeps its entries: the operations of a store, as a table of functions.
 * There are two stores, store_sqlite.c and store_postgresql.c. One thread uses a store: the
 * ledger's, or that of the operator's command when it opens the store itself.
 *
 * A claim counts only when it is durable: when a commit was acknowledged that survives a power
 * failure. Whatever is not certain is reported as not durable. */
#include "base/buf.h"
#include "ledger/entry.h"

struct store;

/* The result of a call. */
enum store_result {
    STORE_OK,
    STORE_BUSY, /* nothing was written, try again later: full, or temporarily read-only */
    STORE_LOST, /* the connection is lost; the next call connects again */
    /* an I/O error, or inconsistent data: not to be used again before the next start */
    STORE_BROKEN,
    /* on open: unusable, and trying again does not help: missing, another version, or
     * writable by others */
    STORE_REFUSED,
    STORE_HELD /* on open: another process uses it */
};

/* How to reach a store. Borrowed during open or init; the content of watched files is read
 * again at each connection. */
struct store_options {
    const char *url;           /* ledger.store */
    const char *ca_file;       /* PostgreSQL; NULL: the system's */
    const char *password_file; /* PostgreSQL; NULL: none */
    const char *instance;      /* random, different for each start of a process: who claims */
    int64_t timeout_ms;        /* ledger.store_timeout: for one batch */
    int64_t wait_ms;           /* on open: how long to wait for another process that uses it */
    /* readable when the proxy is ending: from then on every wait is short; 0: none, so that a
     * zeroed struct has none */
    int hurry_fd;
    bool by_command; /* opened by the operator's command, not by the proxy */
};

/* A claim, or a look at what is there. */
struct store_claim {
    /* arguments */
    const char *id;                   /* "": only look */
    const char *scope, *key;          /* key NULL: it cannot collide with another entry */
    const unsigned char *fingerprint; /* NULL: none */
    const char *method, *path, *request_id;
    const struct ledger_bytes *request_body;
    int64_t lease_ms; /* duration of the lease */
    /* result */
    enum store_claimed {
        STORE_NOT_DONE, /* not durable: nothing was written */
        /* the commit was sent, and its result is not known: make the same claim again, with
         * the same id */
        STORE_UNCLEAR,
        STORE_CLAIMED, /* ours: inserted, or found in flight with this very id */
        STORE_FOUND,   /* there is another entry */
        STORE_ABSENT   /* nothing is there (look), or no longer (claim: make it again) */
    } result;
    struct ledger_entry found; /* if FOUND: without its request body; the caller frees it */
};

/* The outcome of a claim. */
struct store_outcome {
    /* arguments */
    const char *id;
    enum ledger_state state;
    const char *cause; /* never NULL */
    int status;        /* 0: none */
    const char *head;  /* NULL: none */
    const struct ledger_bytes *body;
    const unsigned char *fingerprint; /* NULL: unchanged */
    /* result */
    enum store_written {
        STORE_NOT_WRITTEN, /* not durable: write it again; writing twice does no harm */
        STORE_WRITTEN,
        STORE_WRITTEN_LATE,    /* written; the entry was in state unknown before */
        STORE_WRITTEN_ALREADY, /* the entry was in that state already */
        STORE_CONTRADICTED,    /* an operator has decided otherwise: not changed */
        STORE_GONE             /* there is no such open entry */
    } result;
};

/* The result when an operator has resolved the entry before its owner reports the outcome. */
static inline enum store_written store_decided(enum ledger_state said,
                                               enum ledger_state by_operator)
{
    return said == LEDGER_UNKNOWN || said == by_operator ? STORE_WRITTEN_ALREADY
                                                         : STORE_CONTRADICTED;
}

/* Written in one commit; or, if it suits the store, the outcomes in one of their own. The
 * outcomes come first: a claim of this batch may find the result of one of them. */
struct store_batch {
    struct store_outcome *const *outcome;
    size_t outcomes;
    struct store_claim *const *claim;
    size_t claims;
    int64_t now_ms; /* wall clock, for a store without a clock of its own */
};

/* Which entries in flight become unknown (cause `owner-lost`). */
enum store_lost_owners {
    STORE_COUNT_ONLY, /* none */
    STORE_EXPIRED,    /* those whose lease has expired */
    STORE_ALL         /* all: their owners are known to be gone */
};

struct store_census {
    uint64_t orphans; /* became unknown in this call */
    uint64_t in_flight, unknown;
    int64_t unknown_oldest_ms; /* claimed_ms; 0: none */
    int64_t newest_ms;         /* claimed_ms of the newest entry of all; 0: none */
    uint64_t bytes;            /* size of the store; 0: not known */
};

/* Entries that were claimed before a time lose their answers or are removed; never those in
 * flight or unknown. */
struct store_prune {
    int64_t answers_before_ms, keys_before_ms;
    size_t at_most;  /* most rows in one call: the ledger waits meanwhile */
    bool more;       /* result: more rows are left */
    uint64_t pruned; /* result */
};

struct store_list {
    unsigned states;    /* 1 << enum ledger_state; 0: any */
    int64_t since_ms;   /* claimed at or after; 0: any */
    const char *caller; /* NULL: any */
    const char *id;     /* NULL: any; otherwise this one, with its bodies */
    const char *after;  /* NULL: from the first; otherwise those after the entry with this id */
    size_t at_most;     /* 0: all */
    /* Called for each, oldest first. Returns false to stop. */
    bool (*on_entry)(void *arg, const struct ledger_entry *e);
    void *arg;
};

struct store_resolve {
    const char *id;
    bool executed; /* otherwise it was not executed, and its key becomes free */
    bool force;    /* allow not-executed before lease + 15 min */
    /* Asked of the one process that uses the store, while it runs: what is in flight is its
     * own request, whatever the clock says about its lease. */
    bool owned;
    int status; /* if executed: of the answer; 0: not known */
    const char *head;
    const struct ledger_bytes *body; /* data NULL: none */
    const char *by, *note;
    int64_t now_ms;
    enum store_resolved {
        STORE_RESOLVED,
        STORE_NO_SUCH,
        STORE_NOT_OPEN,  /* answered or released already; see `entry` */
        STORE_IN_FLIGHT, /* its owner may still be working on it; see `entry` */
        /* not-executed is allowed only STORE_RESOLVE_AFTER_MS after the end of the lease, or
         * with `force`; see `entry` */
        STORE_TOO_EARLY
    } result;
    struct ledger_entry entry; /* as it was before, without bodies; the caller frees it */
};
#define STORE_RESOLVE_AFTER_MS (15 * 60 * 1000)

/* A call that does not return STORE_OK puts a sentence without secrets into `error`. */
struct store_type {
    const char *scheme; /* "sqlite" */
    /* Used by one process only: when it was just opened, the owners of all entries in flight
     * are gone. */
    bool exclusive;

    /* Opens an existing store and checks it; never creates anything. With STORE_LOST there
     * may still be a store, which connects later. */
    enum store_result (*open)(struct store **out, const struct store_options *o,
                              struct buf *error);
    /* Takes NULL. */
    void (*close)(struct store *s);
    /* Carries out claims, looks and outcomes; each has a result of its own. STORE_OK when
     * all have one. */
    enum store_result (*batch)(struct store *s, const struct store_batch *b, struct buf *error);
    /* Work that can wait until the results of a batch were reported. May be NULL. */
    enum store_result (*idle)(struct store *s, struct buf *error);
    enum store_result (*orphans)(struct store *s, enum store_lost_owners which, int64_t now_ms,
                                 struct store_census *out, struct buf *error);
    enum store_result (*prune)(struct store *s, struct store_prune *p, struct buf *error);
    enum store_result (*list)(struct store *s, const struct store_list *what,
                              struct buf *error);
    enum store_result (*resolve)(struct store *s, struct store_resolve *r, struct buf *error);

    /* Only for the command. Creates an empty store; an existing one is left unchanged and is
     * an error (STORE_REFUSED). */
    enum store_result (*init)(const struct store_options *o, struct buf *error);
    /* Makes a commit that changes nothing, to measure how long commits take. */
    enum store_result (*touch)(struct store *s, struct buf *error);
    /* Looks for damage: reads the whole store. */
    enum store_result (*check)(struct store *s, struct buf *error);
    /* Reports what makes it less safe, a sentence each (fsync off, no synchronous standby
     * ...): for the log at the start and for doctor. May be NULL. */
    void (*weaknesses)(struct store *s, void (*on_weakness)(void *arg, const char *text),
                       void *arg);
};

/* The version of the tables in both stores. */
#define STORE_VERSION 1

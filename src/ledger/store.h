#pragma once
/* Where the ledger keeps its entries: what a store can do, as a table of functions. There are two
 * of them, store_sqlite.c and store_postgresql.c. One thread uses a store: the ledger's, or the
 * operator's command when it opens the store itself.
 *
 * A claim counts only when it is durable: when a commit has been acknowledged that survives the
 * loss of power. Whatever is not certain is told as not durable. */
#include "base/buf.h"
#include "ledger/entry.h"

struct store;

/* What a call came to. */
enum store_result {
    STORE_OK,
    STORE_BUSY, /* not now, and nothing was written: full, or read-only at present; try again */
    STORE_LOST, /* the connection is lost; the next call connects again */
    STORE_BROKEN, /* an I/O error, or what is there makes no sense: not to be used again until the
                      next start */
    STORE_REFUSED, /* open: not this store, and trying again does not help: missing, of another
                      version, where others may write */
    STORE_HELD     /* open: another process has it */
};

/* How to reach a store. Borrowed for the call of open or init, but for what a watched file
 * holds: `password` is asked again at each connection. */
struct store_options {
    const char *url;           /* ledger.store */
    const char *ca_file;       /* PostgreSQL; NULL: the system's */
    const char *password_file; /* PostgreSQL; NULL: none */
    const char *instance;      /* random, of this process start: who claims */
    int64_t timeout_ms;        /* ledger.store_timeout: for one batch */
    int64_t wait_ms;           /* open: how long to wait for another process that has it */
    int hurry_fd;    /* readable once the proxy is ending: no long wait any more; 0: none */
    bool by_command; /* opened by the operator's command, not by the proxy */
};

/* One claim, or a look at what is there. */
struct store_claim {
    /* given */
    const char *id;                   /* "": only look */
    const char *scope, *key;          /* key NULL: no other entry is in its way */
    const unsigned char *fingerprint; /* NULL: none */
    const char *method, *path, *request_id;
    const struct ledger_bytes *request_body;
    int64_t lease_ms; /* how long from now on */
    /* result */
    enum store_claimed {
        STORE_NOT_DONE, /* not durable: nothing was written */
        STORE_UNCLEAR,  /* the commit was asked for, and its end is not known: the same claim is
                           to be made again, with the same id */
        STORE_CLAIMED,  /* ours: inserted, or found there with this very id and in flight */
        STORE_FOUND,    /* another one is there */
        STORE_ABSENT    /* nothing is there (look), or no longer (claim: to be made again) */
    } result;
    struct ledger_entry found; /* FOUND: without its request body; the caller frees */
};

/* What became of a claim. */
struct store_outcome {
    /* given */
    const char *id;
    enum ledger_state state;
    const char *cause; /* never NULL */
    int status;        /* 0: none */
    const char *head;  /* NULL: none */
    const struct ledger_bytes *body;
    const unsigned char *fingerprint; /* NULL: as it is */
    /* result */
    enum store_written {
        STORE_NOT_WRITTEN, /* not durable: to be written again; doing so twice does no harm */
        STORE_WRITTEN,
        STORE_WRITTEN_LATE,    /* written; the entry was unknown before */
        STORE_WRITTEN_ALREADY, /* the entry is in that state already */
        STORE_CONTRADICTED,    /* an operator has decided otherwise: left as it is */
        STORE_GONE             /* there is no such entry that is open */
    } result;
};

/* An operator has decided: whether that contradicts what its owner says now. */
static inline enum store_written store_decided(enum ledger_state said,
                                               enum ledger_state by_operator)
{
    return said == LEDGER_UNKNOWN || said == by_operator ? STORE_WRITTEN_ALREADY
                                                         : STORE_CONTRADICTED;
}

/* Written in one commit, or, where it suits the store, the outcomes in one of their own. The
 * outcomes come first: a claim of this batch may find what an outcome of it says. */
struct store_batch {
    struct store_outcome *const *outcome;
    size_t outcomes;
    struct store_claim *const *claim;
    size_t claims;
    int64_t now_ms; /* wall clock, for a store that has no clock of its own */
};

/* Which entries in flight become unknown (cause `owner-lost`). */
enum store_lost_owners {
    STORE_COUNT_ONLY, /* none */
    STORE_EXPIRED,    /* whose lease has passed */
    STORE_ALL         /* all: whoever claimed them is known to be gone */
};

struct store_census {
    uint64_t orphans; /* made unknown by this call */
    uint64_t in_flight, unknown;
    int64_t unknown_oldest_ms; /* claimed_ms; 0: none */
    int64_t newest_ms;         /* claimed_ms of the newest entry of all; 0: none */
    uint64_t bytes;            /* what the store takes; 0: not known */
};

/* Entries claimed before a time lose their answers or are removed; never those in flight or
 * unknown. */
struct store_prune {
    int64_t answers_before_ms, keys_before_ms;
    size_t at_most;  /* rows in one call: the ledger waits meanwhile */
    bool more;       /* result: there are more */
    uint64_t pruned; /* result */
};

struct store_list {
    unsigned states;    /* 1 << enum ledger_state; 0: any */
    int64_t since_ms;   /* claimed at or after; 0: any */
    const char *caller; /* NULL: any */
    const char *id;     /* NULL: any; else this one, with its bodies */
    const char *after;  /* NULL: from the first; else behind the entry of this id */
    size_t at_most;     /* 0: all */
    /* Oldest first. Returns false to end it. */
    bool (*on_entry)(void *arg, const struct ledger_entry *e);
    void *arg;
};

struct store_resolve {
    const char *id;
    bool executed; /* else it was not, and its key becomes free */
    bool force;    /* not-executed before lease + 15 min */
    int status;    /* executed: of the answer; 0: not known */
    const char *head;
    const struct ledger_bytes *body; /* data NULL: none */
    const char *by, *note;
    int64_t now_ms;
    enum store_resolved {
        STORE_RESOLVED,
        STORE_NO_SUCH,
        STORE_NOT_OPEN,  /* answered or released already; `entry` */
        STORE_IN_FLIGHT, /* its owner may still be at it; `entry` */
        STORE_TOO_EARLY  /* not-executed needs to wait until its lease has passed for
                             STORE_RESOLVE_AFTER_MS, or `force`; `entry` */
    } result;
    struct ledger_entry entry; /* as it was, without bodies; the caller frees */
};
#define STORE_RESOLVE_AFTER_MS (15 * 60 * 1000)

/* Every call puts a sentence into `error` when it does not return STORE_OK, without secrets. */
struct store_type {
    const char *scheme; /* "sqlite" */
    /* All entries in flight of a store that was just opened belong to owners that are gone. */
    bool exclusive;

    /* Opens what is there and checks it; never creates anything. STORE_LOST may leave a store all the
     * same, which connects later. */
    enum store_result (*open)(struct store **out, const struct store_options *o,
                              struct buf *error);
    /* Takes NULL. */
    void (*close)(struct store *s);
    /* Claims, looks and outcomes, each with a result of its own. STORE_OK when each has one. */
    enum store_result (*batch)(struct store *s, const struct store_batch *b, struct buf *error);
    /* What can wait until the results of a batch have been told. May be NULL. */
    enum store_result (*idle)(struct store *s, struct buf *error);
    enum store_result (*orphans)(struct store *s, enum store_lost_owners which, int64_t now_ms,
                                 struct store_census *out, struct buf *error);
    enum store_result (*prune)(struct store *s, struct store_prune *p, struct buf *error);
    enum store_result (*list)(struct store *s, const struct store_list *what,
                              struct buf *error);
    enum store_result (*resolve)(struct store *s, struct store_resolve *r, struct buf *error);

    /* For the command only. Makes an empty store; one that is there already is left as it is and
     * is an error (STORE_REFUSED). */
    enum store_result (*init)(const struct store_options *o, struct buf *error);
    /* A commit that changes nothing: how long they take. */
    enum store_result (*touch)(struct store *s, struct buf *error);
    /* Looks for damage: the whole store is read. */
    enum store_result (*check)(struct store *s, struct buf *error);
    /* What weakens it, a sentence each (fsync off, no synchronous standby ...): for the log at
     * start and for doctor. May be NULL. */
    void (*weaknesses)(struct store *s, void (*on_weakness)(void *arg, const char *text),
                       void *arg);
};

/* The tables, as both stores have them. */
#define STORE_VERSION 1

#pragma once
/* What the ledger keeps about one request: its key, its outcome, and the answer that a retry
 * gets. One row of the store is one entry. */
#include "base/base.h"

#define LEDGER_ID_BYTES 37 /* a UUID as text, and a NUL */
#define LEDGER_FINGERPRINT_BYTES 32
#define LEDGER_KEY_MAX 255

/* The store contains these numbers. */
enum ledger_state {
    LEDGER_IN_FLIGHT, /* claimed; no outcome yet */
    LEDGER_ANSWERED,  /* there was a definite answer */
    LEDGER_UNKNOWN,   /* it was sent, or may have been, and its outcome is not known */
    /* it was not carried out: the key is free again, the row is kept for audit */
    LEDGER_RELEASED,
    LEDGER_STATES
};

/* `data` NULL: none, which is not the same as empty (len 0). */
struct ledger_bytes {
    char *data;
    size_t len;
};

/* Times are wall clock milliseconds since 1970. They are used for display, for pruning, and for
 * how long an operator has to wait; never for sending. */
struct ledger_entry {
    char id[LEDGER_ID_BYTES];
    enum ledger_state state;
    char *scope; /* the caller's name; "": one scope for all */
    char *key;   /* NULL: recorded without a key */
    bool has_fingerprint;
    unsigned char fingerprint[LEDGER_FINGERPRINT_BYTES];
    char *cause; /* a slug: why it is unknown or was released; "": neither */
    char *method, *path, *request_id;
    struct ledger_bytes request_body;
    char *instance;     /* of the process that claimed it */
    int64_t claimed_ms; /* when the request was first seen */
    int64_t lease_ms;   /* until then its owner may still be working on it */
    int64_t ended_ms;   /* 0: not ended */
    int status;         /* of the answer; 0: none */
    char *answer_head;  /* field lines, each ended by CR LF; NULL: none */
    struct ledger_bytes answer_body;
    char *resolved_by, *note; /* NULL: no operator has resolved it */
};

/* Frees what it holds and zeroes it. Takes a zeroed one. */
void ledger_entry_done(struct ledger_entry *e);

/* "in_flight", "answered", "unknown", "released". */
const char *ledger_state_name(enum ledger_state s);
/* The state of that name, or -1. */
int ledger_state_find(const char *name);

/* Makes an id: a UUID of version 7 (RFC 9562 sections 5.7 and 6.2, method 3) from the wall
 * clock, with a resolution of a quarter of a microsecond, and 62 random bits. Sorted by id,
 * entries are in the order of their claims. Thread: any. */
void ledger_id_new(char out[LEDGER_ID_BYTES]);
/* Whether text is a UUID as written by ledger_id_new: 36 characters, lower case. */
bool ledger_id_valid(const char *text);

#pragma once
/* What the ledger keeps of one request: its key, what became of it, and the answer that a retry
 * gets. One row of the store is one entry. */
#include "base/base.h"

#define LEDGER_ID_BYTES 37 /* a UUID as text, and a NUL */
#define LEDGER_FINGERPRINT_BYTES 32
#define LEDGER_KEY_MAX 255

/* In the store by these numbers. */
enum ledger_state {
    LEDGER_IN_FLIGHT, /* claimed; no outcome yet */
    LEDGER_ANSWERED,  /* there was a definite answer */
    LEDGER_UNKNOWN,   /* it was sent, or may have been, and nobody knows what became of it */
    LEDGER_RELEASED,  /* it was not carried out: its key is free again, the row is for audit */
    LEDGER_STATES
};

/* `data` NULL: there is none, which is not the same as none of it (len 0). */
struct ledger_bytes {
    char *data;
    size_t len;
};

/* Times are wall clock milliseconds since 1970: they are for display and for what prunes. */
struct ledger_entry {
    char id[LEDGER_ID_BYTES];
    enum ledger_state state;
    char *scope; /* the caller's name; "": one scope for all */
    char *key;   /* NULL: recorded without a key */
    bool has_fingerprint;
    unsigned char fingerprint[LEDGER_FINGERPRINT_BYTES];
    char *cause; /* a slug: why it is unknown or was released; "": no such */
    char *method, *path, *request_id;
    struct ledger_bytes request_body;
    char *instance;     /* of the process that claimed it */
    int64_t claimed_ms; /* when it was first seen */
    int64_t lease_ms;   /* until then its owner may still be at it */
    int64_t ended_ms;   /* 0: not yet */
    int status;         /* of the answer; 0: none */
    char *answer_head;  /* field lines, each ended by CR LF; NULL: none */
    struct ledger_bytes answer_body;
    char *resolved_by, *note; /* NULL: no operator has decided about it */
};

/* Frees what it holds and zeroes it. Takes a zeroed one. */
void ledger_entry_done(struct ledger_entry *e);

/* "in_flight", "answered", "unknown", "released". */
const char *ledger_state_name(enum ledger_state s);
/* The state of that name, or -1. */
int ledger_state_find(const char *name);

/* A new id: a UUID of version 7 (RFC 9562 sections 5.7 and 6.2, method 3), made of the wall clock, to
 * a quarter of a microsecond, and 62 random bits: in the order of their ids, entries are in the order
 * of their claims. Thread: any. */
void ledger_id_new(char out[LEDGER_ID_BYTES]);
/* Whether text is a UUID as ledger_id_new writes it: 36 characters, lower case. */
bool ledger_id_valid(const char *text);

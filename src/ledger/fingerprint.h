#pragma once
/* Tells whether two requests with one key are the same request: SHA-256 over method, origin
 * of the upstream, target and body, as they are sent upstream. Header fields do not count. */
#include "base/base.h"
#include "ledger/entry.h"

struct ledger_fingerprint {
    void *state; /* OpenSSL's; NULL: not begun, done, or memory has run out */
};

/* What precedes the body. */
struct ledger_fingerprint_head {
    const char *method;
    const char *origin;        /* "https://api.example" */
    const char *prefix, *path; /* the target is prefix followed by path, query included */
};

/* Begins a fingerprint. Each part is preceded by its length, so that two different heads
 * never give the same bytes; the body comes last and needs no length. Returns 0 or -ENOMEM. */
int ledger_fingerprint_init(struct ledger_fingerprint *f,
                            const struct ledger_fingerprint_head *head) MUST_CHECK;
/* Adds bytes of the body. Takes one that failed. */
void ledger_fingerprint_add(struct ledger_fingerprint *f, const void *bytes, size_t n);
/* Ends and frees it. False: memory ran out, and out is unchanged. */
bool ledger_fingerprint_end(struct ledger_fingerprint *f,
                            unsigned char out[LEDGER_FINGERPRINT_BYTES]);
/* Frees one that is no longer wanted. Takes a zeroed one. */
void ledger_fingerprint_done(struct ledger_fingerprint *f);

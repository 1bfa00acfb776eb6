#pragma once
/* What tells whether two requests with one key are the same request: SHA-256 over method, origin
 * of the upstream, target and body, as they go upstream. Fields of the head do not count. */
#include "base/base.h"
#include "ledger/entry.h"

struct ledger_fingerprint {
    void *state; /* OpenSSL's; NULL: not begun, done, or there was no memory */
};

/* What stands before the body. */
struct ledger_fingerprint_head {
    const char *method;
    const char *origin;        /* "https://api.example" */
    const char *prefix, *path; /* the target is both together, query included */
};

/* Begins one: each part is counted with its length before it, so that no two heads are the same
 * bytes; the body follows and has no length, since nothing comes behind it. Returns 0 or -ENOMEM. */
int ledger_fingerprint_init(struct ledger_fingerprint *f,
                            const struct ledger_fingerprint_head *head) MUST_CHECK;
/* Bytes of the body. Takes one that failed. */
void ledger_fingerprint_add(struct ledger_fingerprint *f, const void *bytes, size_t n);
/* Ends and frees it. False: there was no memory, and out is as it was. */
bool ledger_fingerprint_end(struct ledger_fingerprint *f,
                            unsigned char out[LEDGER_FINGERPRINT_BYTES]);
/* Frees one that is not wanted any more. Takes a zeroed one. */
void ledger_fingerprint_done(struct ledger_fingerprint *f);

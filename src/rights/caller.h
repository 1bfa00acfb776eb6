#pragma once
/* Who calls: the `[caller NAME]` sections, and how a request is recognised as one of them.
 * Pure, apart from the counts that all threads share.
 *
 * What is known of the connection (listener, peer of a unix socket, certificate) is checked
 * once per connection; a secret is checked with each request. All keys of a section must
 * match, and a key matches if one of its entries does. Exactly one section must match: if
 * two do, neither their order nor how specific they are decides. */
#include <stdatomic.h>

#include "rights/caller_secrets.h"
#include "rights/rate.h"
#include "rights/rights.h"

#define CALLERS_MAX 32
#define CALLER_NAME_MAX 31
#define CALLER_OUTCOMES 8
/* Bits for all patterns of classes_pattern: those of the table, and 64 added to each of six
 * classes. */
#define CALLER_SEEN_WORDS 8

/* Counts of one caller, shared by all threads and kept when settings are reloaded. */
struct caller_counts {
    _Atomic int refs;
    _Atomic int64_t in_flight;
    _Atomic uint64_t requests[CLASS_COUNT][CALLER_OUTCOMES]; /* by enum rules_outcome */
    struct rate_bucket rate[CLASS_UNKNOWN];                  /* unknown requests use money's */
    _Atomic uint64_t refusal; /* the last refusal, packed, see rules_note_refusal; 0: none */
    /* While the caller is only observed: which operations it used, by their number, and for
     * operations without a number their classes. */
    _Atomic uint64_t seen[CALLER_SEEN_WORDS];
    _Atomic uint64_t seen_classes;
};

struct caller_names {
    const char *const *item;
    size_t count;
};

struct caller {
    const char *name;
    bool is_other; /* [caller other]: matches whoever is not recognised otherwise */

    /* What identifies the caller; only for is_other may all of these be empty. */
    uint64_t listeners; /* bits of its own addresses, see caller_facts.listener */
    int64_t uid, gid;   /* -1: any */
    struct caller_names uri, dns, subject; /* of the client certificate */

    struct rights rights;
    struct rate rate[CLASS_UNKNOWN];
    int64_t max_in_flight; /* 0: no limit */
    bool observe;          /* only report what would be refused */
    struct caller_counts *counts;
};

/* What is known about a connection. */
struct caller_facts {
    /* bit of the caller's own address that it came in by; 0: one of listen.* */
    uint64_t listener;
    int64_t uid, gid; /* of the peer of a unix socket; -1: unknown */
    struct caller_names uri,
        dns;             /* of its certificate; uri: matched only if there is just one */
    const char *subject; /* RFC 4514 text, NULL: no certificate */
};

/* The secrets that a request shows, and those to compare with. */
struct caller_proofs {
    const struct caller_secrets *secrets; /* those now in force; NULL: none */
    /* values of callers.header and of Authorization: Bearer; NULL: none */
    const char *header, *bearer;
    size_t header_len, bearer_len;
    bool header_twice;
};

/* Why nobody was recognised. */
enum caller_unknown {
    CALLER_KNOWN,
    CALLER_NO_PROOF,      /* nothing that it shows matches a section */
    CALLER_WRONG_ADDRESS, /* it came in by a caller's own address but is not that caller */
    CALLER_BAD_SECRET,    /* callers.header has no secret of a caller that otherwise matches */
    CALLER_SECRET_TWICE,  /* callers.header came twice */
    CALLER_SEVERAL        /* more than one section matches */
};

/* A bit that belongs to no listener. */
#define CALLER_NO_LISTENER (UINT64_C(1) << 63)
static_assert(CALLERS_MAX < 63, "a bit for each, and one for none");

struct callers {
    struct caller caller[CALLERS_MAX];
    size_t count;
    uint64_t owned;       /* bits of the addresses that belong to a caller */
    uint32_t with_secret; /* bits of the callers that must show a secret */
};

/* The callers that match what is known of the connection, a bit for each. One that is
 * identified by a secret only is among them. Keep the result with the connection. */
uint32_t callers_of_connection(const struct callers *all, const struct caller_facts *f);

/* "no-proof", "several" ...: for the log. */
const char *caller_unknown_name(enum caller_unknown why);

struct caller_recognised {
    const struct caller *caller; /* NULL: nobody */
    enum caller_unknown why;
    uint32_t fit; /* the callers that match, for the log */
};

/* candidates: from callers_of_connection. Secrets are compared in constant time. */
struct caller_recognised callers_recognise(const struct callers *all, uint32_t candidates,
                                           const struct caller_facts *f,
                                           const struct caller_proofs *p);

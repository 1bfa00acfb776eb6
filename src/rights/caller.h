#pragma once
/* Who calls: the `[caller NAME]` sections and how a request is recognised as one of them. Pure,
 * apart from the counts that all threads share.
 *
 * What is known of the connection (listener, peer of a unix socket, certificate) is looked at
 * once; a secret is read with each request. Different keys of a section must all hold, entries
 * of one key are alternatives, and exactly one section must match: neither order nor how narrow
 * a section is decides between two. */
#include <stdatomic.h>

#include "rights/caller_secrets.h"
#include "rights/rate.h"
#include "rights/rights.h"

#define CALLERS_MAX 32
#define CALLER_NAME_MAX 31
#define CALLER_OUTCOMES 8
/* Bits for the patterns of classes_pattern: the table, and 64 added to each of six classes. */
#define CALLER_SEEN_WORDS 8

/* Counts of one caller, shared by all threads and kept over a reload. */
struct caller_counts {
    _Atomic int refs;
    _Atomic int64_t in_flight;
    _Atomic uint64_t requests[CLASS_COUNT][CALLER_OUTCOMES]; /* by enum rules_outcome */
    struct rate_bucket rate[CLASS_UNKNOWN];                  /* unknown requests use money's */
    _Atomic uint64_t refusal; /* the last one, packed, see rules_note_refusal; 0: none */
    /* While it is only observed: the operations that it asked for, by their number, and the classes
     * of those that have none. */
    _Atomic uint64_t seen[CALLER_SEEN_WORDS];
    _Atomic uint64_t seen_classes;
};

struct caller_names {
    const char *const *item;
    size_t count;
};

struct caller {
    const char *name;
    bool is_other; /* [caller other]: whoever nobody recognised */

    /* recognisers; all of them empty: only is_other may be so */
    unsigned listeners; /* bits of its own addresses, see caller_facts.listener */
    int64_t uid, gid;   /* -1: any */
    struct caller_names uri, dns, subject; /* of the client certificate */
    bool has_secret_file;                  /* a secret must be shown, see caller_secrets.h */

    struct rights rights;
    struct rate rate[CLASS_UNKNOWN];
    int64_t max_in_flight; /* 0: no limit */
    bool observe;          /* what would be refused is only reported */
    struct caller_counts *counts;
};

/* What is known of a connection. */
struct caller_facts {
    unsigned listener; /* the bit of the caller's own address it came by; 0: one of listen.* */
    int64_t uid, gid;  /* of a unix socket's peer; -1: not known */
    struct caller_names uri,
        dns;             /* of its certificate; uri: matched only if there is just one */
    const char *subject; /* RFC 4514 text, NULL: no certificate */
};

/* What comes with a request, and what it is held against. */
struct caller_proofs {
    const struct caller_secrets *secrets; /* those in force; NULL: there are none */
    const char *header, *bearer; /* values of callers.header and of a Bearer; NULL: none */
    size_t header_len, bearer_len;
    bool header_twice;
};

/* Why nobody was recognised. */
enum caller_unknown {
    CALLER_KNOWN,
    CALLER_NO_PROOF,      /* nothing that it shows fits a section */
    CALLER_WRONG_ADDRESS, /* it came by a caller's own address, and is not that caller */
    CALLER_BAD_SECRET,    /* callers.header holds no secret of a caller that fits otherwise */
    CALLER_SECRET_TWICE,  /* callers.header came twice */
    CALLER_SEVERAL        /* more than one section fits */
};

/* A bit that no listener has. */
#define CALLER_NO_LISTENER 0x80000000U

struct callers {
    struct caller caller[CALLERS_MAX];
    size_t count;
    unsigned owned;       /* bits of the addresses that belong to a caller */
    uint32_t with_secret; /* bits of the callers that must show one */
};

/* The callers whose keys about the connection hold: a bit for each; a caller without such keys
 * but with a secret is among them. To be kept with the connection. */
uint32_t callers_of_connection(const struct callers *all, const struct caller_facts *f);

/* "no-proof", "several" ...: for the log. */
const char *caller_unknown_name(enum caller_unknown why);

struct caller_recognised {
    const struct caller *caller; /* NULL: nobody */
    enum caller_unknown why;
    uint32_t fit; /* those that fit: for the log */
};

/* candidates: of callers_of_connection. Secrets are compared in constant time. */
struct caller_recognised callers_recognise(const struct callers *all, uint32_t candidates,
                                           const struct caller_facts *f,
                                           const struct caller_proofs *p);

#pragma once
/* What is recorded about a request when it ends: its counts, its access-log line, and a
 * place among the last failures. */
#include "proxy/claim.h"
#include "proxy/context.h"

struct access_log_entry {
    const struct config *config;
    const struct failure *failure; /* NULL: none */
    const char *method;            /* NULL: not known */
    /* without query; if the request was for a forward proxy it may be anything */
    const char *path;
    size_t path_len;
    const char *request_id; /* NULL: there is none */
    const char *trace_id;   /* likewise */
    /* the caller's own id, if it contains special characters; NULL: none */
    const char *caller_request_id;
    size_t caller_request_id_len;
    int status;     /* given to the caller; 0: none */
    bool safe;      /* GET, HEAD, OPTIONS */
    bool has_class; /* `class` is known */
    enum request_class class;
    enum rules_outcome decision;
    const struct caller *caller; /* NULL: none, or none was recognised */
    const char *rule;            /* the rule that refused it; NULL: none */
    size_t rule_len;
    bool gone, cut; /* the caller has left; the upstream's answer was cut */
    bool stalled;   /* gone: it accepted nothing for listen.send_timeout, and was cut */
    int64_t total_us, token_us, upstream_us; /* negative: did not happen */
    int64_t bytes_in, bytes_out;
    unsigned attempts; /* number of attempts to send it upstream */
    enum claim_result ledger;
    const char *ledger_id, *outcome; /* NULL or empty: none */
    uint64_t generation;
};

/* Thread: the context's. */
void access_log_write(struct context *ctx, const struct access_log_entry *e);

/* Reports a finished request: counts it, logs it, and adds it to the last failures. */
#include "proxy/access_log.h"

#include <string.h>

#include "base/log.h"

/* Logged as the status when the caller had left before an answer was given. */
#define GONE_STATUS 499
/* Longest caller's id that is logged if it contains special characters. */
#define CALLER_ID_MAX 256

/* Whether the upstream may have carried the request out, and nobody can tell. */
static bool outcome_unknown(const struct access_log_entry *e)
{
    if (e->outcome != NULL) /* the ledger knows the outcome, even if the caller has left */
        return strcmp(e->outcome, ledger_state_name(LEDGER_UNKNOWN)) == 0;
    if (e->attempts == 0)
        return false;
    if (e->failure == NULL)
        return e->gone && e->status == 0;

    const struct failure_info *info = failure_info(e->failure->kind);

    return e->failure->may_have_run || (info->stage == STAGE_UPSTREAM && !info->retryable &&
                                        e->failure->kind != FAIL_UPSTREAM_CERT);
}

/* NULL: no callers are configured, or it was not determined. */
static const char *caller_name(const struct access_log_entry *e)
{
    if (!e->has_class || !e->config->rules->has_callers)
        return NULL;
    return e->caller != NULL ? e->caller->name : "none";
}

static void count_class(struct context *ctx, const struct access_log_entry *e, int stage)
{
    static_assert((int)CLASS_COUNT == METRICS_CLASSES, "one counter for each class");
    if (e->config->rules->has_callers)
        rules_count(e->config->rules, e->caller, e->class, e->decision);
    metrics_class(&ctx->metrics,
                  &(struct metrics_class){ .class = (int)e->class,
                                           .status = e->status,
                                           .stage = stage,
                                           .outcome_unknown = outcome_unknown(e) });
}

void access_log_write(struct context *ctx, const struct access_log_entry *e)
{
    enum stage stage = e->failure != NULL ? failure_info(e->failure->kind)->stage : STAGE_COUNT;
    int status = e->status;
    /* A target that was refused and is not a path may be a URL that contains a password. */
    bool plain = e->path_len > 0 && e->path[0] == '/';
    const char *path = plain ? e->path : "-";
    size_t path_len = plain ? e->path_len : 1;

    metrics_request(&ctx->metrics, &(struct metrics_request){
                                       .method = e->safe ? METRICS_SAFE : METRICS_UNSAFE,
                                       .status = status,
                                       .stage = (int)stage,
                                       .total_us = e->total_us,
                                       .token_us = e->token_us,
                                       .upstream_us = e->upstream_us });
    static_assert(CLAIM_RESULTS == METRICS_LEDGER_RESULTS, "one counter for each result");
    if (e->ledger != CLAIM_RESULT_NONE)
        metrics_bump(&ctx->metrics.ledger[e->ledger], 1);
    if (e->has_class)
        count_class(ctx, e, (int)stage);
    metrics_add(&ctx->metrics, M_request_body_bytes, (uint64_t)e->bytes_in);
    metrics_add(&ctx->metrics, M_response_body_bytes, (uint64_t)e->bytes_out);
    if (status == 0 && e->gone) /* the metrics do not count it as a 4xx */
        status = GONE_STATUS;
    if (e->failure != NULL || recent_failures_upstream_status(status)) {
        const struct failure none = { .kind = FAIL_NONE };

        recent_failures_note(&ctx->failures,
                             &(struct recent_failures_request){
                                 .failure = e->failure != NULL ? e->failure : &none,
                                 .status = status,
                                 .method = e->method,
                                 .path = path,
                                 .path_len = path_len,
                                 .request_id = e->request_id,
                                 .trace_id = e->trace_id });
    }
    if (!e->config->log.access)
        return;
    log_info("access", log_str("method", e->method != NULL ? e->method : "-"),
             log_strn("path", path, path_len), log_int("status", status),
             log_str("class", e->has_class ? class_name(e->class) : NULL),
             log_str("caller", caller_name(e)),
             log_str("decision", rules_outcome_name(e->decision)),
             log_strn("rule", e->rule, e->rule_len),
             log_str("stage", e->failure != NULL ? failure_stage_name(stage) : NULL),
             log_str("error", e->failure != NULL ? failure_info(e->failure->kind)->slug : NULL),
             log_str("aborted", e->stalled ? "send_timeout"
                                : e->gone  ? "caller"
                                : e->cut   ? "upstream"
                                           : NULL),
             log_duration("total_ms", e->total_us),
             log_duration("token_ms", base_max(e->token_us, 0)),
             log_duration("upstream_ms", base_max(e->upstream_us, 0)),
             log_int("bytes_in", e->bytes_in), log_int("bytes_out", e->bytes_out),
             log_int("attempts", e->attempts), log_str("request_id", e->request_id),
             log_strn("caller_request_id", e->caller_request_id,
                      (size_t)base_min((int64_t)e->caller_request_id_len, CALLER_ID_MAX)),
             log_str("trace_id", e->trace_id), log_str("ledger", claim_result_name(e->ledger)),
             log_str("outcome", e->outcome),
             log_str("ledger_id",
                     e->ledger_id != NULL && e->ledger_id[0] != '\0' ? e->ledger_id : NULL),
             log_int("generation", (int64_t)e->generation));
}

/* What is left of a request when it is over: its counts, its access-log line, and a place among
 * the last failures. */
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "proxy/relay_inside.h"

#define GONE_STATUS 499

/* For the log and the status page: without query. A target that was refused and is no path may
 * be a URL with somebody's password in it. */
static const char *path_of(const struct relay *r, size_t *len)
{
    const char *path = r->route.path != NULL ? r->route.path : r->target;

    *len = r->route.path != NULL ? r->route.path_len : strcspn(r->target, "?#");
    if (path[0] == '/')
        return path;
    *len = 1;
    return "-";
}

void relay_report(struct relay *r)
{
    size_t path_len;
    bool failed = r->phase == RELAY_FAILED || r->failure.kind != FAIL_NONE;
    enum stage stage = failed ? failure_info(r->failure.kind)->stage : STAGE_COUNT;
    int64_t total_us = clock_us() - r->start_us;
    int status = r->sink->status;
    int64_t down_bytes = r->sink->body_bytes;

    metrics_request(&r->ctx->metrics, &(struct metrics_request){
                                          .method = r->safe ? METRICS_SAFE : METRICS_UNSAFE,
                                          .status = status,
                                          .stage = (int)stage,
                                          .total_us = total_us,
                                          .token_us = r->token_us,
                                          .upstream_us = r->upstream_us });
    metrics_add(&r->ctx->metrics, M_request_body_bytes, (uint64_t)r->up_bytes);
    metrics_add(&r->ctx->metrics, M_response_body_bytes, (uint64_t)down_bytes);
    if (status == 0 && r->gone) /* for the log; among the metrics it is nobody's 4xx */
        status = GONE_STATUS;
    if (failed || recent_failures_upstream_status(status)) {
        const char *path = path_of(r, &path_len);

        recent_failures_note(&r->ctx->failures,
                             &(struct recent_failures_request){ .failure = &r->failure,
                                                                .status = status,
                                                                .method = r->method,
                                                                .path = path,
                                                                .path_len = path_len,
                                                                .request_id = r->request_id });
    }
    if (!r->config->log.access)
        return;
    const char *path = path_of(r, &path_len);

    log_info("access", log_str("method", r->method != NULL ? r->method : "-"),
             log_strn("path", path, path_len), log_int("status", status),
             log_str("stage", failed ? failure_stage_name(stage) : NULL),
             log_str("error", failed ? failure_info(r->failure.kind)->slug : NULL),
             log_str("aborted", r->gone       ? "caller"
                                : r->down_cut ? "upstream"
                                              : NULL),
             log_ms("total_ms", total_us), log_ms("token_ms", base_max(r->token_us, 0)),
             log_ms("upstream_ms", base_max(r->upstream_us, 0)),
             log_int("bytes_in", r->up_bytes), log_int("bytes_out", down_bytes),
             log_int("attempts", r->sends), log_str("request_id", r->request_id),
             log_int("generation", r->token == NULL ? 0 : (int64_t)r->token->generation));
}

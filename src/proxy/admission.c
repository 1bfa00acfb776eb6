/* Handles a request whose head is complete: finds out where it goes, whether it may go on,
 * and its request id for logs and errors. */
#include "proxy/admission.h"

#include <stdio.h>
#include <string.h>

#include "base/limit.h"
#include "base/log.h"
#include "proxy/decision.h"
#include "rights/limits.h"

#define UNKNOWN_LOG_MS 1000

static void make_request_id(struct relay *r)
{
    char *id = arena_alloc(&r->arena, CONTEXT_REQUEST_ID_BYTES);

    if (id == NULL)
        return;
    context_request_id(r->ctx, id);
    r->request_id = id[0] == '\0' ? NULL : id;
    r->request_id_ours = r->request_id != NULL;
}

/* Chooses the request id: the caller's if it has no special characters, otherwise one of
 * ours. The caller's own is forwarded to the upstream in any case. */
static void take_request_id(struct relay *r)
{
    for (size_t i = 0; i < r->count; i++) {
        const struct header_field *f = &r->fields[i];

        if (!header_is(f, "x-request-id"))
            continue;
        if (header_request_id_ok(f->value, f->value_len)) {
            r->request_id = arena_copy(&r->arena, f->value, f->value_len);
            return;
        }
        r->caller_request_id = f->value;
        r->caller_request_id_len = f->value_len;
        break;
    }
    make_request_id(r);
}

/* The trace id, if the request has one. */
static void take_trace_id(struct relay *r)
{
    const char *found = NULL;
    size_t count = 0;

    for (size_t i = 0; i < r->count; i++)
        if (header_is(&r->fields[i], "traceparent")) {
            found = header_trace_id(r->fields[i].value, r->fields[i].value_len);
            count++;
        }
    if (count == 1 && found != NULL)
        r->trace_id = arena_copy(&r->arena, found, HEADER_TRACE_ID_BYTES);
}

/* Decrements Max-Forwards of an OPTIONS that is forwarded (RFC 9110 section 7.6.2). */
static void count_down(struct relay *r)
{
    for (size_t i = 0; i < r->count; i++) {
        int64_t left = decision_max_forwards(&r->fields[i]);

        if (left <= 0)
            continue;
        char text[24];
        int n = snprintf(text, sizeof text, "%lld", (long long)left - 1);
        struct header_field *fields = arena_alloc(&r->arena, r->count * sizeof *fields);
        char *value = arena_copy(&r->arena, text, (size_t)n);

        if (fields == NULL || value == NULL)
            return;
        memcpy(fields, r->fields, r->count * sizeof *fields);
        fields[i].value = value;
        fields[i].value_len = (size_t)n;
        r->fields = fields;
    }
}

static void deny(struct relay *r, enum failure_kind kind, const char *sentence)
{
    struct failure f = failure_make(kind, "%s", sentence);

    relay_about(r, &f);
    relay_fail(r, &f);
}

/* At most once a second per thread, so that unknown callers cannot fill the log. */
static void log_unknown(struct relay *r, const struct caller_recognised *who)
{
    const struct callers *all = &r->config->rules->callers;
    int64_t now_ms = loop_now(&r->ctx->loop);
    char names[CALLERS_MAX * (CALLER_NAME_MAX + 2)] = "";
    size_t used = 0;

    if (now_ms - r->ctx->unknown_ms < UNKNOWN_LOG_MS && r->ctx->unknown_ms != 0)
        return;
    r->ctx->unknown_ms = now_ms;
    for (size_t i = 0; i < all->count; i++)
        if ((who->fit & (uint32_t)1 << i) != 0)
            used += (size_t)snprintf(names + used, sizeof names - used, "%s%s",
                                     used == 0 ? "" : " ", all->caller[i].name);
    log_warn("caller_unknown", log_str("why", caller_unknown_name(who->why)),
             log_str("fit", used == 0 ? NULL : names), log_str("request_id", r->request_id));
}

/* For the log and the status page: what was refused, or would have been. */
static void note_refusal(struct relay *r, const struct rules_decision *v,
                         const struct operation *o)
{
    r->rule = rules_rule(v, &r->rule_len);
    rules_note_refusal(r->config->rules, v->who.caller,
                       &(struct rules_refusal){ .outcome = v->outcome,
                                                .class = o->class,
                                                .why = v->who.why,
                                                .by_deny = v->rights.rule == RIGHTS_DENIED,
                                                .operation = o->number });
    if (v->who.caller == NULL)
        log_unknown(r, &v->who);
}

/* Who calls, and whether that caller may do this. False: it was refused. */
static bool is_allowed(struct relay *r, const struct decision_head *h,
                       const struct operation *o)
{
    const struct rules *rules = r->config->rules;
    struct caller_proofs proofs = decision_proofs(h);
    const struct caller_facts *facts;
    char sentence[320];
    uint32_t candidates = r->sink->ops->callers(r->sink, rules, &facts);

    proofs.secrets = relay_secrets(r);
    const struct caller_recognised who =
        callers_recognise(&rules->callers, candidates, facts, &proofs);
    const struct rules_decision v = rules_decide(rules, &who, r->method, o);

    r->caller = who.caller;
    r->decision = v.outcome;
    if (v.outcome != DECISION_ALLOWED)
        note_refusal(r, &v, o);
    if (rules_observes(rules, who.caller))
        rules_note_seen(rules, who.caller, o);
    if (v.outcome != DECISION_DENIED)
        return true;
    rules_describe(sentence, sizeof sentence, &v, o);
    deny(r, who.caller == NULL ? FAIL_CALLER_UNKNOWN : FAIL_NOT_ALLOWED, sentence);
    return false;
}

/* Applies the rules: finds the operation and class, and whether it may be sent again after a
 * dead connection. False: the request was refused. */
static bool judge(struct relay *r, const struct decision_head *h)
{
    const struct rules *p = r->config->rules;
    const struct class_request q = decision_class_request(h, &r->route);
    struct operation o;

    rules_operation(p, &q, &o);
    r->has_class = true;
    r->class = o.class;
    r->operation = o.text;
    r->operation_len = o.text_len;
    r->operation_number = o.number;
    r->decision = p->frozen_classes != 0 ? DECISION_ALLOWED : DECISION_NONE;
    r->resendable = rules_may_resend(p, &q, &o);
    if (p->has_callers && !is_allowed(r, h, &o))
        return false;
    if (!relay_is_frozen(r))
        return true;
    relay_fail_frozen(r);
    return false;
}

/* --- limits -------------------------------------------------------------------------------
 *
 * In this order: the caller's requests in progress, all requests in progress, the caller's
 * rate. The rate comes last, so that a request that is refused for another reason does not
 * use it up. */

/* Whether limits apply: the request would pass if rights were enforced. */
static bool is_limited(const struct relay *r)
{
    return r->caller != NULL && r->decision == DECISION_ALLOWED;
}

static void give_places_back(struct relay *r)
{
    if (r->in_flight)
        limit_give(r->ctx->in_flight);
    if (r->caller_in_flight)
        limits_leave(r->caller);
    r->in_flight = r->caller_in_flight = false;
}

/* For the log and the status page. */
static void note_limit(struct relay *r, const struct limits_refusal *why,
                       enum rules_outcome outcome)
{
    char rule[64];

    if (why->window_s == 0)
        (void)snprintf(rule, sizeof rule, "max_in_flight %lld", (long long)why->quota);
    else
        (void)snprintf(rule, sizeof rule, "rate %s %lld/%llds", why->name,
                       (long long)why->quota, (long long)why->window_s);
    r->rule = arena_copy(&r->arena, rule, strlen(rule));
    r->rule_len = r->rule == NULL ? 0 : strlen(rule);
    r->decision = outcome;
    rules_note_refusal(r->config->rules, r->caller,
                       &(struct rules_refusal){ .outcome = outcome,
                                                .class = r->class,
                                                .operation = r->operation_number });
}

/* A limit is reached. True: the request goes on all the same, because its caller is only
 * observed. */
static bool pass_limit(struct relay *r, const struct limits_refusal *why)
{
    const char *caller = r->caller->name;
    struct failure f;

    if (rules_observes(r->config->rules, r->caller)) {
        note_limit(r, why, DECISION_WOULD_LIMIT);
        return true;
    }
    note_limit(r, why, DECISION_LIMITED);
    if (why->window_s == 0)
        f = failure_make(FAIL_RATE_LIMITED,
                         "%s has %lld requests under way, as many as max_in_flight of "
                         "[caller %s] allows. This one was not sent; send it again when one of "
                         "them is over.",
                         caller, (long long)why->quota, caller);
    else
        f = failure_make(FAIL_RATE_LIMITED,
                         "%s has used up its rate of %s requests, %lld in %lld s, in "
                         "[caller %s]. This one was not sent; the next is let through in "
                         "%lld s.",
                         caller, why->name, (long long)why->quota, (long long)why->window_s,
                         caller, (long long)why->again_s);
    f.retry_after_s = (int)why->again_s;
    relay_about(r, &f);
    f.about.limit = (struct failure_limit){ .name = why->name,
                                            .quota = why->quota,
                                            .window_s = why->window_s };
    give_places_back(r);
    relay_fail(r, &f);
    return false;
}

/* Takes a place among the caller's requests in progress. False: it was refused. */
static bool enter_caller(struct relay *r)
{
    struct limits_refusal why;

    if (!is_limited(r))
        return true;
    r->caller_in_flight = limits_enter(r->caller, &why);
    return r->caller_in_flight || pass_limit(r, &why);
}

/* The same for its rate: the last check. */
static bool charge_caller(struct relay *r)
{
    struct limits_refusal why;

    return !is_limited(r) || limits_charge(r->caller, r->class, &why) || pass_limit(r, &why);
}

static bool admit(struct relay *r)
{
    struct context *ctx = r->ctx;
    struct failure f;

    if (r->sink->refused)
        f = failure_make(FAIL_OVERLOAD, "listen.max_connections is reached.");
    else if (ctx->giving_up)
        f = failure_make(FAIL_DRAINING, "This proxy is being stopped; connect again.");
    else if (r->route.kind == ROUTE_FORWARD &&
             !limit_take(ctx->in_flight, r->config->upstream.max_in_flight))
        f = failure_make(FAIL_OVERLOAD, "upstream.max_in_flight requests are under way.");
    else {
        r->in_flight = r->route.kind == ROUTE_FORWARD;
        return true;
    }
    f.retry_after_s = 1;
    give_places_back(r);
    relay_fail(r, &f);
    return false;
}

/* For the ledger: by the table in the settings, or by the API's own if there is none. */
static bool moves_money(const struct relay *r, const struct decision_head *h)
{
    struct operation o;

    if (r->has_class)
        return r->class == CLASS_MONEY;
    const struct class_request q = decision_class_request(h, &r->route);

    classes_find(&r->config->ledger.classes, &q, &o);
    return o.class == CLASS_MONEY;
}

void admission_on_head(struct relay *r, const struct admission_request *request)
{
    const struct config *c = r->config;
    const struct request_check_result *v = &request->check;

    r->begun = true;
    r->method = arena_copy(&r->arena, request->method, strlen(request->method));
    if (r->method == NULL)
        r->method = "-";
    r->fields = request->fields;
    r->count = request->count;
    r->is_head = strcmp(r->method, "HEAD") == 0;
    r->safe = r->is_head || strcmp(r->method, "GET") == 0 || strcmp(r->method, "OPTIONS") == 0;
    r->resendable = r->safe;
    r->body_bytes = v->body_bytes;
    r->up.kept = true;
    r->up_ms = loop_now(&r->ctx->loop);
    buf_init(&r->up.bytes,
             (size_t)base_max(c->upstream.replay_limit_bytes, RELAY_WINDOW_BYTES) +
                 RELAY_WINDOW_BYTES);
    take_request_id(r);
    take_trace_id(r);
    r->sink->request_id = r->request_id;
    r->sink->trace_id = r->trace_id;
    const struct decision_head head = { .config = c,
                                        .method = r->method,
                                        .target = r->target,
                                        .fields = r->fields,
                                        .count = r->count,
                                        .check = *v };
    struct failure failure;

    r->route = decision_route(&head, &failure);
    if (failure.kind != FAIL_NONE) {
        relay_fail(r, &failure);
        return;
    }
    if (r->route.kind == ROUTE_FORWARD && strcmp(r->method, "OPTIONS") == 0)
        count_down(r);
    if (c->rules != NULL && r->route.kind == ROUTE_FORWARD && !judge(r, &head))
        return;
    if (!enter_caller(r) || !admit(r) || !charge_caller(r))
        return;
    if (r->route.kind == ROUTE_TOKEN_ENDPOINT)
        relay_answer_locally(r);
    else if (r->route.kind == ROUTE_OPTIONS)
        relay_answer_options(r);
    else if (r->ctx->ledger.ledger != NULL && !r->safe) {
        r->is_money = moves_money(r, &head);
        relay_begin_claim(r);
    } else
        relay_begin(r);
}

/* One request's place in the ledger, see claim.h. */
#include "proxy/claim.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "ledger/head.h"
#include "ledger/outcome.h"

/* Retry-After when the first request is still in progress. */
#define IN_FLIGHT_RETRY_AFTER_S 2
#define DOWN_RETRY_AFTER_S 5
/* Most bytes of an answer's fields that are kept. */
#define HEAD_BYTES_MAX (64 * 1024)

/* --- what callers are told ---------------------------------------------------------------- */

/* What a caller is told about a key that is known, by the state of its entry. Each text is
 * followed by the same sentence: that repeating the request does not execute anything. */
#define NOT_AGAIN "Repeating with this key will not execute it again: "
static const struct {
    enum failure_kind kind;
    int retry_after_s;
    const char *text;
} known[] = {
    [LEDGER_IN_FLIGHT] = { FAIL_KEY_IN_FLIGHT, IN_FLIGHT_RETRY_AFTER_S,
                           "A request with this key is under way. " NOT_AGAIN
                           "ask again in a moment for its answer." },
    [LEDGER_ANSWERED] = { FAIL_KEY_NOT_KEPT, 0,
                          "The request with this key was answered, and the answer is not "
                          "kept. " NOT_AGAIN "look up its result at the API." },
    [LEDGER_UNKNOWN] = { FAIL_KEY_UNKNOWN, 0,
                         "The request with this key was sent, and nobody knows what became of "
                         "it. " NOT_AGAIN "look for it at the API (every page of GET "
                         "/business/{id}/transactions?createdAfter=...), then have "
                         "the operator settle it with `oneshot-proxy ledger resolve`." },
    [LEDGER_RELEASED] = { FAIL_LEDGER, DOWN_RETRY_AFTER_S,
                          "The ledger gave an entry that is over." },
};
static_assert(ARRAY_LEN(known) == LEDGER_STATES, "one for each state");

/* --- what a request needs ----------------------------------------------------------------- */

static bool covers(int64_t which, const struct claim_request *q)
{
    return which == WHICH_UNSAFE || (which == WHICH_MONEY && q->is_money);
}

static bool may_have_body_key(const struct claim_request *q)
{
    return q->config->ledger.key_pointer != NULL && q->is_money && q->body_bytes != 0;
}

static struct failure malformed(const char *why)
{
    return failure_make(
        FAIL_KEY_MALFORMED,
        "The request was not sent, since its idempotency key cannot be used: %s.", why);
}

static struct failure required(const struct claim_request *q)
{
    const struct config *c = q->config;

    if (c->ledger.key_pointer != NULL && q->is_money)
        return failure_make(FAIL_KEY_REQUIRED,
                            "The request was not sent: ledger.require_key wants a key. Send an "
                            "Idempotency-Key, or a string that begins with \"%s\" at %s of the "
                            "body; the same one for each retry, a new one for each payment.",
                            c->ledger.body_key_prefix, c->ledger.key_pointer);
    return failure_make(
        FAIL_KEY_REQUIRED,
        "The request was not sent: ledger.require_key wants a key. Send an "
        "Idempotency-Key: the same one for each retry, a new one for each payment.");
}

struct failure claim_too_large(void)
{
    return failure_make(
        FAIL_BODY_TOO_LARGE,
        "The body is larger than ledger.max_request, which holds for requests that "
        "have an idempotency key or may have one in the body.");
}

static struct failure no_memory(void)
{
    return failure_make(FAIL_INTERNAL, "There is no memory left for the idempotency key.");
}

enum claim_kind claim_look(const struct claim_request *q, struct ledger_key *key,
                           struct failure *f)
{
    const struct config *c = q->config;
    enum ledger_key_result found = LEDGER_KEY_ABSENT;

    f->kind = FAIL_NONE;
    if (c->ledger.key_in_header)
        found = ledger_key_from_header(key, q->fields, q->count);
    if (found != LEDGER_KEY_FOUND)
        key->len = 0;
    bool keyed = found == LEDGER_KEY_FOUND || may_have_body_key(q);

    if (found == LEDGER_KEY_MALFORMED)
        *f = malformed(key->why);
    else if (!keyed && covers(c->ledger.require_key, q))
        *f = required(q);
    else if (keyed && q->body_bytes > c->ledger.max_request_bytes)
        *f = claim_too_large();
    return keyed ? CLAIM_KEYED : covers(c->ledger.journal, q) ? CLAIM_RECORD : CLAIM_NOTHING;
}

bool claim_wants_key(const struct claim_request *q)
{
    return covers(q->config->ledger.require_key, q);
}

struct claim *claim_begin(struct arena *arena, struct ledger_port *port,
                          const struct claim_request *q, struct failure *f)
{
    const struct config *c = q->config;
    struct ledger_key key;
    enum claim_kind kind = claim_look(q, &key, f);

    if (f->kind != FAIL_NONE || kind == CLAIM_NOTHING)
        return NULL;
    struct claim *claim = arena_alloc(arena, sizeof *claim);

    if (claim == NULL) {
        *f = no_memory();
        return NULL;
    }
    memset(claim, 0, sizeof *claim);
    claim->request = *q;
    claim->arena = arena;
    claim->port = port;
    claim->kind = kind;
    claim->stage = kind == CLAIM_KEYED ? CLAIM_COLLECTING : CLAIM_WAITING;
    claim->has_header_key = key.len > 0;
    if (claim->has_header_key)
        claim->key = key;
    buf_init(&claim->head, HEAD_BYTES_MAX);
    buf_init(&claim->body, (size_t)c->ledger.max_answer_bytes);
    return claim;
}

void claim_done(struct claim *c)
{
    if (c == NULL)
        return;
    ledger_ask_done(&c->ask);
    ledger_fingerprint_done(&c->digest);
    buf_done(&c->head);
    buf_done(&c->body);
}

/* --- the key, and the question ------------------------------------------------------------ */

static int begin_digest(const struct claim *c, struct ledger_fingerprint *digest)
{
    const struct claim_request *q = &c->request;

    return ledger_fingerprint_init(
        digest, &(struct ledger_fingerprint_head){ .method = q->method,
                                                   .origin = q->config->upstream.origin,
                                                   .prefix = q->prefix,
                                                   .path = q->path });
}

/* A record is useful without its fingerprint too, so a lack of memory does not refuse the
 * request. */
void claim_on_body(struct claim *c, const char *bytes, size_t n)
{
    if (c->kind != CLAIM_RECORD)
        return;
    if (!c->has_digest && begin_digest(c, &c->digest) != 0)
        log_warn("ledger_no_memory", log_str("request_id", c->request.request_id));
    c->has_digest = true;
    ledger_fingerprint_add(&c->digest, bytes, n);
}

static bool find_key(struct claim *c, const char *body, size_t len, struct failure *f)
{
    const struct config *config = c->request.config;
    const struct ledger_key_source at = { config->ledger.key_pointer,
                                          config->ledger.body_key_prefix };
    enum ledger_key_result in_body = LEDGER_KEY_ABSENT, found;
    struct ledger_key body_key;

    if (may_have_body_key(&c->request))
        in_body = ledger_key_from_body(&body_key, &at, body, len);
    found = ledger_key_join(&c->key, c->has_header_key ? LEDGER_KEY_FOUND : LEDGER_KEY_ABSENT,
                            in_body, &body_key);
    if (found == LEDGER_KEY_MALFORMED)
        *f = malformed(c->key.why);
    else if (found == LEDGER_KEY_ABSENT && covers(config->ledger.require_key, &c->request))
        *f = required(&c->request);
    else if (found == LEDGER_KEY_ABSENT)
        c->kind = covers(config->ledger.journal, &c->request) ? CLAIM_RECORD : CLAIM_NOTHING;
    return f->kind == FAIL_NONE;
}

bool claim_on_body_end(struct claim *c, const char *body, size_t len, struct failure *f)
{
    struct ledger_fingerprint digest = { NULL };

    f->kind = FAIL_NONE;
    if (!find_key(c, body, len, f)) {
        c->stage = CLAIM_CLOSED;
        return false;
    }
    c->stage = c->kind == CLAIM_NOTHING ? CLAIM_CLOSED : CLAIM_WAITING;
    claim_on_body(c, body, len);
    if (c->kind != CLAIM_KEYED)
        return true;
    if (begin_digest(c, &digest) == 0)
        ledger_fingerprint_add(&digest, body, len);
    if (ledger_fingerprint_end(&digest, c->fingerprint))
        return true;
    *f = no_memory();
    return false;
}

/* The upstream path without query; "" if memory runs out. */
static const char *path_of(const struct claim *c)
{
    const struct claim_request *q = &c->request;
    size_t prefix_len = strlen(q->prefix);
    char *path = arena_alloc(c->arena, prefix_len + q->path_len + 1);

    if (path == NULL)
        return "";
    memcpy(path, q->prefix, prefix_len);
    memcpy(path + prefix_len, q->path, q->path_len);
    path[prefix_len + q->path_len] = '\0';
    return path;
}

void claim_ask(struct claim *c, enum ledger_want want, const struct ledger_bytes *body,
               void (*on_reply)(struct ledger_ask *a))
{
    const struct claim_request *q = &c->request;
    bool keyed = c->kind == CLAIM_KEYED;

    c->stage = CLAIM_ASKING;
    ledger_ask(&c->ask, c->port,
               &(struct ledger_question){
                   .want = want,
                   .scope = q->scope,
                   .key = keyed ? c->key.text : NULL,
                   .fingerprint = keyed ? c->fingerprint : NULL,
                   .method = q->method,
                   .path = path_of(c),
                   .request_id = q->request_id == NULL ? "" : q->request_id,
                   .request_body = body == NULL || !q->config->ledger.store_requests
                                       ? (struct ledger_bytes){ .data = NULL }
                                       : *body,
                   .lease_ms = config_lease_ms(q->config) },
               on_reply);
}

/* --- the reply ---------------------------------------------------------------------------- */

/* What the caller is told about an existing entry; FAIL_NONE: it gets the stored answer. */
static void say_found(struct claim *c, struct failure *f)
{
    const struct ledger_entry *e = &c->ask.found;
    bool kept = e->state == LEDGER_ANSWERED && e->status > 0 && e->answer_body.data != NULL;

    if (!c->ask.same) {
        *f = failure_make(
            FAIL_KEY_REUSED,
            "This key was used for another request: method, target or body differ. "
            "Nothing was sent. " NOT_AGAIN "make a new key for each new request.");
        log_warn("ledger_reused", log_str("ledger_id", e->id),
                 log_str("request_id", c->request.request_id));
    } else if (kept) {
        c->result = CLAIM_RESULT_REPLAYED;
        return;
    } else {
        *f = failure_make(known[e->state].kind, "%s", known[e->state].text);
        f->retry_after_s = known[e->state].retry_after_s;
    }
    (void)snprintf(f->entry.id, sizeof f->entry.id, "%s", e->id);
    f->entry.state = ledger_state_name(e->state);
    f->entry.first_seen_s = e->claimed_ms / 1000;
    f->entry.status = e->status;
}

enum ledger_result claim_on_reply(struct claim *c, struct failure *f)
{
    const struct ledger_ask *a = &c->ask;

    f->kind = FAIL_NONE;
    switch (a->result) {
    case LEDGER_CLAIMED:
        c->stage = CLAIM_OPEN;
        c->result = CLAIM_RESULT_CLAIMED;
        memcpy(c->id, a->id, sizeof c->id);
        c->send_until_ms = a->send_until_ms;
        c->end_by_ms = a->end_by_ms;
        break;
    case LEDGER_ABSENT:
        c->stage = CLAIM_WAITING;
        break;
    case LEDGER_FOUND:
        c->stage = CLAIM_CLOSED;
        memcpy(c->id, a->found.id, sizeof c->id);
        say_found(c, f);
        break;
    case LEDGER_DOWN:
        c->stage = CLAIM_CLOSED;
        *f = failure_make(FAIL_LEDGER,
                          "The request was not sent, since it could not be recorded: %s.",
                          a->why != NULL ? a->why : "the ledger is down");
        f->retry_after_s = DOWN_RETRY_AFTER_S;
        break;
    }
    return a->result;
}

int claim_replay(const struct claim *c, struct response_head *head, struct buf *body)
{
    const struct ledger_entry *e = &c->ask.found;
    const char *text = e->answer_head == NULL ? "" : e->answer_head;
    size_t count = 0, len = strlen(text);
    const struct header_field *fields = ledger_head_read(c->arena, text, len, &count);

    if (fields == NULL)
        return -ENOMEM;
    *head = (struct response_head){ .status = e->status,
                                    .fields = fields,
                                    .count = count,
                                    .bytes = len,
                                    .body_bytes = (int64_t)e->answer_body.len,
                                    .bodiless = e->status == 204 || e->status == 304,
                                    .waits_for_body = true };
    return buf_add(body, e->answer_body.data, e->answer_body.len);
}

/* --- while it is sent --------------------------------------------------------------------- */

bool claim_may_send(const struct claim *c)
{
    return clock_ms() <= c->send_until_ms;
}

void claim_on_sending(struct claim *c)
{
    c->status = 0;
    c->seen_bytes = 0;
    c->keeps = c->kind == CLAIM_KEYED;
    buf_clear(&c->head);
    buf_clear(&c->body);
}

void claim_keep_head(struct claim *c, const struct header_field *fields, size_t count)
{
    if (c->kind == CLAIM_KEYED && ledger_head_write(&c->head, fields, count) != 0)
        c->keeps = false; /* without its head, it would be another answer */
}

void claim_keep_body(struct claim *c, const struct buf *window, int64_t received)
{
    size_t here = buf_unread(window), n = (size_t)(received - c->seen_bytes);

    c->seen_bytes = received;
    if (!c->keeps || n == 0)
        return;
    if (n <= here && buf_add(&c->body, buf_front(window) + here - n, n) == 0)
        return;
    c->keeps = false;
    buf_done(&c->body);
}

static struct ledger_facts facts_of(const struct claim *c)
{
    const struct config *config = c->request.config;

    return (struct ledger_facts){ .status = c->status,
                                  .release_statuses = config->ledger.release_statuses.item,
                                  .release_count = config->ledger.release_statuses.count,
                                  .token_statuses = config->upstream.token_refused.item,
                                  .token_count = config->upstream.token_refused.count };
}

bool claim_status_releases(const struct claim *c)
{
    const struct ledger_facts facts = facts_of(c);

    return ledger_status_releases(&facts, c->status);
}

void claim_tell(struct claim *c, const struct claim_end *e)
{
    if (c != NULL && c->stage == CLAIM_ASKING)
        ledger_ask_done(&c->ask);
    if (c == NULL || c->stage != CLAIM_OPEN) {
        if (c != NULL && c->stage != CLAIM_RELEASING)
            c->stage = CLAIM_CLOSED;
        return;
    }
    struct ledger_facts facts = facts_of(c);

    claim_on_body(c, "", 0);
    facts.failure = e->failure;
    facts.sent = e->sent;
    const struct ledger_ending ending = ledger_ending_of(&facts);
    bool has_answer =
        c->kind == CLAIM_KEYED && c->status > 0 && ending.state != LEDGER_RELEASED;
    bool has_print = c->kind == CLAIM_RECORD && e->body_ended &&
                     ledger_fingerprint_end(&c->digest, c->fingerprint);
    const struct ledger_outcome outcome = {
        .id = c->id,
        .state = ending.state,
        .cause = ending.cause,
        .status = c->status,
        .head = has_answer ? buf_text(&c->head) : NULL,
        .body = has_answer && e->whole && c->keeps
                    ? (struct ledger_bytes){ (char *)(uintptr_t)buf_front(&c->body),
                                             buf_unread(&c->body) }
                    : (struct ledger_bytes){ .data = NULL },
        .fingerprint = has_print ? c->fingerprint : NULL,
    };

    c->outcome = ledger_state_name(ending.state);
    if (ending.state == LEDGER_RELEASED && e->on_released != NULL) {
        c->stage = CLAIM_RELEASING;
        ledger_settle(&c->ask, c->port, &outcome, e->on_released);
        return;
    }
    c->stage = CLAIM_CLOSED;
    ledger_outcome(c->port, &outcome);
}

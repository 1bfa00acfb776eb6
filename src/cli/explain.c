/* Explains what would be decided about a request:
 *
 *     head ---- request_check, decision_route ----> refused, answered here, or forwarded
 *     forwarded ---- rules_operation ----> class
 *     who ---- callers_recognise, rules_decide ----> rights
 *     freeze_file_look ----> frozen
 *     claim_look ----> what the ledger does with it
 *
 * Every arrow is a function that the running proxy calls, too. What depends on the moment (the
 * token, limits, the API) is left out. */
#include "cli/explain.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/ascii.h"
#include "config/files.h"
#include "config/value.h"
#include "net/tls.h"
#include "proxy/claim.h"
#include "proxy/decision.h"
#include "rights/freeze_file.h"

enum { EXIT_SETTINGS = 1, EXIT_USAGE = 2 };

#define EXPECT_FILE_MAX (1 << 20)
#define CERTIFICATE_FILE_MAX (1 << 20)
#define TEXT_SIZE 2048

struct explain {
    const struct config *config;
    struct config_report *report;
    const struct explain_options *options;
    struct buf *out, *error;
};

/* The caller. */
struct who {
    struct caller_recognised recognised;
    bool named; /* given by --caller */
    /* the callers that it would be if it also showed their secret, a bit for each */
    uint32_t with_secret;
};

/* The result for one request. */
struct outcome {
    struct failure failure; /* of the head; FAIL_NONE: it is good */
    struct route route;
    struct operation operation;
    struct rules_decision decision;
    bool is_local;         /* it is answered by the proxy itself */
    bool has_frozen_class; /* freeze.file stops requests of its class */
    bool is_frozen;
    char reason[FREEZE_REASON_MAX + 1];
    bool has_ledger; /* the ledger looks at it: then what follows is set */
    enum claim_kind claim;
    bool has_header_key, wants_key;
    struct failure claim_failure; /* FAIL_NONE: the ledger does not refuse it by its head */
};

static int wrong_usage(struct explain *e, const char *what, const char *which)
{
    (void)!buf_addf(e->error, "%s%s", what, which);
    return EXIT_USAGE;
}

/* --- lines and columns -------------------------------------------------------------------- */

#define MIDDLE 34

static void row(struct explain *e, const char *name, const char *middle, const char *right)
{
    (void)!buf_addf(e->out, "%-10s %-*s%s%s\n", name, right[0] == '\0' ? 0 : MIDDLE, middle,
                    right[0] == '\0' ? "" : " ", right);
}

/* "FILE:LINE", "FILE", or the variable that set a key. */
static void put_place(struct explain *e, const struct config_key *key, char *out, size_t size)
{
    const struct config_source *s = config_source(e->report, key);
    const char *file = e->report->file != NULL ? e->report->file : "the settings";

    if (s->variable != NULL)
        (void)snprintf(out, size, "%s", s->variable);
    else if (s->line > 0)
        (void)snprintf(out, size, "%s:%d", file, s->line);
    else
        (void)snprintf(out, size, "%s", file);
}

static const struct config_key *caller_key(struct explain *e, const char *caller,
                                           const char *name)
{
    char section[CONFIG_TITLE_MAX];

    (void)snprintf(section, sizeof section, "caller %s", caller);
    return config_find_named(e->config, section, name);
}

/* Whether the key is set. Writes "allow (FILE:LINE)" if it is, otherwise "allow". */
static bool put_key(struct explain *e, const char *caller, const char *name, char *out,
                    size_t size)
{
    const struct config_key *key = caller_key(e, caller, name);
    char place[TEXT_SIZE / 4];

    if (key == NULL || !config_given(e->report, key)) {
        (void)snprintf(out, size, "%s", name);
        return false;
    }
    put_place(e, key, place, sizeof place);
    (void)snprintf(out, size, "%s (%s)", name, place);
    return true;
}

/* --- the caller --------------------------------------------------------------------------- */

static const struct caller *find_caller(const struct rules *rules, const char *name, size_t len)
{
    for (size_t i = 0; i < rules->callers.count; i++) {
        const struct caller *c = &rules->callers.caller[i];

        if (strlen(c->name) == len && memcmp(c->name, name, len) == 0)
            return c;
    }
    return NULL;
}

/* The caller with that name. */
static int named(struct explain *e, const char *name, size_t len, struct who *who)
{
    const struct rules *rules = e->config->rules;
    const struct caller *c = rules == NULL ? NULL : find_caller(rules, name, len);

    *who = (struct who){ .recognised = { .caller = c, .why = CALLER_KNOWN }, .named = true };
    if (c != NULL)
        return 0;
    who->recognised.why = CALLER_NO_PROOF;
    if (len == 4 && memcmp(name, "none", 4) == 0)
        return 0;
    (void)!buf_addf(e->error, "there is no [caller %.*s] in the settings", (int)len, name);
    return EXIT_USAGE;
}

/* The bit of the listener with that address. False: there is none. */
static bool find_listener(const struct config *c, const char *address, uint64_t *bit)
{
    *bit = 0;
    for (size_t i = 0; i < c->listen.address.count; i++)
        if (strcmp(c->listen.address.item[i], address) == 0)
            return true;
    for (size_t i = 0; i < c->caller_count; i++)
        for (size_t j = 0; j < c->caller[i].address.count; j++)
            if (strcmp(c->caller[i].address.item[j], address) == 0) {
                *bit = c->rules == NULL ? 0 : c->rules->callers.caller[i].listeners;
                return true;
            }
    return false;
}

static int read_certificate(struct explain *e, const char *path, struct tls_names *names)
{
    char why[256];
    size_t len;
    char *text = config_file_read(path, CERTIFICATE_FILE_MAX, &len, why, sizeof why);

    if (text == NULL) {
        (void)!buf_addf(e->error, "%s: %s", path, why);
        return EXIT_USAGE;
    }
    bool is_one = tls_certificate_names(text, len, names);

    config_file_free(text, len);
    return is_one ? 0 : wrong_usage(e, path, " holds no certificate in PEM");
}

/* The caller by the facts about its connection. */
static int recognised(struct explain *e, struct who *who)
{
    const struct explain_options *o = e->options;
    const struct rules *rules = e->config->rules;
    struct caller_facts f = { .uid = o->uid, .gid = o->gid };
    struct tls_names names = { .uris = 0 };
    const struct caller_proofs none = { .header = NULL };

    *who = (struct who){ .recognised = { .why = CALLER_NO_PROOF } };
    if (o->address != NULL && !find_listener(e->config, o->address, &f.listener))
        return wrong_usage(e, "the settings have no such address: ", o->address);
    int code = o->certificate == NULL ? 0 : read_certificate(e, o->certificate, &names);

    if (code != 0)
        return code;
    f.uri = (struct caller_names){ (const char *const *)names.uri, names.uris };
    f.dns = (struct caller_names){ (const char *const *)names.dns, names.dnss };
    f.subject = names.subject;
    if (rules != NULL && rules->has_callers) {
        uint32_t candidates = callers_of_connection(&rules->callers, &f);

        who->with_secret = candidates & rules->callers.with_secret;
        who->recognised = callers_recognise(&rules->callers, candidates, &f, &none);
    }
    tls_names_done(&names);
    return 0;
}

/* --- the request -------------------------------------------------------------------------- */

struct fields {
    struct header_field field[EXPLAIN_FIELDS_MAX + 2];
    size_t count;
    size_t bytes;
    bool has_length;
    char host[300];
};

static bool has_field(const struct fields *f, const char *lower_name)
{
    for (size_t i = 0; i < f->count; i++)
        if (header_is(&f->field[i], lower_name))
            return true;
    return false;
}

static void add_field(struct fields *f, const char *name, size_t name_len, const char *value)
{
    size_t value_len = strlen(value);

    ascii_trim(&value, &value_len);
    f->field[f->count++] = (struct header_field){
        .name = name, .name_len = name_len, .value = value, .value_len = value_len
    };
    f->bytes += name_len + value_len + 4;
}

/* A Host that is allowed, for a request without one. */
static void put_host(const struct config *c, char *out, size_t size)
{
    const char *entry =
        c->listen.allowed_hosts.count > 0 ? c->listen.allowed_hosts.item[0] : "localhost";
    size_t len = strlen(entry);

    if (len > 2 && strcmp(entry + len - 2, ":*") == 0)
        len -= 2;
    (void)snprintf(out, size, "%.*s", (int)len, strcmp(entry, "*") == 0 ? "localhost" : entry);
}

/* The fields given by -H, and those that every request has at this point. */
static int take_fields(struct explain *e, struct fields *f)
{
    const struct config *c = e->config;

    f->count = f->bytes = 0;
    for (size_t i = 0; i < e->options->field_count; i++) {
        const char *text = e->options->field[i], *colon = strchr(text, ':');

        if (colon == NULL || colon == text)
            return wrong_usage(e, "what is behind -H is not \"Name: value\"", "");
        add_field(f, text, (size_t)(colon - text), colon + 1);
    }
    f->has_length = has_field(f, "content-length") || has_field(f, "transfer-encoding");
    if (!has_field(f, "host")) {
        put_host(c, f->host, sizeof f->host);
        add_field(f, "Host", 4, f->host);
    }
    const char *name = c->listen.require_header_name;

    for (size_t i = 0; name != NULL && i < f->count; i++)
        if (ascii_equal_str(f->field[i].name, f->field[i].name_len, name))
            name = NULL;
    if (name != NULL)
        add_field(f, name, strlen(name), c->listen.require_header_value ?: "");
    return 0;
}

static bool is_any_of(const char *method, const char *const *methods)
{
    while (*methods != NULL && strcmp(method, *methods) != 0)
        methods++;
    return *methods != NULL;
}

static const char *const safe_methods[] = { "GET", "HEAD", "OPTIONS", NULL };

/* What the ledger does with it. */
static void decide_claim(const struct decision_head *h, const struct class_request *q,
                         struct outcome *r)
{
    const struct config *c = h->config;
    struct operation o = r->operation;
    struct ledger_key key;

    r->has_ledger = c->ledger.store != NULL && !is_any_of(h->method, safe_methods);
    if (!r->has_ledger)
        return;
    if (c->rules == NULL)
        classes_find(&c->ledger.classes, q, &o);
    const struct claim_request request = { .config = c,
                                           .fields = h->fields,
                                           .count = h->count,
                                           .method = h->method,
                                           .body_bytes = h->check.body_bytes,
                                           .is_money = o.class == CLASS_MONEY };

    r->claim = claim_look(&request, &key, &r->claim_failure);
    r->has_header_key = key.len > 0;
    r->wants_key = claim_wants_key(&request);
}

/* What the settings decide about one request. */
static struct outcome decide(struct explain *e, const struct fields *f, const struct who *who,
                             const char *method, const char *target)
{
    const struct config *c = e->config;
    struct outcome r = { .failure.kind = FAIL_NONE, .claim_failure.kind = FAIL_NONE };
    struct decision_head head = {
        .config = c, .method = method, .target = target, .fields = f->field, .count = f->count
    };

    head.check = request_check(&(struct request_check_head){
        .method = method,
        .version = "HTTP/1.1",
        .target = target,
        .fields = f->field,
        .count = f->count,
        .head_bytes = strlen(method) + strlen(target) + f->bytes + 14,
        .max_head_bytes = (size_t)c->listen.max_header_size_bytes,
        .max_target_bytes = (size_t)c->listen.max_target_size_bytes,
        .max_fields = (size_t)c->listen.max_headers,
        .max_body_bytes = c->listen.max_body_size_bytes });
    if (head.check.kind == FAIL_NONE && !f->has_length && !is_any_of(method, safe_methods))
        head.check.body_bytes = -1; /* unknown length: it may contain anything */
    r.route = decision_route(&head, &r.failure);
    r.is_local = r.failure.kind == FAIL_NONE && r.route.kind != ROUTE_FORWARD;
    r.decision.outcome = DECISION_ALLOWED;
    if (r.failure.kind != FAIL_NONE || r.is_local)
        return r;
    const struct class_request q = decision_class_request(&head, &r.route);

    if (c->rules != NULL)
        rules_operation(c->rules, &q, &r.operation);
    decide_claim(&head, &q, &r);
    if (c->rules == NULL)
        return r;
    if (c->rules->has_callers)
        r.decision = rules_decide(c->rules, &who->recognised, method, &r.operation);
    r.has_frozen_class = (c->rules->frozen_classes & 1U << r.operation.class) != 0;
    if (c->freeze.file != NULL)
        r.is_frozen = freeze_file_look(c->freeze.file, r.reason) != FREEZE_OFF;
    return r;
}

static bool is_sent(const struct outcome *r)
{
    return r->failure.kind == FAIL_NONE && r->decision.outcome != DECISION_DENIED &&
           !(r->is_frozen && r->has_frozen_class) && r->claim_failure.kind == FAIL_NONE;
}

/* Whether it is sent only if its body has a key, which the head does not tell. */
static bool depends_on_body(const struct outcome *r)
{
    return r->has_ledger && r->claim == CLAIM_KEYED && !r->has_header_key && r->wants_key;
}

/* --- the explanation ---------------------------------------------------------------------- */

static void explain_operation(struct explain *e, const struct outcome *r)
{
    char middle[TEXT_SIZE], right[TEXT_SIZE];

    if (e->config->rules == NULL)
        (void)snprintf(middle, sizeof middle, "any");
    else
        (void)snprintf(middle, sizeof middle, "%.*s", (int)r->operation.text_len,
                       r->operation.text);
    (void)snprintf(right, sizeof right, "goes up as %s%s", r->route.prefix, r->route.path);
    row(e, "operation", middle, right);
}

static void explain_class(struct explain *e, const struct outcome *r)
{
    const struct classes *c = e->config->rules == NULL ? NULL : &e->config->rules->classes;
    const char *from = "by its method";

    if (c == NULL) {
        row(e, "class", "none", "classes.table is off");
        return;
    }
    if (r->operation.is_builtin)
        from = "1shot table";
    else if (r->operation.number != CLASSES_NO_PATTERN)
        from = "a pattern of [classes]";
    else if (r->operation.class == CLASS_UNKNOWN)
        from = !r->operation.shape.plain ? "its path is not plain, or it says it means another"
                                         : "in no table";
    row(e, "class", class_name(r->operation.class), from);
}

/* Writes "uid 1001", "certificate uri:a or dns:b" for each key that identifies a caller. */
static void put_wanted(struct explain *e, const struct caller *c, char *out, size_t size)
{
    static const char *const keys[] = { "address", "uid", "gid", "certificate", "secret_file" };
    size_t used = 0;

    out[0] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(keys) && used < size; i++) {
        const struct config_key *key = caller_key(e, c->name, keys[i]);
        char place[TEXT_SIZE / 2];
        struct buf value;

        if (key == NULL || !config_given(e->report, key))
            continue;
        buf_init(&value, 1 << 16);
        put_place(e, key, place, sizeof place);
        if (config_value_print(e->config, key, &value) == 0)
            used += (size_t)snprintf(out + used, size - used, "; %s wants %s %s", place,
                                     keys[i], buf_text(&value));
        buf_done(&value);
    }
}

/* Why nobody was recognised, with the names of the callers that match, or would with their
 * secret. */
static void put_fit(const struct callers *all, const struct who *who, char *out, size_t size)
{
    const struct caller_recognised *r = &who->recognised;
    size_t used = (size_t)snprintf(out, size, "%s", caller_unknown_name(r->why));

    for (size_t i = 0; i < all->count && used < size; i++) {
        uint32_t bit = (uint32_t)1 << i;

        if (((r->fit | who->with_secret) & bit) != 0)
            used += (size_t)snprintf(out + used, size - used, "%s%s%s",
                                     used == strlen(caller_unknown_name(r->why)) ? ": " : ", ",
                                     all->caller[i].name,
                                     (r->fit & bit) == 0 ? " with its secret" : "");
    }
}

static void explain_caller(struct explain *e, const struct who *who)
{
    const struct rules *rules = e->config->rules;
    const struct caller *c = who->recognised.caller;
    char right[TEXT_SIZE], wanted[TEXT_SIZE / 2];

    if (rules == NULL || !rules->has_callers) {
        row(e, "caller", "anybody", "there is no [caller ...] section");
        return;
    }
    if (c == NULL) {
        put_fit(&rules->callers, who, right, sizeof right);
        row(e, "caller", "nobody", right);
        return;
    }
    put_wanted(e, c, wanted, sizeof wanted);
    (void)snprintf(right, sizeof right, "%s%s",
                   who->named    ? "named here"
                   : c->is_other ? "nobody else's proof fits"
                                 : "recognised",
                   wanted);
    row(e, "caller", c->name, right);
}

static void explain_rights(struct explain *e, const struct outcome *r)
{
    const struct rights_decision *d = &r->decision.rights;
    const struct caller *c = r->decision.who.caller;
    char right[TEXT_SIZE], allow[TEXT_SIZE / 3], deny[TEXT_SIZE / 3];

    if (e->config->rules == NULL || !e->config->rules->has_callers) {
        row(e, "rights", "not asked for", "");
        return;
    }
    if (c == NULL) {
        row(e, "rights", "refused", "an unrecognised caller has no rights");
        return;
    }
    bool has_deny = put_key(e, c->name, "deny", deny, sizeof deny);

    (void)put_key(e, c->name, "allow", allow, sizeof allow);
    if (d->rule == RIGHTS_NOT_ALLOWED)
        (void)snprintf(right, sizeof right, "no entry of %s matches; %s%s", allow,
                       has_deny ? "nor one of " : "no ", deny);
    else
        (void)snprintf(right, sizeof right, "the entry %.*s of %s matches", (int)d->entry_len,
                       d->entry, d->rule == RIGHTS_DENIED ? deny : allow);
    row(e, "rights", d->rule == RIGHTS_ALLOWED ? "allowed" : "refused", right);
}

static void explain_freeze(struct explain *e, const struct outcome *r)
{
    char right[TEXT_SIZE];

    if (e->config->freeze.file == NULL) {
        row(e, "freeze", "no freeze.file", "");
        return;
    }
    (void)snprintf(right, sizeof right, "%s%s%s%s", e->config->freeze.file,
                   r->is_frozen ? ": " : "", r->is_frozen ? r->reason : "",
                   r->is_frozen && !r->has_frozen_class ? " (not this class)" : "");
    row(e, "freeze", r->is_frozen ? "frozen" : "not frozen", right);
}

/* Where a body holds its key. */
static void put_body_key(struct explain *e, char *out, size_t size)
{
    const struct config *c = e->config;

    (void)snprintf(out, size, "a string at %s of the body that begins with \"%s\"",
                   c->ledger.key_pointer, c->ledger.body_key_prefix);
}

static void explain_ledger(struct explain *e, const struct outcome *r)
{
    char where[TEXT_SIZE / 2], place[TEXT_SIZE / 2], right[TEXT_SIZE];

    if (!r->has_ledger)
        return;
    if (r->claim_failure.kind == FAIL_KEY_REQUIRED) {
        put_place(e, config_find("ledger", "require_key"), place, sizeof place);
        (void)snprintf(right, sizeof right, "it has no key, and %s wants one", place);
        row(e, "ledger", "refused", right);
    } else if (r->claim_failure.kind != FAIL_NONE) {
        row(e, "ledger", "refused", r->claim_failure.detail);
    } else if (r->claim == CLAIM_KEYED && r->has_header_key) {
        row(e, "ledger", "by its key", "in Idempotency-Key");
    } else if (r->claim == CLAIM_KEYED) {
        put_body_key(e, where, sizeof where);
        row(e, "ledger", "by its key, if it has one", where);
    } else if (r->claim == CLAIM_RECORD) {
        row(e, "ledger", "recorded, without a key", "");
    } else {
        row(e, "ledger", "no key, and none is needed", "");
    }
}

/* What to change so that the request is sent. */
static void put_remedy(struct explain *e, const struct outcome *r, char *out, size_t size)
{
    const struct caller *c = r->decision.who.caller;
    const struct operation *o = &r->operation;
    char place[TEXT_SIZE / 2];

    if (c == NULL) {
        rules_describe(out, size, &r->decision, o);
        return;
    }
    bool denied = r->decision.rights.rule == RIGHTS_DENIED;

    put_place(e, caller_key(e, c->name, denied ? "deny" : "allow"), place, sizeof place);
    if (denied)
        (void)snprintf(out, size, "to permit it take from %s: %.*s", place,
                       (int)r->decision.rights.entry_len, r->decision.rights.entry);
    else if (o->class == CLASS_UNKNOWN)
        (void)snprintf(out, size,
                       "no operation that is known; if the API has it, add its pattern to "
                       "[classes] and to allow (%s)",
                       place);
    else
        (void)snprintf(out, size, "add to %s: %.*s", place,
                       o->number == CLASSES_NO_PATTERN ? (int)strlen(class_name(o->class))
                                                       : (int)o->text_len,
                       o->number == CLASSES_NO_PATTERN ? class_name(o->class) : o->text);
}

static void explain_decision(struct explain *e, const struct outcome *r)
{
    char middle[TEXT_SIZE / 4], right[TEXT_SIZE] = "";
    enum failure_kind kind = r->failure.kind;

    if (kind != FAIL_NONE)
        (void)snprintf(right, sizeof right, "%s", r->failure.detail);
    else if (r->decision.outcome != DECISION_ALLOWED)
        put_remedy(e, r, right, sizeof right);
    if (kind == FAIL_NONE && r->decision.outcome == DECISION_DENIED)
        kind = r->decision.who.caller == NULL ? FAIL_CALLER_UNKNOWN : FAIL_NOT_ALLOWED;
    if (kind == FAIL_NONE && r->is_frozen && r->has_frozen_class) {
        kind = FAIL_FROZEN;
        (void)snprintf(right, sizeof right, "%s", r->reason);
    }
    if (kind == FAIL_NONE && r->claim_failure.kind != FAIL_NONE) {
        kind = r->claim_failure.kind;
        (void)snprintf(right, sizeof right, "%s", r->claim_failure.detail);
    }
    if (kind == FAIL_NONE && depends_on_body(r) && right[0] == '\0')
        (void)snprintf(right, sizeof right, "if its body has a key; otherwise %d %s",
                       failure_info(FAIL_KEY_REQUIRED)->status,
                       failure_info(FAIL_KEY_REQUIRED)->slug);
    if (kind != FAIL_NONE)
        (void)snprintf(middle, sizeof middle, "%d %s", failure_info(kind)->status,
                       failure_info(kind)->slug);
    else
        (void)snprintf(middle, sizeof middle, "sent%s",
                       r->decision.outcome == DECISION_WOULD_DENY ? ", would-deny" : "");
    row(e, "decision", middle, right);
}

static int explain_one(struct explain *e, const struct fields *f, const struct who *who)
{
    const struct explain_options *o = e->options;
    const struct outcome r = decide(e, f, who, o->method, o->target);

    if (r.is_local) {
        row(e, "decision", "answered here",
            r.route.kind == ROUTE_TOKEN_ENDPOINT ? "token.local_endpoint" : "OPTIONS");
        return EXPLAIN_SENT;
    }
    if (r.failure.kind == FAIL_NONE) {
        explain_operation(e, &r);
        explain_class(e, &r);
        explain_caller(e, who);
        explain_rights(e, &r);
        explain_freeze(e, &r);
        explain_ledger(e, &r);
    }
    explain_decision(e, &r);
    return is_sent(&r) ? EXPLAIN_SENT : EXPLAIN_REFUSED;
}

/* --- all operations ----------------------------------------------------------------------- */

/* The first pattern of the list that matches a request of the operation (with `all`: every
 * such request); NULL: none. */
static const struct pattern *find_pattern(const struct rights_list *l, const struct pattern *o,
                                          bool all)
{
    for (size_t i = 0; i < l->count; i++)
        if (all ? pattern_covers(&l->pattern[i], o) : pattern_overlaps(&l->pattern[i], o))
            return &l->pattern[i];
    return NULL;
}

/* How much of an operation is in a list: everything, some requests (*which is the entry), or
 * nothing. */
enum part { NOTHING, SOME, ALL };

static enum part part_of(const struct rights_list *l, const struct class_pattern *o,
                         const struct pattern **which)
{
    *which = NULL;
    if ((l->classes & 1U << o->class) != 0 ||
        (*which = find_pattern(l, &o->pattern, true)) != NULL)
        return ALL;
    *which = find_pattern(l, &o->pattern, false);
    return *which != NULL ? SOME : NOTHING;
}

static void list_operation(struct explain *e, const struct caller *c,
                           const struct class_pattern *o)
{
    const struct pattern *allowed, *denied;
    enum part may = part_of(&c->rights.allow, o, &allowed),
              may_not = part_of(&c->rights.deny, o, &denied);
    const char *answer = may == NOTHING || may_not == ALL ? "refused"
                         : may == SOME                    ? "some"
                                                          : "sent";
    const struct pattern *why = may_not != NOTHING ? denied : may == SOME ? allowed : NULL;
    bool refused = strcmp(answer, "refused") == 0;

    (void)!buf_addf(e->out, "%-9s %-50.*s %s", class_name(o->class), (int)o->pattern.text_len,
                    o->pattern.text, answer);
    if (why != NULL && (may_not != NOTHING || !refused) && may != NOTHING)
        (void)!buf_addf(e->out, "%s %.*s",
                        may_not == SOME  ? ", but for"
                        : may_not == ALL ? ": denied by"
                                         : ": only",
                        (int)why->text_len, why->text);
    (void)!buf_add_str(e->out, "\n");
}

/* Lists each known operation with the decision for that caller. */
static int list_all(struct explain *e, const struct who *who)
{
    const struct rules *rules = e->config->rules;
    const struct caller *c = who->recognised.caller;
    const struct class_pattern *o;

    if (rules == NULL || !rules->has_callers || c == NULL)
        return wrong_usage(
            e, "without METHOD and TARGET a caller of the settings is needed",
            rules != NULL && rules->has_callers ? "" : "; there is no [caller ...] section");
    size_t first = rules->classes.table == CLASS_TABLE_1SHOT ? 0 : classes_builtin_count();

    for (size_t i = first; (o = classes_pattern(&rules->classes, i)) != NULL; i++)
        list_operation(e, c, o);
    for (int class = CLASS_READ; first > 0 && class < CLASS_UNKNOWN; class ++)
        (void)!buf_addf(e->out, "%-9s %-50s %s\n", class_name((enum request_class) class),
                        "by its method",
                        (c->rights.allow.classes & 1U << class) != 0 ? "sent" : "refused");
    (void)!buf_addf(e->out, "%-9s %-50s %s\n", class_name(CLASS_UNKNOWN), "all else",
                    (c->rights.allow.classes & 1U << CLASS_UNKNOWN) != 0 ? "sent" : "refused");
    return EXPLAIN_SENT;
}

/* --- expectations ------------------------------------------------------------------------- */

/* Splits a line at blanks, in place. Returns the number of parts, at most `most`. */
static size_t split(char *line, char **words, size_t most)
{
    size_t n = 0;
    char *rest = line, *word;

    while (n < most && (word = strsep(&rest, " \t\r")) != NULL)
        if (*word != '\0')
            words[n++] = word;
    return n;
}

struct expectation {
    int line;
    size_t asked, wrong;
};

/* Whether it would be sent but for its key. That is as expected by no line, since a line is
 * about the caller's rights: what it may do would pass for refused. */
static bool lacks_key_only(const struct outcome *r)
{
    return r->claim_failure.kind != FAIL_NONE && r->failure.kind == FAIL_NONE &&
           r->decision.outcome != DECISION_DENIED;
}

/* Checks one line: CALLER METHOD TARGET sent|refused. */
static int expect_line(struct explain *e, const struct fields *f, char *line,
                       struct expectation *x)
{
    char *word[5];
    size_t n = split(line, word, ARRAY_LEN(word));
    struct who who;

    x->line++;
    if (n == 0 || word[0][0] == '#')
        return 0;
    if (n != 4 || (strcmp(word[3], "sent") != 0 && strcmp(word[3], "refused") != 0)) {
        (void)!buf_addf(e->error, "%s:%d: not CALLER METHOD TARGET sent|refused",
                        e->options->expect, x->line);
        return EXIT_SETTINGS;
    }
    if (named(e, word[0], strlen(word[0]), &who) != 0) {
        (void)!buf_addf(e->error, " (%s:%d)", e->options->expect, x->line);
        return EXIT_SETTINGS;
    }
    struct outcome r = decide(e, f, &who, word[1], word[2]);

    r.is_frozen = false; /* expectations are about the settings, not the moment */

    x->asked++;
    if (!lacks_key_only(&r) && is_sent(&r) == (strcmp(word[3], "sent") == 0))
        return 0;
    x->wrong++;
    const char *why = "", *more = "";

    if (lacks_key_only(&r) && r.claim_failure.kind == FAIL_KEY_REQUIRED) {
        why = ", only since ledger.require_key wants a key; -H \"Idempotency-Key: any\" gives "
              "one to every line";
    } else if (lacks_key_only(&r)) {
        why = ", only since the ledger does not take it: ";
        more = r.claim_failure.detail;
    } else if (r.decision.outcome == DECISION_WOULD_DENY) {
        why = ", since it is only observed";
    }
    (void)!buf_addf(e->out, "%s:%d: %s %s %s is %s%s%s\n", e->options->expect, x->line, word[0],
                    word[1], word[2], is_sent(&r) ? "sent" : "refused", why, more);
    return 0;
}

static int expect_all(struct explain *e, const struct fields *f)
{
    struct expectation x = { .line = 0 };
    char why[256];
    size_t len;
    char *text = config_file_read(e->options->expect, EXPECT_FILE_MAX, &len, why, sizeof why);
    int code = 0;

    if (text == NULL) {
        (void)!buf_addf(e->error, "%s: %s", e->options->expect, why);
        return EXIT_SETTINGS;
    }
    char *rest = text, *line;

    while (code == 0 && (line = strsep(&rest, "\n")) != NULL)
        code = expect_line(e, f, line, &x);
    config_file_free(text, len);
    if (code != 0)
        return code;
    (void)!buf_addf(e->out, "%s: %zu of %zu as expected\n", e->options->expect,
                    x.asked - x.wrong, x.asked);
    return x.wrong == 0 ? EXPLAIN_SENT : EXPLAIN_REFUSED;
}

int explain(const struct config *c, struct config_report *report,
            const struct explain_options *options, struct buf *out, struct buf *error)
{
    struct explain e = {
        .config = c, .report = report, .options = options, .out = out, .error = error
    };
    struct fields fields;
    struct who who;
    int code = take_fields(&e, &fields);

    if (code != 0)
        return code;
    if (options->expect != NULL)
        return expect_all(&e, &fields);
    code = options->caller != NULL ? named(&e, options->caller, strlen(options->caller), &who)
                                   : recognised(&e, &who);
    if (code != 0)
        return code;
    return options->method == NULL ? list_all(&e, &who) : explain_one(&e, &fields, &who);
}

/* Makes the rules from the settings, and reports what in them is wrong or doubtful. */
#include "config/check_rights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ascii.h"
#include "config/caller_files.h"
#include "config/url.h"
#include "config/value.h"
#include "rights/freeze_file.h"

struct check {
    struct config *config;
    struct config_report *report;
};

/* A pattern that includes the base path would match nothing, since the API path has none. */
static bool has_base_path(const struct config *c, const char *text)
{
    const char *base = c->upstream.base_path, *path = strchr(text, '/');
    size_t len = base == NULL ? 0 : strlen(base);

    return len > 0 && path != NULL && strncmp(path, base, len) == 0 &&
           (path[len] == '/' || path[len] == '\0');
}

/* --- classes ------------------------------------------------------------------------------ */

static const struct config_key *class_key(enum request_class class)
{
    return config_find("classes", class_name(class));
}

/* One item of classes.read to classes.money. */
static void add_class_pattern(struct check *k, struct rules *p, enum request_class class,
                              const char *text)
{
    const struct config_key *key = class_key(class);
    struct class_pattern added = { .class = class };
    const char *wrong = pattern_parse(&added.pattern, text, strlen(text));
    char quoted[64];

    if (wrong != NULL) {
        config_fail(k->report, key, "%s %s; allowed: METHOD /path, such as POST /things/{uuid}",
                    config_quote(text, quoted), wrong);
        return;
    }
    if (has_base_path(k->config, text)) {
        config_fail(k->report, key, "%s can match nothing: leave out %s",
                    config_quote(text, quoted), k->config->upstream.base_path);
        return;
    }
    const char *stricter = classes_laxer_than(&p->classes, &added);

    if (stricter != NULL) {
        config_fail(k->report, key,
                    "%s would make %s laxer; an operation of the table may be made stricter "
                    "only",
                    config_quote(text, quoted), stricter);
        return;
    }
    classes_add(&p->classes, &added);
}

static void add_class_patterns(struct check *k, struct rules *p)
{
    const struct config *c = k->config;

    for (enum request_class class = CLASS_READ; class < CLASS_UNKNOWN; class ++)
        for (size_t i = 0; i < c->classes.added[class].count; i++)
            add_class_pattern(k, p, class, c->classes.added[class].item[i]);
}

/* Reports settings that have no effect without a table of operations. */
static void check_table_needed(struct check *k)
{
    const struct config *c = k->config;

    for (enum request_class class = CLASS_READ; class < CLASS_UNKNOWN; class ++)
        if (c->classes.added[class].count > 0)
            config_fail(k->report, class_key(class),
                        "needs classes.table; allowed: 1shot or methods");
    if (c->freeze.file != NULL)
        config_fail(k->report, config_find("freeze", "file"),
                    "needs classes.table, which says what a request can do; allowed: 1shot or "
                    "methods");
    if (c->caller_count > 0)
        config_fail(k->report, config_find("classes", "table"),
                    "is off, and [caller %s] needs it; allowed: 1shot or methods",
                    c->caller[0].name);
    if (c->classes.repeat_simulate)
        config_fail(k->report, config_find("classes", "repeat_simulate"),
                    "needs classes.table; allowed: 1shot");
}

/* --- freeze ------------------------------------------------------------------------------- */

static void check_freeze(struct check *k, struct rules *rules)
{
    const struct config *c = k->config;
    const struct config_key *key = config_find("freeze", "classes");
    unsigned classes = 0;
    char quoted[64];

    for (size_t i = 0; i < c->freeze.classes.count; i++) {
        const char *name = c->freeze.classes.item[i];
        enum request_class class = class_of_name(name, strlen(name));

        if (class >= CLASS_UNKNOWN)
            config_fail(
                k->report, key,
                "%s is not a class that can be frozen; allowed: read, simulate, create, "
                "change, sign, money",
                config_quote(name, quoted));
        else
            classes |= 1U << class;
    }
    if (config_sound(k->report, key) && (classes & 1U << CLASS_MONEY) == 0)
        config_fail(k->report, key, "lacks money; a freeze that lets payments through is none");
    if (c->freeze.file != NULL)
        rules->frozen_classes = classes | 1U << CLASS_UNKNOWN;
}

/* --- callers ------------------------------------------------------------------------------ */

static const struct config_key *caller_key(const struct check *k, const struct config_caller *s,
                                           const char *name)
{
    char section[CONFIG_TITLE_MAX];

    (void)snprintf(section, sizeof section, "caller %s", s->name);
    return config_find_named(k->config, section, name);
}

static bool is_tcp(const char *address)
{
    return strncmp(address, "unix:", 5) != 0;
}

/* Whether the pattern can match an operation of the table, or an added pattern. */
static bool can_match(const struct rules *r, const struct pattern *p)
{
    const struct class_pattern *o;

    for (size_t i = 0; (o = classes_builtin(i)) != NULL; i++)
        if (pattern_overlaps(&o->pattern, p))
            return true;
    for (size_t i = 0; i < r->classes.added_count; i++)
        if (pattern_overlaps(&r->classes.added[i].pattern, p))
            return true;
    return r->classes.table == CLASS_TABLE_METHODS;
}

static void fill_list(struct check *k, const struct config_key *key, struct rights_list *to,
                      const struct config_list *from)
{
    char quoted[64];

    for (size_t i = 0; i < from->count; i++) {
        const char *text = from->item[i];
        size_t patterns = to->count;
        const char *wrong = rights_list_add(to, text, strlen(text));

        if (wrong != NULL)
            config_fail(k->report, key, "%s %s", config_quote(text, quoted), wrong);
        else if (has_base_path(k->config, text))
            config_fail(k->report, key, "%s can match nothing: leave out %s",
                        config_quote(text, quoted), k->config->upstream.base_path);
        else if (to->count > patterns && !can_match(k->config->rules, &to->pattern[patterns]))
            config_fail(k->report, key,
                        "%s can match nothing: no operation of classes.table is like that; add "
                        "a new one to [classes] first",
                        config_quote(text, quoted));
    }
}

/* Whether it is a part of a subject, such as O=Example, rather than a name of its own. */
static bool is_subject_part(const char *text)
{
    size_t type = strcspn(text, "=:");

    return text[type] == '=' && ascii_is_token(text, type);
}

/* Commas separate names, but also the parts of a subject: joins the parts again. */
static void join_subjects(struct config_list *list)
{
    size_t count = 0;

    for (size_t i = 0; i < list->count; i++) {
        char *text = list->item[i], *whole = NULL;

        if (count == 0 || strncmp(list->item[count - 1], "subject:", 8) != 0 ||
            !is_subject_part(text)) {
            list->item[count++] = text;
            continue;
        }
        if (asprintf(&whole, "%s,%s", list->item[count - 1], text) < 0)
            abort();
        free(list->item[count - 1]);
        free(text);
        list->item[count - 1] = whole;
    }
    list->count = count;
}

static void fill_certificate(struct check *k, const struct config_caller *s, struct caller *c)
{
    static const char *const kinds[] = { "uri:", "dns:", "subject:" };
    struct caller_names *const names[] = { &c->uri, &c->dns, &c->subject };
    const struct config_key *key = caller_key(k, s, "certificate");
    char quoted[64];

    for (size_t i = 0; i < s->certificate.count; i++) {
        const char *text = s->certificate.item[i];
        size_t kind = 0;

        while (kind < ARRAY_LEN(kinds) &&
               (strncmp(text, kinds[kind], strlen(kinds[kind])) != 0 ||
                text[strlen(kinds[kind])] == '\0'))
            kind++;
        if (kind == ARRAY_LEN(kinds)) {
            config_fail(k->report, key,
                        "%s is no name; allowed: uri:..., dns:... or subject:...",
                        config_quote(text, quoted));
            continue;
        }
        const char **more = realloc((void *)(uintptr_t)names[kind]->item,
                                    (names[kind]->count + 1) * sizeof *more);

        if (more == NULL)
            abort();
        more[names[kind]->count++] = text + strlen(kinds[kind]);
        names[kind]->item = more;
    }
    if (s->certificate.count > 0 && k->config->listen.tls_client_ca == NULL)
        config_fail(k->report, key, "needs listen.tls_client_ca, which asks for certificates");
}

static void check_peer(struct check *k, const struct config_caller *s, const char *name,
                       int64_t value)
{
    const struct config_key *key = caller_key(k, s, name);
    bool unix_address = false;

    if (value < 0)
        return;
    if (value == 65534)
        config_fail(k->report, key,
                    "65534 stands for users that are not mapped; any of them would be this "
                    "caller");
    for (size_t i = 0; i < s->address.count; i++)
        unix_address |= !is_tcp(s->address.item[i]);
    for (size_t i = 0; i < k->config->listen.address.count; i++)
        unix_address |= !is_tcp(k->config->listen.address.item[i]);
    if (!unix_address)
        config_fail(k->report, key,
                    "needs a unix socket, in address here or in listen.address");
}

/* Finds this caller's own sockets among those that were opened at the start. */
static void fill_listeners(struct check *k, const struct config_caller *s, struct caller *c)
{
    const struct config_list *owners = &k->config->owners;

    if (s->address.count > 0)
        c->listeners = CALLER_NO_LISTENER; /* has none before the next start */
    for (size_t i = 0; i < owners->count && s->address.count > 0; i++)
        if (strcmp(owners->item[i], s->name) == 0)
            c->listeners = UINT64_C(1) << i;
}

/* Warns when execute with an id is denied, but the batch operation, whose ids are in its
 * body, is allowed. */
static void check_batch(struct check *k, const struct config_caller *s, const struct caller *c)
{
    static const struct {
        const char *one, *batch;
    } pairs[] = { { "POST /methods/{uuid}/execute", "POST /methods/executeBatch" },
                  { "POST /methods/{uuid}/executeAsDelegator",
                    "POST /methods/executeAsDelegatorBatch" } };

    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        struct operation batch;
        struct pattern one;

        rules_operation(k->config->rules,
                        &(struct class_request){ .method = "POST",
                                                 .api_path = pairs[i].batch + 5,
                                                 .api_path_len = strlen(pairs[i].batch + 5) },
                        &batch);
        if (rights_decide(&c->rights, "POST", &batch).rule != RIGHTS_ALLOWED ||
            pattern_parse(&one, pairs[i].one, strlen(pairs[i].one)) != NULL)
            continue;
        for (size_t j = 0; j < c->rights.deny.count; j++) {
            const struct pattern *p = &c->rights.deny.pattern[j];

            if (pattern_overlaps(p, &one))
                config_fail(k->report, caller_key(k, s, "deny"),
                            "%.*s is denied while %s is allowed: the batch carries ids in its "
                            "body; deny it too",
                            (int)p->text_len, p->text, pairs[i].batch);
        }
    }
}

static const struct pattern_segment any_uuid = { .kind = PATTERN_UUID },
                                    any_number = { .kind = PATTERN_NUMBER };

/* An id can be written in more than one way. */
static bool is_id(const struct pattern_segment *s)
{
    return pattern_segment_covers(&any_uuid, s) || pattern_segment_covers(&any_number, s);
}

/* Whether a segment of what is allowed matches more spellings of an id than the same segment
 * of what is denied does: a UUID without dashes, 01 for 1. */
static bool respells(const struct pattern_segment *allowed,
                     const struct pattern_segment *denied)
{
    if (allowed->kind == PATTERN_ANY)
        return is_id(denied);
    return allowed->kind == PATTERN_NUMBER && denied->kind == PATTERN_LITERAL &&
           pattern_segment_covers(&any_number, denied);
}

/* Whether the caller may send what is denied when it writes an id in another way, since what
 * is allowed matches that, too: no entry of deny matches all that is in both but for ids, which
 * is put into *both. */
static bool walks_around(const struct rights_list *deny, const struct pattern *allowed,
                         const struct pattern *denied, struct pattern *both)
{
    bool respelled = false;

    *both = *denied;
    if (!pattern_overlaps(allowed, denied))
        return false;
    for (size_t i = 0; i < both->count; i++) {
        const struct pattern_segment *a = &allowed->segment[i], *d = &denied->segment[i];

        if (respells(a, d) || pattern_segment_covers(d, a))
            both->segment[i] = *a;
        respelled |= respells(a, d);
    }
    for (size_t i = 0; i < deny->count; i++)
        if (pattern_covers(&deny->pattern[i], both))
            return false;
    return respelled;
}

static size_t first_operation(const struct classes *c)
{
    return c->table == CLASS_TABLE_1SHOT ? 0 : classes_builtin_count();
}

/* Whether all these requests have a class that is stricter than this one: the strictest counts. */
static bool is_stricter(const struct classes *classes, const struct pattern *requests,
                        enum request_class class)
{
    const struct class_pattern *o;

    for (size_t i = first_operation(classes); (o = classes_pattern(classes, i)) != NULL; i++)
        if (o->class > class && pattern_covers(&o->pattern, requests))
            return true;
    return false;
}

/* Whether allow has a class that another spelling of what is denied gets by its method alone.
 * Sets *class. */
static bool is_allowed_by_method(const struct classes *classes, const struct rights *rights,
                                 const struct pattern *denied, enum request_class *class)
{
    char method[PATTERN_METHOD_MAX + 1] = "";
    struct pattern respelled = *denied, both;
    const struct class_pattern *o;

    memcpy(method, denied->text, denied->method_len);
    *class = class_of_method(method);
    if (classes->table != CLASS_TABLE_METHODS || (rights->allow.classes & 1U << *class) == 0)
        return false;
    for (size_t i = 0; i < respelled.count; i++)
        if (is_id(&respelled.segment[i]))
            respelled.segment[i].kind = PATTERN_ANY;
    for (size_t i = first_operation(classes); (o = classes_pattern(classes, i)) != NULL; i++)
        if (pattern_covers(&o->pattern, &respelled)) /* it has the class of that pattern */
            return false;
    return walks_around(&rights->deny, &respelled, denied, &both);
}

static void fail_around(struct check *k, const struct config_key *key, const char *allowed,
                        const struct pattern *denied)
{
    config_fail(k->report, key,
                "%s allows every spelling of an id, and %.*s is denied with one: another "
                "spelling of the id would walk around that; write {} for the id where it is "
                "denied (deny, or the pattern of a class), or allow one spelling only: {uuid}, "
                "or each number that is permitted",
                allowed, (int)denied->text_len, denied->text);
}

static void check_around(struct check *k, const struct config_key *key,
                         const struct rights *rights, const struct pattern *denied)
{
    const struct classes *classes = &k->config->rules->classes;
    const struct class_pattern *o;
    enum request_class class;
    struct pattern both;
    char allowed[512]; /* a longer one is cut */

    for (size_t i = 0; i < rights->allow.count; i++) {
        const struct pattern *p = &rights->allow.pattern[i];

        if (!walks_around(&rights->deny, p, denied, &both))
            continue;
        (void)snprintf(allowed, sizeof allowed, "%.*s", (int)p->text_len, p->text);
        fail_around(k, key, allowed, denied);
    }
    for (size_t i = first_operation(classes); (o = classes_pattern(classes, i)) != NULL; i++) {
        if ((rights->allow.classes & 1U << o->class) == 0 ||
            !walks_around(&rights->deny, &o->pattern, denied, &both) ||
            is_stricter(classes, &both, o->class)) /* then that class has to be allowed */
            continue;
        (void)snprintf(allowed, sizeof allowed, "%s (%.*s)", class_name(o->class),
                       (int)o->pattern.text_len, o->pattern.text);
        fail_around(k, key, allowed, denied);
    }
    if (is_allowed_by_method(classes, rights, denied, &class)) {
        (void)snprintf(allowed, sizeof allowed, "%s (every %.*s, by classes.table = methods)",
                       class_name(class), (int)denied->method_len, denied->text);
        fail_around(k, key, allowed, denied);
    }
}

/* An operation of a denied class is denied as the table writes it. */
static void check_spellings(struct check *k, const struct config_caller *s,
                            const struct caller *c)
{
    const struct classes *classes = &k->config->rules->classes;
    const struct config_key *key = caller_key(k, s, "allow");
    const struct class_pattern *o;

    for (size_t i = first_operation(classes); (o = classes_pattern(classes, i)) != NULL; i++)
        if ((c->rights.deny.classes & 1U << o->class) != 0)
            check_around(k, key, &c->rights, &o->pattern);
    for (size_t j = 0; j < c->rights.deny.count; j++)
        check_around(k, key, &c->rights, &c->rights.deny.pattern[j]);
}

/* Whether the caller may do anything of this class. */
static bool reaches(const struct rules *r, const struct caller *c, enum request_class class)
{
    const struct class_pattern *o;

    if ((c->rights.allow.classes & 1U << class) != 0)
        return true;
    for (size_t j = 0; j < c->rights.allow.count; j++) {
        const struct pattern *p = &c->rights.allow.pattern[j];

        for (size_t i = 0; (o = classes_builtin(i)) != NULL; i++)
            if (o->class == class && pattern_overlaps(&o->pattern, p))
                return true;
        for (size_t i = 0; i < r->classes.added_count; i++)
            if (r->classes.added[i].class == class &&
                pattern_overlaps(&r->classes.added[i].pattern, p))
                return true;
    }
    return false;
}

#define RATE_MAX 1000000
#define RATE_DURATION_MAX_MS (24 * (int64_t)3600000)

/* Reads one item of rate, `money 6/1m`. Returns NULL, or what is wrong with it. */
static const char *read_rate(struct caller *c, const char *text)
{
    size_t len = strcspn(text, " ");
    enum request_class class = class_of_name(text, len);
    int64_t n, duration_ms;

    if (class == CLASS_UNKNOWN)
        return "names unknown, which is charged to money; allowed: read, simulate, create, "
               "change, sign, money";
    if (class == CLASS_COUNT)
        return "does not begin with a class; allowed: CLASS N/DURATION, such as money 6/1m";
    if (text[len] == '\0' ||
        config_rate_read(text + len + strspn(text + len, " "), &n, &duration_ms) != 0)
        return "is no rate; allowed: CLASS N/DURATION, such as money 6/1m";
    if (n < 1 || n > RATE_MAX)
        return "has a number out of range; allowed: 1 to 1000000";
    if (duration_ms < 1000 || duration_ms > RATE_DURATION_MAX_MS || duration_ms % 1000 != 0)
        return "has a duration out of range; allowed: whole seconds, 1s to 24h";
    if (c->rate[class].n != 0)
        return "is a second rate of its class";
    c->rate[class] = (struct rate){ .n = n, .duration_us = duration_ms * 1000 };
    return NULL;
}

static void fill_limits(struct check *k, const struct config_caller *s, struct caller *c)
{
    char quoted[64];

    for (size_t i = 0; i < s->rate.count; i++) {
        const char *wrong = read_rate(c, s->rate.item[i]);

        if (wrong != NULL)
            config_fail(k->report, caller_key(k, s, "rate"), "%s %s",
                        config_quote(s->rate.item[i], quoted), wrong);
    }
    c->max_in_flight = s->max_in_flight < 0 ? 0 : s->max_in_flight;
}

static void add_caller(struct check *k, const struct config_caller *s)
{
    struct caller *c = rules_add_caller(k->config->rules, s->name);
    bool proves = s->address.count > 0 || s->uid >= 0 || s->gid >= 0 ||
                  s->certificate.count > 0 || s->secret_file != NULL;
    const struct config_key *allow = caller_key(k, s, "allow"),
                            *deny = caller_key(k, s, "deny");

    c->observe = (s->mode >= 0 ? s->mode : k->config->callers.mode) == MODE_OBSERVE;
    c->uid = s->uid;
    c->gid = s->gid;
    if (s->secret_file != NULL)
        k->config->rules->callers.with_secret |= (uint32_t)1
                                                 << (c - k->config->rules->callers.caller);
    fill_listeners(k, s, c);
    fill_certificate(k, s, c);
    check_peer(k, s, "uid", s->uid);
    check_peer(k, s, "gid", s->gid);
    fill_list(k, allow, &c->rights.allow, &s->allow);
    fill_list(k, deny, &c->rights.deny, &s->deny);
    if (!c->is_other && !proves && k->config->kept &&
        config_given(k->report, caller_key(k, s, "address")))
        config_fail(k->report, caller_key(k, s, "address"),
                    "is listened on from the next start on, and until then there is nothing "
                    "else by which [caller %s] could be recognised; restart to use it",
                    s->name);
    else if (!c->is_other && !proves)
        config_fail(k->report, caller_key(k, s, "address"),
                    "there is nothing by which [caller %s] could be recognised; allowed: "
                    "address, uid, gid, certificate, secret_file",
                    s->name);
    if (strcmp(s->name, "none") == 0)
        config_fail(k->report, caller_key(k, s, "address"),
                    "[caller none] cannot be used: log and metrics have caller=none for "
                    "requests whose caller was not recognised; give it another name");
    if (c->is_other && proves)
        config_fail(k->report, caller_key(k, s, "address"),
                    "[caller other] stands for those that nobody recognised; it has neither "
                    "address, uid, gid, certificate nor secret_file");
    if (s->deny.count > 0 && (c->rights.allow.classes & 1U << CLASS_UNKNOWN) != 0)
        config_fail(k->report, allow,
                    "has unknown or all beside a deny: another spelling would walk around what "
                    "is denied; name the classes");
    if ((c->rights.deny.classes & 1U << CLASS_UNKNOWN) != 0)
        config_fail(k->report, deny,
                    "has unknown or all; what is not allowed is refused anyhow");
    check_batch(k, s, c);
    check_spellings(k, s, c);
    if (s->mode == MODE_OBSERVE)
        config_warn(k->report, caller_key(k, s, "mode"),
                    "is observe: what [caller %s] may not do goes on and is only reported",
                    s->name);
    fill_limits(k, s, c);
    if (s->allow.count == 0)
        config_warn(k->report, allow, "is empty: [caller %s] may do nothing", s->name);
}

static bool same_list(const struct config_list *a, const struct config_list *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (strcmp(a->item[i], b->item[i]) != 0)
            return false;
    return true;
}

/* Whether one request could match both callers. */
static bool could_be_both(const struct config_caller *a, const struct config_caller *b)
{
    if ((a->uid >= 0 && b->uid >= 0 && a->uid != b->uid) ||
        (a->gid >= 0 && b->gid >= 0 && a->gid != b->gid))
        return false;
    if (a->address.count > 0 && b->address.count > 0)
        return false; /* no address belongs to two callers */
    if (a->secret_file != NULL && b->secret_file != NULL)
        return false; /* no secret does either */
    if (a->certificate.count == 0 || b->certificate.count == 0)
        return true;
    for (size_t i = 0; i < a->certificate.count; i++)
        for (size_t j = 0; j < b->certificate.count; j++)
            if (strcmp(a->certificate.item[i], b->certificate.item[j]) == 0 ||
                strncmp(a->certificate.item[i], b->certificate.item[j], 4) != 0 ||
                strncmp(a->certificate.item[i], "dns:", 4) == 0)
                return true; /* one certificate may contain both names */
    return false;
}

static void check_pair(struct check *k, const struct config_caller *a,
                       const struct config_caller *b)
{
    const struct config_key *key = caller_key(k, b, "address");

    for (size_t n = 0; n < a->address.count * b->address.count; n++)
        if (strcmp(a->address.item[n / b->address.count],
                   b->address.item[n % b->address.count]) == 0)
            config_fail(k->report, key, "%s belongs to [caller %s] already",
                        b->address.item[n % b->address.count], a->name);
    if (strcmp(a->name, "other") == 0 || strcmp(b->name, "other") == 0)
        return;
    if (a->address.count == 0 && b->address.count == 0 && a->secret_file == NULL &&
        b->secret_file == NULL && a->uid == b->uid && a->gid == b->gid &&
        same_list(&a->certificate, &b->certificate))
        config_fail(k->report, key, "[caller %s] is recognised by just what [caller %s] is",
                    b->name, a->name);
    else if (could_be_both(a, b))
        config_warn(k->report, key,
                    "a request could be both [caller %s] and [caller %s]; it would be refused",
                    a->name, b->name);
}

/* Warns about limits that are missing, or that limit what the caller may not do anyway. */
static void warn_of_limits(struct check *k, size_t i)
{
    const struct rules *r = k->config->rules;
    const struct caller *c = &r->callers.caller[i];
    const struct config_key *key = caller_key(k, &k->config->caller[i], "rate");

    if (reaches(r, c, CLASS_MONEY) && c->rate[CLASS_MONEY].n == 0)
        config_warn(k->report, key,
                    "[caller %s] may move money as often as it likes; a loop that has gone "
                    "wrong is stopped by a rate, such as money 6/1m",
                    c->name);
    for (enum request_class class = CLASS_READ; class < CLASS_UNKNOWN; class ++)
        if (c->rate[class].n != 0 && !reaches(r, c, class) &&
            (class != CLASS_MONEY || !reaches(r, c, CLASS_UNKNOWN)))
            config_warn(k->report, key, "limits %s, which [caller %s] may not do at all",
                        class_name(class), c->name);
}

/* Whether its secret may be sent over TCP from another machine without TLS, where others can
 * read it. */
static bool shown_in_the_clear(const struct config *c, const struct config_caller *s)
{
    const struct config_list *list = s->address.count > 0 ? &s->address : &c->listen.address;
    bool open = false;

    for (size_t i = 0; i < list->count; i++) {
        struct config_address a;

        open |= config_address_split(list->item[i], &a) && a.unix_path == NULL &&
                !config_is_loopback(a.host);
    }
    return open && s->secret_file != NULL && s->uid < 0 && s->gid < 0 &&
           s->certificate.count == 0 && c->listen.tls_certificate == NULL;
}

/* Whether it may add a parameter to a struct, which methods use. */
static bool adds_parameters(const struct caller *c)
{
    static const char text[] = "POST /structs/{uuid}/params";
    struct pattern adding;

    if ((c->rights.allow.classes & 1U << CLASS_CREATE) != 0 ||
        pattern_parse(&adding, text, sizeof text - 1) != NULL)
        return true;
    for (size_t i = 0; i < c->rights.allow.count; i++)
        if (pattern_overlaps(&c->rights.allow.pattern[i], &adding))
            return true;
    return false;
}

/* Warns about what is allowed, but more than was perhaps intended. */
static void warn_of_power(struct check *k, size_t i, bool somebody_pays)
{
    const struct rules *r = k->config->rules;
    const struct caller *c = &r->callers.caller[i];
    const struct config_caller *s = &k->config->caller[i];
    const struct config_key *allow = caller_key(k, s, "allow");
    bool pays = reaches(r, c, CLASS_MONEY), signs = reaches(r, c, CLASS_SIGN);
    bool only_tcp =
        s->uid < 0 && s->gid < 0 && s->certificate.count == 0 && s->secret_file == NULL;

    for (size_t j = 0; j < s->address.count; j++)
        only_tcp &= is_tcp(s->address.item[j]);
    if (c->is_other && (pays || signs))
        config_warn(k->report, allow, "lets whoever nobody recognised %s",
                    pays ? "move money" : "sign");
    else if (only_tcp && (pays || signs))
        config_warn(
            k->report, allow,
            "lets [caller %s] %s, which is known by a TCP port only: that is a name, not "
            "a proof",
            c->name, pays ? "move money" : "sign");
    else if ((pays || signs) && shown_in_the_clear(k->config, s))
        config_warn(k->report, allow,
                    "lets [caller %s] %s by a secret that may come over plain TCP from another "
                    "machine: whoever is on the way can read it; use TLS or a unix socket",
                    c->name, pays ? "move money" : "sign");
    if (!pays && somebody_pays && !reaches(r, c, CLASS_CHANGE) && adds_parameters(c))
        config_warn(k->report, allow,
                    "has POST /structs/{uuid}/params, but not money: it adds to the parameters "
                    "of methods that another caller executes");
    if (!pays && somebody_pays && reaches(r, c, CLASS_CHANGE))
        config_warn(k->report, allow,
                    "has change, but not money: PUT /methods/{uuid} can point a method that "
                    "another caller executes at another contract or wallet");
}

static void check_addresses(struct check *k, const struct config_caller *s)
{
    const struct config *c = k->config;
    const struct config_key *key = caller_key(k, s, "address");
    char quoted[64];

    for (size_t j = 0; j < s->address.count; j++) {
        const char *text = s->address.item[j];
        struct config_address a;

        if (!config_address_split(text, &a))
            config_fail(k->report, key,
                        "%s is not an address; allowed: host:port, [v6]:port or unix:/path",
                        config_quote(text, quoted));
        for (size_t n = 0; n < c->listen.address.count; n++)
            if (strcmp(c->listen.address.item[n], text) == 0)
                config_fail(k->report, key,
                            "%s is in listen.address, too: it would belong to everybody",
                            config_quote(text, quoted));
    }
}

/* At the first load: the callers whose own sockets will be opened, in the order of their
 * bits. */
static void name_owners(struct config *c)
{
    if (c->has_owners)
        return;
    c->has_owners = true;
    for (size_t i = 0; i < c->caller_count; i++)
        if (c->caller[i].address.count > 0)
            config_list_add(&c->owners, c->caller[i].name, strlen(c->caller[i].name));
}

/* The header field with a secret is removed from the request, so it must not be one that the
 * upstream needs. */
static void check_secret_header(struct check *k)
{
    static const char *const never[] = {
        "authorization", "connection", "content-length", "content-type", "transfer-encoding",
        "cookie",        "host",       "x-request-id",   "traceparent",  "idempotency-key"
    };
    const struct config_key *key = config_find("callers", "header");
    const char *name = k->config->callers.header;
    const char *required = k->config->listen.require_header_name;

    if (!config_sound(k->report, key))
        return;
    if (!ascii_is_token(name, strlen(name)))
        config_fail(k->report, key,
                    "is no name of a header field; allowed: a name, such as X-Caller-Key");
    for (size_t i = 0; i < ARRAY_LEN(never); i++)
        if (ascii_equal_str(name, strlen(name), never[i]))
            config_fail(k->report, key,
                        "%s has a meaning of its own; use a name of your own, such as "
                        "X-Caller-Key",
                        never[i]);
    if (required != NULL && ascii_equal(name, strlen(name), required, strlen(required)))
        config_fail(k->report, key, "is the field of listen.require_header; use another");
}

static void check_callers(struct check *k)
{
    struct config *c = k->config;
    bool somebody_pays = false;

    name_owners(c);
    for (size_t i = 0; i < c->caller_count; i++) {
        check_addresses(k, &c->caller[i]);
        join_subjects(&c->caller[i].certificate);
        add_caller(k, &c->caller[i]);
        for (size_t j = 0; j < i; j++)
            check_pair(k, &c->caller[j], &c->caller[i]);
    }
    c->rules->observe_unknown = c->callers.mode == MODE_OBSERVE;
    if (c->caller_count > 0 && c->rules->observe_unknown)
        config_warn(k->report, config_find("callers", "mode"),
                    "is observe: what callers may not do, and what nobody was recognised for, "
                    "goes on and is only reported");
    check_secret_header(k);
    c->rules->callers.owned = (UINT64_C(1) << c->owners.count) - 1;
    for (size_t i = 0; i < c->caller_count; i++)
        somebody_pays |= reaches(c->rules, &c->rules->callers.caller[i], CLASS_MONEY);
    for (size_t i = 0; i < c->caller_count && k->report->errors == 0; i++) {
        warn_of_power(k, i, somebody_pays);
        warn_of_limits(k, i);
    }
}

void config_check_rights(struct config *c, struct config_report *report)
{
    struct check k = { .config = c, .report = report };

    if (c->classes.table == CLASS_TABLE_OFF) {
        check_table_needed(&k);
        return;
    }
    struct rules *p = rules_new();

    c->rules = p;
    classes_init(&p->classes, (enum class_table)c->classes.table);
    p->repeat_simulate = c->classes.repeat_simulate;
    add_class_patterns(&k, p);
    check_freeze(&k, p);
    check_callers(&k);
}

static void wrong_file(void *arg, size_t caller, const char *why)
{
    struct check *k = arg;
    const struct config_caller *s = &k->config->caller[caller];
    const struct config_key *key = caller_key(k, s, "secret_file");

    if (config_sound(k->report, key))
        config_fail(k->report, key, "%s: %s", s->secret_file, why);
}

void config_check_caller_files(struct config *c, struct config_report *report)
{
    struct check k = { .config = c, .report = report };

    if (c->rules != NULL)
        c->rules->secrets = caller_files_read(c, NULL, wrong_file, &k);
}

void config_check_freeze_file(const struct config *c, struct config_report *report)
{
    const struct config_key *key = config_find("freeze", "file");
    char why[FREEZE_REASON_MAX + 1] = "";

    if (c->freeze.file == NULL || !config_sound(report, key) ||
        freeze_file_look(c->freeze.file, why) != FREEZE_IN_DOUBT)
        return;
    config_warn(report, key,
                "%s: %s, which counts as frozen: the classes in freeze.classes are refused",
                c->freeze.file, why);
}

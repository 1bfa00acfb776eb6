/* The tables of operations; see classes.h. */
#include "rights/classes.h"

#include <string.h>

static const char *const names[CLASS_COUNT] = { "read", "simulate", "create", "change",
                                                "sign", "money",    "unknown" };

/* The operations of the 1Shot API, version 0. No two of them match one request. */
static const struct {
    enum request_class class;
    const char *text;
} operations[] = {
    { CLASS_READ, "GET /chains" },
    { CLASS_READ, "GET /chains/{n}/fees" },
    { CLASS_READ, "GET /chains/{n}/contracts/{}" },
    { CLASS_READ, "GET /business/{uuid}/methods" },
    { CLASS_READ, "GET /business/{uuid}/events" },
    { CLASS_READ, "GET /business/{uuid}/transactions" },
    { CLASS_READ, "GET /business/{uuid}/wallets" },
    { CLASS_READ, "GET /business/{uuid}/webhooks/triggers" },
    { CLASS_READ, "GET /business/{uuid}/webhooks/endpoints" },
    { CLASS_READ, "GET /methods/{uuid}" },
    { CLASS_READ, "GET /events/{uuid}" },
    { CLASS_READ, "GET /transactions/{uuid}" },
    { CLASS_READ, "GET /wallets/{uuid}" },
    { CLASS_READ, "GET /wallets/{uuid}/delegations" },
    { CLASS_READ, "GET /x402/supported" },
    { CLASS_READ, "GET /webhooks" },
    { CLASS_READ, "GET /webhooks/endpoints/{uuid}" },
    { CLASS_READ, "GET /webhooks/endpoints/{uuid}/webhooks" },
    { CLASS_READ, "GET /webhooks/{uuid}/attempts" },
    { CLASS_SIMULATE, "POST /methods/{uuid}/test" },
    { CLASS_SIMULATE, "POST /methods/{uuid}/encode" },
    { CLASS_SIMULATE, "POST /methods/{uuid}/estimate" },
    { CLASS_SIMULATE, "POST /methods/{uuid}/read" },
    { CLASS_SIMULATE, "POST /events/{uuid}/search" },
    { CLASS_SIMULATE, "POST /prompts/search" },
    { CLASS_SIMULATE, "POST /x402/verify" },
    { CLASS_CREATE, "POST /business/{uuid}/methods" },
    { CLASS_CREATE, "POST /business/{uuid}/methods/abi" },
    { CLASS_CREATE, "POST /business/{uuid}/events" },
    { CLASS_CREATE, "POST /business/{uuid}/wallets" },
    { CLASS_CREATE, "POST /business/{uuid}/webhooks/triggers" },
    { CLASS_CREATE, "POST /business/{uuid}/webhooks/endpoints" },
    { CLASS_CREATE, "POST /wallets/{uuid}/delegations" },
    { CLASS_CREATE, "POST /structs/{uuid}/params" },
    { CLASS_CREATE, "PUT /webhooks/endpoints/{uuid}/rotate" },
    { CLASS_CHANGE, "PUT /methods/{uuid}" },
    { CLASS_CHANGE, "DELETE /methods/{uuid}" },
    { CLASS_CHANGE, "PUT /events/{uuid}" },
    { CLASS_CHANGE, "DELETE /events/{uuid}" },
    { CLASS_CHANGE, "PUT /wallets/{uuid}" },
    { CLASS_CHANGE, "DELETE /wallets/{uuid}" },
    { CLASS_CHANGE, "PUT /webhooks/triggers/{uuid}" },
    { CLASS_CHANGE, "DELETE /webhooks/triggers/{uuid}" },
    { CLASS_CHANGE, "PUT /webhooks/endpoints/{uuid}" },
    { CLASS_CHANGE, "DELETE /webhooks/endpoints/{uuid}" },
    { CLASS_CHANGE, "DELETE /delegation/{uuid}" },
    { CLASS_CHANGE, "DELETE /structs/{uuid}/params/{uuid}" },
    { CLASS_CHANGE, "PUT /structs/{uuid}" },
    { CLASS_CHANGE, "PUT /structs/{uuid}/params" },
    { CLASS_CHANGE, "POST /business/{uuid}/methods/prompt" },
    { CLASS_SIGN, "GET /wallets/{uuid}/signature/{}" },
    { CLASS_SIGN, "POST /wallets/{uuid}/signature/{}" },
    { CLASS_SIGN, "POST /wallets/{uuid}/delegations/redelegate" },
    { CLASS_SIGN, "POST /delegation/{uuid}/redelegate" },
    { CLASS_MONEY, "POST /methods/{uuid}/execute" },
    { CLASS_MONEY, "POST /methods/{uuid}/executeAsDelegator" },
    { CLASS_MONEY, "POST /methods/executeBatch" },
    { CLASS_MONEY, "POST /methods/executeAsDelegatorBatch" },
    { CLASS_MONEY, "POST /wallets/{uuid}/transfer" },
    { CLASS_MONEY, "POST /x402/settle" },
    { CLASS_MONEY, "PUT /wallets/{uuid}/authorizePermit2" },
    /* in clients' code only, in no specification */
    { CLASS_READ, "GET /business/{uuid}/structs" },
    { CLASS_READ, "GET /structs/{uuid}" },
    { CLASS_READ, "GET /business/{uuid}/transactions/transactions" },
    { CLASS_CREATE, "POST /business/{uuid}/structs" },
    { CLASS_CREATE, "POST /business/{uuid}/structs/{uuid}/params" },
    { CLASS_CHANGE, "PUT /business/{uuid}/structs/{uuid}/params" },
    { CLASS_CHANGE, "PUT /methods/{uuid}/restore" },
    { CLASS_CHANGE, "DELETE /structs/{uuid}" },
    { CLASS_MONEY, "POST /transactions/{uuid}/execute" },
};

/* The same, taken apart by classes_init. */
static struct class_pattern builtin[ARRAY_LEN(operations)];
static bool is_taken_apart;

const char *class_name(enum request_class c)
{
    return names[c];
}

enum request_class class_of_name(const char *name, size_t len)
{
    int c = 0;

    while (c < CLASS_COUNT && (strlen(names[c]) != len || memcmp(names[c], name, len) != 0))
        c++;
    return (enum request_class)c;
}

void classes_init(struct classes *c, enum class_table table)
{
    *c = (struct classes){ .table = table };
    for (size_t i = 0; i < ARRAY_LEN(operations) && !is_taken_apart; i++) {
        const char *text = operations[i].text;
        const char *wrong = pattern_parse(&builtin[i].pattern, text, strlen(text));

        assert(wrong == NULL);
        (void)wrong;
        builtin[i].class = operations[i].class;
    }
    is_taken_apart = true;
}

const struct class_pattern *classes_builtin(size_t i)
{
    return i < ARRAY_LEN(builtin) ? &builtin[i] : NULL;
}

size_t classes_builtin_count(void)
{
    return ARRAY_LEN(builtin);
}

const struct class_pattern *classes_pattern(const struct classes *c, size_t number)
{
    if (number < ARRAY_LEN(builtin))
        return &builtin[number];
    return number - ARRAY_LEN(builtin) < c->added_count ? &c->added[number - ARRAY_LEN(builtin)]
                                                        : NULL;
}

const char *classes_laxer_than(const struct classes *c, const struct class_pattern *p)
{
    if (c->table != CLASS_TABLE_1SHOT)
        return NULL;
    for (size_t i = 0; i < ARRAY_LEN(builtin); i++)
        if (p->class < builtin[i].class && pattern_overlaps(&p->pattern, &builtin[i].pattern))
            return builtin[i].pattern.text;
    return NULL;
}

/* --- the operation ----------------------------------------------------------------------- */

static bool is_method(const char *method, const char *name)
{
    return strcmp(method, name) == 0;
}

/* Without a table of operations: GET, HEAD and OPTIONS look, and a POST may pay. */
static enum request_class class_of_method(const char *method)
{
    if (is_method(method, "GET") || is_method(method, "HEAD") || is_method(method, "OPTIONS"))
        return CLASS_READ;
    if (is_method(method, "PUT") || is_method(method, "PATCH") || is_method(method, "DELETE"))
        return CLASS_CHANGE;
    return is_method(method, "POST") ? CLASS_MONEY : CLASS_UNKNOWN;
}

static void take(struct operation *o, const struct class_pattern *p, enum request_class class)
{
    o->class = class;
    o->text = p->pattern.text;
    o->text_len = p->pattern.text_len;
}

static const struct class_pattern *find_builtin(const char *method,
                                                const struct path_shape *shape, bool any_method)
{
    for (size_t i = 0; i < ARRAY_LEN(builtin); i++) {
        const struct pattern *p = &builtin[i].pattern;

        if (p->count == shape->count &&
            (any_method ? pattern_matches_path(p, shape) : pattern_matches(p, method, shape)))
            return &builtin[i];
    }
    return NULL;
}

struct operation classes_find(const struct classes *c, const struct class_request *r)
{
    static const char unknown[] = "unknown";
    struct operation o = { .class = CLASS_UNKNOWN,
                           .text = unknown,
                           .text_len = sizeof unknown - 1,
                           .number = CLASSES_NO_PATTERN };
    size_t path_len = strcspn(r->api_path, "?");
    bool is_options = is_method(r->method, "OPTIONS");
    const struct class_pattern *found = NULL;

    if (!r->overridden)
        o.shape = path_len == 0 ? path_shape_of("/", 1) : path_shape_of(r->api_path, path_len);
    if (!o.shape.plain)
        return o;
    if (c->table == CLASS_TABLE_1SHOT)
        found = find_builtin(r->method, &o.shape, is_options);
    else
        o.class = class_of_method(r->method);
    if (found != NULL) {
        take(&o, found, is_options ? CLASS_READ : found->class);
        o.number = (size_t)(found - builtin);
    }
    o.is_builtin = found != NULL;
    /* An added pattern may make it stricter; where the table knows methods only, or does not
     * know the request, it decides. Of several the strictest does. */
    enum request_class least = found != NULL ? o.class : CLASS_READ;

    for (size_t i = 0, hits = 0; i < c->added_count; i++) {
        const struct class_pattern *p = &c->added[i];

        if (is_options ? !pattern_matches_path(&p->pattern, &o.shape) || found != NULL
                       : !pattern_matches(&p->pattern, r->method, &o.shape))
            continue;
        enum request_class class = is_options ? CLASS_READ : p->class;
        if (hits++ > 0 ? class > o.class : class >= least) {
            take(&o, p, class);
            o.number = ARRAY_LEN(builtin) + i;
            o.is_builtin = false;
        }
    }
    return o;
}

/* The table of the API's operations; see classes.h. */
#include "rights/classes.h"

#include <stdlib.h>
#include <string.h>

#include "base/ascii.h"

static const char *const names[CLASS_COUNT] = { "read", "simulate", "create", "change",
                                                "sign", "money",    "unknown" };

/* The operations of the 1Shot API, version 0. No two of them match the same request. */
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
    /* used by client code, but in no specification */
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

/* The same, parsed by classes_init. */
static struct class_pattern builtin[ARRAY_LEN(operations)];
static bool is_taken_apart;

/* --- finding an operation of the table -----------------------------------------------------
 *
 * Each word in the table has a number. The method and the numbers of a path's segments make
 * up one number, the key, and the operation is found by it. So a request is compared with
 * the words of its own path only, not with every operation. */

#define CODE_BITS 7
#define ANY_CODE ((1U << CODE_BITS) - 1)
enum { NO_CODE, UUID_CODE, NUMBER_CODE, OTHER_CODE, FIRST_WORD_CODE };
enum { NO_METHOD, GET_METHOD, POST_METHOD, PUT_METHOD, DELETE_METHOD, METHOD_COUNT };
#define SEGMENTS_MAX 6 /* most segments of an operation */

/* Open addressing; both are less than half full. */
#define WORD_SLOTS 128U
#define KEY_SLOTS 256U
static struct {
    const char *text;
    size_t len;
    unsigned code; /* 0: free slot */
} word[WORD_SLOTS];
static unsigned word_count;
static struct {
    uint64_t key; /* 0: free slot */
    const struct class_pattern *pattern;
} by_key[KEY_SLOTS];

/* The slot of a word, or the free slot where it would be. */
static inline unsigned word_slot(const char *text, size_t len, uint32_t hash)
{
    unsigned at = hash % WORD_SLOTS;

    while (word[at].code != 0 && (word[at].len != len || memcmp(word[at].text, text, len) != 0))
        at = (at + 1) % WORD_SLOTS;
    return at;
}

static unsigned key_slot(uint64_t key)
{
    unsigned at = (unsigned)(key * 0x9e3779b97f4a7c15U >> 32) % KEY_SLOTS;

    while (by_key[at].key != 0 && by_key[at].key != key)
        at = (at + 1) % KEY_SLOTS;
    return at;
}

/* HEAD counts as GET (RFC 9110 section 9.3.2); methods of no operation are NO_METHOD. */
static inline unsigned method_code(const char *m)
{
    if (m[0] == 'G' && m[1] == 'E' && m[2] == 'T' && m[3] == '\0')
        return GET_METHOD;
    if (m[0] == 'P' && m[1] == 'O' && m[2] == 'S' && m[3] == 'T' && m[4] == '\0')
        return POST_METHOD;
    return strcmp(m, "HEAD") == 0     ? GET_METHOD
           : strcmp(m, "PUT") == 0    ? PUT_METHOD
           : strcmp(m, "DELETE") == 0 ? DELETE_METHOD
                                      : NO_METHOD;
}

static uint64_t key_with(uint64_t key, unsigned code)
{
    return key << CODE_BITS | code;
}

static unsigned new_word(const struct pattern_segment *s)
{
    unsigned at = word_slot(s->text, s->len, path_hash(s->text, s->len));

    if (word[at].code == 0) {
        assert(word_count < WORD_SLOTS / 2);
        word[at].text = s->text;
        word[at].len = s->len;
        word[at].code = FIRST_WORD_CODE + word_count++;
    }
    return word[at].code;
}

static void index_pattern(const struct class_pattern *c)
{
    const struct pattern *p = &c->pattern;
    char method[PATTERN_METHOD_MAX + 1] = "";
    uint64_t key = 0;

    memcpy(method, p->text, p->method_len);
    assert(p->count <= SEGMENTS_MAX && method_code(method) != NO_METHOD);
    for (size_t i = 0; i < p->count; i++) {
        const struct pattern_segment *s = &p->segment[i];

        assert(s->kind != PATTERN_ANY || i + 1 == p->count);
        key = key_with(key, s->kind == PATTERN_UUID     ? UUID_CODE
                            : s->kind == PATTERN_NUMBER ? NUMBER_CODE
                            : s->kind == PATTERN_ANY    ? ANY_CODE
                                                        : new_word(s));
    }
    key = key_with(key, method_code(method));
    unsigned at = key_slot(key);

    assert(by_key[at].key == 0);
    by_key[at].key = key;
    by_key[at].pattern = c;
}

/* The key of the path; 0: no operation has such a path. */
static uint64_t key_of(const struct path_shape *shape)
{
    uint64_t key = 0;

    if (shape->count == 0 || shape->count > SEGMENTS_MAX)
        return 0;
    for (size_t i = 0; i < shape->count; i++) {
        const struct path_segment *s = &shape->segment[i];
        unsigned code = s->is_uuid     ? UUID_CODE
                        : s->is_number ? NUMBER_CODE
                                       : word[word_slot(s->text, s->len, s->hash)].code;

        key = key_with(key, code == NO_CODE ? OTHER_CODE : code);
    }
    return key;
}

/* The operation with that path: with the last segment as it is, or with a placeholder for
 * it. */
static const struct class_pattern *find_method(uint64_t path, unsigned method)
{
    const struct class_pattern *exact = by_key[key_slot(key_with(path, method))].pattern;

    return exact != NULL ? exact : by_key[key_slot(key_with(path | ANY_CODE, method))].pattern;
}

static const struct class_pattern *find_builtin(const char *method,
                                                const struct path_shape *shape, bool any_method)
{
    uint64_t path = key_of(shape);
    const struct class_pattern *found = NULL;

    if (path == 0)
        return NULL;
    if (!any_method) {
        unsigned code = method_code(method);

        return code == NO_METHOD ? NULL : find_method(path, code);
    }
    for (unsigned m = GET_METHOD; m < METHOD_COUNT; m++) {
        const struct class_pattern *p = find_method(path, m);

        if (found == NULL || (p != NULL && p < found))
            found = p;
    }
    return found;
}

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
        index_pattern(&builtin[i]);
    }
    is_taken_apart = true;
}

void classes_done(struct classes *c)
{
    free(c->added);
    pattern_index_done(&c->index);
    *c = (struct classes){ .table = CLASS_TABLE_OFF };
}

void classes_add(struct classes *c, const struct class_pattern *p)
{
    struct class_pattern *more = realloc(c->added, (c->added_count + 1) * sizeof *more);

    if (more == NULL)
        abort();
    c->added = more;
    c->added[c->added_count] = *p;
    pattern_index_add(&c->index, &p->pattern, c->added_count);
    c->added_count++;
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

enum request_class class_of_method(const char *method)
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

/* Applies added patterns to the class. A pattern may make it stricter. Where the table knows
 * only methods, or not the request, the pattern decides. Of several patterns the strictest
 * counts, and of these the first. */
static void apply_added(const struct classes *c, const struct class_request *r, bool is_options,
                        struct operation *o)
{
    enum request_class least = o->is_builtin ? o->class : CLASS_READ;
    const struct class_pattern *best = NULL;
    struct pattern_search search = { .form = 0 };
    size_t i;

    while ((i = pattern_index_next(&c->index, &o->shape, &search)) != PATTERN_INDEX_END) {
        const struct class_pattern *p = &c->added[i];
        enum request_class class = is_options ? CLASS_READ : p->class;

        if (is_options ? !pattern_matches_path(&p->pattern, &o->shape) || o->is_builtin
                       : !pattern_matches(&p->pattern, r->method, &o->shape))
            continue;
        if (best == NULL ? class < least : class < o->class || (class == o->class && p > best))
            continue;
        take(o, p, class);
        best = p;
    }
    if (best != NULL) {
        o->number = ARRAY_LEN(builtin) + (size_t)(best - c->added);
        o->is_builtin = false;
    }
}

void classes_find(const struct classes *c, const struct class_request *r, struct operation *out)
{
    static const char unknown[] = "unknown";
    bool is_options = r->method[0] == 'O' && is_method(r->method, "OPTIONS");
    const struct class_pattern *found = NULL;

    out->class = CLASS_UNKNOWN;
    out->text = unknown;
    out->text_len = sizeof unknown - 1;
    out->is_builtin = false;
    out->number = CLASSES_NO_PATTERN;
    path_shape_take(&out->shape, r->api_path_len == 0 ? "/" : r->api_path,
                    r->api_path_len == 0 ? 1 : r->api_path_len);
    out->shape.plain &= !r->overridden;
    if (!out->shape.plain)
        return;
    if (c->table == CLASS_TABLE_1SHOT)
        found = find_builtin(r->method, &out->shape, is_options);
    else
        out->class = class_of_method(r->method);
    if (found != NULL) {
        take(out, found, is_options ? CLASS_READ : found->class);
        out->number = (size_t)(found - builtin);
        out->is_builtin = true;
    }
    if (c->added_count > 0)
        apply_added(c, r, is_options, out);
}

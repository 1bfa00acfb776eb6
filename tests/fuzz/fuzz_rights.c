/* Classes and rights of any request, against a slow matcher that shares no code with theirs.
 *
 * The input is lines:
 *
 *     F E               two bytes: flags (see enum), and the byte that the one-byte edits put in
 *     METHOD TARGET
 *     Name: value       a field; empty: none
 *     allow, by commas
 *     deny, by commas
 */
#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/decision.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HAS_BODY = 1, NO_BASE_PATH = 2, METHODS_TABLE = 4 };

static void require(bool holds)
{
    if (!holds)
        abort();
}

/* --- the slow matcher: texts, cut at their slashes, compared one by one -------------------- */

#define PARTS_MAX 64

struct parts {
    char text[4096];
    char *part[PARTS_MAX];
    size_t count;
};

/* Cuts "/a/b" into "a", "b". False: too long for this matcher, and for any pattern. */
static bool cut(struct parts *p, const char *path, size_t len)
{
    p->count = 0;
    if (len >= sizeof p->text || len == 0 || path[0] != '/')
        return false;
    memcpy(p->text, path, len);
    p->text[len] = '\0';
    if (len == 1)
        return true;
    for (char *at = p->text; at != NULL;) {
        if (p->count == PARTS_MAX)
            return false;
        *at++ = '\0';
        p->part[p->count++] = at;
        at = strchr(at, '/');
    }
    return true;
}

static bool slow_is_plain(const struct parts *p)
{
    static const char good[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                               "0123456789-._~:@";

    for (size_t i = 0; i < p->count; i++)
        if (p->part[i][0] == '\0' || p->part[i][strspn(p->part[i], good)] != '\0')
            return false;
    return p->count <= PATH_SEGMENTS_MAX;
}

static bool slow_is_uuid(const char *s)
{
    static const char shape[] = "hhhhhhhh-hhhh-hhhh-hhhh-hhhhhhhhhhhh";

    if (strlen(s) != sizeof shape - 1)
        return false;
    for (size_t i = 0; shape[i] != '\0'; i++)
        if (shape[i] == '-' ? s[i] != '-' : !isxdigit((unsigned char)s[i]))
            return false;
    return true;
}

static bool slow_part_matches(const char *pattern, const char *part)
{
    if (strcmp(pattern, "{}") == 0)
        return true;
    if (strcmp(pattern, "{uuid}") == 0)
        return slow_is_uuid(part);
    if (strcmp(pattern, "{n}") == 0)
        return part[strspn(part, "0123456789")] == '\0';
    return slow_is_uuid(pattern) ? strcasecmp(pattern, part) == 0 : strcmp(pattern, part) == 0;
}

/* Whether "METHOD /path" matches; method NULL: whatever it is. */
static bool slow_matches(const char *pattern, size_t len, const char *method,
                         const struct parts *path)
{
    const char *blank = memchr(pattern, ' ', len);
    struct parts wanted;

    if (method != NULL && strcmp(method, "HEAD") == 0)
        method = "GET";
    if (method != NULL && (strlen(method) != (size_t)(blank - pattern) ||
                           memcmp(pattern, method, strlen(method)) != 0))
        return false;
    if (!cut(&wanted, blank + 1, (size_t)(pattern + len - blank - 1)) ||
        wanted.count != path->count)
        return false;
    for (size_t i = 0; i < path->count; i++)
        if (!slow_part_matches(wanted.part[i], path->part[i]))
            return false;
    return true;
}

struct slow_request {
    const char *method, *api_path;
    bool methods_table, overridden;
};

struct slow_answer {
    enum request_class class;
    bool is_plain;
    struct parts path;
};

/* Into *a, whose parts point into it. */
static void slow_class(const struct slow_request *r, struct slow_answer *a)
{
    const char *method = r->method, *api_path = r->api_path;
    size_t len = strcspn(api_path, "?"), hits = 0;

    a->class = CLASS_UNKNOWN;
    a->is_plain = !r->overridden &&
                  cut(&a->path, len == 0 ? "/" : api_path, len == 0 ? 1 : len) &&
                  slow_is_plain(&a->path);
    if (!a->is_plain)
        return;
    if (r->methods_table) {
        static const char *const words[][2] = { { "GET", "read" },     { "HEAD", "read" },
                                                { "OPTIONS", "read" }, { "PUT", "change" },
                                                { "PATCH", "change" }, { "DELETE", "change" },
                                                { "POST", "money" } };
        for (size_t i = 0; i < ARRAY_LEN(words); i++)
            if (strcmp(method, words[i][0]) == 0)
                a->class = class_of_name(words[i][1], strlen(words[i][1]));
        return;
    }
    bool options = strcmp(method, "OPTIONS") == 0;
    const struct class_pattern *p;

    for (size_t i = 0; (p = classes_builtin(i)) != NULL; i++)
        if (slow_matches(p->pattern.text, p->pattern.text_len, options ? NULL : method,
                         &a->path)) {
            a->class = options ? CLASS_READ : p->class;
            hits++;
        }
    require(options || hits <= 1); /* no two entries of the table match one request */
}

/* Whether the field or the query says that another request is meant. */
static bool slow_overridden(const struct header_field *f, size_t count, const char *query,
                            bool has_body)
{
    char name[64], value[4096];

    for (size_t i = 0; i < count; i++) {
        size_t n = f[i].name_len < sizeof name ? f[i].name_len : sizeof name - 1;
        size_t v = f[i].value_len < sizeof value ? f[i].value_len : sizeof value - 1;

        for (size_t k = 0; k < n; k++)
            name[k] = (char)(f[i].name[k] == '_' ? '-' : tolower((unsigned char)f[i].name[k]));
        for (size_t k = 0; k < v; k++)
            value[k] = (char)tolower((unsigned char)f[i].value[k]);
        name[n] = value[v] = '\0';
        const char *at = value + strspn(value, " \t");
        static const char names[] = "|x-http-method-override|x-http-method|x-method-override|"
                                    "x-original-url|x-rewrite-url|";
        char wanted[70];

        (void)snprintf(wanted, sizeof wanted, "|%s|", name);
        if (n > 0 && strchr(name, '|') == NULL && strstr(names, wanted) != NULL)
            return true;
        if (has_body && strcmp(name, "content-type") == 0 &&
            (strstr(at, "application/x-www-form-urlencoded") == at ||
             strstr(at, "multipart/") == at))
            return true;
    }
    for (const char *arg = query; *arg != '\0';
         arg += strcspn(arg, "&;"), arg += *arg != '\0') {
        size_t len = strcspn(arg, "&;="), n = 0;

        for (size_t i = 0; i < len && n < sizeof name - 1; i++) {
            unsigned byte = 0;

            if (arg[i] == '%' && i + 2 < len && isxdigit((unsigned char)arg[i + 1]) &&
                isxdigit((unsigned char)arg[i + 2])) {
                (void)sscanf(arg + i + 1, "%2x", &byte);
                name[n++] = byte == 0 ? '?' : (char)tolower((int)byte);
                i += 2;
            } else {
                name[n++] = (char)tolower((unsigned char)arg[i]);
            }
        }
        name[n] = '\0';
        const char *bare = name + strspn(name, "[");

        if (strncmp(bare, "_method", 7) == 0 && strchr("[]", bare[7]) != NULL)
            return true;
    }
    return false;
}

/* Whether some entry of a list, by commas, matches; entries that are none are passed over. */
static bool slow_listed(const char *list, const char *method, const struct slow_answer *a)
{
    while (*list != '\0') {
        size_t len = strcspn(list, ",");
        const char *entry = list;
        size_t n = len;
        struct pattern parsed;

        list += len + (list[len] == ',');
        if ((n == 3 && memcmp(entry, "all", 3) == 0) || class_of_name(entry, n) == a->class)
            return true;
        if (class_of_name(entry, n) == CLASS_COUNT &&
            pattern_parse(&parsed, entry, n) == NULL && a->is_plain &&
            slow_matches(entry, n, method, &a->path))
            return true;
    }
    return false;
}

/* --- what is tried -------------------------------------------------------------------------- */

static void fill(struct rights_list *l, const char *text, bool backwards)
{
    const char *entry[128];
    size_t len[128], n = 0;

    while (*text != '\0' && n < ARRAY_LEN(entry)) {
        entry[n] = text;
        len[n] = strcspn(text, ",");
        text += len[n] + (text[len[n]] == ',');
        n++;
    }
    for (size_t i = 0; i < n; i++) {
        size_t at = backwards ? n - 1 - i : i;

        (void)!rights_list_add(l, entry[at], len[at]);
    }
}

struct input {
    unsigned flags;
    char edit;
    char *method, *target, *allow, *deny;
    struct header_field field;
    size_t fields;
};

/* The next line of the text; at its end, its empty end. */
static char *next_line(char **rest)
{
    char *line = *rest;
    size_t len = strcspn(line, "\n");

    *rest = line + len + (line[len] == '\n');
    line[len] = '\0';
    return line;
}

/* Takes the text apart, in place. False: it is not such a one. */
static bool read_input(struct input *in, char *text, size_t size)
{
    char *rest = text;

    if (size < 4 || strlen(text) != size || text[2] != '\n')
        return false;
    in->flags = (unsigned char)text[0];
    in->edit = text[1];
    rest = text + 3;
    in->method = next_line(&rest);
    in->target = strchr(in->method, ' ');
    if (in->target == NULL)
        return false;
    *in->target++ = '\0';
    char *field = next_line(&rest), *colon = strchr(field, ':');
    if (colon != NULL) {
        in->fields = 1;
        in->field = (struct header_field){ .name = field,
                                           .name_len = (size_t)(colon - field),
                                           .value = colon + 1,
                                           .value_len = strlen(colon + 1) };
    }
    in->allow = next_line(&rest);
    in->deny = next_line(&rest);
    return true;
}

/* The operation of a request; kind is where it goes. */
static struct operation find(const struct config *c, const struct input *in, const char *method,
                             const char *target, struct route *route)
{
    const struct decision_head head = { .config = c,
                                        .method = method,
                                        .target = target,
                                        .fields = &in->field,
                                        .count = in->fields,
                                        .check.body_bytes = (in->flags & HAS_BODY) != 0 };

    *route = route_find(c, method, target);
    if (route->kind != ROUTE_FORWARD)
        return (struct operation){ .class = CLASS_UNKNOWN };
    const struct class_request q = decision_class_request(&head, route);

    struct operation o;

    rules_operation(c->rules, &q, &o);
    return o;
}

static bool is_harmless(enum request_class class)
{
    return class < CLASS_SIGN;
}

/* One byte more, less, or another one in place of it: what signs or pays never becomes something
 * harmless. But for a `?`: it ends the path there, for the API as for us. */
static void try_edits(const struct config *c, const struct input *in)
{
    char *line = NULL;
    size_t len = strlen(in->method) + strlen(in->target) + 1;

    if (in->edit == '?' || len > 600)
        return;
    require((line = malloc(len + 2)) != NULL);
    for (size_t at = 0; at <= len; at++)
        for (int how = 0; how < 3; how++) {
            struct route route;

            (void)snprintf(line, len + 2, "%s %s", in->method, in->target);
            if (how == 0 && at < len)
                line[at] = in->edit;
            else if (how == 1 && at < len)
                memmove(line + at, line + at + 1, len - at);
            else if (how == 2) {
                memmove(line + at + 1, line + at, len - at + 1);
                line[at] = in->edit;
            }
            char *target = strchr(line, ' ');
            if (target == NULL)
                continue;
            *target++ = '\0';
            const struct operation o = find(c, in, line, target, &route);
            require(route.kind != ROUTE_FORWARD || !is_harmless(o.class));
        }
    free(line);
}

static enum rights_rule decide(const char *allow, const char *deny, bool backwards,
                               const char *method, const struct operation *o)
{
    struct rights r = { .allow.count = 0 };

    fill(&r.allow, allow, backwards);
    fill(&r.deny, deny, backwards);
    enum rights_rule rule = rights_decide(&r, method, o).rule;
    rights_list_done(&r.allow);
    rights_list_done(&r.deny);
    return rule;
}

/* The list without its first entry. */
static const char *less(const char *list)
{
    list += strcspn(list, ",");
    return list + (*list == ',');
}

static void try_rights(const struct input *in, const struct operation *o,
                       const struct slow_answer *slow)
{
    enum rights_rule rule = decide(in->allow, in->deny, false, in->method, o);
    bool denied = slow_listed(in->deny, in->method, slow);
    bool allowed = slow_listed(in->allow, in->method, slow);

    require(rule == (denied ? RIGHTS_DENIED : allowed ? RIGHTS_ALLOWED : RIGHTS_NOT_ALLOWED));
    require(decide(in->allow, in->deny, true, in->method, o) == rule);
    if (rule == RIGHTS_ALLOWED) /* less deny lets no less through */
        require(decide(in->allow, less(in->deny), false, in->method, o) == RIGHTS_ALLOWED);
    else /* less allow, or more deny, lets no more through */
        require(decide(less(in->allow), in->deny, false, in->method, o) != RIGHTS_ALLOWED);
}

static void try_input(const struct config *c, const struct input *in)
{
    struct route route;
    const struct operation o = find(c, in, in->method, in->target, &route);

    if (route.kind != ROUTE_FORWARD)
        return;
    const char *query = route.path + route.path_len;
    bool overridden = slow_overridden(&in->field, in->fields, query + (*query == '?'),
                                      (in->flags & HAS_BODY) != 0);
    struct slow_answer slow;

    slow_class(&(struct slow_request){ .method = in->method,
                                       .api_path = route.api_path,
                                       .methods_table = (in->flags & METHODS_TABLE) != 0,
                                       .overridden = overridden },
               &slow);

    require(o.class == slow.class);
    require(o.shape.plain == slow.is_plain);
    try_rights(in, &o, &slow);
    if (!is_harmless(o.class) && o.class != CLASS_UNKNOWN && (in->flags & METHODS_TABLE) == 0)
        try_edits(c, in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *hosts[] = { "localhost", "[::1]" };
    struct config c = { .listen.allowed_hosts = { .item = hosts, .count = 2 },
                        .upstream = { .scheme = "https", .authority = "api.1shotapi.dev" },
                        .token.local_endpoint = true };
    struct input in = { .flags = 0 };
    char *text = malloc(size + 1);

    require(text != NULL);
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    if (read_input(&in, text, size)) {
        c.upstream.base_path = (in.flags & NO_BASE_PATH) != 0 ? "" : "/v0";
        c.rules = rules_new();
        classes_init(&c.rules->classes,
                     (in.flags & METHODS_TABLE) != 0 ? CLASS_TABLE_METHODS : CLASS_TABLE_1SHOT);
        try_input(&c, &in);
        rules_free(c.rules);
    }
    free(text);
    return 0;
}

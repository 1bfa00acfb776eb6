/* Patterns and plain paths; see pattern.h. */
#include "rights/pattern.h"

#include <string.h>

#include "base/ascii.h"

/* What the segments of a plain path are made of: RFC 3986's unreserved characters, ':' and '@'. */
static bool is_plain_byte(char c)
{
    return ascii_is_alpha(c) || ascii_is_digit(c) || c == '-' || c == '.' || c == '_' ||
           c == '~' || c == ':' || c == '@';
}

static bool is_plain(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!is_plain_byte(s[i]))
            return false;
    return n > 0;
}

static bool is_number(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!ascii_is_digit(s[i]))
            return false;
    return n > 0;
}

static bool is_uuid(const char *s, size_t n)
{
    if (n != 36)
        return false;
    for (size_t i = 0; i < n; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;

        if (dash ? s[i] != '-' : !ascii_is_hex(s[i]))
            return false;
    }
    return true;
}

struct path_shape path_shape_of(const char *path, size_t len)
{
    struct path_shape shape = { .plain = false };
    const char *end = path + len;

    if (len == 0 || path[0] != '/')
        return shape;
    shape.plain = true;
    if (len == 1)
        return shape;
    for (const char *at = path; at < end;) {
        const char *text = at + 1;
        const char *slash = memchr(text, '/', (size_t)(end - text));
        size_t n = (size_t)((slash == NULL ? end : slash) - text);

        if (shape.count == PATH_SEGMENTS_MAX || !is_plain(text, n))
            return (struct path_shape){ .plain = false };
        shape.segment[shape.count++] = (struct path_segment){
            .text = text, .len = n, .is_uuid = is_uuid(text, n), .is_number = is_number(text, n)
        };
        at = text + n;
    }
    return shape;
}

static const char *parse_segment(struct pattern_segment *s, const char *text, size_t n)
{
    *s = (struct pattern_segment){ .text = text, .len = n };
    if (n == 0)
        return "has an empty segment";
    if (n == 6 && memcmp(text, "{uuid}", 6) == 0)
        s->kind = PATTERN_UUID;
    else if (n == 3 && memcmp(text, "{n}", 3) == 0)
        s->kind = PATTERN_NUMBER;
    else if (n == 2 && memcmp(text, "{}", 2) == 0)
        s->kind = PATTERN_ANY;
    else if (memchr(text, '*', n) != NULL)
        return "has a `*`: use {} for one segment";
    else if (memchr(text, '{', n) != NULL || memchr(text, '}', n) != NULL)
        return "has a placeholder that is not {uuid}, {n} or {}";
    else if (memchr(text, '?', n) != NULL)
        return "has a `?`: queries are not matched";
    else if (!is_plain(text, n))
        return "has a byte that no plain path has; those are A-Z a-z 0-9 - . _ ~ : @";
    s->is_uuid = s->kind == PATTERN_LITERAL && is_uuid(text, n);
    return NULL;
}

const char *pattern_parse(struct pattern *p, const char *text, size_t len)
{
    const char *end = text + len, *blank = memchr(text, ' ', len);

    *p = (struct pattern){ .text = text, .text_len = len };
    if (blank == NULL)
        return "is not METHOD /path";
    p->method_len = (size_t)(blank - text);
    if (!ascii_is_token(text, p->method_len) || p->method_len > PATTERN_METHOD_MAX)
        return "does not begin with one method";
    for (size_t i = 0; i < p->method_len; i++)
        if (text[i] != '-' && (text[i] < 'A' || text[i] > 'Z'))
            return "has a method that is not in capitals; methods are compared byte by byte";
    if (p->method_len == 4 && memcmp(text, "HEAD", 4) == 0)
        return "names HEAD: write GET, which covers it";
    if (blank + 1 == end || blank[1] != '/')
        return "has one blank between the method and a path that begins with a slash";
    if (blank + 2 == end)
        return NULL;
    for (const char *at = blank + 1; at < end;) {
        const char *slash = memchr(at + 1, '/', (size_t)(end - at - 1));
        size_t n = (size_t)((slash == NULL ? end : slash) - at - 1);

        if (p->count == PATH_SEGMENTS_MAX)
            return "has too many segments";
        const char *wrong = parse_segment(&p->segment[p->count++], at + 1, n);
        if (wrong != NULL)
            return wrong;
        at += 1 + n;
    }
    return NULL;
}

static bool same_literal(const struct pattern_segment *p, const char *text, size_t len)
{
    if (p->len != len)
        return false;
    return p->is_uuid ? ascii_equal(p->text, p->len, text, len)
                      : memcmp(p->text, text, len) == 0;
}

static bool segment_matches(const struct pattern_segment *p, const struct path_segment *s)
{
    switch (p->kind) {
    case PATTERN_LITERAL:
        return same_literal(p, s->text, s->len);
    case PATTERN_UUID:
        return s->is_uuid;
    case PATTERN_NUMBER:
        return s->is_number;
    default:
        return true;
    }
}

bool pattern_matches_path(const struct pattern *p, const struct path_shape *shape)
{
    if (!shape->plain || shape->count != p->count)
        return false;
    for (size_t i = 0; i < p->count; i++)
        if (!segment_matches(&p->segment[i], &shape->segment[i]))
            return false;
    return true;
}

static bool method_is(const struct pattern *p, const char *method, size_t len)
{
    if (len == 4 && memcmp(method, "HEAD", 4) == 0) {
        method = "GET";
        len = 3;
    }
    return p->method_len == len && memcmp(p->text, method, len) == 0;
}

bool pattern_matches(const struct pattern *p, const char *method,
                     const struct path_shape *shape)
{
    return pattern_matches_path(p, shape) && method_is(p, method, strlen(method));
}

/* A literal as a segment of a path. */
static struct path_segment as_path(const struct pattern_segment *s)
{
    return (struct path_segment){ .text = s->text,
                                  .len = s->len,
                                  .is_uuid = is_uuid(s->text, s->len),
                                  .is_number = is_number(s->text, s->len) };
}

static bool segments_overlap(const struct pattern_segment *a, const struct pattern_segment *b)
{
    if (a->kind == PATTERN_LITERAL) {
        struct path_segment literal = as_path(a);

        return segment_matches(b, &literal);
    }
    if (b->kind == PATTERN_LITERAL)
        return segments_overlap(b, a);
    /* A UUID has dashes, a number has none. */
    return a->kind == b->kind || a->kind == PATTERN_ANY || b->kind == PATTERN_ANY;
}

static bool segment_covers(const struct pattern_segment *wide,
                           const struct pattern_segment *narrow)
{
    if (narrow->kind == PATTERN_LITERAL) {
        struct path_segment literal = as_path(narrow);

        return segment_matches(wide, &literal);
    }
    return wide->kind == PATTERN_ANY || wide->kind == narrow->kind;
}

static bool same_method(const struct pattern *a, const struct pattern *b)
{
    return a->method_len == b->method_len && memcmp(a->text, b->text, a->method_len) == 0;
}

bool pattern_overlaps(const struct pattern *a, const struct pattern *b)
{
    if (a->count != b->count || !same_method(a, b))
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (!segments_overlap(&a->segment[i], &b->segment[i]))
            return false;
    return true;
}

bool pattern_covers(const struct pattern *wide, const struct pattern *narrow)
{
    if (wide->count != narrow->count || !same_method(wide, narrow))
        return false;
    for (size_t i = 0; i < wide->count; i++)
        if (!segment_covers(&wide->segment[i], &narrow->segment[i]))
            return false;
    return true;
}

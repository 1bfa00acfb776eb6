/* Patterns and plain paths; see pattern.h. */
#include "rights/pattern.h"

#include <string.h>

#include "base/ascii.h"

/* The characters in segments of a plain path: RFC 3986's unreserved characters, ':' and '@'. */
enum { PLAIN = 1, DIGIT = 2, HEX = 4 };
#define D (PLAIN | DIGIT | HEX)
#define H (PLAIN | HEX)
static const unsigned char kinds[256] = {
    ['0'] = D,     ['1'] = D,     ['2'] = D,     ['3'] = D,     ['4'] = D,     ['5'] = D,
    ['6'] = D,     ['7'] = D,     ['8'] = D,     ['9'] = D,     ['a'] = H,     ['b'] = H,
    ['c'] = H,     ['d'] = H,     ['e'] = H,     ['f'] = H,     ['g'] = PLAIN, ['h'] = PLAIN,
    ['i'] = PLAIN, ['j'] = PLAIN, ['k'] = PLAIN, ['l'] = PLAIN, ['m'] = PLAIN, ['n'] = PLAIN,
    ['o'] = PLAIN, ['p'] = PLAIN, ['q'] = PLAIN, ['r'] = PLAIN, ['s'] = PLAIN, ['t'] = PLAIN,
    ['u'] = PLAIN, ['v'] = PLAIN, ['w'] = PLAIN, ['x'] = PLAIN, ['y'] = PLAIN, ['z'] = PLAIN,
    ['A'] = H,     ['B'] = H,     ['C'] = H,     ['D'] = H,     ['E'] = H,     ['F'] = H,
    ['G'] = PLAIN, ['H'] = PLAIN, ['I'] = PLAIN, ['J'] = PLAIN, ['K'] = PLAIN, ['L'] = PLAIN,
    ['M'] = PLAIN, ['N'] = PLAIN, ['O'] = PLAIN, ['P'] = PLAIN, ['Q'] = PLAIN, ['R'] = PLAIN,
    ['S'] = PLAIN, ['T'] = PLAIN, ['U'] = PLAIN, ['V'] = PLAIN, ['W'] = PLAIN, ['X'] = PLAIN,
    ['Y'] = PLAIN, ['Z'] = PLAIN, ['-'] = PLAIN, ['.'] = PLAIN, ['_'] = PLAIN, ['~'] = PLAIN,
    [':'] = PLAIN, ['@'] = PLAIN,
};
#undef D
#undef H

#define UUID_LEN 36
#define HASH_FACTOR 0x9e3779b97f4a7c15U

static unsigned char kind_of(char c)
{
    return kinds[(unsigned char)c];
}

/* The kinds that all of the bytes have in common. */
static unsigned common_kinds(const char *s, size_t n)
{
    unsigned common = n > 0 ? PLAIN | DIGIT | HEX : 0;

    for (size_t i = 0; i < n; i++)
        common &= kind_of(s[i]);
    return common;
}

static bool is_plain(const char *s, size_t n)
{
    return (common_kinds(s, n) & PLAIN) != 0;
}

static bool is_number(const char *s, size_t n)
{
    return (common_kinds(s, n) & DIGIT) != 0;
}

/* Whether it is a UUID. In one pass, since nearly every path has one: each character must be
 * of the kind that a UUID has at its place. */
static inline bool is_uuid(const char *s, size_t n)
{
    unsigned common = HEX;

    if (n != UUID_LEN || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-')
        return false;
#pragma GCC unroll 8
    for (size_t i = 0; i < 8; i++)
        common &= kind_of(s[i]);
#pragma GCC unroll 4
    for (size_t i = 0; i < 4; i++)
        common &= kind_of(s[9 + i]) & kind_of(s[14 + i]) & kind_of(s[19 + i]);
#pragma GCC unroll 12
    for (size_t i = 24; i < UUID_LEN; i++)
        common &= kind_of(s[i]);
    return common != 0;
}

/* Eight bytes of a UUID in lower case. Setting this bit does not change digits and `-`. */
static uint64_t uuid_word(const char *s)
{
    uint64_t word;

    memcpy(&word, s, sizeof word);
    return word | 0x2020202020202020;
}

/* The hash of a UUID (36 bytes): the last word overlaps the one before. */
static inline uint32_t uuid_hash(const char *s)
{
    uint64_t hash = uuid_word(s) * HASH_FACTOR;

    hash = (hash ^ hash >> 32 ^ uuid_word(s + 8)) * HASH_FACTOR;
    hash = (hash ^ hash >> 32 ^ uuid_word(s + 16)) * HASH_FACTOR;
    hash = (hash ^ hash >> 32 ^ uuid_word(s + 24)) * HASH_FACTOR;
    hash = (hash ^ hash >> 32 ^ uuid_word(s + 28)) * HASH_FACTOR;
    return (uint32_t)(hash >> 32);
}

static inline bool same_uuid(const char *a, const char *b)
{
    return ((uuid_word(a) ^ uuid_word(b)) | (uuid_word(a + 8) ^ uuid_word(b + 8)) |
            (uuid_word(a + 16) ^ uuid_word(b + 16)) | (uuid_word(a + 24) ^ uuid_word(b + 24)) |
            (uuid_word(a + 28) ^ uuid_word(b + 28))) == 0;
}

/* Hashes the length and the first and last bytes, which distinguish the words of a path. */
static inline uint32_t word_hash(const char *s, size_t n)
{
    uint64_t first = 0, last = 0;

    if (n >= sizeof first) {
        memcpy(&first, s, sizeof first);
        memcpy(&last, s + n - sizeof last, sizeof last);
    } else if (n >= sizeof(uint32_t)) {
        memcpy(&first, s, sizeof(uint32_t));
        memcpy(&last, s + n - sizeof(uint32_t), sizeof(uint32_t));
    } else {
        for (size_t i = 0; i < n; i++)
            first = first << 8 | (unsigned char)s[i];
    }
    first = (first ^ n) * HASH_FACTOR;
    last = (first ^ first >> 32 ^ last) * HASH_FACTOR;
    return (uint32_t)(last >> 32);
}

uint32_t path_hash(const char *text, size_t len)
{
    return is_uuid(text, len) ? uuid_hash(text) : word_hash(text, len);
}

/* Reads the next segment, which begins at `at`. Returns its end, or NULL: it is not plain. */
static inline const char *take_segment(struct path_shape *shape, const char *at,
                                       const char *end)
{
    struct path_segment *s = &shape->segment[shape->count];
    unsigned common = DIGIT, kind;

    s->text = at;
    s->is_uuid = s->is_number = false;
    if (end - at >= UUID_LEN && (end - at == UUID_LEN || at[UUID_LEN] == '/') &&
        is_uuid(at, UUID_LEN)) {
        s->len = UUID_LEN;
        s->is_uuid = true;
        s->hash = uuid_hash(at);
        shape->uuids |= 1U << shape->count;
        return at + UUID_LEN;
    }
    while (at < end && (kind = kind_of(*at)) != 0) {
        common &= kind;
        at++;
    }
    s->len = (size_t)(at - s->text);
    if (s->len == 0 || (at < end && *at != '/'))
        return NULL;
    if (common != 0) {
        s->is_number = true;
        shape->numbers |= 1U << shape->count;
    }
    s->hash = word_hash(s->text, s->len);
    return at;
}

void path_shape_take(struct path_shape *shape, const char *path, size_t len)
{
    const char *at = path, *end = path + len;

    shape->plain = false;
    shape->count = 0;
    shape->uuids = shape->numbers = 0;
    if (len == 0 || path[0] != '/')
        return;
    for (; at < end && len > 1; shape->count++)
        if (shape->count == PATH_SEGMENTS_MAX ||
            (at = take_segment(shape, at + 1, end)) == NULL)
            return;
    shape->plain = true;
}

struct path_shape path_shape_of(const char *path, size_t len)
{
    struct path_shape shape = { .plain = false };

    path_shape_take(&shape, path, len);
    return shape.plain ? shape : (struct path_shape){ .plain = false };
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
    p->is_literal = true;
    for (size_t i = 0; i < p->count; i++)
        p->is_literal &= p->segment[i].kind == PATTERN_LITERAL;
    return NULL;
}

static inline bool segment_matches(const struct pattern_segment *p,
                                   const struct path_segment *s)
{
    if (p->kind != PATTERN_LITERAL)
        return p->kind == PATTERN_UUID     ? s->is_uuid
               : p->kind == PATTERN_NUMBER ? s->is_number
                                           : true;
    return p->is_uuid ? s->is_uuid && same_uuid(p->text, s->text)
                      : p->len == s->len && memcmp(p->text, s->text, s->len) == 0;
}

/* Whether a path is, byte for byte, the path of a pattern of literals. */
static bool is_same_path(const struct pattern *p, const struct path_shape *shape)
{
    const char *path = shape->segment[0].text;
    const struct path_segment *last = &shape->segment[shape->count - 1];
    size_t len = (size_t)(last->text + last->len - path);

    return len == (size_t)(p->text + p->text_len - p->segment[0].text) &&
           memcmp(p->segment[0].text, path, len) == 0;
}

bool pattern_matches_path(const struct pattern *p, const struct path_shape *shape)
{
    if (!shape->plain || shape->count != p->count)
        return false;
    if (p->is_literal && is_same_path(p, shape))
        return true;
    for (size_t i = 0; i < p->count; i++)
        if (!segment_matches(&p->segment[i], &shape->segment[i]))
            return false;
    return true;
}

static bool method_is(const struct pattern *p, const char *method)
{
    size_t i = 0;

    if (method[0] == 'H' && strcmp(method, "HEAD") == 0)
        method = "GET";
    while (i < p->method_len && method[i] == p->text[i])
        i++;
    return i == p->method_len && method[i] == '\0';
}

bool pattern_matches(const struct pattern *p, const char *method,
                     const struct path_shape *shape)
{
    return method_is(p, method) && pattern_matches_path(p, shape);
}

/* Converts a literal of a pattern to a segment of a path. */
static struct path_segment as_path(const struct pattern_segment *s)
{
    return (struct path_segment){ .text = s->text,
                                  .len = s->len,
                                  .is_uuid = is_uuid(s->text, s->len),
                                  .is_number = is_number(s->text, s->len),
                                  .hash = path_hash(s->text, s->len) };
}

static bool segments_overlap(const struct pattern_segment *a, const struct pattern_segment *b)
{
    if (a->kind == PATTERN_LITERAL) {
        struct path_segment literal = as_path(a);

        return segment_matches(b, &literal);
    }
    if (b->kind == PATTERN_LITERAL)
        return segments_overlap(b, a);
    /* A UUID contains dashes and a number does not, so they never match the same. */
    return a->kind == b->kind || a->kind == PATTERN_ANY || b->kind == PATTERN_ANY;
}

bool pattern_segment_covers(const struct pattern_segment *wide,
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
        if (!pattern_segment_covers(&wide->segment[i], &narrow->segment[i]))
            return false;
    return true;
}

#pragma once
/* A pattern names operations of an API: one method and a path whose segments are given or left
 * open, `POST /methods/{uuid}/execute`. Pure. There is no prefix, no regular expression and no
 * negation, so that what a pattern covers can be read off it.
 *
 * A segment of a pattern is
 *     literal   these bytes; a literal UUID is compared without regard to case
 *     {uuid}    36 characters, hexadecimal digits of either case in groups of 8-4-4-4-12
 *     {n}       decimal digits, at least one
 *     {}        any one segment of a plain path
 */
#include "base/base.h"

#define PATH_SEGMENTS_MAX 12
#define PATTERN_METHOD_MAX 32

/* A path taken apart once, for any number of patterns. */
struct path_shape {
    bool plain;              /* false: no pattern matches it */
    size_t count;            /* of segments; 0: "/" */
    unsigned uuids, numbers; /* a bit for each segment that is one */
    struct path_segment {
        const char *text; /* in the path */
        size_t len;
        bool is_uuid, is_number;
        uint32_t hash;            /* path_hash */
    } segment[PATH_SEGMENTS_MAX]; /* the first `count` of them */
};

/* Takes a path apart; `len` is without the query. A path is plain when it is "/", or segments of
 * `A-Z a-z 0-9 - . _ ~ : @`, none of them empty, without a slash at the end, at most
 * PATH_SEGMENTS_MAX of them. It is not decoded and not normalised. Refers to `path`. */
struct path_shape path_shape_of(const char *path, size_t len);
/* The same into one that need not be zeroed. */
void path_shape_take(struct path_shape *shape, const char *path, size_t len);

/* By which a segment of a path is looked up; to be compared all the same. A UUID has one, whatever
 * the case of its letters. */
uint32_t path_hash(const char *text, size_t len);

enum pattern_kind { PATTERN_LITERAL, PATTERN_UUID, PATTERN_NUMBER, PATTERN_ANY };

struct pattern {
    const char *text; /* as written, not owned; ends in NUL or goes on behind the pattern */
    size_t text_len, method_len;
    size_t count;
    bool is_literal; /* all of its segments are, and there is one */
    struct pattern_segment {
        enum pattern_kind kind;
        bool is_uuid; /* a literal that is a UUID */
        const char *text;
        size_t len;
    } segment[PATH_SEGMENTS_MAX];
};

/* Reads a pattern; refers to `text`. Returns NULL, or what is wrong with it and what to write
 * instead, as a literal without a full stop. */
const char *pattern_parse(struct pattern *p, const char *text, size_t len) MUST_CHECK;

/* Whether a request matches. GET in a pattern covers HEAD (RFC 9110 section 9.3.2); methods are
 * compared byte by byte. */
bool pattern_matches(const struct pattern *p, const char *method,
                     const struct path_shape *shape);

/* The same without regard to the method. */
bool pattern_matches_path(const struct pattern *p, const struct path_shape *shape);

/* Whether some request matches both. */
bool pattern_overlaps(const struct pattern *a, const struct pattern *b);

/* Whether each request that matches `narrow` matches `wide` too. */
bool pattern_covers(const struct pattern *wide, const struct pattern *narrow);

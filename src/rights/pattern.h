#pragma once
/* A pattern names operations of an API: one method and a path in which each segment is given
 * or a placeholder, `POST /methods/{uuid}/execute`. Pure. There are no prefixes, regular
 * expressions or negations, so that everybody can see what a pattern matches.
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

/* A path, parsed once and then matched with any number of patterns. */
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

/* Parses a path; `len` is without the query. A path is plain if it is "/", or consists of at
 * most PATH_SEGMENTS_MAX segments of `A-Z a-z 0-9 - . _ ~ : @`, none of them empty, without
 * a slash at the end. It is not decoded and not normalised. Keeps pointers to `path`. For
 * tests. */
struct path_shape path_shape_of(const char *path, size_t len);
/* The same into an object of the caller's, which need not be zeroed: that saves a copy for
 * each request. */
void path_shape_take(struct path_shape *shape, const char *path, size_t len);

/* The hash by which a segment is looked up; compare it as well. It does not depend on the
 * case of the letters of a UUID. */
uint32_t path_hash(const char *text, size_t len);

enum pattern_kind { PATTERN_LITERAL, PATTERN_UUID, PATTERN_NUMBER, PATTERN_ANY };

struct pattern {
    const char *text; /* as written, not owned; need not end after the pattern */
    size_t text_len, method_len;
    size_t count;
    bool is_literal; /* has segments, and all of them are literals */
    struct pattern_segment {
        enum pattern_kind kind;
        bool is_uuid; /* a literal that is a UUID */
        const char *text;
        size_t len;
    } segment[PATH_SEGMENTS_MAX];
};

/* Reads a pattern; keeps pointers to `text`. Returns NULL, or what is wrong and what to
 * write instead, as a literal without a full stop. */
const char *pattern_parse(struct pattern *p, const char *text, size_t len) MUST_CHECK;

/* Whether a request matches. GET in a pattern also matches HEAD (RFC 9110 section 9.3.2);
 * methods are compared byte by byte. */
bool pattern_matches(const struct pattern *p, const char *method,
                     const struct path_shape *shape);

/* The same, ignoring the method. */
bool pattern_matches_path(const struct pattern *p, const struct path_shape *shape);

/* Whether a request exists that matches both. */
bool pattern_overlaps(const struct pattern *a, const struct pattern *b);

/* Whether all that matches the segment `narrow` also matches `wide`. */
bool pattern_segment_covers(const struct pattern_segment *wide,
                            const struct pattern_segment *narrow);

/* Whether every request that matches `narrow` also matches `wide`. */
bool pattern_covers(const struct pattern *wide, const struct pattern *narrow);

#pragma once
/* Finds, among many patterns, those that a request may match, in a time that does not depend
 * on their number. Pure.
 *
 * The form of a pattern is which of its segments are literals, and which placeholders the
 * others are. A caller's settings use a few forms, and each may stand for many patterns
 * (`POST /methods/ID/execute`, one for each ID). A pattern is stored under a hash of its
 * form and its literals, and a path is looked up once for each form. */
#include "rights/pattern.h"

struct pattern_index {
    struct pattern_form {
        size_t segments;
        unsigned literals, uuids, numbers; /* a bit for each segment of that kind */
    } * form;
    size_t form_count;
    struct pattern_slot {
        uint32_t hash;
        uint32_t number; /* of the pattern, from 1; 0: free slot */
    } * slot;            /* open addressing, never more than half full */
    size_t slot_count, used;
    unsigned shift; /* the slot is taken from the highest bits of the hash, which vary most */
};

/* Adds a pattern under a number. Takes a zeroed index. */
void pattern_index_add(struct pattern_index *x, const struct pattern *p, size_t number);
void pattern_index_done(struct pattern_index *x);

/* A search; zeroed at its start. */
struct pattern_search {
    size_t form, slot; /* where to continue */
    uint32_t hash;     /* of the path in this form; 0: not computed yet */
};

#define PATTERN_INDEX_END SIZE_MAX

/* The number of the next pattern that the path may match, in no particular order, or
 * PATTERN_INDEX_END. Every pattern that matches is returned once, but hash and form may
 * coincide by chance, so compare each. Thread: any. */
size_t pattern_index_next(const struct pattern_index *x, const struct path_shape *shape,
                          struct pattern_search *s);

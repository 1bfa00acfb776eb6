#pragma once
/* Finds those of many patterns that a request may match, at a cost that does not grow with how
 * many there are. Pure.
 *
 * Patterns that have their literal segments in the same places, and the same placeholders in the
 * others, are of one form; the settings of a caller hold a few forms, and each may stand for many
 * patterns (`POST /methods/ID/execute`, one for each ID). A pattern is filed under a hash of its
 * form and its literals, and a path is looked up once for each form. */
#include "rights/pattern.h"

struct pattern_index {
    struct pattern_form {
        size_t segments;
        unsigned literals, uuids, numbers; /* a bit for each segment that is one */
    } * form;
    size_t form_count;
    struct pattern_slot {
        uint32_t hash;
        uint32_t number; /* of the pattern, from 1 up; 0: a free slot */
    } * slot;            /* open addressing, never more than half full */
    size_t slot_count, used;
    unsigned shift; /* the slot of a hash is in its highest bits, which hold most of it */
};

/* Files a pattern under a number. Takes a zeroed index. */
void pattern_index_add(struct pattern_index *x, const struct pattern *p, size_t number);
void pattern_index_done(struct pattern_index *x);

/* A search, zeroed at its begin. */
struct pattern_search {
    size_t form, slot; /* where to go on */
    uint32_t hash;     /* of the path in this form; 0: not yet known */
};

#define PATTERN_INDEX_END SIZE_MAX

/* The number of one more pattern that the path may match, in no order, or PATTERN_INDEX_END. All
 * that it does match are among them, each once; hash and form may lie, so each is to be compared.
 * Thread: any. */
size_t pattern_index_next(const struct pattern_index *x, const struct path_shape *shape,
                          struct pattern_search *s);

#pragma once
/* What a caller may do: lists of allowed and denied classes and patterns. Pure.
 *
 *   1. an entry of `deny` matches:  refused
 *   2. an entry of `allow` matches: allowed
 *   3. otherwise:                   refused
 *
 * Neither the order of entries nor how specific they are matters. */
#include "rights/classes.h"

#define RIGHTS_PATTERNS_MAX 64

/* One list: `read, POST /methods/{uuid}/execute`. */
struct rights_list {
    unsigned classes; /* bit 1 << enum request_class */
    struct pattern *pattern;
    size_t count;
    struct pattern_index index; /* of the patterns */
};

struct rights {
    struct rights_list allow, deny;
};

/* All classes, CLASS_UNKNOWN included; the entry `all`. */
#define RIGHTS_ALL ((1U << CLASS_COUNT) - 1)

/* Adds one entry to a list: a class, `all`, or a pattern. Keeps a pointer to `text`, which
 * must stay. Returns NULL, or what is wrong with the entry, as a literal. */
const char *rights_list_add(struct rights_list *l, const char *text, size_t len) MUST_CHECK;
void rights_list_done(struct rights_list *l);

enum rights_rule { RIGHTS_ALLOWED, RIGHTS_NOT_ALLOWED, RIGHTS_DENIED };

struct rights_decision {
    enum rights_rule rule;
    const char *entry; /* the entry that decided: a class or a pattern; NULL: none */
    size_t entry_len;
};

/* Thread: any. */
struct rights_decision rights_decide(const struct rights *r, const char *method,
                                     const struct operation *o);

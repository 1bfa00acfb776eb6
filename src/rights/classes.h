#pragma once
/* The class of a request: how much it can do. It is found by a table of the API's operations,
 * not by the method: here a GET can sign and a PUT can pay. Whatever is not in the table is
 * unknown, and is treated like money. Pure. */
#include "rights/pattern_index.h"

/* In the order of what they can do. */
enum request_class {
    CLASS_READ,     /* looks */
    CLASS_SIMULATE, /* has the API compute something; nothing is changed */
    CLASS_CREATE,   /* makes a new object or key */
    CLASS_CHANGE,   /* alters or removes objects */
    CLASS_SIGN,     /* makes a signature that somebody may use to pay */
    CLASS_MONEY,    /* pays, or writes on chain */
    CLASS_UNKNOWN,  /* in no table */
    CLASS_COUNT
};

/* "read" ... "unknown". */
const char *class_name(enum request_class c);
/* The class of that name (of `len` bytes), or CLASS_COUNT. */
enum request_class class_of_name(const char *name, size_t len);

enum class_table { CLASS_TABLE_OFF, CLASS_TABLE_1SHOT, CLASS_TABLE_METHODS };

/* A pattern of classes.read ... classes.money, added to the table. */
struct class_pattern {
    struct pattern pattern;
    enum request_class class;
};

struct classes {
    enum class_table table;
    struct class_pattern *added;
    size_t added_count;
    struct pattern_index index; /* of those that are added */
};

/* Takes the built-in table apart once, and starts with no added patterns. Before any other
 * thread asks. Thread: control. */
void classes_init(struct classes *c, enum class_table table);
void classes_done(struct classes *c);

/* Adds a pattern, which refers to text that must last. Thread: control. */
void classes_add(struct classes *c, const struct class_pattern *p);

/* What is asked of a request. */
struct class_request {
    const char *method;   /* NUL-terminated */
    const char *api_path; /* less the base path; "" counts as "/" */
    size_t api_path_len;  /* without the query */
    bool overridden;      /* it says that it means another one, see http/override.h */
};

/* The number of an operation that was told by its method alone, or is in no table. */
#define CLASSES_NO_PATTERN SIZE_MAX

/* The operation of a request. */
struct operation {
    enum request_class class;
    const char *text; /* "POST /methods/{uuid}/execute"; "unknown" in no table. Not a copy. */
    size_t text_len;
    bool is_builtin;         /* of the 1shot table, no added pattern */
    size_t number;           /* of its pattern, see classes_pattern; CLASSES_NO_PATTERN */
    struct path_shape shape; /* not plain when overridden: no pattern may match it then */
};

/* Finds the operation of a request: CLASS_UNKNOWN when it is in no table, its path is not plain,
 * or it is overridden. HEAD is GET; OPTIONS is CLASS_READ on a path of the table. Refers to the
 * request's strings. Thread: any. */
void classes_find(const struct classes *c, const struct class_request *r,
                  struct operation *out);

/* Whether an added pattern would make an operation of the 1shot table laxer: then that
 * operation's pattern, else NULL. */
const char *classes_laxer_than(const struct classes *c, const struct class_pattern *p);

/* The operations of the 1shot table, for lists and diagnostics: entry i, or NULL behind the
 * last. */
const struct class_pattern *classes_builtin(size_t i);
size_t classes_builtin_count(void);

/* The pattern of that number: first those of the 1shot table, then the added ones. NULL behind the
 * last. */
const struct class_pattern *classes_pattern(const struct classes *c, size_t number);

#pragma once
/* The class of a request: how much it can do. A table of the API's operations tells it, not
 * the method: in this API a GET can sign and a PUT can pay. What is not in the table is
 * unknown, and treated like money. Pure. */
#include "rights/pattern_index.h"

/* Ordered by what they can do. */
enum request_class {
    CLASS_READ,     /* only reads */
    CLASS_SIMULATE, /* has the API compute something; changes nothing */
    CLASS_CREATE,   /* makes a new object or key */
    CLASS_CHANGE,   /* alters or removes objects */
    CLASS_SIGN,     /* makes a signature that can be used to pay */
    CLASS_MONEY,    /* pays, or writes on chain */
    CLASS_UNKNOWN,  /* not in the table */
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
    struct pattern_index index; /* of the added ones */
};

/* Parses the built-in table once, and starts without added patterns. Call it before other
 * threads use classes. Thread: control. */
void classes_init(struct classes *c, enum class_table table);
void classes_done(struct classes *c);

/* Adds a pattern; its text must stay. Thread: control. */
void classes_add(struct classes *c, const struct class_pattern *p);

/* What is known of a request whose class is asked for. */
struct class_request {
    const char *method;   /* NUL-terminated */
    const char *api_path; /* without the base path; "" means "/" */
    size_t api_path_len;  /* without the query */
    bool overridden;      /* it claims to have another method or path, see http/override.h */
};

/* The class that CLASS_TABLE_METHODS gives to a request that no pattern matches. */
enum request_class class_of_method(const char *method);

/* The number of an operation that is not in the table, or known by its method only. */
#define CLASSES_NO_PATTERN SIZE_MAX

/* The operation of a request. */
struct operation {
    enum request_class class;
    /* "POST /methods/{uuid}/execute"; "unknown" if it is in no table. Not a copy. */
    const char *text;
    size_t text_len;
    bool is_builtin;         /* from the 1shot table, not an added pattern */
    size_t number;           /* of its pattern, see classes_pattern; CLASSES_NO_PATTERN */
    struct path_shape shape; /* not plain if overridden: then no pattern may match */
};

/* Finds the operation of a request: CLASS_UNKNOWN when it is in no table, its path is not
 * plain, or it is overridden. HEAD counts as GET; OPTIONS is CLASS_READ on a path of the
 * table. Keeps pointers to the request's strings. Thread: any. */
void classes_find(const struct classes *c, const struct class_request *r,
                  struct operation *out);

/* If an added pattern would make an operation of the 1shot table less strict: that
 * operation's pattern, else NULL. */
const char *classes_laxer_than(const struct classes *c, const struct class_pattern *p);

/* Entry i of the 1shot table, for lists and diagnostics; NULL after the last. */
const struct class_pattern *classes_builtin(size_t i);
size_t classes_builtin_count(void);

/* The pattern with that number: first those of the 1shot table, then the added ones. NULL
 * after the last. */
const struct class_pattern *classes_pattern(const struct classes *c, size_t number);

#pragma once
/* `oneshot-proxy explain`: tells what the proxy would decide about a request, and why, with
 * the same functions that the running program uses. It needs only the settings: no secret,
 * no network, no running proxy. */
#include "base/buf.h"
#include "config/config.h"

#define EXPLAIN_FIELDS_MAX 64

/* Exit codes, in addition to 1 (settings) and 2 (command line). */
enum { EXPLAIN_SENT = 0, EXPLAIN_REFUSED = 3 };

/* The command line's options; NULL, or -1 for numbers: not given. */
struct explain_options {
    const char *caller;      /* a name; "none": nobody is recognised */
    const char *address;     /* the address that it comes in by, as in the settings */
    int64_t uid, gid;        /* of the peer of a unix socket */
    const char *certificate; /* PEM file */
    const char *field[EXPLAIN_FIELDS_MAX]; /* "Name: value" */
    size_t field_count;
    const char *method, *target; /* both or neither; neither: list all operations */
    const char *expect;          /* a file of lines CALLER METHOD TARGET sent|refused */
};

/* Explains, lists, or checks expectations. The settings came from config_load_rules with
 * this report. Appends the output to `out`, and errors to `error`. Returns the exit code. */
int explain(const struct config *c, struct config_report *report,
            const struct explain_options *options, struct buf *out, struct buf *error);

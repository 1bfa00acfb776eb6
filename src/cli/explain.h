#pragma once
/* `oneshot-proxy explain`: says what the proxy would decide about a request, and why, by the
 * functions that decide it in the running program. It needs the settings alone: no secret, no
 * network, no running proxy. */
#include "base/buf.h"
#include "config/config.h"

#define EXPLAIN_FIELDS_MAX 64

/* Exit codes, besides 1 (settings) and 2 (command line). */
enum { EXPLAIN_SENT = 0, EXPLAIN_REFUSED = 3 };

/* What the command line says; NULL, and -1 for numbers: not given. */
struct explain_options {
    const char *caller;                    /* by its name; "none": nobody is recognised */
    const char *address;                   /* that it comes by, as in the settings */
    int64_t uid, gid;                      /* of a unix socket's peer */
    const char *certificate;               /* PEM file */
    const char *field[EXPLAIN_FIELDS_MAX]; /* "Name: value" */
    size_t field_count;
    const char *method, *target; /* both or neither: then all operations are listed */
    const char *expect;          /* file of lines CALLER METHOD TARGET sent|refused */
};

/* Explains, or lists, or checks what is expected; the settings came from config_load_rules with
 * this report. Appends what is to be printed to `out`, and what is wrong to `error`. Returns the
 * exit code. */
int explain(const struct config *c, struct config_report *report,
            const struct explain_options *options, struct buf *out, struct buf *error);

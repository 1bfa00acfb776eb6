#pragma once
/* What is wrong with the settings (errors) and what is doubtful (warnings), collected while
 * they are read and printed in the order of the file's lines. No message contains a secret. */
#include "base/buf.h"
#include "config/schema.h"

/* Where the value of a key was given. */
struct config_source {
    int line;             /* 0: not in the file */
    const char *variable; /* NULL: not in the environment, which wins */
    bool wrong; /* an error was reported; further checks of the key would add nothing */
};

/* Messages beyond this number are counted only. */
#define CONFIG_MESSAGES_MAX 1000

struct config_report {
    const char *file;                               /* NULL: environment only */
    struct config_source source[CONFIG_PLACES_MAX]; /* by config_key_place */
    struct config_message {
        char *where; /* "FILE:LINE", "FILE", or the name of a variable */
        char *text;  /* "section.key: what is wrong; what is allowed" */
        int order;   /* line in the file; messages without one come last */
        bool is_error;
    } * message;
    size_t count;
    size_t untold; /* messages above CONFIG_MESSAGES_MAX, which were only counted */
    size_t errors;
    bool unread; /* the file could not be read, so a missing value may be in it */
};

void config_report_init(struct config_report *r);
/* Takes a zeroed one. */
void config_report_done(struct config_report *r);

/* Calls visit for each message, in order, with a line "FILE:LINE: section.key: ..."; and once
 * more with the number of messages that were only counted, if there are any. */
void config_report_each(const struct config_report *r,
                        void (*visit)(void *arg, bool is_error, const char *line), void *arg);

/* Appends all messages as lines "FILE:LINE: error: section.key: ..." (or "warning:").
 * Returns 0 or the error of buf_add. */
int config_report_print(const struct config_report *r, struct buf *out) MUST_CHECK;

/* --- for code that reads and checks settings -----------------------------------------------
 *
 * Report an error (fail) or a warning (warn). The first two: about the value of a key, at the
 * place where it was given. config_fail_line: about a line of the file; 0: about the whole
 * file. config_fail_variable: about an environment variable. Abort when memory runs out. */
void config_fail(struct config_report *r, const struct config_key *key, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
void config_warn(struct config_report *r, const struct config_key *key, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
void config_fail_line(struct config_report *r, int line, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
void config_fail_variable(struct config_report *r, const char *variable, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

/* Where the key was given; part of the report, to be changed in place. */
struct config_source *config_source(struct config_report *r, const struct config_key *key);
/* Whether the key is in the file or the environment. */
bool config_given(struct config_report *r, const struct config_key *key);
/* Whether no error was reported for it. */
bool config_sound(struct config_report *r, const struct config_key *key);

#pragma once
/* Writes the log to stderr: one line per event, as `key=value` pairs or JSON.
 *
 *     log_info("upstream_done", log_str("host", host), log_int("ms", ms));
 *
 * Each thread gathers lines in a buffer, which is written when its loop is about to sleep
 * (log_flush), or at once for `warn` and above. If nobody reads stderr the program does not
 * wait: lines are dropped, and their number is logged when stderr takes lines again. Values
 * are escaped, so that no peer can forge a line. There is no way to log a `struct secret`. */
#include "base/base.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };
enum log_format { LOG_LOGFMT, LOG_JSON };

struct log_field {
    const char *key;
    enum { LOG_F_END, LOG_F_STR, LOG_F_STRN, LOG_F_INT, LOG_F_DURATION } type;
    size_t len;
    union {
        const char *str;
        int64_t num;
    };
};

/* A NULL string leaves the field out. */
static inline struct log_field log_str(const char *key, const char *value)
{
    return (struct log_field){ .key = key, .type = LOG_F_STR, .str = value };
}
static inline struct log_field log_strn(const char *key, const char *value, size_t len)
{
    return (struct log_field){ .key = key, .type = LOG_F_STRN, .str = value, .len = len };
}
static inline struct log_field log_int(const char *key, int64_t value)
{
    return (struct log_field){ .key = key, .type = LOG_F_INT, .num = value };
}
/* A duration: given in microseconds, written in milliseconds with three decimals. */
static inline struct log_field log_duration(const char *key, int64_t us)
{
    return (struct log_field){ .key = key, .type = LOG_F_DURATION, .num = us };
}

/* Sets the level and the format. Thread: control, at start and on reload (both are atomic
 * stores; lines of other threads are never a mix of two formats). */
void log_setup(enum log_level level, enum log_format format);

/* Whether a line of that level would be written; use it to skip the preparation of fields.
 * Thread: any. */
bool log_wanted(enum log_level level);

/* Writes a line whatever the level is; use log_error ... log_debug below instead. `fields`
 * ends with a zeroed one (LOG_F_END). Everything is copied; a line or value that is too long
 * is cut. Thread: any. */
void log_emit(enum log_level level, const char *event, const struct log_field *fields);

/* Writes the lines that this thread has gathered. Thread: any. */
void log_flush(void);

/* Lines dropped so far because stderr was full. Thread: any. */
uint64_t log_dropped(void);

#define log_at(level, event, ...)                                                              \
    do {                                                                                       \
        if (log_wanted(level))                                                                 \
            log_emit((level), (event),                                                         \
                     (const struct log_field[]){ __VA_ARGS__ __VA_OPT__(, ){ .key = NULL } }); \
    } while (0)
#define log_error(...) log_at(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) log_at(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_at(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_at(LOG_DEBUG, __VA_ARGS__)

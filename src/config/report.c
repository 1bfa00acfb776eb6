/* Collects messages about the settings. The checks find them in any order, and they are
 * printed in the order of the lines; so each is inserted at its place. */
#include "config/report.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { ORDER_FILE = INT_MAX - 1, ORDER_ENVIRONMENT = INT_MAX };

void config_report_init(struct config_report *r)
{
    *r = (struct config_report){ .file = NULL };
}

void config_report_done(struct config_report *r)
{
    for (size_t i = 0; i < r->count; i++) {
        free(r->message[i].where);
        free(r->message[i].text);
    }
    free(r->message);
    config_report_init(r);
}

/* Takes ownership of where and text. */
static void insert(struct config_report *r, struct config_message m)
{
    size_t at = r->count;
    struct config_message *more;

    r->errors += m.is_error;
    if (r->count == CONFIG_MESSAGES_MAX) {
        r->untold++;
        free(m.where);
        free(m.text);
        return;
    }
    more = realloc(r->message, (r->count + 1) * sizeof *more);
    if (more == NULL)
        abort();
    r->message = more;
    while (at > 0 && more[at - 1].order > m.order)
        at--;
    memmove(more + at + 1, more + at, (r->count - at) * sizeof *more);
    more[at] = m;
    r->count++;
}

static char *format(const char *fmt, ...) PRINTF_LIKE(1, 2);
static char *format(const char *fmt, ...)
{
    char *text = NULL;
    va_list args;

    va_start(args, fmt);
    if (vasprintf(&text, fmt, args) < 0)
        abort();
    va_end(args);
    return text;
}

static struct config_message at_line(const struct config_report *r, int line)
{
    const char *file = r->file != NULL ? r->file : "configuration";

    if (line > 0)
        return (struct config_message){ .where = format("%s:%d", file, line), .order = line };
    return (struct config_message){ .where = format("%s", file), .order = ORDER_FILE };
}

static struct config_message at_variable(const char *name)
{
    return (struct config_message){ .where = format("%s", name), .order = ORDER_ENVIRONMENT };
}

static struct config_message at_key(struct config_report *r, const struct config_key *key)
{
    const struct config_source *source = config_source(r, key);

    return source->variable != NULL ? at_variable(source->variable) : at_line(r, source->line);
}

/* Adds the message with its text after the key's name (NULL: none). */
PRINTF_LIKE(4, 0)
static void add(struct config_report *r, struct config_message m, const struct config_key *key,
                const char *fmt, va_list args)
{
    char *text = NULL;

    if (vasprintf(&text, fmt, args) < 0)
        abort();
    m.text = key == NULL ? text : format("%s.%s: %s", key->section, key->name, text);
    if (m.text != text)
        free(text);
    insert(r, m);
}

void config_fail(struct config_report *r, const struct config_key *key, const char *fmt, ...)
{
    struct config_message m = at_key(r, key);
    va_list args;

    m.is_error = true;
    config_source(r, key)->wrong = true;
    va_start(args, fmt);
    add(r, m, key, fmt, args);
    va_end(args);
}

void config_warn(struct config_report *r, const struct config_key *key, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    add(r, at_key(r, key), key, fmt, args);
    va_end(args);
}

void config_fail_line(struct config_report *r, int line, const char *fmt, ...)
{
    struct config_message m = at_line(r, line);
    va_list args;

    m.is_error = true;
    va_start(args, fmt);
    add(r, m, NULL, fmt, args);
    va_end(args);
}

void config_fail_variable(struct config_report *r, const char *variable, const char *fmt, ...)
{
    struct config_message m = at_variable(variable);
    va_list args;

    m.is_error = true;
    va_start(args, fmt);
    add(r, m, NULL, fmt, args);
    va_end(args);
}

struct config_source *config_source(struct config_report *r, const struct config_key *key)
{
    return &r->source[config_key_place(key)];
}

bool config_given(struct config_report *r, const struct config_key *key)
{
    const struct config_source *source = config_source(r, key);

    return source->line != 0 || source->variable != NULL;
}

bool config_sound(struct config_report *r, const struct config_key *key)
{
    return !config_source(r, key)->wrong;
}

void config_report_each(const struct config_report *r,
                        void (*visit)(void *arg, bool is_error, const char *line), void *arg)
{
    for (size_t i = 0; i < r->count; i++) {
        auto_free char *line = format("%s: %s", r->message[i].where, r->message[i].text);

        visit(arg, r->message[i].is_error, line);
    }
    if (r->untold > 0) {
        auto_free char *line = format("%zu more messages are not shown", r->untold);

        visit(arg, r->errors > 0, line);
    }
}

int config_report_print(const struct config_report *r, struct buf *out)
{
    int rc = 0;

    for (size_t i = 0; i < r->count && rc == 0; i++) {
        const struct config_message *m = &r->message[i];

        rc =
            buf_addf(out, "%s: %s: %s\n", m->where, m->is_error ? "error" : "warning", m->text);
    }
    if (r->untold > 0 && rc == 0)
        rc = buf_addf(out, "%zu more messages are not shown\n", r->untold);
    return rc;
}

#pragma once
/* A head as libmicrohttpd 0.9.75 leaves it in its receive buffer, with everything that it
 * accepts: bare line feeds, folded fields (appended to the name, in another block), bytes
 * after a NUL, doubled spaces, an unescaped URL. For the tests of request_check, which sees
 * nothing else. */
#include <stdlib.h>
#include <string.h>

#include "http/request_check.h"

#define INPLACE_FIELDS_MAX 512

struct inplace {
    char *buffer; /* exactly as large as the input: a read past the end is found by ASan */
    size_t size, at;
    char *target;                    /* the copy made by the URI log callback */
    char *glued[INPLACE_FIELDS_MAX]; /* names that were moved because of a fold */
    size_t glued_count;
    struct header_field fields[INPLACE_FIELDS_MAX];
    struct request_check_head head;
    bool parsed; /* false: libmicrohttpd itself refuses it, or waits for more */
};

/* Returns the next line, cut off in place; NULL: there is none. */
static char *inplace_line(struct inplace *p, size_t *len)
{
    char *line = p->buffer + p->at;
    char *lf = p->at < p->size ? memchr(line, '\n', p->size - p->at) : NULL;

    if (lf == NULL)
        return NULL;
    p->at = (size_t)(lf - p->buffer) + 1;
    *lf = '\0';
    if (lf > line && lf[-1] == '\r')
        *--lf = '\0';
    *len = (size_t)(lf - line);
    return line;
}

static void inplace_unescape(char *s)
{
    char *to = s;

    for (; *s != '\0'; s++) {
        char hex[3] = { s[0], s[1], s[1] != '\0' ? s[2] : '\0' }, *end = NULL;
        if (s[0] == '%' && hex[1] != '\0' && hex[2] != '\0') {
            char digits[3] = { hex[1], hex[2], '\0' };
            long value = strtol(digits, &end, 16);
            if (end == digits + 2) {
                *to++ = (char)value;
                s += 2;
                continue;
            }
        }
        *to++ = *s;
    }
    *to = '\0';
}

static bool inplace_request_line(struct inplace *p, char *line, size_t len)
{
    char *uri = memchr(line, ' ', len);

    if (uri == NULL || uri == line)
        return false;
    *uri++ = '\0';
    while (*uri == ' ')
        uri++;
    char *last = line + len - 1;
    while (last > uri && *last == ' ')
        last--;
    while (last > uri && *last != ' ')
        last--;
    if (last <= uri)
        return false;
    *last = '\0';
    p->head.method = line;
    p->head.version = last + 1;
    if (line + len - p->head.version != 8 || strncmp(p->head.version, "HTTP/1.", 7) != 0 ||
        memchr(uri, ' ', (size_t)(last - uri)) != NULL)
        return false;

    p->target = strdup(uri);
    p->head.target = p->target;
    p->head.target_in_place = uri;
    char *query = memchr(uri, '?', (size_t)(last - uri));
    if (query != NULL) {
        *query = '\0';
        inplace_unescape(query + 1);
    }
    inplace_unescape(uri);
    return true;
}

static void inplace_add(struct inplace *p, const char *name, const char *value)
{
    if (p->head.count < INPLACE_FIELDS_MAX)
        p->fields[p->head.count] = (struct header_field){
            .name = name, .value = value, .name_len = strlen(name), .value_len = strlen(value)
        };
    p->head.count++;
}

/* A folded line is appended to the name, which moves to another block. */
static bool inplace_glue(struct inplace *p, char **name, const char *line)
{
    line += strspn(line, " \t");
    size_t size = strlen(*name) + strlen(line) + 1;
    char *glued = p->glued_count < INPLACE_FIELDS_MAX ? malloc(size) : NULL;

    if (glued == NULL)
        return false;
    size_t len = strlen(*name);
    memcpy(glued, *name, len);
    memcpy(glued + len, line, size - len);
    p->glued[p->glued_count++] = glued;
    *name = glued;
    return true;
}

static bool inplace_fields(struct inplace *p)
{
    char *name = NULL, *value = NULL, *line = NULL;
    size_t len = 0;

    while ((line = inplace_line(p, &len)) != NULL) {
        if (name != NULL && (*line == ' ' || *line == '\t')) {
            if (!inplace_glue(p, &name, line))
                return false;
            continue;
        }
        if (name != NULL)
            inplace_add(p, name, value);
        if (*line == '\0') {
            p->head.account = true;
            p->head.head_bytes = (size_t)(p->buffer + p->at - p->head.method);
            return true;
        }
        value = strchr(line, ':');
        if (value == NULL)
            return false;
        *value++ = '\0';
        value += strspn(value, " \t");
        name = line;
    }
    return false;
}

/* Parses the input; release it with inplace_done. The limits in head are the defaults. */
static void inplace_parse(struct inplace *p, const void *input, size_t size)
{
    char *line = NULL;
    size_t len = 0;

    *p = (struct inplace){ .size = size, .buffer = malloc(size > 0 ? size : 1) };
    if (p->buffer == NULL)
        abort();
    if (size > 0)
        memcpy(p->buffer, input, size);
    p->head.fields = p->fields;
    p->head.max_head_bytes = 32768;
    p->head.max_target_bytes = 16384;
    p->head.max_fields = 100;
    do {
        line = inplace_line(p, &len);
    } while (line != NULL && *line == '\0');
    p->parsed = line != NULL && inplace_request_line(p, line, len) && inplace_fields(p);
}

static void inplace_done(struct inplace *p)
{
    for (size_t i = 0; i < p->glued_count; i++)
        free(p->glued[i]);
    free(p->target);
    free(p->buffer);
}

/* Writes and reads the head of an answer that is kept for replay, see head.h. */
#include "ledger/head.h"

#include <string.h>

#include "base/ascii.h"

static const struct {
    const char *lower; /* name as compared */
    const char *name;  /* name as stored */
} kept[] = {
    { "content-type", "Content-Type" },
    { "content-encoding", "Content-Encoding" },
    { "content-language", "Content-Language" },
    { "location", "Location" },
    { "etag", "ETag" },
    { "x-request-id", "X-Original-Request-Id" },
};

int ledger_head_write(struct buf *out, const struct header_field *fields, size_t count)
{
    int err = 0;

    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < ARRAY_LEN(kept) && err == 0; k++)
            if (header_is(&fields[i], kept[k].lower))
                err = buf_addf(out, "%s: %.*s\r\n", kept[k].name, (int)fields[i].value_len,
                               fields[i].value);
    return err;
}

static bool is_value(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!ascii_is_field_byte(s[i]))
            return false;
    return true;
}

/* Reads one line. False: no memory. */
static bool read_line(struct arena *arena, const char *line, size_t n, struct header_field *out,
                      size_t *count)
{
    for (size_t k = 0; k < ARRAY_LEN(kept); k++) {
        size_t name_len = strlen(kept[k].name);

        if (n < name_len + 2 || memcmp(line, kept[k].name, name_len) != 0 ||
            memcmp(line + name_len, ": ", 2) != 0)
            continue;
        const char *value = line + name_len + 2;
        size_t value_len = n - name_len - 2;

        if (!is_value(value, value_len))
            return true;
        value = arena_copy(arena, value, value_len);
        out[*count] = (struct header_field){ kept[k].name, value, name_len, value_len };
        *count += 1;
        return value != NULL;
    }
    return true;
}

struct header_field *ledger_head_read(struct arena *arena, const char *text, size_t len,
                                      size_t *count)
{
    static const struct header_field replayed = { "Idempotent-Replayed", "true",
                                                  sizeof "Idempotent-Replayed" - 1,
                                                  sizeof "true" - 1 };
    size_t lines = 1;

    for (size_t i = 0; i < len; i++)
        lines += text[i] == '\n';
    struct header_field *fields = arena_alloc(arena, (lines + 1) * sizeof *fields);

    *count = 0;
    if (fields == NULL)
        return NULL;
    for (size_t at = 0; at < len;) {
        const char *end = memchr(text + at, '\n', len - at);
        size_t n = end == NULL ? len - at : (size_t)(end - text) - at;

        size_t line = n > 0 && text[at + n - 1] == '\r' ? n - 1 : n;

        if (!read_line(arena, text + at, line, fields, count))
            return NULL;
        at += n + 1;
    }
    fields[(*count)++] = replayed;
    return fields;
}

/* header_write and header_filter_response on any fields that request_check lets through, one
 * "Name:value" a line: exactly one authorization leaves, and no line end is made. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/ascii.h"
#include "http/header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FIELDS_MAX 100
static const char token_line[] = "Authorization: Bearer ours";

static void require(bool holds)
{
    if (!holds)
        abort();
}

static size_t split(const char *at, size_t size, struct header_field *fields)
{
    size_t count = 0;

    while (size > 0 && count < FIELDS_MAX) {
        const char *lf = memchr(at, '\n', size);
        size_t n = lf != NULL ? (size_t)(lf - at) : size;
        const char *colon = memchr(at, ':', n);
        size_t name = colon != NULL ? (size_t)(colon - at) : 0;

        if (colon != NULL && ascii_is_token(at, name) &&
            ascii_is_field_text(colon + 1, n - name - 1))
            fields[count++] = (struct header_field){
                .name = at, .name_len = name, .value = colon + 1, .value_len = n - name - 1
            };
        n += lf != NULL ? 1 : 0;
        at += n;
        size -= n;
    }
    return count;
}

/* Whether a name is this one, read as carelessly as can be: `_` as `-`. */
static bool names(const char *name, size_t n, const char *lower)
{
    size_t i = 0;

    for (; i < n && lower[i] != '\0'; i++)
        if ((name[i] == '_' ? '-' : ascii_lower(name[i])) != lower[i])
            return false;
    return i == n && lower[i] == '\0';
}

struct seen {
    size_t tokens, hosts;
};

static void require_line(const char *line, size_t len, size_t name, struct seen *seen)
{
    static const char *const never[] = { "connection",          "keep-alive",      "te",
                                         "transfer-encoding",   "upgrade",         "trailer",
                                         "proxy-authorization", "proxy-connection" };

    require(ascii_is_field_text(line, len) && ascii_is_token(line, name));
    seen->tokens += names(line, name, "authorization") ? 1 : 0;
    seen->hosts += names(line, name, "host") ? 1 : 0;
    require(!names(line, name, "expect"));
    for (size_t i = 0; i < ARRAY_LEN(never); i++)
        require(!names(line, name, never[i]));
}

/* Lines that end in CRLF, the last of them empty; behind them nothing. */
static void require_text(const char *at, size_t size, int64_t body_bytes)
{
    const char *measure = body_bytes < 0   ? "Transfer-Encoding: chunked"
                          : body_bytes > 0 ? "Content-Length: 5"
                                           : "";
    struct seen seen = { 0 };
    bool measured = body_bytes == 0;

    for (size_t len;; at += len + 2, size -= len + 2) {
        const char *end = memmem(at, size, "\r\n", 2);
        require(end != NULL);
        len = (size_t)(end - at);
        if (len == 0)
            break;
        require(!measured || body_bytes == 0); /* it is the last */
        if (len == strlen(measure) && memcmp(at, measure, len) == 0) {
            measured = true;
            continue;
        }
        const char *colon = memmem(at, len, ": ", 2);
        require(colon != NULL);
        require(body_bytes == 0 || !names(at, (size_t)(colon - at), "content-length") ||
                memchr(at, '_', (size_t)(colon - at)) != NULL);
        require_line(at, len, (size_t)(colon - at), &seen);
    }
    require(size == 2 && measured && seen.tokens == 1 && seen.hosts == 1);
}

static void write_head(struct header_forward in, int64_t body_bytes, size_t limit)
{
    struct buf out;

    in.body_bytes = body_bytes;
    buf_init(&out, limit);
    if (header_write(&out, &in))
        require_text(buf_front(&out), buf_unread(&out), body_bytes);
    else
        require(limit < (size_t)1 << 20);
    require(buf_unread(&out) <= limit);
    buf_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct header_field fields[FIELDS_MAX];
    size_t count = split((const char *)data, size, fields);
    struct header_forward in = { .fields = fields,
                                 .count = count,
                                 .host = "api.example",
                                 .authorization = token_line,
                                 .request_id = "id",
                                 .require_name = "X-Key",
                                 .body_bytes = size % 2 == 1 ? 5 : 0 };

    write_head(in, in.body_bytes, (size_t)1 << 20);
    write_head(in, -1, size);

    (void)header_via_is_ours(fields, count);
    size_t left = header_filter_response(fields, count);
    require(left <= count);
    for (size_t i = 0; i < left; i++)
        require(!header_is(&fields[i], "connection") && !header_is(&fields[i], "keep-alive") &&
                !header_is(&fields[i], "content-length") &&
                !header_is(&fields[i], "transfer-encoding"));
    return 0;
}

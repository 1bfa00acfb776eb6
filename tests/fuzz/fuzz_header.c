/* header_forward and header_filter_response on any fields that a guard lets through, one
 * "Name:value" a line: exactly one authorization leaves, no remover and no line end is made. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ascii.h"
#include "header.h"

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

/* Whether a line's name is this one, read as carelessly as can be: `_` as `-`. */
static bool names(const char *line, const char *lower)
{
    size_t n = strcspn(line, ":;"), i = 0;

    for (; i < n && lower[i] != '\0'; i++)
        if ((line[i] == '_' ? '-' : ascii_lower(line[i])) != lower[i])
            return false;
    return i == n && lower[i] == '\0';
}

static void require_fit(const struct header_line *lines)
{
    static const char *const never[] = { "connection",          "keep-alive",      "te",
                                         "transfer-encoding",   "upgrade",         "trailer",
                                         "proxy-authorization", "proxy-connection" };

    size_t tokens = 0, hosts = 0;

    for (const struct header_line *l = lines; l != NULL; l = l->next) {
        size_t len = strlen(l->text);
        require(ascii_is_field_text(l->text, len));
        require(ascii_is_token(l->text, strcspn(l->text, ":;")));
        if (strcmp(l->text, "Accept:") == 0 || strcmp(l->text, "Expect:") == 0)
            continue;
        require(l->text[len - 1] != ':' || strchr(l->text, ':') != l->text + len - 1);
        tokens += names(l->text, "authorization") ? 1 : 0;
        hosts += names(l->text, "host") ? 1 : 0;
        require(!names(l->text, "expect"));
        for (size_t i = 0; i < ARRAY_LEN(never); i++)
            require(!names(l->text, never[i]));
        if (l->next == NULL)
            require(l->text == token_line);
    }
    require(tokens == 1 && hosts == 1);
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
                                 .has_body = size % 2 == 1 };
    struct arena arena;

    arena_init(&arena, (size_t)1 << 20);
    struct header_line *lines = header_forward(&arena, &in);
    if (lines != NULL)
        require_fit(lines);
    arena_done(&arena);

    (void)header_via_is_ours(fields, count);
    size_t left = header_filter_response(fields, count);
    require(left <= count);
    for (size_t i = 0; i < left; i++)
        require(!header_is(&fields[i], "connection") && !header_is(&fields[i], "keep-alive") &&
                !header_is(&fields[i], "content-length") &&
                !header_is(&fields[i], "transfer-encoding"));
    return 0;
}

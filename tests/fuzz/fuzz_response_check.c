/* response_check_line on any lines: what it accepts can be split and given to a caller. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/ascii.h"
#include "http/response_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void require_sound(const struct response_check *g, const char *line, size_t n)
{
    require(g->kind == FAIL_NONE && g->why == NULL);
    require(g->status >= 100 && g->status <= 599 && g->status != 101 && g->status != 407);
    require(!(g->chunked && g->content_length >= 0));
    require(g->bytes <= RESPONSE_CHECK_BYTES_MAX && g->fields <= RESPONSE_CHECK_FIELDS_MAX);
    require(memchr(line, '\0', n) == NULL);
    if (memcmp(line, "HTTP/", n < 5 ? n : 5) == 0 || n <= 2)
        return;
    struct header_field f = response_check_split(line, n);
    require(ascii_is_token(f.name, f.name_len) && ascii_is_field_text(f.value, f.value_len));
    require(f.value_len == 0 ||
            (!ascii_is_blank(f.value[0]) && !ascii_is_blank(f.value[f.value_len - 1])));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *at = (const char *)data;
    struct response_check g;
    bool sound = true;

    response_check_init(&g);
    while (size > 0) {
        const char *lf = memchr(at, '\n', size);
        size_t n = lf != NULL ? (size_t)(lf - at) + 1 : size;
        bool was_final = g.complete && g.status >= 200;
        struct response_check before = g;

        bool now = response_check_line(&g, at, n);
        require(sound || !now); /* once refused, refused for good */
        require(now == (g.kind == FAIL_NONE));
        if (now)
            require_sound(&g, at, n);
        if (now && was_final) /* a trailer changes nothing of the head */
            require(g.trailer && g.status == before.status && g.fields == before.fields &&
                    g.content_length == before.content_length && g.chunked == before.chunked);
        sound = now;
        at += n;
        size -= n;
    }
    return 0;
}

/* request_check on any bytes, as libmicrohttpd would hand them out: what it accepts must be a
 * head by the strict reading of the bytes that were received. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/inplace.h"
#include "base/ascii.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

/* The length of the line at s without its CRLF; there must be one, and no CR, LF or NUL before.
 * NUL LF counts as CRLF: the one thing that request_check.h says cannot be seen. */
static size_t strict_line(const char *s, size_t n)
{
    for (size_t i = 0; i + 1 < n; i++) {
        if ((s[i] == '\r' || s[i] == '\0') && s[i + 1] == '\n')
            return i;
        require(s[i] != '\r' && s[i] != '\n' && s[i] != '\0');
    }
    abort();
}

/* Writes the other thing that request_check.h says cannot be seen, a byte behind a NUL in the last four
 * bytes, as the two CRLF that libmicrohttpd takes it for. */
static void normalise_end(char *raw, size_t n)
{
    static const char *const same[] = { "\0?\n\n", "\n\0?\n" };
    char *end = raw + n - 4;

    for (size_t k = 0; k < ARRAY_LEN(same); k++) {
        bool matches = true;
        for (size_t i = 0; i < 4; i++)
            matches &= same[k][i] == '?' || same[k][i] == end[i];
        if (matches) {
            memcpy(end, "\r\n\r\n", 4);
            return;
        }
    }
}

static void require_strict(const struct inplace *p, char *raw)
{
    require(p->head.head_bytes >= 4);
    normalise_end(raw, p->head.head_bytes);
    size_t left = p->head.head_bytes, hosts = 0, line = strict_line(raw, left), blanks = 0;

    for (size_t i = 0; i < line; i++)
        blanks += raw[i] == ' ' ? 1 : 0;
    require(blanks == 2);
    for (size_t f = 0; f < p->head.count; f++) {
        raw += line + 2;
        left -= line + 2;
        line = strict_line(raw, left);
        const char *colon = memchr(raw, ':', line);
        require(colon != NULL && ascii_is_token(raw, (size_t)(colon - raw)));
        require(
            ascii_equal(raw, (size_t)(colon - raw), p->fields[f].name, p->fields[f].name_len));
        hosts += ascii_equal_str(raw, (size_t)(colon - raw), "host") ? 1 : 0;
    }
    require(hosts == 1);
    raw += line + 2;
    left -= line + 2;
    require(left == 2 && strict_line(raw, left) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct inplace p;

    inplace_parse(&p, data, size);
    p.head.account = true;
    if (p.parsed) {
        struct request_check_result v = request_check(&p.head);
        require((v.kind == FAIL_NONE) == (v.why == NULL));
        if (v.kind == FAIL_NONE) {
            char *raw = malloc(size);
            require(raw != NULL);
            memcpy(raw, data, size);
            require_strict(&p, raw + (p.head.method - p.buffer));
            free(raw);
        }
    }
    inplace_done(&p);
    return 0;
}

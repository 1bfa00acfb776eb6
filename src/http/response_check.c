/* Checks the head of an upstream's answer line by line.
 *
 *     init -> status line -> fields -> empty line -> (1xx) status line -> ...
 *                                                 -> (final) trailers
 */
#include "http/response_check.h"

#include <string.h>

#include "base/ascii.h"

void response_check_init(struct response_check *g)
{
    *g = (struct response_check){ .content_length = -1 };
}

static bool refuse(struct response_check *g, enum failure_kind kind, const char *why)
{
    g->kind = kind;
    g->why = why;
    return false;
}

static bool malformed(struct response_check *g, const char *why)
{
    return refuse(g, FAIL_UPSTREAM_PROTOCOL, why);
}

/* "HTTP/1.1 200 reason", without its line end. If the reason is missing, the space before it
 * may be missing too. */
static bool status_line(struct response_check *g, const char *s, size_t n)
{
    static const struct {
        const char *text;
        size_t len;
        int major;
    } versions[] = { { "HTTP/1.1 ", 9, 1 }, { "HTTP/1.0 ", 9, 1 }, { "HTTP/2 ", 7, 2 } };
    size_t at = 0;
    size_t interim = g->interim;

    response_check_init(g);
    g->interim = interim;
    for (size_t i = 0; i < ARRAY_LEN(versions) && at == 0; i++) {
        if (n > versions[i].len && memcmp(s, versions[i].text, versions[i].len) == 0) {
            at = versions[i].len;
            g->http_major = versions[i].major;
            g->http_1_0 = i == 1;
        }
    }
    if (at == 0)
        return malformed(g, "the answer does not begin with HTTP/1.1, HTTP/1.0 or HTTP/2");
    if (n < at + 3 || (n > at + 3 && s[at + 3] != ' '))
        return malformed(g, "the status is not a number of three digits");
    int64_t status = ascii_number(s + at, 3);
    if (status < 100 || status > 599)
        return malformed(g, "the status is not a number from 100 to 599");
    if (!ascii_is_field_text(s + at + 3, n - at - 3))
        return malformed(g, "the reason phrase holds a control character");
    if (status == 101)
        return malformed(g, "the upstream changed the protocol (101), which nobody asked for");
    if (status == 407)
        return malformed(g, "the upstream asked for proxy credentials (407)");
    if (status < 200 && ++g->interim > RESPONSE_CHECK_INTERIM_MAX)
        return malformed(g, "there are too many interim (1xx) answers");
    g->status = (int)status;
    return true;
}

static bool length_field(struct response_check *g, const struct header_field *f)
{
    int64_t bytes = ascii_number(f->value, f->value_len);

    if (bytes < 0)
        return malformed(g, "the Content-Length is not a number");
    if (g->content_length >= 0 && g->content_length != bytes)
        return malformed(g, "there are two different Content-Lengths");
    g->content_length = bytes;
    return true;
}

static bool coding_field(struct response_check *g, const struct header_field *f)
{
    if (g->chunked)
        return malformed(g, "there is more than one Transfer-Encoding");
    if (g->http_major != 1 || g->http_1_0)
        return malformed(g, "only HTTP/1.1 has a Transfer-Encoding");
    if (!ascii_equal_str(f->value, f->value_len, "chunked"))
        return malformed(g, "the Transfer-Encoding is not chunked");
    g->chunked = true;
    return true;
}

/* Checks the bytes of a field or a trailer. */
static bool sound_field(struct response_check *g, const char *s, size_t n)
{
    const char *colon = memchr(s, ':', n);

    if (ascii_is_blank(s[0]))
        return malformed(g, "a field is folded over several lines");
    if (colon == NULL)
        return malformed(g, "a field has no colon");
    if (!ascii_is_token(s, (size_t)(colon - s)))
        return malformed(g, "a field name is empty or holds a forbidden byte");
    if (!ascii_is_field_text(colon + 1, n - (size_t)(colon - s) - 1))
        return malformed(g, "a field value holds a control character");
    return true;
}

static bool field_line(struct response_check *g, const char *s, size_t n)
{
    if (!sound_field(g, s, n))
        return false;
    if (++g->fields > RESPONSE_CHECK_FIELDS_MAX)
        return refuse(g, FAIL_UPSTREAM_HEAD_SIZE, "the head has more than 200 fields");

    struct header_field f = response_check_split(s, n);
    if (header_is(&f, "content-length") && !length_field(g, &f))
        return false;
    if (header_is(&f, "transfer-encoding") && !coding_field(g, &f))
        return false;
    if (g->chunked && g->content_length >= 0)
        return malformed(g, "there are both a Content-Length and a Transfer-Encoding");
    return true;
}

static bool trailer_line(struct response_check *g, const char *s, size_t n)
{
    g->trailer = true;
    g->trailer_bytes += n;
    if (n == 0) /* the empty line after the trailers */
        return true;
    if (!sound_field(g, s, n))
        return false;
    if (++g->trailer_fields > RESPONSE_CHECK_FIELDS_MAX ||
        g->trailer_bytes > RESPONSE_CHECK_BYTES_MAX)
        return refuse(g, FAIL_UPSTREAM_HEAD_SIZE, "the trailers are too large");
    return true;
}

bool response_check_line(struct response_check *g, const char *line, size_t len)
{
    size_t n = len;

    if (g->kind != FAIL_NONE)
        return false;
    if (n == 0 || line[n - 1] != '\n')
        return malformed(g, "a line has no end");
    n--;
    if (n > 0 && line[n - 1] == '\r')
        n--;

    if (g->complete && g->status >= 200)
        return trailer_line(g, line, n);
    if ((g->complete || g->status == 0) && !status_line(g, line, n))
        return false;
    bool first = g->bytes == 0;
    g->bytes += len;
    if (g->bytes > RESPONSE_CHECK_BYTES_MAX)
        return refuse(g, FAIL_UPSTREAM_HEAD_SIZE, "the head is larger than 64 KiB");
    if (first)
        return true;
    if (n == 0) {
        g->complete = true;
        return true;
    }
    return field_line(g, line, n);
}

struct header_field response_check_split(const char *line, size_t len)
{
    while (len > 0 && (line[len - 1] == '\n' || line[len - 1] == '\r'))
        len--;
    const char *colon = memchr(line, ':', len);
    assert(colon != NULL);

    struct header_field f = { .name = line, .name_len = (size_t)(colon - line) };
    f.value = colon + 1;
    f.value_len = len - f.name_len - 1;
    ascii_trim(&f.value, &f.value_len);
    return f;
}

/* RFC 9110 section 5 and 9112 sections 2 to 7, to the letter. */
#include "strict.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct head {
    size_t length; /* with the empty line */
    size_t hosts, lengths, codings, tokens, vias;
    long body; /* Content-Length */
    bool chunked;
    const char *wrong;
};

static bool is_token(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)s[i]) && (s[i] == '\0' || !strchr("!#$%&'*+-.^_`|~", s[i])))
            return false;
    return n > 0;
}

static bool named(const char *s, size_t n, const char *name)
{
    return strlen(name) == n && strncasecmp(s, name, n) == 0;
}

static const char *read_field(struct head *h, const char *s, size_t n)
{
    static const char *const forbidden[] = {
        "Connection", "Keep-Alive", "Proxy-Connection",   "TE",
        "Trailer",    "Upgrade",    "Proxy-Authorization"
    };
    const char *colon = memchr(s, ':', n);
    if (colon == NULL)
        return "a field without a colon";
    size_t name = (size_t)(colon - s);
    if (!is_token(s, name))
        return "a field name that is no token";
    for (size_t i = name + 1; i < n; i++)
        if (((unsigned char)s[i] < 0x20 && s[i] != '\t') || s[i] == 0x7f)
            return "a control character in a value";
    const char *value = colon + 1 + strspn(colon + 1, " \t");
    size_t len = (size_t)(s + n - value);
    while (len > 0 && (value[len - 1] == ' ' || value[len - 1] == '\t'))
        len--;
    h->hosts += named(s, name, "Host");
    h->tokens += named(s, name, "Authorization");
    h->vias += named(s, name, "Via");
    if (named(s, name, "Content-Length")) {
        h->lengths++;
        if (len == 0 || strspn(value, "0123456789") != len)
            return "a Content-Length that is no number";
        h->body = strtol(value, NULL, 10);
    }
    if (named(s, name, "Transfer-Encoding")) {
        h->codings++;
        h->chunked = named(value, len, "chunked");
        if (!h->chunked)
            return "a Transfer-Encoding other than chunked";
    }
    for (size_t i = 0; i < sizeof forbidden / sizeof *forbidden; i++)
        if (named(s, name, forbidden[i]) &&
            !(i == 0 && (named(value, len, "close") || named(value, len, "keep-alive"))))
            return "a hop-by-hop field";
    return NULL;
}

/* Reads the fields after the first line, from `at` on; the head is known to be complete. */
static void read_fields(struct head *h, const char *data, size_t len, size_t at)
{
    while (h->wrong == NULL) {
        const char *end = memmem(data + at, len - at, "\r\n", 2);
        size_t n = (size_t)(end - data) - at;
        if (n == 0) {
            h->length = at + 2;
            break;
        }
        if (memchr(data + at, '\n', n) || memchr(data + at, '\r', n) ||
            memchr(data + at, '\0', n))
            h->wrong = "a line end inside a line";
        else
            h->wrong = read_field(h, data + at, n);
        at += n + 2;
    }
    if (h->wrong == NULL && h->lengths + h->codings > 1)
        h->wrong = "more than one measure of the body";
}

/* The length of a chunked body at the start; 0: incomplete; -1: malformed. */
static long chunked_length(const char *data, size_t len)
{
    size_t at = 0;
    for (;;) {
        const char *end = memmem(data + at, len - at, "\r\n", 2);
        if (end == NULL)
            return 0;
        size_t digits = strspn(data + at, "0123456789abcdefABCDEF");
        if (digits == 0 || digits > 8 || data + at + digits != end)
            return -1;
        size_t n = strtoul(data + at, NULL, 16);
        at = (size_t)(end - data) + 2;
        if (len - at < n + 2)
            return 0;
        if (memcmp(data + at + n, "\r\n", 2) != 0)
            return -1;
        at += n + 2;
        if (n == 0)
            return (long)at;
    }
}

static void measure(struct strict *s, const struct head *h, const char *data, size_t len)
{
    size_t body = len - h->length;
    if (h->chunked) {
        long n = chunked_length(data + h->length, body);
        if (n < 0)
            s->wrong = "chunks that are none";
        s->length = n > 0 ? h->length + (size_t)n : 0;
    } else if (h->lengths == 0 || body >= (size_t)h->body) {
        s->length = h->length + (size_t)h->body;
    }
}

/* Its length without the line end, in a complete head. */
static size_t first_line(const char *data, size_t len)
{
    return (size_t)((const char *)memmem(data, len, "\r\n", 2) - data);
}

static bool whole_head(const char *data, size_t len)
{
    return memmem(data, len, "\r\n\r\n", 4) != NULL;
}

struct strict strict_request(const char *data, size_t len)
{
    struct strict s = { 0 };
    struct head h = { 0 };
    if (!whole_head(data, len))
        return s;
    size_t line = first_line(data, len);
    size_t method = strcspn(data, " ");
    const char *target = data + method + 1;
    if (method >= line || !is_token(data, method))
        s.wrong = "a method that is no token";
    size_t n = s.wrong ? 0 : strcspn(target, " \r");
    if (s.wrong == NULL &&
        (strncmp(target, "/v0", 3) != 0 || (n > 3 && !strchr("/?", target[3]))))
        s.wrong = "a target outside of the base path";
    /* the content of a query does not matter, as long as everybody agrees where it ends */
    size_t path = strcspn(target, "?");
    for (size_t i = 0; i < n && s.wrong == NULL; i++)
        if (target[i] <= 0x20 || target[i] >= 0x7f ||
            strchr(i < path ? "\"<>\\^`{|}#" : "#", target[i]) != NULL)
            s.wrong = "a byte in a target that cannot be there";
    if (s.wrong == NULL &&
        (target + n + 11 != data + line + 2 || strncmp(target + n, " HTTP/1.1\r\n", 11) != 0))
        s.wrong = "a request line that does not end with HTTP/1.1";
    if (s.wrong == NULL) {
        read_fields(&h, data, len, line + 2);
        s.wrong = h.wrong;
    }
    if (s.wrong == NULL && (h.hosts != 1 || h.tokens != 1 || h.vias == 0))
        s.wrong = "not one Host, one Authorization and a Via";
    if (s.wrong == NULL)
        measure(&s, &h, data, len);
    return s;
}

struct strict strict_answer(const char *data, size_t len, bool ended)
{
    struct strict s = { 0 };
    struct head h = { 0 };
    if (!whole_head(data, len))
        return s;
    if (strncmp(data, "HTTP/1.1 ", 9) != 0 && strncmp(data, "HTTP/1.0 ", 9) != 0)
        s.wrong = "not an answer";
    else if (strspn(data + 9, "0123456789") != 3 || !strchr(" \r", data[12]))
        s.wrong = "a status that is none";
    else
        s.status = (int)strtol(data + 9, NULL, 10);
    if (s.wrong == NULL && (s.status < 100 || s.status > 599))
        s.wrong = "a status out of range";
    if (s.wrong == NULL) {
        read_fields(&h, data, len, first_line(data, len) + 2);
        s.wrong = h.wrong;
    }
    if (s.wrong != NULL)
        return s;
    if (s.status < 200 || s.status == 204 || s.status == 304)
        s.length = h.length;
    else if (h.lengths + h.codings > 0)
        measure(&s, &h, data, len);
    else
        s.length = ended ? len : 0;
    return s;
}

#pragma once
/* The strict reading of what an upstream received on one connection, for fuzz_worker.c:
 * whatever the callers sent, these must be whole requests of the proxy's own making, one after
 * another, with nothing in between that a second reader could take for another request. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ascii.h"

#define SEEN_TOKEN "Bearer fuzz-"

#define require(holds) require_at(holds, #holds, __FILE__, __LINE__)

static inline void require_at(bool holds, const char *what, const char *file, int line)
{
    if (holds)
        return;
    (void)fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, what);
    abort();
}

struct seen {
    unsigned requests, unsafe; /* whose heads are whole */
};

struct seen_head {
    unsigned hosts, tokens, lengths, codings;
    size_t length;
};

static inline void seen_field(struct seen_head *h, const char *line, size_t n)
{
    const char *colon = memchr(line, ':', n);
    require(colon != NULL && ascii_is_token(line, (size_t)(colon - line)));
    size_t name = (size_t)(colon - line);
    const char *value = colon + 1;
    size_t len = n - name - 1;

    while (len > 0 && *value == ' ') {
        value++;
        len--;
    }
    if (ascii_equal_str(line, name, "host")) {
        h->hosts++;
    } else if (ascii_equal_str(line, name, "authorization")) {
        require(len > strlen(SEEN_TOKEN) && memcmp(value, SEEN_TOKEN, strlen(SEEN_TOKEN)) == 0);
        h->tokens++;
    } else if (ascii_equal_str(line, name, "transfer-encoding")) {
        require(ascii_equal_str(value, len, "chunked"));
        h->codings++;
    } else if (ascii_equal_str(line, name, "content-length")) {
        require(len > 0 && len < 16);
        for (h->length = 0; len > 0; len--, value++) {
            require(*value >= '0' && *value <= '9');
            h->length = h->length * 10 + (size_t)(*value - '0');
        }
        h->lengths++;
    }
}

/* The bytes of a chunked body at s, 0 when its end is not here. */
static inline size_t seen_chunks(const char *s, size_t n)
{
    for (size_t at = 0;;) {
        size_t size = 0, digits = 0;

        for (; at < n && ascii_is_hex(s[at]); at++, digits++)
            size = size * 16 + (size_t)ascii_hex(s[at]);
        if (at + 2 > n)
            return 0;
        require(digits > 0 && digits < 8 && s[at] == '\r' && s[at + 1] == '\n');
        at += 2 + size;
        if (at + 2 > n)
            return 0;
        require(s[at] == '\r' && s[at + 1] == '\n');
        at += 2;
        if (size == 0)
            return at;
    }
}

/* One request at s; returns its length, 0 when it is not whole. */
static inline size_t seen_request(struct seen *seen, const char *s, size_t n)
{
    struct seen_head h = { .length = 0 };
    const char *end = memmem(s, n, "\r\n\r\n", 4);

    if (end == NULL)
        return 0;
    size_t head = (size_t)(end - s) + 4, line = 0;
    for (size_t i = 0; i < head; i++) {
        require(s[i] != '\0' && (s[i] != '\n' || s[i - 1] == '\r'));
        require(s[i] != '\r' || s[i + 1] == '\n');
    }
    const char *target = memchr(s, ' ', head);
    require(target != NULL && target[1] == '/' && ascii_is_token(s, (size_t)(target - s)));
    line = (size_t)((char *)memchr(s, '\r', head) - s);
    require(line > 9 && memcmp(s + line - 9, " HTTP/1.1", 9) == 0);
    require(memchr(target + 1, ' ', line - (size_t)(target + 1 - s)) == s + line - 9);
    size_t method = (size_t)(target - s);
    for (size_t at = line + 2; at < head - 2; at += line + 2) {
        line = (size_t)((char *)memchr(s + at, '\r', head - at) - (s + at));
        seen_field(&h, s + at, line);
    }
    require(h.hosts == 1 && h.tokens == 1 && h.lengths + h.codings <= 1);
    seen->requests++;
    seen->unsafe += !(method == 3 && memcmp(s, "GET", 3) == 0) &&
                    !(method == 4 && memcmp(s, "HEAD", 4) == 0) &&
                    !(method == 7 && memcmp(s, "OPTIONS", 7) == 0);
    size_t body = h.codings > 0 ? seen_chunks(s + head, n - head) : h.length;
    if (head + body > n || (h.codings > 0 && body == 0))
        return 0;
    return head + body;
}

static inline void seen_connection(struct seen *seen, const char *s, size_t n)
{
    for (size_t used; n > 0 && (used = seen_request(seen, s, n)) > 0; n -= used)
        s += used;
}

/* Seeded mutations of HTTP messages: bytes, lines, and pieces that parsers disagree about. */
#include "mutate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The largest message that a mutation makes. */
#define MESSAGE_MAX 200000

static int hex(char c)
{
    const char *digits = "0123456789abcdef";
    const char *at = c == '\0' ? NULL : strchr(digits, c | 0x20);
    return at == NULL ? 0 : (int)(at - digits);
}

/* \r \n \t \0 \\ \xNN \R<count>;<byte> */
static void unescape(const char *text, struct bytes *out)
{
    for (; *text != '\0'; text++) {
        if (*text != '\\') {
            bytes_add(out, text, 1);
            continue;
        }
        text++;
        if (*text == 'x') {
            bytes_fill(out, (char)(hex(text[1]) * 16 + hex(text[2])), 1);
            text += 2;
        } else if (*text == 'R') {
            char *end;
            size_t n = strtoul(text + 1, &end, 10);
            bytes_fill(out, end[1], n);
            text = end + 1;
        } else {
            const char *names = "rnt0\\", *bytes = "\r\n\t\0\\";
            const char *name = *text == '\0' ? NULL : strchr(names, *text);
            if (name == NULL)
                abort();
            bytes_add(out, bytes + (name - names), 1);
        }
    }
}

struct corpus corpus_read(const char *path)
{
    struct corpus c = { 0 };
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    FILE *file = fopen(path, "re");
    if (file == NULL)
        abort();
    while ((n = getline(&line, &cap, file)) > 0) {
        char *at = line;
        line[n - 1] = '\0';
        for (int i = 0; i < 3 && at != NULL && *line != '#'; i++)
            if ((at = strstr(at, " | ")) != NULL)
                at += 3;
        if (at == NULL || at == line)
            continue;
        struct bytes *grown = realloc(c.messages, (c.count + 1) * sizeof *grown);
        if (grown == NULL)
            abort();
        c.messages = grown;
        c.messages[c.count] = (struct bytes){ 0 };
        bytes_add_str(&c.messages[c.count], "");
        unescape(at, &c.messages[c.count++]);
    }
    free(line);
    (void)fclose(file);
    if (c.count == 0)
        abort();
    return c;
}

void corpus_free(struct corpus *c)
{
    for (size_t i = 0; i < c->count; i++)
        bytes_free(&c->messages[i]);
    free(c->messages);
    *c = (struct corpus){ 0 };
}

static uint64_t next(uint64_t *state)
{
    /* splitmix64: any seed is as good as another */
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static size_t below(uint64_t *state, size_t n)
{
    return n == 0 ? 0 : (size_t)(next(state) % n);
}

static const char *const pieces[] = {
    "\r\n",
    "\n",
    "\r",
    " ",
    "\t",
    ":",
    ";",
    ",",
    "\r\n ",
    "\r\n\t",
    "\r\n\r\n",
    "0\r\n\r\n",
    "\x0b",
    "\x7f",
    "\xff",
    "\"",
    "%00",
    "%2e%2e/",
    "/../",
    "//",
    "\\",
    "#",
    "?",
    "@",
    "*",
    "HTTP/1.1",
    "HTTP/1.0",
    "HTTP/2",
    "HTTP/0.9",
    " HTTP/1.1\r\n",
    "Host: localhost\r\n",
    "Host: evil.example\r\n",
    "Content-Length: 5\r\n",
    "Content-Length: 0\r\n",
    "content-length: 50\r\n",
    "Content-Length:\r\n",
    "Transfer-Encoding: chunked\r\n",
    "transfer-encoding: Chunked\r\n",
    "Transfer-Encoding: gzip\r\n",
    "Transfer-Encoding : chunked\r\n",
    "Transfer-Encoding: chunked, chunked\r\n",
    "Connection: close\r\n",
    "Connection: keep-alive\r\n",
    "Connection: content-length, host\r\n",
    "Connection: authorization\r\n",
    "Expect: 100-continue\r\n",
    "Upgrade: h2c\r\n",
    "Authorization: Bearer theirs\r\n",
    "Via: 1.1 oneshot-proxy\r\n",
    "Trailer: X\r\n",
    "TE: trailers\r\n",
    "X: y\r\n",
    ": x\r\n",
    "5\r\nhello\r\n",
    "ffffffff\r\n",
    "-1\r\n",
    "0x5\r\n",
    "5;a=b\r\n",
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.1 103 Early Hints\r\n\r\n",
    "HTTP/1.1 304 Not Modified\r\n",
    "HTTP/1.1 204 No Content\r\n",
    "GET / HTTP/1.1\r\n",
    "GET /lure HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "POST ",
    "HEAD ",
    "TRACE ",
    "CONNECT ",
};

static void insert(struct bytes *b, size_t at, const void *data, size_t n)
{
    struct bytes tail = { 0 };
    bytes_add(&tail, b->data + at, b->len - at);
    b->len = at;
    bytes_add(b, data, n);
    bytes_add(b, tail.data, tail.len);
    bytes_free(&tail);
}

static void cut(struct bytes *b, size_t at, size_t n)
{
    memmove(b->data + at, b->data + at + n, b->len - at - n);
    b->len -= n;
    b->data[b->len] = '\0';
}

/* The line around a position: starts at *from and has *n bytes, including its line feed. */
static void line_at(const struct bytes *b, size_t at, size_t *from, size_t *n)
{
    size_t begin = at, end = at;
    while (begin > 0 && b->data[begin - 1] != '\n')
        begin--;
    while (end < b->len && b->data[end] != '\n')
        end++;
    *from = begin;
    *n = (end < b->len ? end + 1 : end) - begin;
}

static void change(const struct corpus *c, uint64_t *state, struct bytes *b)
{
    size_t at = below(state, b->len), from, n;
    char byte;
    line_at(b, at, &from, &n);
    switch (below(state, 10)) {
    case 0: /* any byte */
        b->data[at] = (char)below(state, 256);
        break;
    case 1: /* a bit */
        b->data[at] = (char)((unsigned char)b->data[at] ^ 1u << below(state, 8));
        break;
    case 2:
        byte = (char)below(state, 256);
        insert(b, at, &byte, 1);
        break;
    case 3:
    case 4: {
        const char *piece = pieces[below(state, sizeof pieces / sizeof *pieces)];
        insert(b, below(state, 2) ? from : at, piece, strlen(piece));
        break;
    }
    case 5:
        cut(b, at, 1 + below(state, b->len - at < 8 ? b->len - at : 8));
        break;
    case 6: { /* a line again, elsewhere or right here */
        char *copy = strndup(b->data + from, n);
        if (copy == NULL)
            abort();
        size_t to = from;
        if (below(state, 2))
            line_at(b, below(state, b->len), &to, &n);
        insert(b, to, copy, strlen(copy));
        free(copy);
        break;
    }
    case 7: /* a line removed */
        if (n < b->len)
            cut(b, from, n);
        break;
    case 8: /* without its end */
        cut(b, at + 1, b->len - at - 1);
        break;
    default: { /* continues like another message */
        const struct bytes *other = &c->messages[below(state, c->count)];
        size_t begin = below(state, other->len + 1);
        cut(b, at + 1, b->len - at - 1);
        bytes_add(b, other->data + begin, other->len - begin);
        break;
    }
    }
}

void mutate(const struct corpus *c, uint64_t seed, struct bytes *out)
{
    uint64_t state = seed;
    /* valid messages come first in the file, and most mutations of the others are refused
     * early */
    const struct bytes *from =
        &c->messages[below(&state, below(&state, 2) ? c->count : c->count / 6)];
    bytes_clear(out);
    bytes_add(out, from->data, from->len);
    for (size_t i = 1 + below(&state, 1 + below(&state, 6));
         i > 0 && out->len > 0 && out->len < MESSAGE_MAX; i--)
        change(c, &state, out);
}

void bytes_add_escaped(struct bytes *out, const char *data, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char byte = (unsigned char)data[i];
        if (byte == '\r' || byte == '\n')
            bytes_add_str(out, byte == '\r' ? "\\r" : "\\n");
        else if (byte < 0x20 || byte >= 0x7f || byte == '\\')
            bytes_addf(out, "\\x%02x", byte);
        else
            bytes_add(out, data + i, 1);
    }
}

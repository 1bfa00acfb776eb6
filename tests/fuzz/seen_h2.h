#pragma once
/* The same for an upstream that is spoken HTTP/2 to: what came on one connection must be the
 * preface and whole frames of requests of the proxy's own making (RFC 9113 sections 3.4 and 8),
 * whose heads say the same as those of HTTP/1.1. */
#include <nghttp2/nghttp2.h>
#include <stdint.h>

#include "seen.h"

#define SEEN_H2_PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define SEEN_H2_STREAMS 64

struct seen_h2 {
    struct seen *seen;
    nghttp2_hd_inflater *inflater;
    uint32_t newest; /* stream */
    struct {
        uint32_t id;
        bool ended, reset;
        int64_t length, body; /* length: -1: not told */
    } stream[SEEN_H2_STREAMS];
    size_t count;
};

static inline bool seen_h2_begins(const char *s, size_t n)
{
    const size_t len = sizeof SEEN_H2_PREFACE - 1;

    return n >= len && memcmp(s, SEEN_H2_PREFACE, len) == 0;
}

static inline uint32_t seen_h2_number(const uint8_t *s)
{
    return ((uint32_t)s[0] << 24 | (uint32_t)s[1] << 16 | (uint32_t)s[2] << 8 | s[3]) &
           0x7fffffff;
}

static inline bool seen_h2_is(const nghttp2_nv *nv, const char *name)
{
    return nv->namelen == strlen(name) && memcmp(nv->name, name, nv->namelen) == 0;
}

struct seen_h2_head {
    unsigned methods, paths, authorities, schemes, tokens, fields;
    bool safe;
    int64_t length;
};

static inline void seen_h2_field(struct seen_h2_head *h, const nghttp2_nv *nv)
{
    static const char *const never[] = { "connection",        "keep-alive", "proxy-connection",
                                         "transfer-encoding", "upgrade",    "host" };
    const char *value = (const char *)nv->value;

    if (nv->namelen > 0 && nv->name[0] == ':') {
        require(h->fields == 0); /* these come first */
        h->methods += seen_h2_is(nv, ":method");
        h->paths += seen_h2_is(nv, ":path");
        h->authorities += seen_h2_is(nv, ":authority");
        h->schemes += seen_h2_is(nv, ":scheme");
        if (seen_h2_is(nv, ":path"))
            require(nv->valuelen > 0 && value[0] == '/');
        if (seen_h2_is(nv, ":method"))
            h->safe = ascii_equal_str(value, nv->valuelen, "GET") ||
                      ascii_equal_str(value, nv->valuelen, "HEAD") ||
                      ascii_equal_str(value, nv->valuelen, "OPTIONS");
        return;
    }
    h->fields++;
    require(ascii_is_token((const char *)nv->name, nv->namelen));
    for (size_t i = 0; i < nv->namelen; i++)
        require(nv->name[i] < 'A' || nv->name[i] > 'Z');
    for (size_t i = 0; i < sizeof never / sizeof *never; i++)
        require(!seen_h2_is(nv, never[i]));
    require(ascii_is_field_text(value, nv->valuelen));
    if (seen_h2_is(nv, "authorization")) {
        require(nv->valuelen > strlen(SEEN_TOKEN) &&
                memcmp(value, SEEN_TOKEN, strlen(SEEN_TOKEN)) == 0);
        h->tokens++;
    } else if (seen_h2_is(nv, "content-length")) {
        h->length = ascii_number(value, nv->valuelen);
        require(h->length >= 0);
    }
}

/* A head in one frame; with CONTINUATION it would be larger than this target's limits allow. */
static inline void seen_h2_head(struct seen_h2 *s, uint32_t id, bool ended,
                                const uint8_t *block, size_t n)
{
    struct seen_h2_head h = { .length = -1 };

    require(id % 2 == 1 && id > s->newest);
    s->newest = id;
    for (int flags = 0; (flags & NGHTTP2_HD_INFLATE_FINAL) == 0;) {
        nghttp2_nv nv;
        ssize_t used = nghttp2_hd_inflate_hd2(s->inflater, &nv, &flags, block, n, 1);

        require(used >= 0);
        block += used;
        n -= (size_t)used;
        if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0)
            seen_h2_field(&h, &nv);
        require((flags & (NGHTTP2_HD_INFLATE_EMIT | NGHTTP2_HD_INFLATE_FINAL)) != 0 || n > 0);
    }
    (void)nghttp2_hd_inflate_end_headers(s->inflater);
    require(h.methods == 1 && h.paths == 1 && h.authorities == 1 && h.schemes == 1 &&
            h.tokens == 1);
    s->seen->requests++;
    s->seen->unsafe += !h.safe;
    if (s->count < SEEN_H2_STREAMS) {
        s->stream[s->count].id = id;
        s->stream[s->count].length = h.length;
        s->stream[s->count++].ended = ended;
    }
}

/* DATA, or RST_STREAM, of a stream that is known; nothing comes behind its end. */
static inline void seen_h2_on_stream(struct seen_h2 *s, uint32_t id, uint8_t type, bool ended,
                                     size_t n)
{
    for (size_t i = 0; i < s->count; i++) {
        if (s->stream[i].id != id)
            continue;
        if (type == NGHTTP2_RST_STREAM) {
            s->stream[i].reset = true;
            continue;
        }
        require(!s->stream[i].ended && !s->stream[i].reset);
        s->stream[i].body += (int64_t)n;
        s->stream[i].ended = ended;
        if (s->stream[i].length >= 0)
            require(ended ? s->stream[i].body == s->stream[i].length
                          : s->stream[i].body <= s->stream[i].length);
    }
}

/* Returns the newest stream that a request came on; 0: none. */
static inline uint32_t seen_h2_connection(struct seen *seen, const char *bytes, size_t size)
{
    static struct seen_h2 s;
    const uint8_t *at = (const uint8_t *)bytes + sizeof SEEN_H2_PREFACE - 1;
    const uint8_t *end = (const uint8_t *)bytes + size;

    s = (struct seen_h2){ .seen = seen };
    int err = nghttp2_hd_inflate_new(&s.inflater);
    require(err == 0);
    while (end - at >= 9) {
        size_t n = (size_t)at[0] << 16 | (size_t)at[1] << 8 | at[2];
        uint8_t type = at[3], flags = at[4];
        uint32_t id = seen_h2_number(at + 5);

        require(n <= 16384 && type != NGHTTP2_PUSH_PROMISE && type != NGHTTP2_CONTINUATION);
        at += 9;
        if ((size_t)(end - at) < n)
            break; /* cut */
        if (type == NGHTTP2_HEADERS) {
            require((flags & (NGHTTP2_FLAG_PADDED | NGHTTP2_FLAG_PRIORITY)) == 0 &&
                    (flags & NGHTTP2_FLAG_END_HEADERS) != 0);
            seen_h2_head(&s, id, (flags & NGHTTP2_FLAG_END_STREAM) != 0, at, n);
        } else if (type == NGHTTP2_DATA || type == NGHTTP2_RST_STREAM) {
            require(id != 0);
            seen_h2_on_stream(&s, id, type, (flags & NGHTTP2_FLAG_END_STREAM) != 0, n);
        }
        at += n;
    }
    nghttp2_hd_inflate_del(s.inflater);
    return s.newest;
}

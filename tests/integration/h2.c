/* HTTP/2 frame by frame, RFC 9113 section 4 and 6. */
#include "h2.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "peer_inside.h"

static bool read_exactly(struct peer_conn *c, void *out, size_t n)
{
    char *at = out;
    while (n > 0) {
        long got = peer_read(c, at, n);
        if (got <= 0)
            return false;
        at += got;
        n -= (size_t)got;
    }
    return true;
}

static void put32(uint8_t *out, uint32_t value)
{
    out[0] = (uint8_t)(value >> 24);
    out[1] = (uint8_t)(value >> 16);
    out[2] = (uint8_t)(value >> 8);
    out[3] = (uint8_t)value;
}

bool h2_begin(struct peer_conn *c)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    char got[sizeof preface - 1];
    return read_exactly(c, got, sizeof got) && memcmp(got, preface, sizeof got) == 0 &&
           h2_write_frame(c, H2_SETTINGS, 0, 0, NULL, 0);
}

bool h2_read_frame(struct peer_conn *c, struct h2_frame *f)
{
    uint8_t head[9];
    if (!read_exactly(c, head, sizeof head))
        return false;
    size_t len = (size_t)head[0] << 16 | (size_t)head[1] << 8 | head[2];
    f->type = head[3];
    f->flags = head[4];
    f->stream =
        ((uint32_t)head[5] << 24 | (uint32_t)head[6] << 16 | (uint32_t)head[7] << 8 | head[8]) &
        0x7fffffff;
    bytes_clear(&f->payload);
    bytes_fill(&f->payload, 0, len);
    return read_exactly(c, f->payload.data, len);
}

bool h2_write_frame(struct peer_conn *c, uint8_t type, uint8_t flags, uint32_t stream,
                    const void *payload, size_t n)
{
    struct bytes out = { 0 };
    uint8_t head[9] = { (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n, type, flags };
    put32(head + 5, stream);
    bytes_add(&out, head, sizeof head);
    bytes_add(&out, payload, n);
    bool ok = peer_write(c, out.data, out.len);
    bytes_free(&out);
    return ok;
}

bool h2_housekeep(struct peer_conn *c, const struct h2_frame *f)
{
    if (f->type == H2_SETTINGS && !(f->flags & H2_ACK))
        return h2_write_frame(c, H2_SETTINGS, H2_ACK, 0, NULL, 0);
    if (f->type == H2_PING && !(f->flags & H2_ACK))
        return h2_write_frame(c, H2_PING, H2_ACK, 0, f->payload.data, f->payload.len);
    if (f->type == H2_DATA && f->payload.len > 0) {
        uint8_t window[4];
        put32(window, (uint32_t)f->payload.len);
        return h2_write_frame(c, H2_WINDOW_UPDATE, 0, 0, window, sizeof window) &&
               ((f->flags & H2_END_STREAM) ||
                h2_write_frame(c, H2_WINDOW_UPDATE, 0, f->stream, window, sizeof window));
    }
    return true;
}

static struct peer_request *record(struct peer_conn *c)
{
    struct peer_request *r = peer_new_record(c, "H2", "/");
    peer_publish(c, r);
    return r;
}

uint32_t h2_read_head(struct peer_conn *c, bool *has_body)
{
    struct h2_frame f = { 0 };
    uint32_t stream = 0;
    *has_body = false;
    while (stream == 0 && h2_read_frame(c, &f) && h2_housekeep(c, &f)) {
        if (f.type == H2_HEADERS && (f.flags & H2_END_HEADERS)) {
            stream = f.stream;
            *has_body = !(f.flags & H2_END_STREAM);
            (void)record(c);
        }
    }
    bytes_free(&f.payload);
    return stream;
}

uint32_t h2_read_request(struct peer_conn *c, size_t *body_bytes)
{
    struct h2_frame f = { 0 };
    struct peer_request *r = NULL;
    size_t total = 0;
    uint32_t stream = 0, done = 0;
    while (done == 0 && h2_read_frame(c, &f) && h2_housekeep(c, &f)) {
        if (f.type == H2_HEADERS && stream == 0) {
            stream = f.stream;
            r = record(c);
        }
        if (f.type == H2_DATA && f.stream == stream)
            total += f.payload.len;
        if ((f.type == H2_HEADERS || f.type == H2_DATA) && f.stream == stream &&
            (f.flags & H2_END_STREAM))
            done = stream;
    }
    if (done != 0)
        peer_complete(c, r);
    if (body_bytes != NULL)
        *body_bytes = total;
    bytes_free(&f.payload);
    return done;
}

bool h2_write_head(struct peer_conn *c, uint32_t stream, int status, bool end_stream)
{
    /* a literal without indexing, its name by reference to :status (RFC 7541 6.2.2) */
    uint8_t block[8] = { 0x08, 3 };
    size_t n = 5;
    char digits[16];
    (void)snprintf(digits, sizeof digits, "%03d", status);
    memcpy(block + 2, digits, 3);
    if (status == 200) {
        block[0] = 0x88;
        n = 1;
    }
    uint8_t flags = (uint8_t)(H2_END_HEADERS | (end_stream ? H2_END_STREAM : 0));
    return h2_write_frame(c, H2_HEADERS, flags, stream, block, n);
}

bool h2_answer(struct peer_conn *c, uint32_t stream, int status, const char *body)
{
    size_t n = strlen(body);
    return h2_write_head(c, stream, status, n == 0) &&
           (n == 0 || h2_write_frame(c, H2_DATA, H2_END_STREAM, stream, body, n));
}

bool h2_reset(struct peer_conn *c, uint32_t stream, uint32_t error)
{
    uint8_t code[4];
    put32(code, error);
    return h2_write_frame(c, H2_RST_STREAM, 0, stream, code, sizeof code);
}

bool h2_goaway(struct peer_conn *c, uint32_t last_stream, uint32_t error)
{
    uint8_t payload[8];
    put32(payload, last_stream);
    put32(payload + 4, error);
    return h2_write_frame(c, H2_GOAWAY, 0, 0, payload, sizeof payload);
}

void h2_serve(struct peer_conn *c, void *arg)
{
    struct h2_frame f = { 0 };
    bool ok = h2_begin(c);
    (void)arg;
    while (ok && h2_read_frame(c, &f) && h2_housekeep(c, &f)) {
        if ((f.type != H2_HEADERS && f.type != H2_DATA) || !(f.flags & H2_END_STREAM))
            continue;
        peer_complete(c, record(c));
        ok = h2_answer(c, f.stream, 200, "fine");
    }
    bytes_free(&f.payload);
}

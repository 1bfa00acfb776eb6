#pragma once
/* HTTP/2 frame by frame (RFC 9113), for peers that negotiated "h2". Header blocks are not
 * decoded: tests need to know only that requests are made, and how many. */
#include "peer.h"

enum h2_type {
    H2_DATA = 0,
    H2_HEADERS = 1,
    H2_RST_STREAM = 3,
    H2_SETTINGS = 4,
    H2_PING = 6,
    H2_GOAWAY = 7,
    H2_WINDOW_UPDATE = 8,
    H2_CONTINUATION = 9,
};
enum h2_flag { H2_END_STREAM = 1, H2_ACK = 1, H2_END_HEADERS = 4, H2_PADDED = 8 };
enum h2_error {
    H2_NO_ERROR = 0,
    H2_REFUSED_STREAM = 7,
    H2_CANCEL = 8,
    H2_HTTP_1_1_REQUIRED = 13
};

struct h2_frame {
    uint8_t type, flags;
    uint32_t stream;
    struct bytes payload;
};

/* Reads the client's preface and sends our SETTINGS. */
bool h2_begin(struct peer_conn *c);
/* Reads the next frame of any type. The payload of `f` is reused. */
bool h2_read_frame(struct peer_conn *c, struct h2_frame *f);
bool h2_write_frame(struct peer_conn *c, uint8_t type, uint8_t flags, uint32_t stream,
                    const void *payload, size_t n);
/* Handles frames that belong to no request: answers SETTINGS and PING, gives window back. */
bool h2_housekeep(struct peer_conn *c, const struct h2_frame *f);
/* Reads until a request is complete (END_STREAM), answering SETTINGS and PING and giving
 * window back; records it with method "H2" and target "/". Returns its stream; 0: the
 * connection has ended. */
uint32_t h2_read_request(struct peer_conn *c, size_t *body_bytes);
/* A peer_serve_fn: answers each request with 200 when it is complete, in whatever order they end,
 * and records it as h2_read_request does. */
void h2_serve(struct peer_conn *c, void *arg);
/* Returns as soon as its HEADERS are there; the body comes later. */
uint32_t h2_read_head(struct peer_conn *c, bool *has_body);
/* Sends HEADERS with a status (200, 204, 400, 404, 500 of the static table, or a literal),
 * then DATA. */
bool h2_answer(struct peer_conn *c, uint32_t stream, int status, const char *body);
bool h2_write_head(struct peer_conn *c, uint32_t stream, int status, bool end_stream);
bool h2_reset(struct peer_conn *c, uint32_t stream, uint32_t error);
bool h2_goaway(struct peer_conn *c, uint32_t last_stream, uint32_t error);

#pragma once
/* A scripted origin on 127.0.0.1: a function of the test serves each accepted connection,
 * byte by byte, in a thread of its own. These functions must not use assertions of cmocka,
 * since they run in other threads; the test's thread checks the records afterwards. */
#include <pthread.h>

#include "bytes.h"
#include "certs.h"

struct peer;

/* A request as received. Written by the connection's thread; the test may read it after a
 * peer_wait* for it has returned true. */
struct peer_request {
    size_t connection; /* 1, 2, 3 ... in the order they were accepted */
    char method[32];
    char *target;
    struct bytes head;      /* raw, with the empty line */
    struct bytes body;      /* without chunk framing */
    int64_t content_length; /* -1: none */
    bool chunked;
    bool complete; /* the whole body was received */
};

struct peer_conn {
    struct peer *peer;
    size_t number;
    int fd;          /* -1: closed */
    SSL *ssl;        /* NULL: plain */
    struct bytes in; /* received, not used yet */
    size_t requests; /* number of requests on this connection so far */
    struct peer_conn *next;
};

typedef void (*peer_serve_fn)(struct peer_conn *c, void *arg);

struct peer_options {
    peer_serve_fn serve; /* the connection is closed when it returns */
    void *arg;
    void (*free_arg)(void *arg); /* called by peer_stop; NULL: none */
    enum cert_kind cert;
    bool h2;            /* ALPN; needs a cert */
    size_t drop_first;  /* number of connections that are closed as soon as they are accepted */
    int receive_buffer; /* SO_RCVBUF of the connections, 0: the system's */
};

/* Added to the last part of 127.0.0.1: the address on which new peers listen. */
extern int peer_host;
struct peer *peer_start(const struct peer_options *options);
/* Ends all connections, waits for their threads, and frees everything. */
void peer_stop(struct peer *p);
/* Stops listening, but keeps the connections. */
void peer_stop_listening(struct peer *p);
int peer_port(const struct peer *p);
/* "http://127.0.0.1:PORT" or "https://localhost:PORT" */
const char *peer_url(const struct peer *p);
void *peer_arg(const struct peer *p);

/* The records. A pattern is "", "METHOD /target" or " /target" (any method); the target must
 * be equal, except that "*" at the end matches any rest. */
size_t peer_connections(struct peer *p);
size_t peer_handshake_failures(struct peer *p);
size_t peer_open_connections(struct peer *p);
size_t peer_count(struct peer *p, const char *pattern);
/* Waits until the heads of n requests that match were received. */
bool peer_wait(struct peer *p, const char *pattern, size_t n, int ms);
/* ... and their bodies too. */
bool peer_wait_complete(struct peer *p, const char *pattern, size_t n, int ms);
bool peer_wait_connections(struct peer *p, size_t n, int ms);
/* Waits until at most n connections are open. */
bool peer_wait_closed_to(struct peer *p, size_t n, int ms);
/* The index-th request that matches, or NULL. */
const struct peer_request *peer_request(struct peer *p, const char *pattern, size_t index);

/* For serve functions. Reads give up after 60 s, and when the peer is stopped. */
/* Reads the next request with its body; NULL: the connection has ended. */
const struct peer_request *peer_read_request(struct peer_conn *c);
/* Reads only the head; use peer_read_body or peer_read after it. */
struct peer_request *peer_read_head(struct peer_conn *c);
bool peer_read_body(struct peer_conn *c, struct peer_request *r);
/* Reads up to cap bytes, first those in `in`. 0: the end, -1: an error. */
long peer_read(struct peer_conn *c, void *out, size_t cap);
/* Reads and drops bytes until the peer has closed or reset. */
void peer_read_eof(struct peer_conn *c);
bool peer_write(struct peer_conn *c, const void *data, size_t n);
bool peer_puts(struct peer_conn *c, const char *text);
/* Writes a complete answer; headers are lines that end in CRLF, NULL: none. */
bool peer_answer(struct peer_conn *c, int status, const char *headers, const char *body);
/* Closes in order (FIN; under TLS close_notify before it). */
void peer_close(struct peer_conn *c);
/* Closes with RST. */
void peer_reset(struct peer_conn *c);
/* Closes without close_notify under TLS; without TLS like peer_close. */
void peer_cut(struct peer_conn *c);
/* Ends writing; reading goes on. */
void peer_finish_writing(struct peer_conn *c);

/* A serve function waits at it until the test opens it; also counts those that have arrived. */
struct gate {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool open;
    size_t arrived;
};
/* Shut at first. A gate is static, since what a failed test leaves running may still wait at
 * it. */
void gate_init(struct gate *g);
/* Waits until it is open; false: not within 60 s, or the peer is being stopped. */
bool gate_pass(struct gate *g, struct peer_conn *c);
void gate_open(struct gate *g);
void gate_shut(struct gate *g);
bool gate_wait_arrived(struct gate *g, size_t n, int ms);

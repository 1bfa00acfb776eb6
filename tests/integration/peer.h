#pragma once
/* A scripted origin on 127.0.0.1: each accepted connection is served by a function of the test
 * in a thread of its own, byte by byte. Nothing here may call an assertion of cmocka: it runs
 * in other threads; the test's thread looks at the records afterwards. */
#include <pthread.h>

#include "bytes.h"
#include "certs.h"

struct peer;

/* What one request said; written by the connection's thread, to be read by the test once a
 * peer_wait* that covers it came back true. */
struct peer_request {
    size_t connection; /* 1, 2, 3 ... in the order they were accepted */
    char method[32];
    char *target;
    struct bytes head;      /* raw, with the empty line */
    struct bytes body;      /* without chunk framing */
    int64_t content_length; /* -1: none */
    bool chunked;
    bool complete; /* the whole body has come */
};

struct peer_conn {
    struct peer *peer;
    size_t number;
    int fd;          /* -1: closed */
    SSL *ssl;        /* NULL: plain */
    struct bytes in; /* received, not yet taken */
    size_t requests; /* on this connection so far */
    struct peer_conn *next;
};

typedef void (*peer_serve_fn)(struct peer_conn *c, void *arg);

struct peer_options {
    peer_serve_fn serve; /* the connection is closed when it returns */
    void *arg;
    void (*free_arg)(void *arg); /* called by peer_stop; NULL: none */
    enum cert_kind cert;
    bool h2;            /* ALPN; needs a cert */
    size_t drop_first;  /* so many connections are closed as soon as they are accepted */
    int receive_buffer; /* SO_RCVBUF of the connections, 0: the system's */
};

/* Those that are started from now on listen on 127.0.0.1 plus so much. */
extern int peer_host;
struct peer *peer_start(const struct peer_options *options);
/* Ends all connections, waits for their threads, frees. */
void peer_stop(struct peer *p);
/* Stops listening, keeps the connections. */
void peer_stop_listening(struct peer *p);
int peer_port(const struct peer *p);
/* "http://127.0.0.1:PORT" or "https://localhost:PORT" */
const char *peer_url(const struct peer *p);
void *peer_arg(const struct peer *p);

/* The records. A pattern is "", "METHOD /target" or " /target" (any method); the target is
 * compared up to the pattern's end of string, "*" at the end matches any rest. */
size_t peer_connections(struct peer *p);
size_t peer_handshake_failures(struct peer *p);
size_t peer_open_connections(struct peer *p);
size_t peer_count(struct peer *p, const char *pattern);
/* n requests of that pattern have been seen (their heads). */
bool peer_wait(struct peer *p, const char *pattern, size_t n, int ms);
/* ... and their bodies too. */
bool peer_wait_complete(struct peer *p, const char *pattern, size_t n, int ms);
bool peer_wait_connections(struct peer *p, size_t n, int ms);
/* At most n connections are open. */
bool peer_wait_closed_to(struct peer *p, size_t n, int ms);
/* The index-th request of the pattern, or NULL. */
const struct peer_request *peer_request(struct peer *p, const char *pattern, size_t index);

/* For serve functions. Reads give up after 60 s and when the peer is stopped. */
/* The next request with its body, or NULL at the end of the connection. */
const struct peer_request *peer_read_request(struct peer_conn *c);
/* Only the head; then peer_read_body or peer_read. */
struct peer_request *peer_read_head(struct peer_conn *c);
bool peer_read_body(struct peer_conn *c, struct peer_request *r);
/* Up to cap bytes as they come: what is in `in` first. 0: the end, -1: an error. */
long peer_read(struct peer_conn *c, void *out, size_t cap);
/* Reads and drops until the other side has closed or reset. */
void peer_read_eof(struct peer_conn *c);
bool peer_write(struct peer_conn *c, const void *data, size_t n);
bool peer_puts(struct peer_conn *c, const char *text);
/* A whole answer; headers are lines that end in CRLF, NULL: none. */
bool peer_answer(struct peer_conn *c, int status, const char *headers, const char *body);
/* Closes in order (FIN; close_notify first under TLS). */
void peer_close(struct peer_conn *c);
/* Closes with RST. */
void peer_reset(struct peer_conn *c);
/* Closes under TLS without close_notify; plain: as peer_close. */
void peer_cut(struct peer_conn *c);
/* No more writing, reading goes on. */
void peer_finish_writing(struct peer_conn *c);

/* What a serve function waits at and the test opens; also counts those that arrived. */
struct gate {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool open;
    size_t arrived;
};
/* Shut. A gate is static: what a failed test leaves running may still wait at it. */
void gate_init(struct gate *g);
/* Waits until open; false: not within 60 s, or the peer is being stopped. */
bool gate_pass(struct gate *g, struct peer_conn *c);
void gate_open(struct gate *g);
void gate_shut(struct gate *g);
bool gate_wait_arrived(struct gate *g, size_t n, int ms);

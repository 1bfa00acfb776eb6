#pragma once
/* A caller with bare sockets. Runs in the test's thread; what goes wrong on this side of the
 * wire (connect, send) fails the test at once. */
#include "bytes.h"
#include "certs.h"

struct client {
    int fd;          /* -1: closed */
    SSL *ssl;        /* NULL: plain */
    bool reset;      /* the other side ended it with RST; under TLS: without close_notify */
    struct bytes in; /* received, not yet taken */
};

enum answer_end {
    ANSWER_WHOLE, /* as long as its framing said; without framing: until FIN */
    ANSWER_CUT,   /* the connection ended or was reset inside it */
    ANSWER_NONE,  /* the connection ended before its first byte */
    ANSWER_LATE,  /* not whole by the deadline */
};

struct answer {
    enum answer_end end;
    int status;
    struct bytes head; /* raw, with the empty line; interim answers are in `interim` */
    struct bytes interim;
    struct bytes body; /* without chunk framing */
    bool chunked;
    int64_t content_length; /* -1: none */
};

/* SO_RCVBUF of those that are opened by TCP from now on; 0: the system's choice. */
extern int client_receive_buffer;
void client_open(struct client *c, int port);
/* Over a unix socket. */
void client_open_unix(struct client *c, const char *path);
/* 0, or the errno that connecting to it gives. */
int client_try_unix(const char *path);

struct client_tls {
    enum cert_kind certificate; /* to show; CERT_NONE: none */
    const char *alpn;           /* such as "h2"; NULL: offers nothing */
    int version;                /* e.g. TLS1_2_VERSION, no other; 0: any */
};
/* By TLS, the server's certificate checked against the CA of the tests. False: the handshake
 * failed (the connection is open all the same). options may be NULL. */
bool client_open_tls(struct client *c, int port, const struct client_tls *options);
/* The serial number of the server's certificate. */
long client_server_serial(const struct client *c);

/* True when nobody listens there; else waits a moment for what the listener says. */
bool client_refused(int port);
void client_close(struct client *c);
void client_reset(struct client *c);
void client_send(struct client *c, const void *data, size_t n);
void client_puts(struct client *c, const char *text);
/* Sends what it can until the deadline or until the other side has closed; returns how much. */
size_t client_try_send(struct client *c, const void *data, size_t n, int ms);
/* Reads one answer; to_head: it has no body whatever its head says. Frees what was in `a`. */
void client_read(struct client *c, struct answer *a, bool to_head, int ms);
/* Only the head of an answer, interim ones included; the body stays in `in`. */
void client_read_head(struct client *c, struct answer *a, int ms);
/* Bytes as they come into `in`: 1 some, 0 end or reset, -1 none by the deadline. */
int client_fill(struct client *c, int ms);
/* True when the other side has closed by then (bytes before that are dropped). */
bool client_closed(struct client *c, int ms);

void answer_free(struct answer *a);
/* The first value of a field, "" when absent; valid until the next call. */
const char *answer_header(const struct answer *a, const char *name);
size_t answer_header_count(const struct answer *a, const char *name);

/* One request over a connection of its own, whole: head and body as they are. */
void http_raw(int port, const char *request, struct answer *a);
/* "METHOD target" with Host and Connection: close; headers whole lines or NULL, body or NULL.
 */
void http_call(int port, const char *method, const char *target, const char *headers,
               const char *body, struct answer *a);
void http_get(int port, const char *target, struct answer *a);
/* The same over an open connection, keep-alive. */
void client_call(struct client *c, const char *method, const char *target, const char *headers,
                 const char *body, struct answer *a);

/* Many callers at once, in one thread. */
struct crowd;
/* Connects n callers and sends the request of each (one for all; Connection: close in it). */
struct crowd *crowd_start(int port, size_t n, const char *request);
/* Reads until all have an answer and an end; true: all did by then. */
bool crowd_finish(struct crowd *c, int ms);
/* How many got that status (0: no answer). */
size_t crowd_count(const struct crowd *c, int status);
/* How many answers hold that text. */
size_t crowd_containing(const struct crowd *c, const char *needle);
void crowd_free(struct crowd *c);

#pragma once
/* A caller with bare sockets. Runs in the test's thread; an error on this side of the
 * connection (connect, send) fails the test at once. */
#include "bytes.h"
#include "certs.h"

struct client {
    int fd;          /* -1: closed */
    SSL *ssl;        /* NULL: plain */
    bool reset;      /* the peer ended it with RST; under TLS: without close_notify */
    struct bytes in; /* received, not used yet */
};

enum answer_end {
    ANSWER_WHOLE, /* complete by its framing; without framing: until FIN */
    ANSWER_CUT,   /* the connection ended or was reset inside it */
    ANSWER_NONE,  /* the connection ended before its first byte */
    ANSWER_LATE,  /* incomplete at the deadline */
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

/* SO_RCVBUF of TCP connections that are opened from now on; 0: the system's choice. */
extern int client_receive_buffer;
/* A blocking TCP connection to this port of the machine; -1 with errno. */
int client_connect(int port);
void client_open(struct client *c, int port);
/* Over a unix socket. */
void client_open_unix(struct client *c, const char *path);
/* Returns 0, or the errno of connecting to it. */
int client_try_unix(const char *path);

struct client_tls {
    enum cert_kind certificate; /* the one to show; CERT_NONE: none */
    const char *alpn;           /* such as "h2"; NULL: no ALPN */
    int version;                /* e.g. TLS1_2_VERSION, and no other; 0: any */
};
/* Opens a TLS connection; the server's certificate is verified with the CA of the tests.
 * False: the handshake failed (the connection is open all the same). options may be NULL. */
bool client_open_tls(struct client *c, int port, const struct client_tls *options);
/* The serial number of the server's certificate. */
long client_server_serial(const struct client *c);

/* True if nobody listens there; otherwise waits a moment for what the listener sends. */
bool client_refused(int port);
void client_close(struct client *c);
void client_reset(struct client *c);
void client_send(struct client *c, const void *data, size_t n);
void client_puts(struct client *c, const char *text);
/* Sends as much as possible until the deadline, or until the peer has closed; returns how
 * much. */
size_t client_try_send(struct client *c, const void *data, size_t n, int ms);
/* Reads one answer; to_head: it has no body, whatever its head says. Frees the previous
 * content of `a`. */
void client_read(struct client *c, struct answer *a, bool to_head, int ms);
/* Reads only the head of an answer, including interim ones; the body stays in `in`. */
void client_read_head(struct client *c, struct answer *a, int ms);
/* Receives into `in`: 1 some bytes, 0 end or reset, -1 nothing before the deadline. */
int client_fill(struct client *c, int ms);
/* Whether the peer closes before the deadline (bytes before that are dropped). */
bool client_closed(struct client *c, int ms);

void answer_free(struct answer *a);
/* The first value of a field, "" if there is none; valid until the next call. */
const char *answer_header(const struct answer *a, const char *name);
size_t answer_header_count(const struct answer *a, const char *name);

/* Sends one request as it is, head and body, over a connection of its own. */
void http_raw(int port, const char *request, struct answer *a);
/* Sends "METHOD target" with Host and Connection: close; headers: whole lines or NULL; body
 * or NULL. */
void http_call(int port, const char *method, const char *target, const char *headers,
               const char *body, struct answer *a);
void http_get(int port, const char *target, struct answer *a);
/* The same over an open keep-alive connection. */
void client_call(struct client *c, const char *method, const char *target, const char *headers,
                 const char *body, struct answer *a);

/* Many callers at once, in one thread. */
struct crowd;
/* Connects n callers and sends the request of each (the same for all; it must contain
 * Connection: close). */
struct crowd *crowd_start(int port, size_t n, const char *request);
/* Reads until all have an answer and an end; false: not before the deadline. */
bool crowd_finish(struct crowd *c, int ms);
/* How many got that status (0: no answer). */
size_t crowd_count(const struct crowd *c, int status);
/* How many answers contain that text. */
size_t crowd_containing(const struct crowd *c, const char *needle);
void crowd_free(struct crowd *c);

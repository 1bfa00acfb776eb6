#pragma once
/* What peer.c and peer_conn.c share. */
#include "peer.h"

#define PEER_PATIENCE_MS 60000

struct peer {
    struct peer_options options;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t acceptor;
    int listen_fd, port;
    int bound_fd; /* keeps the port when nobody listens any more; -1: none */
    char url[64];
    SSL_CTX *tls;
    bool stopping;
    size_t accepted, live, handshake_failures;
    struct peer_conn *connections;
    struct peer_request **requests;
    size_t request_count, request_cap;
};

/* Makes a record of a request on c, which the test does not see yet. */
struct peer_request *peer_new_record(struct peer_conn *c, const char *method,
                                     const char *target);
/* Shows a record to the test; its head does not change from then on. */
void peer_publish(struct peer_conn *c, struct peer_request *r);
void peer_complete(struct peer_conn *c, struct peer_request *r);

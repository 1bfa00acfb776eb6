#pragma once
/* An exchange that is libcurl's, since HTTP/2 may be spoken. See upstream/exchange.h. */
#include "base/base.h"
#include "http/request_check.h"
#include "net/curl_host.h"

struct close_notify;
struct config;
struct exchange_client;

/* How libcurl's handle is set for the request it had last. */
struct curl_client_shape {
    char method[REQUEST_METHOD_MAX + 1]; /* empty: none yet */
    bool has_body, large, fresh, tells;
};

struct curl_client {
    struct curl_host_transfer transfer;
    CURLU *url;
    struct curl_client_shape shape;
    struct config *setup_for; /* the settings the handle was made with */
    bool used;                /* it has had a transfer, see curl_host_handles_last */
    /* How the head of a body of unknown length went out, see curl_host_late_chunks_framed. */
    bool tells, head_whole, head_h2, chunks_ended;
    unsigned head_pieces;
    struct close_notify
        *close_notify; /* of an answer that ends with its TLS connection; else NULL */
};

extern const struct exchange_client curl_client;
/* Frees what is kept from one exchange to the next. Takes a zeroed one. */
void curl_client_free(struct curl_client *c);

#pragma once
/* One fetch from the token endpoint: RFC 6749 section 4.4. Thread: control. */
#include "base/base.h"
#include "base/buf.h"
#include "base/failure.h"
#include "config/config.h"
#include "event/loop.h"
#include "net/curl_host.h"
#include "net/leg_error.h"
#include "token/credentials.h"
#include "token/token.h"

struct token_client_result {
    struct token *token;    /* with one reference, or NULL */
    struct failure failure; /* valid if token is NULL */
    /* the endpoint refused the credentials or the request: a 4xx except 408 and 429, or a 2xx
     * with an `error` in its body (RFC 6749 section 5.2) */
    bool refused;
    /* how long the endpoint asked to wait, at most a day; 0: it did not */
    int64_t retry_after_ms;
};

struct token_client {
    struct curl_host multi;
    struct curl_host_transfer transfer;
    struct loop_timer deadline;
    struct loop *loop;
    struct buf body; /* wiped after each fetch */
    struct curl_slist *headers;
    struct secret *form; /* the body, or an empty one */
    size_t extra_at;     /* where token.extra begins in it; beyond its end: there is none */
    struct secret *authorization;
    struct credentials credentials;
    int64_t started_ms;
    uint64_t generation;
    int64_t default_lifetime_ms, timeout_ms;
    int64_t refused_mode;                                           /* enum config_refused */
    const char *url_key, *ca_key, *id_key, *secret_key, *proxy_key; /* as in config.token */
    size_t head_bytes; /* of the answer's head so far */
    bool too_large, is_html;
    const char *proxy; /* these three belong to the URL of the running fetch */
    int port;
    bool tls;
    char error_text[CURL_ERROR_SIZE]; /* libcurl's error message */
    bool untyped;                     /* an answer had no token_type; that was logged */
    void (*on_done)(struct token_client *client, const struct token_client_result *r);
};

/* The owner sets client->on_done afterwards. Returns 0 or -errno. */
int token_client_init(struct token_client *client, struct loop *l) MUST_CHECK;
/* Cancels a running fetch and frees everything. Takes a zeroed one. */
void token_client_done(struct token_client *client);

/* Starts a fetch with the present credentials; on_done is called later, exactly once. No
 * fetch may be running. */
void token_client_fetch(struct token_client *client, const struct config *c,
                        uint64_t generation);

/* Ends a running fetch without on_done. */
void token_client_cancel(struct token_client *client);

/* Reads the credential files. Returns whether the credentials have changed. */
bool token_client_credentials_changed(struct token_client *client, const struct config *c);

/* Takes new settings, including credentials (was: the old ones, NULL at the start). Returns
 * whether a fetch would now send a different request. */
bool token_client_configure(struct token_client *client, const struct config *was,
                            const struct config *now);

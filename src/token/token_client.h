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
    struct failure failure; /* when NULL */
    bool refused; /* the endpoint refused the credentials or the request: 4xx but 408 and 429 */
    int64_t retry_after_ms; /* what the endpoint asked to wait, at most a day; 0: nothing */
};

struct token_client {
    struct curl_host multi;
    struct curl_host_transfer transfer;
    struct loop_timer deadline;
    struct loop *loop;
    struct buf body; /* wiped after each fetch */
    struct curl_slist *headers;
    struct secret *form; /* the body or nothing */
    struct secret *authorization;
    struct credentials credentials;
    int64_t started_ms;
    uint64_t generation;
    int64_t default_lifetime_ms, timeout_ms;
    int64_t refused_mode;                               /* enum config_refused */
    const char *url_key, *ca_key, *id_key, *secret_key; /* as of config.token */
    size_t head_bytes;                                  /* of the answer's head, so far */
    bool too_large, is_html;
    const char *proxy; /* these three: of the running fetch's URL */
    int port;
    bool tls;
    char error_text[CURL_ERROR_SIZE]; /* libcurl's own words about a failure */
    bool untyped;                     /* an answer had no token_type, which has been logged */
    void (*on_done)(struct token_client *client, const struct token_client_result *r);
};

int token_client_init(struct token_client *client, struct loop *l) MUST_CHECK;
void token_client_done(struct token_client *client);

/* Starts a fetch with the credentials as they are now; on_done comes later, exactly once.
 * Nothing may be running. */
void token_client_fetch(struct token_client *client, const struct config *c,
                        uint64_t generation);

/* Ends a running one without on_done. */
void token_client_cancel(struct token_client *client);

/* Looks at the credential files; whether they hold others than were known. */
bool token_client_credentials_changed(struct token_client *client, const struct config *c);

/* New settings, credentials included (was: the old ones, NULL at start). Returns whether a
 * fetch would now ask for something else. */
bool token_client_configure(struct token_client *client, const struct config *was,
                            const struct config *now);

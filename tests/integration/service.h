#pragma once
/* Two ready-made origins: the token endpoint and the API. */
#include "peer.h"

/* Every token begins like this, and the secrets of the tests contain it: it must never
 * appear in the proxy's output. */
#define CANARY "canary"
#define CLIENT_ID "client-7"
#define CLIENT_SECRET "canary-secret-5"

struct token_answer {
    int status;          /* 0: the usual 200 with the next token */
    const char *headers; /* whole lines, or NULL */
    const char *body;
    enum { TOKEN_WRITE, TOKEN_CLOSE, TOKEN_RESET, TOKEN_HANG } what;
    size_t times; /* 0 is 1 */
};

struct tokens;

/* Gives "canary-token-1", "canary-token-2", ... with a lifetime of an hour unless set
 * otherwise. */
struct tokens *tokens_start(enum cert_kind cert);
struct peer *tokens_peer(struct tokens *t);
/* The next answers, in this order; after them the usual one again. Literals only. */
void tokens_push(struct tokens *t, struct token_answer answer);
/* Replaces the usual answer from now on. */
void tokens_always(struct tokens *t, struct token_answer answer);
void tokens_lifetime(struct tokens *t, int seconds);
/* Requests are not answered until released. */
void tokens_hold(struct tokens *t);
void tokens_release(struct tokens *t);
/* Number of requests received. */
size_t tokens_fetches(struct tokens *t);
bool tokens_wait(struct tokens *t, size_t n, int ms);
/* Number of tokens given out. */
size_t tokens_given(struct tokens *t);
/* Decodes %XX and + of the index-th fetch's form field; "" if there is none. */
void tokens_form_field(struct tokens *t, size_t index, const char *name, char *out, size_t cap);

/* An origin that reads complete requests and calls `answer` to write to each. NULL: answers
 * 200 with the request's body. */
typedef void (*api_answer_fn)(struct peer_conn *c, const struct peer_request *r, void *arg);
struct api_options {
    api_answer_fn answer;
    void *arg;
    enum cert_kind cert;
    size_t drop_first;
};
struct peer *api_start(const struct api_options *options);
void api_echo(struct peer_conn *c, const struct peer_request *r, void *arg);

/* The N of "Bearer canary-token-N" in a request; 0: none. */
size_t api_token_of(const struct peer_request *r);

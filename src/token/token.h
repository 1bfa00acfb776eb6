#pragma once
/* An access token: its header line, when it expires, and its generation. Immutable; threads
 * share it by reference. RFC 6749 section 5.1, RFC 6750 section 2.1. */
#include "base/base.h"
#include "base/secret.h"

struct token {
    _Atomic int refs;
    uint64_t generation;   /* 1, 2, 3 ... in the order obtained */
    int64_t obtained_ms;   /* clock_ms() when the request for it was sent */
    int64_t expires_ms;    /* not sent from this time on */
    struct secret *header; /* "Authorization: Bearer ..." */
    bool untyped;          /* the answer had no token_type */
    char *scope;           /* as granted: text of the endpoint, any bytes; NULL: not given */
};

struct token_rules {
    /* used when expires_in is missing, zero, negative or not a number */
    int64_t default_lifetime_ms;
    int64_t now_ms; /* when the request was sent: the lifetime counts from there */
    uint64_t generation;
};

/* A day: the longest lifetime, whatever expires_in says. */
#define TOKEN_LIFETIME_MAX_MS (24 * 60 * 60 * 1000LL)
/* The longest access token that is accepted. */
#define TOKEN_LENGTH_MAX 16384

/* Parses the body of a 2xx from the token endpoint: strict JSON (RFC 8259), one object,
 * `access_token` a b64token string, `token_type` "Bearer" in any case or missing,
 * `expires_in` a number, or a string of digits that may have a fraction. A member that
 * occurs twice is refused. Returns the token with one reference, or NULL with `*why` naming
 * the fault (a literal; it contains nothing of the body). Thread: control. */
struct token *token_parse(const char *json, size_t len, const struct token_rules *rules,
                          const char **why) MUST_CHECK;

struct token *token_ref(struct token *t);
/* Takes NULL. */
void token_unref(struct token *t);

static inline bool token_valid(const struct token *t, int64_t now_ms)
{
    return t != NULL && now_ms < t->expires_ms;
}

/* For this long after it was requested, a token may be unknown in parts of the upstream. */
#define TOKEN_YOUNG_MS 10000
static inline bool token_is_young(const struct token *t, int64_t now_ms)
{
    return t != NULL && now_ms - t->obtained_ms < TOKEN_YOUNG_MS;
}

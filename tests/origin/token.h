#pragma once
/* The token endpoint, and the tokens it has issued. */
#include <stdbool.h>
#include <stdint.h>

#include "reply.h"

struct token_settings {
    const char *client_id, *client_secret;
    const char *forbidden_id; /* known, but without permission: 403; NULL: none */
    int64_t lifetime_s;
    unsigned fail_status; /* 0: none; else the answer to every request */
};

struct token_issuer;

struct token_issuer *token_issuer_new(const struct token_settings *settings);
/* Takes NULL. */
void token_issuer_free(struct token_issuer *issuer);

/* One POST to the token endpoint. The headers may be NULL. Thread: the API's. */
struct reply token_request(struct token_issuer *issuer, const char *content_type,
                           const char *authorization, const char *form);

/* Whether the value of an Authorization header carries a token of ours that is still
 * valid. Thread: the API's. */
bool token_accepts(const struct token_issuer *issuer, const char *authorization);

/* Makes every token issued so far invalid, like a deleted API key. Thread: any. */
void token_revoke_all(struct token_issuer *issuer);

/* Turns the words of a token endpoint's error answer into a sentence of our own, by one table:
 * the first row counts of which all words are in the body. */
#include "token/token_error.h"

#include <string.h>

#include "base/ascii.h"
#include "base/secret.h"

#define LOOK_AT_BYTES 4096

static const struct {
    const char *all_of[3];
    const char *reason;
} rows[] = {
    { { "invalid_scope" }, "It does not grant that scope: check token.scope." },
    { { "unsupported_grant_type" },
      "It does not know the client credentials grant: check token.url." },
    { { "unauthorized_client" },
      "The client is known but may not use the client credentials grant." },
    { { "unknown", "client" }, "It does not know the client id: check token.client_id." },
    { { "client", "not found" }, "It does not know the client id: check token.client_id." },
    { { "client", "does not exist" },
      "It does not know the client id: check token.client_id." },
    { { "no such client" }, "It does not know the client id: check token.client_id." },
    { { "unknown", "api key" }, "It does not know the client id: check token.client_id." },
    { { "api key", "not found" }, "It does not know the client id: check token.client_id." },
    { { "invalid", "secret" }, "It says that the secret is wrong: check token.client_secret." },
    { { "wrong", "secret" }, "It says that the secret is wrong: check token.client_secret." },
    { { "incorrect", "secret" },
      "It says that the secret is wrong: check token.client_secret." },
    { { "secret", "not match" },
      "It says that the secret is wrong: check token.client_secret." },
    { { "secret", "mismatch" },
      "It says that the secret is wrong: check token.client_secret." },
    { { "expired", "secret" }, "It says that the secret has expired: get a new one." },
    { { "disabled" }, "It says that the client is disabled." },
    { { "revoked" }, "It says that the credentials were revoked: get new ones." },
};

static bool holds_all(const char *text, const char *const *words)
{
    for (size_t i = 0; i < ARRAY_LEN(rows[0].all_of) && words[i] != NULL; i++)
        if (strstr(text, words[i]) == NULL)
            return false;
    return true;
}

const char *token_error_reason(const char *body, size_t len)
{
    char text[LOOK_AT_BYTES];
    size_t n = len < sizeof text ? len : sizeof text - 1;
    const char *reason = NULL;

    for (size_t i = 0; i < n; i++)
        text[i] = body[i] == '\0' ? ' ' : ascii_lower(body[i]);
    text[n] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(rows) && reason == NULL; i++)
        if (holds_all(text, rows[i].all_of))
            reason = rows[i].reason;
    secret_wipe(text, sizeof text);
    return reason;
}

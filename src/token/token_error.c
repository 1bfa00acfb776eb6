/* Turns a token endpoint's error answer into a sentence of ours. It is found in a table: the
 * first row of which all words occur in the body. Also reads the `error` of the answer. */
#include "token/token_error.h"

#include <json-c/json.h>
#include <stdio.h>
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

static bool holds_all(const char *text, const char *const *parts)
{
    for (size_t i = 0; i < ARRAY_LEN(rows[0].all_of) && parts[i] != NULL; i++)
        if (strstr(text, parts[i]) == NULL)
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

/* Whether the text contains a part of the secret, as it is or percent-encoded. */
static bool repeats(const char *text, const struct secret *secret)
{
    enum { PIECE = 6 };
    const char *from = secret_text(secret);
    size_t len = secret_len(secret), piece = len < PIECE ? len : PIECE, text_len = strlen(text);

    for (size_t i = 0; piece > 0 && i + piece <= len; i++)
        if (memmem(text, text_len, from + i, piece) != NULL)
            return true;
    return false;
}

/* Copies printable ASCII, and "?" for any other byte. */
static void copy_printable(char *out, size_t size, const char *text)
{
    size_t n = 0;

    for (; text[n] != '\0' && n + 1 < size; n++)
        out[n] = text[n] >= 0x20 && text[n] < 0x7f ? text[n] : '?';
    out[n] = '\0';
}

bool token_error_text(const char *body, size_t len, const struct secret *secret,
                      char text[TOKEN_ERROR_TEXT_BYTES])
{
    struct json_tokener *tok = json_tokener_new();
    struct json_object *o = NULL, *error = NULL, *description = NULL;
    char name[41], why[TOKEN_ERROR_TEXT_BYTES - 43];

    text[0] = '\0';
    /* json-c does not wipe what it frees. */
    if (tok != NULL && memmem(body, len, "access_token", 12) == NULL)
        o = json_tokener_parse_ex(tok, body, (int)len);
    json_tokener_free(tok);
    bool found = json_object_is_type(o, json_type_object) &&
                 json_object_object_get_ex(o, "error", &error) &&
                 json_object_is_type(error, json_type_string);

    if (found) {
        copy_printable(name, sizeof name, json_object_get_string(error));
        if (repeats(json_object_get_string(error), secret))
            name[0] = '\0';
        if (json_object_object_get_ex(o, "error_description", &description) &&
            json_object_is_type(description, json_type_string) &&
            !repeats(json_object_get_string(description), secret)) {
            copy_printable(why, sizeof why, json_object_get_string(description));
            (void)snprintf(text, TOKEN_ERROR_TEXT_BYTES, "%s: %s", name, why);
        } else {
            (void)snprintf(text, TOKEN_ERROR_TEXT_BYTES, "%s", name);
        }
    }
    json_object_put(o);
    return found;
}

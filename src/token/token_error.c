/* Turns a token endpoint's error answer into a sentence of ours. It is found in tables, in
 * this order:
 *
 *     a code of RFC 6749 that can mean one thing only
 *     the words of the answer: the first row of which all occur
 *     a code that servers use for several things
 *
 * Codes are told from words: `invalid_client` says nothing of "invalid". Also reads the
 * `error` of the answer. */
#include "token/token_error.h"

#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#include "base/ascii.h"
#include "base/secret.h"

#define LOOK_AT_BYTES 4096

static const char wrong_id[] = "It does not know the client id: check token.client_id.";
static const char wrong_secret[] =
    "It says that the secret is wrong: check token.client_secret.";
static const char wrong_or_expired[] =
    "It says that the secret is wrong or has expired: check token.client_secret.";
static const char wrong_either[] =
    "It does not say whether the id or the secret is wrong: check token.client_id and "
    "token.client_secret.";

/* RFC 6749 section 5.2. */
static const struct {
    const char *code;
    bool is_certain; /* counts before the words */
    const char *reason;
} codes[] = {
    { "invalid_scope", true, "It does not grant that scope: check token.scope." },
    { "unsupported_grant_type", true,
      "It does not know the client credentials grant: check token.url." },
    /* some answer with it whatever is wrong with the client */
    { "unauthorized_client", false,
      "The client is known but may not use the client credentials grant." },
    { "invalid_client", false, NULL }, /* the id or the secret: not told */
    { "invalid_request", false, NULL },
    { "invalid_grant", false, NULL },
};

/* Parts of the standard's sentences about invalid_client and invalid_grant, which many servers
 * send as they are: they say what may be, not what is. */
static const char *const examples[] = {
    "e.g., unknown client",
    "invalid, expired, revoked, does not match",
};

/* The more special ones first, and before them those that name several causes: they are told
 * as such, or not at all (NULL). */
static const struct {
    const char *all_of[3];
    const char *reason;
} rows[] = {
    { { "or expired", "secret" }, wrong_or_expired },
    { { "expired or", "secret" }, wrong_or_expired },
    { { "or revoked" }, NULL },
    { { "revoked or" }, NULL },
    { { "or disabled" }, NULL },
    { { "disabled or" }, NULL },
    { { " id or", "secret" }, wrong_either },
    { { "\"id or", "secret" }, wrong_either },
    { { "_id or", "secret" }, wrong_either },
    { { "-id or", "secret" }, wrong_either },
    { { "clientid or", "secret" }, wrong_either },
    { { "appid or", "secret" }, wrong_either },
    { { "id` or", "secret" }, wrong_either },
    { { "id' or", "secret" }, wrong_either },
    { { "key or", "secret" }, wrong_either },
    { { "client or", "secret" }, wrong_either },
    { { "expired", "secret" }, "It says that the secret has expired: get a new one." },
    { { "invalid", "secret" }, wrong_secret },
    { { "wrong", "secret" }, wrong_secret },
    { { "incorrect", "secret" }, wrong_secret },
    { { "secret", "not match" }, wrong_secret },
    { { "secret", "mismatch" }, wrong_secret },
    { { "disabled" }, "It says that the client is disabled." },
    { { "revoked" }, "It says that the credentials were revoked: get new ones." },
    { { "client", "not found" }, wrong_id },
    { { "client", "does not exist" }, wrong_id },
    { { "application", "not found" }, wrong_id },
    { { "no such client" }, wrong_id },
    { { "invalid value", "client_id" }, wrong_id },
    { { "invalid", "client id" }, wrong_id },
    { { "unknown", "api key" }, wrong_id },
    { { "api key", "not found" }, wrong_id },
    { { "unknown", "client" }, wrong_id },
    { { "invalid client" }, wrong_either },
};

static bool holds_all(const char *text, const char *const *parts)
{
    for (size_t i = 0; i < ARRAY_LEN(rows[0].all_of) && parts[i] != NULL; i++)
        if (strstr(text, parts[i]) == NULL)
            return false;
    return true;
}

static bool is_code_byte(char c)
{
    return ascii_is_alpha(c) || ascii_is_digit(c) || c == '_';
}

/* Replaces the words by blanks wherever they stand as a whole. Returns whether they do. */
static bool blank_out(char *text, const char *words)
{
    size_t len = strlen(words);
    bool found = false;

    for (char *p = text; (p = strstr(p, words)) != NULL; p += len) {
        if (is_code_byte(p[len]) || (p > text && is_code_byte(p[-1])))
            continue;
        memset(p, ' ', len);
        found = true;
    }
    return found;
}

/* The text is in small letters; what says nothing in it is replaced by blanks. */
static const char *find_reason(char *text)
{
    const char *by_code = NULL;

    for (size_t i = 0; i < ARRAY_LEN(examples); i++)
        (void)blank_out(text, examples[i]);
    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        bool found = blank_out(text, codes[i].code);

        if (found && codes[i].is_certain)
            return codes[i].reason;
        if (found && by_code == NULL)
            by_code = codes[i].reason;
    }
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (holds_all(text, rows[i].all_of))
            return rows[i].reason;
    return by_code;
}

const char *token_error_reason(const char *body, size_t len)
{
    char text[LOOK_AT_BYTES];
    size_t n = len < sizeof text ? len : sizeof text - 1;

    for (size_t i = 0; i < n; i++)
        text[i] = body[i] == '\0' ? ' ' : ascii_lower(body[i]);
    text[n] = '\0';
    const char *reason = find_reason(text);

    secret_wipe(text, sizeof text);
    return reason;
}

/* A part of a text. */
struct span {
    const char *from;
    size_t len;
};

/* The next byte, with form encoding undone if there is any. */
static char next_byte(const char **at, const char *end, bool encoded)
{
    char c = *(*at)++;

    if (!encoded || (c != '%' && c != '+'))
        return c;
    if (c == '+')
        return ' ';
    if (end - *at < 2 || !ascii_is_hex((*at)[0]) || !ascii_is_hex((*at)[1]))
        return c;
    c = (char)(ascii_hex((*at)[0]) * 16 + ascii_hex((*at)[1]));
    *at += 2;
    return c;
}

/* Whether six bytes of the secret, or all of a shorter one, stand in the text. */
static bool has_piece(struct span text, struct span secret, bool encoded)
{
    enum { PIECE = 6 };
    const char *end = secret.from + secret.len;
    char piece[PIECE];
    bool found = false;

    for (const char *from = secret.from; from < end && !found;
         (void)next_byte(&from, end, encoded)) {
        const char *at = from;
        size_t n = 0;

        while (n < PIECE && at < end)
            piece[n++] = next_byte(&at, end, encoded);
        found = (n == PIECE || from == secret.from) &&
                memmem(text.from, text.len, piece, n) != NULL;
    }
    secret_wipe(piece, sizeof piece);
    return found;
}

/* Whether a value of token.extra stands in the text, as it was sent or decoded. */
static bool has_extra(struct span text, const char *extra)
{
    bool found = false;

    for (const char *p = extra; p != NULL && *p != '\0' && !found; p += *p == '&') {
        size_t len = strcspn(p, "&"), name = strcspn(p, "=&");
        struct span value = { p + name + (name < len), len - name - (name < len) };

        found = has_piece(text, value, false) || has_piece(text, value, true);
        p += len;
    }
    return found;
}

static bool has_secret(struct span text, const struct token_error_sent *sent)
{
    const struct secret *s = sent->client_secret, *basic = sent->authorization;
    size_t scheme = strlen("Authorization: Basic ");

    return has_piece(text, (struct span){ secret_text(s), secret_len(s) }, false) ||
           (basic != NULL &&
            has_piece(text,
                      (struct span){ secret_text(basic) + scheme, secret_len(basic) - scheme },
                      false)) ||
           has_extra(text, sent->extra);
}

/* Whether the text repeats something secret of what was sent, as it is or percent-encoded.
 * Looks at the beginning only; no more than that is told. */
static bool repeats(const char *text, const struct token_error_sent *sent)
{
    char decoded[512];
    const struct span plain = { text, strnlen(text, sizeof decoded) };
    size_t n = 0;

    static_assert(sizeof decoded >= 2 * TOKEN_ERROR_TEXT_BYTES, "all that is told");
    for (const char *at = text, *end = text + plain.len; at < end;)
        decoded[n++] = next_byte(&at, end, true);
    bool found = has_secret(plain, sent) || has_secret((struct span){ decoded, n }, sent);

    secret_wipe(decoded, sizeof decoded);
    return found;
}

/* Whether the word occurs in the JSON text, however it is written: any of its letters may be
 * an escape, such as \u005f. */
static bool has_word(const char *json, size_t len, const char *word)
{
    for (size_t from = 0; from < len; from++) {
        const char *w = word;

        for (size_t at = from; *w != '\0' && at < len; w++) {
            const char *e = json + at;
            bool escaped = len - at >= 6 && memcmp(e, "\\u00", 4) == 0 && ascii_is_hex(e[4]) &&
                           ascii_is_hex(e[5]) && ascii_hex(e[4]) * 16 + ascii_hex(e[5]) == *w;

            if (!escaped && *e != *w)
                break;
            at += escaped ? 6 : 1;
        }
        if (*w == '\0')
            return true;
    }
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

bool token_error_text(const char *body, size_t len, const struct token_error_sent *sent,
                      char text[TOKEN_ERROR_TEXT_BYTES])
{
    struct json_tokener *tok = json_tokener_new();
    struct json_object *o = NULL, *error = NULL, *description = NULL;
    char name[41], why[TOKEN_ERROR_TEXT_BYTES - 43];

    text[0] = '\0';
    /* json-c does not wipe what it frees. */
    if (tok != NULL && !has_word(body, len, "access_token"))
        o = json_tokener_parse_ex(tok, body, (int)len);
    json_tokener_free(tok);
    bool found = json_object_is_type(o, json_type_object) &&
                 json_object_object_get_ex(o, "error", &error) &&
                 json_object_is_type(error, json_type_string);

    if (found) {
        copy_printable(name, sizeof name, json_object_get_string(error));
        if (repeats(json_object_get_string(error), sent))
            name[0] = '\0';
        if (json_object_object_get_ex(o, "error_description", &description) &&
            json_object_is_type(description, json_type_string) &&
            !repeats(json_object_get_string(description), sent)) {
            copy_printable(why, sizeof why, json_object_get_string(description));
            (void)snprintf(text, TOKEN_ERROR_TEXT_BYTES, "%s: %s", name, why);
        } else {
            (void)snprintf(text, TOKEN_ERROR_TEXT_BYTES, "%s", name);
        }
    }
    json_object_put(o);
    return found;
}

/* POST /token as the 1Shot API answers it: OAuth 2.0 client credentials (RFC 6749 §4.4)
 * with errors in the API's own shape instead of RFC 6749's. */
#include "token.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <time.h>

#include "form.h"

enum { TOKENS_KEPT = 1024 };

struct issued {
    char *text;
    int64_t expires_ms;
    unsigned epoch;
};

struct token_issuer {
    struct token_settings settings;
    struct issued tokens[TOKENS_KEPT]; /* a ring: the oldest is forgotten */
    size_t next;
    atomic_uint epoch; /* tokens of an older one are revoked */
};

/* Goes on during suspend, as the expiry of a real token does. */
static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_BOOTTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

struct token_issuer *token_issuer_new(const struct token_settings *settings)
{
    struct token_issuer *issuer = calloc(1, sizeof(*issuer));

    if (!issuer)
        abort();
    issuer->settings = *settings;
    return issuer;
}

void token_issuer_free(struct token_issuer *issuer)
{
    if (!issuer)
        return;
    for (size_t i = 0; i < TOKENS_KEPT; i++)
        free(issuer->tokens[i].text);
    free(issuer);
}

static void base64url_write(FILE *out, const unsigned char *bytes, size_t length)
{
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

    for (size_t i = 0; i < length; i += 3) {
        size_t left = length - i;
        unsigned bits = (unsigned)bytes[i] << 16;

        if (left > 1)
            bits |= (unsigned)bytes[i + 1] << 8;
        if (left > 2)
            bits |= bytes[i + 2];
        for (size_t k = 0; k <= (left < 3 ? left : 3); k++)
            fputc(digits[bits >> (18 - 6 * k) & 63], out);
    }
}

/* It looks like the real one, a JWT; the signature is random bytes, which is what makes
 * the token unguessable. */
static char *token_make(const struct token_issuer *issuer, const char *scope)
{
    struct json_object *claims = json_object_new_object();
    unsigned char signature[64];
    time_t now = time(NULL);
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);

    if (!out || getrandom(signature, sizeof(signature), 0) != (ssize_t)sizeof(signature))
        abort();
    json_object_object_add(claims, "iss", json_object_new_string("https://oneshot-origin/"));
    json_object_object_add(claims, "sub", json_object_new_string(issuer->settings.client_id));
    json_object_object_add(claims, "iat", json_object_new_int64(now));
    json_object_object_add(claims, "exp",
                           json_object_new_int64(now + issuer->settings.lifetime_s));
    json_object_object_add(claims, "scope", json_object_new_string(scope));

    const char *payload = json_object_to_json_string_ext(
        claims, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
    const char header[] = "{\"alg\":\"RS256\",\"typ\":\"JWT\"}";

    base64url_write(out, (const unsigned char *)header, sizeof(header) - 1);
    fputc('.', out);
    base64url_write(out, (const unsigned char *)payload, strlen(payload));
    fputc('.', out);
    base64url_write(out, signature, sizeof(signature));
    if (fclose(out) != 0)
        abort();
    json_object_put(claims);
    return text;
}

static struct reply issue(struct token_issuer *issuer, const char *scope)
{
    struct issued *slot = &issuer->tokens[issuer->next];
    struct json_object *json = json_object_new_object();

    issuer->next = (issuer->next + 1) % TOKENS_KEPT;
    free(slot->text);
    slot->text = token_make(issuer, scope);
    slot->expires_ms = now_ms() + issuer->settings.lifetime_s * 1000;
    slot->epoch = atomic_load(&issuer->epoch);

    json_object_object_add(json, "access_token", json_object_new_string(slot->text));
    json_object_object_add(json, "token_type", json_object_new_string("Bearer"));
    json_object_object_add(json, "expires_in",
                           json_object_new_int64(issuer->settings.lifetime_s));
    json_object_object_add(json, "scope", json_object_new_string(scope));
    return reply_ok(json);
}

static struct reply check_credentials(struct token_issuer *issuer, const char *id,
                                      const char *secret, const char *scope)
{
    const struct token_settings *settings = &issuer->settings;

    if (settings->forbidden_id && strcmp(id, settings->forbidden_id) == 0)
        return reply_status(403);
    if (strcmp(id, settings->client_id) != 0 || strcmp(secret, settings->client_secret) != 0)
        return reply_status(401);
    return issue(issuer, scope);
}

/* Returns whether the answer is settled: the field is repeated, unusable or missing. */
static bool field_refused(const char *form, const char *name, char **value, struct reply *reply)
{
    enum form_result result = form_get(form, name, value);

    if (result == FORM_REPEATED) {
        *reply = reply_invalid("A parameter was given more than once");
        return true;
    }
    if (result == FORM_OK && **value)
        return false;

    struct json_object *given = *value ? json_object_new_string(*value) : NULL;

    *reply = reply_parameter(name, "string", given);
    json_object_put(given);
    return true;
}

static struct reply form_request(struct token_issuer *issuer, const char *form,
                                 const char *scope)
{
    char *id = NULL, *secret = NULL;
    struct reply reply;

    if (!field_refused(form, "client_id", &id, &reply) &&
        !field_refused(form, "client_secret", &secret, &reply))
        reply = check_credentials(issuer, id, secret, scope);
    free(id);
    free(secret);
    return reply;
}

static struct reply basic_request(struct token_issuer *issuer, const char *authorization,
                                  const char *form, const char *scope)
{
    char *id, *secret;
    struct reply reply;

    /* RFC 6749 §2.3: not more than one way to authenticate in a request. */
    if (form_get(form, "client_secret", &secret) != FORM_ABSENT) {
        free(secret);
        return reply_invalid("Credentials were given in two places");
    }
    if (!form_basic(authorization, &id, &secret))
        return reply_status(401);
    reply = check_credentials(issuer, id, secret, scope);
    free(id);
    free(secret);
    return reply;
}

static bool is_form(const char *content_type)
{
    static const char form[] = "application/x-www-form-urlencoded";
    size_t length = sizeof(form) - 1;

    return content_type && strncasecmp(content_type, form, length) == 0 &&
           strchr("; \t", content_type[length]);
}

struct reply token_request(struct token_issuer *issuer, const char *content_type,
                           const char *authorization, const char *form)
{
    char *grant = NULL, *scope = NULL;
    const char *granted = "read:api write:api";
    struct reply reply;

    if (issuer->settings.fail_status)
        return reply_status(issuer->settings.fail_status);
    if (!is_form(content_type))
        return reply_invalid("The body must be application/x-www-form-urlencoded");
    if (form_get(form, "scope", &scope) == FORM_OK && *scope)
        granted = scope;
    if (form_get(form, "grant_type", &grant) != FORM_OK ||
        strcmp(grant, "client_credentials") != 0)
        reply = reply_invalid("grant_type must be client_credentials");
    else if (authorization)
        reply = basic_request(issuer, authorization, form, granted);
    else
        reply = form_request(issuer, form, granted);
    free(grant);
    free(scope);
    return reply;
}

bool token_accepts(const struct token_issuer *issuer, const char *authorization)
{
    int64_t now = now_ms();
    unsigned epoch = atomic_load(&issuer->epoch);

    if (!authorization || strncasecmp(authorization, "Bearer ", 7) != 0)
        return false;
    for (size_t i = 0; i < TOKENS_KEPT; i++) {
        const struct issued *token =
            &issuer->tokens[(issuer->next + TOKENS_KEPT - 1 - i) % TOKENS_KEPT];

        if (!token->text)
            return false; /* the ring is not full yet: nothing older */
        if (strcmp(token->text, authorization + 7) == 0)
            return token->epoch == epoch && token->expires_ms > now;
    }
    return false;
}

void token_revoke_all(struct token_issuer *issuer)
{
    atomic_fetch_add(&issuer->epoch, 1);
}

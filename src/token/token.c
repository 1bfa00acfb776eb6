/* Makes a token from the token endpoint's answer.
 *
 * Two parsers share the work. `scan` below walks over the text once to find the access token
 * and to count the members; json-c checks the grammar and reads the other members. json-c
 * gets the text without the token's characters, because it does not wipe the memory that it
 * frees. Of two members with the same name json-c keeps only one: when the two counts
 * differ, a name occurs twice, however it is written. */
#include "token/token.h"

#include <json-c/json.h>
#include <stdatomic.h>
#include <string.h>
#include <strings.h>

#include "base/ascii.h"
#include "http/json_flag.h"

/* token_client.c reads no longer answers. */
#define TEXT_MAX 65536

static const char not_json[] = "the answer is not JSON";
static const char no_memory[] = "there is no memory";
static const char name_twice[] = "a name stands twice in the answer";

/* --- finding the token in the text -------------------------------------------------------- */

/* A part of the text; from is NULL if it does not exist. */
struct span {
    const char *from, *to;
};

struct scan {
    const char *at, *end;
    struct span token;    /* between the quotes of access_token's string */
    bool token_is_string; /* false: access_token is absent or something else */
    size_t members;
    const char *why;
};

static bool scan_fail(struct scan *s, const char *why)
{
    s->why = why;
    return false;
}

static void skip_blanks(struct scan *s)
{
    s->at = ascii_skip_json_space(s->at, s->end);
}

/* Skips blanks and then the character c. */
static bool skip_char(struct scan *s, char c)
{
    skip_blanks(s);
    if (s->at == s->end || *s->at != c)
        return scan_fail(s, not_json);
    s->at++;
    return true;
}

/* Skips a string; *inside is the part between its quotes. */
static bool skip_string(struct scan *s, struct span *inside)
{
    if (!skip_char(s, '"'))
        return false;
    inside->from = s->at;
    for (; s->at < s->end && *s->at != '"'; s->at++) {
        if ((unsigned char)*s->at < 0x20)
            return scan_fail(s, not_json); /* RFC 8259 section 7; json-c accepts these */
        if (*s->at == '\\') {
            if (s->end - s->at >= 6 && memcmp(s->at, "\\u0000", 6) == 0)
                return scan_fail(s, "a string holds a NUL"); /* json-c would cut a name there */
            s->at++;
            if (s->at == s->end)
                break;
        }
    }
    if (s->at == s->end)
        return scan_fail(s, not_json);
    inside->to = s->at++;
    return true;
}

static size_t skip_digits(struct scan *s)
{
    const char *from = s->at;

    while (s->at < s->end && ascii_is_digit(*s->at))
        s->at++;
    return (size_t)(s->at - from);
}

static bool skip_any_of(struct scan *s, const char *chars)
{
    if (s->at == s->end || memchr(chars, *s->at, strlen(chars)) == NULL)
        return false;
    s->at++;
    return true;
}

static bool skip_literal(struct scan *s, const char *literal)
{
    size_t len = strlen(literal);

    if ((size_t)(s->end - s->at) < len || memcmp(s->at, literal, len) != 0)
        return false;
    s->at += len;
    return true;
}

/* Skips a number, true, false or null (RFC 8259 sections 3 and 6). json-c would also accept
 * NaN and Infinity, and numbers like 01 and 1. */
static bool skip_scalar(struct scan *s)
{
    if (skip_literal(s, "true") || skip_literal(s, "false") || skip_literal(s, "null"))
        return true;
    (void)skip_any_of(s, "-");
    bool zero = skip_any_of(s, "0");
    if (zero == (skip_digits(s) > 0))
        return scan_fail(s, not_json);
    if (skip_any_of(s, ".") && skip_digits(s) == 0)
        return scan_fail(s, not_json);
    if (skip_any_of(s, "eE")) {
        (void)skip_any_of(s, "+-");
        if (skip_digits(s) == 0)
            return scan_fail(s, not_json);
    }
    return true;
}

/* Skips any value; json-c checks its structure. */
static bool skip_value(struct scan *s)
{
    struct span inside;
    size_t depth = 0;
    bool after_comma = false;

    for (;;) {
        skip_blanks(s);
        if (s->at == s->end)
            return scan_fail(s, not_json);

        char c = *s->at;
        if (after_comma && (c == '}' || c == ']'))
            return scan_fail(s, not_json);
        after_comma = depth > 0 && c == ',';
        if (c == '"') {
            if (!skip_string(s, &inside))
                return false;
        } else if (depth == 0 && memchr(",}]", c, 3) != NULL) {
            return true;
        } else if (memchr("{}[],:", c, 6) == NULL) {
            if (!skip_scalar(s))
                return false;
        } else {
            depth += c == '{' || c == '[' ? 1 : 0;
            depth -= c == '}' || c == ']' ? 1 : 0;
            s->at++;
        }
    }
}

/* The value of four hexadecimal digits at s; -1: they are not digits. */
static int hex4(const char *s)
{
    int value = 0;

    for (int i = 0; i < 4; i++) {
        if (!ascii_is_hex(s[i]))
            return -1;
        value = value * 16 + ascii_hex(s[i]);
    }
    return value;
}

/* Resolves the escapes of a string into out. Returns the length; -1 if it contains anything
 * but visible ASCII characters, which neither our member names nor a token do; -2 if it is
 * longer than size. */
static ssize_t unescape(struct span in, char *out, size_t size)
{
    size_t len = 0;

    for (const char *at = in.from; at < in.to; at++) {
        int c = (unsigned char)*at;
        if (c == '\\') {
            at++; /* skip_string has checked that something follows */
            if (*at == 'u') {
                if (in.to - at <= 4)
                    return -1;
                c = hex4(at + 1);
                at += 4;
            } else {
                c = memchr("\"\\/", *at, 3) != NULL ? *at : -1;
            }
        }
        if (c <= 0x20 || c >= 0x7f)
            return -1;
        if (len == size)
            return -2;
        out[len++] = (char)c;
    }
    return (ssize_t)len;
}

static bool is_name(struct span name, const char *expected)
{
    char text[32];
    ssize_t len = unescape(name, text, sizeof text);

    return len >= 0 && (size_t)len == strlen(expected) &&
           memcmp(text, expected, (size_t)len) == 0;
}

static bool scan_member(struct scan *s)
{
    struct span name;

    if (!skip_string(s, &name) || !skip_char(s, ':'))
        return false;
    s->members++;
    skip_blanks(s);
    if (!is_name(name, "access_token") || s->at == s->end || *s->at != '"')
        return skip_value(s);
    if (s->token_is_string) /* json-c would get one of the two */
        return scan_fail(s, name_twice);
    s->token_is_string = true;
    return skip_string(s, &s->token);
}

static bool next_is(struct scan *s, char c)
{
    skip_blanks(s);
    return s->at < s->end && *s->at == c;
}

static bool scan_members(struct scan *s)
{
    if (next_is(s, '}'))
        return true;
    while (scan_member(s)) {
        if (!next_is(s, ','))
            return true;
        s->at++;
    }
    return false;
}

/* Walks over the object; sets its end, after which only blanks may follow. */
static bool scan_object(struct scan *s)
{
    if (!next_is(s, '{'))
        return scan_fail(s, s->at == s->end ? "the answer is empty"
                                            : "the answer is not a JSON object");
    s->at++;
    if (!scan_members(s) || !skip_char(s, '}'))
        return false;

    const char *end = s->at;
    skip_blanks(s);
    if (s->at != s->end)
        return scan_fail(s, "something follows the JSON object");
    s->end = end;
    return true;
}

/* --- what json-c says --------------------------------------------------------------------- */

/* Parses the object without the token's characters; NULL: the text is not strict JSON. */
static struct json_object *parse_rest(const char *json, const struct scan *s)
{
    struct json_tokener *tok = json_tokener_new();
    struct json_object *o = NULL;
    const char *from = json;

    if (tok == NULL)
        return NULL;
    /* Where it is not strict, the walk above has refused what json-c accepts beyond JSON. */
    json_tokener_set_flags(tok, JSON_FLAG_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    if (s->token.from != NULL && s->token.to > s->token.from) {
        o = json_tokener_parse_ex(tok, from, (int)(s->token.from - from));
        from = s->token.to;
    }
    if (o == NULL && (from == json || json_tokener_get_error(tok) == json_tokener_continue))
        o = json_tokener_parse_ex(tok, from, (int)(s->end - from));
    if (json_tokener_get_error(tok) != json_tokener_success) {
        json_object_put(o);
        o = NULL;
    }
    json_tokener_free(tok);
    return o;
}

static bool is_bearer(struct json_object *type)
{
    return json_object_is_type(type, json_type_string) &&
           json_object_get_string_len(type) == (int)strlen("Bearer") &&
           strcasecmp(json_object_get_string(type), "Bearer") == 0;
}

/* Seconds from a string of digits; a fraction is ignored. 0: it is something else. */
static int64_t seconds_of_digits(const char *text, size_t len)
{
    int64_t seconds = 0;
    size_t fraction = len;

    while (fraction > 0 && ascii_is_digit(text[fraction - 1]))
        fraction--;
    if (fraction > 1 && fraction < len && text[fraction - 1] == '.')
        len = fraction - 1;
    for (size_t i = 0; i < len; i++) {
        if (!ascii_is_digit(text[i]))
            return 0;
        seconds = base_min(seconds * 10 + (text[i] - '0'), TOKEN_LIFETIME_MAX_MS / 1000);
    }
    return seconds;
}

/* expires_in in milliseconds, at most a day; the default if it has no usable value. */
static int64_t lifetime_ms(struct json_object *expires_in, int64_t default_ms)
{
    const int64_t day_s = TOKEN_LIFETIME_MAX_MS / 1000;
    int64_t seconds = 0;
    double fraction;

    switch (json_object_get_type(expires_in)) {
    case json_type_int:
        seconds = json_object_get_int64(expires_in);
        break;
    case json_type_double:
        fraction = json_object_get_double(expires_in);
        if (fraction >= 1) /* false for NaN */
            seconds = fraction < (double)day_s ? (int64_t)fraction : day_s;
        break;
    case json_type_string:
        seconds = seconds_of_digits(json_object_get_string(expires_in),
                                    (size_t)json_object_get_string_len(expires_in));
        break;
    case json_type_null:
    case json_type_boolean:
    case json_type_object:
    case json_type_array:
        break;
    }
    if (seconds <= 0)
        return default_ms;
    return base_min(seconds, day_s) * 1000;
}

/* --- the value ---------------------------------------------------------------------------- */

/* b64token, RFC 6750 section 2.1: what may follow "Bearer " in a header. */
static bool is_b64token(const char *text, size_t len)
{
    size_t end = len;

    while (end > 0 && text[end - 1] == '=')
        end--;
    for (size_t i = 0; i < end; i++)
        if (!ascii_is_alpha(text[i]) && !ascii_is_digit(text[i]) &&
            memchr("-._~+/", text[i], 6) == NULL)
            return false;
    return end > 0;
}

/* Makes the header line; NULL with *why. */
static struct secret *header_from(struct span token, const char **why)
{
    char text[TOKEN_LENGTH_MAX];
    struct secret *header = NULL;
    ssize_t len = unescape(token, text, sizeof text);

    if (len == 0)
        *why = "access_token is empty";
    else if (len == -2)
        *why = "access_token is too long";
    else if (len < 0 || !is_b64token(text, (size_t)len))
        *why = "access_token holds a character that is not allowed in a bearer token";
    else if ((header = secret_prefixed("Authorization: Bearer ", text, (size_t)len)) == NULL)
        *why = no_memory;
    secret_wipe(text, sizeof text);
    return header;
}

/* Checks everything but the token itself; NULL: all good. */
static const char *flaw_of(struct json_object *o, const struct scan *s)
{
    if (o == NULL)
        return not_json;
    if (s->members != (size_t)json_object_object_length(o))
        return name_twice;
    if (!s->token_is_string)
        return json_object_object_get_ex(o, "access_token", NULL)
                   ? "access_token is not a string"
                   : "access_token is missing";

    struct json_object *type = NULL;
    if (!json_object_object_get_ex(o, "token_type", &type))
        return NULL; /* assume Bearer */
    return is_bearer(type) ? NULL : "token_type is not Bearer";
}

/* RFC 6749 section 5.1: it may differ from the scope that was requested. */
static char *scope_from(struct json_object *scope)
{
    return json_object_is_type(scope, json_type_string) ? strdup(json_object_get_string(scope))
                                                        : NULL;
}

struct token *token_parse(const char *json, size_t len, const struct token_rules *rules,
                          const char **why)
{
    struct scan s = { .at = json, .end = json + len };

    *why = NULL;
    if (len > TEXT_MAX) {
        *why = "the answer is too long";
        return NULL;
    }
    if (memchr(json, '\0', len) != NULL) { /* json-c would take it for the end of the text */
        *why = not_json;
        return NULL;
    }
    if (!scan_object(&s)) {
        *why = s.why;
        return NULL;
    }

    struct json_object *o = parse_rest(json, &s);
    struct secret *header = NULL;
    *why = flaw_of(o, &s);
    if (*why == NULL)
        header = header_from(s.token, why);

    struct token *t = NULL;
    if (header != NULL) {
        t = base_alloc(sizeof *t);
        atomic_init(&t->refs, 1);
        t->generation = rules->generation;
        t->obtained_ms = rules->now_ms;
        t->expires_ms = rules->now_ms + lifetime_ms(json_object_object_get(o, "expires_in"),
                                                    rules->default_lifetime_ms);
        t->header = header;
        t->untyped = !json_object_object_get_ex(o, "token_type", NULL);
        t->scope = scope_from(json_object_object_get(o, "scope"));
    }
    json_object_put(o);
    return t;
}

struct token *token_ref(struct token *t)
{
    int before = atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);

    assert(before > 0);
    (void)before;
    return t;
}

void token_unref(struct token *t)
{
    if (t == NULL)
        return;

    int before = atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel);
    assert(before > 0);
    if (before > 1)
        return;
    secret_free(t->header);
    free(t->scope);
    free(t);
}

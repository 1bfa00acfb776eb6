/* Finds the key of a request in its head or in its body, see key.h. */
#include "ledger/key.h"

#include <json-c/json.h>
#include <string.h>

#include "base/ascii.h"
#include "http/json_flag.h"

/* JSON nested deeper than this is not searched, so it might contain a key that is not found
 * here. */
#define JSON_DEPTH_MAX 256

static enum ledger_key_result malformed(struct ledger_key *out, const char *why)
{
    out->why = why;
    return LEDGER_KEY_MALFORMED;
}

static const char too_long[] = "the key is longer than 255 bytes";
static const char empty[] = "the key is empty";
static const char too_deep[] = "the body is nested too deeply to look for a key in it";
static const char unreadable[] =
    "the body is not text in UTF-8, so no key can be looked for in "
    "it (an Idempotency-Key will do)";

/* --- in the head -------------------------------------------------------------------------- */

static bool is_key_field(const struct header_field *f)
{
    return header_is(f, "idempotency-key");
}

bool ledger_key_in_header(const struct header_field *fields, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (is_key_field(&fields[i]))
            return true;
    return false;
}

/* Takes the bytes of a value, at most one more than a key may have. False: it is malformed. */
static bool take_value(struct ledger_key *out, const char *s, size_t n)
{
    bool quoted = n > 0 && s[0] == '"';
    size_t i = quoted;

    for (; i < n && !(quoted && s[i] == '"'); i++) {
        if (quoted && s[i] == '\\') {
            i++;
            if (i == n || (s[i] != '"' && s[i] != '\\'))
                return false;
        } else if (!quoted && (s[i] == '"' || s[i] == ',' || s[i] == ';')) {
            return false;
        }
        if (!ascii_is_visible(s[i]))
            return false;
        if (out->len <= LEDGER_KEY_MAX)
            out->text[out->len < LEDGER_KEY_MAX ? out->len : LEDGER_KEY_MAX] = s[i];
        out->len++;
    }
    return quoted ? i + 1 == n : true;
}

enum ledger_key_result ledger_key_from_header(struct ledger_key *out,
                                              const struct header_field *fields, size_t count)
{
    const struct header_field *found = NULL;

    out->len = 0;
    for (size_t i = 0; i < count; i++) {
        if (!is_key_field(&fields[i]))
            continue;
        if (found != NULL)
            return malformed(out, "there are two Idempotency-Key fields");
        found = &fields[i];
    }
    if (found == NULL)
        return LEDGER_KEY_ABSENT;
    const char *s = found->value;
    size_t n = found->value_len;

    ascii_trim(&s, &n);
    if (!take_value(out, s, n))
        return malformed(out,
                         "the Idempotency-Key field is no string of visible ASCII characters, "
                         "with or without quotes");
    if (out->len == 0)
        return malformed(out, empty);
    if (out->len > LEDGER_KEY_MAX)
        return malformed(out, too_long);
    out->text[out->len] = '\0';
    return LEDGER_KEY_FOUND;
}

/* --- in the body -------------------------------------------------------------------------- */

/* Whether it is UTF-8 text (RFC 3629), so neither compressed nor in another character set. */
static bool is_utf8(const char *text, size_t len)
{
    const unsigned char *s = (const unsigned char *)text, *end = s + len;

    while (s < end) {
        unsigned lead = *s++, behind = lead < 0x80 ? 0 : lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3;
        unsigned least = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
        unsigned most = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;

        if (lead == 0 || (lead >= 0x80 && lead < 0xc2) || lead > 0xf4 ||
            (size_t)(end - s) < behind)
            return false;
        for (; behind > 0; behind--, least = 0x80, most = 0xbf)
            if (*s < least || *s++ > most)
                return false;
    }
    return true;
}

/* Parses the text as JSON. NULL: it is not JSON, is null, or is nested too deeply (*deep). */
static struct json_object *parse(const char *text, size_t len, bool *deep)
{
    struct json_tokener *tok = json_tokener_new_ex(JSON_DEPTH_MAX);
    struct json_object *o;

    if (tok == NULL || len > INT32_MAX) {
        json_tokener_free(tok);
        return NULL;
    }
    /* Where it is not strict, json-c accepts texts that are not JSON to the upstream. */
    json_tokener_set_flags(tok, JSON_FLAG_STRICT);
    o = json_tokener_parse_ex(tok, text, (int)len);
    *deep = json_tokener_get_error(tok) == json_tokener_error_depth;
    size_t end = json_tokener_get_parse_end(tok);

    if (json_tokener_get_error(tok) != json_tokener_success ||
        ascii_skip_json_space(text + end, text + len) != text + len) {
        json_object_put(o);
        o = NULL;
    }
    json_tokener_free(tok);
    return o;
}

/* Takes the rest of a string after the prefix. */
static enum ledger_key_result take_text(struct ledger_key *out, const char *s, size_t n)
{
    const char *blank = memchr(s, ' ', n);

    if (blank != NULL)
        n = (size_t)(blank - s);
    if (n == 0)
        return malformed(out, empty);
    if (n > LEDGER_KEY_MAX)
        return malformed(out, too_long);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f)
            return malformed(out, "the key in the body holds a control character");
    memcpy(out->text, s, n);
    out->text[n] = '\0';
    out->len = n;
    return LEDGER_KEY_FOUND;
}

enum ledger_key_result ledger_key_from_body(struct ledger_key *out,
                                            const struct ledger_key_source *s, const char *body,
                                            size_t len)
{
    /* the byte order mark, which many JSON parsers ignore */
    static const char mark[] = "\xef\xbb\xbf";
    bool deep = false;
    struct json_object *member = NULL;
    enum ledger_key_result result = LEDGER_KEY_ABSENT;
    size_t prefix_len = strlen(s->prefix);

    out->len = 0;
    if (len >= sizeof mark - 1 && memcmp(body, mark, sizeof mark - 1) == 0) {
        body += sizeof mark - 1;
        len -= sizeof mark - 1;
    }
    if (!is_utf8(body, len)) {
        out->why = unreadable;
        return LEDGER_KEY_UNREADABLE;
    }
    struct json_object *o = parse(body, len, &deep);

    if (deep)
        return malformed(out, too_deep);
    if (o != NULL && json_pointer_get(o, s->pointer, &member) == 0 &&
        json_object_is_type(member, json_type_string)) {
        const char *text = json_object_get_string(member);
        size_t n = (size_t)json_object_get_string_len(member);

        if (n >= prefix_len && memcmp(text, s->prefix, prefix_len) == 0)
            result = take_text(out, text + prefix_len, n - prefix_len);
    }
    json_object_put(o);
    return result;
}

enum ledger_key_result ledger_key_join(struct ledger_key *out,
                                       enum ledger_key_result from_header,
                                       enum ledger_key_result from_body,
                                       const struct ledger_key *body_key)
{
    if (from_header == LEDGER_KEY_MALFORMED || from_body == LEDGER_KEY_ABSENT ||
        (from_header == LEDGER_KEY_FOUND && from_body == LEDGER_KEY_UNREADABLE))
        return from_header;
    if (from_body != LEDGER_KEY_FOUND)
        return malformed(out, body_key->why);
    if (from_header == LEDGER_KEY_FOUND &&
        (out->len != body_key->len || memcmp(out->text, body_key->text, out->len) != 0))
        return malformed(out, "the Idempotency-Key field and the body hold different keys");
    *out = *body_key;
    return LEDGER_KEY_FOUND;
}

/* Finds the client secret in a caller's token request; see token_request.h. It uses no
 * library, since none wipes its copies. */
#include "http/token_request.h"

#include <string.h>

#include "base/ascii.h"

static const char name[] = "client_secret";
#define NAME_LEN (sizeof name - 1)

/* What was found so far, written to `out`. */
struct found {
    char *out;
    size_t len, times;
    bool too_long;
};

static void put(struct found *f, int byte)
{
    if (f->len == TOKEN_REQUEST_SECRET_MAX)
        f->too_long = true;
    else
        f->out[f->len++] = (char)byte;
}

struct text {
    const char *at, *end;
};

/* --- a form ---------------------------------------------------------------------------- */

/* The next decoded byte of a field. */
static int next_of_form(struct text *t)
{
    const char *s = t->at;

    if (*s == '%' && t->end - s >= 3 && ascii_is_hex(s[1]) && ascii_is_hex(s[2])) {
        t->at += 3;
        return ascii_hex(s[1]) * 16 + ascii_hex(s[2]);
    }
    t->at++;
    return *s == '+' ? ' ' : (unsigned char)*s;
}

static void read_form(struct text *t, struct found *f)
{
    while (t->at < t->end) {
        const char *and = memchr(t->at, '&', (size_t)(t->end - t->at));
        const char *stop = and == NULL ? t->end : and;
        size_t n = (size_t)(stop - t->at);

        if (n > NAME_LEN && memcmp(t->at, name, NAME_LEN) == 0 && t->at[NAME_LEN] == '=') {
            struct text value = { t->at + NAME_LEN + 1, stop };

            f->times++;
            for (f->len = 0; value.at < value.end;)
                put(f, next_of_form(&value));
        }
        t->at = and == NULL ? t->end : and+1;
    }
}

/* --- JSON ------------------------------------------------------------------------------ */

static void skip_blanks(struct text *t)
{
    t->at = ascii_skip_json_space(t->at, t->end);
}

static bool skip_char(struct text *t, char c)
{
    skip_blanks(t);
    if (t->at == t->end || *t->at != c)
        return false;
    t->at++;
    return true;
}

/* Skips a string; *inside is the part between the quotes. */
static bool skip_string(struct text *t, struct text *inside)
{
    if (!skip_char(t, '"'))
        return false;
    inside->at = t->at;
    for (; t->at < t->end && *t->at != '"'; t->at++)
        if (*t->at == '\\' && ++t->at == t->end)
            return false;
    if (t->at == t->end)
        return false;
    inside->end = t->at++;
    return true;
}

/* Skips any value, up to the comma or bracket after it. */
static bool skip_value(struct text *t)
{
    struct text inside;
    size_t depth = 0;

    for (skip_blanks(t); t->at < t->end; skip_blanks(t)) {
        char c = *t->at;

        if (c == '"') {
            if (!skip_string(t, &inside))
                return false;
            continue;
        }
        if (depth == 0 && (c == ',' || c == '}' || c == ']'))
            return true;
        depth += c == '{' || c == '[';
        depth -= c == '}' || c == ']';
        t->at++;
    }
    return false;
}

/* Reads \uXXXX if it is an ASCII character; -1: it is not. */
static int escaped_ascii(struct text *t)
{
    int value = 0;

    if (t->end - t->at < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        if (!ascii_is_hex(t->at[i]))
            return -1;
        value = value * 16 + ascii_hex(t->at[i]);
    }
    t->at += 4;
    return value < 0x80 ? value : -1;
}

/* A secret consists of ASCII characters; a string with anything else is not one. */
static bool read_string(struct text inside, struct found *f)
{
    for (f->len = 0; inside.at < inside.end;) {
        int c = (unsigned char)*inside.at++;

        if (c == '\\') {
            if (inside.at == inside.end)
                return false;
            c = (unsigned char)*inside.at++;
            if (c == 'u')
                c = escaped_ascii(&inside);
            else if (c != '/' && c != '\\' && c != '"')
                return false;
            if (c < 0)
                return false;
        }
        put(f, c);
    }
    return true;
}

static bool read_json(struct text *t, struct found *f)
{
    struct text key, value;

    if (!skip_char(t, '{'))
        return false;
    do {
        if (!skip_string(t, &key) || !skip_char(t, ':'))
            return false;
        if ((size_t)(key.end - key.at) != NAME_LEN || memcmp(key.at, name, NAME_LEN) != 0) {
            if (!skip_value(t))
                return false;
            continue;
        }
        f->times++;
        if (!skip_string(t, &value) || !read_string(value, f))
            return false;
    } while (skip_char(t, ','));
    return skip_char(t, '}');
}

size_t token_request_secret(const char *body, size_t len, char out[TOKEN_REQUEST_SECRET_MAX])
{
    struct text t = { body, body + len };
    struct found f = { .out = out };
    bool sound = true;

    skip_blanks(&t);
    if (t.at < t.end && *t.at == '{')
        sound = read_json(&t, &f);
    else
        read_form(&t, &f);
    return sound && f.times == 1 && !f.too_long ? f.len : 0;
}

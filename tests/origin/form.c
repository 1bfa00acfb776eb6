/* Decoding of what a token request carries. */
#include "form.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Decodes in place. */
static bool decode(char *text)
{
    char *to = text;

    for (const char *from = text; *from; from++) {
        if (*from == '%') {
            int high = hex_digit(from[1]);
            int low = high < 0 ? -1 : hex_digit(from[2]);

            if (low < 0 || high * 16 + low == 0)
                return false;
            *to++ = (char)(high * 16 + low);
            from += 2;
        } else {
            *to++ = (char)(*from == '+' ? ' ' : *from);
        }
    }
    *to = '\0';
    return true;
}

static bool pair_is(const char *pair, size_t length, const char *name)
{
    const char *equals = memchr(pair, '=', length);
    size_t name_length = equals ? (size_t)(equals - pair) : length;
    char *copy = strndup(pair, name_length);
    bool same = copy && decode(copy) && strcmp(copy, name) == 0;

    free(copy);
    return same;
}

enum form_result form_get(const char *form, const char *name, char **value)
{
    const char *found = NULL;
    size_t found_length = 0;

    *value = NULL;
    for (const char *pair = form; *pair;) {
        size_t length = strcspn(pair, "&");

        if (pair_is(pair, length, name)) {
            if (found)
                return FORM_REPEATED;
            found = pair;
            found_length = length;
        }
        pair += length;
        pair += *pair == '&';
    }
    if (!found)
        return FORM_ABSENT;

    const char *equals = memchr(found, '=', found_length);
    const char *start = equals ? equals + 1 : found + found_length;

    *value = strndup(start, found_length - (size_t)(start - found));
    if (!*value)
        abort();
    char *raw = strdup(*value);

    if (!raw)
        abort();
    if (decode(*value)) {
        free(raw);
        return FORM_OK;
    }
    free(*value);
    *value = raw;
    return FORM_MALFORMED;
}

static int base64_digit(char c)
{
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(digits, c) : NULL;

    return at ? (int)(at - digits) : -1;
}

/* Returns NULL unless it is padded base64 of text without NUL. */
static char *base64_decode(const char *text)
{
    size_t length = strlen(text);
    size_t padding = length - strcspn(text, "=");
    size_t digits = length - padding;
    uint32_t bits = 0;
    unsigned have = 0;
    size_t used = 0;
    char *out;

    if (length % 4 || padding > 2 || strspn(text + digits, "=") != padding)
        return NULL;
    out = calloc(1, length + 1);
    if (!out)
        abort();
    for (size_t i = 0; i < digits; i++) {
        int digit = base64_digit(text[i]);

        if (digit < 0) {
            free(out);
            return NULL;
        }
        bits = bits << 6 | (uint32_t)digit;
        have += 6;
        if (have >= 8) {
            have -= 8;
            out[used++] = (char)(bits >> have & 0xff);
        }
    }
    if (strlen(out) != used) {
        free(out);
        return NULL;
    }
    return out;
}

bool form_basic(const char *header, char **id, char **secret)
{
    char *text, *colon;

    *id = *secret = NULL;
    if (strncasecmp(header, "Basic ", 6) != 0)
        return false;
    text = base64_decode(header + 6);
    colon = text ? strchr(text, ':') : NULL;
    if (colon) {
        *colon = '\0';
        *id = strdup(text);
        *secret = strdup(colon + 1);
    }
    free(text);
    if (*id && *secret && decode(*id) && decode(*secret))
        return true;
    free(*id);
    free(*secret);
    *id = *secret = NULL;
    return false;
}

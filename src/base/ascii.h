#pragma once
/* Characters as HTTP defines them: ASCII, whatever the locale is. RFC 9110 section 5.6. */
#include <string.h>

#include "base/base.h"

static inline char ascii_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}
static inline bool ascii_is_digit(char c)
{
    return c >= '0' && c <= '9';
}
static inline bool ascii_is_alpha(char c)
{
    return ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z';
}
static inline bool ascii_is_hex(char c)
{
    return ascii_is_digit(c) || (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'f');
}
/* The digits, indexed by their value. */
static const char ascii_hex_digits[] = "0123456789abcdef";

/* The value of a hexadecimal digit. */
static inline int ascii_hex(char c)
{
    return ascii_is_digit(c) ? c - '0' : ascii_lower(c) - 'a' + 10;
}
static inline bool ascii_is_visible(char c)
{
    return c > ' ' && c < 0x7f;
}
static inline bool ascii_is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* The sets of bytes in the table below. */
enum { ASCII_TCHAR = 1, ASCII_FIELD = 2 };
static const unsigned char ascii_kinds[256] = {
    ['\t'] = ASCII_FIELD,
    [' '] = ASCII_FIELD,
    ['!'] = ASCII_FIELD | ASCII_TCHAR,
    ['"'] = ASCII_FIELD,
    ['#' ... '\''] = ASCII_FIELD | ASCII_TCHAR,
    ['(' ... ')'] = ASCII_FIELD,
    ['*' ... '+'] = ASCII_FIELD | ASCII_TCHAR,
    [','] = ASCII_FIELD,
    ['-' ... '.'] = ASCII_FIELD | ASCII_TCHAR,
    ['/'] = ASCII_FIELD,
    ['0' ... '9'] = ASCII_FIELD | ASCII_TCHAR,
    [':' ... '@'] = ASCII_FIELD,
    ['A' ... 'Z'] = ASCII_FIELD | ASCII_TCHAR,
    ['[' ... ']'] = ASCII_FIELD,
    ['^' ... 'z'] = ASCII_FIELD | ASCII_TCHAR,
    ['{'] = ASCII_FIELD,
    ['|'] = ASCII_FIELD | ASCII_TCHAR,
    ['}'] = ASCII_FIELD,
    ['~'] = ASCII_FIELD | ASCII_TCHAR,
    [0x80 ... 0xff] = ASCII_FIELD,
};

/* tchar: what methods and field names are made of (RFC 9110 section 5.6.2). */
static inline bool ascii_is_tchar(char c)
{
    return (ascii_kinds[(unsigned char)c] & ASCII_TCHAR) != 0;
}

/* Allowed in a field value or a reason phrase: all but controls (HTAB is allowed) and DEL
 * (RFC 9110 section 5.5). */
static inline bool ascii_is_field_byte(char c)
{
    return (ascii_kinds[(unsigned char)c] & ASCII_FIELD) != 0;
}

/* At least one byte, each a tchar. */
static inline bool ascii_is_token(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!ascii_is_tchar(s[i]))
            return false;
    return n > 0;
}

static inline bool ascii_is_field_text(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!ascii_is_field_byte(s[i]))
            return false;
    return true;
}

/* Whether both are equal, ignoring case. */
static inline bool ascii_equal(const char *a, size_t a_len, const char *b, size_t b_len)
{
    if (a_len != b_len)
        return false;
    for (size_t i = 0; i < a_len; i++)
        if (a[i] != b[i] && ascii_lower(a[i]) != ascii_lower(b[i]))
            return false;
    return true;
}
static inline bool ascii_equal_str(const char *a, size_t a_len, const char *b)
{
    return ascii_equal(a, a_len, b, strlen(b));
}

/* Removes optional white space from both ends (OWS, RFC 9110 section 5.6.3). */
static inline void ascii_trim(const char **s, size_t *n)
{
    while (*n > 0 && ascii_is_blank((*s)[*n - 1]))
        (*n)--;
    while (*n > 0 && ascii_is_blank((*s)[0])) {
        (*s)++;
        (*n)--;
    }
}

/* The first byte at or after `at` that is not white space of JSON (RFC 8259 section 2);
 * `end`: none. */
static inline const char *ascii_skip_json_space(const char *at, const char *end)
{
    while (at < end && (ascii_is_blank(*at) || *at == '\r' || *at == '\n'))
        at++;
    return at;
}

/* The value of 1 to 19 digits and nothing else; -1 for any other text, or when it overflows. */
static inline int64_t ascii_number(const char *s, size_t n)
{
    int64_t value = 0;

    if (n == 0 || n > 19)
        return -1;
    for (size_t i = 0; i < n; i++)
        if (!ascii_is_digit(s[i]) || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, s[i] - '0', &value))
            return -1;
    return value;
}

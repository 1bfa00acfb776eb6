/* Finds fields, arguments and bodies that override a request; see override.h. */
#include "http/override.h"

#include <string.h>

#include "base/ascii.h"

/* Compares a field name of the same length; `_` is read as `-`, as some servers do. */
static bool name_is(const struct header_field *f, const char *lower)
{
    for (size_t i = 0; i < f->name_len; i++) {
        char c = f->name[i] == '_' ? '-' : ascii_lower(f->name[i]);

        if (c != lower[i])
            return false;
    }
    return true;
}

static bool is_form(const struct header_field *f)
{
    static const char urlencoded[] = "application/x-www-form-urlencoded";
    static const char multipart[] = "multipart/";
    const char *value = f->value;
    size_t len = f->value_len;

    ascii_trim(&value, &len);
    return (len >= sizeof urlencoded - 1 &&
            ascii_equal_str(value, sizeof urlencoded - 1, urlencoded)) ||
           (len >= sizeof multipart - 1 &&
            ascii_equal_str(value, sizeof multipart - 1, multipart));
}

/* Whether a field whose name begins with x is one that overrides. */
static bool is_override(const struct header_field *f)
{
    static const char *const names[] = { "x-http-method", "x-rewrite-url", "x-original-url",
                                         "x-method-override", "x-http-method-override" };

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strlen(names[i]) == f->name_len && name_is(f, names[i]))
            return true;
    return false;
}

#define CONTENT_TYPE_LEN (sizeof "content-type" - 1)
#define SHORTEST CONTENT_TYPE_LEN
#define LONGEST (sizeof "x-http-method-override" - 1)

static bool fields_override(const struct override_request *r)
{
    /* Most fields are excluded by their length or their first letter. */
    for (const struct header_field *f = r->fields, *end = f + r->count; f < end; f++) {
        if (f->name_len < SHORTEST || f->name_len > LONGEST)
            continue;
        char first = ascii_lower(f->name[0]);

        if (first == 'x') {
            if (f->name_len > SHORTEST && is_override(f))
                return true;
        } else if (first == 'c' && f->name_len == CONTENT_TYPE_LEN && r->has_body &&
                   (memcmp(f->name, "Content-Type", CONTENT_TYPE_LEN) == 0 ||
                    name_is(f, "content-type")) &&
                   is_form(f)) {
            return true;
        }
    }
    return false;
}

/* The next decoded byte of a query argument's name; -1 at its end. */
static int next_decoded(const char **at, const char *end)
{
    const char *s = *at;

    if (s == end || *s == '=')
        return -1;
    if (*s == '%' && end - s >= 3 && ascii_is_hex(s[1]) && ascii_is_hex(s[2])) {
        *at = s + 3;
        return ascii_hex(s[1]) * 16 + ascii_hex(s[2]);
    }
    *at = s + 1;
    return *s == '+' ? ' ' : (unsigned char)*s;
}

/* Whether an argument is named `_method`, in any case, since servers differ in that. Some
 * also accept `[_method]`, `_method[]` and `_method[0]` for this name (the `qs` module of
 * Express). */
static bool argument_overrides(const char *at, const char *end)
{
    static const char name[] = "_method";
    int c = next_decoded(&at, end);

    while (c == '[')
        c = next_decoded(&at, end);
    for (size_t i = 0; i < sizeof name - 1; i++) {
        if (c < 0 || ascii_lower((char)c) != name[i])
            return false;
        c = next_decoded(&at, end);
    }
    return c < 0 || c == '[' || c == ']';
}

static bool query_overrides(const char *query)
{
    while (*query != '\0') {
        const char *end = query + strcspn(query, "&;");

        if (argument_overrides(query, end))
            return true;
        query = *end == '\0' ? end : end + 1;
    }
    return false;
}

bool override_found(const struct override_request *r)
{
    return fields_override(r) || query_overrides(r->query);
}

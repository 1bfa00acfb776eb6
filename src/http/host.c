/* Parses a host and its port. Unusual forms are refused even if they are legal, where two
 * programs might understand them differently. */
#include "http/host.h"

#include <string.h>

#include "base/ascii.h"

/* The length of the bracketed address at the start of s; 0: there is none. */
static size_t address_v6(const char *s, size_t n)
{
    size_t colons = 0;

    for (size_t i = 1; i < n; i++) {
        if (s[i] == ']')
            return colons >= 2 ? i + 1 : 0;
        if (s[i] == ':')
            colons++;
        else if (s[i] != '.' && !ascii_is_hex(s[i]))
            return 0;
    }
    return 0;
}

/* The length of the reg-name at the start of s, up to ':' or the end; 0: it is not one. A
 * comma is refused although it is legal: two hosts could pass as one. */
static size_t reg_name(const char *s, size_t n)
{
    size_t i = 0;

    while (i < n && s[i] != ':') {
        if (s[i] == '%') {
            if (n - i < 3 || !ascii_is_hex(s[i + 1]) || !ascii_is_hex(s[i + 2]))
                return 0;
            i += 3;
        } else if (ascii_is_alpha(s[i]) || ascii_is_digit(s[i]) ||
                   (s[i] != '\0' && strchr("-._~!$&'()*+;=", s[i]) != NULL)) {
            i++;
        } else {
            return 0;
        }
    }
    return i;
}

bool host_split(const char *text, size_t len, struct host *out)
{
    size_t name_len = len > 0 && text[0] == '[' ? address_v6(text, len) : reg_name(text, len);
    int64_t port = -1;

    if (name_len == 0)
        return false;
    if (name_len < len && text[name_len] != ':')
        return false;
    if (len > name_len + 1) { /* "host:" is legal and means the default port */
        port = ascii_number(text + name_len + 1, len - name_len - 1);
        if (port < 0 || port > 65535)
            return false;
    }
    if (out != NULL)
        *out = (struct host){ .name = text, .name_len = name_len, .port = (int)port };
    return true;
}

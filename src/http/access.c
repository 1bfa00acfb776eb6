/* Decides which requests may use the port. A web page can make a browser send requests to a
 * local port, and whatever gets through acts with the proxy's credentials. The check of Host
 * stops host names that an attacker lets resolve to this port (DNS rebinding); Origin and
 * Sec-Fetch-Site stop pages that use the port's real name; the required header stops tools
 * that can be made to fetch any URL. */
#include "http/access.h"

#include <string.h>

#include "base/ascii.h"
#include "base/secret.h"
#include "http/host.h"

/* --- Host ---------------------------------------------------------------------------- */

/* Whether the port of a Host field matches an entry; `port` is what follows the name in the
 * entry: "", ":port" or ":*". */
static bool port_allowed(const char *port, int asked)
{
    if (*port == '\0' || strcmp(port, ":*") == 0)
        return true;
    int64_t wanted = ascii_number(port + 1, strlen(port + 1));
    if (wanted < 0) /* not a port: must not match a Host without one */
        return false;
    return wanted == asked || (asked < 0 && (wanted == 80 || wanted == 443));
}

static bool is_in(const struct config_list *list, const struct host *asked)
{
    for (size_t i = 0; i < list->count; i++) {
        const char *entry = list->item[i];

        if (strcmp(entry, "*") == 0)
            return true;
        size_t name_len = entry[0] == '[' ? strcspn(entry, "]") + 1 : strcspn(entry, ":");
        if (name_len <= strlen(entry) &&
            ascii_equal(asked->name, asked->name_len, entry, name_len) &&
            port_allowed(entry + name_len, asked->port))
            return true;
    }
    return false;
}

bool access_host_allowed(const struct config *c, const char *host, size_t len)
{
    struct host asked;

    return host_split(host, len, &asked) &&
           (is_in(&c->listen.allowed_hosts, &asked) || is_in(&c->listen.bound_hosts, &asked));
}

static bool host_denied(const struct access_check *in)
{
    for (size_t i = 0; i < in->count; i++) {
        if (!header_is(&in->fields[i], "host"))
            continue;
        const char *host = in->fields[i].value;
        size_t len = in->fields[i].value_len;
        ascii_trim(&host, &len);
        return !access_host_allowed(in->config, host, len);
    }
    return true;
}

/* --- Origin -------------------------------------------------------------------------- */

static bool any_origin_allowed(const struct config_list *allowed)
{
    for (size_t i = 0; i < allowed->count; i++)
        if (strcmp(allowed->item[i], "*") == 0)
            return true;
    return false;
}

static bool origin_allowed(const struct config_list *allowed, const char *origin, size_t len)
{
    for (size_t i = 0; i < allowed->count; i++)
        if (ascii_equal_str(origin, len, allowed->item[i]))
            return true;
    return false;
}

static bool origin_denied(const struct access_check *in)
{
    const struct config_list *allowed = &in->config->listen.allowed_origins;
    bool vouched_for = false, from_elsewhere = false;

    if (any_origin_allowed(allowed))
        return false;
    for (size_t i = 0; i < in->count; i++) {
        const struct header_field *f = &in->fields[i];
        const char *value = f->value;
        size_t len = f->value_len;
        ascii_trim(&value, &len);

        if (header_is(f, "origin")) {
            if (!origin_allowed(allowed, value, len))
                return true;
            vouched_for = true;
        } else if (header_is(f, "sec-fetch-site")) {
            from_elsewhere |= ascii_equal_str(value, len, "cross-site") ||
                              ascii_equal_str(value, len, "same-site");
        }
    }
    return from_elsewhere && !vouched_for;
}

/* --- the required header ------------------------------------------------------------- */

static bool required_missing(const struct access_check *in)
{
    const char *name = in->config->listen.require_header_name;
    const char *wanted = in->config->listen.require_header_value;
    size_t seen = 0;
    bool right = true;

    if (name == NULL)
        return false;
    if (wanted == NULL)
        wanted = "";
    for (size_t i = 0; i < in->count; i++) {
        const struct header_field *f = &in->fields[i];

        if (!ascii_equal_str(f->name, f->name_len, name))
            continue;
        const char *value = f->value;
        size_t len = f->value_len;
        ascii_trim(&value, &len);
        right &= secret_bytes_equal(value, len, wanted, strlen(wanted));
        seen++;
    }
    return seen != 1 || !right;
}

struct failure access_check(const struct access_check *in)
{
    if (!in->absolute_form && host_denied(in))
        return failure_make(FAIL_HOST_DENIED,
                            "The Host of this request is not on listen.allowed_hosts; add it "
                            "there if callers use that name.");
    if (origin_denied(in))
        return failure_make(FAIL_ORIGIN_DENIED,
                            "The request comes from a web page whose origin is not on "
                            "listen.allowed_origins.");
    if (required_missing(in))
        return failure_make(FAIL_HEADER_MISSING,
                            "The request needs the header %s, once, with the value that is set "
                            "in listen.require_header.",
                            in->config->listen.require_header_name);
    return (struct failure){ .kind = FAIL_NONE };
}

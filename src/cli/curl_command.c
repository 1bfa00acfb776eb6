/* Finds the address, the Host and the scheme by which the proxy answers, see curl_command.h. */
#include "cli/curl_command.h"

#include <stdio.h>
#include <string.h>

#include "config/command_line.h"
#include "config/url.h"
#include "http/access.h"

#define HOST_SIZE 300

/* The first TCP address, or else the first unix socket. False: no address is sound. */
static bool find_address(const struct config *c, struct config_address *out)
{
    struct config_address a;
    bool found = false;

    for (size_t i = 0; i < c->listen.address.count; i++) {
        if (!config_address_split(c->listen.address.item[i], &a) ||
            (found && a.unix_path != NULL))
            continue;
        *out = a;
        found = true;
        if (a.unix_path == NULL)
            return true;
    }
    return found;
}

static bool is_allowed(const struct config *c, const char *host)
{
    return access_host_allowed(c, host, strlen(host));
}

/* The first Host that is on listen.allowed_hosts, with its own port, or else this one. */
static void put_allowed(const struct config *c, const char *port, char host[HOST_SIZE])
{
    const char *entry =
        c->listen.allowed_hosts.count > 0 ? c->listen.allowed_hosts.item[0] : "*";
    size_t name = entry[0] == '[' ? strcspn(entry, "]") + 1 : strcspn(entry, ":");

    if (strcmp(entry, "*") == 0)
        (void)snprintf(host, HOST_SIZE, "localhost%s", port);
    else if (name < strlen(entry) && strcmp(entry + name, ":*") != 0)
        (void)snprintf(host, HOST_SIZE, "%s", entry);
    else
        (void)snprintf(host, HOST_SIZE, "%.*s%s", (int)name, entry, port);
}

/* TLS is for TCP only, and without a Host of its own curl sends localhost. */
static void begin_unix(struct buf *out, const struct config *c, const char *path)
{
    char host[HOST_SIZE] = "localhost";

    if (!is_allowed(c, host))
        put_allowed(c, "", host);
    (void)buf_addf(out, "curl -sS --unix-socket ");
    command_line_add_word(out, path);
    (void)buf_addf(out, " \"http://%s", host);
}

void curl_command_begin(struct buf *out, const struct config *c)
{
    struct config_address a = { .host = "127.0.0.1" };
    bool found = find_address(c, &a), tls = c->listen.tls_certificate != NULL;
    char host[HOST_SIZE], port[16] = ":PORT";

    if (found && a.unix_path != NULL) {
        begin_unix(out, c, a.unix_path);
        return;
    }
    /* Every address of the machine: nobody can connect to that one, and it is no Host. */
    bool every = strcmp(a.host, "0.0.0.0") == 0 || strcmp(a.host, "::") == 0;

    if (every)
        (void)snprintf(a.host, sizeof a.host, "%s", a.v6 ? "::1" : "127.0.0.1");
    if (a.port > 0)
        (void)snprintf(port, sizeof port, ":%d", a.port);
    (void)snprintf(host, sizeof host, a.v6 ? "[%s]%s" : "%s%s", a.host, port);
    (void)buf_addf(out, "curl -sS ");
    if (every && (tls || !is_allowed(c, host))) { /* by a name, which a certificate may have */
        (void)buf_addf(out, "--connect-to ::%s ", host);
        put_allowed(c, port, host);
    }
    (void)buf_addf(out, "\"%s://%s", tls ? "https" : "http", host);
}

bool curl_command_needs_more(const struct config *c)
{
    return c->listen.tls_certificate != NULL || c->listen.require_header_name != NULL ||
           c->caller_count > 0;
}

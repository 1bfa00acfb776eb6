/* Makes the rules of the sandbox from the settings:
 *
 *     settings -> files, ports, sockets -> rules -> sandbox
 *
 * The process may read the settings, every file that they name, and the certificates that
 * libcurl trusts by default. It may connect to the ports of base_url, of token.url and of
 * their proxies, to that of the ledger's database, and to DNS over TCP. It may remove the
 * unix sockets that it has created, as it does at the end. */
#include "sandbox/policy.h"

#include <string.h>

#include "base/log.h"
#include "net/trust_store.h"
#include "sandbox/landlock.h"

#define DNS_PORT 53

static void may_read(const char *path, void *arg)
{
    sandbox_may_read(arg, path);
}

static void may_connect(const char *key, int port, void *arg)
{
    (void)key;
    sandbox_may_connect(arg, port);
}

static void may_remove(struct sandbox_rules *rules, const struct listeners *listeners)
{
    for (size_t i = 0; i < listeners->count; i++)
        if (listeners->item[i].path != NULL)
            sandbox_may_remove(rules, listeners->item[i].path);
}

static void rules_of(const struct config *c, struct sandbox_rules *rules)
{
    const char *ca_file, *ca_directory;

    config_each_file(c, may_read, rules);
    config_each_port(c, may_connect, rules);
    sandbox_may_connect(rules, DNS_PORT);
    trust_store_find(&ca_file, &ca_directory);
    sandbox_may_read(rules, ca_file);
    if (ca_directory != NULL)
        sandbox_may_read_beneath(rules, ca_directory);
}

void policy_enforce(const struct config *c, const struct listeners *callers,
                    const struct listeners *admin, struct buf *name)
{
    struct sandbox_rules rules = { .paths = 0 };
    struct buf missing;

    if (c->process.sandbox == SANDBOX_OFF) {
        (void)buf_addf(name, "off");
        return;
    }
    log_flush(); /* opens what logging needs */
    buf_init(&missing, 1024);
    rules_of(c, &rules);
    may_remove(&rules, callers);
    may_remove(&rules, admin);
    if (!sandbox_enter(&rules, name, &missing))
        log_warn("sandbox_partial", log_str("in_force", buf_text(name)),
                 log_str("missing", buf_text(&missing)),
                 log_str("detail", "this kernel, or the container around it, does not offer "
                                   "the rest; process.sandbox = off says that this is known"));
    buf_done(&missing);
    sandbox_rules_done(&rules);
}

struct reach {
    void (*barred)(void *arg, const char *key, int port);
    void *arg;
    const char *last_key; /* the last key reported: token.url may follow from base_url */
    bool good;
};

static void look_at_port(const char *key, int port, void *arg)
{
    struct reach *r = arg;

    if (!sandbox_bars(port))
        return;
    r->good = false;
    if (r->last_key == NULL || strcmp(r->last_key, key) != 0)
        r->barred(r->arg, key, port);
    r->last_key = key;
}

bool policy_reaches(const struct config *c,
                    void (*barred)(void *arg, const char *key, int port), void *arg)
{
    struct reach r = { .barred = barred, .arg = arg, .good = true };

    config_each_port(c, look_at_port, &r);
    return r.good;
}

void policy_check_resolver(void)
{
    static const char *const files[] = { "/etc/resolv.conf", "/etc/hosts",
                                         "/etc/nsswitch.conf" };
    static bool logged;

    for (size_t i = 0; i < ARRAY_LEN(files) && !logged; i++) {
        if (!sandbox_hides(files[i]))
            continue;
        logged = true;
        log_error("restart_needed", log_str("file", files[i]),
                  log_str("detail",
                          "another file was put in its place since the start, and the "
                          "sandbox does not let this process read it: names may not "
                          "resolve until the program is started again"));
    }
}

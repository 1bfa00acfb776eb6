/* The checks of inbound TLS: that certificate, key and authorities are there, fit and are not
 * out of date, so that --check and a reload say what a caller would otherwise find out. */
#include <string.h>

#include "config/check.h"

#define FILE_MAX (1 << 20)

static const struct config_key *key_of(enum tls_part part)
{
    switch (part) {
    case TLS_CERTIFICATE:
        return KEY(listen, tls_certificate);
    case TLS_KEY:
        return KEY(listen, tls_key);
    default:
        return KEY(listen, tls_client_ca);
    }
}

static const char *path_of(const struct config *c, enum tls_part part)
{
    switch (part) {
    case TLS_CERTIFICATE:
        return c->listen.tls_certificate;
    case TLS_KEY:
        return c->listen.tls_key;
    default:
        return c->listen.tls_client_ca;
    }
}

static void check_pairs(struct config_load *load)
{
    const struct config *c = load->config;

    if (c->listen.tls_certificate != NULL && c->listen.tls_key == NULL)
        config_fail(load, KEY(listen, tls_certificate), "needs listen.tls_key as well");
    if (c->listen.tls_key != NULL && c->listen.tls_certificate == NULL)
        config_fail(load, KEY(listen, tls_key), "needs listen.tls_certificate as well");
    if (c->listen.tls_client_ca != NULL && c->listen.tls_certificate == NULL)
        config_fail(load, KEY(listen, tls_client_ca),
                    "needs listen.tls_certificate and listen.tls_key as well");
}

/* TLS is for TCP; see README, "Who may use it". */
static void check_use(struct config_load *load)
{
    const struct config_list *list = &load->config->listen.address;

    for (size_t i = 0; i < list->count; i++)
        if (strncmp(list->item[i], "unix:", 5) != 0)
            return;
    config_warn(load, KEY(listen, tls_certificate),
                "is not used: there is no host:port in listen.address, and a unix socket is "
                "guarded by its listen.socket_mode");
}

static void say(void *arg, enum tls_part part, bool fatal, const char *what)
{
    struct config_load *load = arg;
    const char *path = path_of(load->config, part);

    if (fatal)
        config_fail(load, key_of(part), "%s %s", path, what);
    else
        config_warn(load, key_of(part), "%s %s", path, what);
}

void config_check_tls(struct config_load *load)
{
    struct config *c = load->config;
    struct tls_options o = { .say = say, .arg = load };
    char *text[TLS_PARTS] = { NULL };
    bool sound = true;

    check_pairs(load);
    for (enum tls_part part = 0; part < TLS_PARTS; part++)
        sound &= config_sound(load, key_of(part));
    if (!sound || c->listen.tls_certificate == NULL)
        return;
    check_use(load);
    for (enum tls_part part = 0; part < TLS_PARTS; part++) {
        const char *path = path_of(c, part);
        char why[256] = "";

        if (path == NULL)
            continue;
        text[part] = config_slurp(path, FILE_MAX, &o.part[part].len, why, sizeof why);
        o.part[part].text = text[part];
        if (text[part] == NULL) {
            config_fail(load, key_of(part), "%s: %s", path, why);
            sound = false;
        }
    }
    if (sound)
        c->listen.tls = tls_new(&o);
    for (enum tls_part part = 0; part < TLS_PARTS; part++)
        if (text[part] != NULL)
            config_slurp_free(text[part], o.part[part].len);
}

bool config_tls_differs(const struct config *a, const struct config *b,
                        const struct config_key *key)
{
    for (enum tls_part part = 0; part < TLS_PARTS; part++)
        if (key == key_of(part))
            return tls_differs(a->listen.tls, b->listen.tls, part);
    return false;
}

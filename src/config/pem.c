/* The contents of certificate and key files, looked at as far as that can be done without a TLS
 * library: what would fail at the first connection only is said at once. */
#include <string.h>

#include "config/check.h"
#include "config/value.h"

#define PEM_FILE_MAX (4 << 20)

enum pem_kind { PEM_CERTIFICATES, PEM_KEY };

/* What is wrong with it, or NULL. */
static const char *fault(const char *text, enum pem_kind kind)
{
    if (strstr(text, "-----BEGIN ENCRYPTED PRIVATE KEY-----") != NULL ||
        strstr(text, "Proc-Type: 4,ENCRYPTED") != NULL)
        return "holds an encrypted key, and there is nobody to ask for the passphrase; "
               "allowed: "
               "a key without one";
    if (kind == PEM_CERTIFICATES && strstr(text, "CERTIFICATE-----") == NULL)
        return "holds no certificate; allowed: PEM, -----BEGIN CERTIFICATE-----";
    if (kind == PEM_KEY && strstr(text, "PRIVATE KEY-----") == NULL)
        return "holds no private key; allowed: PEM, -----BEGIN PRIVATE KEY-----";
    return NULL;
}

static void load_pem(struct config_load *load, const struct config_key *key, const char *path,
                     enum pem_kind kind, struct config_pem *out)
{
    char why[256];

    if (path == NULL || !config_sound(load, key))
        return;
    out->data = config_slurp(path, PEM_FILE_MAX, &out->len, why, sizeof why);
    if (out->data == NULL) {
        config_fail(load, key, "%s: %s", path, why);
        return;
    }
    const char *wrong = fault(out->data, kind);

    if (wrong != NULL)
        config_fail(load, key, "%s %s", path, wrong);
}

void config_check_pem(struct config_load *load)
{
    struct config *c = load->config;
    const struct config_key *certificate = KEY(upstream, client_certificate);

    load_pem(load, KEY(upstream, ca_file), c->upstream.ca_file, PEM_CERTIFICATES,
             &c->upstream.ca);
    load_pem(load, KEY(token, ca_file), c->token.ca_file, PEM_CERTIFICATES, &c->token.ca);
    load_pem(load, certificate, c->upstream.client_certificate, PEM_CERTIFICATES,
             &c->upstream.certificate);
    if (c->upstream.client_key != NULL)
        load_pem(load, KEY(upstream, client_key), c->upstream.client_key, PEM_KEY,
                 &c->upstream.key);
    else
        load_pem(load, certificate, c->upstream.client_certificate, PEM_KEY, &c->upstream.key);
}

static bool pem_differs(const struct config_pem *a, const struct config_pem *b)
{
    return a->data != NULL && b->data != NULL &&
           (a->len != b->len || memcmp(a->data, b->data, a->len) != 0);
}

bool config_pem_differs(const struct config *a, const struct config *b,
                        const struct config_key *key)
{
    if (key == KEY(upstream, ca_file))
        return pem_differs(&a->upstream.ca, &b->upstream.ca);
    if (key == KEY(token, ca_file))
        return pem_differs(&a->token.ca, &b->token.ca);
    if (key == KEY(upstream, client_certificate))
        return pem_differs(&a->upstream.certificate, &b->upstream.certificate);
    return key == KEY(upstream, client_key) && pem_differs(&a->upstream.key, &b->upstream.key);
}

static void clear_pem(struct config_pem *pem)
{
    config_slurp_free(pem->data, pem->len);
    *pem = (struct config_pem){ .data = NULL };
}

void config_pem_clear(struct config *c)
{
    clear_pem(&c->upstream.ca);
    clear_pem(&c->upstream.certificate);
    clear_pem(&c->upstream.key);
    clear_pem(&c->token.ca);
}

/* Keeps the client id and secret, and reads their files again when these change. The files
 * may be half written at that moment, so the old pair is replaced only if both can be read
 * completely. */
#include "token/credentials.h"

#include <string.h>

#include "base/log.h"
#include "config/files.h"

void credentials_done(struct credentials *k)
{
    free(k->id);
    secret_free(k->secret);
    *k = (struct credentials){ .id = NULL };
}

/* Takes ownership of both. */
static bool replace(struct credentials *k, char *id, struct secret *secret)
{
    bool same = k->id != NULL && strcmp(k->id, id) == 0 && secret_equal(k->secret, secret);

    if (same) {
        free(id);
        secret_free(secret);
        return false;
    }
    free(k->id);
    secret_free(k->secret);
    k->id = id;
    k->secret = secret;
    return true;
}

bool credentials_load(struct credentials *k, const struct config *c)
{
    char *id = strdup(c->token.client_id);
    struct secret *secret =
        secret_new(secret_text(c->token.client_secret), secret_len(c->token.client_secret));

    if (id == NULL || secret == NULL)
        abort();
    k->unreadable = false;
    return replace(k, id, secret);
}

bool credentials_reread(struct credentials *k, const struct config *c)
{
    struct buf errors;
    char *id;
    struct secret *secret;

    if (c->token.client_id_file == NULL && c->token.client_secret_file == NULL)
        return false;
    buf_init(&errors, 4096);
    int err = config_credentials(c, &id, &secret, &errors);
    if (err != 0 && !k->unreadable)
        log_warn("credentials_unreadable", log_str("detail", buf_text(&errors)),
                 log_str("serving", "the credentials read before"));
    buf_done(&errors);
    k->unreadable = err != 0;
    if (err != 0) {
        free(id);
        secret_free(secret);
        return false;
    }
    return replace(k, id, secret);
}

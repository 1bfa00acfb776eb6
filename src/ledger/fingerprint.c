/* The fingerprint of a request, see fingerprint.h. */
#include "ledger/fingerprint.h"

#include <openssl/evp.h>
#include <string.h>

static bool add(EVP_MD_CTX *md, const void *bytes, size_t n)
{
    return EVP_DigestUpdate(md, bytes, n) == 1;
}

/* Adds a part, preceded by its length in eight bytes, big endian. It may be given in two
 * pieces. */
static bool add_part(EVP_MD_CTX *md, const char *first, const char *second)
{
    size_t len = strlen(first), more = strlen(second);
    unsigned char length[8];

    for (size_t i = 0; i < sizeof length; i++)
        length[i] = (unsigned char)((uint64_t)(len + more) >> (56 - 8 * i));
    return add(md, length, sizeof length) && add(md, first, len) && add(md, second, more);
}

int ledger_fingerprint_init(struct ledger_fingerprint *f,
                            const struct ledger_fingerprint_head *head)
{
    EVP_MD_CTX *md = EVP_MD_CTX_new();

    f->state = md;
    if (md != NULL && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1 &&
        add_part(md, head->method, "") && add_part(md, head->origin, "") &&
        add_part(md, head->prefix, head->path))
        return 0;
    ledger_fingerprint_done(f);
    return -ENOMEM;
}

void ledger_fingerprint_add(struct ledger_fingerprint *f, const void *bytes, size_t n)
{
    if (f->state != NULL && !add(f->state, bytes, n))
        ledger_fingerprint_done(f);
}

bool ledger_fingerprint_end(struct ledger_fingerprint *f,
                            unsigned char out[LEDGER_FINGERPRINT_BYTES])
{
    bool ok = f->state != NULL && EVP_DigestFinal_ex(f->state, out, NULL) == 1;

    ledger_fingerprint_done(f);
    return ok;
}

void ledger_fingerprint_done(struct ledger_fingerprint *f)
{
    EVP_MD_CTX_free(f->state);
    f->state = NULL;
}

#pragma once
/* Reading the files that settings name: secrets, certificates, keys. */
#include "base/buf.h"
#include "config/settings.h"

/* A regular file of at most `most` bytes, with a NUL behind. Returns NULL with the reason in
 * `why`. Owns: the caller frees with config_slurp_free, which wipes and takes NULL. */
char *config_slurp(const char *path, size_t most, size_t *len, char *why,
                   size_t why_size) MUST_CHECK;
void config_slurp_free(char *text, size_t len);

/* Whether path is a regular file that can be read: 0 and its mode, or -errno. */
int config_file_mode(const char *path, unsigned *mode) MUST_CHECK;

/* Why not, in words, of such an error number (positive). */
const char *config_file_reason(int error);

/* Reads a secret or an id from a file of its own: at most 64 KiB. One line end behind it is
 * taken off; any other control byte, and a byte order mark, is refused. Returns NULL and the
 * reason ("PATH: why", no line end, nothing of the secret) in `errors`. */
struct secret *config_read_secret_file(const char *path, struct buf *errors) MUST_CHECK;

/* The client id and secret to use for the next fetch: from the `_file`s as they are now,
 * else as loaded. Returns 0; or -errno with the reason in `errors`, the outputs then hold
 * what was loaded before. Owns: the caller frees both. */
int config_credentials(const struct config *c, char **id, struct secret **secret,
                       struct buf *errors) MUST_CHECK;

enum config_pem_kind { PEM_CERTIFICATES, PEM_KEY };

/* Reads a PEM file, looking at no more than its labels. Returns 0, or -EINVAL with "PATH: why" in
 * `why`, and `out` is unchanged. */
int config_pem_read(const char *path, enum config_pem_kind kind, struct config_pem *out,
                    char *why, size_t why_size) MUST_CHECK;
struct config_pem config_pem_copy(const struct config_pem *pem);
/* Whether both are there and hold other bytes. */
bool config_pem_differs(const struct config_pem *a, const struct config_pem *b);
void config_pem_clear(struct config_pem *pem);

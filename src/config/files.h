#pragma once
/* Reads the files that settings name: secrets, certificates, keys. */
#include "base/buf.h"
#include "config/settings.h"

/* Reads a regular file of at most `most` bytes and adds a NUL. Returns NULL with the reason
 * in `why`. The caller frees the result with config_file_free, which wipes it and takes
 * NULL. */
char *config_file_read(const char *path, size_t most, size_t *len, char *why,
                       size_t why_size) MUST_CHECK;
void config_file_free(char *text, size_t len);

/* Whether path is a regular file that can be read. Returns 0 and its mode, or -errno. */
int config_file_mode(const char *path, unsigned *mode) MUST_CHECK;

/* The text for such an error number (positive). */
const char *config_file_reason(int error);

/* Reads a secret or an id from its own file, at most 64 KiB. One newline at the end is
 * removed; any other control character, and a byte order mark, is refused. Returns NULL with
 * the reason ("PATH: why", no newline, nothing of the secret) in `errors`. */
struct secret *config_read_secret_file(const char *path, struct buf *errors) MUST_CHECK;

/* The client id and secret for the next token request: from the `_file`s as they are now,
 * otherwise as loaded. Returns 0; or -errno with the reason in `errors`, and the outputs are
 * those loaded before. The caller frees both. */
int config_credentials(const struct config *c, char **id, struct secret **secret,
                       struct buf *errors) MUST_CHECK;

enum config_pem_kind { PEM_CERTIFICATES, PEM_KEY };

/* Reads a PEM file; looks only at the labels in it. Returns 0, or -EINVAL with "PATH: why"
 * in `why` and `out` unchanged. */
int config_pem_read(const char *path, enum config_pem_kind kind, struct config_pem *out,
                    char *why, size_t why_size) MUST_CHECK;
struct config_pem config_pem_copy(const struct config_pem *pem);
/* Whether both exist and have different content. */
bool config_pem_differs(const struct config_pem *a, const struct config_pem *b);
void config_pem_clear(struct config_pem *pem);

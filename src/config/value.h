#pragma once
/* Reads one value from text into its field, and prints it. */
#include "base/buf.h"
#include "config/schema.h"

#define CONFIG_WHY_MAX 1024
#define CONFIG_HIDDEN "******"

/* Reads text into the key's field of c and replaces what is there. Returns 0, or -EINVAL
 * with "what is wrong; allowed: ..." in `why` and the field unchanged. */
int config_value_set(struct config *c, const struct config_key *key, const char *text,
                     char why[CONFIG_WHY_MAX]) MUST_CHECK;

/* Appends the value as it is written in the file, with secrets hidden. Returns 0, -ENODATA
 * when there is none (nothing is appended), or the error of buf_add. */
int config_value_print(const struct config *c, const struct config_key *key,
                       struct buf *out) MUST_CHECK;

/* Wipes and frees what the field holds. */
void config_value_clear(struct config *c, const struct config_key *key);

/* Reads a number per time, "6/1m", which is part of a value. Returns 0 or -EINVAL. */
int config_rate_read(const char *text, int64_t *n, int64_t *duration_ms) MUST_CHECK;

/* Writes what is allowed, in short: "1ms to 1h". Cut if `out` is too small. */
void config_range(const struct config_key *key, char *out, size_t size);

/* Whether a credential or another value contains bytes that cannot be intended: a byte order
 * mark at the start, or a control character. Writes what it is and where into `why`, but
 * none of the other bytes. */
bool config_credential_fault(const char *bytes, size_t len, char *why, size_t why_size);

/* Copies text for a message: in quotes, cut if long, without control characters. */
const char *config_quote(const char *text, char out[64]);

/* Replaces the string in *field (wiped, may be NULL) by a formatted one, which may use the
 * old one. */
void config_string_set(char **field, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Appends a copy of the len bytes. */
void config_list_add(struct config_list *list, const char *text, size_t len);
void config_list_clear(struct config_list *list);

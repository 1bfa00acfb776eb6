#pragma once
/* One value: from text into its field, and back. */
#include "base/buf.h"
#include "config/schema.h"

#define CONFIG_WHY_MAX 1024
#define CONFIG_HIDDEN "******"

/* Reads text into the key's field of c, replacing what is there. Returns 0, or -EINVAL with
 * "what is wrong; allowed: ..." in `why`; the field is unchanged then. */
int config_value_set(struct config *c, const struct config_key *key, const char *text,
                     char why[CONFIG_WHY_MAX]) MUST_CHECK;

/* Appends the value as it would stand in the file, secrets hidden. Returns 0, -ENODATA when
 * there is none (nothing is appended), or what buf_add says. */
int config_value_print(const struct config *c, const struct config_key *key,
                       struct buf *out) MUST_CHECK;

/* Frees, and wipes, what the field holds. */
void config_value_clear(struct config *c, const struct config_key *key);

/* A number per time, "6/1m", as a part of a value. Returns 0 or -EINVAL. */
int config_rate_read(const char *text, int64_t *n, int64_t *duration_ms) MUST_CHECK;

/* What is allowed, in short ("1ms to 1h") and in full ("1ms to 1h, written as 250ms, ..."). */
void config_range(const struct config_key *key, char *out, size_t size);
void config_allowed(const struct config_key *key, char *out, size_t size);

/* Whether the bytes of a credential, or of another value, hold what nobody means to be part of
 * one: a byte order mark in front, a control byte. What, and where, is put into `why`; none of
 * the bytes around it. */
bool config_credential_fault(const char *bytes, size_t len, char *why, size_t why_size);

/* A copy of text for a message: in quotes, cut when long, without control characters. */
const char *config_quote(const char *text, char out[64]);

/* Replaces the string in *field (wiped, may be NULL) by a formatted one, which may be made from
 * the old one. */
void config_string_set(char **field, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Appends a copy of the len bytes. */
void config_list_add(struct config_list *list, const char *text, size_t len);
void config_list_clear(struct config_list *list);

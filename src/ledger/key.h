#pragma once
/* The key by which a caller marks two requests as the same: from the field Idempotency-Key
 * (draft-ietf-httpapi-idempotency-key-header-07), or from a member of a JSON body. Pure. */
#include "base/base.h"
#include "http/header.h"
#include "ledger/entry.h"

enum ledger_key_result {
    LEDGER_KEY_ABSENT,
    LEDGER_KEY_FOUND,
    LEDGER_KEY_UNREADABLE, /* it cannot be determined whether there is one; see `why` */
    LEDGER_KEY_MALFORMED   /* see `why` */
};

struct ledger_key {
    size_t len;
    char text[LEDGER_KEY_MAX + 1]; /* with a NUL after it */
    const char *why; /* if malformed or unreadable: a literal, without a full stop */
};

/* Where a body contains the key. */
struct ledger_key_source {
    const char *pointer; /* JSON pointer (RFC 6901), such as "/memo" */
    const char *prefix;  /* only a string with this prefix is a key; may be "" */
};

/* Whether there is an Idempotency-Key field, valid or not. For tests. */
bool ledger_key_in_header(const struct header_field *fields, size_t count);

/* The field's value: a String of structured fields (RFC 9651 section 3.3.3), or the same
 * without quotes, of 1 to 255 bytes 0x21 to 0x7E. `"a"` and `a` are the same key. Malformed:
 * two fields, parameters, an empty value, any other byte; without quotes also `"`, `,` and
 * `;`, which would mean something else in a structured field. */
enum ledger_key_result ledger_key_from_header(struct ledger_key *out,
                                              const struct header_field *fields, size_t count);

/* The string that `s->pointer` points to, without its prefix and up to the first blank:
 * UTF-8, 1 to 255 bytes, no control characters; otherwise malformed. Absent: the body is not
 * JSON, there is no such member, it is not a string, or does not have the prefix.
 * Unreadable: the body is not UTF-8 text. The upstream might still read it: it may
 * decompress it, know another character set, or ignore an invalid byte. A byte order mark is
 * ignored here too. */
enum ledger_key_result ledger_key_from_body(struct ledger_key *out,
                                            const struct ledger_key_source *s, const char *body,
                                            size_t len);

/* Combines both: the one that is present. Malformed if either is malformed, if they differ,
 * or if the body cannot be read and the field is absent. */
enum ledger_key_result ledger_key_join(struct ledger_key *out,
                                       enum ledger_key_result from_header,
                                       enum ledger_key_result from_body,
                                       const struct ledger_key *body_key);

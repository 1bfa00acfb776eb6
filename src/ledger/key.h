#pragma once
/* The key by which a caller says that two requests are one: from the field Idempotency-Key
 * (draft-ietf-httpapi-idempotency-key-header-07), or from a member of a JSON body. Pure. */
#include "base/base.h"
#include "http/header.h"
#include "ledger/entry.h"

enum ledger_key_result {
    LEDGER_KEY_ABSENT,
    LEDGER_KEY_FOUND,
    LEDGER_KEY_UNREADABLE, /* nobody here can say whether there is one; see `why` */
    LEDGER_KEY_MALFORMED   /* see `why` */
};

struct ledger_key {
    size_t len;
    char text[LEDGER_KEY_MAX + 1]; /* with a NUL behind it */
    const char *why; /* when malformed or unreadable: a literal, without its stop */
};

/* Where a body has its key. */
struct ledger_key_source {
    const char *pointer; /* RFC 6901, such as "/memo" */
    const char *prefix;  /* only a string that begins so is a key; may be "" */
};

/* Whether there is an Idempotency-Key field, sound or not. */
bool ledger_key_in_header(const struct header_field *fields, size_t count);

/* The field's value: a String of structured fields (RFC 9651 section 3.3.3) or the same without
 * its quotes, of 1 to 255 bytes 0x21 to 0x7E. `"a"` and `a` are one key. Malformed: two fields,
 * parameters, an empty value, any other byte; without quotes also `"`, `,` and `;`, which would
 * mean something else in a structured field. */
enum ledger_key_result ledger_key_from_header(struct ledger_key *out,
                                              const struct header_field *fields, size_t count);

/* The string that `s->pointer` leads to, behind its prefix and up to the first blank: UTF-8, 1 to 255
 * bytes, no control characters; malformed otherwise. Absent: the body is not JSON, there is no such
 * member, it is no string, or it has not the prefix. Unreadable: the body is not text in UTF-8. The
 * upstream may read it all the same: it may decompress it, know another character set, or overlook a
 * byte that is no UTF-8. A byte order mark is overlooked here too. */
enum ledger_key_result ledger_key_from_body(struct ledger_key *out,
                                            const struct ledger_key_source *s, const char *body,
                                            size_t len);

/* Of the two what there is. Malformed when either is, when they differ, and when the body cannot be
 * read and the field is absent. */
enum ledger_key_result ledger_key_join(struct ledger_key *out,
                                       enum ledger_key_result from_header,
                                       enum ledger_key_result from_body,
                                       const struct ledger_key *body_key);

#pragma once
/* The language between the operator's command and a running proxy, over a unix socket: messages of
 * fields, each with its length in front.
 *
 *     message = length (4 bytes, big endian) of what follows, field ...
 *     field   = tag (1 byte), length (4 bytes), bytes
 *
 * A request is one message and is answered by any number of entries and one end. Pure. */
#include "base/buf.h"
#include "ledger/store.h"

/* Bodies of 16 MiB, the rest of an entry, and room. */
#define WIRE_MESSAGE_MAX (40 << 20)
/* Entries of one answer: more are asked for behind the last one. */
#define WIRE_ENTRIES_MAX 64

enum wire_tag {
    WIRE_OP = 'o', /* WIRE_LIST, WIRE_RESOLVE, WIRE_STATUS: first of a request */
    WIRE_ID = 'i',
    WIRE_AFTER = 'a',
    WIRE_CALLER = 'c',
    WIRE_STATES = 's',
    WIRE_SINCE = 't',
    WIRE_EXECUTED = 'x',
    WIRE_FORCE = 'f',
    WIRE_CODE = 'd', /* the status of an answer */
    WIRE_HEAD = 'h',
    WIRE_BODY = 'b',
    WIRE_NOTE = 'n',
    WIRE_STATE = 'S', /* of an entry; the others of an entry are above and below */
    WIRE_KEY = 'k',
    WIRE_FINGERPRINT = 'F',
    WIRE_CAUSE = 'C',
    WIRE_METHOD = 'm',
    WIRE_PATH = 'p',
    WIRE_REQUEST_ID = 'r',
    WIRE_REQUEST_BODY = 'B',
    WIRE_INSTANCE = 'I',
    WIRE_CLAIMED = '1',
    WIRE_LEASE = '2',
    WIRE_ENDED = '3',
    WIRE_BY = 'y',
    WIRE_ENTRY = 'E',  /* first of a message that is an entry */
    WIRE_END = 'Z',    /* first of the last message of an answer: enum store_result, ... */
    WIRE_RESULT = 'R', /* enum store_resolved, of an end */
    WIRE_TEXT = 'T'    /* why it failed, or the status */
};

enum wire_op { WIRE_LIST = 'l', WIRE_RESOLVE = 'r', WIRE_STATUS = 's' };

/* --- writing: what does not fit, or has no memory, makes wire_end fail --- */

struct wire_out {
    struct buf *buf;
    size_t mark;
    bool failed;
};
/* Begins a message at the end of the buffer. */
struct wire_out wire_begin(struct buf *b);
void wire_bytes(struct wire_out *w, enum wire_tag tag, const void *bytes, size_t len);
/* NULL: left out. */
void wire_text(struct wire_out *w, enum wire_tag tag, const char *text);
void wire_number(struct wire_out *w, enum wire_tag tag, int64_t value);
/* Whether all of it is there; else the message is taken back. */
bool wire_end(struct wire_out *w) MUST_CHECK;

void wire_entry(struct wire_out *w, const struct ledger_entry *e);

/* --- reading --- */

struct wire_in {
    const char *at;
    size_t left;
};
struct wire_field {
    enum wire_tag tag;
    const char *bytes;
    size_t len;
};

/* The first message in the buffer. Returns 1 with its fields in `in` and its size in the buffer in
 * *size; 0 when it is not whole yet; -EMSGSIZE when it is too long. */
int wire_message(const struct buf *b, struct wire_in *in, size_t *size) MUST_CHECK;
/* The next field. False: there is none, or the rest is malformed (then left is not 0). */
bool wire_next(struct wire_in *in, struct wire_field *f);
/* A number, or `otherwise` when it is none. */
int64_t wire_number_of(const struct wire_field *f, int64_t otherwise);
/* A copy with a NUL; NULL when it has a NUL inside. Owns: the caller frees. */
char *wire_text_of(const struct wire_field *f);

/* An entry from the fields behind WIRE_ENTRY. False: malformed; it is empty then. */
bool wire_entry_read(struct wire_in *in, struct ledger_entry *e);

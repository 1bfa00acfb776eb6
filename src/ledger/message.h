#pragma once
/* The messages that `oneshot-proxy ledger` and a running proxy exchange over the control
 * socket.
 *
 *     message = length (4 bytes, big endian) of what follows, field ...
 *     field   = tag (1 byte), length (4 bytes, big endian), value
 *
 * A request is one message. It is answered by one message for each entry, then one of
 * MESSAGE_END. Pure. */
#include "base/buf.h"
#include "ledger/store.h"

/* Longest message: an entry with two bodies of 16 MiB, its other fields, and some room. */
#define MESSAGE_BYTES_MAX (40 << 20)
/* Most entries in one answer. A client asks for more with MESSAGE_AFTER. */
#define MESSAGE_ENTRIES_MAX 64

enum message_tag {
    MESSAGE_OP = 'o', /* first field of a request: an enum message_op */
    MESSAGE_ID = 'i',
    MESSAGE_AFTER = 'a', /* id of the last entry that the client has */
    MESSAGE_CALLER = 'c',
    MESSAGE_STATES = 's',
    MESSAGE_SINCE = 't',
    MESSAGE_EXECUTED = 'x',
    MESSAGE_FORCE = 'f',
    MESSAGE_CODE = 'd', /* the status of an answer */
    MESSAGE_HEAD = 'h',
    MESSAGE_BODY = 'b',
    MESSAGE_NOTE = 'n',
    MESSAGE_STATE = 'S', /* from here: fields of an entry, which has some of those above too */
    MESSAGE_KEY = 'k',
    MESSAGE_FINGERPRINT = 'F',
    MESSAGE_CAUSE = 'C',
    MESSAGE_METHOD = 'm',
    MESSAGE_PATH = 'p',
    MESSAGE_REQUEST_ID = 'r',
    MESSAGE_REQUEST_BODY = 'B',
    MESSAGE_INSTANCE = 'I',
    MESSAGE_CLAIMED = '1',
    MESSAGE_LEASE = '2',
    MESSAGE_ENDED = '3',
    MESSAGE_BY = 'y',
    MESSAGE_ENTRY = 'E',  /* first field of an entry */
    MESSAGE_END = 'Z',    /* first field of the last message of an answer: enum store_result */
    MESSAGE_RESULT = 'R', /* enum store_resolved */
    MESSAGE_TEXT = 'T'    /* error text, or the ledger's status */
};

enum message_op { MESSAGE_LIST = 'l', MESSAGE_RESOLVE = 'r', MESSAGE_STATUS = 's' };

/* --- writing: when a field does not fit or memory runs out, message_end returns false --- */

struct message_writer {
    struct buf *buf;
    size_t mark;
    bool failed;
};
/* Begins a message at the end of the buffer. */
struct message_writer message_begin(struct buf *b);
void message_add_bytes(struct message_writer *w, enum message_tag tag, const void *bytes,
                       size_t len);
/* Adds no field if text is NULL. */
void message_add_text(struct message_writer *w, enum message_tag tag, const char *text);
void message_add_number(struct message_writer *w, enum message_tag tag, int64_t value);
/* Writes the message's length. False: a field was lost; the whole message is removed again. */
bool message_end(struct message_writer *w) MUST_CHECK;

void message_add_entry(struct message_writer *w, const struct ledger_entry *e);

/* --- reading --- */

struct message_reader {
    const char *at;
    size_t left;
};
struct message_field {
    enum message_tag tag;
    const char *bytes;
    size_t len;
};

/* Looks at the first message in the buffer. Returns 1 with a reader of its fields in *in and
 * its size in *size (what to take from the buffer); 0 when it is not complete yet; -EMSGSIZE
 * when it is too long. */
int message_open(const struct buf *b, struct message_reader *in, size_t *size) MUST_CHECK;
/* Reads the next field. False: no more fields, or the rest is malformed (then in->left is
 * not 0). */
bool message_next(struct message_reader *in, struct message_field *f);
/* The field's value as a number, or `otherwise` when it is not a number. */
int64_t message_number(const struct message_field *f, int64_t otherwise);
/* The field's value as a string; NULL when it contains a NUL byte. The caller frees it. */
char *message_text(const struct message_field *f);

/* Reads an entry from the fields after MESSAGE_ENTRY. False: malformed, and *e is empty. */
bool message_read_entry(struct message_reader *in, struct ledger_entry *e);

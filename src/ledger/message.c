/* Writes and reads the messages of the control socket. What is read may be anything. */
#include "ledger/message.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define LENGTH_BYTES 4
#define FIELD_BYTES (1 + LENGTH_BYTES)

static void put_length(char out[LENGTH_BYTES], size_t n)
{
    for (size_t i = 0; i < LENGTH_BYTES; i++)
        out[i] = (char)(n >> (8 * (LENGTH_BYTES - 1 - i)) & 0xff);
}

static size_t get_length(const char *p)
{
    size_t n = 0;

    for (size_t i = 0; i < LENGTH_BYTES; i++)
        n = n << 8 | (unsigned char)p[i];
    return n;
}

struct message_writer message_begin(struct buf *b)
{
    struct message_writer w = { .buf = b, .mark = buf_unread(b) };
    static const char room[LENGTH_BYTES];

    w.failed = buf_add(b, room, sizeof room) != 0;
    return w;
}

void message_add_bytes(struct message_writer *w, enum message_tag tag, const void *bytes,
                       size_t len)
{
    char head[FIELD_BYTES] = { (char)tag };

    put_length(head + 1, len);
    if (!w->failed)
        w->failed = buf_add(w->buf, head, sizeof head) != 0 ||
                    (len > 0 && buf_add(w->buf, bytes, len) != 0);
}

void message_add_text(struct message_writer *w, enum message_tag tag, const char *text)
{
    if (text != NULL)
        message_add_bytes(w, tag, text, strlen(text));
}

void message_add_number(struct message_writer *w, enum message_tag tag, int64_t value)
{
    char text[24];

    (void)snprintf(text, sizeof text, "%" PRId64, value);
    message_add_text(w, tag, text);
}

bool message_end(struct message_writer *w)
{
    size_t len = buf_unread(w->buf) - w->mark;

    if (w->failed || len > MESSAGE_BYTES_MAX) {
        w->buf->len = w->buf->start + w->mark;
        return false;
    }
    put_length(w->buf->data + w->buf->start + w->mark, len - LENGTH_BYTES);
    return true;
}

int message_open(const struct buf *b, struct message_reader *in, size_t *size)
{
    if (buf_unread(b) < LENGTH_BYTES)
        return 0;
    size_t len = get_length(buf_front(b));

    if (len > MESSAGE_BYTES_MAX - LENGTH_BYTES)
        return -EMSGSIZE;
    if (buf_unread(b) < LENGTH_BYTES + len)
        return 0;
    *in = (struct message_reader){ .at = buf_front(b) + LENGTH_BYTES, .left = len };
    *size = LENGTH_BYTES + len;
    return 1;
}

bool message_next(struct message_reader *in, struct message_field *f)
{
    if (in->left < FIELD_BYTES)
        return false;
    size_t len = get_length(in->at + 1);

    if (len > in->left - FIELD_BYTES)
        return false;
    *f = (struct message_field){ .tag = (enum message_tag)(unsigned char)in->at[0],
                                 .bytes = in->at + FIELD_BYTES,
                                 .len = len };
    in->at += FIELD_BYTES + len;
    in->left -= FIELD_BYTES + len;
    return true;
}

int64_t message_number(const struct message_field *f, int64_t otherwise)
{
    char text[24], *end = NULL;

    if (f->len == 0 || f->len >= sizeof text)
        return otherwise;
    memcpy(text, f->bytes, f->len);
    text[f->len] = '\0';
    errno = 0;
    int64_t value = strtoll(text, &end, 10);

    return errno != 0 || end != text + f->len ? otherwise : value;
}

char *message_text(const struct message_field *f)
{
    if (memchr(f->bytes, '\0', f->len) != NULL)
        return NULL;
    char *text = base_alloc(f->len + 1);

    memcpy(text, f->bytes, f->len);
    return text;
}

/* --- entries --- */

static const struct text_field {
    enum message_tag tag;
    size_t offset;
} texts[] = {
    { MESSAGE_CALLER, offsetof(struct ledger_entry, scope) },
    { MESSAGE_KEY, offsetof(struct ledger_entry, key) },
    { MESSAGE_CAUSE, offsetof(struct ledger_entry, cause) },
    { MESSAGE_METHOD, offsetof(struct ledger_entry, method) },
    { MESSAGE_PATH, offsetof(struct ledger_entry, path) },
    { MESSAGE_REQUEST_ID, offsetof(struct ledger_entry, request_id) },
    { MESSAGE_INSTANCE, offsetof(struct ledger_entry, instance) },
    { MESSAGE_HEAD, offsetof(struct ledger_entry, answer_head) },
    { MESSAGE_BY, offsetof(struct ledger_entry, resolved_by) },
    { MESSAGE_NOTE, offsetof(struct ledger_entry, note) },
}, bodies[] = {
    { MESSAGE_BODY, offsetof(struct ledger_entry, answer_body) },
    { MESSAGE_REQUEST_BODY, offsetof(struct ledger_entry, request_body) },
}, numbers[] = {
    { MESSAGE_CLAIMED, offsetof(struct ledger_entry, claimed_ms) },
    { MESSAGE_LEASE, offsetof(struct ledger_entry, lease_ms) },
    { MESSAGE_ENDED, offsetof(struct ledger_entry, ended_ms) },
};

static const struct text_field *find_field(const struct text_field *table, size_t count,
                                           enum message_tag tag)
{
    for (size_t i = 0; i < count; i++)
        if (table[i].tag == tag)
            return &table[i];
    return NULL;
}

static const void *at(const struct ledger_entry *e, const struct text_field *f)
{
    return (const char *)e + f->offset;
}

void message_add_entry(struct message_writer *w, const struct ledger_entry *e)
{
    message_add_bytes(w, MESSAGE_ENTRY, "", 0);
    message_add_text(w, MESSAGE_ID, e->id);
    message_add_number(w, MESSAGE_STATE, (int64_t)e->state);
    message_add_number(w, MESSAGE_CODE, e->status);
    if (e->has_fingerprint)
        message_add_bytes(w, MESSAGE_FINGERPRINT, e->fingerprint, sizeof e->fingerprint);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        message_add_text(w, texts[i].tag, *(char *const *)at(e, &texts[i]));
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        const struct ledger_bytes *b = at(e, &bodies[i]);

        if (b->data != NULL)
            message_add_bytes(w, bodies[i].tag, b->data, b->len);
    }
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        message_add_number(w, numbers[i].tag, *(const int64_t *)at(e, &numbers[i]));
}

/* A field that appears twice is malformed. */
static bool take_text(char **field, const struct message_field *f)
{
    if (*field != NULL)
        return false;
    *field = message_text(f);
    return *field != NULL;
}

static bool take_body(struct ledger_bytes *field, const struct message_field *f)
{
    if (field->data != NULL)
        return false;
    field->data = base_alloc(f->len + 1);
    memcpy(field->data, f->bytes, f->len);
    field->len = f->len;
    return true;
}

static bool take_id(struct ledger_entry *e, const struct message_field *f)
{
    char id[LEDGER_ID_BYTES] = "";

    if (f->len != LEDGER_ID_BYTES - 1)
        return false;
    memcpy(id, f->bytes, f->len);
    memcpy(e->id, id, sizeof id);
    return ledger_id_valid(id);
}

static bool take_field(struct ledger_entry *e, const struct message_field *f)
{
    const struct text_field *known;

    if ((known = find_field(texts, ARRAY_LEN(texts), f->tag)) != NULL)
        return take_text((char **)(void *)((char *)e + known->offset), f);
    if ((known = find_field(bodies, ARRAY_LEN(bodies), f->tag)) != NULL)
        return take_body((struct ledger_bytes *)(void *)((char *)e + known->offset), f);
    if ((known = find_field(numbers, ARRAY_LEN(numbers), f->tag)) != NULL) {
        *(int64_t *)(void *)((char *)e + known->offset) = message_number(f, 0);
        return true;
    }
    switch (f->tag) {
    case MESSAGE_ID:
        return take_id(e, f);
    case MESSAGE_STATE: {
        int64_t state = message_number(f, -1);

        e->state = (enum ledger_state)state;
        return state >= 0 && state < LEDGER_STATES;
    }
    case MESSAGE_CODE:
        e->status = (int)message_number(f, 0);
        return true;
    case MESSAGE_FINGERPRINT:
        if (f->len != sizeof e->fingerprint)
            return false;
        memcpy(e->fingerprint, f->bytes, f->len);
        e->has_fingerprint = true;
        return true;
    default: /* of a later version: ignored */
        return true;
    }
}

/* Whether the fields that every entry has are there. */
static bool is_whole(struct ledger_entry *e)
{
    return e->id[0] != '\0' && e->scope != NULL && e->cause != NULL && e->method != NULL &&
           e->path != NULL && e->request_id != NULL && e->instance != NULL;
}

bool message_read_entry(struct message_reader *in, struct ledger_entry *e)
{
    struct message_field f;
    bool good = true;

    *e = (struct ledger_entry){ .key = NULL };
    while (good && message_next(in, &f))
        good = take_field(e, &f);
    if (good && in->left == 0 && is_whole(e))
        return true;
    ledger_entry_done(e);
    return false;
}

/* Asks a running proxy about its ledger: sends one request, then reads entries up to the end
 * message. */
#include "ledger/control_client.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include "ledger/message.h"

/* For each read and write: the ledger may be busy with a batch, and its disk slow. */
#define TIMEOUT_S 30
#define READ_BYTES 65536

int control_client_open(struct control_client *c, const char *path, struct buf *error)
{
    const struct timeval timeout = { .tv_sec = TIMEOUT_S };
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    int err = 0;

    c->fd = -1;
    if (strlen(path) >= sizeof addr.sun_path)
        return -ENOENT;
    memcpy(addr.sun_path, path, strlen(path) + 1);
    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (const struct sockaddr *)&addr, sizeof addr) != 0)
        err = errno == ECONNREFUSED ? -ENOENT : -errno;
    if (err != 0 && err != -ENOENT)
        (void)buf_addf(error, "%s: %s", path, strerrordesc_np(-err));
    if (err != 0) {
        control_client_close(c);
        return err;
    }
    (void)setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    (void)setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
    return 0;
}

void control_client_close(struct control_client *c)
{
    if (c->fd >= 0)
        (void)close(c->fd);
    c->fd = -1;
}

static enum store_result lost(struct buf *error)
{
    (void)buf_addf(error, "the proxy that has the ledger does not answer: %s",
                   errno == 0 ? "it closed the connection" : strerrordesc_np(errno));
    return STORE_LOST;
}

static bool send_all(struct control_client *c, struct buf *out)
{
    while (buf_unread(out) > 0) {
        ssize_t n = send(c->fd, buf_front(out), buf_unread(out), MSG_NOSIGNAL);

        if (n < 0 && errno != EINTR)
            return false;
        buf_consume(out, n > 0 ? (size_t)n : 0);
    }
    return true;
}

/* Reads until a message is complete. */
static bool receive(struct control_client *c, struct buf *in, struct message_reader *message,
                    size_t *size)
{
    int whole;

    while ((whole = message_open(in, message, size)) == 0) {
        char *room = buf_reserve(in, READ_BYTES);
        ssize_t n = room == NULL ? 0 : recv(c->fd, room, READ_BYTES, 0);

        if (n == 0)
            errno = 0;
        if (n == 0 || (n < 0 && errno != EINTR))
            return false;
        buf_commit(in, n > 0 ? (size_t)n : 0);
    }
    errno = EPROTO;
    return whole > 0;
}

/* The answer as read so far. */
struct reply {
    bool (*on_entry)(void *arg, struct ledger_entry *e);
    void *arg;
    bool stopped;
    int64_t result, resolved;
    struct buf *text;
};

static void read_end(struct reply *r, struct message_reader *in,
                     const struct message_field *first)
{
    struct message_field f;

    r->result = message_number(first, STORE_LOST);
    while (message_next(in, &f))
        if (f.tag == MESSAGE_RESULT)
            r->resolved = message_number(&f, 0);
        else if (f.tag == MESSAGE_TEXT && buf_add(r->text, f.bytes, f.len) != 0)
            r->result = STORE_LOST;
}

/* Reads one message. False: it is malformed. */
static bool read_message(struct reply *r, struct message_reader *in, bool *at_end)
{
    struct ledger_entry e;
    struct message_field f;

    *at_end = false;
    if (!message_next(in, &f))
        return false;
    if (f.tag == MESSAGE_END) {
        read_end(r, in, &f);
        *at_end = true;
        return true;
    }
    if (f.tag != MESSAGE_ENTRY || !message_read_entry(in, &e))
        return false;
    if (!r->stopped)
        r->stopped = !r->on_entry(r->arg, &e);
    ledger_entry_done(&e);
    return true;
}

static enum store_result exchange(struct control_client *c, struct buf *out, struct reply *r,
                                  struct buf *error)
{
    struct buf in;
    bool good = send_all(c, out), at_end = false;

    buf_init(&in, 2 * (size_t)MESSAGE_BYTES_MAX);
    while (good && !at_end) {
        struct message_reader message;
        size_t size = 0;

        good = receive(c, &in, &message, &size) && read_message(r, &message, &at_end);
        if (good)
            buf_consume(&in, size);
    }
    buf_done(&in);
    return good ? (enum store_result)r->result : lost(error);
}

struct portion {
    const struct store_list *what;
    size_t count, total;
    char last[LEDGER_ID_BYTES];
};

static bool count_entry(void *arg, struct ledger_entry *e)
{
    struct portion *p = arg;

    p->count++;
    p->total++;
    memcpy(p->last, e->id, sizeof p->last);
    return p->what->on_entry(p->what->arg, e) &&
           (p->what->at_most == 0 || p->total < p->what->at_most);
}

static bool ask_list(struct buf *out, const struct store_list *what, const char *after)
{
    struct message_writer w = message_begin(out);

    message_add_bytes(&w, MESSAGE_OP, &(char){ MESSAGE_LIST }, 1);
    message_add_text(&w, MESSAGE_ID, what->id);
    message_add_text(&w, MESSAGE_AFTER, after);
    message_add_text(&w, MESSAGE_CALLER, what->caller);
    message_add_number(&w, MESSAGE_STATES, what->states);
    message_add_number(&w, MESSAGE_SINCE, what->since_ms);
    return message_end(&w);
}

enum store_result control_client_list(struct control_client *c, const struct store_list *what,
                                      struct buf *error)
{
    struct portion p = { .what = what };
    struct reply r = { .on_entry = count_entry, .arg = &p, .text = error };
    enum store_result result = STORE_OK;
    struct buf out;

    (void)snprintf(p.last, sizeof p.last, "%s", what->after == NULL ? "" : what->after);
    buf_init(&out, MESSAGE_BYTES_MAX);
    do {
        p.count = 0;
        if (!ask_list(&out, what, p.last))
            abort();
        result = exchange(c, &out, &r, error);
    } while (result == STORE_OK && !r.stopped && p.count == MESSAGE_ENTRIES_MAX);
    buf_done(&out);
    return result;
}

static bool keep_entry(void *arg, struct ledger_entry *e)
{
    struct store_resolve *r = arg;

    ledger_entry_done(&r->entry);
    r->entry = *e;
    *e = (struct ledger_entry){ .key = NULL };
    return true;
}

enum store_result control_client_resolve(struct control_client *c, struct store_resolve *r,
                                         struct buf *error)
{
    struct reply reply = { .on_entry = keep_entry, .arg = r, .text = error };
    struct buf out;

    r->entry = (struct ledger_entry){ .key = NULL };
    buf_init(&out, MESSAGE_BYTES_MAX);
    struct message_writer w = message_begin(&out);

    message_add_bytes(&w, MESSAGE_OP, &(char){ MESSAGE_RESOLVE }, 1);
    message_add_text(&w, MESSAGE_ID, r->id);
    if (r->executed)
        message_add_bytes(&w, MESSAGE_EXECUTED, "", 0);
    if (r->force)
        message_add_bytes(&w, MESSAGE_FORCE, "", 0);
    message_add_number(&w, MESSAGE_CODE, r->status);
    message_add_text(&w, MESSAGE_HEAD, r->head);
    if (r->body != NULL && r->body->data != NULL)
        message_add_bytes(&w, MESSAGE_BODY, r->body->data, r->body->len);
    message_add_text(&w, MESSAGE_NOTE, r->note);
    enum store_result result = STORE_REFUSED;

    if (message_end(&w))
        result = exchange(c, &out, &reply, error);
    else
        (void)buf_addf(error, "the body is too long");
    r->result = (enum store_resolved)reply.resolved;
    buf_done(&out);
    return result;
}

enum store_result control_client_status(struct control_client *c, struct buf *out,
                                        struct buf *error)
{
    struct store_list nothing = { .states = 0 };
    struct portion p = { .what = &nothing };
    struct reply r = { .on_entry = count_entry, .arg = &p, .stopped = true, .text = out };
    struct buf request;

    buf_init(&request, 64);
    struct message_writer w = message_begin(&request);

    message_add_bytes(&w, MESSAGE_OP, &(char){ MESSAGE_STATUS }, 1);
    if (!message_end(&w))
        abort();
    enum store_result result = exchange(c, &request, &r, error);

    buf_done(&request);
    return result;
}

/* Serves the operator's command: one request at a time on each of a few connections.
 *
 *   accept -> read a whole message -> carry it out -> write the result -> read ...
 *
 * A connection is closed when the peer closes it, after 10 s of silence, or after a malformed
 * message. */
#include "ledger/control.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "ledger/message.h"

#define SILENCE_MS 10000
#define READ_BYTES 65536

struct control_conn {
    struct control *control;
    struct loop_io io;
    struct loop_timer timer;
    unsigned uid;
    struct buf in, out;
};

char *control_path(const char *url)
{
    static const char scheme[] = "sqlite:";
    char *path = NULL;

    if (strncmp(url, scheme, sizeof scheme - 1) != 0)
        return NULL;
    if (asprintf(&path, "%s.sock", url + sizeof scheme - 1) < 0)
        abort();
    return path;
}

static void close_conn(struct control_conn *c)
{
    for (size_t i = 0; i < CONTROL_CONNS_MAX; i++)
        if (c->control->conn[i] == c)
            c->control->conn[i] = NULL;
    loop_timer_clear(c->control->loop, &c->timer);
    loop_io_stop(c->control->loop, &c->io);
    (void)close(c->io.fd);
    buf_done(&c->in);
    buf_done(&c->out);
    free(c);
}

static void on_silence(struct loop_timer *t)
{
    close_conn(CONTAINER_OF(t, struct control_conn, timer));
}

/* --- requests --- */

struct request {
    enum message_op op;
    char *id, *after, *caller, *note, *head;
    struct ledger_bytes body; /* borrowed */
    int64_t states, since_ms, status;
    bool executed, force;
};

static void request_done(struct request *r)
{
    free(r->id);
    free(r->after);
    free(r->caller);
    free(r->note);
    free(r->head);
}

static void take(char **field, const struct message_field *f)
{
    free(*field);
    *field = message_text(f);
}

static void read_field(struct request *r, const struct message_field *f)
{
    switch (f->tag) {
    case MESSAGE_OP:
        r->op = f->len == 1 ? (enum message_op)f->bytes[0] : (enum message_op)0;
        break;
    case MESSAGE_ID:
        take(&r->id, f);
        break;
    case MESSAGE_AFTER:
        take(&r->after, f);
        break;
    case MESSAGE_CALLER:
        take(&r->caller, f);
        break;
    case MESSAGE_NOTE:
        take(&r->note, f);
        break;
    case MESSAGE_HEAD:
        take(&r->head, f);
        break;
    case MESSAGE_BODY:
        r->body = (struct ledger_bytes){ .data = (char *)f->bytes, .len = f->len };
        break;
    case MESSAGE_STATES:
        r->states = message_number(f, 0);
        break;
    case MESSAGE_SINCE:
        r->since_ms = message_number(f, 0);
        break;
    case MESSAGE_CODE:
        r->status = message_number(f, 0);
        break;
    case MESSAGE_EXECUTED:
        r->executed = true;
        break;
    case MESSAGE_FORCE:
        r->force = true;
        break;
    default:
        break;
    }
}

struct listing {
    struct buf *out;
    bool failed;
};

static bool on_entry(void *arg, const struct ledger_entry *e)
{
    struct listing *l = arg;
    struct message_writer w = message_begin(l->out);

    message_add_entry(&w, e);
    l->failed = !message_end(&w);
    return !l->failed;
}

static void end_answer(struct control_conn *c, enum store_result result, int64_t resolved,
                       const char *text)
{
    struct message_writer w = message_begin(&c->out);

    message_add_number(&w, MESSAGE_END, (int64_t)result);
    message_add_number(&w, MESSAGE_RESULT, resolved);
    message_add_text(&w, MESSAGE_TEXT, text);
    if (!message_end(&w))
        buf_clear(&c->out); /* then nothing is answered, and the connection is closed */
}

static void do_list(struct control_conn *c, const struct request *r, struct buf *error)
{
    const struct control_user *user = c->control->user;
    struct listing listing = { .out = &c->out };
    enum store_result result = user->list(user->arg,
                                          &(struct store_list){ .states = (unsigned)r->states,
                                                                .since_ms = r->since_ms,
                                                                .caller = r->caller,
                                                                .id = r->id,
                                                                .after = r->after,
                                                                .at_most = MESSAGE_ENTRIES_MAX,
                                                                .on_entry = on_entry,
                                                                .arg = &listing },
                                          error);

    if (listing.failed)
        buf_clear(&c->out);
    end_answer(c, listing.failed ? STORE_BUSY : result, 0,
               listing.failed ? "the answer is too long" : buf_text(error));
}

static void do_resolve(struct control_conn *c, const struct request *r, struct buf *error)
{
    const struct control_user *user = c->control->user;
    char by[32];

    (void)snprintf(by, sizeof by, "uid %u", c->uid);
    struct store_resolve what = { .id = r->id,
                                  .executed = r->executed,
                                  .force = r->force,
                                  .status = (int)base_max(0, base_min(r->status, 999)),
                                  .head = r->head,
                                  .body = &r->body,
                                  .by = by,
                                  .note = r->note == NULL ? "" : r->note,
                                  .now_ms = clock_wall_ms() };
    enum store_result result = user->resolve(user->arg, &what, error);

    if (result == STORE_OK && what.entry.id[0] != '\0') {
        struct listing listing = { .out = &c->out };

        (void)on_entry(&listing, &what.entry);
    }
    ledger_entry_done(&what.entry);
    end_answer(c, result, (int64_t)what.result, buf_text(error));
}

static void do_request(struct control_conn *c, const struct request *r)
{
    struct buf text;

    buf_init(&text, 8192);
    switch (r->op) {
    case MESSAGE_LIST:
        do_list(c, r, &text);
        break;
    case MESSAGE_RESOLVE:
        if (r->id != NULL && ledger_id_valid(r->id))
            do_resolve(c, r, &text);
        else
            end_answer(c, STORE_OK, STORE_NO_SUCH, "");
        break;
    case MESSAGE_STATUS:
        c->control->user->status(c->control->user->arg, &text);
        end_answer(c, STORE_OK, 0, buf_text(&text));
        break;
    default:
        end_answer(c, STORE_REFUSED, 0, "this proxy does not know what is asked for");
        break;
    }
    buf_done(&text);
}

/* --- the connection --- */

/* False: the connection has ended. */
static bool write_out(struct control_conn *c)
{
    while (buf_unread(&c->out) > 0) {
        ssize_t n = send(c->io.fd, buf_front(&c->out), buf_unread(&c->out),
                         MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0)
            return errno == EAGAIN || errno == EINTR;
        buf_consume(&c->out, (size_t)n);
    }
    return true;
}

static bool read_in(struct control_conn *c)
{
    char *room = buf_reserve(&c->in, READ_BYTES);
    ssize_t n = room == NULL ? 0 : recv(c->io.fd, room, READ_BYTES, MSG_DONTWAIT);

    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    if (n > 0)
        buf_commit(&c->in, (size_t)n);
    return n > 0;
}

/* Carries out the next request, if it is complete and the one before is answered. */
static bool answer(struct control_conn *c)
{
    struct request r = { .op = (enum message_op)0 };
    struct message_field f;
    struct message_reader in;
    size_t size = 0;
    int whole = message_open(&c->in, &in, &size);

    if (whole < 0)
        return false;
    if (whole == 0)
        return true;
    while (message_next(&in, &f))
        read_field(&r, &f);
    bool good = in.left == 0;

    if (good)
        do_request(c, &r);
    request_done(&r);
    buf_consume(&c->in, size);
    return good && buf_unread(&c->out) > 0;
}

static void on_io(struct loop_io *io, uint32_t events)
{
    struct control_conn *c = CONTAINER_OF(io, struct control_conn, io);
    bool good = write_out(c);

    if (good && buf_unread(&c->out) == 0 && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0)
        good = read_in(c);
    if (good && buf_unread(&c->out) == 0)
        good = answer(c) && write_out(c);
    loop_timer_set(c->control->loop, &c->timer, clock_ms() + SILENCE_MS);
    if (!good ||
        loop_io_start(c->control->loop, io, buf_unread(&c->out) > 0 ? EPOLLOUT : EPOLLIN) != 0)
        close_conn(c);
}

static void on_accepted(void *arg, const struct listener *from, int fd,
                        const struct sockaddr *addr, socklen_t addr_len)
{
    struct control *control = arg;
    struct ucred peer = { .uid = 0 };
    socklen_t len = sizeof peer;
    size_t place = 0;

    (void)from;
    (void)addr;
    (void)addr_len;
    while (place < CONTROL_CONNS_MAX && control->conn[place] != NULL)
        place++;
    if (place == CONTROL_CONNS_MAX ||
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0) {
        (void)close(fd);
        return;
    }
    struct control_conn *c = base_alloc(sizeof *c);

    c->control = control;
    c->uid = peer.uid;
    c->io = (struct loop_io){ .fd = fd, .on_event = on_io };
    c->timer.on_due = on_silence;
    buf_init(&c->in, MESSAGE_BYTES_MAX + READ_BYTES);
    buf_init(&c->out, 2 * (size_t)MESSAGE_BYTES_MAX);
    control->conn[place] = c;
    loop_timer_set(control->loop, &c->timer, clock_ms() + SILENCE_MS);
    if (loop_io_start(control->loop, &c->io, EPOLLIN) != 0)
        close_conn(c);
}

int control_open(struct control *c, struct loop *l, const char *path,
                 const struct control_user *user, struct buf *error)
{
    *c = (struct control){ .loop = l, .user = user };
    int err = listeners_add(
        &c->listeners,
        &(struct listener_options){ .address = path, .unix_path = path, .socket_mode = 0600 },
        error);

    if (err == 0)
        err = acceptor_init(&c->acceptor, l,
                            &(struct acceptor_options){ .listeners = c->listeners.item,
                                                        .count = c->listeners.count,
                                                        .batch = 1,
                                                        .on_accepted = on_accepted,
                                                        .arg = c });
    return err;
}

void control_done(struct control *c)
{
    if (c->loop == NULL)
        return;
    for (size_t i = 0; i < CONTROL_CONNS_MAX; i++)
        if (c->conn[i] != NULL)
            close_conn(c->conn[i]);
    acceptor_done(&c->acceptor);
    listeners_done(&c->listeners);
    c->loop = NULL;
}

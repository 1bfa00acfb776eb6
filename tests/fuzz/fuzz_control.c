/* Any bytes on the ledger's control socket: as what a command asks of the proxy, and as what a proxy
 * answers to the command. Both ends are the program's own; the store behind them is made up here. */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "ledger/control.h"
#include "ledger/control_client.h"
#include "ledger/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ID "019ac3f0-0000-7000-8000-000000000001"

/* --- the ledger behind the socket ----------------------------------------------------------- */

static struct ledger_entry entry_of(const char *scope, const char *note)
{
    return (struct ledger_entry){ .id = ID,
                                  .state = LEDGER_UNKNOWN,
                                  .scope = (char *)(uintptr_t)scope,
                                  .cause = (char *)"timeout",
                                  .method = (char *)"POST",
                                  .path = (char *)"/v0/x",
                                  .request_id = (char *)"r",
                                  .instance = (char *)"i",
                                  .note = (char *)(uintptr_t)note,
                                  .answer_body = { .data = (char *)"", .len = 0 } };
}

static enum store_result list(void *arg, const struct store_list *what, struct buf *error)
{
    (void)arg;
    (void)error;
    for (int i = 0; i < 3; i++) {
        struct ledger_entry e =
            entry_of(what->caller == NULL ? "" : what->caller, i == 0 ? what->after : what->id);

        if (!what->on_entry(what->arg, &e))
            break;
    }
    return STORE_OK;
}

static char *copy(const char *text)
{
    char *c = strdup(text);

    assert(c != NULL);
    return c;
}

static enum store_result resolve(void *arg, struct store_resolve *r, struct buf *error)
{
    (void)arg;
    (void)error;
    assert(ledger_id_valid(r->id) && r->note != NULL && r->by != NULL);
    assert(r->status >= 0 && r->status <= 999);
    assert(r->body->data != NULL || r->body->len == 0);
    r->entry = entry_of("", NULL);
    r->entry.scope = copy("");
    r->entry.cause = copy("");
    r->entry.method = copy("POST");
    r->entry.path = copy("/");
    r->entry.request_id = copy("r");
    r->entry.instance = copy("i");
    r->entry.answer_body.data = NULL;
    r->result = STORE_RESOLVED;
    return STORE_OK;
}

static void status(void *arg, struct buf *out)
{
    (void)arg;
    (void)!buf_add_str(out, "sqlite, up\n");
}

static const struct control_user user = { .list = list, .resolve = resolve, .status = status };

/* --- as a request --------------------------------------------------------------------------- */

static struct side {
    struct loop loop;
    struct control control;
    char path[64];
    int fd; /* of whoever asks */
    struct buf answer;
} side;

/* What the proxy says is whole and sound, whatever it was asked. */
static void check_answer(struct buf *answer)
{
    struct message_reader in;
    struct message_field f;
    size_t size = 0;

    while (message_open(answer, &in, &size) > 0) {
        struct ledger_entry e;

        if (!message_next(&in, &f) || (f.tag != MESSAGE_ENTRY && f.tag != MESSAGE_END))
            abort();
        if (f.tag == MESSAGE_ENTRY) {
            if (!message_read_entry(&in, &e) || strcmp(e.id, ID) != 0)
                abort();
            ledger_entry_done(&e);
        }
        buf_consume(answer, size);
    }
}

/* Reads what comes, until the proxy has closed. */
static bool on_turn(void *arg)
{
    struct side *s = arg;
    char *room = buf_reserve(&s->answer, 65536);
    ssize_t n = room == NULL ? 0 : recv(s->fd, room, 65536, MSG_DONTWAIT);

    if (n > 0) {
        buf_commit(&s->answer, (size_t)n);
        check_answer(&s->answer);
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        loop_stop(&s->loop);
    }
    return true;
}

/* Removes the socket's name, too. */
static void side_end(void)
{
    control_done(&side.control);
    loop_done(&side.loop);
}

static void side_start(void)
{
    struct buf error;

    buf_init(&error, 4096);
    (void)snprintf(side.path, sizeof side.path, "/tmp/fuzz_control-%d", (int)getpid());
    if (loop_init(&side.loop) != 0 ||
        control_open(&side.control, &side.loop, side.path, &user, &error) != 0)
        abort();
    side.loop.on_turn = on_turn;
    side.loop.on_turn_arg = &side;
    buf_done(&error);
    (void)atexit(side_end);
}

static void ask(const uint8_t *data, size_t size)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };

    memcpy(addr.sun_path, side.path, strlen(side.path));
    side.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (side.fd < 0 || connect(side.fd, (struct sockaddr *)&addr, sizeof addr) != 0 ||
        send(side.fd, data, size, MSG_NOSIGNAL) != (ssize_t)size)
        abort();
    (void)shutdown(side.fd, SHUT_WR);
    buf_init(&side.answer, 1 << 24);
    side.loop.stopping = false;
    loop_run(&side.loop);
    buf_done(&side.answer);
    (void)close(side.fd);
}

/* --- as an answer --------------------------------------------------------------------------- */

/* An entry that was taken in can be used. */
static bool on_entry(void *arg, const struct ledger_entry *e)
{
    size_t *left = arg;

    if (!ledger_id_valid(e->id) || e->state < 0 || e->state >= LEDGER_STATES ||
        strlen(e->scope) + strlen(e->cause) + strlen(e->method) + strlen(e->path) +
                strlen(e->request_id) + strlen(e->instance) >
            1 << 20)
        abort();
    return (*left)-- > 1;
}

/* As if a proxy had said all of it at once and gone. */
static void answer(const uint8_t *data, size_t size, bool to_resolve)
{
    struct store_resolve r = { .id = ID, .executed = true, .note = "" };
    struct control_client c = { .fd = -1 };
    struct buf error;
    size_t left = 1000;
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0 ||
        send(pair[1], data, size, MSG_NOSIGNAL) != (ssize_t)size)
        abort();
    (void)shutdown(pair[1], SHUT_WR);
    c.fd = pair[0];
    buf_init(&error, 4096);
    if (to_resolve)
        (void)control_client_resolve(&c, &r, &error);
    else
        (void)control_client_list(
            &c, &(struct store_list){ .on_entry = on_entry, .arg = &left }, &error);
    ledger_entry_done(&r.entry);
    buf_done(&error);
    control_client_close(&c);
    (void)close(pair[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (side.path[0] == '\0')
        side_start();
    ask(data, size);
    answer(data, size, false);
    answer(data, size, true);
    return 0;
}

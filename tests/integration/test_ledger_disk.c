/* A ledger whose disk is full, or fails: nothing is sent without being recorded, requests
 * without a key are served, and a caller is told what it may repeat. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#include "store.h"

/* --- the disk ----------------------------------------------------------------------------- */

/* Shared with the program; see failing_disk.c. */
struct disk {
    int fd;
    _Atomic int *errors;
    char file[64];
    const char *env[3];
};

static void disk_init(struct disk *d)
{
    *d = (struct disk){ .fd = memfd_create("disk", MFD_CLOEXEC) };
    assert_true(d->fd >= 0);
    assert_int_equal(ftruncate(d->fd, 4 * sizeof *d->errors), 0);
    void *map = mmap(NULL, 4 * sizeof *d->errors, PROT_READ | PROT_WRITE, MAP_SHARED, d->fd, 0);
    assert_true(map != MAP_FAILED);
    d->errors = map;
    (void)snprintf(d->file, sizeof d->file, "FAILING_DISK=/proc/%d/fd/%d", (int)getpid(),
                   d->fd);
    d->env[0] = "LD_PRELOAD=" FAILING_DISK;
    d->env[1] = d->file;
}

static void disk_done(struct disk *d)
{
    (void)munmap((void *)(uintptr_t)d->errors, 4 * sizeof *d->errors);
    (void)close(d->fd);
}

#define DISK(name)                                        \
    struct disk name __attribute__((cleanup(disk_done))); \
    disk_init(&(name))

static void set_writes(struct disk *d, int error)
{
    atomic_store(&d->errors[0], error);
}

static void set_syncs(struct disk *d, int error)
{
    atomic_store(&d->errors[1], error);
}

static void hold_syncs(struct disk *d, bool hold)
{
    atomic_store(&d->errors[2], hold);
}

static bool a_sync_waits(const struct disk *d)
{
    int64_t until_ms = now_ms() + SOON_MS;

    while (atomic_load(&d->errors[3]) == 0 && now_ms() < until_ms)
        (void)poll(NULL, 0, 1);
    return atomic_load(&d->errors[3]) != 0;
}

/* --- the API ------------------------------------------------------------------------------ */

static _Atomic unsigned executions;
static struct disk *fails_in_between; /* it fills while the API carries it out */

static void answer(struct peer_conn *c, const struct peer_request *r, void *arg)
{
    (void)r;
    (void)arg;
    ++executions;
    if (fails_in_between != NULL)
        set_writes(fails_in_between, ENOSPC);
    (void)peer_answer(c, 201, "Content-Type: application/json\r\n", "{\"paid\":1}");
}

static void begin(struct world *w, const struct store *s, const struct disk *d)
{
    executions = 0;
    fails_in_between = NULL;
    world_start(
        w, &(struct world_options){ .settings = s->settings, .answer = answer, .env = d->env });
}

static void assert_down(const struct world *w, const char *key, const char *says)
{
    struct answer a = { 0 };
    char value[128];

    store_pay(w, key, &a);
    assert_problem(&a, 503, "proxy", "proxy_internal_error");
    json_member(&a.body, "type", value, sizeof value);
    assert_string_equal(value, "urn:oneshot-proxy:ledger-unavailable");
    json_member(&a.body, "retryable", value, sizeof value);
    assert_string_equal(value, "true");
    assert_contains(bytes_text(&a.body), says);
    answer_free(&a);
}

static void assert_page_says(const struct world *w, const char *says)
{
    struct answer a = { 0 };

    http_get(proxy_admin_port(w->proxy), "/", &a);
    assert_contains(bytes_text(&a.body), says);
    answer_free(&a);
}

/* Without a key. */
static int asked(const struct world *w)
{
    struct answer a = { 0 };

    http_call(w->port, "GET", "/chains", NULL, NULL, &a);
    int status = a.status;

    answer_free(&a);
    return status;
}

/* Until the ledger has noticed that there is room again. */
static void pay_until(const struct world *w, const char *key, int status)
{
    int64_t until_ms = now_ms() + SOON_MS;
    int got;

    while ((got = store_pay_status(w, key)) == 503 && now_ms() < until_ms)
        ;
    assert_int_equal(got, status);
}

/* --- full --------------------------------------------------------------------------------- */

static void a_full_disk_records_nothing_and_so_nothing_is_sent(void **state)
{
    (void)state;
    DISK(d);
    STORE(s);
    store_make(&s, "admin.address = 127.0.0.1:0\n");
    WORLD(w);
    begin(&w, &s, &d);
    assert_int_equal(store_pay_status(&w, "before"), 201);
    set_writes(&d, ENOSPC);
    assert_down(&w, "full", "full or cannot be written");
    assert_true(proxy_log_wait(w.proxy, "event=ledger_down", 1, SOON_MS));
    assert_page_says(&w, ">The ledger is down: what it records is refused</h2>");
    assert_int_equal(executions, 1);
    assert_int_equal(asked(&w), 201);
    assert_int_equal(executions, 2);
    set_writes(&d, 0);
    pay_until(&w, "full", 201);
    assert_true(proxy_log_wait(w.proxy, "event=ledger_up", 1, SOON_MS));
    assert_int_equal(store_pay_status(&w, "full"), 201);
    assert_int_equal(store_pay_status(&w, "before"), 201);
    assert_int_equal(executions, 3);
    world_end(&w);
}

/* The caller has its answer; it is written down when there is room, and replayed then. */
static void an_answer_waits_for_room_on_the_disk(void **state)
{
    (void)state;
    DISK(d);
    STORE(s);
    store_make(&s, "");
    WORLD(w);
    begin(&w, &s, &d);
    fails_in_between = &d;
    assert_int_equal(store_pay_status(&w, "k"), 201);
    assert_true(proxy_log_wait(w.proxy, "event=ledger_down", 1, SOON_MS));
    assert_down(&w, "k", "ledger");
    fails_in_between = NULL;
    set_writes(&d, 0);
    assert_true(proxy_log_wait(w.proxy, "event=ledger_up", 1, SOON_MS));
    pay_until(&w, "k", 201);
    assert_int_equal(executions, 1);
    world_end(&w);
}

/* --- failing ------------------------------------------------------------------------------ */

/* What a failed write or fsync has left on the disk is not known: the store is not used any
 * more before a restart, which reads it anew. */
static void a_disk_that_fails_ends_the_ledger_until_a_restart(void **state)
{
    (void)state;
    for (int syncs = 0; syncs < 2; syncs++) {
        DISK(d);
        STORE(s);
        store_make(&s, "");
        WORLD(w);
        begin(&w, &s, &d);
        assert_int_equal(store_pay_status(&w, "before"), 201);
        assert_int_equal(store_pay_status(&w, "before"),
                         201); /* so its answer is in the store */
        (syncs != 0 ? set_syncs : set_writes)(&d, EIO);
        assert_down(&w, "k", "not used again before a restart");
        (syncs != 0 ? set_syncs : set_writes)(&d, 0);
        assert_down(&w, "k", "not used again before a restart");
        assert_true(proxy_log_wait(w.proxy, "until=restart", 1, SOON_MS));
        assert_int_equal(asked(&w), 201);
        assert_int_equal(executions, 2);
        proxy_signal(w.proxy, SIGTERM);
        assert_int_equal(proxy_wait_exit(w.proxy, SOON_MS), 0);
        proxy_free(w.proxy);
        w.proxy = NULL;
        world_proxy(&w, &(struct world_options){ .settings = s.settings });
        assert_int_equal(store_pay_status(&w, "before"), 201);
        assert_int_equal(executions, 2);
        /* Whether the claim was left behind is not known: then it is told so, and never
         * sent. */
        int again = store_pay_status(&w, "k");
        assert_true(again == 201 || again == 409);
        assert_int_equal(executions, again == 201 ? 3 : 2);
        world_end(&w);
    }
}

/* --- slow --------------------------------------------------------------------------------- */

/* Refuses, and ends in the middle of it while the key is being freed on a slow disk. */
static void serve_half_a_refusal(struct peer_conn *c, void *arg)
{
    struct disk *d = arg;

    if (peer_read_request(c) == NULL)
        return;
    hold_syncs(d, true);
    (void)peer_puts(c, "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\n"
                       "Content-Length: 10\r\n\r\nhalf ");
    assert_true(a_sync_waits(d));
    peer_close(c);
}

static void a_refusal_that_is_cut_while_its_key_is_being_freed_is_given(void **state)
{
    (void)state;
    DISK(d);
    STORE(s);
    store_make(&s, "ledger.store_timeout = 1m\n");
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .settings = s.settings,
                                             .serve = serve_half_a_refusal,
                                             .arg = &d,
                                             .env = d.env });
    client_open(&c, w.port);
    client_puts(&c, "POST /methods/x/execute HTTP/1.1\r\nHost: localhost\r\n"
                    "Idempotency-Key: k\r\nContent-Length: 2\r\n\r\n{}");
    assert_true(proxy_log_wait(w.proxy, "event=upstream_failed", 1, SOON_MS));
    hold_syncs(&d, false);
    client_read(&c, &a, false, SOON_MS);
    assert_int_equal(a.status, 429);
    assert_string_equal(answer_header(&a, "Retry-After"), "1");
    assert_string_equal(bytes_text(&a.body), "half ");
    assert_true(client_closed(&c, SOON_MS));
    assert_true(proxy_log_wait(
        w.proxy, "event=access status=429 outcome=released aborted=upstream", 1, SOON_MS));
    client_close(&c);
    answer_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_full_disk_records_nothing_and_so_nothing_is_sent),
        TEST(an_answer_waits_for_room_on_the_disk),
        TEST(a_disk_that_fails_ends_the_ledger_until_a_restart),
        TEST(a_refusal_that_is_cut_while_its_key_is_being_freed_is_given),
    };
    return RUN_TESTS(tests);
}

/* The freeze file, against the running program: what it stops and when, and the two commands
 * that create and remove it. */
#include <unistd.h>

#include "control.h"
#include "harness.h"
#include "later.h"

#define U "6f1c0de0-aaaa-4bbb-8ccc-dddddddddddd"
#define EXECUTE "/methods/" U "/execute"
#define SETTINGS                                         \
    "admin.address = 127.0.0.1:0\nprocess.workers = 1\n" \
    "classes.table = 1shot\nfreeze.file = "

/* A directory for the freeze file, and the settings that name it. */
struct place {
    char dir[64], file[96], settings[512], ini[96];
};

static void place_make(struct place *p)
{
    (void)snprintf(p->dir, sizeof p->dir, "/tmp/freeze-test-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    (void)snprintf(p->file, sizeof p->file, "%s/freeze", p->dir);
    (void)snprintf(p->ini, sizeof p->ini, "%s/ini", p->dir);
    (void)snprintf(p->settings, sizeof p->settings, SETTINGS "%s", p->file);
    char ini[256];
    /* What is wrong elsewhere must not keep anybody from freezing. */
    (void)snprintf(ini, sizeof ini, "[freeze]\nfile = %s\n[token]\nclient_id_file = /none\n",
                   p->file);
    write_file(p->ini, ini);
}

static void place_remove(struct place *p)
{
    (void)unlink(p->file);
    (void)unlink(p->ini);
    (void)rmdir(p->dir);
}

#define PLACE(name)                                           \
    struct place name __attribute__((cleanup(place_remove))); \
    place_make(&(name))

static void command(struct place *p, const char *name, const char *reason, int code)
{
    const char *const argv[] = { "--config", p->ini, name, reason, NULL };
    struct run r = run_proxy(argv, NULL);

    if (r.code != code)
        fail_msg("%s: %d %s %s", name, r.code, bytes_text(&r.out), bytes_text(&r.err));
    run_free(&r);
}

static void freeze_now(struct world *w, struct place *p)
{
    size_t before = proxy_log_count(w->proxy, "event=frozen");
    command(p, "freeze", "incident-7", 0);
    assert_true(
        proxy_log_wait(w->proxy, "event=frozen reason=incident-7", before + 1, SOON_MS));
}

static void assert_frozen(const struct answer *a)
{
    assert_problem(a, 503, "proxy", "http_request_denied");
    assert_problem_detail(a, "incident-7");
    assert_string_equal(answer_header(a, "Retry-After"), "30");
    assert_contains(bytes_text(&a->body), "\"class\":\"money\"");
    assert_contains(bytes_text(&a->body), "\"operation\":\"POST /methods/{uuid}/execute\"");
}

static void while_the_file_is_there_what_moves_money_is_refused_and_reads_go_on(void **state)
{
    (void)state;
    PLACE(p);
    WORLD(w);
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .settings = p.settings });
    http_call(w.port, "POST", EXECUTE, NULL, "{}", &a);
    assert_int_equal(a.status, 200);
    freeze_now(&w, &p);
    http_call(w.port, "POST", EXECUTE, NULL, "{}", &a);
    assert_frozen(&a);
    http_call(w.port, "GET", "/wallets/" U "/signature/permit2", NULL, NULL, &a);
    assert_int_equal(a.status, 503);
    http_call(w.port, "POST", "/nowhere", NULL, "{}", &a);
    assert_int_equal(a.status, 503);
    http_call(w.port, "POST", "/token", NULL, "{}", &a);
    assert_int_equal(a.status, 200);
    http_get(w.port, "/chains", &a);
    assert_int_equal(a.status, 200);
    assert_true(
        proxy_log_wait(w.proxy, "event=access class=money decision=frozen", 1, SOON_MS));
    assert_true(
        proxy_log_wait(w.proxy, "event=access class=read decision=allowed", 1, SOON_MS));
    http_get(proxy_admin_port(w.proxy), "/readyz", &a);
    assert_int_equal(a.status, 200);
    assert_contains(bytes_text(&a.body), "\"frozen\":true,\"frozen_reason\":\"incident-7\"");
    http_get(proxy_admin_port(w.proxy), "/metrics", &a);
    assert_contains(bytes_text(&a.body), "\noneshot_proxy_frozen 1\n");
    http_get(proxy_admin_port(w.proxy), "/", &a);
    assert_contains(bytes_text(&a.body), "id=\"frozen\"");
    assert_contains(bytes_text(&a.body),
                    "id=\"health-h\">Frozen: what moves money is refused</h2>");
    command(&p, "thaw", NULL, 0);
    assert_true(proxy_log_wait(w.proxy, "event=thawed", 1, SOON_MS));
    http_call(w.port, "POST", EXECUTE, NULL, "{}", &a);
    assert_int_equal(a.status, 200);
    assert_int_equal(peer_count(w.api, "POST /v0" EXECUTE), 2);
    answer_free(&a);
}

static void a_file_that_is_there_at_the_start_is_in_force_before_the_first_request(void **state)
{
    (void)state;
    PLACE(p);
    command(&p, "freeze", "incident-7", 0);
    WORLD(w);
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .settings = p.settings });
    http_call(w.port, "POST", EXECUTE, NULL, "{}", &a);
    assert_frozen(&a);
    assert_int_equal(peer_count(w.api, "POST /v0" EXECUTE), 0);
    answer_free(&a);
}

static void what_waits_for_a_token_is_stopped_too(void **state)
{
    (void)state;
    PLACE(p);
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .settings = p.settings, .hold_tokens = true });
    client_open(&c, w.port);
    client_puts(&c,
                "POST " EXECUTE " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}");
    assert_true(tokens_wait(w.tokens, 1, SOON_MS));
    http_call(w.port, "POST", "/token", NULL, "{}", &a); /* the first has been read by now */
    freeze_now(&w, &p);
    tokens_release(w.tokens);
    client_read(&c, &a, false, SOON_MS);
    assert_frozen(&a);
    assert_int_equal(peer_count(w.api, "POST /v0" EXECUTE), 0);
    client_close(&c);
    answer_free(&a);
}

static void answer_401(struct peer_conn *c, const struct peer_request *r, void *arg)
{
    (void)arg;
    (void)r;
    (void)peer_answer(c, 401, NULL, "dead token");
}

static void a_refusal_of_the_token_is_passed_on_and_nothing_is_repeated(void **state)
{
    (void)state;
    PLACE(p);
    WORLD(w);
    struct client c;
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .settings = p.settings, .answer = answer_401 });
    tokens_hold(w.tokens);
    client_open(&c, w.port);
    client_puts(&c,
                "POST " EXECUTE " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}");
    assert_true(tokens_wait(w.tokens, 2, SOON_MS)); /* the 401 is here, and held */
    freeze_now(&w, &p);
    tokens_release(w.tokens);
    client_read(&c, &a, false, SOON_MS);
    assert_int_equal(a.status, 401);
    assert_string_equal(bytes_text(&a.body), "dead token");
    assert_int_equal(peer_count(w.api, "POST /v0" EXECUTE), 1);
    client_close(&c);
    answer_free(&a);
}

static struct gate gate;

/* One request after the other on each connection, answered when the gate is open. */
static void serve_gated(struct peer_conn *c, void *arg)
{
    (void)arg;
    while (peer_read_request(c) != NULL && gate_pass(&gate, c))
        (void)peer_answer(c, 200, NULL, "fine");
}

/* The same over HTTP/2, and no second stream is allowed. */
static void serve_gated_h2(struct peer_conn *c, void *arg)
{
    static const uint8_t one_stream[] = { 0, 3, 0, 0, 0, 1 };
    uint32_t stream;

    (void)arg;
    if (!h2_begin(c) || !h2_write_frame(c, H2_SETTINGS, 0, 0, one_stream, sizeof one_stream))
        return;
    while ((stream = h2_read_request(c, NULL)) != 0 && gate_pass(&gate, c))
        (void)h2_answer(c, stream, 200, "fine");
}

/* A read has the only connection, or stream, when the payment comes; meanwhile it is frozen. */
static void is_stopped_while_it_waits(bool h2)
{
    PLACE(p);
    WORLD(w);
    struct client read, pay;
    struct answer a = { 0 };
    char settings[640];
    gate_init(&gate);
    gate_open(&gate);
    (void)snprintf(settings, sizeof settings, "%s\nupstream.max_connections = 1\n%s",
                   p.settings, h2 ? "upstream.http_version = 2" : "");
    world_start(&w, &(struct world_options){ .serve = h2 ? serve_gated_h2 : serve_gated,
                                             .cert = h2 ? CERT_VALID : CERT_NONE,
                                             .h2 = h2,
                                             .settings = settings });
    http_get(w.port, "/chains", &a); /* SETTINGS are known now */
    assert_int_equal(a.status, 200);
    gate_shut(&gate);
    client_open(&read, w.port);
    client_puts(&read, "GET /chains HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_true(peer_wait(w.api, "", 2, SOON_MS));
    client_open(&pay, w.port);
    client_puts(&pay,
                "POST " EXECUTE " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}");
    http_call(w.port, "POST", "/token", NULL, "{}", &a); /* it has been read by now */
    freeze_now(&w, &p);
    gate_open(&gate);
    client_read(&read, &a, false, SOON_MS);
    assert_int_equal(a.status, 200);
    client_read(&pay, &a, false, SOON_MS);
    assert_frozen(&a);
    assert_int_equal(peer_count(w.api, ""), 2);
    client_close(&read);
    client_close(&pay);
    answer_free(&a);
}

static void what_waits_for_a_connection_is_stopped_too(void **state)
{
    (void)state;
    is_stopped_while_it_waits(false);
}

static void what_waits_for_a_stream_of_http_2_is_stopped_too(void **state)
{
    (void)state;
    is_stopped_while_it_waits(true);
}

static _Atomic size_t heads; /* of requests, that the next one has read */

/* Waits at the gate, and is heard meanwhile, so that the connection is not taken for a dead one. */
static bool pass_heard(struct peer_conn *c)
{
    static const uint8_t ack[8];
    int64_t until_ms = now_ms() + SOON_MS;
    bool open = false;

    while (!open && now_ms() < until_ms && h2_write_frame(c, H2_PING, H2_ACK, 0, ack, 8)) {
        struct timespec next = deadline_spec(now_ms() + 500);

        (void)pthread_mutex_lock(&gate.lock);
        if (!gate.open)
            (void)pthread_cond_clockwait(&gate.changed, &gate.lock, CLOCK_MONOTONIC, &next);
        open = gate.open;
        (void)pthread_mutex_unlock(&gate.lock);
    }
    return open;
}

/* Answers the first request, then reads nothing until the gate opens, then all that comes.
 * Its windows are so large that only the socket holds anybody back. */
static void serve_late(struct peer_conn *c, void *arg)
{
    static const uint8_t window[] = { 0, 4, 0x7f, 0xff, 0xff, 0xff };
    static const uint8_t more[] = { 0x7f, 0xff, 0, 0 };
    struct h2_frame f = { .type = 0 };
    uint32_t stream;

    (void)arg;
    if (!h2_begin(c) || !h2_write_frame(c, H2_SETTINGS, 0, 0, window, sizeof window) ||
        !h2_write_frame(c, H2_WINDOW_UPDATE, 0, 0, more, sizeof more) ||
        (stream = h2_read_request(c, NULL)) == 0 || !h2_answer(c, stream, 200, "fine") ||
        !pass_heard(c))
        return;
    while (h2_read_frame(c, &f) && h2_housekeep(c, &f))
        heads += f.type == H2_HEADERS;
    bytes_free(&f.payload);
}

/* Sends until there is room for nothing more though the program looks again and again. */
static void send_until_held_back(int port, struct client *c, const struct bytes *piece)
{
    int64_t deadline_ms = now_ms() + SOON_MS;
    struct answer a = { 0 };
    for (int still = 0; still < 5; still++) {
        if (client_try_send(c, piece->data, piece->len, 100) > 0)
            still = -1;
        http_call(port, "POST", "/token", NULL, "{}", &a);
        assert_true(now_ms() < deadline_ms);
    }
    answer_free(&a);
}

/* How many bytes the kernel holds for whoever reads at this port. */
static size_t held_for(int port)
{
    FILE *f = fopen("/proc/net/tcp", "re");
    char line[256];
    size_t sum = 0;

    assert_non_null(f);
    while (fgets(line, sizeof line, f) != NULL) {
        unsigned local, remote, state;
        unsigned long sent, received;
        int n = sscanf(line, "%*d: %*x:%x %*x:%x %x %lx:%lx", &local, &remote, &state, &sent,
                       &received);
        if (n == 5 && state == 1 /* established */)
            sum += (remote == (unsigned)port ? sent : 0) +
                   (local == (unsigned)port ? received : 0);
    }
    (void)fclose(f);
    return sum;
}

/* Until the program has read all that callers sent, and has had a turn or two since. */
static void let_it_read(int port)
{
    int64_t deadline_ms = now_ms() + SOON_MS;
    struct answer a = { 0 };
    for (int after = 0; after < 3; after++) {
        if (held_for(port) > 0)
            after = -1;
        http_call(port, "POST", "/token", NULL, "{}", &a);
        assert_true(now_ms() < deadline_ms);
    }
    answer_free(&a);
}

/* Sends until the connection to the API does not take a piece, and no more, so that the program
 * has little to write. */
static void send_until_it_is_full(const struct world *w, struct client *c,
                                  const struct bytes *piece)
{
    size_t held, before;

    let_it_read(w->port);
    held = held_for(peer_port(w->api));
    do {
        before = held;
        client_send(c, piece->data, piece->len);
        let_it_read(w->port);
        held = held_for(peer_port(w->api));
    } while (held > before);
}

/* An upload that the API does not read fills the connection; the payment is behind it, on a
 * stream of its own. `little`: of the upload hardly anything is left to be written. */
static void is_stopped_behind_an_upload(bool little)
{
    static const char *const small_buffer[] = { "LD_PRELOAD=" SEND_BUFFER,
                                                "CONNECT_BUFFER=65536", NULL };
    const size_t piece_bytes = little ? 16 << 10 : 1 << 20;
    PLACE(p);
    WORLD(w);
    struct client upload, pay;
    struct answer a = { 0 };
    struct bytes piece = { 0 };
    char settings[640];
    gate_init(&gate);
    heads = 0;
    (void)snprintf(settings, sizeof settings,
                   "%s\nupstream.max_connections = 1\nupstream.http_version = 2", p.settings);
    world_start(&w, &(struct world_options){ .serve = serve_late,
                                             .env = little ? small_buffer : NULL,
                                             .cert = CERT_VALID,
                                             .h2 = true,
                                             .receive_buffer = 4096,
                                             .settings = settings });
    http_get(w.port, "/chains", &a);
    assert_int_equal(a.status, 200);
    client_open(&upload, w.port);
    client_puts(&upload, "PUT /methods/" U " HTTP/1.1\r\nHost: localhost\r\n"
                         "Content-Length: 1000000000\r\n\r\n");
    bytes_fill(&piece, 'x', piece_bytes);
    if (little)
        send_until_it_is_full(&w, &upload, &piece);
    else
        send_until_held_back(w.port, &upload, &piece);
    client_open(&pay, w.port);
    client_puts(&pay,
                "POST " EXECUTE " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}");
    http_call(w.port, "POST", "/token", NULL, "{}", &a); /* it has been read by now */
    freeze_now(&w, &p);
    gate_open(&gate);
    client_read(&pay, &a, false, SOON_MS);
    assert_frozen(&a);
    assert_int_equal(heads, 1); /* of the upload */
    client_reset(&upload);
    client_close(&pay);
    bytes_free(&piece);
    answer_free(&a);
}

static void what_waits_for_room_on_a_connection_of_http_2_is_stopped_too(void **state)
{
    (void)state;
    is_stopped_behind_an_upload(false);
}

static void what_waits_there_behind_little_is_stopped_too(void **state)
{
    (void)state;
    is_stopped_behind_an_upload(true);
}

static void a_directory_that_is_gone_or_a_link_to_nowhere_is_frozen(void **state)
{
    (void)state;
    PLACE(p);
    WORLD(w);
    struct answer a = { 0 };
    char moved[80];
    world_start(&w, &(struct world_options){ .settings = p.settings });
    assert_int_equal(symlink("/nowhere/at/all", p.file), 0);
    assert_true(proxy_log_wait(w.proxy, "event=frozen", 1, SOON_MS));
    http_call(w.port, "POST", EXECUTE, NULL, "{}", &a);
    assert_problem(&a, 503, "proxy", "http_request_denied");
    assert_int_equal(unlink(p.file), 0);
    assert_true(proxy_log_wait(w.proxy, "event=thawed", 1, SOON_MS));
    (void)snprintf(moved, sizeof moved, "%s.moved", p.dir);
    assert_int_equal(rename(p.dir, moved), 0);
    assert_true(proxy_log_wait(w.proxy, "event=frozen", 2, SOON_MS));
    http_call(w.port, "POST", EXECUTE, NULL, "{}", &a);
    assert_problem(&a, 503, "proxy", "http_request_denied");
    assert_problem_detail(&a, "the directory of freeze.file is missing");
    http_get(proxy_admin_port(w.proxy), "/", &a);
    assert_contains(bytes_text(&a.body),
                    "id=\"health-h\">Frozen: freeze.file cannot be looked at</h2>");
    assert_int_equal(rename(moved, p.dir), 0);
    assert_true(proxy_log_wait(w.proxy, "event=thawed", 2, SOON_MS));
    http_call(w.port, "POST", EXECUTE, NULL, "{}", &a);
    assert_int_equal(a.status, 200);
    answer_free(&a);
}

static void a_reload_that_names_a_file_which_is_there_freezes(void **state)
{
    (void)state;
    PLACE(p);
    WORLD(w);
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .settings = "classes.table = 1shot" });
    command(&p, "freeze", "incident-7", 0);
    world_reload(&w, &(struct world_options){ .settings = p.settings }, "reloaded");
    int64_t until_ms = now_ms() + SOON_MS; /* the workers take it up one by one */
    do
        http_call(w.port, "POST", EXECUTE, NULL, "{}", &a);
    while (a.status == 200 && now_ms() < until_ms);
    /* the sandbox of the start does not let it read the reason */
    assert_problem(&a, 503, "proxy", "http_request_denied");
    answer_free(&a);
}

/* An observed caller may do everything but what a freeze stops. */
static void observing_does_not_let_anything_through_a_freeze(void **state)
{
    (void)state;
    PLACE(p);
    WORLD(w);
    struct answer a = { 0 };
    world_start(&w, &(struct world_options){ .settings = p.settings,
                                             .more = "[callers]\nmode = observe\n"
                                                     "[caller other]\nallow = read\n" });
    http_call(w.port, "POST", EXECUTE, NULL, "{}", &a);
    assert_int_equal(a.status, 200); /* would be denied */
    freeze_now(&w, &p);
    http_call(w.port, "POST", EXECUTE, NULL, "{}", &a);
    assert_frozen(&a);
    http_call(w.port, "GET", "/wallets/" U "/signature/permit2", NULL, NULL, &a);
    assert_int_equal(a.status, 503);
    http_call(w.port, "POST", "/nowhere", NULL, "{}", &a);
    assert_int_equal(a.status, 503);
    http_call(w.port, "PUT", "/methods/" U, NULL, "{}", &a);
    assert_int_equal(a.status, 200); /* is not frozen, and would be denied */
    assert_true(proxy_log_wait(
        w.proxy, "event=access caller=other class=change decision=would-deny", 1, SOON_MS));
    assert_true(proxy_log_wait(w.proxy, "event=access caller=other class=money decision=frozen",
                               1, SOON_MS));
    assert_int_equal(peer_count(w.api, ""), 2);
    command(&p, "thaw", NULL, 0);
    assert_true(proxy_log_wait(w.proxy, "event=thawed", 1, SOON_MS));
    http_call(w.port, "POST", EXECUTE, NULL, "{}", &a);
    assert_int_equal(a.status, 200);
    answer_free(&a);
}

/* Nobody knows then whether the file has appeared. */
static void it_is_frozen_while_the_control_thread_cannot_look(void **state)
{
    (void)state;
    PLACE(p);
    LATER(later);
    WORLD(w);
    struct control control;
    struct answer a = { 0 };
    char settings[640];
    control_init(&control);
    later_preload(&later, LATE_MAIL);
    later.env[2] = control.env_stop;
    (void)snprintf(settings, sizeof settings, UNCONFINED "%s", p.settings);
    world_start(&w, &(struct world_options){ .env = later.env, .settings = settings });
    http_call(w.port, "POST", EXECUTE, NULL, "{}", &a);
    assert_int_equal(a.status, 200);
    /* the control thread is done with it */
    assert_true(proxy_log_wait(w.proxy, "event=token_obtained", 1, SOON_MS));
    control_stops(&control, &w, settings);
    later_by(&later, 6000);
    http_call(w.port, "POST", EXECUTE, NULL, "{}", &a);
    assert_problem(&a, 503, "proxy", "http_request_denied");
    assert_problem_detail(&a, "freeze.file was not looked at for");
    http_get(w.port, "/chains", &a);
    assert_int_equal(a.status, 200);
    assert_int_equal(peer_count(w.api, "POST /v0" EXECUTE), 1);
    control_goes_on(&control);
    int64_t deadline_ms = now_ms() + SOON_MS;
    for (;;) { /* until it has looked again */
        http_call(w.port, "POST", EXECUTE, NULL, "{}", &a);
        if (a.status == 200)
            break;
        assert_int_equal(a.status, 503);
        assert_true(ask_again(deadline_ms));
    }
    answer_free(&a);
}

static void the_commands_say_what_they_need(void **state)
{
    (void)state;
    PLACE(p);
    command(&p, "freeze", NULL, 2);
    command(&p, "freeze", " ", 2);
    command(&p, "thaw", "reason", 2);
    command(&p, "thaw", NULL, 0); /* was not frozen */
    write_file(p.ini, "[classes]\ntable = 1shot\n");
    command(&p, "freeze", "x", 1);
    command(&p, "thaw", NULL, 1);
    char ini[160];
    (void)snprintf(ini, sizeof ini, "[freeze]\nfile = %s/none/freeze\n", p.dir);
    write_file(p.ini, ini);
    command(&p, "freeze", "x", 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(while_the_file_is_there_what_moves_money_is_refused_and_reads_go_on),
        TEST(a_file_that_is_there_at_the_start_is_in_force_before_the_first_request),
        TEST(what_waits_for_a_token_is_stopped_too),
        TEST(a_refusal_of_the_token_is_passed_on_and_nothing_is_repeated),
        TEST(what_waits_for_a_connection_is_stopped_too),
        TEST(what_waits_for_a_stream_of_http_2_is_stopped_too),
        TEST(what_waits_for_room_on_a_connection_of_http_2_is_stopped_too),
        TEST(what_waits_there_behind_little_is_stopped_too),
        TEST(a_directory_that_is_gone_or_a_link_to_nowhere_is_frozen),
        TEST(a_reload_that_names_a_file_which_is_there_freezes),
        TEST(observing_does_not_let_anything_through_a_freeze),
        TEST(it_is_frozen_while_the_control_thread_cannot_look),
        TEST(the_commands_say_what_they_need),
    };
    return RUN_TESTS(tests);
}

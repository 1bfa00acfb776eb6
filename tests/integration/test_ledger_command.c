/* `oneshot-proxy ledger`: what an operator sees and decides, while the program runs and
 * while it does not; and that a running program opens nothing for writing. */
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "later.h"
#include "store.h"

#define ID_BYTES 37

static _Atomic unsigned executions;
static _Atomic bool leaves; /* the API carries it out and says nothing */
static _Atomic bool waits;  /* ... and answers when the gate is open */
static struct gate gate;

static void answer_or_leave(struct peer_conn *c, const struct peer_request *r, void *arg)
{
    (void)r;
    (void)arg;
    ++executions;
    if (leaves)
        peer_close(c);
    else if (!waits || gate_pass(&gate, c))
        (void)peer_answer(c, 201, "Content-Type: application/json\r\n", "{\"paid\":1}");
}

static void begin_with(struct world *w, const struct store *s, const char *const *env)
{
    executions = 0;
    leaves = waits = false;
    gate_init(&gate);
    world_start(w, &(struct world_options){
                       .env = env, .settings = s->settings, .answer = answer_or_leave });
}

static void begin(struct world *w, const struct store *s)
{
    begin_with(w, s, NULL);
}

/* Up to ten words behind "ledger". */
static struct run ledger(const struct store *s, const char *const *words)
{
    char config[300];
    const char *argv[16] = { "ledger" };
    size_t n = 1;

    (void)snprintf(config, sizeof config, "%s/init.ini", s->dir);
    while (*words != NULL)
        argv[n++] = *words++;
    argv[n++] = "--config";
    argv[n] = config;
    return run_proxy(argv, NULL);
}
#define WORDS(...) ((const char *const[]){ __VA_ARGS__, NULL })

/* Runs it, and has its code and a part of what it prints be these. */
static void expect(const struct store *s, const char *const *words, int code, const char *says)
{
    struct run r = ledger(s, words);
    const char *text = bytes_text(code == 0 ? &r.out : &r.err);

    if (r.code != code || strstr(text, says) == NULL)
        fail_msg("ledger %s: %d, not %d; \"%s\" is not in: %s%s", words[0], r.code, code, says,
                 bytes_text(&r.out), bytes_text(&r.err));
    run_free(&r);
}

/* The only entry of that state. */
static void only_id(const struct store *s, const char *state, char id[ID_BYTES])
{
    struct run r = ledger(s, WORDS("list", "--state", state, "--format", "ids"));

    assert_int_equal(r.code, 0);
    assert_int_equal(strlen(bytes_text(&r.out)), ID_BYTES);
    (void)snprintf(id, ID_BYTES, "%s", bytes_text(&r.out));
    run_free(&r);
}

static void an_operator_says_what_became_of_a_payment(void **state)
{
    (void)state;
    char id[ID_BYTES], body[300];
    STORE(s);
    store_make(&s, "");
    WORLD(w);
    begin(&w, &s);
    leaves = true;
    assert_int_equal(store_pay_status(&w, "lost"), 502);
    assert_int_equal(store_pay_status(&w, "lost"), 409);
    only_id(&s, "unknown", id);
    expect(&s, WORDS("list"), 0, "unknown");
    expect(&s, WORDS("list", "--format", "json", "--since", "1h"), 0, "\"key\":\"lost\"");
    expect(&s, WORDS("list", "--caller", "nobody"), 0, "none");
    expect(&s, WORDS("show", id), 0, "/business/BUSINESS_ID/transactions?createdAfter=");
    expect(&s, WORDS("resolve", id, "not-executed", "--note", "n"), 1, "too early");
    (void)snprintf(body, sizeof body, "%s/answer.json", s.dir);
    write_file(body, "{\"found\":\"on chain\"}");
    expect(&s,
           WORDS("resolve", id, "executed", "--note", "tx 0xabc", "--status", "200", "--body",
                 body),
           0, "answered; a retry gets that");
    assert_true(proxy_log_wait(w.proxy, "event=ledger_resolved as=executed", 1, SOON_MS));

    struct answer a = { 0 };
    http_call(w.port, "POST", PATH, "Idempotency-Key: lost\r\n", PAY, &a);
    assert_int_equal(a.status, 200);
    assert_string_equal(answer_header(&a, "Idempotent-Replayed"), "true");
    assert_string_equal(answer_header(&a, "Content-Type"), "application/json");
    assert_string_equal(bytes_text(&a.body), "{\"found\":\"on chain\"}");
    answer_free(&a);
    assert_int_equal(executions, 1);
    expect(&s, WORDS("resolve", id, "executed", "--note", "again"), 1, "is answered already");
    expect(&s, WORDS("show", id), 0, "tx 0xabc");
    world_end(&w);
}

/* What `show` prints; the caller frees it. */
static struct run show(const struct store *s, const char *id)
{
    struct run r = ledger(s, WORDS("show", id));

    assert_int_equal(r.code, 0);
    return r;
}

/* A search by memo finds nothing of a payment whose key was in the header; whoever took that
 * for "not executed" would have it paid twice. */
static void the_search_that_shows_everything_is_printed_whatever_the_key(void **state)
{
    (void)state;
    char id[ID_BYTES], expected[600];
    STORE(s);
    store_make(&s, "ledger.keys = header, body:/memo");
    WORLD(w);
    begin(&w, &s);
    leaves = true;
    assert_int_equal(store_pay_status(&w, "lost"), 502);
    only_id(&s, "unknown", id);
    struct run r = show(&s, id);
    const char *text = bytes_text(&r.out);
    const char *all = strstr(
        text,
        "curl -sS \"http://127.0.0.1:PORT/business/BUSINESS_ID/transactions?createdAfter=");
    const char *by_memo = strstr(text, "/transactions?memo=idem%3Alost&createdAfter=");

    assert_non_null(all);
    assert_non_null(by_memo);
    assert_true(all < by_memo);
    /* the API takes seconds since 1970 */
    long long after = strtoll(strstr(all, "createdAfter=") + strlen("createdAfter="), NULL, 10);

    if (after > time(NULL) || after < time(NULL) - 3600)
        fail_msg("%s", all);
    assert_contains(text, "read every page");
    assert_contains(text, "finding nothing, it proves nothing");
    assert_contains(text,
                    "Only the first search, read to its end, can show that it is not there");
    (void)snprintf(expected, sizeof expected,
                   "oneshot-proxy ledger resolve %s not-executed --note \"...\" --config "
                   "%s/init.ini\n",
                   id, s.dir);
    assert_contains(text, expected);
    run_free(&r);
    (void)snprintf(expected, sizeof expected, "oneshot-proxy ledger show %s --config %s/", id,
                   proxy_dir(w.proxy));
    assert_true(proxy_log_contains(w.proxy, expected));
    world_end(&w);
}

/* The place of the body is no memo, or there is none. */
static void the_shortcut_by_memo_is_printed_only_where_a_memo_may_be_the_key(void **state)
{
    static const char *const keys[] = { "ledger.keys = header",
                                        "ledger.keys = header, body:/reference" };
    (void)state;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        char id[ID_BYTES];
        STORE(s);
        store_make(&s, keys[i]);
        WORLD(w);
        begin(&w, &s);
        leaves = true;
        assert_int_equal(store_pay_status(&w, "lost"), 502);
        only_id(&s, "unknown", id);
        struct run r = show(&s, id);
        assert_contains(bytes_text(&r.out), "/transactions?createdAfter=");
        assert_lacks(bytes_text(&r.out), "memo=");
        run_free(&r);
        world_end(&w);
    }
}

static void after_not_executed_a_retry_is_sent(void **state)
{
    (void)state;
    char id[ID_BYTES];
    STORE(s);
    store_make(&s, "");
    WORLD(w);
    begin(&w, &s);
    leaves = true;
    assert_int_equal(store_pay_status(&w, "lost"), 502);
    only_id(&s, "unknown", id);
    expect(&s, WORDS("resolve", id, "not-executed", "--note", "support says so", "--force"), 0,
           "released; a retry with its key is a new request");
    leaves = false;
    assert_int_equal(store_pay_status(&w, "lost"), 201);
    assert_int_equal(executions, 2);
    expect(&s, WORDS("list", "--state", "released"), 0, "resolved-not-executed");
    world_end(&w);
}

static void executed_without_its_answer_a_retry_is_told_so(void **state)
{
    (void)state;
    char id[ID_BYTES];
    struct answer a = { 0 };
    STORE(s);
    store_make(&s, "");
    WORLD(w);
    begin(&w, &s);
    leaves = true;
    assert_int_equal(store_pay_status(&w, "lost"), 502);
    only_id(&s, "unknown", id);
    expect(&s, WORDS("resolve", id, "executed", "--note", "seen on chain"), 0,
           "answered; a retry gets that, and is not executed");
    leaves = false;
    http_call(w.port, "POST", PATH, "Idempotency-Key: lost\r\n", PAY, &a);
    assert_problem(&a, 409, "request", "http_request_denied");
    assert_contains(bytes_text(&a.body), "urn:oneshot-proxy:idempotency-answer-not-kept");
    assert_contains(bytes_text(&a.body), "\"retryable\":false");
    answer_free(&a);
    assert_int_equal(executions, 1);
    world_end(&w);
}

/* Whoever forces it sends the next one beside the first: the answer of that one says what
 * was done. */
static void an_answer_against_the_operators_word_is_told(void **state)
{
    (void)state;
    char id[ID_BYTES];
    struct client first;
    struct answer a = { 0 };
    STORE(s);
    store_make(&s, "");
    WORLD(w);
    begin(&w, &s);
    waits = true;
    client_open(&first, w.port);
    client_puts(&first, "POST " PATH " HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: slow\r\n"
                        "Content-Length: 12\r\n\r\n" PAY);
    assert_true(gate_wait_arrived(&gate, 1, SOON_MS));
    only_id(&s, "in_flight", id);
    expect(&s, WORDS("resolve", id, "executed", "--note", "n"), 1, "may still be at it");
    expect(&s, WORDS("resolve", id, "not-executed", "--note", "n"), 1, "may still be at it");
    expect(&s, WORDS("resolve", id, "not-executed", "--note", "it hangs", "--force"), 0,
           "released; a retry with its key is a new request");
    waits = false;
    assert_int_equal(store_pay_status(&w, "slow"), 201);
    assert_int_equal(executions, 2);
    gate_open(&gate);
    client_read(&first, &a, false, SOON_MS);
    assert_int_equal(a.status, 201);
    assert_true(proxy_log_wait(w.proxy, "event=ledger_contradiction", 1, SOON_MS));
    expect(&s, WORDS("show", id), 0, "it hangs"); /* the word stands */
    expect(&s, WORDS("list", "--state", "released"), 0, id);
    client_close(&first);
    answer_free(&a);
    world_end(&w);
}

/* By the clock its lease and the time to wait are over; but it is being sent. */
static void a_clock_that_is_set_does_not_let_a_payment_under_way_be_repeated(void **state)
{
    (void)state;
    char id[ID_BYTES];
    struct client first;
    struct answer a = { 0 };
    STORE(s);
    store_make(&s, "");
    LATER(later);
    WORLD(w);
    begin_with(&w, &s, later.env);
    waits = true;
    client_open(&first, w.port);
    client_puts(&first, "POST " PATH " HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: slow\r\n"
                        "Content-Length: 12\r\n\r\n" PAY);
    assert_true(gate_wait_arrived(&gate, 1, SOON_MS));
    only_id(&s, "in_flight", id);
    later_jump(&later, 3600000);
    expect(&s, WORDS("resolve", id, "not-executed", "--note", "n"), 1, "may still be at it");
    expect(&s, WORDS("resolve", id, "executed", "--note", "n"), 1, "may still be at it");
    assert_int_equal(store_pay_status(&w, "slow"), 409);
    gate_open(&gate);
    client_read(&first, &a, false, SOON_MS);
    assert_int_equal(a.status, 201);
    assert_int_equal(store_pay_status(&w, "slow"), 201);
    assert_int_equal(executions, 1);
    client_close(&first);
    answer_free(&a);
    world_end(&w);
}

static void it_works_without_a_proxy_and_after_one_was_killed(void **state)
{
    (void)state;
    char id[ID_BYTES];
    STORE(s);
    store_make(&s, "");
    expect(&s, WORDS("list"), 0, "none");
    expect(&s, WORDS("check"), 0, "sound");
    WORLD(w);
    begin(&w, &s);
    assert_int_equal(store_pay_status(&w, "a"), 201);
    expect(&s, WORDS("check"), 0, "a proxy has it");
    expect(&s, WORDS("list"), 0, "answered"); /* so it is written */
    proxy_signal(w.proxy, SIGKILL);
    assert_int_equal(proxy_wait_exit(w.proxy, SOON_MS), 128 + SIGKILL);
    only_id(&s, "answered", id);
    expect(&s, WORDS("show", id), 0, "{\"paid\":1}");
    expect(&s, WORDS("check"), 0, "sound");
    proxy_free(w.proxy);
    w.proxy = NULL;
    world_proxy(&w, &(struct world_options){ .settings = s.settings });
    assert_int_equal(store_pay_status(&w, "a"), 201);
    assert_int_equal(executions, 1);
    world_end(&w);
}

/* Of a proxy as it runs, in its sandbox: its claims were durable, and SQLite alone would not
 * miss them. */
static void a_log_that_is_gone_after_a_kill_is_missed(void **state)
{
    (void)state;
    char log[300];
    STORE(s);
    store_make(&s, "");
    WORLD(w);
    begin(&w, &s);
    assert_int_equal(store_pay_status(&w, "a"), 201);
    proxy_signal(w.proxy, SIGKILL);
    assert_int_equal(proxy_wait_exit(w.proxy, SOON_MS), 128 + SIGKILL);
    (void)snprintf(log, sizeof log, "%s/ledger.db-wal", s.dir);
    assert_int_equal(unlink(log), 0);
    expect(&s, WORDS("list"), 1, "frames that were durable 0 are sound");
    proxy_free(w.proxy);
    w.proxy = NULL;
    world_end(&w);
}

/* The rest of its steps fails here: nothing is listened on. */
static void expect_of_doctor(const struct store *s, const char *says)
{
    char config[300];

    (void)snprintf(config, sizeof config, "%s/init.ini", s->dir);
    struct run r = run_proxy((const char *const[]){ "doctor", "--config", config, NULL },
                             (const char *const[]){ "LD_PRELOAD=" NAMES, NULL });

    assert_contains(bytes_text(&r.out), says);
    run_free(&r);
}

static void doctor_opens_the_store_and_times_it(void **state)
{
    (void)state;
    STORE(s);
    store_make(&s, "");
    expect_of_doctor(&s, "ledger          ok       sqlite is sound; 16 commits took ");
    expect_of_doctor(&s, "ledger          note     ledger.require_key = no: ");
    WORLD(w);
    begin(&w, &s);
    expect_of_doctor(&s, "ledger          ok       a proxy has it: sqlite, up");
    world_end(&w);
}

static void a_wrong_command_line_is_told(void **state)
{
    (void)state;
    STORE(s);
    store_make(&s, "");
    expect(&s, WORDS("init"), 1, "is there already, and is left as it is");
    expect(&s, WORDS("lists"), 2, "unknown command lists");
    expect(&s, WORDS("list", "--state", "lost"), 2, "--state takes in_flight");
    expect(&s, WORDS("list", "--since", "yesterday"), 2, "--since takes");
    expect(&s, WORDS("list", "--format", "xml"), 2, "--format takes");
    expect(&s, WORDS("list", "--note", "x"), 2, "an option does not go with list");
    expect(&s, WORDS("show"), 2, "too few or too many words behind show");
    expect(&s, WORDS("show", "x"), 2, "this is not the id of an entry: x");
    expect(&s, WORDS("show", "019a0000-0000-7000-8000-000000000000"), 1,
           "there is no entry of this id");
    expect(&s, WORDS("resolve", "019a0000-0000-7000-8000-000000000000", "executed"), 2,
           "--note is needed");
    expect(&s, WORDS("resolve", "019a0000-0000-7000-8000-000000000000", "maybe"), 2,
           "after the ids, write executed or not-executed, not maybe");
    struct run r = run_proxy(WORDS("ledger"), NULL);

    assert_int_equal(r.code, 2);
    assert_contains(bytes_text(&r.err), "a command is missing");
    run_free(&r);
}

/* As with a package, where the settings of the service are in a file of their own. */
static void settings_without_a_store_are_told_with_the_file_that_was_read(void **state)
{
    (void)state;
    char ini[300];
    STORE(s);
    store_make(&s, "");
    struct run r = run_proxy(WORDS("ledger", "list"), NULL);

    assert_int_equal(r.code, 1);
    assert_contains(bytes_text(&r.err), "ledger.store: is not set: no settings file was read");
    assert_contains(bytes_text(&r.err), "name the file of the proxy with --config FILE");
    run_free(&r);
    (void)snprintf(ini, sizeof ini, "%s/other.ini", s.dir);
    write_file(ini, "[log]\nlevel = info\n");
    r = run_proxy(WORDS("ledger", "list", "--config", ini), NULL);
    assert_int_equal(r.code, 1);
    assert_contains(bytes_text(&r.err), "ledger.store: is not set in ");
    assert_contains(bytes_text(&r.err),
                    "/other.ini, and there is no ONESHOT_PROXY_LEDGER_STORE");
    run_free(&r);
    r = run_proxy(WORDS("thaw", "--config", ini), NULL);
    assert_int_equal(r.code, 1);
    assert_contains(bytes_text(&r.err), "freeze.file: is not set in ");
    run_free(&r);
}

/* --- what it opens --- */

#define TRACED "openat,open,creat,unlink,unlinkat,rename,renameat2,truncate,listen,socket"

static bool can_trace(void)
{
    /* NOLINTNEXTLINE(concurrency-mt-unsafe, cert-env33-c): one thread, a fixed command */
    return !sanitized() && system("strace -f -o /dev/null true >/dev/null 2>&1") == 0;
}

static struct bytes file_bytes(const char *path)
{
    struct bytes b = { 0 };
    char part[4096];
    FILE *f = fopen(path, "re");

    assert_non_null(f);
    for (size_t n; (n = fread(part, 1, sizeof part, f)) > 0;)
        bytes_add(&b, part, n);
    (void)fclose(f);
    return b;
}

/* Lines of the trace that open something for writing, remove or make something. */
static size_t changes(const char *trace, char *first, size_t cap)
{
    static const char *const words[] = { "O_WRONLY", "O_RDWR", "O_CREAT",  "O_TRUNC", "creat(",
                                         "unlink",   "rename", "truncate", "listen(" };
    size_t n = 0;

    for (const char *line = trace; *line != '\0';) {
        size_t len = strcspn(line, "\n");
        char text[512];

        (void)snprintf(text, sizeof text, "%.*s", (int)len, line);
        for (size_t i = 0; i < sizeof words / sizeof *words; i++)
            if (strstr(text, words[i]) != NULL) {
                if (n++ == 0)
                    (void)snprintf(first, cap, "%s", text);
                break;
            }
        line += len + (line[len] == '\n');
    }
    return n;
}

/* Without the sandbox, which would only hide that it tries to. */
static void nothing_is_opened_for_writing_once_it_runs(void **state)
{
    (void)state;
    char file[300], wrap[512], first[512] = "";
    if (!can_trace()) {
        (void)fprintf(stderr, "SKIPPED: strace cannot follow a program here\n");
        skip();
    }
    STORE(s);
    store_make(&s, "process.sandbox = off");
    WORLD(w);
    (void)snprintf(file, sizeof file, "%s/trace", s.dir);
    (void)snprintf(wrap, sizeof wrap, "strace -D -f -qq -e trace=" TRACED " -o %s", file);
    assert_int_equal(setenv("ONESHOT_PROXY_WRAP", wrap, 1), 0);
    begin(&w, &s);
    assert_int_equal(unsetenv("ONESHOT_PROXY_WRAP"), 0);
    struct bytes before = file_bytes(file);
    assert_true(changes(bytes_text(&before), first, sizeof first) > 0); /* the store itself */
    for (int i = 0; i < 400; i++) { /* enough for the log to be written back */
        char key[32];

        (void)snprintf(key, sizeof key, "key-%d", i);
        assert_int_equal(store_pay_status(&w, key), 201);
    }
    leaves = true;
    assert_int_equal(store_pay_status(&w, "lost"), 502);
    assert_int_equal(store_pay_status(&w, "lost"), 409);
    expect(&s, WORDS("list", "--state", "unknown"), 0, "unknown");
    struct bytes after = file_bytes(file);
    size_t had = before.len;

    assert_true(after.len >= had);
    if (changes(bytes_text(&after) + had, first, sizeof first) > 0)
        fail_msg("it does: %s", first);
    bytes_free(&before);
    bytes_free(&after);
    world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_operator_says_what_became_of_a_payment),
        TEST(the_search_that_shows_everything_is_printed_whatever_the_key),
        TEST(the_shortcut_by_memo_is_printed_only_where_a_memo_may_be_the_key),
        TEST(after_not_executed_a_retry_is_sent),
        TEST(executed_without_its_answer_a_retry_is_told_so),
        TEST(an_answer_against_the_operators_word_is_told),
        TEST(a_clock_that_is_set_does_not_let_a_payment_under_way_be_repeated),
        TEST(it_works_without_a_proxy_and_after_one_was_killed),
        TEST(a_log_that_is_gone_after_a_kill_is_missed),
        TEST(doctor_opens_the_store_and_times_it),
        TEST(a_wrong_command_line_is_told),
        TEST(settings_without_a_store_are_told_with_the_file_that_was_read),
        TEST(nothing_is_opened_for_writing_once_it_runs),
    };

    return RUN_TESTS(tests);
}

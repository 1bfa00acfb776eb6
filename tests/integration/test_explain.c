/* `oneshot-proxy explain` agrees with the running program, for each request of the corpus. */
#include <unistd.h>

#include "rights_corpus.h"
#include "store.h"

#define SETTINGS "process.workers = 1\nclasses.table = 1shot\nlog.access = no"
#define WORDS_MAX 16

struct place {
    char dir[64], ini[96], lines[96], more[4096];
};

static void place_make(struct place *p)
{
    (void)snprintf(p->dir, sizeof p->dir, "/tmp/explain-test-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    (void)snprintf(p->ini, sizeof p->ini, "%s/ini", p->dir);
    (void)snprintf(p->lines, sizeof p->lines, "%s/lines", p->dir);
    corpus_sections(p->more, sizeof p->more, p->dir);
}

static void place_remove(struct place *p)
{
    (void)unlink(p->ini);
    (void)unlink(p->lines);
    (void)rmdir(p->dir);
}

#define PLACE(name) struct place name __attribute__((cleanup(place_remove)))

/* Runs it with that file and these words. */
static struct run explain(const char *ini, const char *const *words)
{
    const char *argv[WORDS_MAX + 4] = { "explain", "--config", ini };

    for (size_t i = 0; words[i] != NULL; i++) {
        assert_true(i < WORDS_MAX);
        argv[3 + i] = words[i];
    }
    return run_proxy(argv, NULL);
}

#define EXPLAIN(ini, ...) explain(ini, (const char *const[]){ __VA_ARGS__, NULL })

/* The first word behind the name of a row; "" when there is no such row. */
static void row_of(struct run *r, const char *name, char out[64])
{
    const char *text = bytes_text(&r->out), *at;
    char start[32];

    (void)snprintf(start, sizeof start, "%-11s", name);
    out[0] = '\0';
    for (at = text; at != NULL && strncmp(at, start, strlen(start)) != 0;
         at = strchr(at, '\n') == NULL ? NULL : strchr(at, '\n') + 1)
        ;
    if (at != NULL)
        (void)snprintf(out, 64, "%.*s", (int)strcspn(at + 11, " ,\n"), at + 11);
}

/* What the running program answers. */
static int status_of(const struct place *p, const char *caller, const struct corpus_row *row)
{
    char path[96], request[1024];
    bool has_body = row->method[0] == 'P' || row->method[0] == 'p';
    struct answer a = { 0 };
    struct client c;

    (void)snprintf(path, sizeof path, "%s/%s", p->dir, caller);
    (void)snprintf(request, sizeof request,
                   "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s%s%s\r\n%s",
                   row->method, row->target, row->field == NULL ? "" : row->field,
                   row->field == NULL ? "" : "\r\n", has_body ? "Content-Length: 2\r\n" : "",
                   has_body ? "{}" : "");
    client_open_unix(&c, path);
    client_puts(&c, request);
    client_read(&c, &a, strcmp(row->method, "HEAD") == 0, SOON_MS);
    client_close(&c);
    int status = a.status;
    answer_free(&a);
    return status;
}

static void assert_same(const struct place *p, const char *ini, const char *caller,
                        const struct corpus_row *row)
{
    int status = status_of(p, caller, row);
    struct run r =
        row->field != NULL
            ? EXPLAIN(ini, "--caller", caller, "-H", row->field, row->method, row->target)
            : EXPLAIN(ini, "--caller", caller, row->method, row->target);
    char decision[64], class[64], expected[64];

    row_of(&r, "decision", decision);
    row_of(&r, "class", class);
    (void)snprintf(expected, sizeof expected, "%d", status);
    if (status == 200 && (strcmp(decision, "sent") == 0 || strcmp(decision, "answered") == 0))
        (void)snprintf(expected, sizeof expected, "%s", decision);
    if (r.code != (status == 200 ? 0 : 3) || strcmp(decision, expected) != 0 ||
        (row->class != NULL && strcmp(class, row->class) != 0))
        fail_msg("%s %s by %s: %d, but explain says (%d)\n%s%s", row->method, row->target,
                 caller, status, r.code, bytes_text(&r.out), bytes_text(&r.err));
    run_free(&r);
}

static void it_says_of_every_request_what_the_running_program_does(void **state)
{
    (void)state;
    PLACE(p);
    place_make(&p);
    WORLD(w);
    char ini[256];
    world_start(&w, &(struct world_options){ .settings = SETTINGS, .more = p.more });
    (void)snprintf(ini, sizeof ini, "%s/oneshot-proxy.ini", proxy_dir(w.proxy));
    for (size_t i = 0; i < CORPUS_ROWS; i++)
        for (size_t k = 0; k < 3; k++)
            assert_same(&p, ini, corpus_callers[k], &corpus[i]);
}

static void the_rows_say_why_and_what_to_add(void **state)
{
    (void)state;
    PLACE(p);
    place_make(&p);
    char text[5000], expected[1024];
    (void)snprintf(text, sizeof text,
                   "[token]\nclient_secret_file = /none\n[classes]\ntable = 1shot\n"
                   "[freeze]\nfile = %s/freeze\n%s",
                   p.dir, p.more);
    write_file(p.ini, text);
    struct run r = EXPLAIN(p.ini, "--caller", "p", "POST", "/wallets/" U "/transfer?a=b");
    assert_int_equal(r.code, 3);
    (void)snprintf(expected, sizeof expected,
                   "operation  POST /wallets/{uuid}/transfer      goes up as "
                   "/v0/wallets/" U "/transfer?a=b\n"
                   "class      money                              1shot table\n"
                   "caller     p                                  named here; "
                   "%s:11 wants address unix:%s/p\n"
                   "rights     refused                            "
                   "no entry of allow (%s:12) matches; no deny\n",
                   p.ini, p.dir, p.ini);
    assert_contains(bytes_text(&r.out), expected);
    (void)snprintf(expected, sizeof expected,
                   "freeze     not frozen                         %s/freeze\n"
                   "decision   403 not-allowed                    "
                   "add to %s:12: POST /wallets/{uuid}/transfer\n",
                   p.dir, p.ini);
    assert_contains(bytes_text(&r.out), expected);
    run_free(&r);
    (void)snprintf(expected, sizeof expected, "%s/freeze", p.dir);
    write_file(expected, "incident-7\n");
    r = EXPLAIN(p.ini, "--caller", "p", "POST", "/methods/" U "/execute");
    assert_int_equal(r.code, 3);
    assert_contains(bytes_text(&r.out), "freeze     frozen ");
    assert_contains(bytes_text(&r.out),
                    "decision   503 frozen                         incident-7");
    run_free(&r);
    r = EXPLAIN(p.ini, "--caller", "p", "GET", "/chains");
    assert_int_equal(r.code, 0);
    run_free(&r);
    (void)unlink(expected);
}

static void what_a_connection_shows_says_who_that_would_be(void **state)
{
    (void)state;
    PLACE(p);
    place_make(&p);
    struct cert_files f = { .serial = 0 };
    certs_write(&f, CERT_VALID);
    /* No file of these but the certificate that is asked about is read. */
    write_file(p.ini, "[listen]\naddress = unix:/run/x, 127.0.0.1:8443\n"
                      "tls_certificate = /none\ntls_key = /none\ntls_client_ca = /none\n"
                      "[classes]\ntable = 1shot\n"
                      "[caller own]\naddress = unix:/run/own\nallow = read\n"
                      "[caller user]\nuid = 7\nallow = read\n"
                      "[caller cert]\ncertificate = dns:localhost\nallow = read\n"
                      "[caller key]\nsecret_file = /none\nuid = 9\nallow = read\n"
                      "[caller other]\nallow = simulate\n");
    const struct {
        const char *words[6], *caller;
        int code;
    } cases[] = {
        { { "--address", "unix:/run/own" }, "own", 0 },
        { { "--address", "unix:/run/x", "--uid", "7", "--gid", "3" }, "user", 0 },
        { { "--address", "unix:/run/own", "--uid", "7" }, "nobody", 3 }, /* two fit */
        { { "--certificate", f.certificate }, "cert", 0 },
        { { "--uid", "8" }, "other", 3 },
        { { "--caller", "key" }, "key", 0 },
        { { "--caller", "other" }, "other", 3 },
        { { "--caller", "none" }, "nobody", 3 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *words[WORDS_MAX] = { "GET", "/chains" };
        char caller[64];
        for (size_t k = 0; k < 6 && cases[i].words[k] != NULL; k++)
            words[2 + k] = cases[i].words[k];
        struct run r = explain(p.ini, words);
        row_of(&r, "caller", caller);
        if (r.code != cases[i].code || strcmp(caller, cases[i].caller) != 0)
            fail_msg("%zu: %d %s%s", i, r.code, bytes_text(&r.out), bytes_text(&r.err));
        run_free(&r);
    }
}

static void without_a_method_it_lists_every_operation(void **state)
{
    (void)state;
    PLACE(p);
    place_make(&p);
    char text[5000];
    (void)snprintf(text, sizeof text,
                   "[classes]\ntable = 1shot\nread = GET /invoices/{uuid}\n%s", p.more);
    write_file(p.ini, text);
    struct run r = EXPLAIN(p.ini, "--caller", "p");
    assert_int_equal(r.code, 0);
    assert_contains(bytes_text(&r.out), "read      GET /chains   ");
    assert_contains(bytes_text(&r.out), " some: only POST /methods/" U "/execute\n");
    assert_contains(bytes_text(&r.out), "read      GET /invoices/{uuid}");
    assert_contains(bytes_text(&r.out), "unknown   all else");
    run_free(&r);
    r = EXPLAIN(p.ini, "--caller", "o");
    assert_contains(bytes_text(&r.out), " refused: denied by POST /wallets/{uuid}/transfer\n");
    run_free(&r);
}

static void what_is_expected_is_checked_line_by_line(void **state)
{
    (void)state;
    PLACE(p);
    place_make(&p);
    char text[5000], expected[256];
    (void)snprintf(text, sizeof text, "[classes]\ntable = 1shot\n%s", p.more);
    write_file(p.ini, text);
    write_file(p.lines, "# who may pay\n\n"
                        "r GET /v0/chains?page=2 sent\n"
                        "r POST /methods/" U "/execute   refused\n"
                        "p\tPOST /methods/" U "/execute sent\n"
                        "none GET /chains refused\n");
    struct run r = EXPLAIN(p.ini, "--expect", p.lines);
    assert_int_equal(r.code, 0);
    assert_contains(bytes_text(&r.out), ": 4 of 4 as expected\n");
    run_free(&r);
    write_file(p.lines, "r GET /chains sent\no POST /wallets/" U "/transfer sent\n");
    r = EXPLAIN(p.ini, "--expect", p.lines);
    assert_int_equal(r.code, 3);
    (void)snprintf(expected, sizeof expected,
                   "%s:2: o POST /wallets/" U "/transfer is refused\n", p.lines);
    assert_contains(bytes_text(&r.out), expected);
    run_free(&r);
    static const char *const wrong[] = { "r GET /chains\n", "r GET /chains maybe\n",
                                         "x GET /chains sent\n" };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        write_file(p.lines, wrong[i]);
        r = EXPLAIN(p.ini, "--expect", p.lines);
        assert_int_equal(r.code, 1);
        assert_contains(bytes_text(&r.err), p.lines);
        run_free(&r);
    }
}

static int pay_status(const struct world *w, const char *method, const char *field,
                      const char *body)
{
    char fields[128] = "";
    struct answer a = { 0 };

    if (field != NULL)
        (void)snprintf(fields, sizeof fields, "%s\r\n", field);
    http_call(w->port, method, PATH, fields, body, &a);
    int status = a.status;

    answer_free(&a);
    return status;
}

static void it_says_what_the_ledger_does_with_a_request(void **state)
{
    static const char key[] = "Idempotency-Key: k", memo[] = "{\"memo\":\"idem:m\"}";
    static const struct {
        const char *settings, *method, *field, *body; /* body: what the running program gets */
        int status;
        const char *says;
    } rows[] = {
        { "ledger.require_key = money", "POST", NULL, PAY, 400,
          "\ndecision   400 idempotency-key-required       The request was not sent: "
          "ledger.require_key wants a key." },
        { "ledger.require_key = money", "POST", key, PAY, 200, "\nledger     by its key" },
        { "ledger.require_key = money", "POST", "Idempotency-Key: a, b", PAY, 400,
          "\ndecision   400 idempotency-key-malformed " },
        { "ledger.require_key = money", "GET", NULL, NULL, 200, "\ndecision   sent" },
        { "ledger.require_key = money\nclasses.table = 1shot", "POST", NULL, PAY, 400,
          "\nledger     refused " },
        { "ledger.require_key = unsafe", "DELETE", NULL, NULL, 400, " 400 idempotency-key-r" },
        { "ledger.require_key = money", "DELETE", NULL, NULL, 200,
          "\nledger     no key, and none is needed\n" },
        { "ledger.journal = unsafe", "DELETE", NULL, NULL, 200,
          "\nledger     recorded, without a key\n" },
        { "ledger.require_key = money\nledger.keys = header, body:/memo", "POST", NULL, memo,
          200,
          "\ndecision   sent                               if its body has a key; otherwise "
          "400 "
          "idempotency-key-required\n" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char ini[256];
        STORE(s);
        store_make(&s, rows[i].settings);
        WORLD(w);
        world_start(&w, &(struct world_options){ .settings = s.settings });
        (void)snprintf(ini, sizeof ini, "%s/oneshot-proxy.ini", proxy_dir(w.proxy));
        assert_int_equal(pay_status(&w, rows[i].method, rows[i].field, rows[i].body),
                         rows[i].status);
        struct run r = rows[i].field != NULL
                           ? EXPLAIN(ini, "-H", rows[i].field, rows[i].method, PATH)
                           : EXPLAIN(ini, rows[i].method, PATH);
        if (r.code != (rows[i].status == 200 ? 0 : 3) ||
            strstr(bytes_text(&r.out), rows[i].says) == NULL)
            fail_msg("%zu: %d, not \"%s\": %s%s", i, r.code, rows[i].says, bytes_text(&r.out),
                     bytes_text(&r.err));
        run_free(&r);
        world_end(&w);
    }
}

static void an_expectation_knows_that_a_key_is_wanted(void **state)
{
    (void)state;
    PLACE(p);
    place_make(&p);
    char text[6000];
    (void)snprintf(text, sizeof text,
                   "[classes]\ntable = 1shot\n[ledger]\nstore = sqlite:/none/ledger.db\n"
                   "require_key = money\n%s",
                   p.more);
    write_file(p.ini, text);
    write_file(p.lines, "r GET /chains sent\np POST /methods/" U "/execute sent\n");
    struct run r = EXPLAIN(p.ini, "--expect", p.lines);
    assert_int_equal(r.code, 3);
    assert_contains(bytes_text(&r.out), "is refused, only since ledger.require_key wants a ");
    run_free(&r);
    r = EXPLAIN(p.ini, "--expect", p.lines, "-H", "Idempotency-Key: any");
    assert_int_equal(r.code, 0);
    run_free(&r);

    /* It may pay, which the lack of a key must not hide. */
    write_file(p.lines, "r POST /methods/" U "/execute refused\np POST /methods/" U
                        "/execute refused\n");
    r = EXPLAIN(p.ini, "--expect", p.lines);
    assert_int_equal(r.code, 3);
    assert_contains(bytes_text(&r.out), ":2: p POST ");
    assert_contains(bytes_text(&r.out), "1 of 2 as expected");
    run_free(&r);
    r = EXPLAIN(p.ini, "--expect", p.lines, "-H", "Idempotency-Key: a b");
    assert_int_equal(r.code, 3);
    assert_contains(bytes_text(&r.out), "is refused, only since the ledger does not take it: ");
    run_free(&r);
}

static void an_observed_caller_is_told_what_would_be(void **state)
{
    (void)state;
    PLACE(p);
    place_make(&p);
    char text[5000];
    (void)snprintf(text, sizeof text, "[classes]\ntable = 1shot\n[callers]\nmode = observe\n%s",
                   p.more);
    write_file(p.ini, text);
    struct run r = EXPLAIN(p.ini, "--caller", "r", "POST", "/x402/settle");
    assert_int_equal(r.code, 0);
    assert_contains(bytes_text(&r.out), "decision   sent, would-deny ");
    assert_contains(bytes_text(&r.out), ": POST /x402/settle\n");
    run_free(&r);
}

static void a_wrong_command_line_and_wrong_settings_are_told_apart(void **state)
{
    (void)state;
    PLACE(p);
    place_make(&p);
    write_file(p.ini, "[classes]\ntable = 1shot\n");
    static const char *const usage[][8] = {
        { "GET" },
        { "GET", "/chains", "more" },
        { "--uid", "x", "GET", "/chains" },
        { "-H", "nonsense", "GET", "/chains" },
        { "--caller", "x", "GET", "/chains" },
        { "--caller", "x", "--uid", "1", "GET", "/chains" },
        { "--address", "unix:/none", "GET", "/chains" },
        { "--certificate", "/none", "GET", "/chains" },
        { "--expect", "/none", "GET", "/chains" },
        { NULL },
    };
    for (size_t i = 0; i < sizeof usage / sizeof *usage; i++) {
        struct run r = explain(p.ini, usage[i]);
        if (r.code != 2)
            fail_msg("%zu: %d %s%s", i, r.code, bytes_text(&r.out), bytes_text(&r.err));
        run_free(&r);
    }
    struct run r = run_proxy((const char *const[]){ "--check", "--caller", "x", NULL }, NULL);
    assert_int_equal(r.code, 2);
    run_free(&r);
    r = EXPLAIN(p.ini, "GET", "/chains"); /* anybody may do anything */
    assert_int_equal(r.code, 0);
    run_free(&r);
    write_file(p.ini, "[caller x]\nuid = 1\n");
    r = EXPLAIN(p.ini, "GET", "/chains");
    assert_int_equal(r.code, 1);
    run_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(it_says_of_every_request_what_the_running_program_does),
        TEST(the_rows_say_why_and_what_to_add),
        TEST(what_a_connection_shows_says_who_that_would_be),
        TEST(without_a_method_it_lists_every_operation),
        TEST(what_is_expected_is_checked_line_by_line),
        TEST(it_says_what_the_ledger_does_with_a_request),
        TEST(an_expectation_knows_that_a_key_is_wanted),
        TEST(an_observed_caller_is_told_what_would_be),
        TEST(a_wrong_command_line_and_wrong_settings_are_told_apart),
    };
    return RUN_TESTS(tests);
}

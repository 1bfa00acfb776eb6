/* What other processes on the machine can get out of the running one: its memory, its
 * environment, a core file; and what the environment can make it do. Rows:
 * tests/hostile/README.md. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "inject.h"

/* Somebody without any right here ("nobody"). */
#define OTHER_USER 65534

static void need_root(void)
{
    if (geteuid() != 0) {
        (void)fprintf(stderr, "SKIPPED: only root can act as another user\n");
        skip();
    }
}

/* --- what a user may see ----------------------------------------------------------------- */

struct look {
    int open_error[6];
    int trace_error;
};

static const char *const private_files[6] = { "environ", "mem",  "maps",
                                              "smaps",   "auxv", "syscall" };

/* What `user` sees of the process: 0 or errno for each file, and for tracing. */
static struct look look_as(uid_t user, pid_t pid)
{
    struct look seen = { .trace_error = -1 };
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (setgroups(0, NULL) != 0 || setgid(user) != 0 || setuid(user) != 0)
            _exit(1);
        for (size_t i = 0; i < 6; i++) {
            char path[64], bytes[64];
            (void)snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, private_files[i]);
            int fd = open(path, O_RDONLY | O_CLOEXEC);
            /* some are checked when read, not when opened */
            seen.open_error[i] = fd < 0 || pread(fd, bytes, sizeof bytes, 0) < 0 ? errno : 0;
            if (fd >= 0)
                (void)close(fd);
        }
        seen.trace_error = ptrace(PTRACE_SEIZE, pid, NULL, NULL) == 0 ? 0 : errno;
        _exit(write(ends[1], &seen, sizeof seen) == (ssize_t)sizeof seen ? 0 : 1);
    }
    (void)close(ends[1]);
    ssize_t n = read(ends[0], &seen, sizeof seen);
    (void)close(ends[0]);
    int status = 0;
    (void)waitpid(child, &status, 0);
    assert_int_equal(n, sizeof seen);
    return seen;
}

static void assert_blind(const struct look *seen)
{
    for (size_t i = 0; i < 6; i++)
        if (seen->open_error[i] != EACCES && seen->open_error[i] != EPERM)
            fail_msg("/proc/PID/%s: %s", private_files[i], strerror(seen->open_error[i]));
    assert_int_equal(seen->trace_error, EPERM);
}

/* Another user reads neither memory nor environment of the process in /proc. (row 82) */
static void another_user_sees_neither_memory_nor_environment(void **state)
{
    (void)state;
    WORLD(w);
    need_root();
    world_start(&w, &(struct world_options){ 0 });
    struct look seen = look_as(OTHER_USER, proxy_pid(w.proxy));
    assert_blind(&seen);
}

/* Not even the user that it runs as: a debugger, gcore or strace of that user gets nothing. The
 * control: a plain program of the same user shows all of it. (row 83) */
static void the_same_user_sees_neither_memory_nor_environment(void **state)
{
    (void)state;
    WORLD(w);
    char wrap[128], base[128], token[128];
    need_root();
    if (access("/usr/bin/setpriv", X_OK) != 0) {
        (void)fprintf(stderr, "SKIPPED: there is no setpriv to start it as another user\n");
        skip();
    }
    (void)snprintf(wrap, sizeof wrap, "/usr/bin/setpriv --reuid=%d --regid=%d --clear-groups",
                   OTHER_USER, OTHER_USER);
    world_start(&w, &(struct world_options){ .no_proxy = true });
    (void)snprintf(base, sizeof base, "ONESHOT_PROXY_UPSTREAM_BASE_URL=%s/v0", peer_url(w.api));
    (void)snprintf(token, sizeof token, "ONESHOT_PROXY_TOKEN_URL=%s/token",
                   peer_url(tokens_peer(w.tokens)));
    const char *const env[] = { base,
                                token,
                                "ONESHOT_PROXY_LISTEN_ADDRESS=127.0.0.1:0",
                                "ONESHOT_PROXY_ADMIN_ADDRESS=off",
                                "ONESHOT_PROXY_TOKEN_CLIENT_ID=" CLIENT_ID,
                                "ONESHOT_PROXY_TOKEN_CLIENT_SECRET=" CLIENT_SECRET,
                                NULL };
    assert_int_equal(setenv("ONESHOT_PROXY_WRAP", wrap, 1), 0);
    w.proxy = proxy_start("", &(struct proxy_options){ .env = env, .no_file = true });
    (void)unsetenv("ONESHOT_PROXY_WRAP");
    struct look seen = look_as(OTHER_USER, proxy_pid(w.proxy));
    assert_blind(&seen);

    pid_t plain = fork();
    assert_true(plain >= 0);
    if (plain == 0) {
        if (setgroups(0, NULL) != 0 || setgid(OTHER_USER) != 0 || setuid(OTHER_USER) != 0 ||
            prctl(PR_SET_DUMPABLE, 1) != 0)
            _exit(1);
        for (;;)
            (void)pause();
    }
    do /* until it has become the other user */
        seen = look_as(OTHER_USER, plain);
    while (seen.trace_error != 0 && waitpid(plain, NULL, WNOHANG) == 0);
    (void)kill(plain, SIGKILL);
    (void)waitpid(plain, NULL, 0);
    assert_int_equal(seen.trace_error, 0);
    assert_int_equal(seen.open_error[2], 0);
}

static struct bytes slurp(pid_t pid, const char *name)
{
    char path[64], piece[16384];
    struct bytes all = { 0 };
    size_t n;
    (void)snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    while ((n = fread(piece, 1, sizeof piece, file)) > 0)
        bytes_add(&all, piece, n);
    (void)fclose(file);
    return all;
}

static bool holds(const struct bytes *b, const char *needle)
{
    return memmem(b->data, b->len, needle, strlen(needle)) != NULL;
}

/* The secret is neither in the command line nor left in the environment, as /proc shows them.
 * (row 82) */
static void the_secret_is_in_no_argument_and_not_left_in_the_environment(void **state)
{
    (void)state;
    WORLD(w);
    need_root(); /* who may read the file */
    const char *const env[] = { "ONESHOT_PROXY_TOKEN_CLIENT_SECRET=" CLIENT_SECRET, "KEPT=kept",
                                NULL };
    world_start(&w,
                &(struct world_options){ .env = env, .settings = "-token.client_secret\n" });
    struct bytes arguments = slurp(proxy_pid(w.proxy), "cmdline");
    struct bytes environment = slurp(proxy_pid(w.proxy), "environ");
    assert_true(holds(&arguments, "--config"));
    assert_false(holds(&arguments, CANARY));
    assert_true(holds(&environment, "KEPT=kept")); /* it can be read, and */
    assert_false(holds(&environment, CANARY));
    bytes_free(&arguments);
    bytes_free(&environment);
}

/* --- flags of the process and of its memory ---------------------------------------------- */

static void status_of(pid_t pid, pid_t tid, const char *name, char *out, size_t cap)
{
    char file[48], label[48];
    (void)snprintf(file, sizeof file, "task/%d/status", (int)tid);
    (void)snprintf(label, sizeof label, "\n%s:\t", name);
    struct bytes status = slurp(pid, file);
    const char *at = strstr(bytes_text(&status), label);
    assert_non_null(at);
    at += strlen(label);
    (void)snprintf(out, cap, "%.*s", (int)strcspn(at, "\n"), at);
    bytes_free(&status);
}

static void every_thread_is_under_the_filter_and_gains_no_privileges(void **state)
{
    (void)state;
    WORLD(w);
    pid_t tid[16];
    char value[32];
    world_start(&w, &(struct world_options){ .settings = "process.workers = 3\n" });
    pid_t pid = proxy_pid(w.proxy);
    size_t n = inject_threads(pid, tid, 16);
    assert_true(n >= 4);
    for (size_t i = 0; i < n; i++) {
        if (sanitized() && tid[i] != pid)
            continue; /* the thread sanitizer had one of its own before */
        status_of(pid, tid[i], "NoNewPrivs", value, sizeof value);
        assert_string_equal(value, "1");
        status_of(pid, tid[i], "Seccomp", value, sizeof value);
        assert_string_equal(value, "2");
    }
    struct bytes limits = slurp(pid, "limits");
    const char *core = strstr(bytes_text(&limits), "Max core file size");
    unsigned long soft = 1, hard = 1;
    assert_non_null(core);
    assert_int_equal(sscanf(core, "Max core file size %lu %lu", &soft, &hard), 2);
    assert_int_equal(soft, 0);
    assert_int_equal(hard, 0);
    bytes_free(&limits);
}

/* One mapping of smaps. */
struct mapping {
    uint64_t from, to;
    bool locked, left_out; /* of core files */
};

static size_t mappings(pid_t pid, struct mapping *out, size_t most)
{
    struct bytes text = slurp(pid, "smaps");
    size_t n = 0;
    for (char *line = text.data, *next; line != NULL && *line != '\0'; line = next) {
        uint64_t from, to;
        char mode[5];
        next = strchr(line, '\n');
        if (next != NULL)
            *next++ = '\0';
        if (sscanf(line, "%lx-%lx %4s", &from, &to, mode) == 3 && strchr(line, ':') != NULL) {
            if (n == most)
                break;
            out[n++] = (struct mapping){ .from = from, .to = to };
        } else if (n > 0 && strncmp(line, "VmFlags:", 8) == 0) {
            out[n - 1].locked = strstr(line, " lo") != NULL;
            out[n - 1].left_out = strstr(line, " dd") != NULL;
        }
    }
    bytes_free(&text);
    return n;
}

/* How often the text stands in the process's memory, inside protected pages and outside. */
static void find_in_memory(pid_t pid, const char *needle, size_t *inside, size_t *outside)
{
    static struct mapping map[4096];
    char path[64];
    size_t n = mappings(pid, map, 4096);
    (void)snprintf(path, sizeof path, "/proc/%d/mem", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    *inside = *outside = 0;
    for (size_t i = 0; i < n; i++) {
        size_t size = map[i].to - map[i].from;
        if (sanitized() && size > 1UL << 20) /* shadow; nothing is asked about it */
            continue;
        char *bytes = malloc(size);
        assert_non_null(bytes);
        ssize_t got = pread(fd, bytes, size, (off_t)map[i].from);
        const char *at = bytes, *end = bytes + (got > 0 ? got : 0);
        while (at < end && (at = memmem(at, (size_t)(end - at), needle, strlen(needle)))) {
            bool locked = map[i].locked || sanitized(); /* whose mlock does nothing */
            ++*(locked && map[i].left_out ? inside : outside);
            at += strlen(needle);
        }
        free(bytes);
    }
    (void)close(fd);
}

/* Whatever the token came by: what OpenSSL has received is in memory that it frees, too. */
static void secrets_are_in_locked_memory_that_no_dump_holds(void **state)
{
    (void)state;
    static const enum cert_kind certs[] = { CERT_NONE, CERT_VALID };
    static const char *const secrets[] = { CLIENT_SECRET, CANARY "-token-1" };
    need_root();
    for (size_t i = 0; i < sizeof certs / sizeof *certs; i++) {
        WORLD(w);
        size_t inside, outside;
        struct answer a = { 0 };
        world_start(&w, &(struct world_options){ .token_cert = certs[i] });
        http_get(w.port, "/x", &a);
        assert_int_equal(a.status, 200);
        for (size_t k = 0; k < sizeof secrets / sizeof *secrets; k++) {
            find_in_memory(proxy_pid(w.proxy), secrets[k], &inside, &outside);
            assert_true(inside > 0);
            if (!sanitized()) /* which keeps what was freed */
                assert_int_equal(outside, 0);
        }
        answer_free(&a);
    }
}

/* Each request had the token in what was sent, beside more or less of its body. */
static void a_request_leaves_no_copy_of_its_token_behind(void **state)
{
    (void)state;
    static const enum cert_kind certs[] = { CERT_NONE, CERT_VALID };
    need_root();
    for (size_t i = 0; i < sizeof certs / sizeof *certs; i++) {
        WORLD(w);
        size_t inside, outside;
        struct answer a = { 0 };
        struct bytes body = { 0 };
        world_start(&w, &(struct world_options){ .cert = certs[i] });
        for (size_t size = 2; size < 100000; size *= 3) {
            bytes_fill(&body, 'b', size);
            http_call(w.port, "POST", "/x", NULL, bytes_text(&body), &a);
            assert_int_equal(a.status, 200);
            http_get(w.port, "/x", &a);
            assert_int_equal(a.status, 200);
        }
        find_in_memory(proxy_pid(w.proxy), CANARY "-token-1", &inside, &outside);
        assert_true(inside > 0);
        if (!sanitized()) /* which keeps what was freed */
            assert_int_equal(outside, 0);
        bytes_free(&body);
        answer_free(&a);
    }
}

/* By a plain connection and by TLS; in a field, and in the form that asks for a token. */
static void a_caller_leaves_no_copy_of_its_secret_behind(void **state)
{
    (void)state;
    static const char secret[] = CANARY "-of-a-caller-0123456789abcdef";
    struct cert_files files = { .serial = 0 };
    char more[256], tls[512], file[96], field[3000], form[160];
    need_root();
    certs_write(&files, CERT_VALID);
    (void)snprintf(file, sizeof file, "/tmp/oneshot-caller-%d", (int)getpid());
    write_file(file, secret);
    (void)snprintf(more, sizeof more, "[caller a]\nsecret_file = %s\nallow = all\n", file);
    (void)snprintf(tls, sizeof tls,
                   "classes.table = 1shot\nlisten.tls_certificate = %s\nlisten.tls_key = %s\n",
                   files.certificate, files.key);
    /* Behind so much that what comes later does not overwrite it. */
    (void)snprintf(field, sizeof field, "X-Padding: %02500d\r\nX-Caller-Key: %s\r\n", 0,
                   secret);
    (void)snprintf(form, sizeof form,
                   "grant_type=client_credentials&client_id=a&client_secret=%s", secret);
    for (int by_tls = 0; by_tls < 2; by_tls++) {
        WORLD(w);
        struct client c;
        struct answer a = { 0 };
        size_t inside, outside;
        world_start(
            &w, &(struct world_options){ .settings = by_tls ? tls : "classes.table = 1shot\n",
                                         .more = more });
        if (by_tls)
            assert_true(client_open_tls(&c, w.port, NULL));
        else
            client_open(&c, w.port);
        client_call(&c, "POST", "/x", field, "body", &a);
        assert_int_equal(a.status, 200);
        client_call(&c, "POST", "/token", "Content-Type: application/x-www-form-urlencoded\r\n",
                    form, &a);
        assert_int_equal(a.status, 200);
        client_call(&c, "GET", "/x", NULL, NULL, &a);
        assert_int_equal(a.status, 403);
        client_close(&c);
        int64_t deadline_ms = now_ms() + SOON_MS;
        do
            find_in_memory(proxy_pid(w.proxy), secret, &inside, &outside);
        while (outside > 0 && !sanitized() && now_ms() < deadline_ms);
        assert_true(inside > 0);
        if (!sanitized()) /* which keeps what was freed */
            assert_int_equal(outside, 0);
        answer_free(&a);
    }
    (void)unlink(file);
}

static void refuse_the_first_tokens(struct peer_conn *c, const struct peer_request *r,
                                    void *arg)
{
    (void)arg;
    if (api_token_of(r) <= 2)
        (void)peer_answer(c, 401, NULL, "no");
    else
        (void)peer_answer(c, 200, NULL, "fine");
}

/* The token before is kept while it lives; of an older one nothing is left. (row 84) */
static void an_old_token_is_wiped(void **state)
{
    (void)state;
    WORLD(w);
    size_t inside, outside;
    struct answer a = { 0 };
    need_root();
    world_start(&w, &(struct world_options){
                        .answer = refuse_the_first_tokens,
                        .settings = "token.retry_min = 1ms\ntoken.retry_max = 2ms\n" });
    int64_t deadline_ms = now_ms() + SOON_MS;
    do {
        http_get(w.port, "/x", &a);
        assert_true(now_ms() < deadline_ms);
    } while (a.status != 200);
    for (int i = 0; i < 200; i++) {
        http_get(w.port, "/x", &a);
        assert_int_equal(a.status, 200);
    }
    find_in_memory(proxy_pid(w.proxy), CANARY "-token-1", &inside, &outside);
    assert_int_equal(inside, 0);
    if (!sanitized()) /* which keeps what was freed */
        assert_int_equal(outside, 0);
    find_in_memory(proxy_pid(w.proxy), CANARY "-token-2", &inside, &outside);
    assert_true(inside > 0);
    answer_free(&a);
}

/* --- core files -------------------------------------------------------------------------- */

/* A crash leaves no core file. (row 83) */
static void a_crash_leaves_no_core_whatever_the_limit(void **state)
{
    (void)state;
    static const int kinds[] = { SIGQUIT, SIGABRT, SIGSEGV };
    const struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_CORE, &before), 0);
    bool raised = setrlimit(RLIMIT_CORE, &unlimited) == 0;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        WORLD(w);
        if (sanitized() && kinds[i] == SIGSEGV)
            continue; /* its runtime takes that one */
        world_start(&w, &(struct world_options){ 0 });
        proxy_signal(w.proxy, kinds[i]);
        assert_int_equal(proxy_wait_exit(w.proxy, SOON_MS), 128 + kinds[i]);
        assert_false(proxy_dumped_core(w.proxy));
        proxy_free(w.proxy);
        w.proxy = NULL;
    }
    if (raised)
        (void)setrlimit(RLIMIT_CORE, &before);
}

/* --- the environment --------------------------------------------------------------------- */

/* Variables like HTTPS_PROXY, SSL_CERT_FILE and SSLKEYLOGFILE, and a .netrc file, are not
 * obeyed. (row 85) */
static void the_environment_weakens_nothing(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    struct stat st;
    char dir[] = "/tmp/oneshot-home-XXXXXX", keys[80], netrc[80], netrc_env[96];
    char key_log[96], home[96], ca[160], bundle[160];
    assert_non_null(mkdtemp(dir));
    (void)snprintf(keys, sizeof keys, "%s/keys", dir);
    (void)snprintf(netrc, sizeof netrc, "%s/.netrc", dir);
    write_file(netrc, "machine localhost login mallory password mallory\n");
    (void)snprintf(key_log, sizeof key_log, "SSLKEYLOGFILE=%s", keys);
    (void)snprintf(home, sizeof home, "HOME=%s", dir);
    (void)snprintf(netrc_env, sizeof netrc_env, "NETRC=%s", netrc);
    (void)snprintf(ca, sizeof ca, "SSL_CERT_FILE=%s", certs_ca_file());
    (void)snprintf(bundle, sizeof bundle, "CURL_CA_BUNDLE=%s", certs_ca_file());
    const char *const env[] = { key_log,
                                home,
                                netrc_env,
                                ca,
                                bundle,
                                "HTTPS_PROXY=http://127.0.0.1:1",
                                "https_proxy=http://127.0.0.1:1",
                                "ALL_PROXY=http://127.0.0.1:1",
                                NULL };
    /* with the CA in ca_file: it works, and leaves no keys behind */
    world_start(&w, &(struct world_options){ .cert = CERT_VALID, .env = env });
    http_get(w.port, "/x", &a);
    assert_int_equal(a.status, 200);
    char value[128];
    const struct peer_request *r = peer_request(w.api, " /v0/x", 0);
    assert_non_null(r);
    assert_true(head_value(bytes_text(&r->head), "Authorization", 0, value, sizeof value));
    assert_string_equal(value, "Bearer " CANARY "-token-1");
    assert_int_equal(stat(keys, &st), -1);
    world_end(&w);
    /* without: the variables do not make it trust that CA */
    world_start(&w, &(struct world_options){
                        .cert = CERT_VALID,
                        .env = env,
                        .settings = "-upstream.ca_file\nupstream.connect_timeout = 60s\n" });
    http_get(w.port, "/x", &a);
    assert_problem(&a, 502, "upstream", "tls_certificate_error");
    assert_int_equal(stat(keys, &st), -1);
    answer_free(&a);
    world_end(&w);
    (void)unlink(netrc);
    assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(another_user_sees_neither_memory_nor_environment),
        TEST(the_same_user_sees_neither_memory_nor_environment),
        TEST(the_secret_is_in_no_argument_and_not_left_in_the_environment),
        TEST(every_thread_is_under_the_filter_and_gains_no_privileges),
        TEST(secrets_are_in_locked_memory_that_no_dump_holds),
        TEST(a_request_leaves_no_copy_of_its_token_behind),
        TEST(a_caller_leaves_no_copy_of_its_secret_behind),
        TEST(an_old_token_is_wiped),
        TEST(a_crash_leaves_no_core_whatever_the_limit),
        TEST(the_environment_weakens_nothing),
    };
    return RUN_TESTS(tests);
}

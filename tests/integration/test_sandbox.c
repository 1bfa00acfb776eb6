/* process.sandbox against an attacker who controls a thread of the program: its system calls
 * are refused, in every thread, and the program goes on serving. */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "harness.h"
#include "inject.h"

#define THREADS_MAX 16
#define LANDLOCK_CREATE 444

/* The version that the kernel offers; 0: none. */
static long landlock_abi(void)
{
    long abi = syscall(LANDLOCK_CREATE, NULL, (size_t)0, 1U);
    return abi > 0 ? abi : 0;
}

static void need_landlock(void)
{
    if (landlock_abi() == 0) {
        (void)fprintf(stderr, "SKIPPED: this kernel has no Landlock\n");
        skip();
    }
}

static void need_injection(void)
{
    if (inject_obstacle() != NULL) {
        (void)fprintf(stderr, "SKIPPED: %s\n", inject_obstacle());
        skip();
    }
}

/* --- one call in every thread ------------------------------------------------------------ */

#define OPEN(path, flags)                                                                 \
    ((struct inject){ SYS_openat,                                                         \
                      { INJECT_NUMBER(AT_FDCWD), INJECT_TEXT(path), INJECT_NUMBER(flags), \
                        INJECT_NUMBER(0600) } })

static void all_threads(struct world *w, const char *what, const struct inject *call, long want)
{
    pid_t tid[THREADS_MAX];
    size_t n = inject_threads(proxy_pid(w->proxy), tid, THREADS_MAX);
    for (size_t i = 0; i < n; i++) {
        long got = inject(tid[i], call);
        if (got != want)
            fail_msg("%s in thread %zu of %zu: %ld (%s), not %ld (%s)", what, i + 1, n, got,
                     got < 0 ? strerror((int)-got) : "it worked", want,
                     want < 0 ? strerror((int)-want) : "");
    }
}

static void refused(struct world *w, const char *what, struct inject call, int error)
{
    all_threads(w, what, &call, -error);
}

/* In the main thread only; the number that came out. */
static long in_main(struct world *w, struct inject call)
{
    return inject(proxy_pid(w->proxy), &call);
}

static void close_in_main(struct world *w, long fd)
{
    assert_true(fd >= 0);
    assert_int_equal(in_main(w, (struct inject){ SYS_close, { INJECT_NUMBER(fd) } }), 0);
}

static void serves(struct world *w)
{
    struct answer a = { 0 };
    http_get(w->port, "/x", &a);
    assert_int_equal(a.status, 200);
    answer_free(&a);
}

static void start(struct world *w, const char *settings)
{
    char both[1024];
    need_injection();
    /* a TLS upstream by name, so that names and certificates are needed all the time */
    (void)snprintf(both, sizeof both, "process.workers = 2\n%s", settings);
    world_start(w, &(struct world_options){ .cert = CERT_VALID, .settings = both });
    serves(w);
}

static void end(struct world *w)
{
    serves(w);
    world_end(w);
}

/* --- files ------------------------------------------------------------------------------- */

static void no_thread_can_read_other_files(void **state)
{
    (void)state;
    static const char *const files[] = { "/etc/passwd", "/etc/shadow", "/proc/1/environ",
                                         "/bin/sh",     "/dev/mem",    "/dev/null",
                                         "/",           "/tmp",        "/etc" };
    struct world w;
    need_landlock();
    start(&w, "");
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (access(files[i], F_OK) == 0 &&
            !(sanitized() && strncmp(files[i], "/proc", 5) == 0)) /* its runtime reads there */
            refused(&w, files[i], OPEN(files[i], O_RDONLY), EACCES);
    end(&w);
}

static void its_own_files_can_be_read_and_not_written(void **state)
{
    (void)state;
    struct world w;
    char ini[128], fresh[128];
    start(&w, "");
    (void)snprintf(ini, sizeof ini, "%s/oneshot-proxy.ini", proxy_dir(w.proxy));
    (void)snprintf(fresh, sizeof fresh, "%s/fresh", proxy_dir(w.proxy));
    close_in_main(&w, in_main(&w, OPEN(ini, O_RDONLY)));
    refused(&w, "writing", OPEN(ini, O_WRONLY), EPERM);
    refused(&w, "appending", OPEN(ini, O_RDWR | O_APPEND), EPERM);
    refused(&w, "emptying", OPEN(ini, O_RDONLY | O_TRUNC), EPERM);
    refused(&w, "creating", OPEN(fresh, O_RDONLY | O_CREAT), EPERM);
    refused(&w, "openat2", (struct inject){ SYS_openat2, { INJECT_NUMBER(AT_FDCWD) } }, ENOSYS);
    refused(&w, "mkdir",
            (struct inject){ SYS_mkdirat, { INJECT_NUMBER(AT_FDCWD), INJECT_TEXT(fresh) } },
            EPERM);
    refused(&w, "unlink",
            (struct inject){ SYS_unlinkat, { INJECT_NUMBER(AT_FDCWD), INJECT_TEXT(ini) } },
            EPERM);
    refused(&w, "chmod",
            (struct inject){ SYS_fchmodat, { INJECT_NUMBER(AT_FDCWD), INJECT_TEXT(ini) } },
            EPERM);
    refused(&w, "rename",
            (struct inject){ SYS_renameat2,
                             { INJECT_NUMBER(AT_FDCWD), INJECT_TEXT(ini),
                               INJECT_NUMBER(AT_FDCWD), INJECT_TEXT(fresh) } },
            EPERM);
    refused(
        &w, "symlink",
        (struct inject){ SYS_symlinkat,
                         { INJECT_TEXT(ini), INJECT_NUMBER(AT_FDCWD), INJECT_TEXT(fresh) } },
        EPERM);
    end(&w);
}

/* --- programs and processes -------------------------------------------------------------- */

static void no_thread_can_become_another_program(void **state)
{
    (void)state;
    struct world w;
    start(&w, "");
    refused(&w, "execve", (struct inject){ SYS_execve, { INJECT_TEXT("/bin/true") } }, EPERM);
    refused(
        &w, "execveat",
        (struct inject){ SYS_execveat, { INJECT_NUMBER(AT_FDCWD), INJECT_TEXT("/bin/true") } },
        EPERM);
    if (!sanitized()) /* whose leak checker makes a process of its own */
        refused(&w, "clone", (struct inject){ SYS_clone, { INJECT_NUMBER(SIGCHLD) } }, EPERM);
#ifdef SYS_fork
    refused(&w, "fork", (struct inject){ SYS_fork, { INJECT_NUMBER(0) } }, EPERM);
#endif
    refused(&w, "clone3", (struct inject){ SYS_clone3, { INJECT_NUMBER(0) } }, ENOSYS);
    refused(&w, "unshare", (struct inject){ SYS_unshare, { INJECT_NUMBER(0) } }, EPERM);
    refused(
        &w, "code that was written",
        (struct inject){ SYS_mmap,
                         { INJECT_NUMBER(0), INJECT_NUMBER(4096),
                           INJECT_NUMBER(PROT_READ | PROT_WRITE | PROT_EXEC),
                           INJECT_NUMBER(MAP_PRIVATE | MAP_ANONYMOUS), INJECT_NUMBER(-1) } },
        EPERM);
    long page = in_main(&w, (struct inject){ SYS_mmap,
                                             { INJECT_NUMBER(0), INJECT_NUMBER(4096),
                                               INJECT_NUMBER(PROT_READ | PROT_WRITE),
                                               INJECT_NUMBER(MAP_PRIVATE | MAP_ANONYMOUS),
                                               INJECT_NUMBER(-1) } });
    assert_true(page > 0);
    refused(&w, "what was written made code",
            (struct inject){ SYS_mprotect,
                             { INJECT_NUMBER(page), INJECT_NUMBER(4096),
                               INJECT_NUMBER(PROT_READ | PROT_EXEC) } },
            EPERM);
    end(&w);
}

static void no_thread_can_reach_another_process(void **state)
{
    (void)state;
    struct world w;
    start(&w, "");
    const struct inject_arg me = INJECT_NUMBER(getpid()), none = INJECT_NUMBER(0);
    const struct inject_arg hang_up = INJECT_NUMBER(SIGHUP);
    refused(&w, "kill", (struct inject){ SYS_kill, { me, none } }, EPERM);
    refused(&w, "tkill", (struct inject){ SYS_tkill, { me, none } }, EPERM);
    refused(&w, "tgkill", (struct inject){ SYS_tgkill, { me, me, hang_up } }, EPERM);
    refused(&w, "pidfd_open", (struct inject){ SYS_pidfd_open, { me, none } }, EPERM);
    refused(&w, "process_vm_readv", (struct inject){ SYS_process_vm_readv, { me } }, EPERM);
    if (!sanitized())
        refused(&w, "ptrace",
                (struct inject){ SYS_ptrace, { INJECT_NUMBER(PTRACE_SEIZE), me } }, EPERM);
    end(&w);
}

static void no_thread_can_undo_the_protection(void **state)
{
    (void)state;
    struct world w;
    start(&w, "");
    if (!sanitized())
        refused(
            &w, "dumpable",
            (struct inject){ SYS_prctl, { INJECT_NUMBER(PR_SET_DUMPABLE), INJECT_NUMBER(1) } },
            EPERM);
    const uint64_t unlimited[2] = { UINT64_MAX, UINT64_MAX };
    refused(&w, "core files",
            (struct inject){ SYS_prlimit64,
                             { INJECT_NUMBER(0), INJECT_NUMBER(4 /* RLIMIT_CORE */),
                               INJECT_BYTES(unlimited, sizeof unlimited) } },
            EPERM);
    refused(&w, "setuid", (struct inject){ SYS_setuid, { INJECT_NUMBER(0) } }, EPERM);
    refused(&w, "capset", (struct inject){ SYS_capset, { INJECT_NUMBER(0) } }, EPERM);
    refused(&w, "bpf", (struct inject){ SYS_bpf, { INJECT_NUMBER(0) } }, EPERM);
    refused(&w, "io_uring", (struct inject){ SYS_io_uring_setup, { INJECT_NUMBER(8) } }, EPERM);
    refused(&w, "a call of the future", (struct inject){ 5000, { INJECT_NUMBER(0) } }, ENOSYS);
    refused(&w, "mount", (struct inject){ SYS_mount, { INJECT_NUMBER(0) } }, EPERM);
    end(&w);
}

/* --- the network ------------------------------------------------------------------------- */

static int listen_somewhere(int *port)
{
    struct sockaddr_in addr = { .sin_family = AF_INET,
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof addr;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
    *port = ntohs(addr.sin_port);
    return fd;
}

static long connect_in_main(struct world *w, int port)
{
    const struct sockaddr_in addr = { .sin_family = AF_INET,
                                      .sin_port = htons((uint16_t)port),
                                      .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    long fd = in_main(w, (struct inject){ SYS_socket,
                                          { INJECT_NUMBER(AF_INET),
                                            INJECT_NUMBER(SOCK_STREAM | SOCK_CLOEXEC) } });
    long rc = in_main(w, (struct inject){ SYS_connect,
                                          { INJECT_NUMBER(fd), INJECT_BYTES(&addr, sizeof addr),
                                            INJECT_NUMBER(sizeof addr) } });
    close_in_main(w, fd);
    return rc;
}

static void no_thread_can_connect_elsewhere(void **state)
{
    (void)state;
    struct world w;
    int port = 0;
    if (landlock_abi() < 4) {
        (void)fprintf(stderr,
                      "SKIPPED: Landlock rules connections from version 4 on, this "
                      "kernel has %ld\n",
                      landlock_abi());
        skip();
    }
    int fd = listen_somewhere(&port);
    start(&w, "");
    assert_int_equal(connect_in_main(&w, port), -EACCES);
    assert_int_equal(connect_in_main(&w, peer_port(w.api)), 0);
    assert_int_equal(connect_in_main(&w, peer_port(tokens_peer(w.tokens))), 0);
    (void)close(fd);
    end(&w);
}

static void no_thread_can_listen_anew_or_speak_to_local_services(void **state)
{
    (void)state;
    static const struct {
        int domain;
        const char *name;
    } others[] = {
        { AF_UNIX, "unix" }, { AF_PACKET, "packet" }, { 38, "alg" }, { 40, "vsock" }
    };
    struct world w;
    const struct sockaddr_in any = { .sin_family = AF_INET };
    start(&w, "");
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        refused(
            &w, others[i].name,
            (struct inject){ SYS_socket,
                             { INJECT_NUMBER(others[i].domain), INJECT_NUMBER(SOCK_STREAM) } },
            EPERM);
    /* Landlock does not know it, and it falls back to TCP */
    refused(&w, "multipath TCP",
            (struct inject){ SYS_socket,
                             { INJECT_NUMBER(AF_INET), INJECT_NUMBER(SOCK_STREAM),
                               INJECT_NUMBER(262 /* IPPROTO_MPTCP */) } },
            EPERM);
    long fd =
        in_main(&w, (struct inject){ SYS_socket,
                                     { INJECT_NUMBER(AF_INET), INJECT_NUMBER(SOCK_STREAM) } });
    if (landlock_abi() >= 4)
        refused(&w, "bind",
                (struct inject){ SYS_bind,
                                 { INJECT_NUMBER(fd), INJECT_BYTES(&any, sizeof any),
                                   INJECT_NUMBER(sizeof any) } },
                EACCES);
    refused(&w, "listen",
            (struct inject){ SYS_listen, { INJECT_NUMBER(fd), INJECT_NUMBER(1) } }, EPERM);
    close_in_main(&w, fd);
    end(&w);
}

/* --- what it says, and without it -------------------------------------------------------- */

static void the_ready_line_says_what_is_in_force(void **state)
{
    (void)state;
    WORLD(w);
    char text[128], want[64];
    world_start(&w, &(struct world_options){ 0 });
    assert_true(proxy_log_field(w.proxy, "event=ready", 0, "sandbox", text, sizeof text));
    (void)snprintf(want, sizeof want, "landlock(abi %ld)+seccomp", landlock_abi());
    assert_string_equal(text, landlock_abi() > 0 ? want : "seccomp");
    assert_int_equal(proxy_log_count(w.proxy, "event=sandbox_partial"), landlock_abi() == 0);
}

static void switched_off_the_same_calls_work(void **state)
{
    (void)state;
    struct world w;
    int port = 0;
    int fd = listen_somewhere(&port);
    start(&w, "process.sandbox = off\n");
    assert_int_equal(proxy_log_count(w.proxy, "event=ready sandbox=off"), 1);
    close_in_main(&w, in_main(&w, OPEN("/etc/passwd", O_RDONLY)));
    assert_int_equal(connect_in_main(&w, port), 0);
    close_in_main(&w, in_main(&w, (struct inject){ SYS_socket,
                                                   { INJECT_NUMBER(AF_UNIX),
                                                     INJECT_NUMBER(SOCK_STREAM) } }));
    const struct inject_arg me = INJECT_NUMBER(getpid()), none = INJECT_NUMBER(0);
    assert_int_equal(in_main(&w, (struct inject){ SYS_kill, { me, none } }), 0);
    (void)close(fd);
    end(&w);
}

/* This very program, told to forbid itself one system call and to become another one then:
 * what a kernel without it looks like. */
static void start_without(struct world *w, const char *call)
{
    char self[256] = "", wrap[512];
    assert_true(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
    (void)snprintf(wrap, sizeof wrap, "%s --without %s", self, call);
    assert_int_equal(setenv("ONESHOT_PROXY_WRAP", wrap, 1), 0);
    world_start(w, &(struct world_options){ 0 });
    (void)unsetenv("ONESHOT_PROXY_WRAP");
}

static void a_kernel_that_lacks_something_is_one_line_and_no_failure(void **state)
{
    (void)state;
    static const struct {
        const char *call, *in_force, *missing;
    } kinds[] = { { "landlock", "sandbox=seccomp", "Landlock: Function not implemented" },
                  { "seccomp", "sandbox=\"landlock(abi", "seccomp: Function not implemented" },
                  { "both", "sandbox=none", "Landlock: Function not implemented; seccomp: " } };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct world w;
        if (landlock_abi() == 0 && strcmp(kinds[i].call, "seccomp") == 0)
            continue;
        start_without(&w, kinds[i].call);
        assert_true(proxy_log_contains(w.proxy, kinds[i].in_force));
        assert_true(proxy_log_contains(w.proxy, kinds[i].missing));
        assert_int_equal(proxy_log_count(w.proxy, "event=sandbox_partial level=warn"), 1);
        end(&w);
    }
}

/* --- reload inside ----------------------------------------------------------------------- */

static void put(const char *dir, const char *name, const char *text, char *path, size_t cap)
{
    (void)snprintf(path, cap, "%s/%s", dir, name);
    write_file(path, text);
}

static void what_a_reload_may_not_reach_is_named_with_its_key(void **state)
{
    (void)state;
    WORLD(w);
    struct world_options options = { .cert = CERT_VALID };
    char dir[] = "/tmp/oneshot-other-XXXXXX", path[64], settings[128], line[256];
    need_landlock();
    world_start(&w, &options);
    assert_non_null(mkdtemp(dir));
    put(dir, "secret", "canary-other", path, sizeof path);
    (void)snprintf(settings, sizeof settings,
                   "token.client_secret_file = %s\n-token.client_secret\n", path);
    options.settings = settings;
    world_reload(&w, &options, "reload_refused");
    (void)snprintf(
        line, sizeof line,
        "token.client_secret_file: %s: cannot be read: it is not among the files that "
        "the sandbox lets this process read since its start; restart to use it",
        path);
    assert_true(proxy_log_contains(w.proxy, line));
    serves(&w);
    if (landlock_abi() >= 4) {
        options.settings = "upstream.base_url = https://localhost:1/v0\n";
        world_reload(&w, &options, "reload_refused");
        assert_true(proxy_log_contains(
            w.proxy, "upstream.base_url: the sandbox lets this process connect to the ports of "
                     "its start only, and 1 was not among them; restart to use it"));
        options.settings = "upstream.proxy = http://127.0.0.1:2\n";
        world_reload(&w, &options, "reload_refused");
        assert_true(proxy_log_contains(w.proxy, "upstream.proxy: the sandbox lets"));
    }
    options.settings = "log.access = no\n";
    world_reload(&w, &options, "reloaded");
    serves(&w);
    world_end(&w);
    (void)unlink(path);
    (void)rmdir(dir);
}

static void
a_file_of_its_own_directory_may_be_replaced_and_one_of_a_shared_may_not(void **state)
{
    (void)state;
    WORLD(w);
    char lonely[] = "/tmp/oneshot-secret-XXXXXX", next[64], ini[128], other[128];
    char settings[128];
    struct world_options options = { .settings = settings };
    need_landlock();
    int fd = mkstemp(lonely);
    assert_int_equal(write(fd, CLIENT_SECRET, strlen(CLIENT_SECRET)), strlen(CLIENT_SECRET));
    (void)close(fd);
    (void)snprintf(settings, sizeof settings,
                   "token.client_secret_file = %s\n-token.client_secret\n", lonely);
    world_start(&w, &options);
    /* the ini: another file under the same name */
    (void)snprintf(ini, sizeof ini, "%s/oneshot-proxy.ini", proxy_dir(w.proxy));
    (void)snprintf(other, sizeof other, "%s/other.ini", proxy_dir(w.proxy));
    assert_int_equal(rename(ini, other), 0);
    world_reload(&w, &options, "reloaded");
    /* the secret, in /tmp */
    (void)snprintf(next, sizeof next, "%s.next", lonely);
    write_file(next, CLIENT_SECRET);
    assert_int_equal(rename(next, lonely), 0);
    proxy_signal(w.proxy, SIGHUP);
    assert_true(proxy_log_wait(w.proxy, "event=reload_refused", 1, SOON_MS));
    assert_true(proxy_log_contains(w.proxy, "token.client_secret_file: "));
    assert_true(proxy_log_contains(w.proxy, "restart to use it"));
    serves(&w);
    world_end(&w);
    (void)unlink(lonely);
}

static void its_unix_socket_goes_at_the_end(void **state)
{
    (void)state;
    WORLD(w);
    char dir[] = "/tmp/oneshot-socket-XXXXXX", settings[256], path[64];
    struct stat st;
    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/s", dir);
    (void)snprintf(settings, sizeof settings,
                   "listen.address = 127.0.0.1:0, unix:%s\nadmin.address = unix:%s/a\n", path,
                   dir);
    world_start(&w, &(struct world_options){ .settings = settings });
    assert_int_equal(lstat(path, &st), 0);
    serves(&w);
    world_end(&w);
    assert_int_equal(lstat(path, &st), -1);
    assert_int_equal(rmdir(dir), 0); /* nothing is left in it */
}

/* --- many files --------------------------------------------------------------------------- */

#define CALLERS 31 /* and [caller other]: as many as there may be */

/* One caller: its secret where a Kubernetes volume has it, and a link to that. */
static void make_caller(const char *dir, int n, struct bytes *sections)
{
    static const char *const directories[] = { "", "volume", "volume/v1" };
    static const struct {
        const char *name, *target;
    } links[] = { { "volume/..data", "v1" },
                  { "volume/secret", "..data/secret" },
                  { "secret", "volume/secret" } };
    char own[64], path[128], secret[96];

    (void)snprintf(own, sizeof own, "%s/%d", dir, n);
    for (size_t i = 0; i < sizeof directories / sizeof *directories; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", own, directories[i]);
        assert_int_equal(mkdir(path, 0755), 0);
    }
    (void)snprintf(secret, sizeof secret, CANARY "-0123456789abcdef0123456789abcdef-%d", n);
    put(own, "volume/v1/secret", secret, path, sizeof path);
    for (size_t i = 0; i < sizeof links / sizeof *links; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", own, links[i].name);
        assert_int_equal(symlink(links[i].target, path), 0);
    }
    bytes_addf(sections, "[caller c%d]\nsecret_file = %s/secret\nallow = read\n", n, own);
}

static void remove_caller(const char *dir, int n)
{
    static const char *const names[] = {
        "secret", "volume/secret", "volume/..data", "volume/v1/secret", "volume/v1", "volume",
        ""
    };
    char path[128];

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        (void)snprintf(path, sizeof path, "%s/%d/%s", dir, n, names[i]);
        assert_int_equal(remove(path), 0);
    }
}

static void however_many_files_the_settings_name_the_systems_own_can_be_read(void **state)
{
    (void)state;
    WORLD(w);
    char dir[] = "/tmp/oneshot-callers-XXXXXX";
    struct bytes sections = { 0 };
    need_landlock();
    need_injection();
    assert_non_null(mkdtemp(dir));
    for (int i = 0; i < CALLERS; i++)
        make_caller(dir, i, &sections);
    bytes_add_str(&sections, "[caller other]\nallow = all\n");
    world_start(&w, &(struct world_options){ .cert = CERT_VALID,
                                             .settings = "classes.table = 1shot\n",
                                             .more = bytes_text(&sections) });
    serves(&w);
    close_in_main(&w, in_main(&w, OPEN("/etc/ld.so.cache", O_RDONLY)));
    world_end(&w);
    for (int i = 0; i < CALLERS; i++)
        remove_caller(dir, i);
    assert_int_equal(rmdir(dir), 0);
    bytes_free(&sections);
}

/* --- the wrapper ------------------------------------------------------------------------- */

static int run_without(const char *call, char **argv)
{
    const bool both = strcmp(call, "both") == 0;
    const uint32_t landlock = strcmp(call, "seccomp") == 0 ? 9999 : LANDLOCK_CREATE;
    const uint32_t seccomp = both || strcmp(call, "seccomp") == 0 ? SYS_seccomp : 9999;
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, landlock, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, seccomp, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog filter = { sizeof code / sizeof *code, code };
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0)
        return 1;
    (void)execv(argv[0], argv);
    return 1;
}

int main(int argc, char **argv)
{
    if (argc > 3 && strcmp(argv[1], "--without") == 0)
        return run_without(argv[2], argv + 3);
    const struct CMUnitTest tests[] = {
        TEST(the_ready_line_says_what_is_in_force),
        TEST(no_thread_can_read_other_files),
        TEST(its_own_files_can_be_read_and_not_written),
        TEST(no_thread_can_become_another_program),
        TEST(no_thread_can_reach_another_process),
        TEST(no_thread_can_undo_the_protection),
        TEST(no_thread_can_connect_elsewhere),
        TEST(no_thread_can_listen_anew_or_speak_to_local_services),
        TEST(switched_off_the_same_calls_work),
        TEST(a_kernel_that_lacks_something_is_one_line_and_no_failure),
        TEST(what_a_reload_may_not_reach_is_named_with_its_key),
        TEST(a_file_of_its_own_directory_may_be_replaced_and_one_of_a_shared_may_not),
        TEST(its_unix_socket_goes_at_the_end),
        TEST(however_many_files_the_settings_name_the_systems_own_can_be_read),
    };
    return RUN_TESTS(tests);
}

/* log.c: lines are whole, parse in both formats whatever the bytes, and never block.
 * fd 2 is looked at once per process, so every test logs in a child with an fd 2 of its own. */
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "base/log.h"
#include "unit.h"

typedef void scenario_fn(void);

static void run(scenario_fn *scenario, int stderr_fd)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)alarm(250); /* a log that blocks fails the test, it does not hang it */
        if (dup2(stderr_fd, STDERR_FILENO) < 0)
            _exit(1);
        scenario();
        log_flush();
        _exit(0);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

/* Runs the scenario in a child whose fd 2 is a file, and reads that. */
static char *lines_of(scenario_fn *scenario)
{
    static char text[1 << 20];
    int fd = memfd_create("stderr", MFD_CLOEXEC);

    assert_true(fd >= 0);
    run(scenario, fd);
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    assert_true(n >= 0 && n < (ssize_t)sizeof text - 1);
    text[n] = '\0';
    (void)close(fd);
    return text;
}

/* One line as a JSON object; the caller puts it. */
static struct json_object *object_of(const char *line, size_t len)
{
    struct json_tokener *tok = json_tokener_new();

    json_tokener_set_flags(tok, JSON_TOKENER_VALIDATE_UTF8);
#if JSON_C_VERSION_NUM < (18 << 8) /* a strict 0.18 refuses all characters outside ASCII */
    json_tokener_set_flags(tok, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
#endif
    struct json_object *o = json_tokener_parse_ex(tok, line, (int)len);
    assert_int_equal(json_tokener_get_error(tok), json_tokener_success);
    assert_true(json_object_is_type(o, json_type_object));
    json_tokener_free(tok);
    return o;
}

static struct json_object *only_object(const char *text)
{
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
    return object_of(text, strlen(text) - 1);
}

static const char *member(struct json_object *o, const char *key)
{
    struct json_object *value = NULL;

    if (!json_object_object_get_ex(o, key, &value))
        return NULL;
    return json_object_get_string(value);
}

/* The part of a logfmt line behind the time stamp. */
static const char *behind_time(const char *line)
{
    int end = 0;
    int part[7];

    assert_int_equal(sscanf(line, "ts=%4d-%2d-%2dT%2d:%2d:%2d.%3dZ %n", &part[0], &part[1],
                            &part[2], &part[3], &part[4], &part[5], &part[6], &end),
                     7);
    assert_int_equal(end, (int)strlen("ts=2026-11-24T09:10:11.123Z "));
    return line + end;
}

static void log_all_types(void)
{
    log_info("event_name", log_str("plain", "/v0/chains"), log_str("spaced", "a b"),
             log_str("absent", NULL), log_strn("part", "abcdef", 3), log_int("n", -42),
             log_duration("total_ms", 1234567), log_duration("tiny_ms", 7),
             log_duration("past_ms", -1500), log_int("least", INT64_MIN), log_str("empty", ""),
             log_int("zero", 0));
}

static void a_logfmt_line_shows_every_type(void **state)
{
    (void)state;
    assert_string_equal(behind_time(lines_of(log_all_types)),
                        "level=info event=event_name plain=/v0/chains spaced=\"a b\" part=abc "
                        "n=-42 total_ms=1234.567 tiny_ms=0.007 past_ms=-1.500 "
                        "least=-9223372036854775808 empty=\"\" zero=0\n");
}

static void log_all_types_as_json(void)
{
    log_setup(LOG_INFO, LOG_JSON);
    log_all_types();
}

static void a_json_line_shows_every_type(void **state)
{
    (void)state;
    const char *text = lines_of(log_all_types_as_json);
    assert_non_null(strstr(text, "Z\",\"level\":\"info\",\"event\":\"event_name\","
                                 "\"plain\":\"/v0/chains\",\"spaced\":\"a b\",\"part\":\"abc\","
                                 "\"n\":-42,\"total_ms\":1234.567,\"tiny_ms\":0.007,"
                                 "\"past_ms\":-1.500,\"least\":-9223372036854775808,"
                                 "\"empty\":\"\",\"zero\":0}\n"));
    struct json_object *o = only_object(text);
    assert_int_equal(strlen(member(o, "ts")), strlen("2026-11-24T09:10:11.123Z"));
    assert_null(member(o, "absent"));
    json_object_put(o);
}

static const char forged[] =
    "x\nts=1 level=info event=ready admin=\"y\" \\\r\t\x01\x7f\x9b\xc3\xa4";

static void log_forged(void)
{
    log_info("access", log_str("path", forged), log_str("sum", "a=b"), log_str("quote", "\""));
}

static void a_forged_line_stays_inside_its_value(void **state)
{
    (void)state;
    assert_string_equal(
        behind_time(lines_of(log_forged)),
        "level=info event=access path=\"x\\nts=1 level=info event=ready admin=\\\"y\\\" "
        "\\\\\\r\\t\\x01\\x7f\\x9b\\xc3\\xa4\" sum=\"a=b\" quote=\"\\\"\"\n");
}

static void log_forged_as_json(void)
{
    log_setup(LOG_INFO, LOG_JSON);
    log_forged();
}

static void a_forged_line_is_one_json_object(void **state)
{
    (void)state;
    struct json_object *o = only_object(lines_of(log_forged_as_json));
    assert_string_equal(
        member(o, "path"),
        "x\nts=1 level=info event=ready admin=\"y\" \\\r\t\x01\x7f\xef\xbf\xbd\xc3\xa4");
    assert_string_equal(member(o, "event"), "access");
    json_object_put(o);
}

static void log_every_byte_pair_as_json(void)
{
    log_setup(LOG_INFO, LOG_JSON);
    for (int a = 0; a < 256; a++) {
        char value[512];
        for (size_t b = 0; b < 256; b++) {
            value[2 * b] = (char)a;
            value[2 * b + 1] = (char)b;
        }
        log_info("bytes", log_strn("value", value, sizeof value));
    }
}

static void any_bytes_make_valid_json(void **state)
{
    int lines = 0;

    (void)state;
    for (const char *at = lines_of(log_every_byte_pair_as_json); *at != '\0'; lines++) {
        const char *end = strchr(at, '\n');
        assert_non_null(end);
        struct json_object *o = object_of(at, (size_t)(end - at));
        assert_non_null(member(o, "value"));
        json_object_put(o);
        at = end + 1;
    }
    assert_int_equal(lines, 256);
}

static void log_bad_utf8(void)
{
    log_setup(LOG_INFO, LOG_JSON);
    log_info("utf8", log_str("good", "\xe2\x82\xac\xf0\x9f\x98\x80"),
             log_str("overlong", "\xc0\xaf\xe0\x80\xaf"), log_str("surrogate", "\xed\xa0\x80"),
             log_str("beyond", "\xf4\x90\x80\x80"), log_strn("short", "\xe2\x82", 2),
             log_str("c1", "\xc2\x9b"));
}

static void only_sound_utf8_passes_into_json(void **state)
{
    (void)state;
    const char *text = lines_of(log_bad_utf8);
    assert_non_null(strstr(text, "\"good\":\"\xe2\x82\xac\xf0\x9f\x98\x80\""));
    assert_non_null(strstr(text, "\"overlong\":\"\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\""));
    assert_non_null(strstr(text, "\"surrogate\":\"\\ufffd\\ufffd\\ufffd\""));
    assert_non_null(strstr(text, "\"beyond\":\"\\ufffd\\ufffd\\ufffd\\ufffd\""));
    assert_non_null(strstr(text, "\"short\":\"\\ufffd\\ufffd\""));
    assert_non_null(strstr(text, "\"c1\":\"\\u009b\""));
    json_object_put(only_object(text));
}

static char huge[20000];

static void log_long_values(void)
{
    log_info("access", log_str("path", huge), log_int("status", 200));
    log_info("access", log_str("a", huge), log_str("b", huge), log_str("c", huge),
             log_int("status", 200));
}

static void a_long_value_is_cut_and_the_other_fields_stay(void **state)
{
    (void)state;
    memset(huge, 'x', sizeof huge - 1);
    const char *text = lines_of(log_long_values);
    const char *second = strchr(text, '\n') + 1;

    assert_true(second - text <= 4096);
    assert_true(second - text > 2000);
    assert_int_equal(strncmp(second - strlen("xxx...\" status=200 cut=true\n"),
                             "xxx...\" status=200 cut=true\n", 28),
                     0);
    assert_true(strlen(second) <= 4096);
    assert_string_equal(second + strlen(second) - 10, " cut=true\n");
}

static void log_long_values_as_json(void)
{
    log_setup(LOG_INFO, LOG_JSON);
    for (size_t i = 0; i < sizeof huge - 1; i++)
        huge[i] = "\x01\xe2\x82\xac\""[i % 5];
    for (size_t n = 0; n < 40; n++) /* the cut goes through every kind of escape */
        log_info("access", log_strn("pad", huge, n), log_str("a", huge), log_str("b", huge),
                 log_str("c", huge), log_int("status", 200));
}

static void a_cut_line_is_valid_json_of_at_most_4_kib(void **state)
{
    int lines = 0;

    (void)state;
    for (const char *at = lines_of(log_long_values_as_json); *at != '\0'; lines++) {
        const char *end = strchr(at, '\n');
        assert_non_null(end);
        assert_true(end - at < 4096);
        struct json_object *o = object_of(at, (size_t)(end - at));
        assert_string_equal(member(o, "cut"), "true");
        json_object_put(o);
        at = end + 1;
    }
    assert_int_equal(lines, 40);
}

static void log_each_level(void)
{
    log_setup(LOG_WARN, LOG_LOGFMT);
    log_error("one");
    log_warn("two");
    log_info("three");
    log_debug("four");
    log_setup(LOG_DEBUG, LOG_LOGFMT);
    log_debug("five");
}

static void only_the_wanted_levels_are_written(void **state)
{
    (void)state;
    const char *text = lines_of(log_each_level);
    assert_non_null(strstr(text, " level=error event=one\n"));
    assert_non_null(strstr(text, " level=warn event=two\n"));
    assert_null(strstr(text, "three"));
    assert_null(strstr(text, "four"));
    assert_non_null(strstr(text, " level=debug event=five\n"));
}

static void log_without_flush(void)
{
    log_info("gathered");
    log_warn("urgent");
    log_info("never_flushed");
    _exit(0);
}

static void a_warning_goes_out_at_once_with_what_was_gathered(void **state)
{
    (void)state;
    const char *text = lines_of(log_without_flush);
    assert_non_null(strstr(text, "event=gathered\n"));
    assert_non_null(strstr(text, "event=urgent\n"));
    assert_null(strstr(text, "never_flushed"));
}

static void log_many(void)
{
    for (int i = 0; i < 1000; i++)
        log_info("many", log_int("i", i));
}

static void a_full_buffer_empties_itself(void **state)
{
    int lines = 0;

    (void)state;
    for (const char *at = lines_of(log_many); *at != '\0'; lines++) {
        const char *text = behind_time(at);
        int i = -1;
        assert_int_equal(sscanf(text, "level=info event=many i=%d\n", &i), 1);
        assert_int_equal(i, lines);
        at = strchr(text, '\n') + 1;
    }
    assert_int_equal(lines, 1000);
}

/* --- pipes and sockets -------------------------------------------------------------------- */

static int reader; /* the other end of fd 2 */
/* Shared with the children that log: what they saw is judged here, where a failure can be
 * told. */
#define GOT_BYTES (1 << 20)
static struct {
    size_t len;
    uint64_t dropped;
    char text[GOT_BYTES];
} * seen;

static int share_what_is_seen(void **state)
{
    (void)state;
    seen = mmap(NULL, sizeof *seen, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return seen == MAP_FAILED ? -1 : 0;
}

/* Bytes that fd 2 took and that nobody has read yet: TCP passes them on when it pleases. */
static int under_way(void)
{
    int n = 0;
    return ioctl(STDERR_FILENO, SIOCOUTQ, &n) == 0 ? n
                                                   : 0; /* a pipe holds all at its other end */
}

/* Takes all that was written to fd 2; the alarm ends it when that never arrives. */
static void read_what_is_there(void)
{
    struct pollfd readable = { .fd = reader, .events = POLLIN };

    for (;;) {
        bool all_here = under_way() == 0; /* asked first: what was under way may be here then */
        if (poll(&readable, 1, all_here ? 0 : 5) == 0) {
            if (all_here)
                break;
            continue;
        }
        ssize_t n = read(reader, seen->text + seen->len, GOT_BYTES - 1 - seen->len);
        if (n <= 0)
            break;
        seen->len += (size_t)n;
    }
    seen->text[seen->len] = '\0';
}

/* What the reader got in the end: every line whole and in order, each loss reported where it
 * was. (On TCP there may be several: what it passes on while we log makes room.) */
static void check_filled(void)
{
    int expected = 0;
    int reported = 0;
    bool after = false;

    for (const char *at = seen->text; *at != '\0';) {
        const char *line = behind_time(at);
        int i = -1;
        assert_false(after);
        if (sscanf(line, "level=warn event=fill i=%d pad=0123", &i) == 1) {
            assert_int_equal(i, expected);
            expected++;
        } else if (sscanf(line, "level=warn event=log_dropped count=%d\n", &i) != 1) {
            assert_string_equal(line, "level=info event=after\n");
            after = true;
        } else {
            assert_true(i > 0);
            reported += i;
            expected += i;
        }
        at = strchr(line, '\n');
        assert_non_null(at);
        at++;
    }
    assert_true(expected > 0);
    assert_true(after);
    assert_int_equal(reported, 3);
    assert_int_equal(seen->dropped, 3);
}

/* Logs until lines are lost, then reads all and logs on. Were the log to block, nobody would
 * ever read. */
static void fill_then_read(void)
{
    static char pad[1900];

    seen->len = 0;
    memset(pad, 'x', sizeof pad - 1);
    memcpy(pad, "0123", 4);
    for (int i = 0; log_dropped() < 3; i++) { /* short and long: some will be taken in part */
        size_t n = i % 2 == 0 ? 10 : sizeof pad - 1;
        log_warn("fill", log_int("i", i), log_strn("pad", pad, n), log_strn("more", pad, n));
    }
    read_what_is_there();
    log_info("after");
    log_flush();
    read_what_is_there();
    seen->dropped = log_dropped();
}

static void a_full_pipe_does_not_block_and_the_loss_is_reported(void **state)
{
    int fds[2];

    (void)state;
    assert_int_equal(pipe(fds), 0);
    reader = fds[0];
    run(fill_then_read, fds[1]);
    check_filled();
    (void)close(fds[0]);
    (void)close(fds[1]);
}

static void a_full_unix_socket_does_not_block_and_shows_no_half_line(void **state)
{
    int fds[2];
    int small = 1;

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_equal(setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
    reader = fds[0];
    run(fill_then_read, fds[1]);
    check_filled();
    (void)close(fds[0]);
    (void)close(fds[1]);
}

static void fill(void)
{
    while (log_dropped() < 3)
        log_warn("fill", log_str("pad", "0123456789012345678901234567890123456789"));
}

/* Runs the scenario on a terminal that nobody reads, as behind Ctrl-S. */
static void run_on_terminal(scenario_fn *scenario)
{
    struct termios raw;
    char name[64];
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);

    assert_true(master >= 0);
    assert_int_equal(grantpt(master), 0);
    assert_int_equal(unlockpt(master), 0);
    assert_int_equal(ptsname_r(master, name, sizeof name), 0);
    int terminal = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(terminal >= 0);
    assert_int_equal(tcgetattr(terminal, &raw), 0);
    cfmakeraw(&raw);
    assert_int_equal(tcsetattr(terminal, TCSANOW, &raw), 0);
    run(scenario, terminal);
    (void)close(terminal);
    (void)close(master);
}

static void a_terminal_that_is_stopped_does_not_block(void **state)
{
    (void)state;
    run_on_terminal(fill);
}

static int refusals; /* so often a terminal says that it is full, though it is not */
static _Atomic int writers;
static _Atomic bool several_wrote;

/* Instead of the C library's, but by it. */
/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name) */
ssize_t write(int fd, const void *bytes, size_t n)
{
    if (!isatty(fd))
        return syscall(SYS_write, fd, bytes, n);
    if (refusals > 0) {
        refusals--;
        errno = EAGAIN;
        return -1;
    }
    if (atomic_fetch_add(&writers, 1) > 0)
        several_wrote = true;
    (void)sched_yield();
    ssize_t written = syscall(SYS_write, fd, bytes, n);
    int err = errno;
    atomic_fetch_sub(&writers, 1);
    errno = err;
    return written;
}

static void log_to_a_busy_terminal(void)
{
    refusals = 1;
    log_info("one");
    log_flush();
    if (refusals != 0 || log_dropped() != 0)
        _exit(1);
}

/* Linux says so while another process writes to it, too. */
static void a_terminal_that_was_full_for_a_moment_loses_nothing(void **state)
{
    (void)state;
    run_on_terminal(log_to_a_busy_terminal);
}

/* A connected pair over loopback: unlike a pipe it takes any part of a line. */
static void tcp_pair(int fds[2])
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof address;
    int small = 1;
    int listener = socket(AF_INET, SOCK_STREAM, 0);

    assert_true(listener >= 0);
    (void)setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &len), 0);
    fds[1] = socket(AF_INET, SOCK_STREAM, 0);
    (void)setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    assert_int_equal(connect(fds[1], (struct sockaddr *)&address, len), 0);
    fds[0] = accept(listener, NULL, NULL);
    assert_true(fds[0] >= 0);
    (void)close(listener);
}

static void a_line_that_a_socket_took_half_of_is_finished_first(void **state)
{
    int fds[2];

    (void)state;
    tcp_pair(fds);
    reader = fds[0];
    run(fill_then_read, fds[1]);
    check_filled();
    (void)close(fds[0]);
    (void)close(fds[1]);
}

static void log_and_look_at_the_flags(void)
{
    seen->len = 0;
    log_warn("first");
    assert_int_equal(fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK, 0);
    read_what_is_there();
    assert_string_equal(behind_time(seen->text), "level=warn event=first\n");
}

static void a_pipe_that_others_share_stays_blocking(void **state)
{
    int fds[2];

    (void)state;
    assert_int_equal(pipe(fds), 0);
    reader = fds[0];
    run(log_and_look_at_the_flags, fds[1]);
    (void)close(fds[0]);
    (void)close(fds[1]);
}

/* As another user the pipe cannot be opened anew. */
static void fill_as_another_user(void)
{
    if (setresuid(65534, 65534, 65534) != 0)
        _exit(1);
    fill_then_read();
}

static void a_full_pipe_of_another_user_does_not_block_either(void **state)
{
    int fds[2];

    (void)state;
    if (geteuid() != 0)
        skip();
    assert_int_equal(pipe(fds), 0);
    reader = fds[0];
    run(fill_as_another_user, fds[1]);
    (void)close(fds[0]);
    (void)close(fds[1]);
}

static void log_to_file_twice(void)
{
    log_info("one");
    log_info("two");
    log_flush();
    log_info("three");
}

static void a_file_gets_the_lines_in_order(void **state)
{
    (void)state;
    const char *text = lines_of(log_to_file_twice);
    const char *one = strstr(text, "event=one\n");
    assert_non_null(one);
    const char *two = strstr(one, "event=two\n");
    assert_non_null(two);
    assert_non_null(strstr(two, "event=three\n"));
}

static void log_to_nowhere(void)
{
    (void)close(STDERR_FILENO);
    log_warn("nowhere");
    log_info("nowhere");
    log_flush();
    if (log_dropped() != 2)
        _exit(1);
}

static void a_closed_stderr_loses_lines_and_nothing_else(void **state)
{
    (void)state;
    run(log_to_nowhere, STDERR_FILENO);
}

static pthread_barrier_t *both_look; /* not NULL: two threads look at fd 2 at the same time */

/* Instead of the C library's, but by it. */
/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name) */
int fstat(int fd, struct stat *st)
{
    if (both_look != NULL)
        (void)pthread_barrier_wait(both_look);
    return (int)syscall(SYS_fstat, fd, st);
}

static void *thread_logs_once(void *arg)
{
    (void)arg;
    log_warn("nowhere");
    return NULL;
}

static void log_to_nowhere_from_two_threads(void)
{
    pthread_barrier_t barrier;
    pthread_t threads[2];

    if (dup2(open("/dev/null", O_RDONLY | O_CLOEXEC), STDIN_FILENO) != STDIN_FILENO)
        _exit(1);
    (void)close(STDERR_FILENO);
    (void)pthread_barrier_init(&barrier, NULL, ARRAY_LEN(threads));
    both_look = &barrier;
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        if (pthread_create(&threads[i], NULL, thread_logs_once, NULL) != 0)
            _exit(1);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        (void)pthread_join(threads[i], NULL);
    both_look = NULL;
    if (fcntl(STDIN_FILENO, F_GETFD) < 0)
        _exit(1);
}

static void a_closed_stderr_closes_no_other_descriptor(void **state)
{
    (void)state;
    run(log_to_nowhere_from_two_threads, STDERR_FILENO);
}

static void *thread_logs(void *name)
{
    for (int i = 0; i < 2000; i++)
        log_info("thread", log_str("name", name), log_int("i", i));
    log_flush();
    return NULL;
}

static void log_from_threads(void)
{
    static char names[4][2] = { "a", "b", "c", "d" };
    pthread_t threads[4];

    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        if (pthread_create(&threads[i], NULL, thread_logs, names[i]) != 0)
            _exit(1);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        (void)pthread_join(threads[i], NULL);
}

static void log_from_threads_to_a_terminal(void)
{
    log_from_threads();
    if (several_wrote)
        _exit(1);
}

/* A second one would be told that the terminal is full. */
static void one_thread_at_a_time_writes_to_a_terminal(void **state)
{
    (void)state;
    run_on_terminal(log_from_threads_to_a_terminal);
}

/* Reads a pipe while threads write to it: some lines may be lost, none may be torn. */
static void lines_of_threads_never_mix(void **state)
{
    int next[4] = { 0 };
    int lost = 0;
    int lines = 0;
    int fds[2];

    (void)state;
    assert_int_equal(pipe(fds), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)alarm(250);
        (void)dup2(fds[1], STDERR_FILENO);
        log_from_threads();
        _exit(0);
    }
    (void)close(fds[1]);
    FILE *f = fdopen(fds[0], "r");
    assert_non_null(f);
    char line[8192];
    while (fgets(line, sizeof line, f) != NULL) {
        const char *text = behind_time(line);
        char name = '?';
        char end = '?';
        int i = -1;
        if (sscanf(text, "level=warn event=log_dropped count=%d%c", &i, &end) == 2) {
            lost += i;
        } else {
            assert_int_equal(
                sscanf(text, "level=info event=thread name=%c i=%d%c", &name, &i, &end), 3);
            assert_in_range(name, 'a', 'd');
            assert_true(i >= next[name - 'a']);
            next[name - 'a'] = i + 1;
            lines++;
        }
        assert_int_equal(end, '\n');
    }
    (void)fclose(f);
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_true(lines > 0);
    assert_true(lines + lost <= 8000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_logfmt_line_shows_every_type),
        cmocka_unit_test(a_json_line_shows_every_type),
        cmocka_unit_test(a_forged_line_stays_inside_its_value),
        cmocka_unit_test(a_forged_line_is_one_json_object),
        cmocka_unit_test(any_bytes_make_valid_json),
        cmocka_unit_test(only_sound_utf8_passes_into_json),
        cmocka_unit_test(a_long_value_is_cut_and_the_other_fields_stay),
        cmocka_unit_test(a_cut_line_is_valid_json_of_at_most_4_kib),
        cmocka_unit_test(only_the_wanted_levels_are_written),
        cmocka_unit_test(a_warning_goes_out_at_once_with_what_was_gathered),
        cmocka_unit_test(a_full_buffer_empties_itself),
        cmocka_unit_test(a_full_pipe_does_not_block_and_the_loss_is_reported),
        cmocka_unit_test(a_full_unix_socket_does_not_block_and_shows_no_half_line),
        cmocka_unit_test(a_line_that_a_socket_took_half_of_is_finished_first),
        cmocka_unit_test(a_terminal_that_is_stopped_does_not_block),
        cmocka_unit_test(a_terminal_that_was_full_for_a_moment_loses_nothing),
        cmocka_unit_test(one_thread_at_a_time_writes_to_a_terminal),
        cmocka_unit_test(a_pipe_that_others_share_stays_blocking),
        cmocka_unit_test(a_full_pipe_of_another_user_does_not_block_either),
        cmocka_unit_test(a_file_gets_the_lines_in_order),
        cmocka_unit_test(a_closed_stderr_loses_lines_and_nothing_else),
        cmocka_unit_test(a_closed_stderr_closes_no_other_descriptor),
        cmocka_unit_test(lines_of_threads_never_mix),
    };
    return cmocka_run_group_tests(tests, share_what_is_seen, NULL);
}

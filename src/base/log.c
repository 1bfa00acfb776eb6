/* The log: each thread formats lines in a buffer of its own and writes them to fd 2 without
 * waiting; only a terminal is given a moment.
 *
 *     data: | rest | line | line | ... |
 *
 * `rest` is the end of a line of which a short write took only a part. It is written first,
 * so that a reader never sees half a line. When fd 2 takes no more, whole lines are dropped
 * and counted; the next flush that succeeds reports how many.
 *
 * Threads share only a few counters. Their lines do not mix, because no line is longer than
 * PIPE_BUF, and a pipe or socket is given whole lines of at most that many bytes at a time.
 * A pipe takes such a piece as a whole or not at all, and so does a unix socket with a
 * buffer of the usual size. On a TCP socket or a terminal that is full, lines of two threads
 * could mix.
 */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/ascii.h"

/* the longest line with its newline; the longest value as written, so that one value cannot
 * push out the others; room for lines; room for the line that reports dropped lines */
#define LINE_BYTES 4096
#define VALUE_BYTES 2048
#define GATHER_BYTES 16384
#define REPORT_BYTES 256

#define TERMINAL_WAIT_MS 10

_Static_assert(LINE_BYTES <= PIPE_BUF, "a line must be written in one piece");

static struct {
    _Atomic int level, format;
    _Atomic uint64_t dropped;    /* lines since the start */
    _Atomic uint64_t unreported; /* of these, not yet reported in a line */
    _Atomic int sink;            /* fd * 8 + enum sink; 0: not determined yet */
    _Atomic bool stopped;        /* a terminal did not take everything the last time */
} shared = { .level = LOG_INFO, .format = LOG_LOGFMT };

static _Thread_local struct {
    size_t len;
    size_t rest; /* bytes at the front: the end of a line that is partly written */
    time_t second;
    char stamp[24]; /* `second` as text, up to the dot */
    char data[GATHER_BYTES + REPORT_BYTES];
} mine;

/* --- where the lines go ------------------------------------------------------------------- */

enum sink {
    SINK_UNKNOWN,
    SINK_NONE,
    SINK_FILE,
    SINK_PIPE,
    SINK_SHARED,
    SINK_TERMINAL,
    SINK_SOCKET
};

/* A pipe or terminal is opened a second time, because O_NONBLOCK on fd 2 itself would affect
 * every process that shares it. Opening fails when it belongs to another user; then poll() is
 * called before each write. That is enough for a pipe, but not for a terminal, which is
 * writable when it has room for one byte: such a write waits until all of it is taken. */
static int find_sink(void)
{
    struct stat st;

    if (fstat(STDERR_FILENO, &st) != 0)
        return SINK_NONE;
    if (S_ISSOCK(st.st_mode))
        return STDERR_FILENO * 8 + SINK_SOCKET;
    if (!S_ISFIFO(st.st_mode) && !S_ISCHR(st.st_mode))
        return STDERR_FILENO * 8 + SINK_FILE;

    int fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return STDERR_FILENO * 8 + SINK_SHARED;
    return fd * 8 + (isatty(fd) ? SINK_TERMINAL : SINK_PIPE);
}

static int sink_now(void)
{
    int sink = atomic_load_explicit(&shared.sink, memory_order_acquire);

    if (sink != SINK_UNKNOWN)
        return sink;

    int found = find_sink();
    if (atomic_compare_exchange_strong(&shared.sink, &sink, found))
        return found;
    if (found % 8 == SINK_PIPE || found % 8 == SINK_TERMINAL) /* another thread did it first */
        (void)close(found / 8);
    return sink;
}

static bool has_room(int fd, int wait_ms)
{
    struct pollfd writable = { .fd = fd, .events = POLLOUT };

    return poll(&writable, 1, wait_ms) != 0;
}

/* Two threads could both find the same room, and one would wait for a reader. */
static ssize_t write_if_room(int fd, const void *bytes, size_t n)
{
    if (has_room(fd, 0))
        return write(fd, bytes, n);
    errno = EAGAIN;
    return -1;
}

/* One thread at a time. While one writes to a terminal, Linux tells all others that it is
 * full. */
static ssize_t write_alone(ssize_t (*write_to)(int fd, const void *bytes, size_t n), int fd,
                           const char *bytes, size_t n)
{
    static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;

    (void)pthread_mutex_lock(&one);
    ssize_t written = write_to(fd, bytes, n);
    int err = errno;
    (void)pthread_mutex_unlock(&one);
    errno = err;
    return written;
}

static ssize_t write_once(enum sink kind, int fd, const char *bytes, size_t n)
{
    switch (kind) {
    case SINK_SOCKET:
        return send(fd, bytes, n, MSG_DONTWAIT | MSG_NOSIGNAL);
    case SINK_SHARED:
        return write_alone(write_if_room, fd, bytes, n);
    case SINK_TERMINAL:
        return write_alone(write, fd, bytes, n);
    case SINK_FILE:
    case SINK_PIPE:
        return write(fd, bytes, n);
    case SINK_UNKNOWN:
    case SINK_NONE:
        break;
    }
    errno = EBADF;
    return -1;
}

/* How much to write at once; see the head of this file. */
static size_t piece_len(enum sink kind, const char *bytes, size_t n)
{
    if (n <= LINE_BYTES || kind == SINK_FILE)
        return n;

    const char *end = memrchr(bytes, '\n', LINE_BYTES);
    return end == NULL ? LINE_BYTES : (size_t)(end - bytes) + 1;
}

/* Writes until everything is written or no more is taken; returns the number of bytes
 * written. On any error but EINTR the lines are lost, since there is nowhere to report it.
 * A terminal has room for a few lines, and passes them on a moment later: that is waited for
 * once, unless the terminal was full the last time (Ctrl-S, or what reads it is slow). */
static size_t write_lines(const char *bytes, size_t n)
{
    int sink = sink_now();
    enum sink kind = (enum sink)(sink % 8);
    bool may_wait = kind == SINK_TERMINAL && !atomic_load(&shared.stopped);
    size_t done = 0;

    while (done < n) {
        ssize_t out =
            write_once(kind, sink / 8, bytes + done, piece_len(kind, bytes + done, n - done));
        if (out < 0 && errno == EINTR)
            continue;
        if (out < 0 && errno == EAGAIN && may_wait) {
            may_wait = false;
            (void)has_room(sink / 8, TERMINAL_WAIT_MS);
            continue;
        }
        if (out <= 0)
            break;
        done += (size_t)out;
    }
    if (kind == SINK_TERMINAL)
        atomic_store(&shared.stopped, done < n);
    return done;
}

/* --- how a line is made ------------------------------------------------------------------- */

struct line {
    char *to;
    size_t len, cap;
    bool json;
    bool cut; /* something did not fit */
};

/* Reserved for the end of every line: the mark of a cut, brace, newline. */
#define LINE_END_BYTES 16

static size_t line_room(const struct line *l)
{
    return l->cap - LINE_END_BYTES - l->len;
}

static bool put(struct line *l, const char *bytes, size_t n)
{
    if (n > line_room(l)) {
        l->cut = true;
        return false;
    }
    memcpy(l->to + l->len, bytes, n);
    l->len += n;
    return true;
}

static bool put_number(struct line *l, uint64_t value, size_t min_digits)
{
    char digits[20];
    size_t at = sizeof digits;

    while (value > 0 || sizeof digits - at < min_digits) {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    }
    return put(l, digits + at, sizeof digits - at);
}

/* The sign is written first and the magnitude is unsigned, because -INT64_MIN is not an
 * int64_t. */
static bool put_signed(struct line *l, int64_t value, uint64_t *magnitude)
{
    *magnitude = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    return value >= 0 || put(l, "-", 1);
}

/* Bytes that need no escape inside quotes, in both formats. */
static bool is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

static bool needs_quotes(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!is_plain((unsigned char)text[i]) || text[i] == ' ' || text[i] == '=')
            return true;
    return n == 0;
}

/* The length of the UTF-8 character at the front; 0 if there is none (RFC 3629 section 4). */
static size_t utf8_len(const unsigned char *s, size_t n)
{
    unsigned char lead = s[0];
    size_t len = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;

    if (lead < 0xc2 || lead > 0xf4 || n < len)
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((lead == 0xe0 && s[1] < 0xa0) || (lead == 0xed && s[1] > 0x9f) ||
        (lead == 0xf0 && s[1] < 0x90) || (lead == 0xf4 && s[1] > 0x8f))
        return 0;
    return len;
}

/* Writes the escape for the first byte (or character) of s to `out`, at most 6 bytes.
 * Returns the number of bytes written; *taken is how much of s they stand for. */
static size_t escape(bool json, const unsigned char *s, size_t n, char *out, size_t *taken)
{
    const char *hex = ascii_hex_digits;
    const char *letter = memchr("\n\r\t\"\\", s[0], 5);
    unsigned char c = s[0];

    *taken = 1;
    out[0] = '\\';
    if (letter != NULL) {
        out[1] = c == '\n' ? 'n' : c == '\r' ? 'r' : c == '\t' ? 't' : (char)c;
        return 2;
    }
    if (!json) {
        out[1] = 'x';
        out[2] = hex[c >> 4];
        out[3] = hex[c & 15];
        return 4;
    }
    if (c >= 0x80) {
        *taken = utf8_len(s, n);
        if (*taken == 0) {
            *taken = 1;
            memcpy(out, "\\ufffd", 6);
            return 6;
        }
        if (c != 0xc2 || s[1] >= 0xa0) {
            memcpy(out, s, *taken);
            return *taken;
        }
        c = s[1]; /* U+0080 to U+009F control terminals */
    }
    memcpy(out, "\\u00", 4);
    out[4] = hex[c >> 4];
    out[5] = hex[c & 15];
    return 6;
}

/* Writes text between quotes; what does not fit is replaced by "...". */
static void put_escaped(struct line *l, const char *text, size_t n)
{
    const size_t closing = sizeof "...\"" - 1;
    size_t room = line_room(l) < VALUE_BYTES ? line_room(l) : VALUE_BYTES;

    for (size_t i = 0, taken = 1; i < n; i += taken) {
        char out[6];
        size_t len = 1;

        taken = 1;
        if (is_plain((unsigned char)text[i]))
            out[0] = text[i];
        else
            len = escape(l->json, (const unsigned char *)text + i, n - i, out, &taken);
        if (len + closing > room) {
            l->cut = true;
            (void)put(l, "...", 3);
            return;
        }
        (void)put(l, out, len);
        room -= len;
    }
}

static bool put_text(struct line *l, const char *text, size_t n)
{
    if (line_room(l) < sizeof "\"...\"" - 1) {
        l->cut = true;
        return false;
    }
    if (!l->json && n < VALUE_BYTES && n <= line_room(l) && !needs_quotes(text, n))
        return put(l, text, n);
    (void)put(l, "\"", 1);
    put_escaped(l, text, n);
    return put(l, "\"", 1);
}

static bool put_key(struct line *l, const char *key)
{
    size_t n = strlen(key);

    if (!l->json)
        return (l->len == 0 || put(l, " ", 1)) && put(l, key, n) && put(l, "=", 1);
    return put(l, l->len == 0 ? "{\"" : ",\"", 2) && put(l, key, n) && put(l, "\":", 2);
}

static bool put_value(struct line *l, const struct log_field *f)
{
    uint64_t magnitude;

    switch (f->type) {
    case LOG_F_STR:
        return put_text(l, f->str, strlen(f->str));
    case LOG_F_STRN:
        return put_text(l, f->str, f->len);
    case LOG_F_INT:
        return put_signed(l, f->num, &magnitude) && put_number(l, magnitude, 1);
    case LOG_F_DURATION:
        return put_signed(l, f->num, &magnitude) && put_number(l, magnitude / 1000, 1) &&
               put(l, ".", 1) && put_number(l, magnitude % 1000, 3);
    case LOG_F_END:
        break;
    }
    return false;
}

/* Writes a field as a whole or not at all. */
static void put_field(struct line *l, const struct log_field *f)
{
    size_t before = l->len;

    if ((f->type == LOG_F_STR || f->type == LOG_F_STRN) && f->str == NULL)
        return;
    if (!put_key(l, f->key) || !put_value(l, f))
        l->len = before;
}

/* Formatting the date is the most expensive part of a line even without a time zone, so it
 * is done once a second. */
static void put_time(struct line *l)
{
    struct timespec now = { 0 };

    (void)clock_gettime(CLOCK_REALTIME, &now);
    if (mine.stamp[0] == '\0' || now.tv_sec != mine.second) {
        struct tm tm;
        if (gmtime_r(&now.tv_sec, &tm) == NULL ||
            strftime(mine.stamp, sizeof mine.stamp, "%Y-%m-%dT%H:%M:%S.", &tm) == 0)
            memcpy(mine.stamp, "1970-01-01T00:00:00.", 21);
        mine.second = now.tv_sec;
    }
    (void)put_key(l, "ts");
    if (l->json)
        (void)put(l, "\"", 1);
    (void)put(l, mine.stamp, strlen(mine.stamp));
    (void)put_number(l, (uint64_t)now.tv_nsec / 1000000, 3);
    (void)put(l, l->json ? "Z\"" : "Z", l->json ? 2 : 1);
}

/* Formats a whole line at `to`; returns its length, at most cap. */
static size_t make_line(char *to, size_t cap, enum log_level level, const char *event,
                        const struct log_field *fields)
{
    static const char *const levels[] = {
        [LOG_ERROR] = "error", [LOG_WARN] = "warn", [LOG_INFO] = "info", [LOG_DEBUG] = "debug"
    };
    struct line l = { .to = to, .cap = cap };
    const struct log_field head[] = { log_str("level", levels[level]),
                                      log_str("event", event) };

    l.json = atomic_load_explicit(&shared.format, memory_order_relaxed) == LOG_JSON;
    put_time(&l);
    for (size_t i = 0; i < ARRAY_LEN(head); i++)
        put_field(&l, &head[i]);
    for (; fields->type != LOG_F_END; fields++)
        put_field(&l, fields);

    l.cap += LINE_END_BYTES; /* the reserved room is used from here */
    if (l.cut)
        (void)put(&l, l.json ? ",\"cut\":true" : " cut=true", l.json ? 11 : 9);
    (void)put(&l, l.json ? "}\n" : "\n", l.json ? 2 : 1);
    return l.len;
}

/* --- gathering and writing ---------------------------------------------------------------- */

void log_setup(enum log_level level, enum log_format format)
{
    atomic_store(&shared.level, (int)level);
    atomic_store(&shared.format, (int)format);
}

bool log_wanted(enum log_level level)
{
    return (int)level <= atomic_load_explicit(&shared.level, memory_order_relaxed);
}

uint64_t log_dropped(void)
{
    return atomic_load(&shared.dropped);
}

static void insert(size_t at, const char *bytes, size_t n)
{
    memmove(mine.data + at + n, mine.data + at, mine.len - at);
    memcpy(mine.data + at, bytes, n);
    mine.len += n;
}

static void take_out(size_t at, size_t n)
{
    mine.len -= n;
    memmove(mine.data + at, mine.data + at + n, mine.len - at);
}

static uint64_t count_lines(const char *bytes, size_t n)
{
    uint64_t lines = 0;

    for (const char *end = bytes + n; bytes < end; lines++)
        bytes = (const char *)memchr(bytes, '\n', (size_t)(end - bytes)) + 1;
    return lines;
}

/* The first `done` bytes are written. The rest of a line that is partly written stays; the
 * lines after it are dropped. */
static void settle(size_t done)
{
    size_t keep = 0;

    if (done < mine.rest || (done > 0 && done < mine.len && mine.data[done - 1] != '\n')) {
        const char *from = mine.data + done;
        keep = (size_t)((const char *)memchr(from, '\n', mine.len - done) - from) + 1;
    }

    uint64_t lost = count_lines(mine.data + done + keep, mine.len - done - keep);
    if (lost > 0) {
        atomic_fetch_add(&shared.dropped, lost);
        atomic_fetch_add(&shared.unreported, lost);
    }
    memmove(mine.data, mine.data + done, keep);
    mine.len = mine.rest = keep;
}

void log_flush(void)
{
    uint64_t lost = 0;
    size_t report_len = 0;

    if (atomic_load_explicit(&shared.unreported, memory_order_relaxed) > 0)
        lost = atomic_exchange(&shared.unreported, 0);
    if (mine.len == 0 && lost == 0) {
        (void)sink_now(); /* this may open a file, which the sandbox would refuse later */
        return;
    }
    if (lost > 0) {
        char report[REPORT_BYTES];
        const struct log_field count[] = { log_int("count", (int64_t)lost), { .key = NULL } };
        report_len = make_line(report, sizeof report, LOG_WARN, "log_dropped", count);
        insert(mine.rest, report, report_len);
    }

    size_t done = write_lines(mine.data, mine.len);
    if (lost > 0 && done <= mine.rest) { /* not begun: reported next time */
        take_out(mine.rest, report_len);
        atomic_fetch_add(&shared.unreported, lost);
    }
    settle(done);
}

void log_emit(enum log_level level, const char *event, const struct log_field *fields)
{
    if (mine.len > GATHER_BYTES - LINE_BYTES)
        log_flush();
    mine.len += make_line(mine.data + mine.len, LINE_BYTES, level, event, fields);
    if (level <= LOG_WARN)
        log_flush();
}

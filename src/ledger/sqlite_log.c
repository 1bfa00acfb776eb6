/* Counts the valid frames in SQLite's write-ahead log, and compares them with those known to
 * be durable. */
#include "ledger/sqlite_log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define HEAD_BYTES 32
#define FRAME_HEAD_BYTES 24
#define PAGE_MAX 65536
#define MAGIC 0x377f0682 /* its last bit is the byte order of the checksum */

/* The content of the file beside the log. */
struct acked {
    unsigned char head[HEAD_BYTES];
    uint64_t frames;
    uint64_t sum; /* of the above */
};
_Static_assert(sizeof(struct acked) == 48, "no padding: it is written as it is");

/* FNV-1a, to detect a record that was half written. */
static uint64_t sum_of(const struct acked *a)
{
    const unsigned char *p = (const unsigned char *)a;
    uint64_t sum = 0xcbf29ce484222325;

    for (size_t i = 0; i < offsetof(struct acked, sum); i++)
        sum = (sum ^ p[i]) * 0x100000001b3;
    return sum;
}

int sqlite_log_init(struct sqlite_log *l, const char *database, struct buf *error)
{
    auto_free char *acked = NULL;

    *l = (struct sqlite_log){ .fd = -1, .acked_fd = -1 };
    if (asprintf(&l->path, "%s-wal", database) < 0 ||
        asprintf(&acked, "%s-acked", database) < 0)
        abort();
    l->acked_fd = open(acked, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (l->acked_fd >= 0)
        return 0;
    (void)buf_addf(error, "%s: %s", acked, strerrordesc_np(errno));
    return -errno;
}

void sqlite_log_done(struct sqlite_log *l)
{
    if (l->fd >= 0)
        (void)close(l->fd);
    if (l->path != NULL && l->acked_fd >= 0)
        (void)close(l->acked_fd);
    free(l->path);
    *l = (struct sqlite_log){ .fd = -1, .acked_fd = -1 };
}

/* --- the log --- */

static uint32_t big(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint32_t little(const unsigned char *p)
{
    return (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
}

struct sum {
    uint32_t a, b;
    bool is_big; /* byte order of the words that are summed */
};

static void add(struct sum *s, const unsigned char *p, size_t n)
{
    for (size_t i = 0; i + 8 <= n; i += 8) {
        s->a += (s->is_big ? big(p + i) : little(p + i)) + s->b;
        s->b += (s->is_big ? big(p + i + 4) : little(p + i + 4)) + s->a;
    }
}

static bool is_sum(const struct sum *s, const unsigned char *p)
{
    return s->a == big(p) && s->b == big(p + 4);
}

/* Whether the header is valid; the checksum continues after it. */
static bool read_head(const unsigned char head[HEAD_BYTES], struct sum *sum, uint32_t *page)
{
    *sum = (struct sum){ .is_big = (big(head) & 1) != 0 };
    *page = big(head + 8);
    if ((big(head) & ~1U) != MAGIC || *page < 512 || *page > PAGE_MAX)
        return false;
    add(sum, head, HEAD_BYTES - 8);
    return is_sum(sum, head + HEAD_BYTES - 8);
}

/* The number of frames up to the last valid one that ends a commit. */
static uint64_t count_frames(int fd, const unsigned char head[HEAD_BYTES], struct sum sum,
                             uint32_t page)
{
    auto_free unsigned char *frame = base_alloc(FRAME_HEAD_BYTES + PAGE_MAX);
    const size_t size = FRAME_HEAD_BYTES + page;
    uint64_t sound = 0;

    for (uint64_t n = 0;; n++) {
        off_t at = (off_t)(HEAD_BYTES + n * size);

        if (pread(fd, frame, size, at) != (ssize_t)size || memcmp(frame + 8, head + 16, 8) != 0)
            return sound;
        add(&sum, frame, 8);
        add(&sum, frame + FRAME_HEAD_BYTES, page);
        if (!is_sum(&sum, frame + 16))
            return sound;
        if (big(frame + 4) != 0)
            sound = n + 1;
    }
}

static int damaged(const struct sqlite_log *l, struct buf *error, uint64_t sound,
                   uint64_t acked)
{
    (void)buf_addf(error,
                   "%s is damaged or not the one that belongs here: of %" PRIu64
                   " frames that were durable %" PRIu64
                   " are sound, so claims would be forgotten and could be carried out again; "
                   "docs/ledger.md says what can be done",
                   l->path, acked, sound);
    return -EIO;
}

int sqlite_log_check(struct sqlite_log *l, struct buf *error)
{
    unsigned char head[HEAD_BYTES];
    struct acked acked;
    struct sum sum;
    uint32_t page = 0;
    uint64_t expected = 0;

    if (pread(l->acked_fd, &acked, sizeof acked, 0) == sizeof acked &&
        acked.sum == sum_of(&acked))
        expected = acked.frames;
    auto_close int fd = open(l->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t n = fd < 0 ? 0 : pread(fd, head, sizeof head, 0);

    if (n == 0) /* there is no log, or it is empty */
        return expected == 0 ? 0 : damaged(l, error, 0, expected);
    if (n != sizeof head || !read_head(head, &sum, &page)) {
        (void)buf_addf(error, "%s is damaged: its head is not sound", l->path);
        return -EIO;
    }
    /* Another header: the log was started again, after all of the previous one was written
     * back. */
    if (expected == 0 || memcmp(head, acked.head, sizeof head) != 0)
        return 0;
    uint64_t sound = count_frames(fd, head, sum, page);

    return sound >= expected ? 0 : damaged(l, error, sound, expected);
}

/* --- what is known to be durable --- */

int sqlite_log_begin(struct sqlite_log *l, struct buf *error)
{
    assert(l->fd < 0);
    l->fd = open(l->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    int err = l->fd < 0 ? errno : 0;

    if (err != 0)
        (void)buf_addf(error, "%s: %s", l->path, strerrordesc_np(err));
    return -err;
}

int sqlite_log_forget(struct sqlite_log *l)
{
    struct acked none = { .frames = 0 };

    none.sum = sum_of(&none);
    return pwrite(l->acked_fd, &none, sizeof none, 0) == sizeof none && fsync(l->acked_fd) == 0
               ? 0
               : -errno;
}

void sqlite_log_acked(struct sqlite_log *l, uint64_t frames)
{
    struct acked acked = { .frames = frames };

    if (pread(l->fd, acked.head, sizeof acked.head, 0) != sizeof acked.head)
        return;
    acked.sum = sum_of(&acked);
    ssize_t n = pwrite(l->acked_fd, &acked, sizeof acked, 0);

    (void)n; /* then less is known */
}

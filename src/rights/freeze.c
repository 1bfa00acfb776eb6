/* Watches the freeze file; see freeze.h. */
#include "rights/freeze.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"

/* The first line, without characters that cannot be printed. */
static void read_reason(const char *file, char out[FREEZE_REASON_MAX + 1])
{
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    ssize_t n = fd < 0 ? -1 : read(fd, out, FREEZE_REASON_MAX);
    size_t len = 0;

    if (n < 0)
        n = snprintf(out, FREEZE_REASON_MAX, "the file cannot be read");
    for (; len < (size_t)n && out[len] != '\n'; len++)
        if (out[len] < ' ' || out[len] > '~')
            out[len] = '?';
    while (len > 0 && out[len - 1] == ' ')
        len--;
    out[len] = '\0';
    if (len == 0)
        (void)snprintf(out, FREEZE_REASON_MAX, "no reason is given");
    if (fd >= 0)
        (void)close(fd);
}

/* Whether the directory of the file exists. */
static bool has_directory(const char *file)
{
    char directory[PATH_MAX];
    const char *slash = strrchr(file, '/');
    size_t n = slash == NULL ? 0 : (size_t)(slash - file);
    struct stat s;

    if (n >= sizeof directory)
        return false;
    memcpy(directory, file, n);
    directory[n] = '\0';
    return stat(n == 0 ? (slash == NULL ? "." : "/") : directory, &s) == 0 &&
           S_ISDIR(s.st_mode);
}

bool freeze_look(const char *file, char why[FREEZE_REASON_MAX + 1])
{
    struct stat s;
    int err = lstat(file, &s) == 0 ? 0 : errno;

    if (err == ENOENT && has_directory(file))
        return false;
    if (err == ENOENT)
        (void)snprintf(why, FREEZE_REASON_MAX, "the directory of freeze.file is missing");
    else if (err != 0)
        (void)snprintf(why, FREEZE_REASON_MAX, "freeze.file cannot be looked at: %s",
                       strerrordesc_np(err));
    else
        read_reason(file, why);
    return true;
}

static void look_now(struct freeze *f)
{
    char why[FREEZE_REASON_MAX + 1] = "";
    bool frozen = freeze_look(f->file, why);
    bool changed = !f->looked ? frozen : frozen != f->is_frozen || strcmp(why, f->reason) != 0;

    atomic_store_explicit(&f->thawed_ms, frozen ? 0 : base_max(clock_ms(), 1),
                          memory_order_release);
    if (frozen && (!f->is_frozen || !f->looked))
        f->since_s = clock_wall_s();
    (void)pthread_mutex_lock(&f->lock);
    memcpy(f->reason, why, sizeof why);
    (void)pthread_mutex_unlock(&f->lock);
    f->is_frozen = frozen;
    f->looked = true;
    loop_timer_set(f->loop, &f->timer, clock_ms() + FREEZE_LOOK_MS);
    if (changed && f->on_change != NULL)
        f->on_change(f);
}

static void on_timer(struct loop_timer *t)
{
    look_now(CONTAINER_OF(t, struct freeze, timer));
}

static void on_file_change(struct file_watch *w)
{
    struct freeze *f = CONTAINER_OF(w, struct freeze, watch);

    if (f->file != NULL)
        look_now(f);
}

void freeze_init(struct freeze *f, struct loop *l, void (*on_change)(struct freeze *f))
{
    memset(f, 0, sizeof *f);
    f->loop = l;
    f->on_change = on_change;
    f->timer.on_due = on_timer;
    (void)pthread_mutex_init(&f->lock, NULL);
    atomic_store(&f->thawed_ms, INT64_MAX);
    file_watch_init(&f->watch, l, on_file_change);
}

void freeze_done(struct freeze *f)
{
    if (f->loop == NULL)
        return;
    loop_timer_clear(f->loop, &f->timer);
    file_watch_done(&f->watch);
    (void)pthread_mutex_destroy(&f->lock);
    free(f->file);
    f->loop = NULL;
}

void freeze_set_file(struct freeze *f, const char *file)
{
    if (file != NULL && f->file != NULL && strcmp(file, f->file) == 0)
        return;
    bool was_frozen = f->is_frozen;

    free(f->file);
    f->file = NULL;
    if (file != NULL && (f->file = strdup(file)) == NULL)
        abort();
    file_watch_files(&f->watch, (const char *const[]){ f->file }, 1);
    if (f->file != NULL) {
        look_now(f);
        return;
    }
    loop_timer_clear(f->loop, &f->timer);
    f->is_frozen = f->looked = false;
    f->reason[0] = '\0';
    atomic_store_explicit(&f->thawed_ms, INT64_MAX, memory_order_release);
    if (was_frozen && f->on_change != NULL)
        f->on_change(f);
}

void freeze_reason(struct freeze *f, int64_t now_ms, char out[FREEZE_REASON_MAX + 1])
{
    int64_t thawed_ms = atomic_load_explicit(&f->thawed_ms, memory_order_acquire);

    if (thawed_ms != 0 && now_ms - thawed_ms > FREEZE_STALE_MS) {
        (void)snprintf(out, FREEZE_REASON_MAX, "freeze.file was not looked at for %lld s",
                       (long long)((now_ms - thawed_ms) / 1000));
        return;
    }
    (void)pthread_mutex_lock(&f->lock);
    memcpy(out, f->reason, sizeof f->reason);
    (void)pthread_mutex_unlock(&f->lock);
}

int freeze_create(const char *file, const char *reason)
{
    char temporary[PATH_MAX];
    int n = snprintf(temporary, sizeof temporary, "%s.%ld", file, (long)getpid());

    if (n < 0 || (size_t)n >= sizeof temporary)
        return -ENAMETOOLONG;
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

    if (fd < 0)
        return -errno;
    int err = dprintf(fd, "%s\n", reason) < 0 ? -errno : 0;

    if (close(fd) != 0 && err == 0)
        err = -errno;
    if (err == 0 && rename(temporary, file) != 0)
        err = -errno;
    if (err != 0)
        (void)unlink(temporary);
    return err;
}

int freeze_remove(const char *file)
{
    return unlink(file) == 0 ? 0 : -errno;
}

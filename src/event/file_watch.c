/* Notices by inotify that files may have changed.
 *
 * A path is resolved as the kernel does it, component by component, following symbolic
 * links. Each directory on the way is watched for the one name that is looked up in it:
 *
 *     /etc/x/secret -> ..data/secret, ..data -> v7
 *
 *         /: "etc"   /etc: "x"   /etc/x: "secret", "..data", "v7"   /etc/x/v7: "secret"
 *
 * A directory is watched before the name is looked up in it, so that no change is missed in
 * between. After each change the path is resolved again, since it may lead elsewhere now.
 * The file itself is never watched: a rename over it would remove the watch together with
 * the old file. */
#include "event/file_watch.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include "base/log.h"

/* After a change, wait this long without another one, but not longer than that in all. */
#define SETTLE_MS 100
#define SETTLE_AT_MOST_MS 1000
/* How often to check without an event. */
#define POLL_MS 60000
#define POLL_BLIND_MS 5000
#define LINKS_MAX 40
#define READS_MAX 16

#define ON_THE_WAY                                                                         \
    (IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF | \
     IN_ONLYDIR | IN_MASK_ADD)
#define AT_THE_END (ON_THE_WAY | IN_CLOSE_WRITE | IN_ATTRIB)
#define ANY_NAME ""

/* A path that is being resolved. */
struct walk {
    char dir[PATH_MAX];  /* the directory reached: absolute, without links; "" is the root */
    char rest[PATH_MAX]; /* the rest of the path */
    int links;
};

static void note_step(struct file_watch *w, int wd, const char *name)
{
    for (size_t i = 0; i < w->steps; i++)
        if (w->step[i].wd == wd && strcmp(w->step[i].name, name) == 0)
            return;
    if (w->steps == FILE_WATCH_STEPS_MAX) {
        w->blind = true;
        return;
    }
    if (w->steps == w->steps_cap) {
        size_t cap = w->steps_cap == 0 ? 32 : 2 * w->steps_cap;
        struct file_watch_step *more = realloc(w->step, cap * sizeof *more);

        if (more == NULL)
            abort();
        w->step = more;
        w->steps_cap = cap;
    }
    w->step[w->steps] = (struct file_watch_step){ .wd = wd, .name = strdup(name) };
    if (w->step[w->steps++].name == NULL)
        abort();
}

static void free_steps(struct file_watch_step *step, size_t steps)
{
    for (size_t i = 0; i < steps; i++)
        free(step[i].name);
    free(step);
}

/* Watches the directory of a step. A directory that may be searched but not read cannot be
 * watched; that matters only for the last one. */
static void file_watch_dir(struct file_watch *w, const struct walk *k, const char *name)
{
    bool last = k->rest[0] == '\0';
    int wd = w->events.fd < 0
                 ? -1
                 : inotify_add_watch(w->events.fd, k->dir[0] == '\0' ? "/" : k->dir,
                                     last ? AT_THE_END : ON_THE_WAY);

    if (wd >= 0)
        note_step(w, wd, name);
    else if (last || errno != EACCES)
        w->blind = true;
}

/* Watches every name in a directory that is itself the watched path. */
static void watch_contents(struct file_watch *w, const char *path)
{
    int wd = w->events.fd < 0 ? -1 : inotify_add_watch(w->events.fd, path, AT_THE_END);

    if (wd >= 0)
        note_step(w, wd, ANY_NAME);
}

/* Copies the next component into `name`; false: there is none. */
static bool next_name(struct walk *k, char name[NAME_MAX + 1])
{
    size_t skip = strspn(k->rest, "/"), len = strcspn(k->rest + skip, "/");

    if (len == 0 || len > NAME_MAX)
        return false;
    memcpy(name, k->rest + skip, len);
    name[len] = '\0';
    skip += len;
    skip += strspn(k->rest + skip, "/");
    memmove(k->rest, k->rest + skip, strlen(k->rest + skip) + 1);
    return true;
}

static bool set_path(char out[PATH_MAX], const char *a, const char *separator, const char *b)
{
    char text[PATH_MAX];
    int n = snprintf(text, sizeof text, "%s%s%s", a, separator, b);

    if (n < 0 || (size_t)n >= sizeof text)
        return false;
    memcpy(out, text, (size_t)n + 1);
    return true;
}

/* Resolves one component. Returns whether there are more. */
static bool walk_on(struct file_watch *w, struct walk *k)
{
    char name[NAME_MAX + 1], path[PATH_MAX], target[PATH_MAX];

    if (!next_name(k, name))
        return false;
    if (strcmp(name, ".") == 0)
        return true;
    if (strcmp(name, "..") == 0) {
        char *slash = strrchr(k->dir, '/');

        if (slash != NULL)
            *slash = '\0';
        return true;
    }
    file_watch_dir(w, k, name);
    if (!set_path(path, k->dir, "/", name))
        return false;
    ssize_t n = readlink(path, target, sizeof target - 1);
    if (n < 0) { /* a file, a directory, or it does not exist yet */
        bool there = errno == EINVAL && set_path(k->dir, path, "", "");

        if (there && k->rest[0] == '\0')
            watch_contents(w, k->dir);
        return there && k->rest[0] != '\0';
    }
    target[n] = '\0';
    if (++k->links > LINKS_MAX)
        return false;
    if (target[0] == '/')
        k->dir[0] = '\0';
    return set_path(k->rest, target, "/", k->rest);
}

static void walk(struct file_watch *w, const char *file)
{
    struct walk k = { .links = 0 };
    char here[PATH_MAX] = "";

    if (file[0] != '/' && getcwd(here, sizeof here) == NULL)
        return;
    if (!set_path(k.rest, here, "/", file))
        return;
    while (walk_on(w, &k))
        ;
}

static bool is_step(const struct file_watch *w, int wd)
{
    for (size_t i = 0; i < w->steps; i++)
        if (w->step[i].wd == wd)
            return true;
    return false;
}

static void walk_all(struct file_watch *w)
{
    struct file_watch_step *old = w->step;
    size_t old_steps = w->steps;

    w->step = NULL;
    w->steps = w->steps_cap = 0;
    w->blind = w->events.fd < 0;
    for (size_t i = 0; i < w->files; i++)
        walk(w, w->file[i]);
    for (size_t i = 0; i < old_steps; i++)
        if (!is_step(w, old[i].wd))
            /* fails if it is gone; that is fine */
            (void)inotify_rm_watch(w->events.fd, old[i].wd);
    free_steps(old, old_steps);
    if (w->blind && w->files > 0 && !w->logged) {
        w->logged = true;
        log_warn("watch_unavailable",
                 log_str("detail", "inotify cannot watch the directories of the secrets and "
                                   "certificates; they are read every few seconds instead"));
    }
    if (w->files > 0)
        loop_timer_set(w->loop, &w->poll,
                       loop_now(w->loop) + (w->blind ? POLL_BLIND_MS : POLL_MS));
    else
        loop_timer_clear(w->loop, &w->poll);
}

static void on_due(struct file_watch *w)
{
    loop_timer_clear(w->loop, &w->settle);
    walk_all(w);
    w->on_change(w);
}

static void on_settled(struct loop_timer *t)
{
    on_due(CONTAINER_OF(t, struct file_watch, settle));
}

static void on_poll(struct loop_timer *t)
{
    on_due(CONTAINER_OF(t, struct file_watch, poll));
}

static bool matters(const struct file_watch *w, const struct inotify_event *e)
{
    if ((e->mask & (IN_Q_OVERFLOW | IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT)) != 0)
        return true;
    for (size_t i = 0; e->len > 0 && i < w->steps; i++)
        if (w->step[i].wd == e->wd &&
            (strcmp(w->step[i].name, ANY_NAME) == 0 || strcmp(w->step[i].name, e->name) == 0))
            return true;
    return false;
}

static void on_events(struct loop_io *io, uint32_t events)
{
    struct file_watch *w = CONTAINER_OF(io, struct file_watch, events);
    union {
        struct inotify_event event;
        char bytes[8192];
    } room;
    bool changed = false;

    (void)events;
    /* A busy directory must not occupy the loop: events that are left wake it again. */
    for (int i = 0; i < READS_MAX; i++) {
        ssize_t n = read(io->fd, room.bytes, sizeof room);
        const char *at = room.bytes;

        if (n <= 0)
            break;

        while (at < room.bytes + n) {
            const struct inotify_event *e = (const struct inotify_event *)(const void *)at;

            changed |= matters(w, e);
            at += sizeof *e + e->len;
        }
    }
    if (!changed)
        return;
    int64_t now_ms = loop_now(w->loop);

    if (w->settle.slot == 0)
        w->first_ms = now_ms;
    loop_timer_set(w->loop, &w->settle,
                   base_min(now_ms + SETTLE_MS, w->first_ms + SETTLE_AT_MOST_MS));
}

void file_watch_init(struct file_watch *w, struct loop *l,
                     void (*on_change)(struct file_watch *w))
{
    *w = (struct file_watch){ .loop = l,
                              .events.on_event = on_events,
                              .settle.on_due = on_settled,
                              .poll.on_due = on_poll,
                              .on_change = on_change };
    w->events.fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (w->events.fd >= 0 && loop_io_start(l, &w->events, EPOLLIN) != 0) {
        (void)close(w->events.fd);
        w->events.fd = -1;
    }
}

static void forget_files(struct file_watch *w)
{
    while (w->files > 0)
        free(w->file[--w->files]);
}

void file_watch_done(struct file_watch *w)
{
    if (w->loop == NULL)
        return;
    forget_files(w);
    free_steps(w->step, w->steps);
    loop_timer_clear(w->loop, &w->settle);
    loop_timer_clear(w->loop, &w->poll);
    loop_io_stop(w->loop, &w->events);
    if (w->events.fd >= 0)
        (void)close(w->events.fd);
    *w = (struct file_watch){ .loop = NULL };
}

void file_watch_files(struct file_watch *w, const char *const *files, size_t count)
{
    forget_files(w);
    for (size_t i = 0; i < count && w->files < FILE_WATCH_FILES_MAX; i++)
        if (files[i] != NULL) {
            w->file[w->files] = strdup(files[i]);
            if (w->file[w->files++] == NULL)
                abort();
        }
    walk_all(w);
}

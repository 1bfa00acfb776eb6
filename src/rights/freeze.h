#pragma once
/* The freeze file: while it is there, requests of certain classes are refused, whoever makes
 * them. Frozen unless known otherwise: not frozen means that the file's directory is there, that
 * lstat says the file is not, and that this was looked at within the last five seconds. */
#include <pthread.h>
#include <stdatomic.h>

#include "event/file_watch.h"

/* The thread that looks may be stuck for so long before everything counts as frozen. */
#define FREEZE_STALE_MS 5000
#define FREEZE_LOOK_MS 1000
#define FREEZE_REASON_MAX 200

struct freeze {
    struct loop *loop;
    char *file; /* NULL: there is no such setting */
    struct file_watch watch;
    struct loop_timer timer;
    /* When the file was last seen to be away, monotonic; 0: frozen, or never looked at. */
    _Atomic int64_t thawed_ms;
    pthread_mutex_t lock; /* of the reason, for those who are refused */
    char reason[FREEZE_REASON_MAX + 1];
    bool is_frozen, looked;
    int64_t since_s; /* wall clock, of the present freeze */
    void (*on_change)(struct freeze *f);
};

/* on_change: frozen, or thawed, or frozen for another reason; may be NULL. Thread: control, as
 * for all but freeze_is_on and freeze_reason. */
void freeze_init(struct freeze *f, struct loop *l, void (*on_change)(struct freeze *f));
void freeze_done(struct freeze *f);
/* Takes another file into force and looks at it at once; NULL: no file, nothing is frozen. */
void freeze_set_file(struct freeze *f, const char *file);

/* Whether requests of the classes named in the settings are to be refused. One atomic load.
 * now_ms: monotonic. Thread: any. */
static inline bool freeze_is_on(const struct freeze *f, int64_t now_ms)
{
    int64_t thawed_ms = atomic_load_explicit(&f->thawed_ms, memory_order_acquire);

    return thawed_ms == 0 || now_ms - thawed_ms > FREEZE_STALE_MS;
}

/* Why it is frozen: the first line of the file, or what kept it from being looked at. Thread:
 * any; takes a lock, so for refusals only. */
void freeze_reason(struct freeze *f, int64_t now_ms, char out[FREEZE_REASON_MAX + 1]);

/* One look: whether it is frozen, and why. Thread: any. */
bool freeze_look(const char *file, char why[FREEZE_REASON_MAX + 1]);

/* For the commands `freeze` and `thaw`: creates the file with this reason, all at once, or
 * removes it. Returns 0 or -errno. */
int freeze_create(const char *file, const char *reason) MUST_CHECK;
int freeze_remove(const char *file) MUST_CHECK;

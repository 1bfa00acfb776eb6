#pragma once
/* The freeze file: while it exists, requests of certain classes are refused, whoever makes
 * them. When in doubt, frozen: "not frozen" means that the file's directory exists, that
 * lstat says the file does not, and that this was checked within the last five seconds. */
#include <pthread.h>
#include <stdatomic.h>

#include "event/file_watch.h"
#include "rights/freeze_file.h"

/* If the thread that checks is stuck for longer than this, everything counts as frozen. */
#define FREEZE_STALE_MS 5000
#define FREEZE_LOOK_MS 1000

struct freeze {
    struct loop *loop;
    char *file; /* NULL: not set */
    struct file_watch watch;
    struct loop_timer timer;
    /* When the file was last seen to be absent, monotonic; 0: frozen, or never checked. */
    _Atomic int64_t thawed_ms;
    pthread_mutex_t lock; /* protects the reason, which refused requests read */
    char reason[FREEZE_REASON_MAX + 1];
    bool is_frozen, looked;
    bool in_doubt;   /* frozen since it could not be looked at; false: the file is there */
    int64_t since_s; /* wall clock, when the present freeze began */
    void (*on_change)(struct freeze *f);
};

/* on_change is called when the state or the reason changes; may be NULL. Thread: control,
 * for all functions but freeze_is_on and freeze_reason. */
void freeze_init(struct freeze *f, struct loop *l, void (*on_change)(struct freeze *f));
void freeze_done(struct freeze *f);
/* Uses another file and checks it at once; NULL: no file, nothing is frozen. */
void freeze_set_file(struct freeze *f, const char *file);

/* Whether requests of the classes in the settings must be refused. One atomic load. now_ms:
 * monotonic. Thread: any. */
static inline bool freeze_is_on(const struct freeze *f, int64_t now_ms)
{
    int64_t thawed_ms = atomic_load_explicit(&f->thawed_ms, memory_order_acquire);

    return thawed_ms == 0 || now_ms - thawed_ms > FREEZE_STALE_MS;
}

/* Why it is frozen: the first line of the file, or what prevented the check. Takes a lock,
 * so use it only for refusals. Thread: any. */
void freeze_reason(struct freeze *f, int64_t now_ms, char out[FREEZE_REASON_MAX + 1]);

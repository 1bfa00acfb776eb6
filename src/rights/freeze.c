/* Watches the freeze file; see freeze.h. */
#include "rights/freeze.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

static void look_now(struct freeze *f)
{
    char why[FREEZE_REASON_MAX + 1] = "";
    enum freeze_state state = freeze_file_look(f->file, why);
    bool frozen = state != FREEZE_OFF;
    bool changed = !f->looked ? frozen : frozen != f->is_frozen || strcmp(why, f->reason) != 0;

    atomic_store_explicit(&f->thawed_ms, frozen ? 0 : base_max(clock_ms(), 1),
                          memory_order_release);
    if (frozen && (!f->is_frozen || !f->looked))
        f->since_s = clock_wall_s();
    (void)pthread_mutex_lock(&f->lock);
    memcpy(f->reason, why, sizeof why);
    (void)pthread_mutex_unlock(&f->lock);
    f->is_frozen = frozen;
    f->in_doubt = state == FREEZE_IN_DOUBT;
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
    f->is_frozen = f->looked = f->in_doubt = false;
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

/* Looks at the program every ten seconds and keeps the history that the status page shows.
 *
 *   timer, every 10 s ----------+                 +--> history
 *   token published, drain -----+--> take, judge -+--> since
 *   somebody asks for the page -+                 +--> the page
 */
#include "admin/monitor.h"

#include <string.h>

#include "admin/page/page.h"

/* Determines the health, and since when. */
static struct health judge(struct monitor *m, const struct status *s,
                           const struct history_totals *totals)
{
    struct history_step recent = history_sum(&m->history, totals, s->now_ms, HEALTH_STEPS);
    struct health v = health_of(s, &recent);

    health_track(&m->since, &v, s->now_ms, s->now_wall_s);
    return v;
}

static void on_timer(struct loop_timer *t)
{
    struct monitor *m = CONTAINER_OF(t, struct monitor, timer);
    struct status s;

    m->take(m->arg, &s);

    struct history_totals totals = history_totals_of(&s.sum);

    (void)judge(m, &s, &totals);
    history_sample(&m->history, &totals, s.now_ms);
    /* Relative to when it was due, so that the steps do not drift; after a suspend relative
     * to now. */
    int64_t next_ms = t->due_ms + HISTORY_STEP_MS;

    loop_timer_set(m->loop, t, next_ms > s.now_ms ? next_ms : s.now_ms + HISTORY_STEP_MS);
}

void monitor_init(struct monitor *m, struct loop *l, const char *listen,
                  void (*take)(void *arg, struct status *out), void *arg)
{
    struct status s;

    m->loop = l;
    m->timer.on_due = on_timer;
    m->take = take;
    m->arg = arg;
    m->listen = strdup(listen);
    if (m->listen == NULL)
        abort();
    take(arg, &s);

    struct history_totals totals = history_totals_of(&s.sum);

    history_init(&m->history, &totals, s.now_ms);
    (void)judge(m, &s, &totals);
    loop_timer_set(l, &m->timer, s.now_ms + HISTORY_STEP_MS);
}

void monitor_done(struct monitor *m)
{
    if (m->loop == NULL)
        return;
    loop_timer_clear(m->loop, &m->timer);
    free(m->listen);
    m->loop = NULL;
}

void monitor_look(struct monitor *m)
{
    struct status s;

    if (m->loop == NULL)
        return;
    m->take(m->arg, &s);

    struct history_totals totals = history_totals_of(&s.sum);

    (void)judge(m, &s, &totals);
}

int monitor_render(void *arg, const struct status *s, struct buf *out)
{
    struct monitor *m = arg;
    struct history_totals totals = history_totals_of(&s->sum);
    struct health health = judge(m, s, &totals);
    int err = page_render(&(struct content){ .status = s,
                                             .health = &health,
                                             .since = &m->since,
                                             .history = &m->history,
                                             .totals = &totals,
                                             .failures = &m->failures,
                                             .listen = m->listen },
                          out);

    return err != 0 ? err : 200;
}

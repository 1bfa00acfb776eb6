#pragma once
/* What the status page shows about the past: looks at the program every ten seconds, and
 * whenever something about the token changes. Thread: control. */
#include "admin/health.h"
#include "admin/status.h"
#include "base/base.h"
#include "base/buf.h"
#include "event/loop.h"
#include "stats/history.h"
#include "stats/recent_failures.h"

struct monitor {
    struct loop *loop; /* NULL: not in use */
    struct loop_timer timer;
    struct history history;
    struct health_since since;
    struct recent_failures failures;
    char *listen; /* the addresses for callers */
    void (*take)(void *arg, struct status *out);
    void *arg;
};

/* Starts; the workers run already. `take` and its argument are those of the admin listener.
 * The list of failures must be initialised before. */
void monitor_init(struct monitor *m, struct loop *l, const char *listen,
                  void (*take)(void *arg, struct status *out), void *arg);
/* Takes one that was not initialised, if zeroed. */
void monitor_done(struct monitor *m);

/* Call it when something may have changed the health. Takes a monitor that is not in use. */
void monitor_look(struct monitor *m);

/* Renders the status page, as a path of the admin listener; arg is the monitor. Appends the
 * document; returns 200, or -errno. */
int monitor_render(void *arg, const struct status *s, struct buf *out);

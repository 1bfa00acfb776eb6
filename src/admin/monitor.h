#pragma once
/* What the status page shows beyond the present: it looks at the program every ten seconds, and
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
    char *listen; /* the addresses that callers reach */
    void (*take)(void *arg, struct status *out);
    void *arg;
};

/* Begins to look; the workers run already. `take` and its argument are those of the admin
 * listener. The failures are control's own to initialise, before that. */
void monitor_init(struct monitor *m, struct loop *l, const char *listen,
                  void (*take)(void *arg, struct status *out), void *arg);
/* Takes one that was not initialised, if zeroed. */
void monitor_done(struct monitor *m);

/* To be called when something changed that may change the health. Takes a monitor that is not in
 * use. */
void monitor_look(struct monitor *m);

/* The status page, as the admin listener's path wants it: arg is the monitor. Appends the
 * document; returns 200, or -errno. */
int monitor_render(void *arg, const struct status *s, struct buf *out);

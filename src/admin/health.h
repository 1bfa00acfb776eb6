#pragma once
/* Whether the program is well, and if not, whose fault that is: one sentence for the status
 * page, made from what the control thread knows. The rules are the table in health.c. Pure.
 * Thread: control. */
#include "admin/status.h"
#include "base/base.h"
#include "stats/history.h"

enum health_kind {
    HEALTH_STUCK,          /* a worker's loop does not turn */
    HEALTH_STOPPING,       /* SIGTERM came */
    HEALTH_STARTING,       /* the first token is being fetched */
    HEALTH_NO_TOKEN,       /* there is none, and the last fetch failed */
    HEALTH_RENEWING,       /* there is none, and one is being fetched */
    HEALTH_TOKENS_REFUSED, /* the upstream refuses one token after the other */
    HEALTH_LEDGER_DOWN,    /* what it would record is refused */
    HEALTH_FREEZE_UNSEEN,  /* whether the freeze file is there cannot be seen: frozen */
    HEALTH_UPSTREAM_DOWN,  /* half of the last minute's requests failed at the upstream */
    HEALTH_FROZEN,         /* the freeze file is there */
    HEALTH_LIMIT,          /* requests were turned away, or failed because of the proxy */
    HEALTH_UPSTREAM_FAILS, /* some failed at the upstream */
    HEALTH_RENEWAL_FAILS,  /* there is a token, but renewing it fails */
    /* there is a token, but requests failed just now because there was none */
    HEALTH_RECOVERED,
    HEALTH_CERTIFICATE_ENDED, /* one in use has expired */
    HEALTH_CERTIFICATE_KEPT,  /* a new one is faulty, so the old one is still used */
    HEALTH_CERTIFICATE_ENDS,  /* one in use expires soon */
    HEALTH_RELOAD_REFUSED,    /* the last one had errors, so the settings are the old ones */
    HEALTH_WELL,
    HEALTH_COUNT
};

enum health_level { HEALTH_GOOD, HEALTH_WARN, HEALTH_BAD };

/* How many steps of the history are looked at. */
#define HEALTH_STEPS 6

struct health {
    enum health_kind kind;
    enum health_level level;
    const char *headline; /* a literal */
    const char *fault;    /* whose fault, a literal; NULL: nobody's */
    char detail[768];     /* what is wrong and what to do; may contain text of peers */
};

/* `recent`: what happened in the last HEALTH_STEPS steps. */
struct health health_of(const struct status *s, const struct history_step *recent);

/* "good", "warn", "bad". */
const char *health_level_name(enum health_level level);

/* Since when the kind has not changed. */
struct health_since {
    enum health_kind kind;
    int64_t ms, wall_s;
};

/* Call it with each result of health_of; the first one counts from the start of the process. */
void health_track(struct health_since *s, const struct health *h, int64_t now_ms,
                  int64_t wall_s);

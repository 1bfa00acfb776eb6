#pragma once
/* Whether the program is well, and whose fault it is if not: one sentence for the status page,
 * made of what the control thread knows. The rules are the table at the head of health.c.
 * Pure. Thread: control. */
#include "admin/status.h"
#include "base/base.h"
#include "stats/history.h"

enum health_kind {
    HEALTH_STUCK,          /* a worker's loop does not turn */
    HEALTH_STOPPING,       /* SIGTERM came */
    HEALTH_STARTING,       /* the first token is being fetched */
    HEALTH_NO_TOKEN,       /* there is none, and fetching one failed */
    HEALTH_RENEWING,       /* there is none, the next is being fetched */
    HEALTH_TOKENS_REFUSED, /* the upstream refuses one token after the other */
    HEALTH_UPSTREAM_DOWN,  /* half of the last minute's requests failed at the upstream */
    HEALTH_LIMIT,          /* requests were turned away, or failed by our own fault */
    HEALTH_UPSTREAM_FAILS, /* some failed at the upstream */
    HEALTH_RENEWAL_FAILS,  /* the token serves, but renewing it fails */
    HEALTH_RECOVERED,      /* a token is here, but requests failed for want of one just now */
    HEALTH_CERTIFICATE_ENDED, /* one in use has ended */
    HEALTH_CERTIFICATE_KEPT,  /* a new one is not good, so that the old one goes on */
    HEALTH_CERTIFICATE_ENDS,  /* one in use ends soon */
    HEALTH_WELL,
    HEALTH_COUNT
};

enum health_level { HEALTH_GOOD, HEALTH_WARN, HEALTH_BAD };

/* How far back requests are looked at, in steps of the history. */
#define HEALTH_STEPS 6

struct health {
    enum health_kind kind;
    enum health_level level;
    const char *headline; /* a literal */
    const char *fault;    /* whose: a literal; NULL: nobody's */
    char detail[400];     /* what is the matter and what to do; peers' text may be in it */
};

/* `recent` is what happened in the last HEALTH_STEPS steps. */
struct health health_of(const struct status *s, const struct history_step *recent);

/* "good", "warn", "bad". */
const char *health_level_name(enum health_level level);

/* Since when the kind is what it is. */
struct health_since {
    enum health_kind kind;
    int64_t ms, wall_s;
};

/* Is to be given each result of health_of; the first one counts from the start of the process. */
void health_track(struct health_since *s, const struct health *h, int64_t now_ms,
                  int64_t wall_s);

#pragma once
/* Is it well, and whose fault is it if not: one sentence made of what the control thread knows.
 * The rules are the table at the head of verdict.c. Pure. Thread: control. */
#include "admin/status.h"
#include "base/base.h"
#include "stats/history.h"

enum verdict_kind {
    VERDICT_STUCK,          /* a worker's loop does not turn */
    VERDICT_STOPPING,       /* SIGTERM came */
    VERDICT_STARTING,       /* the first token is being fetched */
    VERDICT_NO_TOKEN,       /* there is none, and fetching one failed */
    VERDICT_RENEWING,       /* there is none, the next is being fetched */
    VERDICT_TOKENS_REFUSED, /* the upstream refuses one token after the other */
    VERDICT_UPSTREAM_DOWN,  /* half of the last minute's requests failed at the upstream */
    VERDICT_LIMIT,          /* requests were turned away, or failed by our own fault */
    VERDICT_UPSTREAM_FAILS, /* some failed at the upstream */
    VERDICT_RENEWAL_FAILS,  /* the token serves, but renewing it fails */
    VERDICT_RECOVERED,      /* a token is here, but requests failed for want of one just now */
    VERDICT_WELL,
    VERDICT_COUNT
};

enum verdict_level { VERDICT_GOOD, VERDICT_WARN, VERDICT_BAD };

/* How far back requests are looked at, in steps of the history. */
#define VERDICT_STEPS 6

struct verdict {
    enum verdict_kind kind;
    enum verdict_level level;
    const char *headline; /* a literal */
    const char *fault;    /* whose: a literal; NULL: nobody's */
    char detail[400];     /* what is the matter and what to do; peers' text may be in it */
};

/* `recent` is what happened in the last VERDICT_STEPS steps. */
struct verdict verdict_of(const struct status *s, const struct history_step *recent);

/* "good", "warn", "bad". */
const char *verdict_level_name(enum verdict_level level);

/* Since when the verdict is what it is. */
struct verdict_since {
    enum verdict_kind kind;
    int64_t ms, wall_s;
};

/* To be told every verdict; the first one is since the start of the process. */
void verdict_track(struct verdict_since *s, const struct verdict *v, int64_t now_ms,
                   int64_t wall_s);

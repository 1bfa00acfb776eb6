#pragma once
/* The last requests that failed, for the status page. Each worker keeps its own last few and
 * mails them to the control thread at most ten times a second. So a request that succeeds
 * costs nothing, and many failures at once cost little. */
#include "base/base.h"
#include "base/failure.h"
#include "event/loop.h"
#include "event/mailbox.h"

#define RECENT_FAILURES_KEPT 20
#define RECENT_FAILURES_INTERVAL_MS 100

struct recent_failures_entry {
    int64_t at_ms, wall_s;  /* when it ended */
    enum failure_kind kind; /* FAIL_NONE: the upstream's own answer */
    enum stage stage;
    int status;           /* what the caller got; 0: no answer */
    char method[16];      /* longer text is cut and ends in "..." */
    char path[200];       /* without query; "-": none */
    char request_id[129]; /* empty: none */
    char trace_id[33];    /* likewise */
    char detail[256];     /* what happened and what to do */
};

/* The newest of all workers. Thread: control. */
struct recent_failures {
    struct mailbox *mailbox;
    size_t count;
    struct recent_failures_entry entry[RECENT_FAILURES_KEPT]; /* newest first */
};

/* One worker's own list. Thread: that worker's. */
struct recent_failures_outbox {
    struct recent_failures *to;
    struct loop *loop;
    struct loop_timer timer;
    int64_t sent_ms;
    size_t next, count; /* a ring of entries that are not sent yet */
    struct recent_failures_entry entry[RECENT_FAILURES_KEPT];
};

struct recent_failures_request {
    const struct failure *failure; /* kind FAIL_NONE: `status` is the upstream's own answer */
    int status;
    const char *method; /* these four may be NULL */
    const char *path;
    size_t path_len;
    const char *request_id;
    const char *trace_id;
};

/* `control`: the control thread's mailbox. Thread: control. */
void recent_failures_init(struct recent_failures *f, struct mailbox *control);

/* Thread: control, before the worker starts and after it has ended. */
void recent_failures_outbox_init(struct recent_failures_outbox *o, struct loop *l,
                                 struct recent_failures *to);
void recent_failures_outbox_done(struct recent_failures_outbox *o);

/* Whether an upstream answer of that status belongs on the list: server errors, and refusals
 * that concern the token or the rate. */
static inline bool recent_failures_upstream_status(int status)
{
    return status >= 500 || status == 401 || status == 429;
}

/* Adds one; everything is copied. Thread: worker. */
void recent_failures_note(struct recent_failures_outbox *o,
                          const struct recent_failures_request *r);

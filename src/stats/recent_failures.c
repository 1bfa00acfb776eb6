/* Brings failed requests from the workers to the control thread:
 *
 *   recent_failures_note -> a worker's ring --- timer: 0 to 100 ms ---> one mail with all of it
 *                                                                         |
 *                      the newest of all workers, by time <--- control ---+
 *
 * A worker's ring is as long as the control thread's list: an entry that is overwritten in the
 * ring has so many newer ones after it that it would have left the list, too. */
#include "stats/recent_failures.h"

#include <string.h>

#include "base/clock.h"

struct parcel {
    struct mail mail;
    struct recent_failures *to;
    size_t count;
    struct recent_failures_entry entry[];
};

void recent_failures_init(struct recent_failures *f, struct mailbox *control)
{
    *f = (struct recent_failures){ .mailbox = control };
}

/* Inserts into the list, newest first. Of two with the same time, the one inserted later is
 * newer. */
static void insert(struct recent_failures *f, const struct recent_failures_entry *e)
{
    size_t at = 0;

    while (at < f->count && f->entry[at].at_ms > e->at_ms)
        at++;
    if (at == RECENT_FAILURES_KEPT)
        return;
    if (f->count < RECENT_FAILURES_KEPT)
        f->count++;
    memmove(&f->entry[at + 1], &f->entry[at], (f->count - at - 1) * sizeof *e);
    f->entry[at] = *e;
}

static void arrived(struct mail *m)
{
    struct parcel *p = CONTAINER_OF(m, struct parcel, mail);

    for (size_t i = 0; i < p->count; i++)
        insert(p->to, &p->entry[i]);
}

static void on_timer(struct loop_timer *t)
{
    struct recent_failures_outbox *o = CONTAINER_OF(t, struct recent_failures_outbox, timer);
    struct parcel *p = base_alloc(sizeof *p + o->count * sizeof *p->entry);

    p->mail = (struct mail){ .run = arrived, .free = mail_free };
    p->to = o->to;
    p->count = o->count;
    for (size_t i = 0; i < o->count; i++) /* oldest first */
        p->entry[i] =
            o->entry[(o->next + RECENT_FAILURES_KEPT - o->count + i) % RECENT_FAILURES_KEPT];
    o->count = 0;
    o->sent_ms = loop_now(o->loop);
    mailbox_send(o->to->mailbox, &p->mail);
}

void recent_failures_outbox_init(struct recent_failures_outbox *o, struct loop *l,
                                 struct recent_failures *to)
{
    *o = (struct recent_failures_outbox){
        .to = to, .loop = l, .timer.on_due = on_timer, .sent_ms = -RECENT_FAILURES_INTERVAL_MS
    };
}

void recent_failures_outbox_done(struct recent_failures_outbox *o)
{
    if (o->loop != NULL)
        loop_timer_clear(o->loop, &o->timer);
}

static void copy(char *out, size_t size, const char *text, size_t len)
{
    static const char more[] = "...";
    size_t fits = len < size ? len : size - sizeof more;

    memcpy(out, text, fits);
    memcpy(out + fits, more, len < size ? 0 : sizeof more - 1);
    out[len < size ? len : size - 1] = '\0';
}

static void copy_str(char *out, size_t size, const char *text)
{
    copy(out, size, text == NULL ? "" : text, text == NULL ? 0 : strlen(text));
}

void recent_failures_note(struct recent_failures_outbox *o,
                          const struct recent_failures_request *r)
{
    struct recent_failures_entry *e = &o->entry[o->next];

    if (o->to == NULL) /* nobody keeps a list */
        return;
    o->next = (o->next + 1) % RECENT_FAILURES_KEPT;
    if (o->count < RECENT_FAILURES_KEPT)
        o->count++;
    e->at_ms = clock_ms();
    e->wall_s = clock_wall_s();
    e->kind = r->failure->kind;
    e->stage = e->kind == FAIL_NONE ? STAGE_UPSTREAM : failure_info(e->kind)->stage;
    e->status = r->status;
    copy_str(e->method, sizeof e->method, r->method);
    copy(e->path, sizeof e->path, r->path == NULL ? "-" : r->path,
         r->path == NULL ? 1 : r->path_len);
    copy_str(e->request_id, sizeof e->request_id, r->request_id);
    copy_str(e->trace_id, sizeof e->trace_id, r->trace_id);
    copy_str(e->detail, sizeof e->detail, r->failure->detail);
    if (o->timer.slot == 0)
        loop_timer_set(o->loop, &o->timer,
                       base_max(loop_now(o->loop), o->sent_ms + RECENT_FAILURES_INTERVAL_MS));
}

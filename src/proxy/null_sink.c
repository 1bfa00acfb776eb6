/* A sink that discards everything; see null_sink.h. */
#include "proxy/null_sink.h"

static void begin(struct response_sink *s, const struct response_head *head)
{
    (void)s;
    (void)head;
}

static void end(struct response_sink *s, enum response_end how)
{
    (void)s;
    (void)how;
}

static void reject(struct response_sink *s, const struct failure *f)
{
    (void)s;
    (void)f;
}

/* For all calls that need no result. */
static void ignore(struct response_sink *s)
{
    (void)s;
}

static bool has_unread(const struct response_sink *s)
{
    (void)s;
    return false;
}

static bool watch_close(struct response_sink *s)
{
    (void)s;
    return false;
}

static const struct response_sink_ops ops = { .begin = begin,
                                              .end = end,
                                              .reject = reject,
                                              .resume = ignore,
                                              .close = ignore,
                                              .take_over = ignore,
                                              .has_unread = has_unread,
                                              .look = ignore,
                                              .watch_close = watch_close };

void null_sink_init(struct response_sink *s, const struct response_sink *from)
{
    *s = *from;
    s->ops = &ops;
}

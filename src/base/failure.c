/* The table of failures, and how to make one. http/problem.c writes the answer that the
 * caller gets. */
#include "base/failure.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define FAILURE_ROW(id, slug_, status_, stage_, error_, retryable_, title_) \
    [FAIL_##id] = { .slug = (slug_),                                        \
                    .error = (error_),                                      \
                    .title = (title_),                                      \
                    .status = (status_),                                    \
                    .stage = STAGE_##stage_,                                \
                    .retryable = (retryable_) },

static const struct failure_info table[FAILURE_COUNT] = {
    [FAIL_NONE] = { .slug = "none", .error = "", .title = "No failure", .stage = STAGE_PROXY },
    FAILURES(FAILURE_ROW)
};

const struct failure_info *failure_info(enum failure_kind kind)
{
    assert((unsigned)kind < FAILURE_COUNT);
    return &table[kind];
}

bool failure_retryable(const struct failure *f)
{
    return failure_info(f->kind)->retryable && !f->may_have_run;
}

int failure_status(const struct failure *f)
{
    return f->status != 0 ? f->status : failure_info(f->kind)->status;
}

const char *failure_stage_name(enum stage stage)
{
    static const char *const names[STAGE_COUNT] = {
        [STAGE_REQUEST] = "request",
        [STAGE_TOKEN] = "token",
        [STAGE_UPSTREAM] = "upstream",
        [STAGE_PROXY] = "proxy",
    };

    assert((unsigned)stage < STAGE_COUNT);
    return names[stage];
}

/* Removes a UTF-8 character that was cut in the middle at the end of the text. */
static void drop_broken_end(char *text)
{
    size_t len = strlen(text);
    size_t at = len;

    while (at > 0 && len - at < 3 && ((unsigned char)text[at - 1] & 0xc0) == 0x80)
        at--;
    if (at == 0 || ((unsigned char)text[at - 1] & 0xc0) != 0xc0)
        return;

    unsigned char lead = (unsigned char)text[at - 1];
    size_t wanted = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    if (len - (at - 1) < wanted)
        text[at - 1] = '\0';
}

struct failure failure_make(enum failure_kind kind, const char *fmt, ...)
{
    struct failure f = { .kind = kind };
    va_list args;

    va_start(args, fmt);
    int n = vsnprintf(f.detail, sizeof f.detail, fmt, args);
    va_end(args);
    if (n < 0)
        f.detail[0] = '\0';
    if (n >= (int)sizeof f.detail)
        drop_broken_end(f.detail);
    return f;
}

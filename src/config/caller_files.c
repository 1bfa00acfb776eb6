/* Reads the files with callers' secrets; see caller_files.h. */
#include "config/caller_files.h"

#include <stdio.h>
#include <string.h>

#include "base/ascii.h"
#include "config/files.h"

/* Two lines, and a little that may follow them. */
#define FILE_MAX (2 * (CALLER_SECRET_MAX + 2) + 64)

struct reading {
    const struct config *config;
    const struct caller_secrets *last;
    caller_files_wrong *wrong;
    void *arg;
    char *file[CALLERS_MAX]; /* the content; the secrets point into it */
    size_t len[CALLERS_MAX];
    struct caller_secret secret[CALLER_SECRETS_MAX];
    size_t count;
};

static bool is_b64token(const char *text, size_t len)
{
    size_t n = 0;

    while (n < len && (ascii_is_alpha(text[n]) || ascii_is_digit(text[n]) ||
                       (text[n] != '\0' && strchr("-._~+/", text[n]) != NULL)))
        n++;
    while (n > 0 && n < len && text[n] == '=')
        n++;
    return n == len;
}

/* What is wrong with a line, or NULL. */
static const char *fault(const char *text, size_t len)
{
    if (len == 0)
        return "is empty";
    if (!is_b64token(text, len))
        return "holds a character that is none of A-Z a-z 0-9 - . _ ~ + /";
    if (len < CALLER_SECRET_MIN)
        return "is too short; allowed: 32 to 256 characters, such as `openssl rand -hex 32` "
               "makes";
    return len > CALLER_SECRET_MAX ? "is too long; allowed: 32 to 256 characters" : NULL;
}

/* Adds the lines of one file. False: something is wrong with it, and nothing was added. */
static bool add_lines(struct reading *r, size_t caller)
{
    const char *at = r->file[caller], *end = at + r->len[caller];
    size_t before = r->count;
    char why[256] = "";

    for (size_t line = 1; at < end && why[0] == '\0'; line++) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        const char *stop = newline == NULL ? end : newline;
        size_t len = (size_t)(stop - at);

        len -= len > 0 && at[len - 1] == '\r';
        const char *wrong = line > CALLER_SECRETS_EACH ? "is one too many; allowed: one line, "
                                                         "or two while the secret is changed"
                                                       : fault(at, len);
        if (wrong != NULL)
            (void)snprintf(why, sizeof why, "line %zu %s", line, wrong);
        else
            r->secret[r->count++] =
                (struct caller_secret){ .caller = caller, .text = at, .len = len };
        at = newline == NULL ? end : newline + 1;
    }
    if (r->count == before && why[0] == '\0')
        (void)snprintf(why, sizeof why, "is empty");
    if (why[0] == '\0')
        return true;
    r->count = before;
    r->wrong(r->arg, caller, why);
    return false;
}

static void keep(struct reading *r, size_t caller)
{
    struct caller_secret s;

    for (size_t i = 0; r->last != NULL && caller_secrets_at(r->last, i, &s); i++)
        if (s.caller == caller)
            r->secret[r->count++] = s;
}

static void read_one(struct reading *r, size_t caller)
{
    const char *path = r->config->caller[caller].secret_file;
    char why[256];

    r->file[caller] = config_file_read(path, FILE_MAX, &r->len[caller], why, sizeof why);
    if (r->file[caller] == NULL)
        r->wrong(r->arg, caller, why);
    if (r->file[caller] == NULL || !add_lines(r, caller))
        keep(r, caller);
}

static bool same(const struct caller_secret *a, const struct caller_secret *b)
{
    return secret_bytes_equal(a->text, a->len, b->text, b->len);
}

static void tell_shared(struct reading *r, size_t caller, size_t with)
{
    char why[128];

    (void)snprintf(why, sizeof why, "holds a secret of [caller %s], too",
                   r->config->caller[with].name);
    r->wrong(r->arg, caller, why);
}

/* Whether two callers share a secret: then it does not tell who calls. */
static bool any_shared(struct reading *r)
{
    const struct secret *own = r->config->token.client_secret;
    bool shared = false;

    for (size_t i = 0; i < r->count; i++) {
        const struct caller_secret *s = &r->secret[i];

        for (size_t j = 0; j < i; j++)
            if (r->secret[j].caller != s->caller && same(&r->secret[j], s)) {
                tell_shared(r, r->secret[j].caller, s->caller);
                tell_shared(r, s->caller, r->secret[j].caller);
                shared = true;
            }
        if (own != NULL && secret_is(own, s->text, s->len)) {
            r->wrong(r->arg, s->caller,
                     "holds token.client_secret; a caller needs a secret of its own");
            shared = true;
        }
    }
    return shared;
}

struct caller_secrets *caller_files_read(const struct config *c,
                                         const struct caller_secrets *last,
                                         caller_files_wrong *wrong, void *arg)
{
    struct reading r = { .config = c, .last = last, .wrong = wrong, .arg = arg };
    bool any = false;

    for (size_t i = 0; i < c->caller_count; i++)
        if (c->caller[i].secret_file != NULL) {
            any = true;
            read_one(&r, i);
        }
    if (any && any_shared(&r) && last != NULL) {
        r.count = 0;
        for (size_t i = 0; i < c->caller_count; i++)
            keep(&r, i);
    }
    struct caller_secrets *all =
        any ? caller_secrets_new(c->rules->number, r.secret, r.count) : NULL;

    for (size_t i = 0; i < c->caller_count; i++)
        config_file_free(r.file[i], r.len[i]);
    return all;
}

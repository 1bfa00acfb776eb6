/* The secrets of callers; see caller_secrets.h.
 *
 * They lie behind each other in one piece of locked memory, each filled up with zeros to whole
 * words, and are compared word by word without a branch on what is in them: a request costs the
 * same whether it shows the first secret, the last, or none. */
#include "rights/caller_secrets.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define WORD sizeof(uint64_t)

struct place {
    size_t caller, len;
    size_t words; /* that it takes */
    size_t at;    /* in bytes */
};

struct caller_secrets {
    _Atomic int refs;
    uint64_t number;
    struct secret *text;
    size_t count;
    struct place place[CALLER_SECRETS_MAX];
};

struct caller_secrets *caller_secrets_new(uint64_t number, const struct caller_secret *all,
                                          size_t count)
{
    struct caller_secrets *s = base_alloc(sizeof *s);
    char *text = base_alloc(CALLER_SECRETS_MAX * CALLER_SECRET_MAX);
    size_t used = 0;

    assert(count <= CALLER_SECRETS_MAX);
    atomic_init(&s->refs, 1);
    s->number = number;
    s->count = count;
    for (size_t i = 0; i < count; i++) {
        size_t words = (all[i].len + WORD - 1) / WORD;

        assert(all[i].len <= CALLER_SECRET_MAX && all[i].caller < 32);
        s->place[i] = (struct place){
            .caller = all[i].caller, .len = all[i].len, .words = words, .at = used
        };
        memcpy(text + used, all[i].text, all[i].len);
        used += words * WORD;
    }
    s->text = secret_new(text, used);
    secret_wipe(text, used);
    free(text);
    if (s->text == NULL)
        abort();
    return s;
}

struct caller_secrets *caller_secrets_ref(struct caller_secrets *s)
{
    (void)atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

void caller_secrets_unref(struct caller_secrets *s)
{
    if (s == NULL || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
        return;
    secret_free(s->text);
    free(s);
}

uint64_t caller_secrets_number(const struct caller_secrets *s)
{
    return s->number;
}

bool caller_secrets_at(const struct caller_secrets *s, size_t i, struct caller_secret *out)
{
    if (i >= s->count)
        return false;
    *out = (struct caller_secret){ .caller = s->place[i].caller,
                                   .text = secret_text(s->text) + s->place[i].at,
                                   .len = s->place[i].len };
    return true;
}

/* Whose secrets in a are not in b. */
static uint32_t missing(const struct caller_secrets *a, const struct caller_secrets *b)
{
    uint32_t callers = 0;
    struct caller_secret s;

    for (size_t i = 0; caller_secrets_at(a, i, &s); i++) {
        uint32_t bit = (uint32_t)1 << s.caller;

        if (caller_secrets_find(b, bit, s.text, s.len) == 0)
            callers |= bit;
    }
    return callers;
}

uint32_t caller_secrets_changed(const struct caller_secrets *a, const struct caller_secrets *b)
{
    return missing(a, b) | missing(b, a);
}

static uint64_t word_at(const char *bytes, size_t i)
{
    uint64_t word;

    memcpy(&word, bytes + i * WORD, WORD);
    return word;
}

uint32_t caller_secrets_find(const struct caller_secrets *s, uint32_t callers, const char *text,
                             size_t len)
{
    char shown[CALLER_SECRET_MAX];
    size_t filled = (len + WORD - 1) / WORD * WORD;
    uint32_t found = 0;

    if (s == NULL || callers == 0 || len == 0 || len > CALLER_SECRET_MAX)
        return 0;
    memset(shown + filled - WORD, 0, WORD);
    memcpy(shown, text, len);
    for (size_t i = 0; i < s->count; i++) {
        const struct place *p = &s->place[i];
        const char *mine = secret_text(s->text) + p->at;
        uint64_t differs = 0;

        if (p->len != len || (callers & (uint32_t)1 << p->caller) == 0)
            continue;
        for (size_t w = 0; w < p->words; w++)
            differs |= word_at(mine, w) ^ word_at(shown, w);
        /* Not to be looked at before it is whole. */
        __asm__ volatile("" : "+r"(differs));
        found |= (uint32_t)(differs == 0) << p->caller;
    }
    secret_wipe(shown, filled);
    return found;
}

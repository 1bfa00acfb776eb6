/* The secrets of callers; see caller_secrets.h.
 *
 * They are stored one after the other in one piece of locked memory. Each has a tag, its
 * hash under a random key (SipHash-1-3), in a hash table: what a request shows is hashed
 * once, so that 64 secrets take no longer than one. The time depends on tags only, and
 * without the key a tag tells nothing about a secret. A secret with the same tag is then
 * compared itself, in constant time. */
#include "rights/caller_secrets.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* Twice the number of secrets, so that a search soon reaches a free slot. */
#define SLOTS ((size_t)CALLER_SECRETS_MAX * 2)

struct place {
    size_t caller, len;
    size_t at; /* offset in the text */
};

struct caller_secrets {
    _Atomic int refs;
    uint64_t number;
    struct secret *text;
    uint64_t key[2];
    size_t count;
    uint64_t tag[CALLER_SECRETS_MAX];
    struct place place[CALLER_SECRETS_MAX];
    unsigned char slot[SLOTS]; /* open addressing by tag; 1 + index of the secret, 0: free */
};

static size_t slot_of(uint64_t tag)
{
    return tag % SLOTS;
}

static size_t slot_behind(size_t slot)
{
    return (slot + 1) % SLOTS;
}

static inline uint64_t rotate(uint64_t x, int by)
{
    return x << by | x >> (64 - by);
}

/* Inline, so that the four words stay in registers. */
__attribute__((always_inline)) static inline void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[0] = rotate(v[0], 32);
    v[2] += v[3];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[2] = rotate(v[2], 32);
}

/* SipHash-1-3 (Aumasson and Bernstein, 2012) of at least CALLER_SECRET_MIN bytes. */
static uint64_t tag_of(const uint64_t key[2], const char *text, size_t len)
{
    uint64_t v[4] = { key[0] ^ 0x736f6d6570736575, key[1] ^ 0x646f72616e646f6d,
                      key[0] ^ 0x6c7967656e657261, key[1] ^ 0x7465646279746573 };
    uint64_t word, last = (uint64_t)len << 56;

    for (; len >= sizeof word; text += sizeof word, len -= sizeof word) {
        memcpy(&word, text, sizeof word);
        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
    }
    /* the last bytes, read together with some before them, which are shifted out */
    if (len > 0) {
        memcpy(&word, text + len - sizeof word, sizeof word);
        last |= word >> 8 * (sizeof word - len);
    }
    v[3] ^= last;
    sip_round(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

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
    if (getrandom(s->key, sizeof s->key, 0) != sizeof s->key)
        abort(); /* cannot fail here: it was tried at the start of the program */
    for (size_t i = 0; i < count; i++) {
        assert(all[i].len >= CALLER_SECRET_MIN && all[i].len <= CALLER_SECRET_MAX &&
               all[i].caller < 32);
        s->place[i] = (struct place){ .caller = all[i].caller, .len = all[i].len, .at = used };
        s->tag[i] = tag_of(s->key, all[i].text, all[i].len);
        memcpy(text + used, all[i].text, all[i].len);
        used += all[i].len;
        size_t slot = slot_of(s->tag[i]);

        while (s->slot[slot] != 0)
            slot = slot_behind(slot);
        s->slot[slot] = (unsigned char)(i + 1);
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
    secret_wipe(s, sizeof *s);
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

/* The callers that have a secret in a which they do not have in b. */
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

uint32_t caller_secrets_find(const struct caller_secrets *s, uint32_t callers, const char *text,
                             size_t len)
{
    uint32_t found = 0;

    if (s == NULL || callers == 0 || len < CALLER_SECRET_MIN || len > CALLER_SECRET_MAX)
        return 0;
    uint64_t tag = tag_of(s->key, text, len);

    for (size_t slot = slot_of(tag); s->slot[slot] != 0; slot = slot_behind(slot)) {
        size_t i = s->slot[slot] - 1U;
        const struct place *p = &s->place[i];

        if (s->tag[i] == tag && (callers & (uint32_t)1 << p->caller) != 0 &&
            secret_bytes_equal(secret_text(s->text) + p->at, p->len, text, len))
            found |= (uint32_t)1 << p->caller;
    }
    return found;
}

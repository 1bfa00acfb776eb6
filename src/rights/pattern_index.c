/* Finds patterns by hash; see pattern_index.h. */
#include "rights/pattern_index.h"

#include <stdlib.h>
#include <string.h>

#define SLOTS_MIN 16
#define FACTOR 0x9e3779b1U

static uint32_t hash_begin(size_t form)
{
    return (uint32_t)(form + 1) * FACTOR;
}

static uint32_t hash_with(uint32_t hash, uint32_t literal)
{
    hash = (hash ^ literal) * FACTOR;
    return hash ^ hash >> 15;
}

/* Avoids the value 0, which means that a hash is not computed yet. */
static uint32_t hash_end(uint32_t hash)
{
    return hash | 1;
}

static struct pattern_form form_of(const struct pattern *p)
{
    struct pattern_form f = { .segments = p->count };

    for (size_t i = 0; i < p->count; i++) {
        unsigned bit = 1U << i;

        f.literals |= p->segment[i].kind == PATTERN_LITERAL ? bit : 0;
        f.uuids |= p->segment[i].kind == PATTERN_UUID ? bit : 0;
        f.numbers |= p->segment[i].kind == PATTERN_NUMBER ? bit : 0;
    }
    return f;
}

/* The number of a form; a new form is added. */
static size_t form_number(struct pattern_index *x, const struct pattern_form *f)
{
    size_t i = 0;

    while (i < x->form_count &&
           (x->form[i].segments != f->segments || x->form[i].literals != f->literals ||
            x->form[i].uuids != f->uuids || x->form[i].numbers != f->numbers))
        i++;
    if (i < x->form_count)
        return i;
    struct pattern_form *more = realloc(x->form, (x->form_count + 1) * sizeof *more);

    if (more == NULL)
        abort();
    x->form = more;
    x->form[x->form_count++] = *f;
    return i;
}

static void put(struct pattern_index *x, struct pattern_slot s)
{
    size_t at = s.hash >> x->shift;

    while (x->slot[at].number != 0)
        at = (at + 1) & (x->slot_count - 1);
    x->slot[at] = s;
}

static void grow(struct pattern_index *x)
{
    const struct pattern_index was = *x;

    x->slot_count = was.slot_count == 0 ? SLOTS_MIN : was.slot_count * 2;
    x->shift = 32U - (unsigned)__builtin_ctzl(x->slot_count);
    x->slot = base_alloc(x->slot_count * sizeof *x->slot);
    for (size_t i = 0; i < was.slot_count; i++)
        if (was.slot[i].number != 0)
            put(x, was.slot[i]);
    free(was.slot);
}

void pattern_index_add(struct pattern_index *x, const struct pattern *p, size_t number)
{
    const struct pattern_form form = form_of(p);
    uint32_t hash = hash_begin(form_number(x, &form));

    for (size_t i = 0; i < p->count; i++)
        if (p->segment[i].kind == PATTERN_LITERAL)
            hash = hash_with(hash, path_hash(p->segment[i].text, p->segment[i].len));
    if ((x->used + 1) * 2 > x->slot_count)
        grow(x);
    put(x, (struct pattern_slot){ .hash = hash_end(hash), .number = (uint32_t)(number + 1) });
    x->used++;
}

void pattern_index_done(struct pattern_index *x)
{
    free(x->form);
    free(x->slot);
    *x = (struct pattern_index){ 0 };
}

/* Whether the path has this form, and its hash in it. */
static bool has_form(const struct pattern_index *x, const struct path_shape *shape,
                     struct pattern_search *s)
{
    const struct pattern_form *f = &x->form[s->form];
    uint32_t hash = hash_begin(s->form);

    if (f->segments != shape->count || (f->uuids & ~shape->uuids) != 0 ||
        (f->numbers & ~shape->numbers) != 0)
        return false;
    for (unsigned left = f->literals; left != 0; left &= left - 1)
        hash = hash_with(hash, shape->segment[__builtin_ctz(left)].hash);
    s->hash = hash_end(hash);
    s->slot = s->hash >> x->shift;
    return true;
}

size_t pattern_index_next(const struct pattern_index *x, const struct path_shape *shape,
                          struct pattern_search *s)
{
    for (; s->form < x->form_count && shape->plain; s->form++, s->hash = 0) {
        if (s->hash == 0 && !has_form(x, shape, s))
            continue;
        while (x->slot[s->slot].number != 0) {
            const struct pattern_slot *at = &x->slot[s->slot];

            s->slot = (s->slot + 1) & (x->slot_count - 1);
            if (at->hash == s->hash)
                return at->number - 1;
        }
    }
    return PATTERN_INDEX_END;
}

/* Entries: the names of their states, their ids, and freeing what one holds. */
#include "ledger/entry.h"

#include <errno.h>
#include <sys/random.h>

#include "base/clock.h"

static const char *const state_names[LEDGER_STATES] = { "in_flight", "answered", "unknown",
                                                        "released" };

void ledger_entry_done(struct ledger_entry *e)
{
    free(e->scope);
    free(e->key);
    free(e->cause);
    free(e->method);
    free(e->path);
    free(e->request_id);
    free(e->request_body.data);
    free(e->instance);
    free(e->answer_head);
    free(e->answer_body.data);
    free(e->resolved_by);
    free(e->note);
    *e = (struct ledger_entry){ .key = NULL };
}

const char *ledger_state_name(enum ledger_state s)
{
    return state_names[s];
}

int ledger_state_find(const char *name)
{
    for (int i = 0; i < LEDGER_STATES; i++)
        if (strcmp(state_names[i], name) == 0)
            return i;
    return -1;
}

/* Aborts if there are no random bytes: without a unique id, one claim could be mistaken for
 * another. */
static void random_bytes(unsigned char *out, size_t n)
{
    for (size_t have = 0; have < n;) {
        ssize_t got = getrandom(out + have, n - have, 0);

        if (got < 0 && errno != EINTR)
            abort();
        have += got > 0 ? (size_t)got : 0;
    }
}

/* As text. printf takes some 7,000 instructions for it. */
static void write_id(const unsigned char b[16], char out[LEDGER_ID_BYTES])
{
    static const char hex[] = "0123456789abcdef";

    for (size_t i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *out++ = '-';
        *out++ = hex[b[i] >> 4];
        *out++ = hex[b[i] & 15];
    }
    *out = '\0';
}

void ledger_id_new(char out[LEDGER_ID_BYTES])
{
    unsigned char b[16];
    uint64_t ns = (uint64_t)clock_wall_ns(), ms = ns / 1000000;
    uint64_t part = (ns % 1000000) * 4096 / 1000000;

    random_bytes(b + 8, sizeof b - 8);
    for (size_t i = 0; i < 6; i++)
        b[i] = (unsigned char)(ms >> (8 * (5 - i)));
    b[6] = (unsigned char)(0x70 | part >> 8);
    b[7] = (unsigned char)part;
    b[8] = (unsigned char)(0x80 | (b[8] & 0x3f));
    write_id(b, out);
}

bool ledger_id_valid(const char *text)
{
    static const char form[] = "xxxxxxxx-xxxx-7xxx-xxxx-xxxxxxxxxxxx";

    for (size_t i = 0; i < sizeof form - 1; i++)
        if (form[i] == 'x' ? text[i] == '\0' || strchr("0123456789abcdef", text[i]) == NULL
                           : text[i] != form[i])
            return false;
    return text[sizeof form - 1] == '\0';
}

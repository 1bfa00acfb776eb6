#pragma once
/* Messages to grow mutations from, and the mutations: the same for the same seed. */
#include "bytes.h"

struct corpus {
    struct bytes *messages;
    size_t count;
};

/* Reads the cases of a file in the form that tests/hostile/requests.txt explains. Aborts when
 * it cannot. */
struct corpus corpus_read(const char *path);
void corpus_free(struct corpus *c);

/* Fills `out` with one of the messages, changed in one to six places. */
void mutate(const struct corpus *c, uint64_t seed, struct bytes *out);

/* Appends it as one line that can be read and pasted. */
void bytes_add_escaped(struct bytes *out, const char *data, size_t n);

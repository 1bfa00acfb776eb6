#pragma once
/* Reads messages and makes mutations of them; the same seed gives the same mutation. */
#include "bytes.h"

struct corpus {
    struct bytes *messages;
    size_t count;
};

/* Reads the cases in a file of the form described in tests/hostile/requests.txt. Aborts when
 * it cannot. */
struct corpus corpus_read(const char *path);
void corpus_free(struct corpus *c);

/* Writes one of the messages to `out`, changed in one to six places. */
void mutate(const struct corpus *c, uint64_t seed, struct bytes *out);

/* Appends it as one line that can be read and pasted. */
void bytes_add_escaped(struct bytes *out, const char *data, size_t n);

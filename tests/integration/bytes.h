#pragma once
/* What both ends of a test connection need: growing byte buffers, parsing of heads and
 * chunked bodies, deadlines. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

/* Always NUL-terminated once written to; the process aborts when there is no memory. */
struct bytes {
    char *data;
    size_t len, cap;
};

void bytes_add(struct bytes *b, const void *data, size_t n);
void bytes_add_str(struct bytes *b, const char *text);
void bytes_addf(struct bytes *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* n times the same byte. */
void bytes_fill(struct bytes *b, char byte, size_t n);
/* Removes n bytes from the front. */
void bytes_drop(struct bytes *b, size_t n);
void bytes_clear(struct bytes *b);
void bytes_free(struct bytes *b);
/* "" if nothing was written. */
const char *bytes_text(const struct bytes *b);
bool bytes_contain(const struct bytes *b, const char *needle);

/* Monotonic milliseconds. */
int64_t now_ms(void);
/* Milliseconds left until then, never negative, fit for poll. */
int left_ms(int64_t deadline_ms);
/* For a condition that nobody announces and that must be checked again and again: waits a
 * moment. False: the deadline has passed.
 *
 *     int64_t deadline_ms = now_ms() + SOON_MS;
 *     while (!it_is_so())
 *         assert_true(ask_again(deadline_ms)); */
bool ask_again(int64_t deadline_ms);
/* The same point in time for pthread_cond_clockwait. */
struct timespec deadline_spec(int64_t deadline_ms);

/* The length of a head with its empty line; 0: not complete yet. */
size_t head_length(const char *data, size_t len);
/* Copies the index-th value of a field in a head (any case); false: there is none. */
bool head_value(const char *head, const char *name, size_t index, char *out, size_t cap);
size_t head_count(const char *head, const char *name);
/* Content-Length of a head; -1: none. */
int64_t head_content_length(const char *head);
bool head_chunked(const char *head);

/* Parser of one chunked body. Zeroed: at its start. */
struct chunked {
    size_t left; /* of the current chunk, its CRLF included */
    bool in_trailer, done, broken;
};
/* Moves the payload that is complete from `in` to `out`; true: the body has ended. Bytes
 * after the body stay in `in`. */
bool chunked_take(struct chunked *c, struct bytes *in, struct bytes *out);

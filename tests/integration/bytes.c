/* Growing bytes, heads and chunked bodies taken apart, deadlines. */
#include "bytes.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define ASK_AGAIN_MS 5

static void reserve(struct bytes *b, size_t n)
{
    if (b->cap - b->len > n)
        return;
    size_t cap = b->cap ? b->cap : 256;
    while (cap - b->len <= n)
        cap *= 2;
    char *data = realloc(b->data, cap);
    if (data == NULL)
        abort();
    b->data = data;
    b->cap = cap;
}

void bytes_add(struct bytes *b, const void *data, size_t n)
{
    reserve(b, n);
    if (n > 0)
        memcpy(b->data + b->len, data, n);
    b->len += n;
    b->data[b->len] = '\0';
}

void bytes_add_str(struct bytes *b, const char *text)
{
    bytes_add(b, text, strlen(text));
}

void bytes_addf(struct bytes *b, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (n < 0)
        abort();
    reserve(b, (size_t)n);
    (void)vsnprintf(b->data + b->len, (size_t)n + 1, fmt, again);
    va_end(again);
    b->len += (size_t)n;
}

void bytes_fill(struct bytes *b, char byte, size_t n)
{
    reserve(b, n);
    memset(b->data + b->len, byte, n);
    b->len += n;
    b->data[b->len] = '\0';
}

void bytes_drop(struct bytes *b, size_t n)
{
    if (n > b->len)
        abort();
    if (n == 0)
        return;
    memmove(b->data, b->data + n, b->len - n);
    b->len -= n;
    b->data[b->len] = '\0';
}

void bytes_clear(struct bytes *b)
{
    b->len = 0;
    if (b->data != NULL)
        b->data[0] = '\0';
}

void bytes_free(struct bytes *b)
{
    free(b->data);
    *b = (struct bytes){ 0 };
}

const char *bytes_text(const struct bytes *b)
{
    return b->data ? b->data : "";
}

bool bytes_contain(const struct bytes *b, const char *needle)
{
    return b->len > 0 && memmem(b->data, b->len, needle, strlen(needle)) != NULL;
}

int64_t now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int left_ms(int64_t deadline_ms)
{
    int64_t left = deadline_ms - now_ms();
    return left < 0 ? 0 : left > 1000000 ? 1000000 : (int)left;
}

bool ask_again(int64_t deadline_ms)
{
    if (now_ms() >= deadline_ms)
        return false;
    (void)poll(NULL, 0, ASK_AGAIN_MS);
    return true;
}

struct timespec deadline_spec(int64_t deadline_ms)
{
    return (struct timespec){ .tv_sec = (time_t)(deadline_ms / 1000),
                              .tv_nsec = (long)(deadline_ms % 1000) * 1000000 };
}

size_t head_length(const char *data, size_t len)
{
    if (data == NULL)
        return 0;
    const char *end = memmem(data, len, "\r\n\r\n", 4);
    return end ? (size_t)(end - data) + 4 : 0;
}

bool head_value(const char *head, const char *name, size_t index, char *out, size_t cap)
{
    size_t name_len = strlen(name);
    const char *line = strstr(head, "\r\n");
    while (line != NULL && line[2] != '\0' && line[2] != '\r') {
        line += 2;
        const char *end = strstr(line, "\r\n");
        size_t len = end ? (size_t)(end - line) : strlen(line);
        if (len > name_len && line[name_len] == ':' && strncasecmp(line, name, name_len) == 0 &&
            index-- == 0) {
            const char *value = line + name_len + 1;
            size_t n = len - name_len - 1;
            while (n > 0 && (*value == ' ' || *value == '\t')) {
                value++;
                n--;
            }
            (void)snprintf(out, cap, "%.*s", (int)n, value);
            return true;
        }
        line = end;
    }
    return false;
}

size_t head_count(const char *head, const char *name)
{
    char value[16];
    size_t n = 0;
    while (head_value(head, name, n, value, sizeof value))
        n++;
    return n;
}

int64_t head_content_length(const char *head)
{
    char value[32];
    if (!head_value(head, "Content-Length", 0, value, sizeof value))
        return -1;
    return strtoll(value, NULL, 10);
}

bool head_chunked(const char *head)
{
    char value[64];
    return head_value(head, "Transfer-Encoding", 0, value, sizeof value) &&
           strcasecmp(value, "chunked") == 0;
}

/* One line of chunk framing off the front of `in`; false: not whole yet. */
static bool take_line(struct bytes *in, size_t at, char *line, size_t cap, size_t *next)
{
    if (at >= in->len)
        return false;
    const char *end = memmem(in->data + at, in->len - at, "\r\n", 2);
    if (end == NULL)
        return false;
    (void)snprintf(line, cap, "%.*s", (int)(end - (in->data + at)), in->data + at);
    *next = (size_t)(end - in->data) + 2;
    return true;
}

bool chunked_take(struct chunked *c, struct bytes *in, struct bytes *out)
{
    size_t at = 0;
    while (!c->done && !c->broken) {
        if (c->left > 0) {
            size_t have = in->len - at;
            if (have == 0)
                break;
            size_t n = have < c->left ? have : c->left;
            /* the last two bytes of `left` are the CRLF behind the data */
            size_t payload = c->left > 2 ? c->left - 2 : 0;
            bytes_add(out, in->data + at, n < payload ? n : payload);
            c->left -= n;
            at += n;
            continue;
        }
        char line[256];
        size_t next;
        if (!take_line(in, at, line, sizeof line, &next))
            break;
        at = next;
        if (c->in_trailer) {
            c->done = line[0] == '\0';
            continue;
        }
        char *end;
        unsigned long size = strtoul(line, &end, 16);
        if (end == line)
            c->broken = true;
        else if (size == 0)
            c->in_trailer = true;
        else
            c->left = size + 2;
    }
    bytes_drop(in, at);
    return c->done;
}

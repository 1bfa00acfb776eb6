/* The log of the program under test: waits for lines, and reads fields in them. */
#include <stdio.h>
#include <string.h>

#include "proxy_inside.h"

/* Where the value of `key` begins in a logfmt line; NULL: it is not there. */
static const char *find_field(const char *line, size_t len, const char *key, size_t key_len)
{
    bool quoted = false, at_start = true;
    for (size_t i = 0; i < len; i++) {
        if (at_start && !quoted && len - i > key_len && line[i + key_len] == '=' &&
            memcmp(line + i, key, key_len) == 0)
            return line + i + key_len + 1;
        if (quoted && line[i] == '\\')
            i++;
        else if (line[i] == '"')
            quoted = !quoted;
        at_start = line[i] == ' ';
    }
    return NULL;
}

static size_t value_length(const char *value, const char *end)
{
    const char *at = value;
    if (at < end && *at == '"') {
        for (at++; at < end && *at != '"'; at++)
            at += *at == '\\';
        return (size_t)((at < end ? at + 1 : end) - value);
    }
    while (at < end && *at != ' ')
        at++;
    return (size_t)(at - value);
}

static bool line_matches(const char *line, size_t len, const char *pattern)
{
    for (const char *at = pattern; *at != '\0';) {
        size_t pair = strcspn(at, " ");
        size_t key_len = strcspn(at, "=");
        const char *wanted = at + key_len + 1;
        size_t wanted_len = pair - key_len - 1;
        const char *value = find_field(line, len, at, key_len);
        if (value == NULL || value_length(value, line + len) != wanted_len ||
            memcmp(value, wanted, wanted_len) != 0)
            return false;
        at += pair;
        at += *at == ' ';
    }
    return true;
}

/* Call it with the lock: the index-th complete line that matches, NULL: none; *count: how
 * many match. */
static const char *find_line(const struct proxy *p, const char *pattern, size_t index,
                             size_t *len, size_t *count)
{
    const char *found = NULL;
    *count = 0;
    const char *line = bytes_text(&p->log);
    const char *end;
    while ((end = strchr(line, '\n')) != NULL) {
        if (line_matches(line, (size_t)(end - line), pattern) && (*count)++ == index) {
            found = line;
            *len = (size_t)(end - line);
        }
        line = end + 1;
    }
    return found;
}

size_t proxy_log_count(struct proxy *p, const char *pattern)
{
    size_t len, count;
    proxy_lock_log(p);
    (void)find_line(p, pattern, SIZE_MAX, &len, &count);
    (void)pthread_mutex_unlock(&p->lock);
    return count;
}

/* Call it with the lock: how many complete lines from *from on match; moves *from after
 * them. */
static size_t count_from(const struct proxy *p, const char *pattern, size_t *from)
{
    size_t count = 0;
    const char *end;
    for (const char *line = bytes_text(&p->log) + *from; (end = strchr(line, '\n')) != NULL;
         line = end + 1) {
        count += line_matches(line, (size_t)(end - line), pattern);
        *from += (size_t)(end + 1 - line);
    }
    return count;
}

bool proxy_log_wait(struct proxy *p, const char *pattern, size_t n, int ms)
{
    struct timespec until = deadline_spec(now_ms() + ms);
    size_t from = 0, count = 0;
    proxy_lock_log(p);
    for (;;) {
        bool ended = p->log_ended;
        count += count_from(p, pattern, &from);
        if (count >= n || ended ||
            pthread_cond_clockwait(&p->changed, &p->lock, CLOCK_MONOTONIC, &until) != 0)
            break;
    }
    (void)pthread_mutex_unlock(&p->lock);
    return count >= n;
}

bool proxy_log_field(struct proxy *p, const char *pattern, size_t index, const char *key,
                     char *out, size_t cap)
{
    size_t len, count;
    proxy_lock_log(p);
    const char *line = find_line(p, pattern, index, &len, &count);
    const char *value = line ? find_field(line, len, key, strlen(key)) : NULL;
    if (value != NULL) {
        size_t n = value_length(value, line + len);
        if (n >= 2 && *value == '"') {
            value++;
            n -= 2;
        }
        (void)snprintf(out, cap, "%.*s", (int)n, value);
    }
    (void)pthread_mutex_unlock(&p->lock);
    return value != NULL;
}

bool proxy_log_contains(struct proxy *p, const char *needle)
{
    proxy_lock_log(p);
    bool answer = bytes_contain(&p->log, needle);
    (void)pthread_mutex_unlock(&p->lock);
    return answer;
}

struct bytes proxy_log_copy(struct proxy *p)
{
    struct bytes copy = { 0 };
    proxy_lock_log(p);
    bytes_add(&copy, bytes_text(&p->log), p->log.len);
    (void)pthread_mutex_unlock(&p->lock);
    return copy;
}

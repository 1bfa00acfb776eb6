#pragma once
/* What the tests of the configuration share: loading a text, a file or an environment, and
 * checking the result. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "config/config.h"
#include "config/docs.h"
#include "config/files.h"
#include "config/ini.h"
#include "config/value.h"
#include "unit.h"

#define CREDENTIALS "[token]\nclient_id = id\nclient_secret = s3cret\n"

/* The result of loading; the texts are for searching with strstr. */
struct result {
    struct config *config; /* NULL: refused */
    struct config_report report;
    struct buf errors, warnings; /* the messages of the report, a line each */
};

static inline struct result result_new(void)
{
    struct result r = { .config = NULL };

    config_report_init(&r.report);
    buf_init(&r.errors, 1 << 20);
    buf_init(&r.warnings, 1 << 20);
    return r;
}

static inline void result_free(struct result *r)
{
    config_unref(r->config);
    config_report_done(&r->report);
    buf_done(&r->errors);
    buf_done(&r->warnings);
}

static inline void result_note(void *arg, bool is_error, const char *line)
{
    struct result *r = arg;

    assert_int_equal(buf_addf(is_error ? &r->errors : &r->warnings, "%s\n", line), 0);
}

/* Sorts the messages into the two texts. */
static inline struct result result_of(struct result r)
{
    config_report_each(&r.report, result_note, &r);
    return r;
}

#define auto_result __attribute__((cleanup(result_free)))

static inline struct result load_bytes(const char *text, size_t len)
{
    struct result r = result_new();

    r.config = config_load_text("t.ini", text, len, &r.report);
    return result_of(r);
}

static inline struct result load(const char *text)
{
    return load_bytes(text, strlen(text));
}

/* "[section]\nkey = value\n", with credentials. */
static inline struct result load_one(const char *section, const char *key, const char *value)
{
    char text[20000];

    if (strcmp(section, "token") == 0)
        (void)snprintf(text, sizeof text, CREDENTIALS "%s = %s\n", key, value);
    else
        (void)snprintf(text, sizeof text, CREDENTIALS "[%s]\n%s = %s\n", section, key, value);
    return load(text);
}

static inline struct result load_file(const char *path)
{
    struct result r = result_new();

    r.config = config_load(path, NULL, &r.report);
    return result_of(r);
}

/* Entries "NAME=value", ended by NULL. They are copied, because taking them overwrites them. */
static inline struct result load_env(const char *path, const char *const *entries)
{
    struct result r = result_new();
    char *environment[64] = { NULL }, *kept[64] = { NULL };

    for (size_t i = 0; entries[i] != NULL; i++) {
        kept[i] = environment[i] = strdup(entries[i]);
        assert_non_null(kept[i]);
    }
    struct config_env *env = config_env_take(environment);
    r.config = config_load(path, env, &r.report);
    r = result_of(r);
    config_env_free(env);
    for (size_t i = 0; kept[i] != NULL; i++)
        free(kept[i]);
    return r;
}

#define assert_says(buf, part)                                           \
    do {                                                                 \
        if (strstr(buf_text(&(buf)), (part)) == NULL)                    \
            fail_msg("\"%s\" is not in:\n%s", (part), buf_text(&(buf))); \
    } while (0)

#define assert_loads(result)                                      \
    do {                                                          \
        if ((result).config == NULL)                              \
            fail_msg("refused:\n%s", buf_text(&(result).errors)); \
        assert_int_equal(buf_unread(&(result).errors), 0);        \
    } while (0)

#define assert_refuses(result, part)        \
    do {                                    \
        assert_null((result).config);       \
        assert_says((result).errors, part); \
    } while (0)

static inline size_t count_lines(struct buf *b)
{
    size_t n = 0;

    for (const char *p = buf_text(b); *p != '\0'; p++)
        n += *p == '\n';
    return n;
}

/* A directory that is removed with everything that was written into it. */
struct scratch {
    char dir[64];
    char paths[8][96];
    size_t count;
};

static inline struct scratch scratch_new(void)
{
    struct scratch s = { .dir = "/tmp/config-test-XXXXXX" };

    assert_non_null(mkdtemp(s.dir));
    return s;
}

static inline const char *scratch_write(struct scratch *s, const char *bytes, size_t len,
                                        mode_t mode)
{
    char *path = s->paths[s->count];

    assert_true(s->count < ARRAY_LEN(s->paths));
    /* Not straight into *s: gcc then fears that the directory's name is overwritten. */
    char made[sizeof s->paths[0]];
    (void)snprintf(made, sizeof made, "%s/%zu", s->dir, s->count);
    memcpy(path, made, sizeof made);
    s->count++;

    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, len), len);
    assert_int_equal(fchmod(fd, mode), 0);
    assert_int_equal(close(fd), 0);
    return path;
}

static inline void scratch_free(struct scratch *s)
{
    for (size_t i = 0; i < s->count; i++)
        (void)unlink(s->paths[i]);
    (void)rmdir(s->dir);
}

#define auto_scratch __attribute__((cleanup(scratch_free)))

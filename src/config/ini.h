#pragma once
/* Where values come from, file and environment, and saying what is wrong with them. For the
 * config_*.c files only. */
#include "config/schema.h"

/* Where the value of a key was given. */
struct config_source {
    int line;             /* 0: not in the file */
    const char *variable; /* NULL: not in the environment, which wins */
    bool wrong;           /* an error was reported; more checks of it say nothing new */
};

/* One load under way. */
struct config_load {
    struct config *config;
    const char *file; /* NULL: environment only */
    struct buf *errors, *warnings;
    size_t error_count;
    bool unread; /* the file could not be read: what is missing may stand there */
    const struct config
        *keep; /* whose values of the keys that need a restart are taken; NULL */
    struct config_source source[CONFIG_KEYS_MAX]; /* as config_keys */
};

/* "FILE:LINE: section.key: ..." or "VARIABLE: section.key: ...", a line of its own. */
void config_fail(struct config_load *load, const struct config_key *key, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
void config_warn(struct config_load *load, const struct config_key *key, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
/* "FILE:LINE: ..."; line 0: the file as a whole. */
void config_fail_line(struct config_load *load, int line, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
/* "VARIABLE: ..." */
void config_fail_variable(struct config_load *load, const char *variable, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

struct config_source *config_source(struct config_load *load, const struct config_key *key);

/* Whether the key stands in the file or the environment; whether no error was found in it. */
bool config_given(struct config_load *load, const struct config_key *key);
bool config_sound(struct config_load *load, const struct config_key *key);

/* Takes the values of the file's text into the load's config, which holds the defaults. */
void config_file_parse(struct config_load *load, const char *text, size_t len);

/* Reads the load's file and parses it. */
void config_file_read(struct config_load *load);

/* Takes the variables; after the file, since they win. */
void config_env_apply(struct config_load *load, const struct config_env *env);

/* As config_load, of text in memory and without environment; `name` stands for the file. */
struct config *config_load_text(const char *name, const char *text, size_t len,
                                struct buf *errors, struct buf *warnings) MUST_CHECK;

#define CONFIG_FILE_MAX (1 << 20)

/* A regular file of at most `most` bytes, with a NUL behind. Returns NULL with the reason in
 * `why`. Owns: the caller frees with config_slurp_free, which wipes. */
char *config_slurp(const char *path, size_t most, size_t *len, char *why,
                   size_t why_size) MUST_CHECK;
void config_slurp_free(char *text, size_t len);

/* Whether path is a regular file that can be read: 0 and its mode, or -errno. */
int config_file_mode(const char *path, unsigned *mode) MUST_CHECK;

/* Why, in words, of such an error number (positive). */
const char *config_file_reason(int error);

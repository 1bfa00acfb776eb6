#pragma once
/* Every setting, one line each: what the file, the environment, --print-config, the reference
 * file and the documents are made from. */
#include "config/settings.h"

enum config_type {
    TYPE_STRING,   /* char *; min and max are lengths: min 0 may be empty, which is "none" */
    TYPE_SECRET,   /* struct secret *; never printed */
    TYPE_PATH,     /* char *, of a file that must be readable */
    TYPE_KEY_FILE, /* likewise; a warning when everyone may read it */
    TYPE_PROXY,    /* char *, "env", "none" or a URL; its credentials are never printed */
    TYPE_URL,      /* char *; checked in config_check */
    TYPE_FORM,     /* char *, form-encoded fields; their values are never printed */
    TYPE_LIST,     /* struct config_list */
    TYPE_HEADER,   /* listen.require_header_*; its value is never printed */
    TYPE_COUNT,    /* int64_t; `words` names what 0 is called */
    TYPE_DURATION, /* int64_t ms */
    TYPE_SIZE,     /* int64_t bytes */
    TYPE_BOOL,     /* bool */
    TYPE_WORD,     /* int64_t, the index in `words` */
    TYPE_SHARE,    /* struct config_share */
    TYPE_MODE,     /* int64_t, octal */
    TYPE_STATUSES, /* upstream.token_refused_* */
};

struct config_key {
    const char *section, *name;
    size_t offset;
    enum config_type type;
    const char *fallback; /* the default; NULL: none */
    int64_t min, max;
    enum config_applies { RELOAD, RESTART } applies;
    const char *words; /* separated by blanks */
    const char *help;
};

#define CONFIG_KEYS_MAX 64

extern const struct config_key config_keys[];
extern const size_t config_key_count;

/* NULL when there is none. */
const struct config_key *config_find(const char *section, const char *name);
bool config_section_known(const char *section);

/* "[listen], [upstream], ..." or the keys of one section. */
void config_names(const char *section, char *out, size_t size);

/* "did you mean ...?", or what there is to choose from. */
void config_suggest_section(const char *section, char *out, size_t size);
void config_suggest_key(const char *section, const char *name, char *out, size_t size);
void config_suggest_variable(const char *variable, char *out, size_t size);

#define CONFIG_ENV_PREFIX "ONESHOT_PROXY_"
#define CONFIG_ENV_NAME_MAX 96

/* ONESHOT_PROXY_<SECTION>_<KEY> */
void config_variable(const struct config_key *key, char out[CONFIG_ENV_NAME_MAX]);
const struct config_key *config_find_variable(const char *variable);

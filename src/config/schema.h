#pragma once
/* Every setting, one line each. The parser of file and environment, --print-config, the
 * reference file and the documentation are all made from this table. */
#include "config/settings.h"

enum config_type {
    TYPE_STRING,   /* char *; min and max are lengths: min 0 allows empty, which is "none" */
    TYPE_SECRET,   /* struct secret *; never printed */
    TYPE_PATH,     /* char *, a file that must be readable */
    TYPE_KEY_FILE, /* the same; a warning when everyone may read it */
    TYPE_PROXY,    /* char *, "env", "none" or a URL; its credentials are never printed */
    TYPE_URL,      /* char *; checked in config_check */
    TYPE_FORM,     /* char *, form-encoded fields; their values are never printed */
    TYPE_LIST,     /* struct config_list */
    TYPE_HEADER,   /* listen.require_header_*; its value is never printed */
    TYPE_COUNT,    /* int64_t; `words` names the value 0 */
    TYPE_DURATION, /* int64_t ms */
    TYPE_SIZE,     /* int64_t bytes */
    TYPE_BOOL,     /* bool */
    TYPE_WORD,     /* int64_t, the index in `words` */
    TYPE_SHARE,    /* struct config_share */
    TYPE_MODE,     /* int64_t, octal */
    TYPE_STATUSES, /* struct config_statuses */
};

/* A section of the file: [name]; or, a named one, [name NAME], up to CONFIG_NAMED_MAX of
 * them. */
struct config_section {
    const char *name;
    bool named;
};

#define CONFIG_TITLE_MAX 64

extern const struct config_section config_sections[];
extern const size_t config_section_count;

/* Finds the section for a header (the text between [ and ]), or for a key; *name is what
 * follows the section's own name ("": nothing). NULL: there is no such section. */
const struct config_section *config_section_find(const char *header, const char **name);
/* How the section is written: "[listen]", "[name NAME]". */
const char *config_section_title(const char *section, char out[CONFIG_TITLE_MAX]);

struct config_key {
    size_t instance; /* of a named section, from 1; 0: the table's entry */
    const char *section, *name;
    size_t offset;
    enum config_type type;
    const char *fallback; /* the default; NULL: none */
    int64_t min, max;
    enum config_applies { RELOAD, RESTART } applies;
    const char *words; /* separated by spaces */
    const char *help;
};

#define CONFIG_KEYS_MAX 128

extern const struct config_key config_keys[];
extern const size_t config_key_count;

/* The number of keys in these settings: those of the table except for named sections, and
 * the latter once for each section that exists. The section of such a key is "caller
 * payroll". */
size_t config_keys_of(const struct config *c);
const struct config_key *config_key_at(const struct config *c, size_t i);
const struct config_key *config_find_named(const struct config *c, const char *section,
                                           const char *name);
/* Adds a section [caller NAME], unless it exists. False: there are too many. */
bool config_add_named(struct config *c, const char *name) MUST_CHECK;
void config_free_named(struct config *c);
/* [a-z][a-z0-9-]{0,30} */
bool config_name_is_good(const char *name);
/* A number for each key, below CONFIG_PLACES_MAX. */
size_t config_key_place(const struct config_key *key);
size_t config_single_count(void);
#define CONFIG_PLACES_MAX (CONFIG_KEYS_MAX + CONFIG_NAMED_MAX * 16)

/* NULL when there is none. */
const struct config_key *config_find(const char *section, const char *name);

/* Writes "did you mean ...?", or the possible names. */
void config_suggest_section(const char *section, char *out, size_t size);
void config_suggest_key(const char *section, const char *name, char *out, size_t size);
void config_suggest_variable(const char *variable, char *out, size_t size);

#define CONFIG_ENV_PREFIX "ONESHOT_PROXY_"
#define CONFIG_ENV_NAME_MAX 96

/* ONESHOT_PROXY_<SECTION>_<KEY> */
void config_variable(const struct config_key *key, char out[CONFIG_ENV_NAME_MAX]);
const struct config_key *config_find_variable(const char *variable);

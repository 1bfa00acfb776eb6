/* Makes the rules of the settings, and says what in them is wrong or doubtful. */
#include "config/check_rights.h"

#include <string.h>

#include "config/value.h"

struct check {
    struct config *config;
    struct config_report *report;
};

/* A pattern with the base path in front would match nothing: the API path has none. */
static bool has_base_path(const struct config *c, const char *text)
{
    const char *base = c->upstream.base_path, *path = strchr(text, '/');
    size_t len = base == NULL ? 0 : strlen(base);

    return len > 0 && path != NULL && strncmp(path, base, len) == 0 &&
           (path[len] == '/' || path[len] == '\0');
}

/* --- classes ------------------------------------------------------------------------------ */

static const struct config_key *class_key(enum request_class class)
{
    return config_find("classes", class_name(class));
}

/* One item of classes.read to classes.money. */
static void add_class_pattern(struct check *k, struct rules *p, enum request_class class,
                              const char *text)
{
    const struct config_key *key = class_key(class);
    struct class_pattern *added = &p->classes.added[p->classes.added_count];
    const char *wrong = pattern_parse(&added->pattern, text, strlen(text));
    char quoted[64];

    if (wrong != NULL) {
        config_fail(k->report, key, "%s %s; allowed: METHOD /path, such as POST /things/{uuid}",
                    config_quote(text, quoted), wrong);
        return;
    }
    if (has_base_path(k->config, text)) {
        config_fail(k->report, key, "%s can match nothing: leave out %s",
                    config_quote(text, quoted), k->config->upstream.base_path);
        return;
    }
    added->class = class;
    const char *stricter = classes_laxer_than(&p->classes, added);

    if (stricter != NULL) {
        config_fail(k->report, key,
                    "%s would make %s laxer; an operation of the table may be made stricter "
                    "only",
                    config_quote(text, quoted), stricter);
        return;
    }
    p->classes.added_count++;
}

static void add_class_patterns(struct check *k, struct rules *p)
{
    const struct config *c = k->config;
    size_t most = 0;

    for (enum request_class class = CLASS_READ; class < CLASS_UNKNOWN; class ++)
        most += c->classes.added[class].count;
    if (most > 0)
        p->classes.added = base_alloc(most * sizeof *p->classes.added);
    for (enum request_class class = CLASS_READ; class < CLASS_UNKNOWN; class ++)
        for (size_t i = 0; i < c->classes.added[class].count; i++)
            add_class_pattern(k, p, class, c->classes.added[class].item[i]);
}

/* What needs a table without which it would be without effect. */
static void check_table_needed(struct check *k)
{
    const struct config *c = k->config;

    for (enum request_class class = CLASS_READ; class < CLASS_UNKNOWN; class ++)
        if (c->classes.added[class].count > 0)
            config_fail(k->report, class_key(class),
                        "needs classes.table; allowed: 1shot or methods");
    if (c->freeze.file != NULL)
        config_fail(k->report, config_find("freeze", "file"),
                    "needs classes.table, which says what a request can do; allowed: 1shot or "
                    "methods");
    if (c->classes.repeat_simulate)
        config_fail(k->report, config_find("classes", "repeat_simulate"),
                    "needs classes.table; allowed: 1shot");
}

/* --- freeze ------------------------------------------------------------------------------- */

static void check_freeze(struct check *k, struct rules *rules)
{
    const struct config *c = k->config;
    const struct config_key *key = config_find("freeze", "classes");
    unsigned classes = 0;
    char quoted[64];

    for (size_t i = 0; i < c->freeze.classes.count; i++) {
        const char *name = c->freeze.classes.item[i];
        enum request_class class = class_of_name(name, strlen(name));

        if (class >= CLASS_UNKNOWN)
            config_fail(
                k->report, key,
                "%s is not a class that can be frozen; allowed: read, simulate, create, "
                "change, sign, money",
                config_quote(name, quoted));
        else
            classes |= 1U << class;
    }
    if (config_sound(k->report, key) && (classes & 1U << CLASS_MONEY) == 0)
        config_fail(k->report, key, "lacks money; a freeze that lets payments through is none");
    if (c->freeze.file != NULL)
        rules->frozen_classes = classes | 1U << CLASS_UNKNOWN;
}

void config_check_rights(struct config *c, struct config_report *report)
{
    struct check k = { .config = c, .report = report };

    if (c->classes.table == CLASS_TABLE_OFF) {
        check_table_needed(&k);
        return;
    }
    struct rules *p = base_alloc(sizeof *p);

    c->rules = p;
    classes_init(&p->classes, (enum class_table)c->classes.table);
    p->repeat_simulate = c->classes.repeat_simulate;
    add_class_patterns(&k, p);
    check_freeze(&k, p);
}

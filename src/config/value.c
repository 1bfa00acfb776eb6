/* Values: what the text of each type means, and how it is written. */
#include "config/value.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "config/url.h"

/* The digits at the start of text; NULL when there are none or too many, else what follows. */
static const char *read_digits(const char *text, int64_t *value)
{
    const char *p = text;

    *value = 0;
    for (; isdigit((unsigned char)*p); p++) {
        if (__builtin_mul_overflow(*value, 10, value) ||
            __builtin_add_overflow(*value, *p - '0', value))
            return NULL;
    }
    return p == text ? NULL : p;
}

static int read_units(const char *text, const struct config_unit units[CONFIG_UNITS],
                      int64_t *value)
{
    const char *rest = read_digits(text, value);

    if (rest == NULL)
        return -EINVAL;
    for (size_t i = 0; i < CONFIG_UNITS; i++) {
        if (strcmp(rest, units[i].name) == 0)
            return __builtin_mul_overflow(*value, units[i].factor, value) ? -EINVAL : 0;
    }
    return -EINVAL;
}

const char *config_word(const char *words, int64_t index, size_t *len)
{
    const char *p = words;

    for (int64_t i = 0; i < index && *p != '\0'; i++) {
        p += strcspn(p, " ");
        p += *p == ' ';
    }
    *len = strcspn(p, " ");
    return p;
}

static bool read_word(const char *words, const char *text, int64_t *value)
{
    size_t len;

    for (int64_t i = 0;; i++) {
        const char *word = config_word(words, i, &len);
        if (len == 0)
            return false;
        if (strlen(text) == len && memcmp(word, text, len) == 0) {
            *value = i;
            return true;
        }
    }
}

static bool in_range(const struct config_key *key, int64_t value)
{
    return value >= key->min && value <= key->max;
}

static const char *set_number(const struct config_key *key, const char *text, int64_t *field)
{
    int64_t value = 0;
    const char *rest = NULL;

    switch (key->type) {
    case TYPE_WORD:
        if (!read_word(key->words, text, &value))
            return "is not one of these words";
        break;
    case TYPE_COUNT:
        if (key->words != NULL && read_word(key->words, text, &value))
            break;
        rest = read_digits(text, &value);
        if (rest == NULL || *rest != '\0')
            return "is not a whole number, or too large";
        if (!in_range(key, value))
            return "is out of range";
        break;
    case TYPE_MODE:
        for (rest = text; *rest >= '0' && *rest <= '7' && rest - text < 4; rest++)
            value = value * 8 + (*rest - '0');
        if (*rest != '\0' || rest - text < 3 || !in_range(key, value))
            return "is not a file mode";
        break;
    case TYPE_DURATION:
        if (read_units(text, config_durations, &value) != 0) {
            rest = read_digits(text, &value);
            return rest != NULL && *rest == '\0' ? "has no unit" : "is not a duration";
        }
        if (!in_range(key, value))
            return "is out of range";
        break;
    default:
        if (read_units(text, config_sizes, &value) != 0)
            return "is not a size";
        if (!in_range(key, value))
            return "is out of range";
        break;
    }
    *field = value;
    return NULL;
}

static const char *set_bool(const char *text, bool *field)
{
    if (strcmp(text, "yes") != 0 && strcmp(text, "no") != 0)
        return "is neither yes nor no";
    *field = text[0] == 'y';
    return NULL;
}

static const char *set_share(const struct config_key *key, const char *text,
                             struct config_share *field)
{
    int64_t value;
    const char *rest = read_digits(text, &value);

    if (rest != NULL && strcmp(rest, "%") == 0) {
        if (!in_range(key, value))
            return "is out of range";
        *field = (struct config_share){ .percent = value };
        return NULL;
    }
    if (read_units(text, config_durations, &value) != 0)
        return "is neither a share nor a duration";
    if (value < 1 || value > 24 * config_durations[0].factor)
        return "is out of range";
    *field = (struct config_share){ .ms = value };
    return NULL;
}

void config_list_add(struct config_list *list, const char *text, size_t len)
{
    char **item = realloc(list->item, (list->count + 1) * sizeof *item);
    char *copy = strndup(text, len);

    if (item == NULL || copy == NULL)
        abort();
    item[list->count++] = copy;
    list->item = item;
}

static void clear_list(struct config_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->item[i]);
    free(list->item);
    *list = (struct config_list){ .count = 0 };
}

/* The items between commas, blanks around them trimmed. */
static const char *split_list(const char *text, int64_t most, struct config_list *list)
{
    for (const char *p = text;;) {
        size_t len = strcspn(p, ",");
        const char *start = p, *end = p + len;

        while (start < end && isspace((unsigned char)*start))
            start++;
        while (end > start && isspace((unsigned char)end[-1]))
            end--;
        if (start == end)
            return "has an empty item";
        if (list->count == (size_t)most)
            return "has too many items";
        config_list_add(list, start, (size_t)(end - start));
        if (p[len] == '\0')
            return NULL;
        p += len + 1;
    }
}

static const char *set_list(const struct config_key *key, const char *text,
                            struct config_list *field)
{
    struct config_list list = { .count = 0 };
    const char *wrong = split_list(text, key->max, &list);

    if (wrong != NULL) {
        clear_list(&list);
        return wrong;
    }
    clear_list(field);
    *field = list;
    return NULL;
}

static const char *read_statuses(const struct config_key *key, const struct config_list *list,
                                 struct config *c)
{
    int64_t status[ARRAY_LEN(c->upstream.token_refused_statuses)];

    for (size_t i = 0; i < list->count; i++) {
        const char *rest = read_digits(list->item[i], &status[i]);

        if (rest == NULL || *rest != '\0')
            return "is not a list of statuses";
        if (!in_range(key, status[i]) || status[i] == 407)
            return "has a status that is not allowed";
        for (size_t j = 0; j < i; j++) {
            if (status[j] == status[i])
                return "has a status twice";
        }
    }
    memcpy(c->upstream.token_refused_statuses, status, list->count * sizeof status[0]);
    c->upstream.token_refused_count = list->count;
    return NULL;
}

static const char *set_statuses(const struct config_key *key, const char *text,
                                struct config *c)
{
    struct config_list list = { .count = 0 };
    const char *wrong = split_list(text, ARRAY_LEN(c->upstream.token_refused_statuses), &list);

    if (wrong == NULL)
        wrong = read_statuses(key, &list, c);
    clear_list(&list);
    return wrong;
}

static const char *set_header(const char *text, struct config *c)
{
    size_t name = strcspn(text, ":");
    const char *value = text + name;

    value += *value == ':';
    value += strspn(value, " \t");
    if (text[name] != ':' || !config_is_token(text, name))
        return "has no header name before a colon";
    if (*value == '\0')
        return "has no value after the colon";

    size_t len = strlen(value);
    while (value[len - 1] == ' ' || value[len - 1] == '\t')
        len--;
    config_string_set(&c->listen.require_header_name, "%.*s", (int)name, text);
    config_string_set(&c->listen.require_header_value, "%.*s", (int)len, value);
    return NULL;
}

static void *field_of(struct config *c, const struct config_key *key)
{
    return (char *)c + key->offset;
}

static void wipe_string(char **field)
{
    if (*field != NULL)
        secret_wipe(*field, strlen(*field));
    free(*field);
    *field = NULL;
}

void config_string_set(char **field, const char *fmt, ...)
{
    va_list args;
    char *text = NULL;

    va_start(args, fmt);
    int n = vasprintf(&text, fmt, args);
    va_end(args);
    if (n < 0)
        abort();
    wipe_string(field);
    *field = text;
}

static const char *set_string(const struct config_key *key, const char *text, char **field)
{
    if (strlen(text) > (size_t)key->max)
        return "is too long";
    config_string_set(field, "%s", text);
    return NULL;
}

static const char *set_secret(const struct config_key *key, const char *text,
                              struct secret **field)
{
    size_t len = strlen(text);
    struct secret *s = len > (size_t)key->max ? NULL : secret_new(text, len);

    if (s == NULL)
        return "is too long";
    secret_free(*field);
    *field = s;
    return NULL;
}

static const char *set(struct config *c, const struct config_key *key, const char *text)
{
    void *field = field_of(c, key);

    switch (key->type) {
    case TYPE_COUNT:
    case TYPE_DURATION:
    case TYPE_SIZE:
    case TYPE_WORD:
    case TYPE_MODE:
        return set_number(key, text, field);
    case TYPE_BOOL:
        return set_bool(text, field);
    case TYPE_SHARE:
        return set_share(key, text, field);
    case TYPE_STATUSES:
        return set_statuses(key, text, c);
    case TYPE_LIST:
        return set_list(key, text, field);
    case TYPE_HEADER:
        return set_header(text, c);
    case TYPE_SECRET:
        return set_secret(key, text, field);
    case TYPE_STRING:
    case TYPE_PATH:
    case TYPE_KEY_FILE:
    case TYPE_PROXY:
    case TYPE_URL:
        return set_string(key, text, field);
    }
    return NULL;
}

static bool has_control(const char *text)
{
    for (const char *p = text; *p != '\0'; p++) {
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return true;
    }
    return false;
}

int config_value_set(struct config *c, const struct config_key *key, const char *text,
                     char why[CONFIG_WHY_MAX])
{
    const char *wrong = NULL;
    bool hidden = key->type == TYPE_SECRET || key->type == TYPE_HEADER ||
                  key->type == TYPE_PROXY || key->type == TYPE_URL;

    if (*text == '\0' && key->fallback == NULL && key->min == 0) {
        config_value_clear(c, key);
        return 0;
    }
    if (*text == '\0')
        wrong = "is empty";
    else if (key->type != TYPE_SECRET && has_control(text))
        wrong = "has a control character";
    else
        wrong = set(c, key, text);
    if (wrong == NULL)
        return 0;

    char allowed[256], quoted[64];
    config_allowed(key, allowed, sizeof allowed);
    (void)snprintf(why, CONFIG_WHY_MAX, "%s%s%s; allowed: %s",
                   hidden || *text == '\0' ? "" : config_quote(text, quoted),
                   hidden || *text == '\0' ? "" : " ", wrong, allowed);
    return -EINVAL;
}

void config_value_clear(struct config *c, const struct config_key *key)
{
    void *field = field_of(c, key);

    switch (key->type) {
    case TYPE_SECRET:
        secret_free(*(struct secret **)field);
        *(struct secret **)field = NULL;
        break;
    case TYPE_LIST:
        clear_list(field);
        break;
    case TYPE_HEADER:
        wipe_string(&c->listen.require_header_name);
        wipe_string(&c->listen.require_header_value);
        break;
    case TYPE_STRING:
    case TYPE_PATH:
    case TYPE_KEY_FILE:
    case TYPE_PROXY:
    case TYPE_URL:
        wipe_string(field);
        break;
    default: /* numbers hold nothing */
        break;
    }
}

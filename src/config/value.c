/* Values: how the text of each type is read and written, and what an error message says is
 * allowed. */
#include "config/value.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/ascii.h"
#include "config/url.h"

#define HOUR_MS 3600000
#define DAY_MS (24 * (int64_t)HOUR_MS)

struct unit {
    const char *name; /* NULL ends the table */
    int64_t factor;
};

/* Largest first. `zero` is the unit for 0: print 0s and 0 rather than 0d and 0g. */
static const struct units {
    struct unit unit[6];
    size_t zero;
} durations = { { { "d", DAY_MS },
                  { "h", HOUR_MS },
                  { "m", 60000 },
                  { "s", 1000 },
                  { "ms", 1 },
                  { NULL, 0 } },
                3 },
  sizes = { { { "g", 1 << 30 }, { "m", 1 << 20 }, { "k", 1 << 10 }, { "", 1 }, { NULL, 0 } },
            3 };

/* --- from text ---------------------------------------------------------------------------- */

/* Reads the digits at the start of text. Returns the text after them, or NULL when there are
 * none or too many. */
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

static int read_units(const char *text, const struct units *units, int64_t *value)
{
    const char *rest = read_digits(text, value);

    for (const struct unit *u = units->unit; rest != NULL && u->name != NULL; u++)
        if (strcmp(rest, u->name) == 0)
            return __builtin_mul_overflow(*value, u->factor, value) ? -EINVAL : 0;
    return -EINVAL;
}

/* The word with that index in a key's `words`; *len is 0 when there is none. */
static const char *word_at(const char *words, int64_t index, size_t *len)
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
        const char *word = word_at(words, i, &len);
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
        if (read_units(text, &durations, &value) != 0) {
            rest = read_digits(text, &value);
            return rest != NULL && *rest == '\0' ? "has no unit" : "is not a duration";
        }
        if (!in_range(key, value))
            return "is out of range";
        break;
    default:
        if (read_units(text, &sizes, &value) != 0)
            return "is not a size";
        if (!in_range(key, value))
            return "is out of range";
        break;
    }
    *field = value;
    return NULL;
}

int config_rate_read(const char *text, int64_t *n, int64_t *duration_ms)
{
    const char *rest = read_digits(text, n);

    return rest == NULL || *rest != '/' ? -EINVAL
                                        : read_units(rest + 1, &durations, duration_ms);
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
    if (read_units(text, &durations, &value) != 0)
        return "is neither a share nor a duration";
    if (value < 1 || value > DAY_MS)
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

void config_list_clear(struct config_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->item[i]);
    free(list->item);
    *list = (struct config_list){ .count = 0 };
}

/* The length of the list item that begins there. A comma after a backslash is part of it, as
 * in the subject of a certificate (RFC 4514 section 2.4). */
static size_t item_len(const char *p)
{
    size_t len = strcspn(p, ",");

    while (p[len] != '\0' && len > 0 && p[len - 1] == '\\')
        len += 1 + strcspn(p + len + 1, ",");
    return len;
}

/* Splits at commas and trims the blanks around the items. */
static const char *split_list(const char *text, int64_t most, struct config_list *list)
{
    for (const char *p = text;;) {
        size_t len = item_len(p);
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
        config_list_clear(&list);
        return wrong;
    }
    config_list_clear(field);
    *field = list;
    return NULL;
}

static const char *read_statuses(const struct config_key *key, const struct config_list *list,
                                 struct config_statuses *field)
{
    struct config_statuses read = { .count = list->count };

    for (size_t i = 0; i < list->count; i++) {
        const char *rest = read_digits(list->item[i], &read.item[i]);

        if (rest == NULL || *rest != '\0')
            return "is not a list of statuses";
        if (!in_range(key, read.item[i]) || read.item[i] == 407)
            return "has a status that is not allowed";
        for (size_t j = 0; j < i; j++) {
            if (read.item[j] == read.item[i])
                return "has a status twice";
        }
    }
    *field = read;
    return NULL;
}

static const char *set_statuses(const struct config_key *key, const char *text,
                                struct config_statuses *field)
{
    struct config_list list = { .count = 0 };
    const char *wrong = split_list(text, ARRAY_LEN(field->item), &list);

    if (wrong == NULL)
        wrong = read_statuses(key, &list, field);
    config_list_clear(&list);
    return wrong;
}

static const char *set_header(const char *text, struct config *c)
{
    size_t name = strcspn(text, ":");
    const char *value = text + name;

    value += *value == ':';
    value += strspn(value, " \t");
    if (text[name] != ':' || !ascii_is_token(text, name))
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

bool config_credential_fault(const char *bytes, size_t len, char *why, size_t why_size)
{
    if (len >= 3 && memcmp(bytes, "\xEF\xBB\xBF", 3) == 0) {
        (void)snprintf(why, why_size,
                       "begins with a byte order mark (0xef 0xbb 0xbf at byte 1), which is not "
                       "part of it; save it as plain UTF-8");
        return true;
    }
    for (size_t i = 0; i < len; i++) {
        unsigned char ch = (unsigned char)bytes[i];

        if (ch >= 0x20 && ch != 0x7f)
            continue;
        (void)snprintf(why, why_size, "has a control byte, 0x%02x at byte %zu of %zu", ch,
                       i + 1, len);
        return true;
    }
    return false;
}

/* Percent-encoded form fields, each with a name (application/x-www-form-urlencoded). */
static const char *set_form(const struct config_key *key, const char *text, char **field)
{
    for (const char *p = text; *p != '\0'; p++) {
        if ((unsigned char)*p <= ' ' || (unsigned char)*p >= 0x7f ||
            strchr("#\"<>\\^`{|}", *p) != NULL)
            return "has a character that must be percent-encoded";
        if (*p == '%' && (!isxdigit((unsigned char)p[1]) || !isxdigit((unsigned char)p[2])))
            return "has a % that begins no escape";
    }
    for (const char *p = text;; p += strcspn(p, "&") + 1) {
        if (strcspn(p, "=") == 0 || strcspn(p, "=") >= strcspn(p, "&"))
            return "has a field without a name or without =";
        if (p[strcspn(p, "&")] == '\0')
            return set_string(key, text, field);
    }
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
        return set_statuses(key, text, field);
    case TYPE_LIST:
        return set_list(key, text, field);
    case TYPE_HEADER:
        return set_header(text, c);
    case TYPE_SECRET:
        return set_secret(key, text, field);
    case TYPE_FORM:
        return set_form(key, text, field);
    case TYPE_STRING:
    case TYPE_PATH:
    case TYPE_KEY_FILE:
    case TYPE_PROXY:
    case TYPE_URL:
        return set_string(key, text, field);
    }
    return NULL;
}

/* Writes what is allowed in full: "1ms to 1h, written as 250ms, ...". */
static void put_allowed(const struct config_key *key, char *out, size_t size)
{
    char range[128];

    config_range(key, range, sizeof range);
    switch (key->type) {
    case TYPE_BOOL:
    case TYPE_WORD:
    case TYPE_COUNT:
        (void)snprintf(out, size, "%s", range);
        break;
    case TYPE_DURATION:
    case TYPE_SHARE:
        (void)snprintf(out, size, "%s, written as 250ms, 5s, 2m, 1h or 1d", range);
        break;
    case TYPE_SIZE:
        (void)snprintf(out, size, "%s, written as 500, 64k or 1m", range);
        break;
    case TYPE_MODE:
        (void)snprintf(out, size, "three or four octal digits up to 0777, such as 0660");
        break;
    case TYPE_STATUSES:
        (void)snprintf(out, size,
                       "1 to 8 statuses from %" PRId64 " to %" PRId64 ", not 407, by commas",
                       key->min, key->max);
        break;
    case TYPE_LIST:
        (void)snprintf(out, size, "up to %" PRId64 " items, by commas", key->max);
        break;
    case TYPE_HEADER:
        (void)snprintf(out, size, "Name: value");
        break;
    case TYPE_PATH:
    case TYPE_KEY_FILE:
        (void)snprintf(out, size, "the path of a readable file");
        break;
    case TYPE_PROXY:
        (void)snprintf(out, size, "env, none or a URL such as http://host:3128");
        break;
    case TYPE_URL:
        (void)snprintf(out, size, "a URL such as https://host/path");
        break;
    case TYPE_FORM:
        (void)snprintf(out, size, "name=value&name=value, percent-encoded");
        break;
    case TYPE_SECRET:
        (void)snprintf(out, size, "up to %" PRId64 " bytes, none of them a control byte",
                       key->max);
        break;
    case TYPE_STRING:
        (void)snprintf(out, size, "up to %" PRId64 " bytes", key->max);
        break;
    }
}

int config_value_set(struct config *c, const struct config_key *key, const char *text,
                     char why[CONFIG_WHY_MAX])
{
    const char *wrong = NULL;
    char fault[128];
    bool hidden = key->type == TYPE_SECRET || key->type == TYPE_HEADER ||
                  key->type == TYPE_PROXY || key->type == TYPE_URL || key->type == TYPE_FORM;

    if (*text == '\0' && key->fallback == NULL && key->min == 0) {
        config_value_clear(c, key);
        return 0;
    }
    if (*text == '\0')
        wrong = "is empty";
    else if (config_credential_fault(text, strlen(text), fault, sizeof fault))
        wrong = fault;
    else
        wrong = set(c, key, text);
    if (wrong == NULL)
        return 0;

    char allowed[256], quoted[64];
    put_allowed(key, allowed, sizeof allowed);
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
        config_list_clear(field);
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
    case TYPE_FORM:
        wipe_string(field);
        break;
    case TYPE_COUNT:
    case TYPE_WORD:
        if (key->instance != 0)
            *(int64_t *)field = -1;
        break;
    default: /* numbers own no memory */
        break;
    }
}

/* --- into text ---------------------------------------------------------------------------- */

/* Prints a value in the largest unit that divides it. */
static void print_units(int64_t value, const struct units *units, char *out, size_t size)
{
    const struct unit *u = &units->unit[value == 0 ? units->zero : 0];

    while (value % u->factor != 0)
        u++;
    (void)snprintf(out, size, "%" PRId64 "%s", value / u->factor, u->name);
}

const char *config_quote(const char *text, char out[64])
{
    size_t n = 0;

    out[n++] = '"';
    for (const char *p = text; *p != '\0'; p++) {
        if (n == 56) {
            memcpy(out + n, "...", 3);
            n += 3;
            break;
        }
        out[n] = '?';
        if ((unsigned char)*p >= 0x20 && (unsigned char)*p < 0x7f)
            out[n] = *p;
        n++;
    }
    out[n++] = '"';
    out[n] = '\0';
    return out;
}

/* "a, b or c" */
static void join_words(const char *words, char *out, size_t size)
{
    size_t used = 0, len, next_len;

    out[0] = '\0';
    for (int64_t i = 0; used < size; i++) {
        const char *word = word_at(words, i, &len);
        if (len == 0)
            return;
        (void)word_at(words, i + 1, &next_len);
        const char *separator = i == 0 ? "" : next_len == 0 ? " or " : ", ";
        int n = snprintf(out + used, size - used, "%s%.*s", separator, (int)len, word);
        used += n > 0 ? (size_t)n : 0;
    }
}

void config_range(const struct config_key *key, char *out, size_t size)
{
    char least[32], most[32], words[64] = "";
    const struct units *units = key->type == TYPE_SIZE ? &sizes : &durations;

    if (key->words != NULL)
        join_words(key->words, words, sizeof words);
    print_units(key->min, units, least, sizeof least);
    print_units(key->max, units, most, sizeof most);

    switch (key->type) {
    case TYPE_BOOL:
        (void)snprintf(out, size, "yes or no");
        break;
    case TYPE_WORD:
        (void)snprintf(out, size, "%s", words);
        break;
    case TYPE_COUNT:
        (void)snprintf(out, size, "%s%s%" PRId64 " to %" PRId64, words,
                       key->words == NULL ? "" : " or ", key->min, key->max);
        break;
    case TYPE_SHARE:
        (void)snprintf(out, size, "%" PRId64 "%% to %" PRId64 "%%, or up to 1d", key->min,
                       key->max);
        break;
    default:
        (void)snprintf(out, size, "%s to %s", least, most);
        break;
    }
}

static int print_list(const struct config_list *list, struct buf *out)
{
    int rc = list->count == 0 ? -ENODATA : 0;

    for (size_t i = 0; i < list->count && rc == 0; i++)
        rc = buf_addf(out, "%s%s", i == 0 ? "" : ", ", list->item[i]);
    return rc;
}

static int print_statuses(const struct config_statuses *s, struct buf *out)
{
    int rc = 0;

    for (size_t i = 0; i < s->count && rc == 0; i++)
        rc = buf_addf(out, "%s%" PRId64, i == 0 ? "" : ", ", s->item[i]);
    return rc;
}

/* Prints a proxy's URL without the credentials in it. */
static int print_proxy(const char *url, struct buf *out)
{
    const char *at = strrchr(url, '@'), *host = strstr(url, "://");

    if (at == NULL || host == NULL)
        return buf_add_str(out, url);
    return buf_addf(out, "%.*s" CONFIG_HIDDEN "%s", (int)(host + 3 - url), url, at);
}

/* Prints only the names of form fields; their values may be secret. */
static int print_form(const char *text, struct buf *out)
{
    int rc = 0;

    for (const char *p = text; *p != '\0' && rc == 0; p += strcspn(p, "&"), p += *p == '&')
        rc = buf_addf(out, "%s%.*s=" CONFIG_HIDDEN, p == text ? "" : "&", (int)strcspn(p, "="),
                      p);
    return rc;
}

static int print_number(const struct config_key *key, int64_t value, struct buf *out)
{
    char text[32];
    size_t len;

    switch (key->type) {
    case TYPE_DURATION:
        print_units(value, &durations, text, sizeof text);
        return buf_add_str(out, text);
    case TYPE_SIZE:
        print_units(value, &sizes, text, sizeof text);
        return buf_add_str(out, text);
    case TYPE_MODE:
        return buf_addf(out, "%04" PRIo64, value);
    default:
        break;
    }
    if (key->words != NULL) {
        const char *word = word_at(key->words, value, &len);
        if (len > 0)
            return buf_add(out, word, len);
    }
    return buf_addf(out, "%" PRId64, value);
}

int config_value_print(const struct config *c, const struct config_key *key, struct buf *out)
{
    const void *field = (const char *)c + key->offset;
    const struct config_share *share = field;
    const char *text = NULL;

    switch (key->type) {
    case TYPE_BOOL:
        return buf_add_str(out, *(const bool *)field ? "yes" : "no");
    case TYPE_SHARE:
        if (share->percent != 0)
            return buf_addf(out, "%" PRId64 "%%", share->percent);
        return print_number(&(struct config_key){ .type = TYPE_DURATION }, share->ms, out);
    case TYPE_STATUSES:
        return print_statuses(field, out);
    case TYPE_LIST:
        return print_list(field, out);
    case TYPE_HEADER:
        if (c->listen.require_header_name == NULL)
            return -ENODATA;
        return buf_addf(out, "%s: " CONFIG_HIDDEN, c->listen.require_header_name);
    case TYPE_SECRET:
        return *(struct secret *const *)field == NULL ? -ENODATA
                                                      : buf_add_str(out, CONFIG_HIDDEN);
    case TYPE_PROXY:
        text = *(char *const *)field;
        return text == NULL ? -ENODATA : print_proxy(text, out);
    case TYPE_FORM:
        text = *(char *const *)field;
        return text == NULL ? -ENODATA : print_form(text, out);
    case TYPE_STRING:
    case TYPE_PATH:
    case TYPE_KEY_FILE:
    case TYPE_URL:
        text = *(char *const *)field;
        return text == NULL ? -ENODATA : buf_add_str(out, text);
    default:
        if (key->instance != 0 && *(const int64_t *)field < 0)
            return -ENODATA;
        return print_number(key, *(const int64_t *)field, out);
    }
}

/* Values in words: as they stand in the file, and what an error says is allowed. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "config/value.h"

const struct config_unit config_durations[CONFIG_UNITS] = {
    { "h", 3600000 }, { "m", 60000 }, { "s", 1000 }, { "ms", 1 }
};
const struct config_unit config_sizes[CONFIG_UNITS] = {
    { "g", 1 << 30 }, { "m", 1 << 20 }, { "k", 1 << 10 }, { "", 1 }
};

/* In the largest unit that leaves nothing over. */
static void print_units(int64_t value, const struct config_unit units[CONFIG_UNITS], char *out,
                        size_t size)
{
    size_t i = 0;

    while (i < CONFIG_UNITS - 1 && value % units[i].factor != 0)
        i++;
    if (value == 0) /* 0s and 0, rather than 0h and 0g */
        i = units == config_durations ? 2 : 3;
    (void)snprintf(out, size, "%" PRId64 "%s", value / units[i].factor, units[i].name);
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
        const char *word = config_word(words, i, &len);
        if (len == 0)
            return;
        (void)config_word(words, i + 1, &next_len);
        const char *separator = i == 0 ? "" : next_len == 0 ? " or " : ", ";
        int n = snprintf(out + used, size - used, "%s%.*s", separator, (int)len, word);
        used += n > 0 ? (size_t)n : 0;
    }
}

void config_range(const struct config_key *key, char *out, size_t size)
{
    char least[32], most[32], words[64] = "";
    const struct config_unit *units = key->type == TYPE_SIZE ? config_sizes : config_durations;

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
        (void)snprintf(out, size, "%" PRId64 "%% to %" PRId64 "%%, or up to 24h", key->min,
                       key->max);
        break;
    default:
        (void)snprintf(out, size, "%s to %s", least, most);
        break;
    }
}

void config_allowed(const struct config_key *key, char *out, size_t size)
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
        (void)snprintf(out, size, "%s, written as 250ms, 5s, 2m or 1h", range);
        break;
    case TYPE_SIZE:
        (void)snprintf(out, size, "%s, written as 500, 64k or 1m", range);
        break;
    case TYPE_MODE:
        (void)snprintf(out, size, "three or four octal digits up to 0777, such as 0660");
        break;
    case TYPE_STATUSES:
        (void)snprintf(out, size, "1 to 8 statuses from 400 to 499, not 407, by commas");
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
    case TYPE_STRING:
    case TYPE_SECRET:
        (void)snprintf(out, size, "up to %" PRId64 " bytes", key->max);
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

static int print_statuses(const struct config *c, struct buf *out)
{
    int rc = 0;

    for (size_t i = 0; i < c->upstream.token_refused_count && rc == 0; i++)
        rc = buf_addf(out, "%s%" PRId64, i == 0 ? "" : ", ",
                      c->upstream.token_refused_statuses[i]);
    return rc;
}

/* A proxy's URL without the credentials in it. */
static int print_proxy(const char *url, struct buf *out)
{
    const char *at = strrchr(url, '@'), *host = strstr(url, "://");

    if (at == NULL || host == NULL)
        return buf_add_str(out, url);
    return buf_addf(out, "%.*s" CONFIG_HIDDEN "%s", (int)(host + 3 - url), url, at);
}

static int print_number(const struct config_key *key, int64_t value, struct buf *out)
{
    char text[32];
    size_t len;

    switch (key->type) {
    case TYPE_DURATION:
        print_units(value, config_durations, text, sizeof text);
        return buf_add_str(out, text);
    case TYPE_SIZE:
        print_units(value, config_sizes, text, sizeof text);
        return buf_add_str(out, text);
    case TYPE_MODE:
        return buf_addf(out, "%04" PRIo64, value);
    default:
        break;
    }
    if (key->words != NULL) {
        const char *word = config_word(key->words, value, &len);
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
        return print_statuses(c, out);
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
    case TYPE_STRING:
    case TYPE_PATH:
    case TYPE_KEY_FILE:
    case TYPE_URL:
        text = *(char *const *)field;
        return text == NULL ? -ENODATA : buf_add_str(out, text);
    default:
        return print_number(key, *(const int64_t *)field, out);
    }
}

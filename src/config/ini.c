/* Reads the ini file, with inih. inih silently ignores what it does not understand (a line
 * that is cut, an indented line that replaces the value above, a section name without a
 * closing bracket, a NUL). So every line is checked here first; a faulty line is reported
 * and reaches inih as an empty one.
 *
 *     text -> is it text? -> next_line -> check_line -> inih -> on_value -> config_value_set
 *                                             \-> FILE:LINE: what is wrong
 */
#include "config/ini.h"

#include <ini.h>
#include <stdio.h>
#include <string.h>

#include "config/check.h"
#include "config/files.h"
#include "config/value.h"

#define LINE_MAX_BYTES 8192
/* The name that inih sees in place of a section that was reported, so that its keys are
 * ignored. No known section has this name. */
#define UNKNOWN_SECTION "?"

struct reader {
    struct config *config;
    struct config_report *report;
    const char *next, *end;
    int line;
};

static bool is_blank(char ch)
{
    return ch == ' ' || ch == '\t';
}

/* Checks a section header: known, and nothing after it. */
static bool check_section(struct reader *r, const char *line, size_t len)
{
    char header[64], hint[512], quoted[64];
    const char *close = memchr(line, ']', len), *name;

    if (close == NULL) {
        config_fail_line(r->report, r->line, "the section header has no ']'");
        return false;
    }
    if (close != line + len - 1) {
        config_fail_line(r->report, r->line,
                         "there is text after ']'; comments stand on lines of their own");
        return false;
    }
    (void)snprintf(header, sizeof header, "%.*s", (int)(close - line - 1), line + 1);

    const struct config_section *section = config_section_find(header, &name);

    if (section == NULL) {
        config_suggest_section(header, hint, sizeof hint);
        config_fail_line(r->report, r->line, "unknown section %s; %s",
                         config_quote(header, quoted), hint);
        return false;
    }
    if (section->named != (*name != '\0')) {
        config_fail_line(r->report, r->line, "the section is written %s",
                         config_section_title(section->name, header));
        return false;
    }
    if (!section->named)
        return true;
    if (!config_name_is_good(name)) {
        config_fail_line(
            r->report, r->line,
            "%s is no name; allowed: a small letter, then up to 30 of a-z, 0-9 and -",
            config_quote(name, quoted));
        return false;
    }
    if (!config_add_named(r->config, name)) {
        config_fail_line(r->report, r->line, "one [%s NAME] too many; at most %d",
                         section->name, CONFIG_NAMED_MAX);
        return false;
    }
    return true;
}

/* Returns what inih gets to see of a line (without newline): the line itself, "", or the
 * header of an unknown section. */
static const char *check_line(struct reader *r, const char *line, size_t *len)
{
    bool indented = *len > 0 && is_blank(line[0]);

    while (*len > 0 && is_blank(line[*len - 1]))
        (*len)--;
    if (*len > LINE_MAX_BYTES) {
        config_fail_line(r->report, r->line, "the line is too long; at most %d bytes",
                         LINE_MAX_BYTES);
        *len = 0;
        return "";
    }
    if (*len == 0 || line[strspn(line, " \t")] == ';' || line[strspn(line, " \t")] == '#') {
        *len = 0;
        return "";
    }
    if (indented) {
        config_fail_line(r->report, r->line,
                         "the line is indented; a value cannot go on on a second line, and "
                         "keys and sections begin at the left edge");
        *len = 0;
        return "";
    }
    if (line[0] == '[' && !check_section(r, line, *len)) {
        *len = strlen("[" UNKNOWN_SECTION "]");
        return "[" UNKNOWN_SECTION "]";
    }
    /* inih would also accept a colon, and then the `=` in a secret could end up on either
     * side */
    size_t key = 0;
    while (key < *len && line[key] != '=' && line[key] != ':')
        key++;
    if (line[0] != '[' && (key == *len || line[key] != '=')) {
        config_fail_line(r->report, r->line,
                         "the line is neither \"key = value\", [section] nor a comment");
        *len = 0;
        return "";
    }
    return line;
}

/* inih's reader: returns the next line, as fgets does. */
static char *next_line(char *out, int size, void *stream)
{
    struct reader *r = stream;

    assert(size > LINE_MAX_BYTES + 1);
    if (r->next == r->end) {
        secret_wipe(out, (size_t)size); /* inih frees its buffer without wiping it */
        return NULL;
    }
    r->line++;

    const char *line = r->next;
    const char *newline = memchr(line, '\n', (size_t)(r->end - line));
    size_t len = (size_t)((newline == NULL ? r->end : newline) - line);

    r->next = newline == NULL ? r->end : newline + 1;
    if (len > 0 && line[len - 1] == '\r')
        len--;
    line = check_line(r, line, &len);
    memcpy(out, line, len);
    out[len] = '\n';
    out[len + 1] = '\0';
    return out;
}

static void take_value(struct reader *r, const struct config_key *key, const char *value)
{
    struct config_source *source = config_source(r->report, key);
    char why[CONFIG_WHY_MAX];

    if (source->line != 0) {
        config_fail_line(r->report, r->line, "%s.%s: is given twice; first on line %d",
                         key->section, key->name, source->line);
        return;
    }
    source->line = r->line;
    if (config_value_set(r->config, key, value, why) != 0)
        config_fail(r->report, key, "%s", why);
    else
        config_check_text(r->report, key, value);
}

/* inih's handler. Errors are reported here, so it always returns "go on". */
static int on_value(void *user, const char *section, const char *name, const char *value)
{
    struct reader *r = user;
    char hint[1024], quoted[64];

    if (strcmp(section, UNKNOWN_SECTION) == 0)
        return 1;
    if (section[0] == '\0') {
        config_fail_line(r->report, r->line, "%s stands before the first [section]",
                         config_quote(name, quoted));
        return 1;
    }

    const char *rest;
    const struct config_section *known = config_section_find(section, &rest);
    const struct config_key *key = known != NULL && known->named
                                       ? config_find_named(r->config, section, name)
                                       : config_find(section, name);
    if (key == NULL) {
        config_suggest_key(known == NULL ? section : known->name, name, hint, sizeof hint);
        config_fail_line(r->report, r->line, "unknown key %s in [%s]; %s",
                         config_quote(name, quoted), section, hint);
        return 1;
    }
    take_value(r, key, value);
    return 1;
}

/* Whether the file is plain text. If not, only that one error is reported: all others would
 * be about garbage. */
static bool check_is_text(struct config_report *report, const char *text, size_t len)
{
    int line = 1;

    for (size_t i = 0; i < len; i++) {
        unsigned char ch = (unsigned char)text[i];
        bool line_end = ch == '\n' || (ch == '\r' && (i + 1 == len || text[i + 1] == '\n'));

        line += ch == '\n';
        if (line_end || ch == '\t' || (ch >= 0x20 && ch != 0x7f))
            continue;
        config_fail_line(report, line,
                         "the file is not plain text (UTF-8): the line has a control byte, "
                         "0x%02x; nothing in the file was read",
                         ch);
        return false;
    }
    return true;
}

void config_ini_parse(struct config *c, struct config_report *report, const char *text,
                      size_t len)
{
    struct reader r = { .config = c, .report = report, .next = text, .end = text + len };

    if (!check_is_text(report, text, len)) {
        report->unread = true;
        return;
    }
    if (len >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0)
        r.next += 3;

    /* inih's settings are global. Its buffer has room for any line from the start, so that
     * it never grows, which would leave copies of secrets in freed memory. */
    ini_max_line = LINE_MAX_BYTES + 3;
    ini_initial_alloc = LINE_MAX_BYTES + 3;
    ini_use_stack = false;
    ini_allow_realloc = false;
    ini_allow_inline_comments = false;
    ini_allow_multiline = false;
    ini_allow_no_value = false;
    ini_stop_on_first_error = false;

    int rc = ini_parse_stream(next_line, &r, on_value, &r);
    if (rc != 0)
        config_fail_line(report, rc > 0 ? rc : 0, "the line cannot be understood");
}

void config_ini_read(struct config *c, struct config_report *report, const char *path)
{
    char why[256];
    size_t len;
    char *text = config_file_read(path, CONFIG_FILE_MAX, &len, why, sizeof why);

    if (text == NULL) {
        report->unread = true;
        config_fail_line(report, 0, "%s", why);
        return;
    }
    config_ini_parse(c, report, text, len);
    config_file_free(text, len);
}

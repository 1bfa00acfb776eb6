/* The ini file. inih does the reading; its ways of passing over what it does not understand
 * (a cut line, an indented line that replaces the value above, a section name that never
 * closes, a NUL) are ruled out before: every line is looked at here first, and a line that is
 * not sound is reported and reaches inih as an empty one.
 *
 *     text -> next_line -> check_line -> inih -> on_value -> config_value_set
 *                              \-> FILE:LINE: what is wrong
 */
#include "config/ini.h"

#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "config/value.h"
#include "sandbox/landlock.h"

#define LINE_MAX_BYTES 8192
/* No file gives this error: the sandbox is in the way. */
#define HIDDEN ENOTUNIQ
/* What a section that was already reported is called, so that its keys are passed over. No
 * file can use that name: it is not a known one. */
#define UNKNOWN_SECTION "?"

struct reader {
    struct config_load *load;
    const char *next, *end;
    int line;
};

int config_file_mode(const char *path, unsigned *mode)
{
    struct stat st;
    /* O_NONBLOCK: a pipe must not hold up the program */
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    if (fd < 0 && sandbox_hides(path))
        return -HIDDEN;
    if (fd < 0 || fstat(fd, &st) != 0)
        return -errno;
    if (S_ISDIR(st.st_mode))
        return -EISDIR;
    *mode = st.st_mode & 07777;
    return S_ISREG(st.st_mode) ? 0 : -ENOTSUP;
}

const char *config_file_reason(int error)
{
    const char *text = error == ENOTSUP ? "it is not a regular file" : strerrordesc_np(error);

    if (error == HIDDEN)
        return "it is not among the files that the sandbox lets this process read since its "
               "start; restart to use it";
    return text != NULL ? text : "unknown error";
}

static char *read_all(int fd, size_t most, size_t *len, int *error)
{
    char *text = malloc(most + 2);
    ssize_t n = 1;

    *len = 0;
    if (text == NULL)
        abort();
    while (n != 0 && *len <= most) {
        n = read(fd, text + *len, most + 1 - *len);
        if (n < 0 && errno != EINTR) {
            *error = errno;
            config_slurp_free(text, *len);
            return NULL;
        }
        *len += n > 0 ? (size_t)n : 0;
    }
    text[*len] = '\0';
    return text;
}

char *config_slurp(const char *path, size_t most, size_t *len, char *why, size_t why_size)
{
    unsigned mode;
    int error = -config_file_mode(path, &mode);
    char *text = NULL;

    if (error == 0) {
        auto_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        error = fd < 0 ? errno : 0;
        if (fd >= 0)
            text = read_all(fd, most, len, &error);
    }
    if (text == NULL) {
        (void)snprintf(why, why_size, "cannot be read: %s", config_file_reason(error));
        return NULL;
    }
    if (*len > most) {
        (void)snprintf(why, why_size, "is too large; at most %zu bytes", most);
        config_slurp_free(text, *len);
        return NULL;
    }
    return text;
}

void config_slurp_free(char *text, size_t len)
{
    if (text != NULL)
        secret_wipe(text, len);
    free(text);
}

static bool is_blank(char ch)
{
    return ch == ' ' || ch == '\t';
}

static bool check_bytes(struct reader *r, const char *line, size_t len)
{
    if (len > LINE_MAX_BYTES) {
        config_fail_line(r->load, r->line, "the line is too long; at most %d bytes",
                         LINE_MAX_BYTES);
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (line[i] == '\0') {
            config_fail_line(r->load, r->line,
                             "the line has a NUL byte; the file must be plain text (UTF-8)");
            return false;
        }
        if (((unsigned char)line[i] < 0x20 && line[i] != '\t') || line[i] == 0x7f) {
            config_fail_line(r->load, r->line, "the line has a control character");
            return false;
        }
    }
    return true;
}

/* "[name]" and nothing else. Returns whether the section is known. */
static bool check_section(struct reader *r, const char *line, size_t len)
{
    char name[32], hint[512];
    const char *close = memchr(line, ']', len);

    if (close == NULL) {
        config_fail_line(r->load, r->line, "the section header has no ']'");
        return false;
    }
    if (close != line + len - 1) {
        config_fail_line(r->load, r->line,
                         "there is text after ']'; comments stand on lines of their own");
        return false;
    }
    (void)snprintf(name, sizeof name, "%.*s", (int)(close - line - 1), line + 1);
    if (config_section_known(name))
        return true;

    char quoted[64];
    config_suggest_section(name, hint, sizeof hint);
    config_fail_line(r->load, r->line, "unknown section %s; %s", config_quote(name, quoted),
                     hint);
    return false;
}

/* What inih is to see of the line, which has no line end: itself, "", or the header of an
 * unknown section. */
static const char *check_line(struct reader *r, const char *line, size_t *len)
{
    bool indented = *len > 0 && is_blank(line[0]);

    while (*len > 0 && is_blank(line[*len - 1]))
        (*len)--;
    if (!check_bytes(r, line, *len)) {
        *len = 0;
        return "";
    }
    if (*len == 0 || line[strspn(line, " \t")] == ';' || line[strspn(line, " \t")] == '#') {
        *len = 0;
        return "";
    }
    if (indented) {
        config_fail_line(r->load, r->line,
                         "the line is indented; a value cannot go on on a second line, and "
                         "keys and sections begin at the left edge");
        *len = 0;
        return "";
    }
    if (line[0] == '[' && !check_section(r, line, *len)) {
        *len = strlen("[" UNKNOWN_SECTION "]");
        return "[" UNKNOWN_SECTION "]";
    }
    /* inih would take a colon as well, and then the `=` in a secret could end up either side */
    size_t key = 0;
    while (key < *len && line[key] != '=' && line[key] != ':')
        key++;
    if (line[0] != '[' && (key == *len || line[key] != '=')) {
        config_fail_line(r->load, r->line,
                         "the line is neither \"key = value\", [section] nor a comment");
        *len = 0;
        return "";
    }
    return line;
}

/* inih's reader: the next line, as fgets gives it. */
static char *next_line(char *out, int size, void *stream)
{
    struct reader *r = stream;

    assert(size > LINE_MAX_BYTES + 1);
    if (r->next == r->end) {
        secret_wipe(out, (size_t)size); /* inih frees its buffer as it is */
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

static void warn_about_quotes(struct config_load *load, const struct config_key *key,
                              const char *value)
{
    size_t len = strlen(value);

    if (len >= 2 && (value[0] == '"' || value[0] == '\'') && value[len - 1] == value[0])
        config_warn(load, key, "the quotes around it are taken as part of the value");
}

static void take_value(struct reader *r, const struct config_key *key, const char *value)
{
    struct config_source *source = config_source(r->load, key);
    char why[CONFIG_WHY_MAX];

    if (source->line != 0) {
        config_fail_line(r->load, r->line, "%s.%s: is given twice; first on line %d",
                         key->section, key->name, source->line);
        return;
    }
    source->line = r->line;
    if (config_value_set(r->load->config, key, value, why) != 0)
        config_fail(r->load, key, "%s", why);
    else
        warn_about_quotes(r->load, key, value);
}

/* inih's handler. Errors are reported here and counted there, so it always says "go on". */
static int on_value(void *user, const char *section, const char *name, const char *value)
{
    struct reader *r = user;
    char hint[1024], quoted[64];

    if (strcmp(section, UNKNOWN_SECTION) == 0)
        return 1;
    if (section[0] == '\0') {
        config_fail_line(r->load, r->line, "%s stands before the first [section]",
                         config_quote(name, quoted));
        return 1;
    }

    const struct config_key *key = config_find(section, name);
    if (key == NULL) {
        config_suggest_key(section, name, hint, sizeof hint);
        config_fail_line(r->load, r->line, "unknown key %s in [%s]; %s",
                         config_quote(name, quoted), section, hint);
        return 1;
    }
    take_value(r, key, value);
    return 1;
}

void config_file_parse(struct config_load *load, const char *text, size_t len)
{
    struct reader r = { .load = load, .next = text, .end = text + len };

    if (len >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0)
        r.next += 3;

    /* inih's settings are global. Its buffer holds any line at once, so that it never grows,
     * which would leave copies of secrets behind. */
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
        config_fail_line(load, rc > 0 ? rc : 0, "the line cannot be understood");
}

void config_file_read(struct config_load *load)
{
    char why[256];
    size_t len;
    char *text = config_slurp(load->file, CONFIG_FILE_MAX, &len, why, sizeof why);

    if (text == NULL) {
        load->unread = true;
        config_fail_line(load, 0, "%s", why);
        return;
    }
    config_file_parse(load, text, len);
    config_slurp_free(text, len);
}

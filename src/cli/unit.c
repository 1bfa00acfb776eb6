/* Reads a systemd unit file, as far as this program's settings depend on it.
 *
 *     name -> file and drop-ins -> lines of [Service] -> --config, variables, credentials
 *
 * It does not do all that systemd does: conditions, specifiers other than %% %d %i %I %n %N and
 * those of directories, and encrypted credentials are not supported. An encrypted credential
 * is looked for where systemd puts the copy for a running service. See systemd.unit(5),
 * systemd.exec(5). */
#include "cli/unit.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/ascii.h"
#include "base/secret.h"

#define CREDENTIALS_MAX 32
#define ENVIRONMENT_FILES_MAX 32
#define DROP_INS_MAX 128
#define PATH_BYTES 4096

/* In systemd's order; the first file found counts. */
static const char default_path[] = "/etc/systemd/system:/run/systemd/system:"
                                   "/usr/local/lib/systemd/system:/usr/lib/systemd/system:"
                                   "/lib/systemd/system";

struct reader {
    struct unit *unit;
    char name[256];     /* "oneshot-proxy@billing.service" */
    char plain[256];    /* "oneshot-proxy@.service", or the same as `name` */
    char instance[128]; /* "billing", or empty */
    bool in_service;
    struct {
        char *id, *path;
    } credential[CREDENTIALS_MAX];
    size_t credentials;
    char *environment_file[ENVIRONMENT_FILES_MAX]; /* as in the unit, expanded */
    size_t environment_files;
    char *drop_in[DROP_INS_MAX]; /* paths, sorted by file name */
    size_t drop_ins;
    struct buf *error;
};

/* --- values ------------------------------------------------------------------------------ */

static int add_credential_path(const struct reader *r, const char *id, size_t len,
                               struct buf *out)
{
    for (size_t i = 0; i < r->credentials; i++)
        if (strlen(r->credential[i].id) == len && memcmp(r->credential[i].id, id, len) == 0)
            return buf_add_str(out, r->credential[i].path);
    return buf_addf(out, "/run/credentials/%s/%.*s", r->name, (int)len, id);
}

/* The directories of the system's manager; NULL: it is no specifier of one. */
static const char *directory_of(char specifier)
{
    switch (specifier) {
    case 't':
        return "/run";
    case 'S':
        return "/var/lib";
    case 'C':
        return "/var/cache";
    case 'L':
        return "/var/log";
    case 'E':
        return "/etc";
    case 'T':
        return "/tmp";
    case 'V':
        return "/var/tmp";
    default:
        return NULL;
    }
}

/* Appends the value with its specifiers expanded. Returns 0 or -errno. */
static int expand(const struct reader *r, const char *value, struct buf *out)
{
    int err = 0;

    for (const char *p = value; *p != '\0' && err == 0; p++) {
        if (*p != '%') {
            err = buf_add(out, p, 1);
            continue;
        }
        p++;
        if (*p == 'd' && p[1] == '/') {
            size_t len = strcspn(p + 2, "/ \"'");

            err = add_credential_path(r, p + 2, len, out);
            p += 1 + len;
        } else if (*p == 'd') {
            err = buf_addf(out, "/run/credentials/%s", r->name);
        } else if (*p == 'i' || *p == 'I') {
            err = buf_add_str(out, r->instance);
        } else if (*p == 'n') {
            err = buf_add_str(out, r->name);
        } else if (*p == 'N') {
            err = buf_add(out, r->name, strlen(r->name) - strlen(".service"));
        } else if (*p == '%') {
            err = buf_add(out, "%", 1);
        } else if (directory_of(*p) != NULL) {
            err = buf_add_str(out, directory_of(*p));
        } else {
            err = -EINVAL;
        }
        if (*p == '\0')
            break;
    }
    return err;
}

/* Takes the next word from a line; all of it or a part may be in quotes. Returns 1 with the
 * word appended, 0 at the end, or -errno. */
static int next_word(const char **line, struct buf *word)
{
    const char *p = *line + strspn(*line, " \t");
    char quote = '\0';
    int err = 0;

    if (*p == '\0')
        return 0;
    for (; *p != '\0' && err == 0; p++) {
        if (quote == '\0' && ascii_is_blank(*p))
            break;
        if (quote == '\0' && (*p == '"' || *p == '\'')) {
            quote = *p;
        } else if (quote != '\0' && *p == quote) {
            quote = '\0';
        } else {
            if (*p == '\\' && p[1] != '\0')
                p++;
            err = buf_add(word, p, 1);
        }
    }
    *line = p;
    return err != 0 ? err : quote != '\0' ? -EINVAL : 1;
}

/* Calls `take` with each word of the line, with specifiers expanded. */
static int each_word(struct reader *r, const char *line,
                     int (*take)(struct reader *r, const char *word))
{
    struct buf word, expanded;
    int rc;

    buf_init(&word, UNIT_FILE_BYTES_MAX);
    buf_init(&expanded, UNIT_FILE_BYTES_MAX);
    while ((rc = next_word(&line, &word)) > 0) {
        int err = expand(r, buf_text(&word), &expanded);

        rc = err == 0 ? take(r, buf_text(&expanded)) : err;
        buf_clear(&word);
        buf_clear(&expanded);
        if (rc != 0)
            break;
    }
    buf_wipe(&word);
    buf_wipe(&expanded);
    return rc;
}

/* --- directives -------------------------------------------------------------------------- */

static char *copy(const char *text)
{
    char *s = strdup(text);

    if (s == NULL)
        abort();
    return s;
}

static void drop(char *variable)
{
    secret_wipe(variable, strlen(variable));
    free(variable);
}

/* "NAME=value"; a later one replaces one of the same name. */
static int set_variable(struct reader *r, const char *word)
{
    struct unit *u = r->unit;
    size_t name = strcspn(word, "=") + 1;

    if (word[name - 1] == '\0')
        return -EINVAL;
    for (size_t i = 0; i < u->variables; i++) {
        if (strncmp(u->variable[i], word, name) != 0)
            continue;
        drop(u->variable[i]);
        u->variable[i] = copy(word);
        return 0;
    }
    if (u->variables == UNIT_VARIABLES_MAX)
        return -E2BIG;
    u->variable[u->variables++] = copy(word);
    return 0;
}

static void clear_variables(struct unit *u)
{
    while (u->variables > 0)
        drop(u->variable[--u->variables]);
    u->variable[0] = NULL;
}

static int on_environment(struct reader *r, const char *value)
{
    if (*value == '\0')
        clear_variables(r->unit);
    return each_word(r, value, set_variable);
}

static void forget(char **list, size_t *count)
{
    while (*count > 0)
        free(list[--*count]);
}

/* Only noted: systemd reads these files after every Environment. */
static int on_environment_file(struct reader *r, const char *value)
{
    struct buf path;

    if (*value == '\0') {
        forget(r->environment_file, &r->environment_files);
        return 0;
    }
    if (r->environment_files == ENVIRONMENT_FILES_MAX)
        return -E2BIG;
    buf_init(&path, PATH_BYTES);
    int err = expand(r, value, &path);

    if (err == 0)
        r->environment_file[r->environment_files++] = copy(buf_text(&path));
    buf_done(&path);
    return err;
}

static void drop_credential(struct reader *r, size_t i)
{
    free(r->credential[i].id);
    free(r->credential[i].path);
    r->credential[i] = r->credential[--r->credentials];
}

/* A later one replaces one with the same id. */
static int on_credential(struct reader *r, const char *value)
{
    const char *colon = strchr(value, ':');
    struct buf path;

    size_t len = colon == NULL ? strlen(value) : (size_t)(colon - value);

    for (size_t i = r->credentials; i-- > 0;)
        if (len == 0 || (strlen(r->credential[i].id) == len &&
                         memcmp(r->credential[i].id, value, len) == 0))
            drop_credential(r, i);
    /* in systemd's own store, which cannot be searched here */
    if (colon == NULL || colon[1] != '/')
        return 0;
    if (r->credentials == CREDENTIALS_MAX)
        return -E2BIG;
    buf_init(&path, PATH_BYTES);
    int err = expand(r, colon + 1, &path);

    if (err == 0) {
        char *id = strndup(value, len);

        if (id == NULL)
            abort();
        r->credential[r->credentials].id = id;
        r->credential[r->credentials++].path = copy(buf_text(&path));
    }
    buf_done(&path);
    return err;
}

/* The word after --config is the file. */
static int take_argument(struct reader *r, const char *word)
{
    struct unit *u = r->unit;
    bool is_next = u->config != NULL && *u->config == '\0';

    if (is_next || strncmp(word, "--config=", 9) == 0) {
        free(u->config);
        u->config = copy(is_next ? word : word + 9);
    } else if (strcmp(word, "--config") == 0) {
        free(u->config);
        u->config = copy("");
    }
    return 0;
}

static int on_exec_start(struct reader *r, const char *value)
{
    free(r->unit->config);
    r->unit->config = NULL;
    return each_word(r, value, take_argument);
}

/* A variable may be set before the credential that it refers to, and a drop-in may move the
 * credential, so credentials are read in a first pass over all files. */
static const struct directive {
    const char *name;
    int (*on_value)(struct reader *r, const char *value);
    int pass;
} directives[] = {
    { "LoadCredential", on_credential, 1 },
    { "Environment", on_environment, 2 },
    { "EnvironmentFile", on_environment_file, 2 },
    { "ExecStart", on_exec_start, 2 },
};

static int on_unit_line(struct reader *r, char *line, int pass)
{
    char *equals = strchr(line, '=');

    if (*line == '[')
        r->in_service = strcmp(line, "[Service]") == 0;
    if (!r->in_service || equals == NULL)
        return 0;
    const char *name = line, *value = equals + 1;
    size_t name_len = (size_t)(equals - line);

    ascii_trim(&name, &name_len);
    value += strspn(value, " \t");
    for (size_t i = 0; i < ARRAY_LEN(directives); i++)
        if (directives[i].pass == pass && strlen(directives[i].name) == name_len &&
            memcmp(directives[i].name, name, name_len) == 0)
            return directives[i].on_value(r, value);
    return 0;
}

static int on_first_pass(struct reader *r, char *line)
{
    return on_unit_line(r, line, 1);
}

static int on_second_pass(struct reader *r, char *line)
{
    return on_unit_line(r, line, 2);
}

/* --- files ------------------------------------------------------------------------------- */

/* Where a line that begins with # or ; is a comment. */
enum comments {
    COMMENT_BETWEEN_VALUES,
    COMMENT_ANYWHERE, /* also inside a value of several lines */
};

static bool is_comment(const char *line)
{
    line += strspn(line, " \t");
    return *line == '#' || *line == ';';
}

/* Calls on_line with each line that is no comment, trimmed; a line that ends in a backslash
 * continues in the next. */
static int read_file(struct reader *r, const char *path, enum comments comments,
                     int (*on_line)(struct reader *r, char *line))
{
    FILE *f = fopen(path, "re");
    struct buf whole;
    char *line = NULL;
    size_t size = 0;
    ssize_t n;
    int err = f == NULL ? -errno : 0, number = 0;

    buf_init(&whole, UNIT_FILE_BYTES_MAX);
    while (err == 0 && (n = getline(&line, &size, f)) >= 0) {
        number++;
        if ((comments == COMMENT_ANYWHERE || buf_unread(&whole) == 0) && is_comment(line))
            continue;
        while (n > 0 && (line[n - 1] == '\n' || ascii_is_blank(line[n - 1])))
            line[--n] = '\0';
        bool more = n > 0 && line[n - 1] == '\\';

        if (more)
            line[n - 1] = ' ';
        err = buf_add_str(&whole, buf_unread(&whole) > 0 ? line : line + strspn(line, " \t"));
        if (err != 0 || more)
            continue;
        char *text = strdup(buf_text(&whole));

        if (text == NULL)
            abort();
        err = on_line(r, text);
        drop(text);
        buf_clear(&whole);
    }
    if (err == 0 && ferror(f) != 0)
        err = -EIO;
    if (line != NULL)
        drop(line);
    buf_wipe(&whole);
    if (f != NULL)
        (void)fclose(f);
    if (err == -EINVAL) /* it may hold a secret, so it is not shown */
        (void)buf_addf(r->error,
                       "%s:%d: the line is not understood: a quote that does not end, a "
                       "variable without =, or a %% that is not known here\n",
                       path, number);
    else if (err != 0)
        (void)buf_addf(r->error, "%s: %s\n", path, strerrordesc_np(-err));
    return err;
}

static int read_unit_files(struct reader *r, int (*on_line)(struct reader *r, char *line))
{
    int err = 0;

    for (size_t i = 0; i <= r->drop_ins && err == 0; i++) {
        r->in_service = false;
        err =
            read_file(r, i == 0 ? r->unit->path : r->drop_in[i - 1], COMMENT_ANYWHERE, on_line);
    }
    return err;
}

/* Appends the value of a line of an EnvironmentFile. A quote begins a quoted part only where
 * nothing plain stands before it. Returns 0 or -errno. */
static int add_environment_value(const char *p, struct buf *out)
{
    bool plain = false;
    char quote = '\0';
    int err = 0;

    for (; *p != '\0' && err == 0; p++) {
        if (quote == '\0' && !plain && ascii_is_blank(*p))
            continue;
        if (quote != '\0' ? *p == quote : !plain && (*p == '"' || *p == '\'')) {
            quote = quote == '\0' ? *p : '\0';
            continue;
        }
        if (*p == '\\' && p[1] != '\0' &&
            (quote == '\0' || (quote == '"' && strchr("\"\\`$", p[1]) != NULL)))
            p++;
        plain |= quote == '\0';
        err = buf_add(out, p, 1);
    }
    return quote != '\0' ? -EINVAL : err;
}

static int on_environment_line(struct reader *r, char *line)
{
    struct buf text;
    char *equals = strchr(line, '=');
    const char *name = line;
    size_t len = equals == NULL ? 0 : (size_t)(equals - line);

    if (equals == NULL)
        return 0;
    ascii_trim(&name, &len);
    buf_init(&text, UNIT_FILE_BYTES_MAX);
    int err = buf_add(&text, name, len);

    if (err == 0)
        err = buf_add_str(&text, "=");
    if (err == 0)
        err = add_environment_value(equals + 1, &text);
    if (err == 0)
        err = set_variable(r, buf_text(&text));
    buf_wipe(&text);
    return err;
}

/* A file behind a "-" may be missing. */
static int read_environment_files(struct reader *r)
{
    int err = 0;

    for (size_t i = 0; i < r->environment_files && err == 0; i++) {
        const char *path = r->environment_file[i];
        bool optional = *path == '-';

        if (optional && access(path + 1, F_OK) != 0 && errno == ENOENT)
            continue;
        err = read_file(r, path + optional, COMMENT_BETWEEN_VALUES, on_environment_line);
    }
    return err;
}

static int is_drop_in(const struct dirent *entry)
{
    size_t n = strlen(entry->d_name);

    return n > 5 && entry->d_name[0] != '.' && strcmp(entry->d_name + n - 5, ".conf") == 0;
}

/* Of two with the same name the first one counts. */
static int add_drop_in(struct reader *r, const char *dir, const char *name)
{
    char path[PATH_BYTES];
    size_t at = r->drop_ins;

    for (; at > 0; at--) {
        int order = strcmp(strrchr(r->drop_in[at - 1], '/') + 1, name);

        if (order == 0)
            return 0;
        if (order < 0)
            break;
    }
    if (r->drop_ins == DROP_INS_MAX)
        return -E2BIG;
    if (snprintf(path, sizeof path, "%s/%s", dir, name) >= (int)sizeof path)
        return -ENAMETOOLONG;
    memmove(r->drop_in + at + 1, r->drop_in + at, (r->drop_ins - at) * sizeof *r->drop_in);
    r->drop_in[at] = copy(path);
    r->drop_ins++;
    return 0;
}

/* Notes the drop-ins of one directory. */
static int find_drop_ins(struct reader *r, const char *dir, int dir_len, const char *name)
{
    char path[PATH_BYTES];
    struct dirent **entries = NULL;
    int err = 0;

    (void)snprintf(path, sizeof path, "%.*s/%s.d", dir_len, dir, name);
    int n = scandir(path, &entries, is_drop_in, NULL);

    for (int i = 0; i < n; i++) {
        if (err == 0)
            err = add_drop_in(r, path, entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
    if (err != 0)
        (void)buf_addf(r->error, "%s: %s\n", path, strerrordesc_np(-err));
    return err;
}

static int split_name(struct reader *r, const char *name)
{
    size_t len = strlen(name);
    const char *at = strchr(name, '@');

    if (len > 8 && strcmp(name + len - 8, ".service") == 0)
        len -= 8;
    if (len == 0 || len > 200 || strchr(name, '/') != NULL)
        return -EINVAL;
    (void)snprintf(r->name, sizeof r->name, "%.*s.service", (int)len, name);
    (void)snprintf(r->plain, sizeof r->plain, "%s", r->name);
    if (at == NULL)
        return 0;
    int before = (int)(at - name) + 1, instance = (int)len - before;

    if (instance <= 0 || instance >= (int)sizeof r->instance)
        return -EINVAL;
    (void)snprintf(r->instance, sizeof r->instance, "%.*s", instance, at + 1);
    (void)snprintf(r->plain, sizeof r->plain, "%.*s.service", before, name);
    return 0;
}

/* Calls `visit` for each directory of the search path, until it returns something other than
 * 0. */
static int each_directory(struct reader *r, const char *path,
                          int (*visit)(struct reader *r, const char *dir, int len))
{
    int rc = 0;

    while (*path != '\0' && rc == 0) {
        size_t len = strcspn(path, ":");

        rc = len > 0 ? visit(r, path, (int)len) : 0;
        path += len + (path[len] == ':');
    }
    return rc;
}

/* 1: found; 0: not in this directory. */
static int find_unit(struct reader *r, const char *dir, int len)
{
    const char *const names[] = { r->name, r->plain };

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char path[PATH_BYTES];

        (void)snprintf(path, sizeof path, "%.*s/%s", len, dir, names[i]);
        if (access(path, F_OK) != 0)
            continue;
        r->unit->path = copy(path);
        return 1;
    }
    return 0;
}

/* The drop-ins of an instance go before those of its template. */
static int find_additions(struct reader *r, const char *dir, int len)
{
    int err = find_drop_ins(r, dir, len, r->name);

    if (err == 0 && strcmp(r->plain, r->name) != 0)
        err = find_drop_ins(r, dir, len, r->plain);
    return err;
}

static int read_all(struct reader *r)
{
    int err = read_unit_files(r, on_first_pass);

    if (err == 0)
        err = read_unit_files(r, on_second_pass);
    return err == 0 ? read_environment_files(r) : err;
}

int unit_read(const char *name, struct unit *out, struct buf *error)
{
    /* As in systemd: the search path can be set. */
    const char *path = getenv("SYSTEMD_UNIT_PATH"); /* NOLINT(concurrency-mt-unsafe) */
    struct reader r = { .unit = out, .error = error };

    *out = (struct unit){ .path = NULL };
    if (path == NULL || *path == '\0')
        path = default_path;
    int rc = split_name(&r, name);

    if (rc != 0) {
        (void)buf_addf(error, "\"%s\" is no name of a service unit\n", name);
        return rc;
    }
    rc = each_directory(&r, path, find_unit);
    if (rc == 0) {
        (void)buf_addf(error, "there is no unit %s in %s\n", r.name, path);
        rc = -ENOENT;
    } else if (rc == 1) {
        rc = each_directory(&r, path, find_additions);
        if (rc == 0)
            rc = read_all(&r);
    }
    (void)on_credential(&r, "");
    forget(r.environment_file, &r.environment_files);
    forget(r.drop_in, &r.drop_ins);
    return rc;
}

void unit_done(struct unit *u)
{
    clear_variables(u);
    free(u->path);
    free(u->config);
    *u = (struct unit){ .path = NULL };
}

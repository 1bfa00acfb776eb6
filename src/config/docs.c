/* Prints the settings: those in effect, and the reference of all keys as ini file, Markdown
 * and man page. */
#include "config/docs.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "config/config.h"
#include "config/value.h"

#define WIDTH 88

static bool opens_section(size_t i)
{
    return i == 0 || strcmp(config_keys[i].section, config_keys[i - 1].section) != 0;
}

/* Whether an id or secret came from its `_file`: then it is not in the settings file itself. */
static bool from_its_file(const struct config *c, const struct config_key *key)
{
    return (key == config_find("token", "client_id") && c->token.client_id_file != NULL) ||
           (key == config_find("token", "client_secret") &&
            c->token.client_secret_file != NULL);
}

static int print_effective(const struct config *c, const struct config_key *key,
                           struct buf *out)
{
    struct buf value;
    int rc = -ENODATA;

    buf_init(&value, 1 << 20);
    if (!from_its_file(c, key))
        rc = config_value_print(c, key, &value);
    if (rc == 0)
        rc = buf_addf(out, "%s = %s\n", key->name, buf_text(&value));
    else if (rc == -ENODATA)
        rc = buf_addf(out, "#%s =\n", key->name);
    buf_done(&value);
    return rc;
}

/* The lease follows from other settings; it tells how long an entry may be in flight. */
static int print_lease(const struct config *c, struct buf *out)
{
    return buf_addf(out, "# the lease of an entry: %" PRId64 "s\n", config_lease_ms(c) / 1000);
}

int config_print(const struct config *c, struct buf *out)
{
    int rc = buf_addf(out, "# oneshot-proxy %s: the settings in force\n", PROXY_VERSION);

    for (size_t i = 0; i < config_keys_of(c) && rc == 0; i++) {
        const struct config_key *key = config_key_at(c, i);

        if (i == 0 || strcmp(key->section, config_key_at(c, i - 1)->section) != 0)
            rc = buf_addf(out, "\n[%s]\n", key->section);
        if (rc == 0)
            rc = print_effective(c, key, out);
        if (rc == 0 && key == config_find("ledger", "store") && c->ledger.store != NULL)
            rc = print_lease(c, out);
    }
    return rc;
}

/* What follows the help text in brackets: the range or the words, and when a change applies. */
static void remark(const struct config_key *key, char *out, size_t size)
{
    char range[256] = "";

    switch (key->type) {
    case TYPE_COUNT:
    case TYPE_DURATION:
    case TYPE_SIZE:
    case TYPE_BOOL:
    case TYPE_WORD:
    case TYPE_SHARE:
        config_range(key, range, sizeof range);
        break;
    default: /* the help text says it */
        break;
    }

    const char *restart = key->applies == RESTART ? "needs a restart" : "";
    const char *separator = range[0] != '\0' && restart[0] != '\0' ? "; " : "";
    if (range[0] == '\0' && restart[0] == '\0')
        out[0] = '\0';
    else
        (void)snprintf(out, size, " (%s%s%s)", range, separator, restart);
}

/* Prints lines of at most WIDTH, each after "# ". */
static int print_wrapped(const char *text, struct buf *out)
{
    int rc = 0;

    for (const char *p = text; *p != '\0' && rc == 0;) {
        size_t len = strlen(p), most = WIDTH - 2;

        if (len > most) {
            for (len = most; len > 0 && p[len] != ' '; len--)
                ;
            if (len == 0) /* one long word */
                len = most;
        }
        rc = buf_addf(out, "# %.*s\n", (int)len, p);
        p += len;
        p += strspn(p, " ");
    }
    return rc;
}

int config_print_reference(struct buf *out)
{
    char title[CONFIG_TITLE_MAX];
    int rc = buf_add_str(
        out,
        "# oneshot-proxy: every setting, with its default.\n"
        "#\n"
        "# To change one, take away the # in front of it. Only the client id and the client\n"
        "# secret in [token] have to be set.\n"
        "#\n"
        "# Durations are 250ms 5s 2m 1h 1d, sizes 500 64k 1m, lists go by commas. A ; or # "
        "inside "
        "a\n"
        "# value belongs to it, and so do quotes; comments stand on lines of their own, and\n"
        "# every key begins at the left edge. An empty value means \"none\" where there is no\n"
        "# default.\n"
        "#\n"
        "# Each key can come from the environment as well, as ONESHOT_PROXY_<SECTION>_<KEY>,\n"
        "# e.g. ONESHOT_PROXY_TOKEN_CLIENT_ID; the environment wins over this file.\n"
        "#\n"
        "# Try a change with `oneshot-proxy --check --config FILE`; SIGHUP puts it in force,\n"
        "# where a key does not say that it needs a restart.\n");

    for (size_t i = 0; i < config_key_count && rc == 0; i++) {
        const struct config_key *key = &config_keys[i];
        char note[320], help[1024];

        remark(key, note, sizeof note);
        (void)snprintf(help, sizeof help, "%s%s", key->help, note);
        if (opens_section(i)) /* a section with a name is only an example */
            rc = buf_addf(out, "\n%s%s\n", i < config_single_count() ? "" : "#",
                          config_section_title(key->section, title));
        if (rc == 0)
            rc = buf_add_str(out, "\n");
        if (rc == 0)
            rc = print_wrapped(help, out);
        if (rc == 0)
            rc = buf_addf(out, "#%s =%s%s\n", key->name, key->fallback == NULL ? "" : " ",
                          key->fallback == NULL ? "" : key->fallback);
    }
    return rc;
}

/* Prints text with a backslash before each of the `special` bytes. */
static int print_escaped(const char *text, const char *special, struct buf *out)
{
    int rc = 0;

    for (const char *p = text; *p != '\0' && rc == 0; p++)
        rc = buf_addf(out, "%s%c", strchr(special, *p) != NULL ? "\\" : "", *p);
    return rc;
}

int config_print_markdown(struct buf *out)
{
    int rc = buf_add_str(out, "| key | default | meaning |\n|---|---|---|\n");

    for (size_t i = 0; i < config_key_count && rc == 0; i++) {
        const struct config_key *key = &config_keys[i];
        char note[320];
        const char *quote = key->fallback == NULL ? "" : "`";

        remark(key, note, sizeof note);
        rc = buf_addf(out, "| `%s.%s` | %s%s%s | ", key->section, key->name, quote,
                      key->fallback == NULL ? "none" : key->fallback, quote);
        if (rc == 0)
            rc = print_escaped(key->help, "|*<_", out);
        if (rc == 0)
            rc = print_escaped(note, "|*<_", out);
        if (rc == 0)
            rc = buf_add_str(out, " |\n");
    }
    return rc;
}

static int print_man_key(const struct config_key *key, struct buf *out)
{
    char note[320];
    int rc = buf_addf(out, ".TP\n.B %s\n", key->name);

    remark(key, note, sizeof note);
    if (rc == 0)
        rc = print_escaped(key->help, "-", out);
    if (rc == 0)
        rc = print_escaped(note, "-", out);
    if (rc == 0)
        rc = buf_add_str(out, "\n.br\nDefault: ");
    if (rc == 0)
        rc = print_escaped(key->fallback == NULL ? "none" : key->fallback, "-", out);
    return rc == 0 ? buf_add_str(out, ".\n") : rc;
}

int config_print_man(struct buf *out)
{
    char title[CONFIG_TITLE_MAX];
    int rc = buf_addf(
        out,
        ".TH ONESHOT\\-PROXY.INI 5 \"\" \"oneshot\\-proxy %s\"\n"
        ".SH NAME\n"
        "oneshot\\-proxy.ini \\- settings of oneshot\\-proxy(1)\n"
        ".SH DESCRIPTION\n"
        "Sections in square brackets hold keys, one\n"
        ".B key = value\n"
        "a line, of at most 8 KiB, from the left edge. Lines that begin with # or ; are\n"
        "comments. Inside a value both belong to it, and so do quotes; blanks at its ends do\n"
        "not. What is unknown, given twice or out of range is an error.\n"
        ".PP\n"
        "Durations are written 250ms, 5s, 2m, 1h or 1d, sizes 500, 64k or 1m, lists with "
        "commas. "
        "An\n"
        "empty value means \"none\" for keys without a default.\n"
        ".PP\n"
        "Required are the client id and the client secret in\n"
        ".BR [token] ,\n"
        "each as itself or as a file. Such a file holds at most 64 KiB; one line end behind\n"
        "the value is dropped, any other control byte in it is an error.\n"
        ".SH ENVIRONMENT\n"
        "Each key can also be a variable,\n"
        ".BR ONESHOT_PROXY_<SECTION>_<KEY> ,\n"
        "such as\n"
        ".BR ONESHOT_PROXY_TOKEN_CLIENT_ID ,\n"
        "which wins over the file. Where one of the two ways to give a credential is a\n"
        "variable and the other stands in the file, the variable counts. The variables that\n"
        "Kubernetes makes for a Service of that name are passed over.\n"
        ".SH RELOADING\n"
        "SIGHUP reads file and credentials again. A key that needs a restart says so below.\n",
        PROXY_VERSION);

    for (size_t i = 0; i < config_key_count && rc == 0; i++) {
        if (opens_section(i))
            rc = buf_addf(out, ".SH %s\n", config_section_title(config_keys[i].section, title));
        if (rc == 0)
            rc = print_man_key(&config_keys[i], out);
    }
    return rc == 0 ? buf_add_str(out, ".SH SEE ALSO\n.BR oneshot\\-proxy (1)\n") : rc;
}

/* Reloads the settings, and logs the result.
 *
 *     file, environment -> config_reload -> sandbox allows it? -> log, return
 *                                \-> errors   \-> no: log every error, nothing changes
 *
 *     certificates -> config_renew -> log, return what is good
 *                          \-> what is not: logged once, and the old content stays in use
 */
#include "server/reload.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "sandbox/policy.h"
#include "server/resources.h"

static void log_message(void *arg, bool is_error, const char *line)
{
    (void)arg;
    log_at(is_error ? LOG_ERROR : LOG_WARN, is_error ? "reload_refused" : "config_warning",
           log_str("detail", line));
}

/* How much of an error may be shown outside the log. A name that is no key is left out: it may
 * be part of a secret that was pasted with a line break in it. */
static int shown_len(const char *line)
{
    static const char unknown[] = ": unknown key ", before[] = " stands before the first [";
    const char *name = strstr(line, unknown);

    if (name != NULL)
        return (int)(name - line + (ptrdiff_t)strlen(unknown) - 1);
    if (strstr(line, before) == NULL)
        return (int)strlen(line);
    name = strchr(line, '"');
    return name == NULL ? 0 : (int)(name - line);
}

/* Keeps the first fault: the others are shown when that one is corrected. */
static void note_trouble(void *arg, bool is_error, const char *line)
{
    struct reload_trouble *t = arg;
    int len = shown_len(line);

    if (is_error && t->text[0] == '\0')
        (void)snprintf(t->text, sizeof t->text, "%.*s%s", len, line,
                       (size_t)len < strlen(line) ? " (see the log)" : "");
}

struct barred {
    const struct config *config;
    struct reload_trouble *trouble;
};

static void log_barred(void *arg, const char *key, int port)
{
    const struct barred *barred = arg;
    const struct config *c = barred->config;
    char line[512];

    (void)snprintf(line, sizeof line,
                   "%s: %s: the sandbox lets this process connect to the ports of its start "
                   "only, and %d was not among them; restart to use it",
                   c->file != NULL ? c->file : "configuration", key, port);
    log_message(NULL, true, line);
    note_trouble(barred->trouble, true, line);
}

static const char *or_none(struct buf *names)
{
    return buf_unread(names) > 0 ? buf_text(names) : "nothing";
}

struct config *reload_read(const struct config *running, const struct config_env *env,
                           unsigned workers, struct reload_trouble *trouble)
{
    struct config_reload_report report;

    config_reload_report_init(&report);
    struct config *c = config_reload(running, env, &report);
    if (c != NULL)
        resources_check(c, workers, &report.report);
    config_report_each(&report.report, log_message, NULL);
    *trouble = (struct reload_trouble){ .text = "" };
    config_report_each(&report.report, note_trouble, trouble);
    if (c != NULL &&
        !policy_reaches(c, log_barred, &(struct barred){ .config = c, .trouble = trouble })) {
        config_unref(c);
        c = NULL;
    }
    if (c != NULL) {
        if (buf_unread(&report.restart) > 0)
            log_warn("restart_needed", log_str("keys", buf_text(&report.restart)),
                     log_str("detail", "these stay as they were until the next start"));
        log_info("reloaded", log_str("changed", or_none(&report.changed)));
    }
    config_reload_report_done(&report);
    return c;
}

static void log_warning(void *arg, bool is_error, const char *line)
{
    if (!is_error)
        log_message(arg, false, line);
}

struct config *reload_certificates(struct config *running, struct reload_trouble *trouble)
{
    struct config_reload_report report;
    struct reload_trouble now = { .text = "" };

    config_reload_report_init(&report);
    struct config *c = config_renew(running, &report);

    config_report_each(&report.report, note_trouble, &now);
    if (now.text[0] != '\0' && strcmp(now.text, trouble->text) != 0)
        log_warn("certificates_kept", log_str("detail", now.text),
                 log_str("serving", "what was read before, until the files are good and fit "
                                    "together; they are looked at whenever they change"));
    *trouble = now;
    if (c != NULL) {
        config_report_each(&report.report, log_warning, NULL);
        log_info("certificates_changed", log_str("changed", buf_text(&report.changed)));
    }
    config_reload_report_done(&report);
    return c;
}

/* A reload of the settings, as the log tells it.
 *
 *     file, environment -> config_reload -> sandbox allows it? -> log, hand over
 *                                \-> errors   \-> no: every error, and all stays as it is
 */
#include "server/reload.h"

#include <stdio.h>

#include "base/log.h"
#include "sandbox/policy.h"

static void log_message(void *arg, bool is_error, const char *line)
{
    (void)arg;
    log_at(is_error ? LOG_ERROR : LOG_WARN, is_error ? "reload_refused" : "config_warning",
           log_str("detail", line));
}

static void log_barred(void *arg, const char *key, int port)
{
    const struct config *c = arg;
    char line[512];

    (void)snprintf(line, sizeof line,
                   "%s: %s: the sandbox lets this process connect to the ports of its start "
                   "only, and %d was not among them; restart to use it",
                   c->file != NULL ? c->file : "configuration", key, port);
    log_message(NULL, true, line);
}

static const char *or_none(struct buf *names)
{
    return buf_unread(names) > 0 ? buf_text(names) : "nothing";
}

struct config *reload_read(const struct config *running, const struct config_env *env)
{
    struct config_reload_report report;

    config_reload_report_init(&report);
    struct config *c = config_reload(running, env, &report);
    config_report_each(&report.report, log_message, NULL);
    if (c != NULL && !policy_reaches(c, log_barred, c)) {
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

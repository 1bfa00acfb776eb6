/*     file, environment -> config_reload -> good: log, hand over
 *                                        \-> bad: every error, and all stays as it is
 */
#include "server/reload.h"

#include <string.h>

#include "base/log.h"

static void log_lines(enum log_level level, const char *event, struct buf *lines)
{
    for (const char *line = buf_text(lines); *line != '\0';) {
        size_t len = strcspn(line, "\n");

        log_at(level, event, log_strn("detail", line, len));
        line += len + (line[len] == '\n');
    }
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
    if (c == NULL) {
        log_lines(LOG_ERROR, "reload_refused", &report.errors);
    } else {
        log_lines(LOG_WARN, "config_warning", &report.warnings);
        if (buf_unread(&report.restart) > 0)
            log_warn("restart_needed", log_str("keys", buf_text(&report.restart)),
                     log_str("detail", "these stay as they were until the next start"));
        log_info("reloaded", log_str("changed", or_none(&report.changed)));
    }
    config_reload_report_done(&report);
    return c;
}

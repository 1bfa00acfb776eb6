/* What doctor prints: one line for each step. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/ascii.h"
#include "cli/doctor_parts.h"

/* Every line comes by here: others' text must move no cursor, and whatever a server may repeat,
 * secrets do not pass. */
static void hide(char *line, const char *secret)
{
    size_t len = strlen(secret);

    for (char *at = line; len >= 4 && (at = strstr(at, secret)) != NULL; at += len)
        memset(at, '*', len);
}

void doctor_say(struct doctor *d, const char *step, enum doctor_verdict v, const char *fmt, ...)
{
    static const char *const words[] = { "ok", "note", "FAILED", "skipped" };
    char line[DOCTOR_LINE_BYTES];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    for (char *p = line; *p != '\0'; p++)
        if (!ascii_is_visible(*p) && *p != ' ')
            *p = '?';
    if (d->config != NULL && d->config->token.client_secret != NULL)
        hide(line, secret_text(d->config->token.client_secret));
    if (d->token != NULL)
        hide(line, secret_text(d->token->header) + strlen("Authorization: Bearer "));
    d->steps++;
    d->failed += v == DOCTOR_FAILED;
    (void)printf("%-15s %-8s %s\n", step, words[v], line);
    (void)fflush(stdout);
}

const char *doctor_span(int64_t seconds, char out[32])
{
    int64_t n = seconds < 0 ? -seconds : seconds;
    const char *unit = "second";

    if (n >= 2 * 86400) {
        n /= 86400;
        unit = "day";
    } else if (n >= 2 * 3600) {
        n /= 3600;
        unit = "hour";
    } else if (n >= 120) {
        n /= 60;
        unit = "minute";
    }
    (void)snprintf(out, 32, "%" PRId64 " %s%s", n, unit, n == 1 ? "" : "s");
    return out;
}

/* The few fields whose values mean something here: Via, X-Request-Id, Location, Retry-After. */
#include <string.h>
#include <time.h>

#include "base/ascii.h"
#include "http/header.h"
#include "http/request_check.h"

/* The end of the Via element that begins at s: its comma, or the end. A comma inside a comment
 * "(...)" is none (RFC 9110 section 5.6.5). */
static size_t via_element(const char *s, size_t n)
{
    size_t depth = 0, i = 0;

    for (; i < n; i++) {
        if (s[i] == '\\' && depth > 0)
            i++;
        else if (s[i] == '(')
            depth++;
        else if (s[i] == ')' && depth > 0)
            depth--;
        else if (s[i] == ',' && depth == 0)
            break;
    }
    return i < n ? i : n;
}

/* protocol RWS received-by [ RWS comment ]: is the received-by ours, with a port or without? */
static bool element_is_ours(const char *s, size_t n)
{
    ascii_trim(&s, &n);
    while (n > 0 && !ascii_is_blank(*s)) {
        s++;
        n--;
    }
    ascii_trim(&s, &n);
    size_t end = 0;
    while (end < n && !ascii_is_blank(s[end]) && s[end] != ':')
        end++;
    return ascii_equal_str(s, end, HEADER_PSEUDONYM);
}

bool header_via_is_ours(const struct header_field *fields, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!header_is(&fields[i], "via"))
            continue;
        const char *s = fields[i].value;
        size_t n = fields[i].value_len;
        while (n > 0) {
            size_t taken = via_element(s, n);
            if (element_is_ours(s, taken))
                return true;
            taken += taken < n ? 1 : 0;
            s += taken;
            n -= taken;
        }
    }
    return false;
}

bool header_request_id_ok(const char *value, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!ascii_is_visible(value[i]))
            return false;
    return len >= 1 && len <= 128;
}

/* Takes "scheme:" off the front, if there is one. */
static size_t scheme_len(const char *s)
{
    size_t n = 0;

    if (!ascii_is_alpha(s[0]))
        return 0;
    while (ascii_is_alpha(s[n]) || ascii_is_digit(s[n]) ||
           (s[n] != '\0' && strchr("+-.", s[n])))
        n++;
    return s[n] == ':' ? n : 0;
}

static int port_or_default(const struct request_check_host *h, const char *scheme, size_t len)
{
    if (h->port >= 0)
        return h->port;
    return ascii_equal_str(scheme, len, "https") ? 443 : 80;
}

const char *header_local_location(const char *value, const char *origin)
{
    size_t scheme = scheme_len(origin), own_scheme = scheme_len(value);
    assert(scheme > 0);
    const char *authority = origin + scheme + 3, *theirs = value;

    if (own_scheme > 0) {
        if (!ascii_equal(value, own_scheme, origin, scheme))
            return NULL;
        theirs += own_scheme + 1;
    }
    if (strncmp(theirs, "//", 2) != 0)
        return NULL;
    theirs += 2;

    struct request_check_host here, there;
    size_t len = strcspn(theirs, "/?#");
    if (!request_check_host(authority, strlen(authority), &here) ||
        !request_check_host(theirs, len, &there) ||
        !ascii_equal(here.name, here.name_len, there.name, there.name_len) ||
        port_or_default(&here, origin, scheme) != port_or_default(&there, origin, scheme))
        return NULL;

    const char *path = theirs + len;
    if (*path == '\0')
        return "/";
    if (*path != '/' || strpbrk(path, "\\\t") != NULL)
        return NULL;
    while (path[1] == '/')
        path++;
    return path;
}

/* --- Retry-After --------------------------------------------------------------------- */

#define RETRY_AFTER_MAX_S (24 * 60 * 60)

/* A place in a date; once something does not fit, `ok` stays false. */
struct scan {
    const char *at, *end;
    bool ok;
};

static void scan_text(struct scan *s, const char *text)
{
    size_t n = strlen(text);

    if (!s->ok || (size_t)(s->end - s->at) < n || !ascii_equal(s->at, n, text, n)) {
        s->ok = false;
        return;
    }
    s->at += n;
}

/* Exactly so many digits. */
static int scan_digits(struct scan *s, size_t digits)
{
    int64_t value = -1;

    if (s->ok && (size_t)(s->end - s->at) >= digits)
        value = ascii_number(s->at, digits);
    if (value < 0) {
        s->ok = false;
        return 0;
    }
    s->at += digits;
    return (int)value;
}

/* Which of the names stands here. */
static int scan_name(struct scan *s, const char *const *names, size_t count)
{
    for (size_t i = 0; s->ok && i < count; i++) {
        struct scan trial = *s;
        scan_text(&trial, names[i]);
        if (trial.ok) {
            *s = trial;
            return (int)i;
        }
    }
    s->ok = false;
    return 0;
}

static int scan_month(struct scan *s)
{
    static const char *const months[] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                          "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
    return scan_name(s, months, ARRAY_LEN(months));
}

static void scan_time(struct scan *s, struct tm *tm)
{
    tm->tm_hour = scan_digits(s, 2);
    scan_text(s, ":");
    tm->tm_min = scan_digits(s, 2);
    scan_text(s, ":");
    tm->tm_sec = scan_digits(s, 2);
}

/* Sun, 06 Nov 1994 08:49:37 GMT */
static void scan_imf(struct scan *s, struct tm *tm)
{
    scan_text(s, ", ");
    tm->tm_mday = scan_digits(s, 2);
    scan_text(s, " ");
    tm->tm_mon = scan_month(s);
    scan_text(s, " ");
    tm->tm_year = scan_digits(s, 4) - 1900;
    scan_text(s, " ");
    scan_time(s, tm);
    scan_text(s, " GMT");
}

/* Sunday, 06-Nov-94 08:49:37 GMT: a year that seems more than 50 years ahead is the most recent
 * past year with these digits (RFC 9110 section 5.6.7). */
static void scan_rfc850(struct scan *s, struct tm *tm, int64_t wall_s)
{
    time_t now = (time_t)wall_s;
    struct tm today = { 0 };

    scan_text(s, ", ");
    tm->tm_mday = scan_digits(s, 2);
    scan_text(s, "-");
    tm->tm_mon = scan_month(s);
    scan_text(s, "-");
    tm->tm_year = scan_digits(s, 2);
    scan_text(s, " ");
    scan_time(s, tm);
    scan_text(s, " GMT");

    if (gmtime_r(&now, &today) == NULL)
        s->ok = false;
    tm->tm_year += today.tm_year - today.tm_year % 100;
    if (tm->tm_year > today.tm_year + 50)
        tm->tm_year -= 100;
}

/* Sun Nov  6 08:49:37 1994 */
static void scan_asctime(struct scan *s, struct tm *tm)
{
    scan_text(s, " ");
    tm->tm_mon = scan_month(s);
    scan_text(s, " ");
    if (s->ok && s->at < s->end && *s->at == ' ') {
        s->at++;
        tm->tm_mday = scan_digits(s, 1);
    } else {
        tm->tm_mday = scan_digits(s, 2);
    }
    scan_text(s, " ");
    scan_time(s, tm);
    scan_text(s, " ");
    tm->tm_year = scan_digits(s, 4) - 1900;
}

/* An HTTP-date in any of its three forms (RFC 9110 section 5.6.7). */
static bool parse_date(const char *value, size_t len, int64_t wall_s, int64_t *out)
{
    static const char *const days[] = { "Sunday",   "Monday", "Tuesday", "Wednesday",
                                        "Thursday", "Friday", "Saturday" };
    static const char *const short_days[] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
    struct scan s = { .at = value, .end = value + len, .ok = true };
    struct scan whole = s;
    struct tm tm = { 0 };

    (void)scan_name(&whole, days, ARRAY_LEN(days));
    if (whole.ok) {
        s = whole;
        scan_rfc850(&s, &tm, wall_s);
    } else {
        (void)scan_name(&s, short_days, ARRAY_LEN(short_days));
        if (s.ok && s.at < s.end && *s.at == ',')
            scan_imf(&s, &tm);
        else
            scan_asctime(&s, &tm);
    }
    if (!s.ok || s.at != s.end || tm.tm_hour > 23 || tm.tm_min > 59 || tm.tm_sec > 60)
        return false;

    int day = tm.tm_mday, month = tm.tm_mon;
    if (tm.tm_sec == 60) /* a leap second; timegm would carry it over the end of the month */
        tm.tm_sec = 59;
    *out = (int64_t)timegm(&tm);
    return tm.tm_mday == day && tm.tm_mon == month;
}

/* delay-seconds, with a sign that the grammar has not; false: not a number. */
static bool parse_delay(const char *value, size_t len, int64_t *out)
{
    bool negative = len > 1 && value[0] == '-';

    for (size_t i = negative ? 1 : 0; i < len; i++)
        if (!ascii_is_digit(value[i]))
            return false;
    if (len == 0)
        return false;
    *out = 0;
    if (negative)
        return true;
    for (size_t i = 0; i < len; i++)
        *out = base_min(*out * 10 + (value[i] - '0'), RETRY_AFTER_MAX_S);
    return true;
}

int64_t header_retry_after(const char *value, size_t len, int64_t wall_s)
{
    int64_t delay = 0, date = 0;

    if (value == NULL)
        return -1;
    ascii_trim(&value, &len);
    if (!parse_delay(value, len, &delay)) {
        if (!parse_date(value, len, wall_s, &date) ||
            __builtin_sub_overflow(date, wall_s, &delay))
            return -1;
    }
    return base_min(base_max(delay, 0), RETRY_AFTER_MAX_S);
}

/* One host, from the way to it to the end of its TLS handshake:
 *
 *     which proxy is in the way, if any -> name -> connection -> TLS
 *
 * Each step says what its failure means and which setting to change. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "cli/doctor_parts.h"

#define STEP_MS 5000                       /* one look-up, one connection, one handshake */
#define LIST_BYTES (DOCTOR_LINE_BYTES / 2) /* addresses, and what came of each */
#define CLOCK_BLAME_S 3600                 /* a clock this far off is to blame for a date */
#define CERTIFICATE_SOON 14                /* days left */

static void step_name(char out[32], const struct doctor_target *t, const char *what)
{
    (void)snprintf(out, 32, "%s %s", t->name, what);
}

static const char *date(int64_t seconds, char out[32])
{
    time_t t = (time_t)seconds;
    struct tm tm;

    if (gmtime_r(&t, &tm) == NULL || strftime(out, 32, "%Y-%m-%d %H:%M UTC", &tm) == 0)
        (void)snprintf(out, 32, "?");
    return out;
}

/* --- an outbound proxy ------------------------------------------------------------------- */

/* The variables in libcurl's order for this kind of URL. */
static const char *proxy_variable(const struct doctor_target *t)
{
    static const char *const for_tls[] = { "https_proxy", "HTTPS_PROXY", "all_proxy",
                                           "ALL_PROXY" };
    static const char *const for_plain[] = { "http_proxy", "all_proxy", "ALL_PROXY" };
    const char *const *names = t->tls ? for_tls : for_plain;
    size_t count = t->tls ? ARRAY_LEN(for_tls) : ARRAY_LEN(for_plain);

    for (size_t i = 0; i < count; i++) {
        const char *value = getenv(names[i]); /* NOLINT(concurrency-mt-unsafe): one thread */

        if (value != NULL && *value != '\0')
            return names[i];
    }
    return NULL;
}

struct way {
    bool proxied;
    const char *setting; /* what names the proxy: a key or a variable */
    char host[256];
    int port;
    bool has_credentials;
};

static struct doctor_call call_for(struct doctor *d, const struct doctor_target *t,
                                   enum doctor_what what)
{
    return (struct doctor_call){ .config = d->config,
                                 .target = t,
                                 .url = t->url,
                                 .what = what,
                                 .deadline_ms = doctor_until(d, STEP_MS) };
}

/* Says which proxy is in the way, if any; where the first connection goes. */
static void find_way(struct doctor *d, const struct doctor_target *t, struct way *way)
{
    const char *variable = proxy_variable(t), *url = t->proxy;
    bool by_environment = strcmp(t->proxy, "env") == 0;
    struct doctor_call call = call_for(d, t, DOCTOR_ROUTE);
    char step[32];

    step_name(step, t, "proxy");
    *way = (struct way){ .port = t->port, .setting = by_environment ? variable : t->proxy_key };
    memcpy(way->host, t->host, sizeof way->host);
    doctor_call(&call);
    way->proxied = call.proxied;
    if (!call.proxied && variable != NULL && by_environment)
        doctor_say(d, step, DOCTOR_NOTE, "%s is set and not used: NO_PROXY exempts %s",
                   variable, t->host);
    else if (variable != NULL && !by_environment)
        doctor_say(d, step, DOCTOR_NOTE, "%s is set and not used: %s is %s", variable,
                   t->proxy_key, strcmp(t->proxy, "none") == 0 ? "none" : "set as well");
    if (!call.proxied)
        return;
    if (by_environment)
        url = getenv(variable != NULL ? variable : ""); /* NOLINT(concurrency-mt-unsafe) */
    int port = url == NULL ? -1 : config_proxy_port(url, way->host);
    way->has_credentials = url != NULL && strchr(url, '@') != NULL;
    way->port = port;
    doctor_say(d, step, DOCTOR_OK, "the way leads through %s:%d, as %s says", way->host, port,
               way->setting != NULL ? way->setting : "the environment");
}

static void explain_proxy(struct doctor *d, const char *step, const struct way *way,
                          const struct doctor_target *t, const struct doctor_call *call)
{
    if (call->connect_status == 407)
        doctor_say(
            d, step, DOCTOR_FAILED,
            way->has_credentials
                ? "the proxy %s:%d refuses the credentials in %s (407): correct them there"
                : "the proxy %s:%d asks for credentials (407): put them into %s, as "
                  "http://user:password@host:port",
            way->host, way->port, way->setting);
    else if (call->connect_status >= 300)
        doctor_say(
            d, step, DOCTOR_FAILED,
            "the proxy %s:%d answered %d when asked to connect to %s:%d: it does not allow "
            "that, "
            "or does not reach it; ask who runs it, or exempt the host in NO_PROXY",
            way->host, way->port, call->connect_status, t->host, t->port);
    else
        doctor_say(d, step, DOCTOR_FAILED,
                   "the proxy %s:%d that %s names does not let us through (%s)", way->host,
                   way->port, way->setting, call->why);
}

/* --- name and connection ----------------------------------------------------------------- */

static bool try_name(struct doctor *d, const struct doctor_target *t, const struct way *way,
                     struct addrinfo **found)
{
    char step[32], list[LIST_BYTES] = "";
    int64_t begin_ms = clock_ms();
    size_t used = 0;

    step_name(step, t, "DNS");
    int rc = doctor_resolve(way->host, way->port, doctor_until(d, STEP_MS), found);
    if (rc == -ETIMEDOUT)
        doctor_say(
            d, step, DOCTOR_FAILED,
            "no answer about %s within %d s: the name servers in /etc/resolv.conf are not "
            "reached; check the network, and that port 53 gets out",
            way->host, STEP_MS / 1000);
    else if (rc == EAI_NONAME || rc == EAI_NODATA)
        doctor_say(d, step, DOCTOR_FAILED,
                   "the name %s does not exist: check %s, and whether DNS here knows it",
                   way->host, way->proxied ? way->setting : t->url_key);
    else if (rc == EAI_AGAIN)
        doctor_say(
            d, step, DOCTOR_FAILED,
            "the name servers give no answer about %s: check /etc/resolv.conf and the network",
            way->host);
    else if (rc != 0)
        doctor_say(d, step, DOCTOR_FAILED, "%s cannot be looked up: %s", way->host,
                   gai_strerror(rc));
    if (rc != 0)
        return false;
    for (const struct addrinfo *a = *found; a != NULL && used < sizeof list; a = a->ai_next) {
        char address[64];

        doctor_address(a, address, sizeof address);
        int n =
            snprintf(list + used, sizeof list - used, "%s%s", used > 0 ? ", " : "", address);
        used += n > 0 ? (size_t)n : 0;
    }
    doctor_say(d, step, DOCTOR_OK, "%s is %s (%" PRId64 " ms)", way->host, list,
               clock_ms() - begin_ms);
    return true;
}

static bool try_connection(struct doctor *d, const struct doctor_target *t,
                           const struct way *way, const struct addrinfo *found)
{
    struct buf said;
    char step[32];

    step_name(step, t, "TCP");
    buf_init(&said, LIST_BYTES);
    int err = doctor_connect(found, doctor_until(d, STEP_MS), &said);
    const char *setting = way->proxied ? way->setting : t->url_key;

    if (err == 0)
        doctor_say(d, step, DOCTOR_OK, "port %d; %s", way->port, buf_text(&said));
    else if (err == -ECONNREFUSED)
        doctor_say(
            d, step, DOCTOR_FAILED,
            "%s:%d refuses connections (%s): nothing listens there, or a firewall says so; "
            "check "
            "host and port in %s",
            way->host, way->port, buf_text(&said), setting);
    else if (err == -ETIMEDOUT)
        doctor_say(
            d, step, DOCTOR_FAILED,
            "%s:%d does not answer (%s): a firewall drops the packets, or an outbound proxy is "
            "needed (%s); check %s too",
            way->host, way->port, buf_text(&said), t->proxy_key, setting);
    else
        doctor_say(d, step, DOCTOR_FAILED,
                   "%s:%d is not reached (%s): check the network and %s", way->host, way->port,
                   buf_text(&said), setting);
    buf_done(&said);
    return err == 0;
}

/* --- TLS --------------------------------------------------------------------------------- */

/* A certificate out of its time: is it the certificate, or is it the clock here? The server's
 * own clock, asked for without credentials, tells. */
static void explain_time(struct doctor *d, const char *step, const struct doctor_target *t,
                         const struct doctor_call *call)
{
    struct doctor_call look = { .config = d->config,
                                .target = t,
                                .url = t->url,
                                .what = DOCTOR_LOOK,
                                .deadline_ms = doctor_until(d, STEP_MS) };
    const bool expired = call->certificate.expired;
    int64_t limit_s = expired ? call->certificate.not_after_s : call->certificate.not_before_s;
    char when[32], far[32], skew[32];

    doctor_call(&look);
    doctor_note_date(d, look.end == DOCTOR_DONE ? look.date_s : 0);
    (void)date(limit_s, when);
    (void)doctor_span(clock_wall_s() - limit_s, far);
    if (d->skew_known && (expired ? d->skew_s : -d->skew_s) > CLOCK_BLAME_S)
        doctor_say(
            d, step, DOCTOR_FAILED,
            "the clock of this machine is %s %s: the server's certificate, valid %s %s, seems "
            "%s; "
            "set the clock (NTP)",
            doctor_span(d->skew_s, skew), d->skew_s > 0 ? "ahead" : "behind",
            expired ? "until" : "from", when, expired ? "expired" : "not valid yet");
    else
        doctor_say(d, step, DOCTOR_FAILED, "the certificate of %s %s %s %s (%s)%s: %s", t->host,
                   expired ? "expired" : "becomes valid in", far, expired ? "ago" : "from now",
                   when, d->skew_known ? ", and the clock of this machine is right" : "",
                   expired ? "who runs the server must renew it"
                           : "the server shows it too early");
}

static void explain_untrusted(struct doctor *d, const char *step, const struct doctor_target *t,
                              const struct doctor_call *call)
{
    if (call->certificate.expired || call->certificate.not_yet)
        explain_time(d, step, t, call);
    else if (call->certificate.unknown_issuer)
        doctor_say(
            d, step, DOCTOR_FAILED,
            "the certificate of %s %s%s, which is not among the authorities that are trusted "
            "(%s): if that is as it should be, put that authority's certificate into %s; if "
            "not, "
            "something on the way opens the connection",
            t->host, call->certificate.self_signed ? "is signed by itself, " : "was issued by ",
            call->certificate.issuer, t->ca_file != NULL ? t->ca_file : "the system's",
            t->ca_key);
    else if (call->certificate.verdict == 0)
        doctor_say(d, step, DOCTOR_FAILED,
                   "the certificate is for %s, not for %s: check the host in %s",
                   call->certificate.names[0] != '\0' ? call->certificate.names
                                                      : call->certificate.subject,
                   t->host, t->url_key);
    else
        doctor_say(d, step, DOCTOR_FAILED, "the certificate of %s is not accepted: %s", t->host,
                   call->why);
}

static void explain_no_tls(struct doctor *d, const char *step, const struct doctor_target *t,
                           const struct doctor_call *call)
{
    if (strstr(call->why, "wrong version number") != NULL ||
        strstr(call->why, "packet length too long") != NULL)
        doctor_say(d, step, DOCTOR_FAILED,
                   "what answers at %s:%d is not TLS: check scheme and port in %s", t->host,
                   t->port, t->url_key);
    else if (strstr(call->why, "protocol version") != NULL ||
             strstr(call->why, "unsupported protocol") != NULL)
        doctor_say(
            d, step, DOCTOR_FAILED,
            "%s offers only TLS versions before 1.2, which are not secure: who runs it must "
            "update it",
            t->host);
    else if (call->certificate.asked_for_ours)
        doctor_say(
            d, step, DOCTOR_FAILED,
            "%s asks for a client certificate: set upstream.client_certificate and client_key",
            t->host);
    else
        doctor_say(d, step, DOCTOR_FAILED, "no TLS with %s:%d (%s)", t->host, t->port,
                   call->why);
}

static void describe_certificate(struct doctor *d, const char *step,
                                 const struct doctor_call *call)
{
    int64_t days = (call->certificate.not_after_s - clock_wall_s()) / 86400;

    doctor_say(d, step, days < CERTIFICATE_SOON ? DOCTOR_NOTE : DOCTOR_OK,
               "%s; certificate of %s, issued by %s, trusted, valid for %" PRId64 " more days",
               call->certificate.tls, call->certificate.subject, call->certificate.issuer,
               days);
}

static bool try_tls(struct doctor *d, const struct doctor_target *t, const struct way *way)
{
    struct doctor_call call = call_for(d, t, DOCTOR_CONNECT);
    char step[32];

    step_name(step, t, "TLS");
    if (!t->tls && !way->proxied) {
        doctor_say(d, step, DOCTOR_NOTE, "not used: %s is http://", t->url_key);
        return true;
    }
    doctor_call(&call);
    switch (call.end) {
    case DOCTOR_DONE:
        if (t->tls)
            describe_certificate(d, step, &call);
        else
            doctor_say(d, step, DOCTOR_NOTE,
                       "not used: %s is http://; the proxy lets us through", t->url_key);
        return true;
    case DOCTOR_UNTRUSTED:
        explain_untrusted(d, step, t, &call);
        break;
    case DOCTOR_NO_TLS:
        explain_no_tls(d, step, t, &call);
        break;
    case DOCTOR_PROXY:
        explain_proxy(d, step, way, t, &call);
        break;
    case DOCTOR_LATE:
        doctor_say(
            d, step, DOCTOR_FAILED,
            "the handshake with %s:%d does not come to an end within %d s: what listens there "
            "is "
            "stuck, or is no TLS server",
            t->host, t->port, STEP_MS / 1000);
        break;
    case DOCTOR_NO_NAME:
    case DOCTOR_REFUSED:
    case DOCTOR_BROKEN:
        doctor_say(d, step, DOCTOR_FAILED, "%s:%d closed the connection (%s)%s", t->host,
                   t->port, call.why, way->proxied ? "; the proxy may have" : "");
        break;
    }
    return false;
}

bool doctor_try(struct doctor *d, const struct doctor_target *t)
{
    struct addrinfo *found = NULL;
    struct way way;
    char step[32];

    find_way(d, t, &way);
    bool named = try_name(d, t, &way, &found);
    bool connected = named && try_connection(d, t, &way, found);
    bool reached = connected && try_tls(d, t, &way);

    if (found != NULL)
        freeaddrinfo(found);
    if (!named) {
        step_name(step, t, "TCP");
        doctor_say(d, step, DOCTOR_SKIPPED, "there is no address");
    }
    if (!connected) {
        step_name(step, t, "TLS");
        doctor_say(d, step, DOCTOR_SKIPPED, "there is no connection");
    }
    return reached;
}

/* Tries the settings for real and prints one line for each step:
 *
 *     configuration -> upstream: (proxy) name, connection, TLS -+
 *                   -> token endpoint, when it is another host -+-> token -> request -> clock
 *
 * For a failure the line says what it means and which setting to change. A step that an earlier
 * failure makes impossible is printed as skipped. */
#include "cli/doctor.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/ascii.h"
#include "base/clock.h"
#include "base/log.h"
#include "cli/doctor_http.h"
#include "cli/doctor_net.h"
#include "cli/ledger_way.h"
#include "config/certificates.h"
#include "config/url.h"
#include "net/curl_host.h"
#include "net/lookup.h"
#include "net/trust_store.h"

#define STEP_MS 5000       /* one lookup, one connection, one handshake */
#define PROBE_MS 1000      /* a handshake to find out whether there is TLS at all */
#define ANSWER_MS 8000     /* one answer */
#define CLOCK_NOTE_S 30    /* report a clock that is wrong by more than this */
#define CLOCK_BLAME_S 3600 /* a clock that is wrong by this much explains an invalid date */
#define LINE_BYTES 1024    /* longer ones are cut */
#define LIST_BYTES (LINE_BYTES / 2) /* addresses, and the result for each */
#define API_PATH "/v0"              /* where the 1Shot API is on its host */

enum outcome { FINE, NOTE, FAILED, SKIPPED };

/* A host to connect to, and the settings that are to blame if that fails. */
struct target {
    const char *name; /* "upstream", "token" */
    const char *url_key, *ca_key, *proxy_key;
    const char *url, *proxy;
    const char *ca_file; /* NULL: the system's */
    enum leg leg;
    char host[256];
    int port;
    bool tls;
};

/* The state of the run. */
struct doctor {
    struct config *config; /* NULL: the settings have errors */
    struct token *token;   /* NULL: none yet */
    int64_t deadline_ms;   /* for the whole run */
    int steps, failed;
    bool skew_known;
    int64_t skew_s; /* how far this machine's clock is ahead of the server's */
};

/* --- output ------------------------------------------------------------------------------- */

/* Replaces the secret by stars wherever it is in the line: a server may have repeated it. */
static void hide(char *line, const char *secret)
{
    size_t len = strlen(secret);

    for (char *at = line; len >= 4 && (at = strstr(at, secret)) != NULL; at += len)
        memset(at, '*', len);
}

/* Prints the line of one step and counts it. It never prints a control character or a secret
 * of ours, whatever a server sent. */
PRINTF_LIKE(4, 5)
static void say(struct doctor *d, const char *step, enum outcome outcome, const char *fmt, ...)
{
    static const char *const names[] = { "ok", "note", "FAILED", "skipped" };
    char line[LINE_BYTES];
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
    d->failed += outcome == FAILED;
    (void)printf("%-15s %-8s %s\n", step, names[outcome], line);
    (void)fflush(stdout);
}

/* To the nearest unit: 4 h 59 min 59 s are 5 hours. */
static const char *span(int64_t seconds, char out[32])
{
    static const struct unit {
        int64_t seconds;
        const char *name;
    } units[] = { { 86400, "day" }, { 3600, "hour" }, { 60, "minute" }, { 1, "second" } };
    const struct unit *u = units;
    int64_t n = seconds < 0 ? -seconds : seconds;

    while (u->seconds > 1 && n < 2 * u->seconds)
        u++;
    n = (n + u->seconds / 2) / u->seconds;
    (void)snprintf(out, 32, "%" PRId64 " %s%s", n, u->name, n == 1 ? "" : "s");
    return out;
}

static int64_t until(const struct doctor *d, int64_t ms)
{
    return base_min(d->deadline_ms, clock_ms() + ms);
}

static void note_date(struct doctor *d, int64_t date_s)
{
    if (date_s == 0)
        return;
    d->skew_known = true;
    d->skew_s = clock_wall_s() - date_s;
}

/* --- one host: proxy, name, connection, TLS ----------------------------------------------- */

static void step_name(char out[32], const struct target *t, const char *what)
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

struct way {
    bool proxied;
    const char *setting; /* the key or variable that names the proxy */
    char host[256];
    int port;
    bool has_credentials, tls;
};

static struct doctor_call call_for(struct doctor *d, const struct target *t,
                                   enum doctor_what what)
{
    return (struct doctor_call){ .config = d->config,
                                 .leg = t->leg,
                                 .url = t->url,
                                 .what = what,
                                 .deadline_ms = until(d, STEP_MS) };
}

/* Finds out which proxy is used, if any, so where the first connection goes. */
static void find_way(struct doctor *d, const struct target *t, struct way *way)
{
    const char *value = NULL, *variable = config_proxy_variable(t->tls, &value);
    const char *url = strcmp(t->proxy, "env") == 0 ? value : t->proxy;
    bool by_environment = strcmp(t->proxy, "env") == 0;
    struct doctor_call call = call_for(d, t, DOCTOR_ROUTE);
    char step[32];

    step_name(step, t, "proxy");
    *way = (struct way){ .port = t->port, .setting = by_environment ? variable : t->proxy_key };
    memcpy(way->host, t->host, sizeof way->host);
    doctor_call(&call);
    way->proxied = call.proxied;
    if (!call.proxied && variable != NULL && by_environment)
        say(d, step, NOTE, "%s is set and not used: NO_PROXY exempts %s", variable, t->host);
    else if (variable != NULL && !by_environment)
        say(d, step, NOTE, "%s is set and not used: %s is %s", variable, t->proxy_key,
            strcmp(t->proxy, "none") == 0 ? "none" : "set as well");
    if (!call.proxied)
        return;
    int port = url == NULL ? -1 : config_proxy_port(url, way->host);
    way->tls = url != NULL && strncasecmp(url, "https://", strlen("https://")) == 0;
    way->has_credentials = url != NULL && strchr(url, '@') != NULL;
    way->port = port;
    say(d, step, FINE, "the way leads through %s:%d, as %s says", way->host, port,
        way->setting != NULL ? way->setting : "the environment");
}

static void explain_proxy(struct doctor *d, const char *step, const struct way *way,
                          const struct target *t, const struct doctor_call *call)
{
    if (call->connect_status == 407)
        say(d, step, FAILED,
            way->has_credentials
                ? "the proxy %s:%d refuses the credentials in %s (407): correct them there"
                : "the proxy %s:%d asks for credentials (407): put them into %s, as "
                  "http://user:password@host:port, percent-encoded",
            way->host, way->port, way->setting);
    else if (call->connect_status >= 300)
        say(d, step, FAILED,
            "the proxy %s:%d answered %d when asked to connect to %s:%d: it does not allow "
            "that, "
            "or does not reach it; ask who runs it, or exempt the host in NO_PROXY",
            way->host, way->port, call->connect_status, t->host, t->port);
    else
        say(d, step, FAILED, "the proxy %s:%d that %s names does not let us through (%s)",
            way->host, way->port, way->setting, call->why);
}

/* --- name and connection ----------------------------------------------------------------- */

static bool try_name(struct doctor *d, const struct target *t, const struct way *way,
                     struct lookup *lookup, const struct addrinfo **found)
{
    char step[32], list[LIST_BYTES] = "";
    int64_t begin_ms = clock_ms();
    size_t used = 0;

    step_name(step, t, "DNS");
    int rc = lookup == NULL ? EAI_MEMORY : lookup_wait(lookup, until(d, STEP_MS), -1, found);
    if (rc == -ETIMEDOUT)
        say(d, step, FAILED,
            "no answer about %s within %d s: the name servers in /etc/resolv.conf are not "
            "reached; check the network, and that port 53 gets out",
            way->host, STEP_MS / 1000);
    else if (rc == EAI_NONAME || rc == EAI_NODATA)
        say(d, step, FAILED,
            "the name %s does not exist: check %s, and whether DNS here knows it", way->host,
            way->proxied ? way->setting : t->url_key);
    else if (rc == EAI_AGAIN)
        say(d, step, FAILED,
            "the name servers give no answer about %s: check /etc/resolv.conf and the network",
            way->host);
    else if (rc != 0)
        say(d, step, FAILED, "%s cannot be looked up: %s", way->host, gai_strerror(rc));
    if (rc != 0)
        return false;
    for (const struct addrinfo *a = *found; a != NULL && used < sizeof list; a = a->ai_next) {
        char address[64];

        doctor_address(a, address, sizeof address);
        int n =
            snprintf(list + used, sizeof list - used, "%s%s", used > 0 ? ", " : "", address);
        used += n > 0 ? (size_t)n : 0;
    }
    say(d, step, FINE, "%s is %s (%" PRId64 " ms)", way->host, list, clock_ms() - begin_ms);
    return true;
}

static bool try_connection(struct doctor *d, const struct target *t, const struct way *way,
                           const struct addrinfo *found)
{
    struct buf tried;
    char step[32];

    step_name(step, t, "TCP");
    buf_init(&tried, LIST_BYTES);
    int err = doctor_connect(found, until(d, STEP_MS), &tried);
    const char *setting = way->proxied ? way->setting : t->url_key;

    if (err == 0)
        say(d, step, FINE, "port %d; %s", way->port, buf_text(&tried));
    else if (err == -ECONNREFUSED)
        say(d, step, FAILED,
            "%s:%d refuses connections (%s): nothing listens there, or a firewall says so; "
            "check "
            "host and port in %s",
            way->host, way->port, buf_text(&tried), setting);
    else if (err == -ETIMEDOUT)
        say(d, step, FAILED,
            "%s:%d does not answer (%s): a firewall drops the packets, or an outbound proxy is "
            "needed (%s); check %s too",
            way->host, way->port, buf_text(&tried), t->proxy_key, setting);
    else
        say(d, step, FAILED, "%s:%d is not reached (%s): check the network and %s", way->host,
            way->port, buf_text(&tried), setting);
    buf_done(&tried);
    return err == 0;
}

/* --- TLS --------------------------------------------------------------------------------- */

/* A certificate outside its period of validity: is the certificate wrong, or the clock here?
 * Asks for the server's time, without credentials. */
static void explain_time(struct doctor *d, const char *step, const struct target *t,
                         const struct doctor_call *call)
{
    struct doctor_call look = { .config = d->config,
                                .leg = t->leg,
                                .url = t->url,
                                .what = DOCTOR_LOOK,
                                .deadline_ms = until(d, STEP_MS) };
    const bool expired = call->certificate.expired;
    int64_t limit_s = expired ? call->certificate.not_after_s : call->certificate.not_before_s;
    char when[32], far[32], skew[32];

    doctor_call(&look);
    note_date(d, look.end == DOCTOR_DONE ? look.date_s : 0);
    (void)date(limit_s, when);
    (void)span(clock_wall_s() - limit_s, far);
    if (d->skew_known && (expired ? d->skew_s : -d->skew_s) > CLOCK_BLAME_S)
        say(d, step, FAILED,
            "the clock of this machine is %s %s: the server's certificate, valid %s %s, seems "
            "%s; "
            "set the clock (NTP)",
            span(d->skew_s, skew), d->skew_s > 0 ? "ahead" : "behind",
            expired ? "until" : "from", when, expired ? "expired" : "not valid yet");
    else
        say(d, step, FAILED, "the certificate of %s %s %s %s (%s)%s: %s", t->host,
            expired ? "expired" : "becomes valid in", far, expired ? "ago" : "from now", when,
            d->skew_known ? ", and the clock of this machine is right" : "",
            expired ? "who runs the server must renew it"
                    : "who runs the server must show one that is valid now");
}

static const char *trusted_by(const struct target *t)
{
    static char text[300];
    const char *file, *directory;

    if (t->ca_file != NULL)
        return t->ca_file;
    trust_store_find(&file, &directory);
    if (file == NULL)
        file = directory;
    (void)snprintf(text, sizeof text, "the system's%s%s", file != NULL ? ", " : "",
                   file != NULL ? file : "");
    return text;
}

static void explain_untrusted(struct doctor *d, const char *step, const struct target *t,
                              const struct doctor_call *call)
{
    if (call->certificate.expired || call->certificate.not_yet)
        explain_time(d, step, t, call);
    else if (call->certificate.unknown_issuer)
        say(d, step, FAILED,
            "the certificate of %s %s%s, which is not among the authorities that are trusted "
            "(%s): if you expected this authority, add its certificate to %s; if not, a "
            "TLS-inspecting proxy may be in between",
            t->host, call->certificate.self_signed ? "is signed by itself, " : "was issued by ",
            call->certificate.issuer, trusted_by(t), t->ca_key);
    else if (call->certificate.result == 0)
        say(d, step, FAILED, "the certificate is for %s, not for %s: check the host in %s",
            call->certificate.names[0] != '\0' ? call->certificate.names
                                               : call->certificate.subject,
            t->host, t->url_key);
    else
        say(d, step, FAILED, "the certificate of %s is not accepted: %s", t->host, call->why);
}

/* Whether the server has ended TLS because of the certificate that was shown to it. */
static bool refuses_ours(const struct doctor_call *call)
{
    const char *alert = strstr(call->why, " alert ");

    return alert != NULL &&
           (strstr(alert, "certificate") != NULL || strstr(alert, "unknown ca") != NULL);
}

static void explain_no_tls(struct doctor *d, const char *step, const struct target *t,
                           const struct doctor_call *call)
{
    if (strstr(call->why, "wrong version number") != NULL ||
        strstr(call->why, "packet length too long") != NULL)
        say(d, step, FAILED, "what answers at %s:%d is not TLS: check scheme and port in %s",
            t->host, t->port, t->url_key);
    else if (strstr(call->why, "protocol version") != NULL ||
             strstr(call->why, "unsupported protocol") != NULL)
        say(d, step, FAILED,
            "%s offers only TLS versions before 1.2, which are not secure: who runs it must "
            "update it",
            t->host);
    else if (call->certificate.asked_for_ours)
        say(d, step, FAILED,
            "%s asks for a client certificate: set upstream.client_certificate and client_key",
            t->host);
    else if (refuses_ours(call))
        say(d, step, FAILED,
            "%s refuses the client certificate that is shown (%s): check "
            "upstream.client_certificate",
            t->host, call->why);
    else
        say(d, step, FAILED, "no TLS with %s:%d (%s)", t->host, t->port, call->why);
}

static void describe_certificate(struct doctor *d, const char *step,
                                 const struct doctor_call *call)
{
    int64_t days = (call->certificate.not_after_s - clock_wall_s()) / 86400;

    if (days * 86400 >= CONFIG_CERTIFICATE_SOON_S)
        say(d, step, FINE,
            "%s; certificate of %s, issued by %s, trusted, valid for %" PRId64 " more days",
            call->certificate.tls, call->certificate.subject, call->certificate.issuer, days);
    else
        say(d, step, NOTE,
            "%s; certificate of %s, issued by %s, trusted, valid for %" PRId64
            " more days only: who runs the server must renew it in time",
            call->certificate.tls, call->certificate.subject, call->certificate.issuer, days);
}

static bool try_tls(struct doctor *d, const struct target *t, const struct way *way)
{
    struct doctor_call call = call_for(d, t, DOCTOR_CONNECT);
    char step[32];

    step_name(step, t, "TLS");
    if (!t->tls && !way->proxied) {
        say(d, step, NOTE, "not used: %s is http://", t->url_key);
        return true;
    }
    doctor_call(&call);
    /* before CONNECT has succeeded, the TLS handshake is with an https:// proxy itself */
    if (way->tls && call.connect_status / 100 != 2 &&
        (call.end == DOCTOR_UNTRUSTED || call.end == DOCTOR_NO_TLS))
        call.end = DOCTOR_PROXY;
    switch (call.end) {
    case DOCTOR_DONE:
        if (t->tls)
            describe_certificate(d, step, &call);
        else
            say(d, step, NOTE, "not used: %s is http://; the proxy lets us through",
                t->url_key);
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
        say(d, step, FAILED,
            "the handshake with %s:%d does not come to an end within %d s: what listens there "
            "is "
            "stuck, or is no TLS server",
            t->host, t->port, STEP_MS / 1000);
        break;
    case DOCTOR_NO_NAME:
    case DOCTOR_REFUSED:
    case DOCTOR_BROKEN:
        say(d, step, FAILED, "%s:%d closed the connection (%s)%s", t->host, t->port, call.why,
            way->proxied ? "; the proxy may have" : "");
        break;
    }
    return false;
}

static bool try_host(struct doctor *d, const struct target *t)
{
    const struct addrinfo *found = NULL;
    struct way way;
    char step[32];

    find_way(d, t, &way);
    struct lookup *lookup = lookup_start(way.host, way.port);
    bool named = try_name(d, t, &way, lookup, &found);
    bool connected = named && try_connection(d, t, &way, found);
    bool reached = connected && try_tls(d, t, &way);

    lookup_free(lookup);
    if (!named) {
        step_name(step, t, "TCP");
        say(d, step, SKIPPED, "there is no address");
    }
    if (!connected) {
        step_name(step, t, "TLS");
        say(d, step, SKIPPED, "there is no connection");
    }
    return reached;
}

/* --- token, request, clock --------------------------------------------------------------- */

/* Whether the server speaks TLS, although the URL is http://. */
static bool is_tls_port(struct doctor *d, const struct target *t)
{
    char url[300];
    struct doctor_call call = call_for(d, t, DOCTOR_HANDSHAKE);

    if (t->tls)
        return false;
    call.deadline_ms = until(d, PROBE_MS);
    (void)snprintf(url, sizeof url,
                   strchr(t->host, ':') != NULL ? "https://[%s]:%d/" : "https://%s:%d/",
                   t->host, t->port);
    call.url = url;
    doctor_call(&call);
    return call.end == DOCTOR_DONE;
}

static void say_tls_port(struct doctor *d, const char *step, const struct target *t)
{
    say(d, step, FAILED, "port %d of %s speaks TLS: write https:// in place of http:// in %s",
        t->port, t->host, t->url_key);
}

/* The cheapest request there is, below `base`: it reads, costs no quota, and every key may
 * make it. It has the token if there is one. */
static void get_chains(struct doctor *d, const char *base, struct doctor_call *call)
{
    char url[2048];

    *call = (struct doctor_call){ .config = d->config,
                                  .leg = LEG_UPSTREAM,
                                  .url = url,
                                  .token = d->token,
                                  .what = DOCTOR_GET,
                                  .deadline_ms = until(d, ANSWER_MS) };
    (void)snprintf(url, sizeof url, "%s/chains?pageSize=1", base);
    doctor_call(call);
    call->url = NULL;
}

/* Whether the API is not at base_url but below its usual path. With a wrong path the token
 * endpoint is not found either, so this is tried with or without a token. */
static bool is_wrong_path(struct doctor *d)
{
    char base[1024];
    struct doctor_call here, there;

    if (strcmp(d->config->upstream.base_path, API_PATH) == 0)
        return false;
    get_chains(d, d->config->upstream.base_url, &here);
    if (here.end != DOCTOR_DONE || (here.status < 400 && !here.is_html))
        return false;
    (void)snprintf(base, sizeof base, "%s" API_PATH, d->config->upstream.origin);
    get_chains(d, base, &there);
    return there.end == DOCTOR_DONE && !there.is_html && there.status != here.status &&
           (there.status < 300 || there.status == 401 || there.status == 403);
}

static void say_wrong_path(struct doctor *d, const char *step)
{
    say(d, step, FAILED,
        "the path in upstream.base_url is wrong: the API does not answer below \"%s\", but "
        "below "
        "\"" API_PATH "\"; set upstream.base_url to %s" API_PATH,
        d->config->upstream.base_path, d->config->upstream.origin);
}

static void try_token(struct doctor *d, const struct target *t, bool upstream_reached)
{
    struct token_client_result result;
    int64_t begin_ms = clock_ms();

    doctor_fetch(d->config, until(d, ANSWER_MS), &result);
    d->token = result.token;
    if (result.token != NULL)
        say(d, "token", FINE, "lifetime %" PRId64 " s, scope %s%s%s (%" PRId64 " ms)",
            (result.token->expires_ms - result.token->obtained_ms) / 1000,
            result.token->scope != NULL ? "\"" : "",
            result.token->scope != NULL ? result.token->scope : "not said",
            result.token->scope != NULL ? "\"" : "", clock_ms() - begin_ms);
    else if (is_tls_port(d, t))
        say_tls_port(d, "token", t);
    else if (upstream_reached && result.failure.received_status != 0 &&
             strcmp(t->url_key, "upstream.base_url") == 0 && is_wrong_path(d))
        say_wrong_path(d, "token");
    else
        say(d, "token", FAILED, "%s", result.failure.detail);
}

static void judge_answer(struct doctor *d, const char *path, const struct doctor_call *call)
{
    if (call->is_html && call->status < 400)
        say(d, "request", FAILED,
            "GET %s: a web page (%d) where the API should answer: check upstream.base_url, and "
            "whether a login page or a proxy is in the way",
            path, call->status);
    else if (call->status == 401)
        say(d, "request", FAILED,
            "GET %s: 401, the upstream refuses a token that was just issued: do token.url and "
            "upstream.base_url belong to the same environment?",
            path);
    else if (call->status == 403)
        say(d, "request", FAILED,
            "GET %s: 403, the upstream knows the token and forbids this: the API key lacks the "
            "right, or its quota is used up",
            path);
    else if (call->status == 404)
        say(d, "request", NOTE,
            "GET %s: 404, the token is accepted; if calls give 404 too, check the path in "
            "upstream.base_url",
            path);
    else if (call->status >= 200 && call->status < 300)
        say(d, "request", FINE, "GET %s: %d, the token is accepted (%" PRId64 " ms)", path,
            call->status, call->took_ms);
    else if (call->status == 429)
        say(d, "request", FAILED, "GET %s: 429, too many requests: try again later", path);
    else if (call->status >= 500)
        say(d, "request", FAILED,
            "GET %s: %d, the upstream itself is in trouble; nothing to change here", path,
            call->status);
    else
        say(d, "request", FAILED, "GET %s: %d is no answer of the API: check upstream.base_url",
            path, call->status);
}

static void try_request(struct doctor *d, const struct target *upstream)
{
    char path[1024];
    struct doctor_call call;

    (void)snprintf(path, sizeof path, "%s/chains?pageSize=1", d->config->upstream.base_path);
    get_chains(d, d->config->upstream.base_url, &call);
    bool done = call.end == DOCTOR_DONE;

    note_date(d, done ? call.date_s : 0);
    if ((!done || call.status >= 400) && is_tls_port(d, upstream))
        say_tls_port(d, "request", upstream);
    else if (done && (call.status >= 400 || call.is_html) && is_wrong_path(d))
        say_wrong_path(d, "request");
    else if (done)
        judge_answer(d, path, &call);
    else if (call.end == DOCTOR_LATE)
        say(d, "request", FAILED, "GET %s: no answer within %d s: the upstream hangs", path,
            ANSWER_MS / 1000);
    else if (call.certificate.asked_for_ours)
        say(d, "request", FAILED,
            "GET %s: the upstream asks for a client certificate: set "
            "upstream.client_certificate and client_key",
            path);
    else if (refuses_ours(&call))
        say(d, "request", FAILED,
            "GET %s: the upstream refuses the client certificate that is shown (%s): check "
            "upstream.client_certificate",
            path, call.why);
    else
        say(d, "request", FAILED, "GET %s: no whole answer (%s)", path, call.why);
}

static void judge_clock(struct doctor *d)
{
    char skew[32];

    if (!d->skew_known)
        say(d, "clock", SKIPPED, "no answer said what time it is");
    else if (d->skew_s >= -CLOCK_NOTE_S && d->skew_s <= CLOCK_NOTE_S)
        say(d, "clock", FINE, "agrees with the server's");
    else
        say(d, "clock", NOTE,
            "the clock of this machine is %s %s the server's: set it (NTP), or certificates "
            "will "
            "seem invalid and log times will not match",
            span(d->skew_s, skew), d->skew_s > 0 ? "ahead of" : "behind");
}

/* The certificate files. Whether they are valid and fit together is checked with the
 * settings. */
static void try_certificates(struct doctor *d)
{
    struct config_certificate all[CERTIFICATES_COUNT];
    int64_t now_s = clock_wall_s();
    size_t count = config_certificates(d->config, now_s, all);

    for (size_t i = 0; i < count; i++) {
        int64_t left_s = all[i].end_s - now_s;
        char left[32];

        if (left_s <= 0)
            say(d, "certificate", FAILED, "%s (%s) ended %s ago: put a new one in its place",
                all[i].path, all[i].key, span(left_s, left));
        else
            say(d, "certificate", left_s >= CONFIG_CERTIFICATE_SOON_S ? FINE : NOTE,
                "%s (%s) ends in %s", all[i].path, all[i].key, span(left_s, left));
    }
}

/* --- the ledger --- */

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

/* Measures commits, for which a claim must wait. */
static void time_commits(struct doctor *d, struct ledger_way *w, struct buf *error)
{
    enum { COMMITS = 16, SLOW_US = 100000 };
    int64_t took_us[COMMITS];

    for (size_t i = 0; i < COMMITS; i++) {
        int64_t begin_us = clock_us();

        if (w->type->touch(w->store, error) != STORE_OK) {
            say(d, "ledger", FAILED, "it cannot be written: %s", buf_text(error));
            return;
        }
        took_us[i] = clock_us() - begin_us;
    }
    qsort(took_us, COMMITS, sizeof took_us[0], compare);
    int64_t median_us = took_us[COMMITS / 2], most_us = took_us[COMMITS - 1];

    say(d, "ledger", median_us > SLOW_US ? NOTE : FINE,
        "%s is sound; %d commits took %.1f ms each, the slowest %.1f ms%s", w->type->scheme,
        COMMITS, (double)median_us / 1000, (double)most_us / 1000,
        median_us > SLOW_US ? ": every request with a key waits that long" : "");
}

static void say_weakness(void *arg, const char *text)
{
    say(arg, "ledger", NOTE, "%s", text);
}

static void say_status(struct doctor *d, struct ledger_way *w, struct buf *error)
{
    struct buf text;

    buf_init(&text, LINE_BYTES);
    if (control_client_status(&w->control, &text, error) != STORE_OK)
        say(d, "ledger", FAILED, "%s", buf_text(error));
    else
        say(d, "ledger", strstr(buf_text(&text), ", down") == NULL ? FINE : FAILED,
            "a proxy has it: %.*s", (int)strcspn(buf_text(&text), "\n"), buf_text(&text));
    buf_done(&text);
}

/* Notes settings with which less is recorded than was perhaps intended. */
static void judge_ledger_settings(struct doctor *d)
{
    const struct config *c = d->config;

    if (c->ledger.require_key == WHICH_NONE)
        say(d, "ledger", NOTE,
            "ledger.require_key = no: a payment without a key is sent, and sent again when its "
            "caller tries again");
    if (c->ledger.keep_answers_ms < (int64_t)86400000)
        say(d, "ledger", NOTE,
            "ledger.keep_answers is shorter than a day: a caller that comes back the next day "
            "is "
            "told only that there was an answer");
}

static void try_ledger(struct doctor *d)
{
    auto_way struct ledger_way w = { .type = NULL };
    struct buf error;

    if (d->config->ledger.store == NULL)
        return;
    buf_init(&error, LINE_BYTES);
    bool sound = ledger_way_open(&w, d->config, &error);

    if (sound && w.store != NULL)
        sound = w.type->check(w.store, &error) == STORE_OK;
    if (!sound)
        say(d, "ledger", FAILED, "%s", buf_text(&error));
    else if (w.store == NULL)
        say_status(d, &w, &error);
    else
        time_commits(d, &w, &error);
    if (w.store != NULL && w.type->weaknesses != NULL)
        w.type->weaknesses(w.store, say_weakness, d);
    judge_ledger_settings(d);
    buf_done(&error);
}

/* --- the whole run ------------------------------------------------------------------------ */

static struct target target_of(const char *name, const struct config *c, bool token)
{
    struct target t = {
        .name = name,
        .leg = token ? LEG_TOKEN : LEG_UPSTREAM,
        .url_key = token ? c->token.url_key : "upstream.base_url",
        .ca_key = token ? c->token.ca_key : "upstream.ca_file",
        .proxy_key = token ? c->token.proxy_key : "upstream.proxy",
        .url = token ? c->token.url : c->upstream.base_url,
        .proxy = token ? c->token.proxy : c->upstream.proxy,
        .ca_file = token ? c->token.ca_file : c->upstream.ca_file,
    };

    t.port = config_url_port(t.url, t.host);
    t.tls = strncmp(t.url, "https://", 8) == 0;
    return t;
}

static bool same_way(const struct target *a, const struct target *b)
{
    return strcmp(a->host, b->host) == 0 && a->port == b->port && a->tls == b->tls &&
           strcmp(a->proxy, b->proxy) == 0 && base_same_text(a->ca_file, b->ca_file);
}

static void examine(struct doctor *d)
{
    struct target upstream = target_of("upstream", d->config, false);
    struct target token = target_of("token", d->config, true);
    bool reached = try_host(d, &upstream);
    bool token_reached = same_way(&upstream, &token) ? reached : try_host(d, &token);

    if (token_reached)
        try_token(d, &token, reached);
    else
        say(d, "token", SKIPPED, "the token endpoint is not reached");
    if (reached && d->token != NULL)
        try_request(d, &upstream);
    else
        say(d, "request", SKIPPED,
            reached ? "there is no token" : "the upstream is not reached");
    judge_clock(d);
}

static void say_message(void *arg, bool is_error, const char *line)
{
    say(arg, "configuration", is_error ? FAILED : NOTE, "%s", line);
}

bool doctor_run(const char *file, const struct config_env *env)
{
    struct doctor d = { .deadline_ms = clock_ms() + DOCTOR_TIMEOUT_MS };
    struct config_report report;

    log_setup(LOG_ERROR, LOG_LOGFMT);
    config_report_init(&report);
    d.config = config_load(file, env, &report);
    config_report_each(&report, say_message, &d);
    config_report_done(&report);
    if (d.config == NULL) {
        say(&d, "all else", SKIPPED, "the settings are not good");
    } else {
        say(&d, "configuration", FINE, "%s", file != NULL ? file : "from the environment");
        if (curl_host_global_init() != 0)
            abort();
        try_certificates(&d);
        examine(&d);
        try_ledger(&d);
    }
    (void)printf(d.failed == 0 ? "all is well\n" : "%d failed\n", d.failed);
    token_unref(d.token);
    config_unref(d.config);
    return fflush(stdout) == 0 && ferror(stdout) == 0 && d.failed == 0;
}

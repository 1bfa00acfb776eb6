/* Each part of the connection to the upstream and to the token endpoint is broken in turn,
 * with HTTP/1.1 and with HTTP/2. The answer, the log, the status page, /readyz, the metrics
 * and doctor must all name the same part, and what to change. */
#include <arpa/inet.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "connect_proxy.h"
#include "harness.h"

/* How the far end is broken. */
enum broken {
    NAME_MISSING,
    REFUSED,
    SILENT, /* no SYN is answered */
    PROXY_NAME,
    PROXY_REFUSED,
    PROXY_403,
    PROXY_407,
    PROXY_503,
    PROXY_HANGS,
    PROXY_CUT,
    CERTIFICATE, /* `cert` says how */
    NO_TLS,
    HANDSHAKE_CUT,
    HANDSHAKE_HANGS,
    NOT_HTTP,
    NO_ANSWER,
    LATE,
    PROXY_CERTIFICATE, /* of a proxy that is spoken to by TLS */
    PROXY_NO_TLS,
    SOCKS_REFUSES,
    SOCKS_CUT,
    SOCKS_METHODS,
    CLIENT_WANTED, /* a certificate of ours */
    CLIENT_WRONG,
    SECRET_WRONG,  /* for the token endpoint */
    NO_DESCRIPTORS /* here */
};

/* Which of them, and how it is spoken to. */
struct leg {
    bool token, h2;
};

#define GATEWAY_HOST 4 /* 127.0.0.5, which names.so gives for gateway.test */

struct fault {
    const char *name;
    enum broken how;
    enum cert_kind cert;
    const char *error[2];  /* Proxy-Status, of the upstream and the token endpoint */
    const char *detail[2]; /* words of it; the token endpoint's NULL: the same */
    const char *doctor;    /* words of a line of it */
};

static const struct fault faults[] = {
    { "name missing",
      NAME_MISSING,
      CERT_NONE,
      { "dns_error", "dns_error" },
      { "upstream.base_url does not resolve", "token.url does not resolve" },
      "does not exist" },
    { "refused",
      REFUSED,
      CERT_NONE,
      { "connection_refused", "connection_refused" },
      { "host and port in upstream.base_url", "host and port in token.url" },
      "refuses connections" },
    { "silent",
      SILENT,
      CERT_NONE,
      { "connection_timeout", "connection_timeout" },
      { "longer than upstream.connect_timeout", "upstream.connect_timeout" },
      "does not answer" },
    { "proxy name",
      PROXY_NAME,
      CERT_VALID,
      { "dns_error", "dns_error" },
      { "name of the outbound proxy does not resolve: check upstream.proxy",
        "name of the outbound proxy does not resolve: check token.proxy" },
      "does not exist" },
    { "proxy refused",
      PROXY_REFUSED,
      CERT_VALID,
      { "connection_refused", "connection_refused" },
      { "The outbound proxy refused the connection", NULL },
      "refuses connections" },
    { "proxy 403",
      PROXY_403,
      CERT_VALID,
      { "destination_unavailable", "destination_unavailable" },
      { "it answered 403", NULL },
      "answered 403" },
    { "proxy 407",
      PROXY_407,
      CERT_VALID,
      { "destination_unavailable", "destination_unavailable" },
      { "(407): put them into upstream.proxy", "(407): put them into token.proxy" },
      "(407)" },
    { "proxy 503",
      PROXY_503,
      CERT_VALID,
      { "destination_unavailable", "destination_unavailable" },
      { "it answered 503", NULL },
      "answered 503" },
    { "proxy hangs",
      PROXY_HANGS,
      CERT_VALID,
      { "connection_timeout", "connection_timeout" },
      { "The outbound proxy did not make the connection", NULL },
      NULL },
    { "proxy cut",
      PROXY_CUT,
      CERT_VALID,
      { "connection_terminated", "connection_terminated" },
      { "The outbound proxy ended the connection", NULL },
      "proxy" },
    { "expired",
      CERTIFICATE,
      CERT_EXPIRED,
      { "tls_certificate_error", "tls_certificate_error" },
      { "has expired", NULL },
      "expired" },
    { "not yet",
      CERTIFICATE,
      CERT_FUTURE,
      { "tls_certificate_error", "tls_certificate_error" },
      { "is not valid yet", NULL },
      "becomes valid" },
    { "wrong name",
      CERTIFICATE,
      CERT_WRONG_NAME,
      { "tls_certificate_error", "tls_certificate_error" },
      { "is for another name: check the host in upstream.base_url",
        "is for another name: check the host in token.url" },
      "the certificate is for" },
    { "self-signed",
      CERTIFICATE,
      CERT_SELF_SIGNED,
      { "tls_certificate_error", "tls_certificate_error" },
      { "authority that is not trusted here", NULL },
      "signed by itself" },
    { "issuer",
      CERTIFICATE,
      CERT_OTHER_CA,
      { "tls_certificate_error", "tls_certificate_error" },
      { "authority that is not trusted here", NULL },
      "not among the authorities" },
    { "old TLS",
      CERTIFICATE,
      CERT_OLD_TLS,
      { "tls_protocol_error", "tls_protocol_error" },
      { "offers no TLS of version 1.2", NULL },
      "TLS versions before 1.2" },
    { "no TLS",
      NO_TLS,
      CERT_NONE,
      { "tls_protocol_error", "tls_protocol_error" },
      { "speaks no TLS: check scheme and port in upstream.base_url",
        "speaks no TLS: check scheme and port in token.url" },
      "is not TLS" },
    { "handshake cut",
      HANDSHAKE_CUT,
      CERT_NONE,
      { "tls_protocol_error", "tls_protocol_error" },
      { "cut in the TLS handshake", NULL },
      "no TLS with" },
    { "handshake hangs",
      HANDSHAKE_HANGS,
      CERT_NONE,
      { "connection_timeout", "connection_timeout" },
      { "The TLS handshake", NULL },
      NULL },
    { "no answer",
      NO_ANSWER,
      CERT_NONE,
      { "connection_terminated", "connection_terminated" },
      { "outcome unknown", "before a whole answer came" },
      NULL },
    { "late",
      LATE,
      CERT_NONE,
      { "http_response_timeout", "http_response_timeout" },
      { "upstream.response_timeout", "token.timeout" },
      NULL },
    { "not HTTP",
      NOT_HTTP,
      CERT_NONE,
      { "http_protocol_error", "http_protocol_error" },
      { "upstream", "is not HTTP: check token.url" },
      NULL },
    { "proxy certificate",
      PROXY_CERTIFICATE,
      CERT_VALID,
      { "tls_certificate_error", "tls_certificate_error" },
      { "The certificate of the outbound proxy does not verify", NULL },
      "does not let us through" },
    { "proxy without TLS",
      PROXY_NO_TLS,
      CERT_NONE,
      { "tls_protocol_error", "tls_protocol_error" },
      { "handshake with the outbound proxy failed: check scheme and port in upstream.proxy",
        "handshake with the outbound proxy failed: check scheme and port in token.proxy" },
      "does not let us through" },
    { "SOCKS refuses",
      SOCKS_REFUSES,
      CERT_NONE,
      { "destination_unavailable", "destination_unavailable" },
      { "The outbound proxy refused to connect", NULL },
      "does not let us through" },
    { "SOCKS cut",
      SOCKS_CUT,
      CERT_NONE,
      { "connection_terminated", "connection_terminated" },
      { "The outbound proxy ended the connection", NULL },
      "does not let us through" },
    { "SOCKS methods",
      SOCKS_METHODS,
      CERT_NONE,
      { "destination_unavailable", "destination_unavailable" },
      { "put the right ones into upstream.proxy", "put the right ones into token.proxy" },
      "does not let us through" },
    { "client certificate wanted",
      CLIENT_WANTED,
      CERT_WANTS_CLIENT,
      { "tls_alert_received", "tls_alert_received" },
      { "wants a client certificate, or another one: set upstream.client_certificate", NULL },
      "client certificate" },
    { "client certificate wrong",
      CLIENT_WRONG,
      CERT_WANTS_CLIENT,
      { "tls_alert_received", "tls_alert_received" },
      { "wants a client certificate, or another one: set upstream.client_certificate", NULL },
      "client certificate" },
    { "secret wrong",
      SECRET_WRONG,
      CERT_NONE,
      { NULL, "proxy_configuration_error" },
      { NULL, "answered 401: check token.client_id and token.client_secret" },
      "answered 401: check token.client_id and token.client_secret" },
    { "no descriptors",
      NO_DESCRIPTORS,
      CERT_NONE,
      { "connection_limit_reached", "connection_limit_reached" },
      { "No descriptor is left for a connection to the upstream; raise RLIMIT_NOFILE",
        "No descriptor is left for a connection to the token endpoint; raise RLIMIT_NOFILE" },
      NULL },
};

static void serve_hang(struct peer_conn *c, void *arg)
{
    (void)arg;
    peer_read_eof(c);
}

/* After something has come: of a request, or of a handshake. */
static void serve_cut(struct peer_conn *c, void *arg)
{
    char some[64];

    (void)arg;
    (void)recv(c->fd, some, sizeof some, MSG_PEEK);
    peer_cut(c);
}

static void serve_h2_cut(struct peer_conn *c, void *arg)
{
    size_t body;

    (void)arg;
    if (h2_begin(c) && h2_read_request(c, &body) != 0)
        peer_cut(c);
}

static void serve_h2_hang(struct peer_conn *c, void *arg)
{
    size_t body;

    (void)arg;
    if (h2_begin(c) && h2_read_request(c, &body) != 0)
        peer_read_eof(c);
}

static void serve_h2_401(struct peer_conn *c, void *arg)
{
    uint32_t stream;
    size_t body;

    (void)arg;
    if (!h2_begin(c))
        return;
    while ((stream = h2_read_request(c, &body)) != 0 && h2_answer(c, stream, 401, ""))
        ;
}

/* One request for each connection, so that the next needs a descriptor. The answer suits
 * both legs: it is a token, and not for long. */
static const char short_token[] =
    "{\"access_token\":\"canary-token-short\",\"token_type\":\"Bearer\",\"expires_in\":1}";

static void serve_once(struct peer_conn *c, void *arg)
{
    (void)arg;
    if (peer_read_request(c) != NULL)
        (void)peer_answer(c, 200, "Connection: close\r\n", short_token);
    peer_close(c);
}

static void serve_h2_once(struct peer_conn *c, void *arg)
{
    uint32_t stream;
    size_t body;

    (void)arg;
    if (!h2_begin(c))
        return;
    stream = h2_read_request(c, &body);
    /* The answer says that the connection can be used no more, as Connection: close does: what
     * comes behind it would come too late for the next request. */
    if (stream != 0 && h2_goaway(c, stream, H2_NO_ERROR))
        (void)h2_answer(c, stream, 200, short_token);
    peer_close(c);
}

static const char nonsense[] = "220 mail.example ESMTP\r\n\r\n";

static void serve_nonsense(struct peer_conn *c, void *arg)
{
    (void)arg;
    if (peer_read_head(c) != NULL)
        (void)peer_puts(c, nonsense);
    peer_close(c);
}

static void serve_h2_nonsense(struct peer_conn *c, void *arg)
{
    size_t body;

    (void)arg;
    if (h2_begin(c) && h2_read_request(c, &body) != 0)
        (void)peer_puts(c, nonsense);
    peer_read_eof(c);
}

static void serve_plain(struct peer_conn *c, void *arg)
{
    (void)arg;
    (void)peer_puts(c, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
}

static void serve_401(struct peer_conn *c, void *arg)
{
    (void)arg;
    while (peer_read_request(c) != NULL && peer_answer(c, 401, NULL, ""))
        ;
}

/* RFC 1928: method, then what it says to a request. */
static void serve_socks(struct peer_conn *c, void *arg)
{
    static const unsigned char method[] = { 5, 0 }, none[] = { 5, 0xff },
                               refused[] = { 5, 2, 0, 1, 0, 0, 0, 0, 0, 0 };
    const enum broken *how = arg;
    unsigned char some[300];

    if (peer_read(c, some, sizeof some) <= 0)
        return;
    if (*how == SOCKS_METHODS) {
        (void)peer_write(c, none, sizeof none);
        peer_read_eof(c);
        return;
    }
    if (!peer_write(c, method, sizeof method) || peer_read(c, some, sizeof some) <= 0 ||
        *how == SOCKS_CUT)
        return;
    (void)peer_write(c, refused, sizeof refused);
    peer_read_eof(c);
}

/* What is at the far end, and the settings that lead there. */
struct far_end {
    struct peer *peer, *proxy;
    struct connect_proxy *outbound;
    int listener, fillers[8];
    char url[96], settings[1024];
};

static void fill_listener(struct far_end *e)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof address;

    e->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(e->listener, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(e->listener, 0), 0);
    assert_int_equal(getsockname(e->listener, (struct sockaddr *)&address, &len), 0);
    for (size_t i = 0; i < 8; i++) {
        e->fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        (void)connect(e->fillers[i], (struct sockaddr *)&address, sizeof address);
    }
    (void)snprintf(e->url, sizeof e->url, "http://127.0.0.1:%d", ntohs(address.sin_port));
}

static void start_peer(struct far_end *e, peer_serve_fn serve, enum cert_kind cert,
                       bool says_tls, bool h2)
{
    e->peer = peer_start(
        &(struct peer_options){ .serve = serve, .cert = cert, .h2 = h2 && cert != CERT_NONE });
    if (says_tls)
        (void)snprintf(e->url, sizeof e->url, "https://localhost:%d", peer_port(e->peer));
    else
        (void)snprintf(e->url, sizeof e->url, "%s", peer_url(e->peer));
}

static void end_peer(struct far_end *e)
{
    if (e->outbound != NULL)
        connect_proxy_stop(e->outbound);
    if (e->peer != NULL)
        peer_stop(e->peer);
    if (e->proxy != NULL)
        peer_stop(e->proxy);
    for (size_t i = 0; e->listener > 0 && i < 8; i++)
        (void)close(e->fillers[i]);
    if (e->listener > 0)
        (void)close(e->listener);
}

/* One that a request reaches, by HTTP/2 in TLS. */
static void start_answering(struct far_end *e, const struct leg *leg, peer_serve_fn plain,
                            peer_serve_fn h2)
{
    start_peer(e, leg->h2 ? h2 : plain, leg->h2 ? CERT_VALID : CERT_NONE, leg->h2, leg->h2);
}

static void start_far_end(struct far_end *e, const struct fault *f, const struct leg *leg)
{
    bool token = leg->token;
    const char *key = token ? "token.proxy" : "upstream.proxy";
    char proxy[96] = "", certificate[300] = "";
    struct connect_proxy_options outbound = { .refuse_with = f->how == PROXY_403   ? 403
                                                             : f->how == PROXY_407 ? 407
                                                             : f->how == PROXY_503 ? 503
                                                                                   : 0 };

    /* What is to be late is so soon; what is not has time on a busy machine. */
    bool late = f->how == SILENT || f->how == PROXY_HANGS || f->how == HANDSHAKE_HANGS ||
                f->how == LATE;

    *e = (struct far_end){ .listener = 0 };
    switch (f->how) {
    case NAME_MISSING:
        (void)snprintf(e->url, sizeof e->url, "https://no-such-host.invalid");
        break;
    case REFUSED:
        (void)snprintf(e->url, sizeof e->url, "http://127.0.0.1:1");
        break;
    case SILENT:
        fill_listener(e);
        break;
    case PROXY_NAME:
        (void)snprintf(proxy, sizeof proxy, "http://no-such-proxy.invalid:3128");
        break;
    case PROXY_REFUSED:
        (void)snprintf(proxy, sizeof proxy, "http://127.0.0.1:1");
        break;
    case PROXY_403:
    case PROXY_407:
    case PROXY_503:
        e->outbound = connect_proxy_start(&outbound);
        (void)snprintf(proxy, sizeof proxy, "http://127.0.0.1:%d",
                       connect_proxy_port(e->outbound));
        break;
    case PROXY_HANGS:
    case PROXY_CUT:
        e->proxy = peer_start(
            &(struct peer_options){ .serve = f->how == PROXY_HANGS ? serve_hang : serve_cut });
        (void)snprintf(proxy, sizeof proxy, "%s", peer_url(e->proxy));
        break;
    case CERTIFICATE: /* it answers doctor, which asks it for the time */
        start_peer(e, leg->h2 ? serve_h2_401 : serve_401, f->cert, true, leg->h2);
        break;
    case NO_TLS:
        start_peer(e, serve_plain, CERT_NONE, true, false);
        break;
    case HANDSHAKE_CUT:
        start_peer(e, serve_cut, CERT_NONE, true, false);
        break;
    case HANDSHAKE_HANGS:
        start_peer(e, serve_hang, CERT_NONE, true, false);
        break;
    case NOT_HTTP:
        if (token && leg->h2) /* libcurl cannot tell it from a cut once HTTP/2 was agreed on */
            start_peer(e, serve_nonsense, CERT_VALID, true, false);
        else
            start_answering(e, leg, serve_nonsense, serve_h2_nonsense);
        break;
    case NO_ANSWER:
        start_answering(e, leg, serve_cut, serve_h2_cut);
        break;
    case LATE:
        start_answering(e, leg, serve_hang, serve_h2_hang);
        break;
    case PROXY_CERTIFICATE:
    case PROXY_NO_TLS:
        e->proxy = peer_start(&(struct peer_options){
            .serve = f->how == PROXY_NO_TLS ? serve_plain : serve_hang, .cert = f->cert });
        (void)snprintf(proxy, sizeof proxy, "https://localhost:%d", peer_port(e->proxy));
        break;
    case SOCKS_REFUSES:
    case SOCKS_CUT:
    case SOCKS_METHODS:
        e->proxy =
            peer_start(&(struct peer_options){ .serve = serve_socks, .arg = (void *)&f->how });
        (void)snprintf(proxy, sizeof proxy, "socks5h://127.0.0.1:%d", peer_port(e->proxy));
        break;
    case CLIENT_WANTED:
    case CLIENT_WRONG:
        start_peer(e, serve_hang, f->cert, true, leg->h2);
        break;
    case SECRET_WRONG:
        start_answering(e, leg, serve_401, serve_h2_401);
        break;
    case NO_DESCRIPTORS:
        peer_host = leg->h2 ? 0 : GATEWAY_HOST;
        start_answering(e, leg, serve_once, serve_h2_once);
        peer_host = 0;
        if (!leg->h2) { /* a name has to be looked up first */
            (void)snprintf(e->url, sizeof e->url, "http://gateway.test:%d", peer_port(e->peer));
            (void)snprintf(certificate, sizeof certificate, "upstream.allow_plaintext = yes\n");
        }
        break;
    }
    if (f->how == CLIENT_WRONG) {
        static struct cert_files strange;

        certs_write(&strange, CERT_OTHER_CA);
        (void)snprintf(certificate, sizeof certificate,
                       "upstream.client_certificate = %s\nupstream.client_key = %s\n",
                       strange.certificate, strange.key);
    }
    if (proxy[0] != '\0')
        (void)snprintf(e->url, sizeof e->url, "https://localhost:2");
    (void)snprintf(e->settings, sizeof e->settings,
                   "admin.address = 127.0.0.1:0\nupstream.ca_file = %s\n"
                   "upstream.connect_timeout = %s\nupstream.response_timeout = %s\n"
                   "token.timeout = %s\ntoken.retry_min = 60s\ntoken.retry_max = 60s\n"
                   "upstream.http_version = %s\n%s%s = %s\n%s = none\n%s = %s%s\n",
                   certs_ca_file(), late && f->how != LATE ? "500ms" : "20s",
                   f->how == LATE ? "500ms" : "20s", token && late ? "1s" : "20s",
                   leg->h2 && !token ? "2" : "1.1", certificate, key,
                   proxy[0] != '\0' ? proxy : "none", token ? "upstream.proxy" : "token.proxy",
                   token ? "token.url" : "upstream.base_url", e->url, token ? "/token" : "/v0");
}

/* Who asks the program: over connections that are open before it has no descriptor left. */
struct seen {
    struct world *w;
    const struct fault *fault;
    const struct leg *leg;
    struct client caller, admin;
    struct rlimit before; /* of descriptors */
};

static void see(struct seen *s, struct world *w, const struct fault *f, const struct leg *leg)
{
    struct answer a = { 0 };

    *s = (struct seen){ .w = w, .fault = f, .leg = leg };
    client_open(&s->caller, w->port);
    if (f->how != NO_DESCRIPTORS)
        return;
    client_open(&s->admin, proxy_admin_port(w->proxy));
    /* both are accepted, the one before the one that is answered, and a token is there; the
     * connection to the upstream stays open where the other leg is looked at */
    http_get(proxy_admin_port(w->proxy), "/healthz", &a);
    assert_int_equal(a.status, 200);
    client_call(&s->caller, "GET", "/x", NULL, NULL, &a);
    assert_int_equal(a.status, 200);
    answer_free(&a);
    assert_int_equal(prlimit(proxy_pid(w->proxy), RLIMIT_NOFILE, NULL, &s->before), 0);
    const struct rlimit none = { .rlim_cur = 0, .rlim_max = s->before.rlim_max };
    assert_int_equal(prlimit(proxy_pid(w->proxy), RLIMIT_NOFILE, &none, NULL), 0);
    /* what is there outlives the next attempt to renew it */
    if (leg->token)
        assert_true(proxy_log_wait(w->proxy, "event=token_fetch_failed", 1, SOON_MS));
}

static void see_no_more(struct seen *s)
{
    client_close(&s->caller);
    if (s->fault->how != NO_DESCRIPTORS)
        return;
    client_close(&s->admin);
    assert_int_equal(prlimit(proxy_pid(s->w->proxy), RLIMIT_NOFILE, &s->before, NULL), 0);
}

/* `what` tells it: says which part did not. */
static void tells(const char *text, const char *words, const struct seen *s, const char *what)
{
    if (strstr(text, words) == NULL)
        fail_msg("%s, %s leg, HTTP/%s: %s lacks \"%s\":\n%s", s->fault->name,
                 s->leg->token ? "token" : "upstream", s->leg->h2 ? "2" : "1.1", what, words,
                 text);
}

static void readyz_tells(struct seen *s, const char *words)
{
    struct answer a = { 0 };

    if (s->fault->how == NO_DESCRIPTORS)
        client_call(&s->admin, "GET", "/readyz", NULL, NULL, &a);
    else
        http_get(proxy_admin_port(s->w->proxy), "/readyz", &a);
    tells(bytes_text(&a.body), words, s, "/readyz");
    answer_free(&a);
}

/* The workers' news reach the page a moment later. */
static void page_tells(struct seen *s, const char *path, const char *words)
{
    int64_t deadline_ms = now_ms() + SOON_MS;
    struct answer a = { 0 };

    do
        http_get(proxy_admin_port(s->w->proxy), path, &a);
    while (strstr(bytes_text(&a.body), words) == NULL && now_ms() < deadline_ms);
    tells(bytes_text(&a.body), words, s, path);
    answer_free(&a);
}

static void ask_doctor(const struct seen *s, const struct far_end *e)
{
    char base[160], token_url[160], dir[] = "/tmp/oneshot-legs-XXXXXX", path[96];

    (void)snprintf(base, sizeof base, "%s/v0", peer_url(s->w->api));
    (void)snprintf(token_url, sizeof token_url, "%s/v0/token",
                   peer_url(tokens_peer(s->w->tokens)));
    struct bytes ini = world_ini(base, token_url, e->settings);
    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/d.ini", dir);
    write_file(path, bytes_text(&ini));
    const char *const argv[] = { "doctor", "--config", path, NULL };
    const char *const env[] = { "LD_PRELOAD=" NAMES, NULL };
    struct run r = run_proxy(argv, env);

    tells(bytes_text(&r.out), s->fault->doctor, s, "doctor");
    assert_int_equal(r.code, 1);
    run_free(&r);
    (void)unlink(path);
    (void)rmdir(dir);
    bytes_free(&ini);
}

/* Calls until the token that was there is over, and it fails. */
static void call(struct seen *s, struct answer *a)
{
    int64_t deadline_ms = now_ms() + SOON_MS;

    do
        client_call(&s->caller, "POST", "/x", NULL, "{}", a);
    while (s->fault->how == NO_DESCRIPTORS && a->status == 200 && now_ms() < deadline_ms);
}

static void answer_and_log_tell(struct seen *s, const char *words, char slug[64])
{
    const char *event = s->leg->token ? "event=token_fetch_failed" : "event=upstream_failed";
    const char *stage = s->fault->how == NO_DESCRIPTORS ? "proxy"
                        : s->leg->token                 ? "token"
                                                        : "upstream";
    struct proxy *p = s->w->proxy;
    struct answer a = { 0 };
    char said[512];

    call(s, &a);
    json_member(&a.body, "stage", said, sizeof said);
    tells(said, stage, s, "the stage");
    tells(answer_header(&a, "Proxy-Status"), s->fault->error[s->leg->token], s, "Proxy-Status");
    json_member(&a.body, "type", said, sizeof said);
    (void)snprintf(slug, 64, "%s", strrchr(said, ':') + 1);
    json_member(&a.body, "detail", said, sizeof said);
    tells(said, words, s, "the answer");
    assert_true(proxy_log_wait(p, event, 1, SOON_MS));
    assert_true(proxy_log_field(p, event, 0, "error", said, sizeof said));
    assert_string_equal(said, slug);
    assert_true(proxy_log_field(p, event, 0, "detail", said, sizeof said));
    tells(said, words, s, "the log");
    answer_free(&a);
}

static void all_places_tell_the_same(const struct fault *f, struct leg leg)
{
    WORLD(w);
    struct far_end e;
    struct seen s;
    char slug[64], sample[128];
    const char *const env[] = { "LD_PRELOAD=" NAMES, NULL };
    if (f->error[leg.token] == NULL)
        return;
    const char *words = leg.token && f->detail[1] != NULL ? f->detail[1] : f->detail[0];

    start_far_end(&e, f, &leg);
    struct world_options options = { .no_proxy = true };
    world_start(&w, &options);
    options.settings = e.settings;
    options.env = env;
    world_proxy(&w, &options);
    see(&s, &w, f, &leg);
    answer_and_log_tell(&s, words, slug);
    if (leg.token)
        readyz_tells(&s, words);
    see_no_more(&s);
    page_tells(&s, "/", words);
    (void)snprintf(sample, sizeof sample,
                   leg.token ? "token_fetches_total{result=\"%s\"} 1" : "stage=\"%s\"} 1",
                   leg.token                  ? slug
                   : f->how == NO_DESCRIPTORS ? "proxy"
                                              : "upstream");
    page_tells(&s, "/metrics", sample);
    if (f->how >= PROXY_403 &&
        f->how <= PROXY_503) /* asked once, since it would say the same */
        assert_int_equal(peer_count(connect_proxy_peer(e.outbound), ""), 1);
    if (f->doctor != NULL)
        ask_doctor(&s, &e);
    world_end(&w);
    end_peer(&e);
}

static void all_that_fails(struct leg leg)
{
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        all_places_tell_the_same(&faults[i], leg);
}

static void whatever_fails_on_the_way_to_the_upstream_all_places_tell_the_same(void **state)
{
    (void)state;
    all_that_fails((struct leg){ .token = false });
}

static void the_same_is_told_of_an_upstream_that_speaks_http2(void **state)
{
    (void)state;
    all_that_fails((struct leg){ .h2 = true });
}

static void
whatever_fails_on_the_way_to_the_token_endpoint_all_places_tell_the_same(void **state)
{
    (void)state;
    all_that_fails((struct leg){ .token = true });
}

static void the_same_is_told_of_a_token_endpoint_that_speaks_http2(void **state)
{
    (void)state;
    all_that_fails((struct leg){ .token = true, .h2 = true });
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(whatever_fails_on_the_way_to_the_upstream_all_places_tell_the_same),
        TEST(the_same_is_told_of_an_upstream_that_speaks_http2),
        TEST(whatever_fails_on_the_way_to_the_token_endpoint_all_places_tell_the_same),
        TEST(the_same_is_told_of_a_token_endpoint_that_speaks_http2),
    };
    return RUN_TESTS(tests);
}

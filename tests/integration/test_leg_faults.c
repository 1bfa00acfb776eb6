/* Each part of the way to the upstream and to the token endpoint is broken in turn. The answer, the
 * log, the status page, /readyz, the metrics and doctor must all tell of the same part, and name
 * what to change. */
#include <arpa/inet.h>
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
    SECRET_WRONG /* for the token endpoint */
};

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

static void serve_nonsense(struct peer_conn *c, void *arg)
{
    (void)arg;
    if (peer_read_head(c) != NULL)
        (void)peer_puts(c, "220 mail.example ESMTP\r\n\r\n");
    peer_close(c);
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
                       bool says_tls)
{
    e->peer = peer_start(&(struct peer_options){ .serve = serve, .cert = cert });
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

static void start_far_end(struct far_end *e, const struct fault *f, bool token)
{
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
        start_peer(e, serve_401, f->cert, true);
        break;
    case NO_TLS:
        start_peer(e, serve_plain, CERT_NONE, true);
        break;
    case HANDSHAKE_CUT:
        start_peer(e, serve_cut, CERT_NONE, true);
        break;
    case HANDSHAKE_HANGS:
        start_peer(e, serve_hang, CERT_NONE, true);
        break;
    case NOT_HTTP:
        start_peer(e, serve_nonsense, CERT_NONE, false);
        break;
    case NO_ANSWER:
        start_peer(e, serve_cut, CERT_NONE, false);
        break;
    case LATE:
        start_peer(e, serve_hang, CERT_NONE, false);
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
        start_peer(e, serve_hang, f->cert, true);
        break;
    case SECRET_WRONG:
        start_peer(e, serve_401, CERT_NONE, false);
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
                   "%s%s = %s\n%s = none\n%s = %s%s\n",
                   certs_ca_file(), late && f->how != LATE ? "500ms" : "20s",
                   f->how == LATE ? "500ms" : "20s", token && late ? "1s" : "20s", certificate,
                   key, proxy[0] != '\0' ? proxy : "none",
                   token ? "upstream.proxy" : "token.proxy",
                   token ? "token.url" : "upstream.base_url", e->url, token ? "/token" : "/v0");
}

/* The workers' news reach the page a moment later. */
static void read_until(const struct world *w, const char *path, const char *words,
                       struct answer *a)
{
    int64_t deadline_ms = now_ms() + SOON_MS;

    do
        http_get(proxy_admin_port(w->proxy), path, a);
    while (strstr(bytes_text(&a->body), words) == NULL && now_ms() < deadline_ms);
}

/* `what` tells it: says which part did not. */
static void tells(const char *text, const char *words, const struct fault *f, bool token,
                  const char *what)
{
    if (strstr(text, words) == NULL)
        fail_msg("%s, %s leg: %s lacks \"%s\":\n%s", f->name, token ? "token" : "upstream",
                 what, words, text);
}

static void ask_doctor(const struct fault *f, const struct world *w, const struct far_end *e,
                       bool token)
{
    char base[160], token_url[160], dir[] = "/tmp/oneshot-legs-XXXXXX", path[96];

    (void)snprintf(base, sizeof base, "%s/v0", peer_url(w->api));
    (void)snprintf(token_url, sizeof token_url, "%s/v0/token",
                   peer_url(tokens_peer(w->tokens)));
    struct bytes ini = world_ini(base, token_url, e->settings);
    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/d.ini", dir);
    write_file(path, bytes_text(&ini));
    const char *const argv[] = { "doctor", "--config", path, NULL };
    const char *const env[] = { "LD_PRELOAD=" NAMES, NULL };
    struct run r = run_proxy(argv, env);

    tells(bytes_text(&r.out), f->doctor, f, token, "doctor");
    assert_int_equal(r.code, 1);
    run_free(&r);
    (void)unlink(path);
    (void)rmdir(dir);
    bytes_free(&ini);
}

static void all_places_tell_the_same(const struct fault *f, bool token)
{
    WORLD(w);
    struct far_end e;
    struct answer a = { 0 };
    if (f->error[token] == NULL)
        return;
    const char *words = token && f->detail[1] != NULL ? f->detail[1] : f->detail[0];
    const char *event = token ? "event=token_fetch_failed" : "event=upstream_failed";
    char said[512], slug[64];

    start_far_end(&e, f, token);
    struct world_options options = { .no_proxy = true };
    world_start(&w, &options);
    options.settings = e.settings;
    world_proxy(&w, &options);
    http_call(w.port, "POST", "/x", NULL, "{}", &a);
    json_member(&a.body, "stage", said, sizeof said);
    assert_string_equal(said, token ? "token" : "upstream");
    tells(answer_header(&a, "Proxy-Status"), f->error[token], f, token, "Proxy-Status");
    json_member(&a.body, "type", said, sizeof said);
    (void)snprintf(slug, sizeof slug, "%s", strrchr(said, ':') + 1);
    json_member(&a.body, "detail", said, sizeof said);
    tells(said, words, f, token, "the answer");
    assert_true(proxy_log_wait(w.proxy, event, 1, SOON_MS));
    assert_true(proxy_log_field(w.proxy, event, 0, "error", said, sizeof said));
    assert_string_equal(said, slug);
    assert_true(proxy_log_field(w.proxy, event, 0, "detail", said, sizeof said));
    tells(said, words, f, token, "the log");
    read_until(&w, "/", words, &a);
    tells(bytes_text(&a.body), words, f, token, "the page");
    read_until(&w, "/metrics", token ? slug : "stage=\"upstream\"} 1", &a);
    tells(bytes_text(&a.body), token ? slug : "stage=\"upstream\"} 1", f, token, "/metrics");
    if (token) {
        http_get(proxy_admin_port(w.proxy), "/readyz", &a);
        tells(bytes_text(&a.body), words, f, token, "/readyz");
    }
    if (f->how >= PROXY_403 &&
        f->how <= PROXY_503) /* asked once, since it would say the same */
        assert_int_equal(peer_count(connect_proxy_peer(e.outbound), ""), 1);
    if (f->doctor != NULL)
        ask_doctor(f, &w, &e, token);
    answer_free(&a);
    world_end(&w);
    end_peer(&e);
}

static void whatever_fails_on_the_way_to_the_upstream_all_places_tell_the_same(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        all_places_tell_the_same(&faults[i], false);
}

static void
whatever_fails_on_the_way_to_the_token_endpoint_all_places_tell_the_same(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        all_places_tell_the_same(&faults[i], true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(whatever_fails_on_the_way_to_the_upstream_all_places_tell_the_same),
        TEST(whatever_fails_on_the_way_to_the_token_endpoint_all_places_tell_the_same),
    };
    return RUN_TESTS(tests);
}

/* HTTP requests by libcurl with the gateway's settings. Facts about a certificate that
 * libcurl does not report are collected in OpenSSL's verification. */
#include "cli/doctor_http.h"

#include <curl/curl.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "event/loop.h"
#include "net/curl_host.h"

struct run {
    struct loop loop;
    struct curl_host multi;
    struct curl_host_transfer transfer;
    struct loop_timer deadline;
    struct doctor_call *call;
    bool done;
    CURLcode code;
};

/* --- the certificate --------------------------------------------------------------------- */

/* The call whose handshake runs: there is one at a time, in one thread. */
static struct doctor_call *looking;

static int64_t seconds_of(const ASN1_TIME *t)
{
    struct tm tm;

    return ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

/* One line, most specific part first: "CN=..., O=..." */
static void name_of(const X509_NAME *name, char *out, size_t size)
{
    BIO *memory = BIO_new(BIO_s_mem());
    int n = 0;

    if (memory != NULL && X509_NAME_print_ex(memory, name, 0, XN_FLAG_RFC2253) >= 0)
        n = BIO_read(memory, out, (int)size - 1);
    out[n > 0 ? n : 0] = '\0';
    BIO_free(memory);
}

static void names_of(X509 *cert, char *out, size_t size)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    size_t used = 0;

    out[0] = '\0';
    for (int i = 0; names != NULL && i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);

        if (name->type != GEN_DNS || used + 1 >= size)
            continue;
        int n = snprintf(out + used, size - used, "%s%.*s", used > 0 ? ", " : "",
                         ASN1_STRING_length(name->d.dNSName),
                         (const char *)ASN1_STRING_get0_data(name->d.dNSName));
        used += n > 0 ? (size_t)n : 0;
    }
    GENERAL_NAMES_free(names);
}

static void note_result(struct doctor_call *c, int result)
{
    c->certificate.result = result;
    c->certificate.expired = result == X509_V_ERR_CERT_HAS_EXPIRED;
    c->certificate.not_yet = result == X509_V_ERR_CERT_NOT_YET_VALID;
    c->certificate.self_signed = result == X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT;
    c->certificate.unknown_issuer = c->certificate.self_signed ||
                                    result == X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN ||
                                    result == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT ||
                                    result == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY ||
                                    result == X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE;
}

/* Called for each certificate of the chain; does not change the result `good`. */
static int on_verify(int good, X509_STORE_CTX *store)
{
    struct doctor_call *c = looking;
    X509 *leaf = X509_STORE_CTX_get0_cert(store);
    const SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());

    if (good == 0 && c->certificate.result == X509_V_OK)
        note_result(c, X509_STORE_CTX_get_error(store));
    if (c->certificate.seen || leaf == NULL)
        return good;
    c->certificate.seen = true;
    name_of(X509_get_subject_name(leaf), c->certificate.subject, sizeof c->certificate.subject);
    name_of(X509_get_issuer_name(leaf), c->certificate.issuer, sizeof c->certificate.issuer);
    names_of(leaf, c->certificate.names, sizeof c->certificate.names);
    c->certificate.not_before_s = seconds_of(X509_get0_notBefore(leaf));
    c->certificate.not_after_s = seconds_of(X509_get0_notAfter(leaf));
    if (ssl != NULL)
        (void)snprintf(c->certificate.tls, sizeof c->certificate.tls, "%s",
                       SSL_get_version(ssl));
    return good;
}

/* Called when the server asks for a client certificate and none is set. */
static int on_asked(SSL *ssl, X509 **cert, EVP_PKEY **key)
{
    (void)ssl;
    (void)cert;
    (void)key;
    looking->certificate.asked_for_ours = true;
    return 0;
}

static CURLcode on_ssl_context(CURL *easy, void *context, void *arg)
{
    (void)easy;
    looking = arg;
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, on_verify);
    SSL_CTX_set_client_cert_cb(context, on_asked);
    return CURLE_OK;
}

/* --- one call ---------------------------------------------------------------------------- */

static size_t on_body(char *bytes, size_t size, size_t n, void *arg)
{
    (void)bytes;
    (void)arg;
    return size * n;
}

static size_t on_head(char *line, size_t size, size_t n, void *arg)
{
    struct doctor_call *c = arg;
    char text[128];

    n *= size;
    (void)snprintf(text, sizeof text, "%.*s", (int)base_min((int64_t)n, 127), line);
    if (strncasecmp(text, "date:", 5) == 0)
        c->date_s = base_max(0, (int64_t)curl_getdate(text + 5, NULL));
    if (strncasecmp(text, "content-type:", 13) == 0)
        c->is_html = strncasecmp(text + 13 + strspn(text + 13, " \t"), "text/html", 9) == 0;
    return n;
}

/* Whether libcurl would use a proxy shows in the name that it resolves first. An address
 * needs no resolving; for a proxy with an address, newer versions of libcurl report that it
 * would be used. In either case nothing is sent. */
static curl_socket_t connect_nowhere(void *arg, curlsocktype purpose,
                                     struct curl_sockaddr *address)
{
    (void)arg;
    (void)purpose;
    (void)address;
    return CURL_SOCKET_BAD;
}

static bool used_proxy(CURL *e)
{
    long used = 0;

#if LIBCURL_VERSION_NUM >= 0x080700
    (void)curl_easy_getinfo(e, CURLINFO_USED_PROXY, &used);
#else
    (void)e;
#endif
    return used != 0;
}

static int stop_here(void *resolver, void *reserved, void *arg)
{
    (void)resolver;
    (void)reserved;
    (void)arg;
    return 1;
}

static void on_done(struct curl_host_transfer *t, CURLcode code)
{
    struct run *r = CONTAINER_OF(t, struct run, transfer);

    r->done = true;
    r->code = code;
    loop_stop(&r->loop);
}

static void on_deadline(struct loop_timer *t)
{
    loop_stop(&CONTAINER_OF(t, struct run, deadline)->loop);
}

static bool setup(struct run *r, struct curl_slist **headers)
{
    struct doctor_call *c = r->call;
    CURL *e = r->transfer.easy;
    const struct curl_host_settings settings = config_outbound(c->config, c->leg);

    if (curl_host_setup(&r->multi, e, &settings) != 0)
        return false;
    if (c->token != NULL) {
        *headers = curl_slist_append(NULL, secret_text(c->token->header));
        if (*headers == NULL)
            return false;
    }
    (void)curl_easy_setopt(e, CURLOPT_URL, c->url);
    (void)curl_easy_setopt(e, CURLOPT_HTTPHEADER, *headers);
    (void)curl_easy_setopt(e, CURLOPT_USERAGENT, "oneshot-proxy");
    (void)curl_easy_setopt(e, CURLOPT_ERRORBUFFER, c->why);
    (void)curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_head);
    (void)curl_easy_setopt(e, CURLOPT_HEADERDATA, c);
    (void)curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    (void)curl_easy_setopt(e, CURLOPT_CONNECT_ONLY,
                           c->what == DOCTOR_CONNECT || c->what == DOCTOR_HANDSHAKE ? 1L : 0L);
    (void)curl_easy_setopt(e, CURLOPT_NOBODY, c->what == DOCTOR_LOOK ? 1L : 0L);
    if (c->what == DOCTOR_ROUTE) {
        (void)curl_easy_setopt(e, CURLOPT_RESOLVER_START_FUNCTION, stop_here);
        (void)curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, connect_nowhere);
    }
    if (c->what == DOCTOR_LOOK ||
        c->what ==
            DOCTOR_HANDSHAKE) { /* nothing secret is sent, and nothing received is trusted */
        (void)curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, 0L);
        (void)curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 0L);
    } else {
        (void)curl_easy_setopt(e, CURLOPT_SSL_CTX_FUNCTION, on_ssl_context);
        (void)curl_easy_setopt(e, CURLOPT_SSL_CTX_DATA, c);
    }
    return true;
}

static enum doctor_end end_of(const struct run *r)
{
    if (!r->done)
        return DOCTOR_LATE;
    switch (r->code) {
    case CURLE_OK:
        return DOCTOR_DONE;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return DOCTOR_NO_NAME;
    case CURLE_COULDNT_CONNECT:
        return DOCTOR_REFUSED;
    case CURLE_OPERATION_TIMEDOUT:
        return DOCTOR_LATE;
    case CURLE_PEER_FAILED_VERIFICATION:
        return DOCTOR_UNTRUSTED;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CERTPROBLEM:
        return DOCTOR_NO_TLS;
    case CURLE_PROXY:
        return DOCTOR_PROXY;
    default:
        /* some versions report the proxy's answer to CONNECT as an error of receiving */
        return r->call->connect_status >= 300 ? DOCTOR_PROXY : DOCTOR_BROKEN;
    }
}

/* libcurl's messages about an outbound proxy repeat its URL, which may have a password in
 * it; those for other faults have no URL in them. */
static bool may_hold_credentials(const char *message)
{
    return strstr(message, "://") != NULL || strchr(message, '@') != NULL ||
           strncmp(message, "Unsupported proxy", strlen("Unsupported proxy")) == 0;
}

static void run_call(struct run *r)
{
    struct doctor_call *c = r->call;
    struct curl_slist *headers = NULL;
    long status = 0, connect_status = 0;
    int64_t begin_ms = clock_ms();

    r->transfer = (struct curl_host_transfer){
        .easy = curl_easy_init(),
        .connect_timeout_ms = c->config->upstream.connect_timeout_ms,
        .on_done = on_done,
    };
    if (r->transfer.easy == NULL || !setup(r, &headers)) {
        (void)snprintf(c->why, sizeof c->why, "libcurl does not take these settings");
        c->end = DOCTOR_BROKEN;
    } else {
        loop_timer_set(&r->loop, &r->deadline, c->deadline_ms);
        if (curl_host_add(&r->multi, &r->transfer) != 0)
            abort();
        loop_run(&r->loop);
        (void)curl_easy_getinfo(r->transfer.easy, CURLINFO_RESPONSE_CODE, &status);
        (void)curl_easy_getinfo(r->transfer.easy, CURLINFO_HTTP_CONNECTCODE, &connect_status);
        c->status = (int)status;
        c->connect_status = (int)connect_status;
        c->end = end_of(r);
        c->proxied =
            r->done && (r->code == CURLE_COULDNT_RESOLVE_PROXY || used_proxy(r->transfer.easy));
        loop_timer_clear(&r->loop, &r->deadline);
        curl_host_remove(&r->multi, &r->transfer);
    }
    curl_easy_cleanup(r->transfer.easy);
    curl_slist_free_all(headers);
    c->took_ms = clock_ms() - begin_ms;
    if (may_hold_credentials(c->why))
        c->why[0] = '\0';
    if (c->why[0] == '\0' && r->done)
        (void)snprintf(c->why, sizeof c->why, "%s", curl_easy_strerror(r->code));
}

void doctor_call(struct doctor_call *c)
{
    struct run r = { .call = c, .deadline.on_due = on_deadline, .loop.epoll_fd = -1 };

    if (loop_init(&r.loop) != 0 || curl_host_init(&r.multi, &r.loop, 1) != 0)
        abort(); /* a program that has just started has descriptors and memory */
    run_call(&r);
    curl_host_done(&r.multi);
    loop_done(&r.loop);
}

/* --- the token --------------------------------------------------------------------------- */

struct fetch {
    struct loop loop;
    struct token_client client;
    struct loop_timer deadline;
    struct token_client_result *result;
};

static void on_fetched(struct token_client *client, const struct token_client_result *r)
{
    struct fetch *f = CONTAINER_OF(client, struct fetch, client);

    *f->result = *r;
    loop_stop(&f->loop);
}

static void on_fetch_late(struct loop_timer *t)
{
    struct fetch *f = CONTAINER_OF(t, struct fetch, deadline);

    token_client_cancel(&f->client);
    f->result->failure =
        failure_make(FAIL_TOKEN_TIMEOUT, "The token endpoint did not answer in time.");
    loop_stop(&f->loop);
}

void doctor_fetch(const struct config *config, int64_t deadline_ms,
                  struct token_client_result *result)
{
    struct fetch f = { .result = result,
                       .deadline.on_due = on_fetch_late,
                       .loop.epoll_fd = -1 };

    *result = (struct token_client_result){ .token = NULL };
    if (loop_init(&f.loop) != 0 || token_client_init(&f.client, &f.loop) != 0)
        abort();
    f.client.on_done = on_fetched;
    (void)token_client_configure(&f.client, NULL, config);
    loop_timer_set(&f.loop, &f.deadline, deadline_ms);
    token_client_fetch(&f.client, config, 1);
    loop_run(&f.loop);
    loop_timer_clear(&f.loop, &f.deadline);
    token_client_done(&f.client);
    loop_done(&f.loop);
}

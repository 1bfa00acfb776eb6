/* One request to the token endpoint, and what its answer means.
 *
 * The secret goes into the form or the Authorization field in locked memory and is wiped when
 * the fetch is over; libcurl and OpenSSL hold copies of their own while it runs. */
#include "token/token_client.h"

#include <errno.h>
#include <openssl/evp.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/log.h"
#include "config/outbound.h"
#include "http/header.h"
#include "http/response_check.h"
#include "token/token_error.h"

#define BODY_BYTES_MAX 65536
#define FORM_BYTES_MAX 65536

static size_t on_write(char *bytes, size_t size, size_t n, void *arg)
{
    struct token_client *s = arg;

    if (buf_add(&s->body, bytes, size * n) != 0) {
        s->too_large = true;
        return 0;
    }
    return size * n;
}

static size_t on_header(char *line, size_t size, size_t n, void *arg)
{
    struct token_client *s = arg;
    struct header_field f;

    n *= size;
    if (memchr(line, ':', n) == NULL)
        return n;
    f = response_check_split(line, n);
    if (header_is(&f, "content-type"))
        s->is_html = f.value_len >= 9 && strncasecmp(f.value, "text/html", 9) == 0;
    if (header_is(&f, "retry-after")) {
        int64_t seconds = header_retry_after(f.value, f.value_len, clock_wall_s());

        if (seconds >= 0)
            s->retry_after_ms = seconds * 1000;
    }
    return n;
}

/* name=value into the form, percent-encoded (RFC 6749 appendix B). */
static int form_add(struct buf *form, const char *name, const char *value, size_t len)
{
    int err = buf_unread(form) > 0 ? buf_add(form, "&", 1) : 0;

    if (err == 0)
        err = buf_addf(form, "%s=", name);
    for (size_t i = 0; err == 0 && i < len; i++) {
        unsigned char ch = (unsigned char)value[i];
        bool plain = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') ||
                     (ch >= '0' && ch <= '9') || ch == '-' || ch == '.' || ch == '_' ||
                     ch == '~';

        err = plain ? buf_add(form, &value[i], 1) : buf_addf(form, "%%%02X", ch);
    }
    return err;
}

static int form_add_text(struct buf *form, const char *name, const char *value)
{
    return value == NULL ? 0 : form_add(form, name, value, strlen(value));
}

/* "Authorization: Basic ..." of the form-encoded id and secret (RFC 6749 section 2.3.1). */
static struct secret *basic(const char *id, const struct secret *secret)
{
    struct buf plain, text;
    struct secret *line = NULL;

    buf_init(&plain, FORM_BYTES_MAX);
    buf_init(&text, FORM_BYTES_MAX * 2);
    int err = form_add(&plain, "", id, strlen(id));
    /* form_add wrote "=" for the empty name, and writes "&=" before the next: both become what
     * Basic wants. */
    size_t colon = buf_unread(&plain);
    if (err == 0)
        err = form_add(&plain, "", secret_text(secret), secret_len(secret));
    if (err == 0) {
        char *p = plain.data;

        memmove(p + colon, p + colon + 1, plain.len - colon - 1);
        plain.len--;
        p[colon] = ':';
        buf_consume(&plain, 1);
    }
    size_t n = buf_unread(&plain);
    char *base64 = err == 0 ? buf_reserve(&text, (n + 2) / 3 * 4 + 1) : NULL;

    if (base64 != NULL) {
        int written = EVP_EncodeBlock((unsigned char *)base64,
                                      (const unsigned char *)buf_front(&plain), (int)n);

        buf_commit(&text, (size_t)written);
        line = secret_prefixed("Authorization: Basic ", buf_front(&text), buf_unread(&text));
    }
    buf_wipe(&plain);
    buf_wipe(&text);
    return line;
}

static int build_request(struct token_client *s, const struct config *c)
{
    bool in_body = c->token.auth_style == AUTH_STYLE_BODY;
    struct buf form;

    buf_init(&form, FORM_BYTES_MAX);
    int err = form_add_text(&form, "grant_type", "client_credentials");
    if (err == 0 && in_body)
        err = form_add_text(&form, "client_id", s->credentials.id);
    if (err == 0 && in_body)
        err = form_add(&form, "client_secret", secret_text(s->credentials.secret),
                       secret_len(s->credentials.secret));
    if (err == 0)
        err = form_add_text(&form, "scope", c->token.scope);
    if (err == 0)
        err = form_add_text(&form, "audience", c->token.audience);
    if (err == 0)
        err = form_add_text(&form, "resource", c->token.resource);
    if (err == 0 && c->token.extra != NULL) /* which is form-encoded already */
        err = buf_addf(&form, "&%s", c->token.extra);
    if (err == 0) {
        s->form = secret_new(buf_front(&form), buf_unread(&form));
        if (s->form == NULL)
            err = -ENOMEM;
    }
    if (err == 0 && !in_body) {
        s->authorization = basic(s->credentials.id, s->credentials.secret);
        if (s->authorization == NULL)
            err = -ENOMEM;
    }
    buf_wipe(&form);
    return err;
}

static void clear(struct token_client *s)
{
    if (s->transfer.easy != NULL) {
        curl_host_remove(&s->multi, &s->transfer);
        curl_easy_cleanup(s->transfer.easy);
        s->transfer.easy = NULL;
    }
    curl_slist_free_all(s->headers);
    s->headers = NULL;
    secret_free(s->form);
    secret_free(s->authorization);
    s->form = s->authorization = NULL;
    buf_wipe(&s->body);
    loop_timer_clear(s->loop, &s->deadline);
}

/* The texts name a setting by the key that usually holds it: put in the one that does. */
static struct failure name_keys(const struct token_client *s, const struct failure *failure)
{
    const char *const keys[][2] = { { "token.url", s->url_key },
                                    { "token.ca_file", s->ca_key },
                                    { "token.client_id", s->id_key },
                                    { "token.client_secret", s->secret_key } };
    struct failure named = *failure;

    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        const char *at = strstr(named.detail, keys[i][0]);
        size_t len = strlen(keys[i][0]);

        if (at == NULL || keys[i][1] == NULL)
            continue;
        struct failure next = failure_make(named.kind, "%.*s%s%s", (int)(at - named.detail),
                                           named.detail, keys[i][1], at + len);
        memcpy(named.detail, next.detail, sizeof named.detail);
    }
    return named;
}

static void finish(struct token_client *s, struct token_client_result *result)
{
    if (result->token == NULL)
        result->failure = name_keys(s, &result->failure);
    result->retry_after_ms = s->retry_after_ms;
    clear(s);
    s->on_done(s, result);
}

/* What the transport says, for a person. */
static struct failure transport_failure(CURLcode code)
{
    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return failure_make(
            FAIL_TOKEN_DNS,
            "The host in token.url does not resolve; check its spelling and DNS.");
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
        return failure_make(
            FAIL_TOKEN_TLS,
            "The certificate of the token endpoint does not verify; check token.ca_file, "
            "the clock, and proxies in between (%s).",
            curl_easy_strerror(code));
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CERTPROBLEM: {
        struct failure f = failure_make(
            FAIL_TOKEN_TLS, "The TLS handshake with the token endpoint failed (%s).",
            curl_easy_strerror(code));
        f.error = "tls_protocol_error";
        return f;
    }
    case CURLE_COULDNT_CONNECT:
        return failure_make(
            FAIL_TOKEN_CONNECT,
            "The token endpoint refused the connection or cannot be reached; check token.url.");
    case CURLE_OPERATION_TIMEDOUT:
        return failure_make(FAIL_TOKEN_TIMEOUT,
                            "The token endpoint did not answer within token.timeout.");
    default: {
        struct failure f = failure_make(FAIL_TOKEN_INVALID,
                                        "The exchange with the token endpoint failed (%s).",
                                        curl_easy_strerror(code));
        return f;
    }
    }
}

/* What a status other than 200 means. */
static struct failure status_failure(const struct token_client *s, int status, bool *refused)
{
    const char *reason = token_error_reason(buf_front(&s->body), buf_unread(&s->body));
    struct failure f;

    *refused = status >= 400 && status < 500 && status != 408 && status != 429;
    if (*refused && reason != NULL)
        f = failure_make(status == 401   ? FAIL_TOKEN_REFUSED
                         : status == 403 ? FAIL_TOKEN_FORBIDDEN
                                         : FAIL_TOKEN_CONFIG,
                         "The token endpoint answered %d. %s", status, reason);
    else if (status == 401)
        f = failure_make(
            FAIL_TOKEN_REFUSED,
            "The token endpoint answered 401: check token.client_id and token.client_secret.");
    else if (status == 403)
        f = failure_make(FAIL_TOKEN_FORBIDDEN,
                         "The token endpoint answered 403: the credentials are known but may "
                         "not be used for this.");
    else if (*refused)
        f = failure_make(FAIL_TOKEN_CONFIG,
                         "The token endpoint answered %d: check token.url, token.auth_style "
                         "and token.scope.",
                         status);
    else if (status == 429 || status == 408 || status >= 500)
        f = failure_make(FAIL_TOKEN_UNAVAILABLE,
                         "The token endpoint answered %d; the proxy keeps trying.", status);
    else
        f = failure_make(FAIL_TOKEN_INVALID,
                         "The token endpoint answered %d where 200 was expected; redirects are "
                         "not followed.",
                         status);
    f.received_status = status;
    if (*refused && s->refused_mode == REFUSED_502)
        f.status = 502;
    return f;
}

static void on_done(struct curl_host_transfer *t, CURLcode code)
{
    struct token_client *s = CONTAINER_OF(t, struct token_client, transfer);
    struct token_client_result result = { .token = NULL };
    long status = 0;

    (void)curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    if (s->too_large) {
        result.failure = failure_make(FAIL_TOKEN_INVALID,
                                      "The token endpoint's answer is larger than 64 KiB.");
        result.failure.received_status = (int)status;
    } else if (code != CURLE_OK) {
        result.failure = transport_failure(code);
    } else if (status != 200) {
        result.failure = status_failure(s, (int)status, &result.refused);
    } else {
        const char *why = "";

        result.token =
            token_parse(buf_front(&s->body), buf_unread(&s->body),
                        &(struct token_rules){ .default_lifetime_ms = s->default_lifetime_ms,
                                               .now_ms = s->started_ms,
                                               .generation = s->generation },
                        &why);
        if (result.token == NULL) {
            result.failure = failure_make(
                FAIL_TOKEN_INVALID,
                "The token endpoint answered 200 without a usable token: %s.",
                s->is_html ? "it is a web page; check token.url, and whether a login page or a "
                             "proxy is in the way"
                           : why);
            result.failure.received_status = 200;
        }
    }
    finish(s, &result);
}

static void on_deadline(struct loop_timer *timer)
{
    struct token_client *s = CONTAINER_OF(timer, struct token_client, deadline);
    struct token_client_result result = { .failure =
                                              transport_failure(CURLE_OPERATION_TIMEDOUT) };

    if (s->transfer.easy == NULL)
        result.failure =
            failure_make(FAIL_TOKEN_CONFIG, "The credentials do not fit a token request.");
    finish(s, &result);
}

int token_client_init(struct token_client *s, struct loop *l)
{
    *s = (struct token_client){ .loop = l, .deadline.on_due = on_deadline };
    buf_init(&s->body, BODY_BYTES_MAX);
    return curl_host_init(&s->multi, l, 1);
}

void token_client_done(struct token_client *s)
{
    if (s->loop == NULL)
        return;
    clear(s);
    curl_host_done(&s->multi);
    credentials_done(&s->credentials);
    *s = (struct token_client){ .loop = NULL };
}

void token_client_cancel(struct token_client *s)
{
    clear(s);
}

bool token_client_credentials_changed(struct token_client *s, const struct config *c)
{
    return credentials_reread(&s->credentials, c);
}

bool token_client_configure(struct token_client *s, const struct config *was,
                            const struct config *now)
{
    bool other = credentials_load(&s->credentials, now);

    return other || was == NULL || was->token.auth_style != now->token.auth_style ||
           !base_same_text(was->token.url, now->token.url) ||
           !base_same_text(was->token.scope, now->token.scope) ||
           !base_same_text(was->token.audience, now->token.audience) ||
           !base_same_text(was->token.resource, now->token.resource) ||
           !base_same_text(was->token.extra, now->token.extra);
}

static bool setup(struct token_client *s, const struct config *c)
{
    CURL *e = s->transfer.easy;
    const struct curl_host_settings settings = config_outbound(c, LEG_TOKEN);

    if (e == NULL || curl_host_setup(&s->multi, e, &settings) != 0)
        return false;
    s->headers = curl_slist_append(NULL, "Accept: application/json");
    if (s->headers != NULL && s->authorization != NULL) {
        struct curl_slist *more = curl_slist_append(s->headers, secret_text(s->authorization));

        if (more == NULL)
            return false;
        s->headers = more;
    }
    (void)curl_easy_setopt(e, CURLOPT_URL, c->token.url);
    (void)curl_easy_setopt(e, CURLOPT_POSTFIELDS, secret_text(s->form)); /* not copied */
    (void)curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE, (long)secret_len(s->form));
    (void)curl_easy_setopt(e, CURLOPT_HTTPHEADER, s->headers);
    (void)curl_easy_setopt(e, CURLOPT_USERAGENT, "oneshot-proxy");
    (void)curl_easy_setopt(e, CURLOPT_FORBID_REUSE, 1L);
    (void)curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_write);
    (void)curl_easy_setopt(e, CURLOPT_WRITEDATA, s);
    (void)curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    (void)curl_easy_setopt(e, CURLOPT_HEADERDATA, s);
    return s->headers != NULL;
}

void token_client_fetch(struct token_client *s, const struct config *c, uint64_t generation)
{
    assert(s->transfer.easy == NULL);
    s->generation = generation;
    s->started_ms = clock_ms();
    s->retry_after_ms = -1;
    s->too_large = s->is_html = false;
    s->default_lifetime_ms = c->token.default_lifetime_ms;
    s->refused_mode = c->token.refused_status;
    s->url_key = c->token.url_key;
    s->ca_key = c->token.ca_key;
    s->id_key = c->token.client_id_key;
    s->secret_key = c->token.client_secret_key;
    s->transfer.on_done = on_done;
    (void)credentials_reread(&s->credentials, c);
    bool ok = build_request(s, c) == 0;

    if (ok) {
        s->transfer.easy = curl_easy_init();
        ok = setup(s, c) && curl_host_add(&s->multi, &s->transfer) == 0;
    }
    if (!ok) { /* on_done must not come from within: the deadline brings it in the next turn */
        clear(s);
        loop_timer_set(s->loop, &s->deadline, s->started_ms);
        return;
    }
    loop_timer_set(s->loop, &s->deadline, s->started_ms + c->token.timeout_ms);
}

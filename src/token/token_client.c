/* Fetches a token: sends one request to the token endpoint and interprets the answer.
 *
 * The form or the Authorization field with the secret is in locked memory and is wiped when the
 * fetch is over; libcurl and OpenSSL have their own copies while it runs. */
#include "token/token_client.h"

#include <errno.h>
#include <openssl/evp.h>
#include <string.h>
#include <strings.h>

#include "base/ascii.h"
#include "base/clock.h"
#include "base/log.h"
#include "config/outbound.h"
#include "http/header.h"
#include "http/response_check.h"
#include "token/token_error.h"

#define BODY_BYTES_MAX 65536
#define HEAD_BYTES_MAX 65536
#define FORM_BYTES_MAX 65536
#define RETRY_AFTER_MAX_S (24 * 60 * 60)

static size_t on_write(char *bytes, size_t size, size_t n, void *arg)
{
    struct token_client *client = arg;

    if (buf_add(&client->body, bytes, size * n) != 0) {
        client->too_large = true;
        return 0;
    }
    return size * n;
}

static size_t on_header(char *line, size_t size, size_t n, void *arg)
{
    struct token_client *client = arg;
    struct header_field f;

    n *= size;
    client->head_bytes += n;
    if (client->head_bytes > HEAD_BYTES_MAX)
        return 0;
    if (memchr(line, ':', n) == NULL)
        return n;
    f = response_check_split(line, n);
    if (header_is(&f, "content-type"))
        client->is_html = f.value_len >= 9 && strncasecmp(f.value, "text/html", 9) == 0;
    return n;
}

/* Appends the value, percent-encoded (RFC 6749 appendix B). Returns 0 or -errno. */
static int form_encode(struct buf *form, const char *value, size_t len)
{
    int err = 0;

    for (size_t i = 0; err == 0 && i < len; i++) {
        char ch = value[i];
        bool plain = ascii_is_alpha(ch) || ascii_is_digit(ch) || memchr("-._~", ch, 4) != NULL;

        err = plain ? buf_add(form, &ch, 1) : buf_addf(form, "%%%02X", (unsigned char)ch);
    }
    return err;
}

static int form_add(struct buf *form, const char *name, const char *value, size_t len)
{
    int err = buf_addf(form, "%s%s=", buf_unread(form) > 0 ? "&" : "", name);

    return err == 0 ? form_encode(form, value, len) : err;
}

static int form_add_text(struct buf *form, const char *name, const char *value)
{
    return value == NULL ? 0 : form_add(form, name, value, strlen(value));
}

/* "Authorization: Basic ..." with the form-encoded id and secret (RFC 6749 section 2.3.1).
 * NULL: they are too long for it. */
static struct secret *basic(const char *id, const struct secret *secret)
{
    struct buf plain, text;
    struct secret *line = NULL;

    buf_init(&plain, FORM_BYTES_MAX);
    buf_init(&text, FORM_BYTES_MAX * 2);
    int err = form_encode(&plain, id, strlen(id));
    if (err == 0)
        err = buf_add(&plain, ":", 1);
    if (err == 0)
        err = form_encode(&plain, secret_text(secret), secret_len(secret));
    size_t n = buf_unread(&plain), encoded = (n + 2) / 3 * 4;
    char *out = err == 0 ? buf_reserve(&text, encoded + 1) : NULL; /* with its NUL */

    if (out != NULL && EVP_EncodeBlock((unsigned char *)out,
                                       (const unsigned char *)buf_front(&plain), (int)n) > 0)
        line = secret_prefixed("Authorization: Basic ", out, encoded);
    if (out != NULL)
        buf_commit(&text, encoded + 1); /* so that it is wiped */
    buf_wipe(&plain);
    buf_wipe(&text);
    return line;
}

static int build_request(struct token_client *client, const struct config *c)
{
    bool in_body = c->token.auth_style == AUTH_STYLE_BODY;
    struct buf form;

    buf_init(&form, FORM_BYTES_MAX);
    int err = form_add_text(&form, "grant_type", "client_credentials");
    if (err == 0 && in_body)
        err = form_add_text(&form, "client_id", client->credentials.id);
    if (err == 0 && in_body)
        err = form_add(&form, "client_secret", secret_text(client->credentials.secret),
                       secret_len(client->credentials.secret));
    if (err == 0)
        err = form_add_text(&form, "scope", c->token.scope);
    if (err == 0)
        err = form_add_text(&form, "audience", c->token.audience);
    if (err == 0)
        err = form_add_text(&form, "resource", c->token.resource);
    client->extra_at = buf_unread(&form) + 1;
    if (err == 0 && c->token.extra != NULL) /* it is form-encoded already */
        err = buf_addf(&form, "&%s", c->token.extra);
    if (err == 0) {
        client->form = secret_new(buf_front(&form), buf_unread(&form));
        if (client->form == NULL)
            err = -ENOMEM;
    }
    if (err == 0 && !in_body) {
        client->authorization = basic(client->credentials.id, client->credentials.secret);
        if (client->authorization == NULL)
            err = -ENOMEM;
    }
    buf_wipe(&form);
    return err;
}

static void clear(struct token_client *client)
{
    if (client->transfer.easy != NULL) {
        curl_host_remove(&client->multi, &client->transfer);
        curl_easy_cleanup(client->transfer.easy);
        client->transfer.easy = NULL;
    }
    curl_slist_free_all(client->headers);
    client->headers = NULL;
    secret_free(client->form);
    secret_free(client->authorization);
    client->form = client->authorization = NULL;
    buf_wipe(&client->body);
    loop_timer_clear(client->loop, &client->deadline);
}

/* The texts name each setting by its usual key: replaces it by the key that was really used. */
static struct failure name_keys(const struct token_client *client,
                                const struct failure *failure)
{
    const char *const keys[][2] = { { "token.url", client->url_key },
                                    { "token.ca_file", client->ca_key },
                                    { "token.client_id", client->id_key },
                                    { "token.client_secret", client->secret_key },
                                    { "token.proxy", client->proxy_key } };
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

static void finish(struct token_client *client, struct token_client_result *result)
{
    if (result->token == NULL)
        result->failure = name_keys(client, &result->failure);
    clear(client);
    client->on_done(client, result);
}

/* Over HTTP/2, which it reads and writes in one step, libcurl may report a connection that
 * was reset after the last byte of the form as a failure to send. */
static bool form_was_sent(const struct token_client *client)
{
    curl_off_t sent = 0;

    return curl_easy_getinfo(client->transfer.easy, CURLINFO_SIZE_UPLOAD_T, &sent) ==
               CURLE_OK &&
           sent > 0 && (size_t)sent >= secret_len(client->form);
}

/* The failure of the transport, from the table that both legs share. */
static struct failure transport_failure(const struct token_client *client, CURLcode code,
                                        bool name_silent)
{
    struct leg_facts facts = leg_facts_take(&client->transfer, code, client->proxy,
                                            client->port, client->error_text);

    facts.starved = client->multi.starved;
    facts.name_silent = name_silent;
    enum leg_fault fault = leg_fault_of(&facts, client->error_text);
    /* Our own deadline and libcurl's connect timeout have the same code. */
    bool ready = facts.connected && (!client->tls || facts.secured) &&
                 (!facts.proxied || facts.connect_status / 100 == 2);

    if (code == CURLE_OPERATION_TIMEDOUT && ready)
        fault = LEG_ANSWER_LATE;
    if (fault == LEG_CUT && form_was_sent(client))
        fault = LEG_NO_ANSWER;
    bool vague = fault == LEG_OTHER || fault == LEG_NO_ANSWER || fault == LEG_TLS_OTHER ||
                 fault == LEG_TLS_CERTIFICATE;
    bool of_proxy =
        fault == LEG_PROXY_REFUSED || fault == LEG_PROXY_CERTIFICATE || fault == LEG_PROXY_TLS;

    return leg_failure(LEG_TOKEN, fault, &facts,
                       of_proxy ? client->error_text
                       : vague  ? curl_easy_strerror(code)
                                : NULL);
}

/* Whether the head of the answer exceeded our limit, or a line of it libcurl's: for that
 * libcurl reports CURLE_OUT_OF_MEMORY, from 8.6 on CURLE_TOO_LARGE. */
static bool head_too_large(const struct token_client *client, CURLcode code)
{
    enum { TOO_LARGE = 100 };

    return client->head_bytes > HEAD_BYTES_MAX ||
           (client->head_bytes > 0 && (code == CURLE_OUT_OF_MEMORY || (int)code == TOO_LARGE));
}

static struct failure head_failure(void)
{
    struct failure f = failure_make(FAIL_TOKEN_INVALID,
                                    "The head of the token endpoint's answer is larger than "
                                    "64 KiB: check token.url.");

    f.error = "http_response_header_section_size";
    return f;
}

/* The failure for a status other than 2xx. */
static struct failure status_failure(const struct token_client *client, int status,
                                     bool *refused)
{
    const char *reason =
        token_error_reason(buf_front(&client->body), buf_unread(&client->body));
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
                         "The token endpoint answered %d where 2xx was expected; redirects are "
                         "not followed.",
                         status);
    f.received_status = status;
    if (*refused && client->refused_mode == REFUSED_502)
        f.status = 502;
    return f;
}

/* The words of an answer that is a refusal, see token_error_text. */
static bool refusal_text(const struct token_client *client, char text[TOKEN_ERROR_TEXT_BYTES])
{
    const struct secret *form = client->form;
    const struct token_error_sent sent = {
        .client_secret = client->credentials.secret,
        .authorization = client->authorization,
        .extra =
            client->extra_at < secret_len(form) ? secret_text(form) + client->extra_at : NULL,
    };

    return token_error_text(buf_front(&client->body), buf_unread(&client->body), &sent, text);
}

/* Some servers answer 200 even when they refuse. */
static struct failure refusal_in_2xx(const struct token_client *client, int status,
                                     const char *text)
{
    const char *reason =
        token_error_reason(buf_front(&client->body), buf_unread(&client->body));

    return failure_make(FAIL_TOKEN_CONFIG,
                        "The token endpoint answered %d with an error, \"%s\". %s", status,
                        text,
                        reason != NULL ? reason
                                       : "Check token.client_id, token.client_secret and "
                                         "token.scope.");
}

static void on_done(struct curl_host_transfer *t, CURLcode code)
{
    struct token_client *client = CONTAINER_OF(t, struct token_client, transfer);
    struct token_client_result result = { .token = NULL };
    long status = 0;
    curl_off_t retry_after_s = 0;

    (void)curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    (void)curl_easy_getinfo(t->easy, CURLINFO_RETRY_AFTER, &retry_after_s);
    result.retry_after_ms = base_max(0, base_min(retry_after_s, RETRY_AFTER_MAX_S)) * 1000;
    if (client->too_large) {
        result.failure = failure_make(FAIL_TOKEN_INVALID,
                                      "The token endpoint's answer is larger than 64 KiB.");
        result.failure.received_status = (int)status;
    } else if (head_too_large(client, code)) {
        result.failure = head_failure();
    } else if (code != CURLE_OK) {
        result.failure = transport_failure(client, code, t->name_silent);
    } else if (status / 100 != 2) {
        result.failure = status_failure(client, (int)status, &result.refused);
    } else {
        static const char web_page[] = "it is a web page; check token.url, and whether a login "
                                       "page or a proxy is in the way";
        char text[TOKEN_ERROR_TEXT_BYTES];
        const char *why = "";

        result.token = token_parse(
            buf_front(&client->body), buf_unread(&client->body),
            &(struct token_rules){ .default_lifetime_ms = client->default_lifetime_ms,
                                   .now_ms = client->started_ms,
                                   .generation = client->generation },
            &why);
        if (result.token == NULL) {
            result.refused = refusal_text(client, text);
            result.failure = result.refused
                                 ? refusal_in_2xx(client, (int)status, text)
                                 : failure_make(FAIL_TOKEN_INVALID,
                                                "The token endpoint answered %ld without a "
                                                "usable token: %s.",
                                                status, client->is_html ? web_page : why);
            result.failure.received_status = (int)status;
        } else if (result.token->untyped && !client->untyped) {
            client->untyped = true;
            log_warn("token_type_missing",
                     log_str("detail", "the token endpoint's answer has no token_type; it is "
                                       "taken for Bearer"));
        }
    }
    finish(client, &result);
}

static void on_deadline(struct loop_timer *timer)
{
    struct token_client *client = CONTAINER_OF(timer, struct token_client, deadline);
    struct token_client_result result = { .token = NULL };

    result.failure =
        client->transfer.easy != NULL
            ? transport_failure(client, CURLE_OPERATION_TIMEDOUT,
                                curl_host_has_no_address(&client->transfer))
            : failure_make(FAIL_TOKEN_CONFIG, "The credentials do not fit a token request.");
    finish(client, &result);
}

int token_client_init(struct token_client *client, struct loop *l)
{
    *client = (struct token_client){ .loop = l, .deadline.on_due = on_deadline };
    buf_init(&client->body, BODY_BYTES_MAX);
    return curl_host_init(&client->multi, l, 1);
}

void token_client_done(struct token_client *client)
{
    if (client->loop == NULL)
        return;
    clear(client);
    curl_host_done(&client->multi);
    credentials_done(&client->credentials);
    *client = (struct token_client){ .loop = NULL };
}

void token_client_cancel(struct token_client *client)
{
    clear(client);
}

bool token_client_credentials_changed(struct token_client *client, const struct config *c)
{
    return credentials_reread(&client->credentials, c);
}

bool token_client_configure(struct token_client *client, const struct config *was,
                            const struct config *now)
{
    bool other = credentials_load(&client->credentials, now);

    return other || was == NULL || was->token.auth_style != now->token.auth_style ||
           !base_same_text(was->token.url, now->token.url) ||
           !base_same_text(was->token.scope, now->token.scope) ||
           !base_same_text(was->token.audience, now->token.audience) ||
           !base_same_text(was->token.resource, now->token.resource) ||
           !base_same_text(was->token.extra, now->token.extra);
}

static bool setup(struct token_client *client, const struct config *c)
{
    CURL *e = client->transfer.easy;
    const struct curl_host_settings settings = config_outbound(c, LEG_TOKEN);

    if (e == NULL || curl_host_setup(&client->multi, e, &settings) != 0)
        return false;
    client->headers = curl_slist_append(NULL, "Accept: application/json");
    if (client->headers != NULL && client->authorization != NULL) {
        struct curl_slist *more =
            curl_slist_append(client->headers, secret_text(client->authorization));

        if (more == NULL)
            return false;
        client->headers = more;
    }
    client->proxy = settings.proxy;
    client->port = settings.port;
    client->tls = strncmp(c->token.url, "https:", 6) == 0;
    client->error_text[0] = '\0';
    (void)curl_easy_setopt(e, CURLOPT_ERRORBUFFER, client->error_text);
    (void)curl_easy_setopt(e, CURLOPT_URL, c->token.url);
    (void)curl_easy_setopt(e, CURLOPT_POSTFIELDS, secret_text(client->form)); /* not copied */
    (void)curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE, (long)secret_len(client->form));
    (void)curl_easy_setopt(e, CURLOPT_HTTPHEADER, client->headers);
    (void)curl_easy_setopt(e, CURLOPT_USERAGENT, "oneshot-proxy");
    (void)curl_easy_setopt(e, CURLOPT_FORBID_REUSE, 1L);
    (void)curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_write);
    (void)curl_easy_setopt(e, CURLOPT_WRITEDATA, client);
    (void)curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    (void)curl_easy_setopt(e, CURLOPT_HEADERDATA, client);
    return client->headers != NULL;
}

void token_client_fetch(struct token_client *client, const struct config *c,
                        uint64_t generation)
{
    assert(client->transfer.easy == NULL);
    client->generation = generation;
    client->started_ms = clock_ms();
    client->too_large = client->is_html = false;
    client->head_bytes = 0;
    client->default_lifetime_ms = c->token.default_lifetime_ms;
    client->refused_mode = c->token.refused_status;
    client->url_key = c->token.url_key;
    client->ca_key = c->token.ca_key;
    client->id_key = c->token.client_id_key;
    client->secret_key = c->token.client_secret_key;
    client->proxy_key = c->token.proxy_key;
    client->transfer.on_done = on_done;
    client->transfer.connect_timeout_ms =
        base_min(c->upstream.connect_timeout_ms, c->token.timeout_ms);
    (void)credentials_reread(&client->credentials, c);
    bool ok = build_request(client, c) == 0;

    if (ok) {
        client->transfer.easy = curl_easy_init();
        ok = setup(client, c) && curl_host_add(&client->multi, &client->transfer) == 0;
    }
    /* on_done must not be called from within: the deadline does it in the next turn */
    if (!ok) {
        clear(client);
        loop_timer_set(client->loop, &client->deadline, client->started_ms);
        return;
    }
    loop_timer_set(client->loop, &client->deadline, client->started_ms + c->token.timeout_ms);
}

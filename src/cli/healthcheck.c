/* Asks a running proxy whether it is ready, with one GET by libcurl.
 *
 *   admin.address -> URL or unix socket -> GET /readyz -> status and body -> one line
 *
 * Another program may be listening there: the size of its answer and the time for it are
 * limited, and only printable text of it is shown. */
#include "cli/healthcheck.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/ascii.h"
#include "config/url.h"
#include "net/curl_host.h"

#define ANSWER_BYTES_MAX 65536

struct answer {
    size_t head_bytes;
    struct buf body;
    bool too_long;
};

static size_t on_head(char *line, size_t size, size_t n, void *arg)
{
    struct answer *a = arg;

    (void)line;
    a->head_bytes += size * n;
    a->too_long = a->head_bytes > ANSWER_BYTES_MAX;
    return a->too_long ? 0 : size * n;
}

static size_t on_body(char *bytes, size_t size, size_t n, void *arg)
{
    struct answer *a = arg;

    a->too_long = buf_add(&a->body, bytes, size * n) != 0;
    return a->too_long ? 0 : size * n;
}

/* The loopback address, if the proxy listens on all addresses. */
static const char *reachable(const char *host)
{
    if (strcmp(host, "0.0.0.0") == 0)
        return "127.0.0.1";
    return strcmp(host, "::") == 0 ? "::1" : host;
}

static void setup(CURL *easy, const struct config_address *a, struct answer *answer)
{
    char url[320] = "http://localhost/readyz";

    if (a->unix_path != NULL)
        (void)curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, a->unix_path);
    else
        (void)snprintf(url, sizeof url, a->v6 ? "http://[%s]:%d/readyz" : "http://%s:%d/readyz",
                       reachable(a->host), a->port);
    (void)curl_easy_setopt(easy, CURLOPT_URL, url); /* copied */
    (void)curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http");
    (void)curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
    (void)curl_easy_setopt(easy, CURLOPT_PROXY, ""); /* not from the environment either */
    (void)curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)HEALTHCHECK_TIMEOUT_MS);
    /* A lookup that does not end is left behind when the process ends. */
    (void)curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
    (void)curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_head);
    (void)curl_easy_setopt(easy, CURLOPT_HEADERDATA, answer);
    (void)curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    (void)curl_easy_setopt(easy, CURLOPT_WRITEDATA, answer);
}

/* Why there is no answer. */
static const char *reason(CURL *easy, CURLcode code, const struct answer *a)
{
    long os_error = 0;

    (void)curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &os_error);
    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
        return "the name does not resolve";
    case CURLE_OPERATION_TIMEDOUT:
        return strerrordesc_np(ETIMEDOUT);
    case CURLE_WRITE_ERROR:
        return a->too_long ? strerrordesc_np(EMSGSIZE) : curl_easy_strerror(code);
    case CURLE_COULDNT_CONNECT:
        return os_error != 0 ? strerrordesc_np((int)os_error) : curl_easy_strerror(code);
    case CURLE_GOT_NOTHING:
        return "the connection was closed";
    default:
        return curl_easy_strerror(code);
    }
}

/* Appends the first line of the body, without terminal control characters. */
static void add_first_line(struct buf *out, const char *body)
{
    size_t n = strcspn(body, "\n");

    for (size_t i = 0; i < n; i++)
        if (buf_add(out, ascii_is_field_byte(body[i]) ? &body[i] : "?", 1) != 0)
            return;
}

static bool ask(CURL *easy, const struct config_address *a, struct buf *out)
{
    struct answer answer = { .head_bytes = 0 };
    long status = 0;

    buf_init(&answer.body, ANSWER_BYTES_MAX);
    setup(easy, a, &answer);
    CURLcode code = curl_easy_perform(easy);

    (void)curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    if (code == CURLE_UNSUPPORTED_PROTOCOL || code == CURLE_WEIRD_SERVER_REPLY) {
        (void)buf_addf(out, "the answer is not HTTP; does something else listen there?");
    } else if (code != CURLE_OK) {
        (void)buf_addf(out, "no answer: %s", reason(easy, code, &answer));
    } else {
        (void)buf_addf(out, "%ld ", status);
        add_first_line(out, buf_text(&answer.body));
    }
    buf_done(&answer.body);
    return code == CURLE_OK && status == 200;
}

bool healthcheck_ask(const char *address, struct buf *out)
{
    struct config_address a;

    if (strcmp(address, "off") == 0) {
        (void)buf_addf(out, "admin.address is off: there is nothing to ask");
        return false;
    }
    if (!config_address_split(address, &a)) {
        (void)buf_addf(out, "admin.address is not an address: %s", address);
        return false;
    }
    if (a.port == 0) {
        (void)buf_addf(out, "admin.address has port 0, which takes another one each time; "
                            "give it a number to be asked at");
        return false;
    }
    CURL *easy = curl_host_global_init() == 0 ? curl_easy_init() : NULL;

    if (easy == NULL)
        abort(); /* a program that has just started has memory */
    (void)buf_addf(out, "%s: ", address);
    bool ready = ask(easy, &a, out);

    curl_easy_cleanup(easy);
    return ready;
}

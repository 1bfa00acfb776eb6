/* Turns a libcurl error into a row of the table of faults, and the row into a struct
 * failure. libcurl's error codes are too coarse: a refusal by the outbound proxy has the
 * same code as a lost connection, and all faults of a certificate share one. So this also
 * looks at the phase that was reached, the proxy's status, the result of OpenSSL's
 * verification and, where nothing else tells two faults apart, the text of libcurl's error
 * message. */
#include "net/leg_error.h"

#include <openssl/x509_vfy.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *part, *error, *text;
    int status;
    enum failure_kind kind[LEG_COUNT];
} table[LEG_FAULT_COUNT] = {
/* clang-format off */
#define LEG_FAULT_ROW(id, part_, error_, status_, upstream_, token_, text_) \
    [LEG_##id] = {                                                          \
        .part = (part_),                                                    \
        .error = (error_),                                                  \
        .text = (text_),                                                    \
        .status = (status_),                                                \
        .kind = { [LEG_UPSTREAM] = FAIL_##upstream_,                        \
                  [LEG_TOKEN] = FAIL_##token_ }                             \
    },
    /* clang-format on */
    LEG_FAULTS(LEG_FAULT_ROW)
#undef LEG_FAULT_ROW
};

/* What a name in braces stands for, on each leg. */
static const struct {
    const char *name, *value[LEG_COUNT];
} placeholders[] = {
    { "{server}", { "the upstream", "the token endpoint" } },
    { "{Server}", { "The upstream", "The token endpoint" } },
    { "{url}", { "upstream.base_url", "token.url" } },
    { "{ca}", { "upstream.ca_file", "token.ca_file" } },
    { "{proxy}", { "upstream.proxy", "token.proxy" } },
    { "{timeout}",
      { "upstream.connect_timeout", "token.timeout, or upstream.connect_timeout" } },
    { "{answer_timeout}", { "upstream.response_timeout", "token.timeout" } },
    { "{certificate}", { "upstream.client_certificate", "upstream.client_certificate" } },
};

/* --- collecting the facts ----------------------------------------------------------------- */

static bool has_passed(CURL *easy, CURLINFO which)
{
    curl_off_t us = 0;

    return curl_easy_getinfo(easy, which, &us) == CURLE_OK && us > 0;
}

/* Whether libcurl's message about a failed connection names another port than the URL's. */
static bool names_other_port(const char *message, int port)
{
    const char *at = strstr(message, " port ");

    return at != NULL && strtol(at + strlen(" port "), NULL, 10) != port;
}

/* Whether the outbound proxy, as in curl_host_settings, begins with that scheme ("https://",
 * "socks"). For "env" it looks at the variable that libcurl would use for an https URL, and
 * ignores NO_PROXY. */
static bool begins_with(const char *proxy, const char *scheme)
{
    static const char *const variables[] = { "https_proxy", "HTTPS_PROXY", "all_proxy",
                                             "ALL_PROXY" };

    for (size_t i = 0; i < ARRAY_LEN(variables) && strcmp(proxy, "env") == 0; i++) {
        /* NOLINTNEXTLINE(concurrency-mt-unsafe): nobody writes the environment any more */
        const char *value = getenv(variables[i]);

        if (value != NULL && value[0] != '\0')
            proxy = value;
    }
    return strncasecmp(proxy, scheme, strlen(scheme)) == 0;
}

struct leg_facts leg_facts_take(const struct curl_host_transfer *t, CURLcode code,
                                const char *proxy, int port, const char *message)
{
    CURL *easy = t->easy;
    struct leg_facts f = { .code = code,
                           .resolved = has_passed(easy, CURLINFO_NAMELOOKUP_TIME_T),
                           .connected = has_passed(easy, CURLINFO_CONNECT_TIME_T),
                           .secured = has_passed(easy, CURLINFO_APPCONNECT_TIME_T) };
    long connect_status = 0, peer_port = 0;

    (void)curl_easy_getinfo(easy, CURLINFO_HTTP_CONNECTCODE, &connect_status);
    (void)curl_easy_getinfo(easy, CURLINFO_PRIMARY_PORT, &peer_port);
    (void)curl_easy_getinfo(easy, CURLINFO_SSL_VERIFYRESULT, &f.verify_result);
    (void)curl_easy_getinfo(easy, CURLINFO_PROXY_ERROR, &f.proxy_error);
    f.connect_status = (int)connect_status;
    f.tried = t->opened > t->addresses ? t->opened : t->addresses;
    f.silent = t->silent;
    f.proxy_tls = begins_with(proxy, "https://");
    f.socks = begins_with(proxy, "socks");
    /* CURLINFO_CONNECT_TIME alone does not tell: behind a proxy it also waits for the proxy's
     * answer, and in libcurl 8 for TLS. */
    f.connected |= peer_port > 0 || t->reached;
    if (strcmp(proxy, "none") == 0)
        f.proxied = false;
    else if (connect_status != 0 || strstr(message, "CONNECT") != NULL)
        f.proxied = true;
    else if (f.connected && peer_port > 0)
        f.proxied = peer_port != port;
    else
        f.proxied = strcmp(proxy, "env") != 0 || names_other_port(message, port);
    return f;
}

/* --- choosing the row --------------------------------------------------------------------- */

/* The fault for a CURLPX_... code: what a SOCKS proxy answered (RFC 1928, 1929), or that it
 * did not. */
static enum leg_fault socks_fault(long error)
{
    switch (error) {
    case CURLPX_CLOSED:
    case CURLPX_RECV_ADDRESS:
    case CURLPX_RECV_AUTH:
    case CURLPX_RECV_CONNECT:
    case CURLPX_RECV_REQACK:
    case CURLPX_SEND_AUTH:
    case CURLPX_SEND_CONNECT:
    case CURLPX_SEND_REQUEST:
    case CURLPX_BAD_VERSION:
        return LEG_PROXY_BROKEN;
    case CURLPX_NO_AUTH:
    case CURLPX_USER_REJECTED:
        return LEG_PROXY_METHODS;
    case CURLPX_RESOLVE_HOST:
        return LEG_NAME_MISSING;
    default:
        return LEG_PROXY_REFUSED;
    }
}

static enum leg_fault proxy_fault(const struct leg_facts *f)
{
    if (f->proxy_error != CURLPX_OK)
        return socks_fault(f->proxy_error);
    if (f->connect_status == 407)
        return LEG_PROXY_CREDENTIALS;
    if (f->connect_status >= 300)
        return LEG_PROXY_REFUSED;
    if (f->code == CURLE_OPERATION_TIMEDOUT)
        return LEG_PROXY_TIMEOUT;
    return f->code == CURLE_COULDNT_CONNECT ? LEG_PROXY_CONNECT : LEG_PROXY_BROKEN;
}

/* The fault of a server's certificate that does not verify. */
static enum leg_fault certificate_fault(const struct leg_facts *f, const char *message)
{
    /* libcurl compares the name itself, before it looks at OpenSSL's result. */
    if (strstr(message, "host name") != NULL || strstr(message, "subject name") != NULL)
        return LEG_TLS_NAME;
    switch (f->verify_result) {
    case X509_V_OK:
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        return LEG_TLS_NAME;
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return LEG_TLS_EXPIRED;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return LEG_TLS_NOT_YET;
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
        return LEG_TLS_ISSUER;
    default:
        return LEG_TLS_CERTIFICATE;
    }
}

/* The fault of a failed handshake, by OpenSSL's error text. The first match counts. */
static enum leg_fault handshake_fault(const char *message)
{
    static const struct {
        const char *text;
        enum leg_fault fault;
    } messages[] = {
        { "alert certificate required", LEG_TLS_OURS },
        { "alert bad certificate", LEG_TLS_OURS },
        { "alert unknown ca", LEG_TLS_OURS },
        { "alert certificate", LEG_TLS_OURS },
        { "alert unsupported certificate", LEG_TLS_OURS },
        { "protocol version", LEG_TLS_VERSION },
        { "unsupported protocol", LEG_TLS_VERSION },
        { "wrong version number", LEG_TLS_NONE },
        { "packet length too long", LEG_TLS_NONE },
        { "http request", LEG_TLS_NONE },
        { "unexpected eof", LEG_TLS_CUT },
        { "SSL_ERROR_SYSCALL", LEG_TLS_CUT },
        { "reset by peer", LEG_TLS_CUT },
    };

    for (size_t i = 0; i < ARRAY_LEN(messages); i++)
        if (strstr(message, messages[i].text) != NULL)
            return messages[i].fault;
    return LEG_TLS_OTHER;
}

static enum leg_fault timeout_fault(const struct leg_facts *f)
{
    if (!f->resolved)
        return LEG_NAME_SILENT;
    if (!f->connected)
        return f->proxied ? LEG_PROXY_TIMEOUT : LEG_CONNECT_TIMEOUT;
    if (f->proxied && f->connect_status / 100 != 2)
        return LEG_PROXY_TIMEOUT;
    return LEG_TLS_TIMEOUT;
}

enum leg_fault leg_fault_of(const struct leg_facts *f, const char *message)
{
    /* Before CONNECT has succeeded, the TLS handshake is with an https:// proxy itself. */
    bool at_proxy = f->proxied && f->proxy_tls && f->connect_status / 100 != 2;

    if (f->name_silent)
        return LEG_NAME_SILENT;
    if (f->starved &&
        (f->code == CURLE_COULDNT_CONNECT || f->code == CURLE_COULDNT_RESOLVE_HOST ||
         f->code == CURLE_COULDNT_RESOLVE_PROXY))
        return LEG_NO_DESCRIPTORS;
    switch (f->code) {
    case CURLE_COULDNT_RESOLVE_HOST:
        return LEG_NAME_MISSING;
    case CURLE_COULDNT_RESOLVE_PROXY:
        return LEG_PROXY_NAME;
    case CURLE_PROXY:
        return proxy_fault(f);
    case CURLE_COULDNT_CONNECT:
        return f->proxied ? proxy_fault(f) : LEG_CONNECT_REFUSED;
    case CURLE_OPERATION_TIMEDOUT:
        return timeout_fault(f);
    case CURLE_PEER_FAILED_VERIFICATION:
        return at_proxy ? LEG_PROXY_CERTIFICATE : certificate_fault(f, message);
    case CURLE_SSL_CERTPROBLEM:
        return LEG_TLS_OURS;
    case CURLE_SSL_CACERT_BADFILE:
        return LEG_CA_FILE;
    case CURLE_SSL_CONNECT_ERROR:
        return at_proxy ? LEG_PROXY_TLS : handshake_fault(message);
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_BAD_CONTENT_ENCODING:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
        return LEG_NOT_HTTP;
    case CURLE_OUT_OF_MEMORY:
        return LEG_NO_MEMORY;
    default:
        break;
    }
    /* When the proxy refuses or closes, libcurl reports it like any lost connection. */
    if (f->connect_status >= 300 ||
        (f->proxied && !f->socks && f->connect_status / 100 != 2 && !f->secured))
        return proxy_fault(f);
    /* In TLS 1.3 the server checks our certificate after our side has finished its
     * handshake. */
    if (strstr(message, " alert ") != NULL)
        return handshake_fault(message);
    if (f->code == CURLE_GOT_NOTHING || f->code == CURLE_RECV_ERROR ||
        f->code == CURLE_PARTIAL_FILE)
        return LEG_NO_ANSWER;
    return f->code == CURLE_SEND_ERROR ? LEG_CUT : LEG_OTHER;
}

const char *leg_fault_part(enum leg_fault fault)
{
    assert((unsigned)fault < LEG_FAULT_COUNT);
    return table[fault].part;
}

/* --- the failure -------------------------------------------------------------------------- */

/* Copies the sentence with the names in braces replaced; cuts it where it does not fit. */
static void expand(char *out, size_t size, const char *text, enum leg leg)
{
    size_t n = 0;

    while (*text != '\0' && n + 1 < size) {
        const char *value = NULL;

        for (size_t i = 0; *text == '{' && value == NULL && i < ARRAY_LEN(placeholders); i++)
            if (strncmp(text, placeholders[i].name, strlen(placeholders[i].name)) == 0) {
                value = placeholders[i].value[leg];
                text += strlen(placeholders[i].name);
            }
        if (value == NULL)
            out[n++] = *text++;
        for (; value != NULL && *value != '\0' && n + 1 < size; value++)
            out[n++] = *value;
    }
    out[n] = '\0';
}

struct failure leg_failure(enum leg leg, enum leg_fault fault, const struct leg_facts *f,
                           const char *note)
{
    char text[sizeof((struct failure *)0)->detail];
    struct failure failure;

    assert((unsigned)fault < LEG_FAULT_COUNT);
    expand(text, sizeof text, table[fault].text, leg);
    if (fault == LEG_CONNECT_REFUSED && f->silent > 0)
        failure =
            failure_make(table[fault].kind[leg], "%s (%u of %u addresses did not answer).",
                         text, f->silent, f->tried);
    else if (fault == LEG_CONNECT_TIMEOUT && f->tried > 1)
        failure = failure_make(table[fault].kind[leg], "%s (%u addresses were tried).", text,
                               f->tried);
    else if (fault == LEG_PROXY_REFUSED && f->connect_status != 0)
        failure = failure_make(table[fault].kind[leg], "%s (it answered %d).", text,
                               f->connect_status);
    else if (note != NULL && note[0] != '\0')
        failure = failure_make(table[fault].kind[leg], "%s (%s).", text, note);
    else
        failure = failure_make(table[fault].kind[leg], "%s.", text);
    failure.error = table[fault].error;
    failure.status = table[fault].status;
    if (fault == LEG_PROXY_REFUSED || fault == LEG_PROXY_CREDENTIALS)
        failure.received_status = f->connect_status;
    if (fault == LEG_NO_DESCRIPTORS)
        failure.retry_after_s = 1;
    return failure;
}

int leg_error_print_markdown(struct buf *out)
{
    int err = buf_add_str(out, "| part | upstream: `type` | token endpoint: `type` | "
                               "`Proxy-Status` error | what the detail says |\n"
                               "|---|---|---|---|---|\n");

    for (size_t i = 0; i < LEG_FAULT_COUNT && err == 0; i++) {
        char text[512];
        const enum failure_kind *kind = table[i].kind;

        expand(text, sizeof text, table[i].text, LEG_UPSTREAM);
        err = buf_addf(
            out, "| %s | `%s` | `%s` | `%s` | %s. |\n", table[i].part,
            failure_info(kind[LEG_UPSTREAM])->slug, failure_info(kind[LEG_TOKEN])->slug,
            table[i].error != NULL ? table[i].error : failure_info(kind[LEG_UPSTREAM])->error,
            text);
    }
    return err;
}

/* The failure of a request to the upstream, from libcurl's code and from what is known of the
 * attempt. What may have been carried out is never told as if it had not been. */
#include "upstream/error.h"

#include <string.h>

/* What follows from libcurl's code alone; the rest is in upstream_error. */
static const struct {
    CURLcode code;
    enum failure_kind kind;
    const char *error, *what;
} code_table[] = {
    { CURLE_COULDNT_RESOLVE_HOST, FAIL_UPSTREAM_DNS, NULL,
      "The name in upstream.base_url does not resolve" },
    { CURLE_COULDNT_RESOLVE_PROXY, FAIL_UPSTREAM_DNS, NULL,
      "The name of upstream.proxy does not resolve" },
    { CURLE_COULDNT_CONNECT, FAIL_UPSTREAM_CONNECT, NULL,
      "The upstream refused the connection or cannot be reached" },
    { CURLE_OPERATION_TIMEDOUT, FAIL_UPSTREAM_CONNECT_TIMEOUT, NULL,
      "Connecting took longer than upstream.connect_timeout" },
    { CURLE_PEER_FAILED_VERIFICATION, FAIL_UPSTREAM_CERT, NULL,
      "The certificate does not verify; see upstream.ca_file" },
    { CURLE_SSL_CONNECT_ERROR, FAIL_UPSTREAM_TLS, NULL, "The TLS handshake failed" },
    { CURLE_SSL_CERTPROBLEM, FAIL_UPSTREAM_TLS, "tls_alert_received",
      "The client certificate was not accepted; see upstream.client_certificate" },
    { CURLE_SSL_CACERT_BADFILE, FAIL_UPSTREAM_CERT, NULL, "upstream.ca_file cannot be read" },
    { CURLE_WEIRD_SERVER_REPLY, FAIL_UPSTREAM_PROTOCOL, NULL,
      "What the upstream sent is not HTTP" },
    { CURLE_UNSUPPORTED_PROTOCOL, FAIL_UPSTREAM_PROTOCOL, NULL,
      "What the upstream sent is not HTTP/1.1 or HTTP/2" },
    { CURLE_BAD_CONTENT_ENCODING, FAIL_UPSTREAM_PROTOCOL, NULL,
      "The upstream's transfer coding is broken" },
    { CURLE_OUT_OF_MEMORY, FAIL_INTERNAL, NULL, "There is no memory left" },
};

bool upstream_error_lost(CURLcode code)
{
    return code == CURLE_GOT_NOTHING || code == CURLE_RECV_ERROR || code == CURLE_SEND_ERROR ||
           code == CURLE_PARTIAL_FILE || code == CURLE_HTTP2_STREAM;
}

/* An alert on a new connection about our certificate comes before the request is looked at; any
 * other may come after it was carried out. */
static struct failure alert(const struct upstream_attempt *a, const char *words)
{
    bool ours = !a->wrote || (!a->reused && (strstr(words, "certificate") != NULL ||
                                             strstr(words, "unknown ca") != NULL));
    struct failure f =
        ours ? failure_make(FAIL_UPSTREAM_TLS,
                            "The upstream ended the TLS connection with an alert (%s); see "
                            "upstream.client_certificate.",
                            words)
             : failure_make(FAIL_UPSTREAM_LOST,
                            "The upstream ended the TLS connection with an alert (%s) after "
                            "the request was sent and before an answer: outcome unknown. "
                            "Check whether it was carried out before sending it again.",
                            words);

    f.error = "tls_alert_received";
    return f;
}

struct failure upstream_error(const struct upstream_attempt *a,
                              const struct response_check *head, CURLcode code)
{
    if (head->kind != FAIL_NONE)
        return failure_make(head->kind,
                            "The upstream's answer was refused: %s. The request %s.", head->why,
                            a->wrote ? "may have been carried out" : "was not sent");
    if (code == CURLE_COULDNT_CONNECT && a->starved) {
        struct failure f = failure_make(
            FAIL_OVERLOAD, "No descriptor is left for a connection to the upstream; raise "
                           "RLIMIT_NOFILE or lower listen.max_connections.");
        f.retry_after_s = 1;
        return f;
    }
    if (a->name_silent) {
        struct failure f = failure_make(
            FAIL_UPSTREAM_DNS, "No name server answered in time for the name in "
                               "upstream.base_url (or of an outbound proxy); check DNS of "
                               "this machine.");
        f.error = "dns_timeout";
        return f;
    }
    for (size_t i = 0; i < ARRAY_LEN(code_table); i++)
        /* Without memory after the request was sent: see below. */
        if (code_table[i].code == code &&
            !(code == CURLE_OUT_OF_MEMORY && (a->wrote || a->began))) {
            struct failure f = failure_make(code_table[i].kind, "%s (%s).", code_table[i].what,
                                            curl_easy_strerror(code));
            f.error = code_table[i].error;
            return f;
        }
    if (a->unconfirmed)
        return failure_make(FAIL_UPSTREAM_INCOMPLETE,
                            "The upstream's answer has no length and its TLS connection ended "
                            "without close_notify: it may be cut short; outcome unknown.");
    if (!a->began && strstr(a->error_text, " alert ") != NULL)
        return alert(a, strstr(a->error_text, " alert ") + 1);
    if (a->began)
        return failure_make(FAIL_UPSTREAM_INCOMPLETE,
                            "The upstream's answer ended inside its %s; outcome unknown (%s).",
                            head->complete ? "body" : "head", curl_easy_strerror(code));
    if (!a->wrote)
        return failure_make(FAIL_UPSTREAM_CONNECT,
                            "The connection failed before the request was sent (%s).",
                            curl_easy_strerror(code));
    if (upstream_error_lost(code) || code == CURLE_OK)
        return failure_make(FAIL_UPSTREAM_LOST,
                            "The connection was lost after the request was sent and before an "
                            "answer: outcome unknown. "
                            "Check whether it was carried out before sending it again (%s).",
                            curl_easy_strerror(code));
    return failure_make(FAIL_UPSTREAM_PROTOCOL,
                        "The exchange with the upstream failed: outcome unknown (%s).",
                        curl_easy_strerror(code));
}

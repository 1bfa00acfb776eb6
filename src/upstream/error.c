/* Makes the failure of an upstream request from libcurl's code and what is known about the
 * attempt. It never reports a request that may have been carried out as one that was not. */
#include "upstream/error.h"

#include <string.h>

/* The failure by libcurl's code alone, once the request was sent. */
static const struct {
    CURLcode code;
    const char *what;
} code_table[] = {
    { CURLE_WEIRD_SERVER_REPLY, "What the upstream sent is not HTTP" },
    { CURLE_UNSUPPORTED_PROTOCOL, "What the upstream sent is not HTTP/1.1 or HTTP/2" },
    { CURLE_BAD_CONTENT_ENCODING, "The upstream's transfer coding is broken" },
};

bool upstream_error_lost(CURLcode code)
{
    return code == CURLE_GOT_NOTHING || code == CURLE_RECV_ERROR || code == CURLE_SEND_ERROR ||
           code == CURLE_PARTIAL_FILE || code == CURLE_HTTP2_STREAM;
}

/* It failed before a byte of the request was sent: the table that both legs share says which
 * part failed. */
static struct failure not_sent(const struct upstream_attempt *a, CURLcode code)
{
    struct leg_facts facts = a->facts;

    facts.code = code;
    facts.starved = a->starved;
    facts.name_silent = a->name_silent;
    enum leg_fault fault = leg_fault_of(&facts, a->error_text);

    if (fault == LEG_NO_ANSWER || fault == LEG_OTHER || code == CURLE_HTTP2 ||
        code == CURLE_HTTP2_STREAM)
        fault = LEG_CUT; /* no answer was to be expected */
    bool vague = fault == LEG_CUT || fault == LEG_TLS_OTHER || fault == LEG_TLS_CERTIFICATE ||
                 fault == LEG_PROXY_REFUSED || fault == LEG_PROXY_CERTIFICATE ||
                 fault == LEG_PROXY_TLS;
    return leg_failure(LEG_UPSTREAM, fault, &facts,
                       !vague                     ? NULL
                       : a->error_text[0] != '\0' ? a->error_text
                                                  : curl_easy_strerror(code));
}

/* An alert on a new connection about our certificate comes before the server looks at the
 * request; any other may come after it was carried out. */
static struct failure alert(const struct upstream_attempt *a, const char *message)
{
    bool ours = !a->wrote || (!a->reused && (strstr(message, "certificate") != NULL ||
                                             strstr(message, "unknown ca") != NULL));
    struct failure f =
        ours ? leg_failure(LEG_UPSTREAM, LEG_TLS_OURS, &a->facts, message)
             : failure_make(FAIL_UPSTREAM_LOST,
                            "The upstream ended the TLS connection with an alert (%s) after "
                            "the request was sent and before an answer: outcome unknown. "
                            "Check whether it was carried out before sending it again.",
                            message);

    f.error = "tls_alert_received";
    return f;
}

struct failure upstream_error(const struct upstream_attempt *a,
                              const struct response_check *head, CURLcode code)
{
    if (head->kind != FAIL_NONE)
        return failure_make(
            head->kind, "The upstream's answer was refused: %s. The request %s.", head->why,
            a->wrote ? "may have been carried out: outcome unknown" : "was not sent");
    if (a->limited) {
        struct failure f = failure_make(
            FAIL_OVERLOAD, "upstream.max_connections are in use, and none became free within "
                           "upstream.connect_timeout. The request was not sent.");
        f.retry_after_s = 1;
        return f;
    }
    if (!a->wrote && !a->began)
        return not_sent(a, code);
    for (size_t i = 0; i < ARRAY_LEN(code_table); i++)
        if (code_table[i].code == code)
            return failure_make(FAIL_UPSTREAM_PROTOCOL, "%s: outcome unknown (%s).",
                                code_table[i].what, curl_easy_strerror(code));
    if (a->unconfirmed)
        return failure_make(FAIL_UPSTREAM_INCOMPLETE,
                            "The upstream's answer has no length and its TLS connection ended "
                            "without close_notify: it may be cut short; outcome unknown.");
    if (!a->began && strstr(a->error_text, " alert ") != NULL)
        return alert(a, strstr(a->error_text, " alert ") + 1);
    if (a->began)
        return failure_make(FAIL_UPSTREAM_INCOMPLETE,
                            "The upstream's answer ended inside its %s; outcome unknown (%s).",
                            head->complete && head->status >= 200 ? "body" : "head",
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

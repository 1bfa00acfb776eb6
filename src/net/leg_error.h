#pragma once
/* Why an outgoing connection failed. A leg is one of its two destinations: the upstream or
 * the token endpoint. One table serves both. It is ordered by the part that failed (name,
 * outbound proxy, connection, TLS, answer), and has for each fault the sentence that the
 * answer to the caller, the log, the status page and /readyz give. Pure, except for
 * leg_facts_take. */
#include <curl/curl.h>

#include "base/base.h"
#include "base/buf.h"
#include "base/failure.h"
#include "net/curl_host.h"

enum leg { LEG_UPSTREAM, LEG_TOKEN, LEG_COUNT };

/* What is known about a failed transfer. All zero: nothing is known. */
struct leg_facts {
    CURLcode code;
    bool resolved, connected; /* the name was resolved; a TCP connection was made */
    bool secured;             /* the TLS handshake with the server itself was completed */
    bool proxied;             /* it went through an outbound proxy */
    bool name_silent;         /* no name server answered in time */
    bool starved;             /* no descriptor was left for a connection */
    bool proxy_tls, socks;    /* the outbound proxy's scheme is https, socks... */
    int connect_status;       /* the proxy's answer to CONNECT; 0: none */
    long proxy_error;         /* CURLPX_..., of a SOCKS proxy; 0: none */
    unsigned tried, silent;   /* addresses in the last round, and those that did not answer */
    long verify_result;       /* X509_V_..., of the server's certificate */
};

/* Collects the facts from libcurl; for use in on_done of a transfer. proxy: as in
 * curl_host_settings; port: of the URL; message: libcurl's error message (may be empty).
 * Thread: the handle's. */
struct leg_facts leg_facts_take(const struct curl_host_transfer *t, CURLcode code,
                                const char *proxy, int port, const char *message);

/* id, part, Proxy-Status error (RFC 9209 section 2.3), status (0: that of the kind), the
 * kind of failure on the upstream leg and on the token leg, sentence. In a sentence
 * {server}, {Server}, {url}, {ca}, {proxy}, {timeout}, {answer_timeout} and {certificate} are
 * replaced by the name of that server or setting on the leg. */
/* clang-format off */
#define LEG_FAULTS(X) \
    X(NAME_MISSING,    "name",    "dns_error",             0,   UPSTREAM_DNS,  TOKEN_DNS, "The host in {url} does not resolve: check its spelling, and DNS") \
    X(NAME_SILENT,     "name",    "dns_timeout",           0,   UPSTREAM_DNS,  TOKEN_DNS, "No name server answered in time: check /etc/resolv.conf and the network") \
    X(PROXY_NAME,      "proxy",   "dns_error",             0,   UPSTREAM_DNS,  TOKEN_DNS, "The name of the outbound proxy does not resolve: check {proxy}, or HTTPS_PROXY") \
    X(PROXY_CONNECT,   "proxy",   "connection_refused",    0,   UPSTREAM_CONNECT, TOKEN_CONNECT, "The outbound proxy refused the connection or cannot be reached: check {proxy}, or HTTPS_PROXY") \
    X(PROXY_TIMEOUT,   "proxy",   "connection_timeout",    504, UPSTREAM_CONNECT, TOKEN_CONNECT, "The outbound proxy did not make the connection within {timeout}: check {proxy}, or HTTPS_PROXY, and who runs it") \
    X(PROXY_CREDENTIALS, "proxy", "destination_unavailable", 0, UPSTREAM_CONNECT, TOKEN_CONNECT, "The outbound proxy wants other credentials (407): put them into {proxy}, or HTTPS_PROXY, as http://user:password@host:port, percent-encoded") \
    X(PROXY_METHODS,   "proxy",   "destination_unavailable", 0, UPSTREAM_CONNECT, TOKEN_CONNECT, "The outbound proxy accepts no credentials that were offered: put the right ones into {proxy}, or HTTPS_PROXY, as socks5h://user:password@host:port, percent-encoded") \
    X(PROXY_REFUSED,   "proxy",   "destination_unavailable", 0, UPSTREAM_CONNECT, TOKEN_CONNECT, "The outbound proxy refused to connect to {server}: ask who runs it, or exempt the host in NO_PROXY") \
    X(PROXY_CERTIFICATE, "proxy", "tls_certificate_error", 0,   UPSTREAM_CONNECT, TOKEN_CONNECT, "The certificate of the outbound proxy does not verify by the system's authorities: check the host in {proxy}, or HTTPS_PROXY, and who runs it") \
    X(PROXY_TLS,       "proxy",   "tls_protocol_error",    0,   UPSTREAM_CONNECT, TOKEN_CONNECT, "The TLS handshake with the outbound proxy failed: check scheme and port in {proxy}, or HTTPS_PROXY") \
    X(PROXY_BROKEN,    "proxy",   "connection_terminated", 0,   UPSTREAM_CONNECT, TOKEN_CONNECT, "The outbound proxy ended the connection before it had answered: check {proxy}, or HTTPS_PROXY") \
    X(CONNECT_REFUSED, "connect", "connection_refused",    0,   UPSTREAM_CONNECT, TOKEN_CONNECT, "{Server} refused the connection or cannot be reached: check host and port in {url}") \
    X(CONNECT_TIMEOUT, "connect", "connection_timeout",    504, UPSTREAM_CONNECT_TIMEOUT, TOKEN_CONNECT, "Connecting to {server} took longer than {timeout}: a firewall may drop the packets, or an outbound proxy may be needed ({proxy})") \
    X(TLS_EXPIRED,     "tls",     "tls_certificate_error", 0,   UPSTREAM_CERT, TOKEN_TLS, "The certificate of {server} has expired: who runs it must renew it; or the clock here is wrong") \
    X(TLS_NOT_YET,     "tls",     "tls_certificate_error", 0,   UPSTREAM_CERT, TOKEN_TLS, "The certificate of {server} is not valid yet: its start date is in the future, or the clock here is wrong") \
    X(TLS_NAME,        "tls",     "tls_certificate_error", 0,   UPSTREAM_CERT, TOKEN_TLS, "The certificate of {server} is for another name: check the host in {url}") \
    X(TLS_ISSUER,      "tls",     "tls_certificate_error", 0,   UPSTREAM_CERT, TOKEN_TLS, "The certificate of {server} is from an authority that is not trusted here: if you expected this authority, add its certificate to {ca}") \
    X(TLS_CERTIFICATE, "tls",     "tls_certificate_error", 0,   UPSTREAM_CERT, TOKEN_TLS, "The certificate of {server} does not verify: see {ca}, and try doctor") \
    X(TLS_OURS,        "tls",     "tls_alert_received",    0,   UPSTREAM_TLS,  TOKEN_TLS, "{Server} wants a client certificate, or another one: set {certificate} and its key") \
    X(TLS_VERSION,     "tls",     "tls_protocol_error",    0,   UPSTREAM_TLS,  TOKEN_TLS, "{Server} offers no TLS of version 1.2 or later: who runs it must update it") \
    X(TLS_NONE,        "tls",     "tls_protocol_error",    0,   UPSTREAM_TLS,  TOKEN_TLS, "What answers there speaks no TLS: check scheme and port in {url}") \
    X(TLS_CUT,         "tls",     "tls_protocol_error",    0,   UPSTREAM_TLS,  TOKEN_TLS, "The connection to {server} was cut in the TLS handshake: something on the way, or the server, ended it") \
    X(TLS_TIMEOUT,     "tls",     "connection_timeout",    504, UPSTREAM_CONNECT_TIMEOUT, TOKEN_TLS, "The TLS handshake with {server} took longer than {timeout}") \
    X(TLS_OTHER,       "tls",     "tls_protocol_error",    0,   UPSTREAM_TLS,  TOKEN_TLS, "The TLS handshake with {server} failed: try doctor") \
    X(CA_FILE,         "tls",     "tls_certificate_error", 0,   UPSTREAM_CERT, TOKEN_TLS, "The authorities to trust cannot be read: check {ca}") \
    X(CUT,             "send",    "connection_terminated", 0,   UPSTREAM_CONNECT, TOKEN_CONNECT, "The connection to {server} ended before the request was sent") \
    X(NO_ANSWER,       "answer",  "connection_terminated", 0,   UPSTREAM_LOST, TOKEN_UNAVAILABLE, "The connection to {server} was lost before a whole answer came") \
    X(ANSWER_LATE,     "answer",  "http_response_timeout", 504, UPSTREAM_RESPONSE_TIMEOUT, TOKEN_TIMEOUT, "{Server} did not answer within {answer_timeout}") \
    X(NOT_HTTP,        "answer",  "http_protocol_error",   0,   UPSTREAM_PROTOCOL, TOKEN_INVALID, "What {server} sent is not HTTP: check {url}") \
    X(NO_DESCRIPTORS,  "here",    "connection_limit_reached", 0, OVERLOAD, OVERLOAD, "No descriptor is left for a connection to {server}; raise RLIMIT_NOFILE or lower listen.max_connections") \
    X(NO_MEMORY,       "here",    "proxy_internal_error",  0,   INTERNAL, INTERNAL, "There is no memory left") \
    X(OTHER,           "answer",  NULL,                    0,   UPSTREAM_PROTOCOL, TOKEN_INVALID, "The exchange with {server} failed")
/* clang-format on */

#define LEG_FAULT_ID(id, part, error, status, upstream, token, text) LEG_##id,
enum leg_fault { LEG_FAULTS(LEG_FAULT_ID) LEG_FAULT_COUNT };

/* Finds the row of the table. message: libcurl's error message, since some TLS faults can be
 * told apart by nothing else. */
enum leg_fault leg_fault_of(const struct leg_facts *f, const char *message);
/* "name", "proxy", "connect", "tls", "send", "answer", "here". For tests. */
const char *leg_fault_part(enum leg_fault fault);

/* The row as a failure of that leg. `note` is added to the sentence in parentheses; may be
 * NULL. */
struct failure leg_failure(enum leg leg, enum leg_fault fault, const struct leg_facts *f,
                           const char *note);

/* Prints the table for docs/errors.md. Returns 0 or -ENOMEM. */
int leg_error_print_markdown(struct buf *out) MUST_CHECK;

#pragma once
/* TLS and HTTP for doctor, with the library and the settings that the gateway uses. Each
 * call runs on a loop of its own until it is done or its deadline has passed. Thread:
 * control, one call at a time. */
#include "base/base.h"
#include "config/config.h"
#include "config/outbound.h"
#include "token/token.h"
#include "token/token_client.h"

struct doctor_call {
    /* arguments */
    const struct config *config;
    enum leg leg; /* whose TLS and proxy settings to use */
    const char *url;
    const struct token *token; /* NULL: send none */
    enum doctor_what {
        DOCTOR_ROUTE,
        DOCTOR_CONNECT,
        DOCTOR_HANDSHAKE,
        DOCTOR_LOOK,
        DOCTOR_GET
    } what;
    int64_t deadline_ms;
    /* results */
    enum doctor_end {
        DOCTOR_DONE,
        DOCTOR_NO_NAME,   /* the name of the target or the proxy does not resolve */
        DOCTOR_REFUSED,   /* the connection was refused */
        DOCTOR_LATE,      /* no result before the deadline */
        DOCTOR_UNTRUSTED, /* the certificate does not verify */
        DOCTOR_NO_TLS,
        DOCTOR_PROXY, /* it refused to connect */
        DOCTOR_BROKEN,
    } end;
    bool proxied; /* DOCTOR_ROUTE: an outbound proxy would be used */
    int status, connect_status;
    int64_t date_s; /* Date of the answer; 0: none */
    int64_t took_ms;
    bool is_html;
    char why[256]; /* libcurl's error message, or in general if that may hold credentials */
    struct {
        bool seen;
        char subject[256], issuer[256], names[256], tls[16];
        int64_t not_before_s, not_after_s;
        long result; /* X509_V_OK or an X509_V_ERR_* */
        bool expired, not_yet, unknown_issuer, self_signed;
        bool asked_for_ours; /* the server asked for a client certificate, and none is set */
    } certificate;
};

/* DOCTOR_ROUTE connects to nobody. DOCTOR_CONNECT ends after the handshake. DOCTOR_LOOK
 * makes a request without credentials and accepts any certificate, only to learn the
 * server's time. DOCTOR_HANDSHAKE ends after a handshake with any certificate, only to learn
 * whether there is TLS. */
void doctor_call(struct doctor_call *c);

/* Fetches one token as the gateway does. The caller owns the token in the result. */
void doctor_fetch(const struct config *config, int64_t deadline_ms,
                  struct token_client_result *result);

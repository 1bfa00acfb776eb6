#pragma once
/* TLS and HTTP for doctor, by the library and with the settings that the gateway uses. Each call
 * runs on a loop of its own until it is done or its deadline is over. Thread: control, one call
 * at a time. */
#include "base/base.h"
#include "config/config.h"
#include "config/outbound.h"
#include "token/token.h"
#include "token/token_client.h"

struct doctor_call {
    /* what to do */
    const struct config *config;
    enum config_leg leg; /* whose TLS and proxy settings count */
    const char *url;
    const struct token *token; /* NULL: none is sent */
    enum doctor_what {
        DOCTOR_ROUTE,
        DOCTOR_CONNECT,
        DOCTOR_HANDSHAKE,
        DOCTOR_LOOK,
        DOCTOR_GET
    } what;
    int64_t deadline_ms;
    /* what came of it */
    enum doctor_end {
        DOCTOR_DONE,
        DOCTOR_NO_NAME,   /* of the target or the proxy */
        DOCTOR_REFUSED,   /* connection */
        DOCTOR_LATE,      /* not by the deadline */
        DOCTOR_UNTRUSTED, /* certificate */
        DOCTOR_NO_TLS,
        DOCTOR_PROXY, /* it did not let us through */
        DOCTOR_BROKEN,
    } end;
    bool proxied; /* DOCTOR_ROUTE: an outbound proxy would be used */
    int status, connect_status;
    int64_t date_s; /* of the answer; 0: it says none */
    int64_t took_ms;
    bool is_html;
    char why[256]; /* libcurl's words */
    struct {
        bool seen;
        char subject[256], issuer[256], names[256], tls[16];
        int64_t not_before_s, not_after_s;
        long result; /* X509_V_OK or an X509_V_ERR_* */
        bool expired, not_yet, unknown_issuer, self_signed;
        bool asked_for_ours; /* the server did, and there is none */
    } certificate;
};

/* DOCTOR_ROUTE asks nobody. DOCTOR_CONNECT ends after the handshake. DOCTOR_LOOK asks without
 * credentials and takes any certificate: for what it says of the time, no more. DOCTOR_HANDSHAKE
 * ends after a handshake with any certificate: for whether there is TLS at all. */
void doctor_call(struct doctor_call *c);

/* One token fetch as the gateway does it. The result's token is the caller's. */
void doctor_fetch(const struct config *config, int64_t deadline_ms,
                  struct token_client_result *result);

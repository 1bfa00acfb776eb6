#pragma once
/* What doctor.c is made of. For the doctor*.c files only. */
#include <netdb.h>

#include "base/base.h"
#include "base/buf.h"
#include "config/config.h"
#include "config/outbound.h"
#include "config/url.h"
#include "token/token.h"
#include "token/token_client.h"

/* Whom to reach, and which settings are to blame if it cannot be. */
struct doctor_target {
    const char *name; /* "upstream", "token" */
    const char *url_key, *ca_key, *proxy_key;
    const char *url, *proxy;
    const char *ca_file; /* NULL: the system's */
    enum config_leg leg;
    char host[256];
    int port;
    bool tls;
};

/* What is known so far. */
struct doctor {
    struct config *config; /* NULL: the settings are not good */
    struct token *token;   /* NULL: none yet */
    int64_t deadline_ms;   /* for the whole of it */
    int steps, failed;
    bool skew_known;
    int64_t skew_s; /* this machine's clock is so far ahead of the other side's */
};

/* The end of a step that may take `ms` from now. */
int64_t doctor_until(const struct doctor *d, int64_t ms);
/* Notes what the other side's clock says; 0: nothing. */
void doctor_note_date(struct doctor *d, int64_t date_s);

/* --- doctor_say.c: what is printed ----------------------------------------------------------
 */

enum doctor_verdict { DOCTOR_OK, DOCTOR_NOTE, DOCTOR_FAILED, DOCTOR_SKIPPED };

#define DOCTOR_LINE_BYTES 1024 /* longer ones are cut */

/* Prints one step's line and counts it. Others' text in it moves no cursor, and the secrets
 * that `d` knows do not pass. */
void doctor_say(struct doctor *d, const char *step, enum doctor_verdict v, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
/* "3 days", "2 hours", "40 seconds", without the sign. Returns `out`. */
const char *doctor_span(int64_t seconds, char out[32]);

/* --- doctor_target.c: one host -------------------------------------------------------------
 */

/* Proxy, name, connection and TLS, each said. Returns whether the target is reached. */
bool doctor_try(struct doctor *d, const struct doctor_target *t);

/* --- doctor_net.c: names and plain connections ---------------------------------------------
 */

/* Looks up. Returns 0, an EAI_* code, or -ETIMEDOUT. Owns: freeaddrinfo. */
int doctor_resolve(const char *host, int port, int64_t deadline_ms, struct addrinfo **found);
/* "203.0.113.7" */
void doctor_address(const struct addrinfo *a, char *out, size_t size);
/* Connects to one address after the other and closes again. Appends what came of each to
 * `said`. Returns 0 or the -errno of the last. */
int doctor_connect(const struct addrinfo *found, int64_t deadline_ms, struct buf *said);

/* --- doctor_http.c: TLS and HTTP, by the library that the gateway uses ----------------------
 */

struct doctor_call {
    /* what to do */
    const struct config *config;
    const struct doctor_target *target;
    const char *url;
    const struct token *token; /* NULL: none is sent */
    enum doctor_what { DOCTOR_ROUTE, DOCTOR_CONNECT, DOCTOR_LOOK, DOCTOR_GET } what;
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
        long verdict; /* X509_V_OK or an X509_V_ERR_* */
        bool expired, not_yet, unknown_issuer, self_signed;
        bool asked_for_ours; /* the server did, and there is none */
    } certificate;
};

/* DOCTOR_ROUTE asks nobody. DOCTOR_CONNECT ends after the handshake. DOCTOR_LOOK asks without
 * credentials and takes any certificate: for what it says of the time, no more. */
void doctor_call(struct doctor_call *c);

/* One token fetch as the gateway does it. The result's token is the caller's. */
void doctor_fetch(const struct config *config, int64_t deadline_ms,
                  struct token_client_result *result);

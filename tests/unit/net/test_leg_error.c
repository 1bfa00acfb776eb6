/* leg_error.c: which part of a connection is reported as the one that failed, and with which
 * text. */
#include <openssl/x509_vfy.h>
#include <string.h>

#include "net/leg_error.h"
#include "unit.h"

static void each_fault_is_told_whole_on_both_legs(void **state)
{
    (void)state;
    for (int leg = 0; leg < LEG_COUNT; leg++)
        for (int i = 0; i < LEG_FAULT_COUNT; i++) {
            const struct leg_facts facts = { .connect_status = 503 };
            struct failure f = leg_failure((enum leg)leg, (enum leg_fault)i, &facts, NULL);
            size_t len = strlen(f.detail);

            assert_true(len > 20 && len < sizeof f.detail - 1); /* nothing was cut */
            assert_int_equal(f.detail[len - 1], '.');
            assert_null(strpbrk(f.detail, "{}"));
            assert_null(strstr(f.detail, leg == LEG_UPSTREAM ? "token." : "base_url"));
        }
}

static void what_libcurl_says_is_told_apart_by_what_else_is_known(void **state)
{
    static const struct {
        struct leg_facts facts;
        const char *words;
        enum leg_fault fault;
    } cases[] = {
        { { .code = CURLE_COULDNT_RESOLVE_HOST }, "", LEG_NAME_MISSING },
        { { .code = CURLE_COULDNT_RESOLVE_HOST, .name_silent = true }, "", LEG_NAME_SILENT },
        { { .code = CURLE_COULDNT_RESOLVE_PROXY, .name_silent = true }, "", LEG_NAME_SILENT },
        { { .code = CURLE_COULDNT_RESOLVE_PROXY }, "", LEG_PROXY_NAME },
        { { .code = CURLE_COULDNT_CONNECT }, "", LEG_CONNECT_REFUSED },
        { { .code = CURLE_COULDNT_CONNECT, .proxied = true }, "", LEG_PROXY_CONNECT },
        { { .code = CURLE_COULDNT_CONNECT, .starved = true }, "", LEG_NO_DESCRIPTORS },
        { { .code = CURLE_COULDNT_RESOLVE_HOST, .starved = true }, "", LEG_NO_DESCRIPTORS },
        { { .code = CURLE_COULDNT_RESOLVE_PROXY, .starved = true }, "", LEG_NO_DESCRIPTORS },
        { { .code = CURLE_RECV_ERROR, .connect_status = 407 }, "", LEG_PROXY_CREDENTIALS },
        { { .code = CURLE_RECV_ERROR, .connect_status = 302 }, "", LEG_PROXY_REFUSED },
        { { .code = CURLE_COULDNT_CONNECT, .connect_status = 500, .proxied = true },
          "",
          LEG_PROXY_REFUSED },
        { { .code = CURLE_GOT_NOTHING, .proxied = true }, "", LEG_PROXY_BROKEN },
        { { .code = CURLE_GOT_NOTHING, .proxied = true, .connect_status = 200 },
          "",
          LEG_NO_ANSWER },
        { { .code = CURLE_OPERATION_TIMEDOUT }, "", LEG_NAME_SILENT },
        { { .code = CURLE_OPERATION_TIMEDOUT, .resolved = true }, "", LEG_CONNECT_TIMEOUT },
        { { .code = CURLE_OPERATION_TIMEDOUT, .resolved = true, .connected = true },
          "",
          LEG_TLS_TIMEOUT },
        { { .code = CURLE_OPERATION_TIMEDOUT,
            .resolved = true,
            .connected = true,
            .proxied = true },
          "",
          LEG_PROXY_TIMEOUT },
        { { .code = CURLE_PEER_FAILED_VERIFICATION,
            .verify_result = X509_V_ERR_CERT_HAS_EXPIRED },
          "",
          LEG_TLS_EXPIRED },
        { { .code = CURLE_PEER_FAILED_VERIFICATION,
            .verify_result = X509_V_ERR_CERT_NOT_YET_VALID },
          "",
          LEG_TLS_NOT_YET },
        { { .code = CURLE_PEER_FAILED_VERIFICATION, .verify_result = 1 },
          "SSL: no alternative certificate subject name matches target host name 'a'",
          LEG_TLS_NAME },
        { { .code = CURLE_PEER_FAILED_VERIFICATION,
            .verify_result = X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY },
          "",
          LEG_TLS_ISSUER },
        { { .code = CURLE_PEER_FAILED_VERIFICATION, .verify_result = X509_V_ERR_CERT_REVOKED },
          "",
          LEG_TLS_CERTIFICATE },
        { { .code = CURLE_RECV_ERROR, .connected = true, .secured = true },
          "OpenSSL SSL_read: tlsv13 alert certificate required, errno 0",
          LEG_TLS_OURS },
        { { .code = CURLE_SSL_CONNECT_ERROR },
          "tlsv1 alert protocol version",
          LEG_TLS_VERSION },
        { { .code = CURLE_SSL_CONNECT_ERROR }, "wrong version number", LEG_TLS_NONE },
        { { .code = CURLE_SSL_CONNECT_ERROR }, "unexpected eof while reading", LEG_TLS_CUT },
        { { .code = CURLE_SSL_CONNECT_ERROR }, "something else", LEG_TLS_OTHER },
        { { .code = CURLE_WEIRD_SERVER_REPLY }, "", LEG_NOT_HTTP },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (leg_fault_of(&cases[i].facts, cases[i].words) != cases[i].fault)
            fail_msg("case %zu is told as part %s, row %d", i,
                     leg_fault_part(leg_fault_of(&cases[i].facts, cases[i].words)),
                     (int)leg_fault_of(&cases[i].facts, cases[i].words));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_fault_is_told_whole_on_both_legs),
        cmocka_unit_test(what_libcurl_says_is_told_apart_by_what_else_is_known),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* caller.c: exactly one section must match, and a wrong proof is never ignored. */
#include <string.h>

#include "rights/caller.h"
#include "unit.h"

#define SECRET_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define SECRET_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define SECRET_C "cccccccccccccccccccccccccccccccccccccccc"

enum { SOCKET, MTLS, SECRET, BOTH, OTHER };

static const char *const spiffe[] = { "spiffe://prod/ns/pay/sa/payroll",
                                      "spiffe://prod/other" };
static struct callers all;
static struct caller_secrets *secrets;

static struct caller plain(const char *name)
{
    return (struct caller){ .name = name, .uid = -1, .gid = -1 };
}

static int setup(void **state)
{
    (void)state;
    memset(&all, 0, sizeof all);
    all.caller[SOCKET] = plain("socket");
    all.caller[SOCKET].listeners = 1;
    all.caller[SOCKET].uid = 1001;
    all.caller[MTLS] = plain("mtls");
    all.caller[MTLS].uri = (struct caller_names){ spiffe, 1 };
    all.caller[SECRET] = plain("secret");
    all.caller[BOTH] = plain("both");
    all.caller[BOTH].listeners = 2;
    all.with_secret = 1U << SECRET | 1U << BOTH;
    const struct caller_secret texts[] = { { SECRET, SECRET_A, strlen(SECRET_A) },
                                           { SECRET, SECRET_B, strlen(SECRET_B) },
                                           { BOTH, SECRET_C, strlen(SECRET_C) } };
    secrets = caller_secrets_new(1, texts, ARRAY_LEN(texts));
    all.caller[OTHER] = plain("other");
    all.caller[OTHER].is_other = true;
    all.count = 5;
    all.owned = 3;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    caller_secrets_unref(secrets);
    return 0;
}

static const struct caller_facts nothing = { .uid = -1, .gid = -1 };

static struct caller_recognised who(const struct caller_facts *f, const char *header,
                                    const char *bearer)
{
    struct caller_proofs p = { .secrets = secrets,
                               .header = header,
                               .bearer = bearer,
                               .header_len = header == NULL ? 0 : strlen(header),
                               .bearer_len = bearer == NULL ? 0 : strlen(bearer) };

    return callers_recognise(&all, callers_of_connection(&all, f), f, &p);
}

static void assert_is(int caller, struct caller_recognised r)
{
    assert_int_equal(r.why, CALLER_KNOWN);
    assert_ptr_equal(r.caller, &all.caller[caller]);
}

static void assert_nobody(enum caller_unknown why, struct caller_recognised r)
{
    assert_null(r.caller);
    assert_int_equal(r.why, why);
}

static void each_proof_recognises_its_caller(void **state)
{
    (void)state;
    const struct caller_facts by_socket = { .listener = 1, .uid = 1001, .gid = 5 };
    const struct caller_facts by_tls = { .uid = -1, .gid = -1, .uri = { spiffe, 1 } };

    assert_is(SOCKET, who(&by_socket, NULL, NULL));
    assert_is(MTLS, who(&by_tls, NULL, NULL));
    assert_is(SECRET, who(&nothing, SECRET_A, NULL));
    assert_is(SECRET, who(&nothing, SECRET_B, NULL));
    assert_is(SECRET, who(&nothing, NULL, SECRET_A));
    assert_is(SECRET, who(&nothing, SECRET_A, "oneshot-proxy-placeholder"));
}

static void who_shows_nothing_is_other_and_a_bearer_of_nobody_is_nothing(void **state)
{
    (void)state;
    assert_is(OTHER, who(&nothing, NULL, NULL));
    assert_is(OTHER, who(&nothing, NULL, "oneshot-proxy-placeholder"));
    all.count--; /* without [caller other] */
    assert_nobody(CALLER_NO_PROOF, who(&nothing, NULL, NULL));
    all.count++;
}

static void a_wrong_secret_in_the_header_is_never_other(void **state)
{
    (void)state;
    const struct caller_facts by_tls = { .uid = -1, .gid = -1, .uri = { spiffe, 1 } };

    assert_nobody(CALLER_BAD_SECRET, who(&nothing, "wrong", NULL));
    assert_nobody(CALLER_BAD_SECRET, who(&nothing, "", NULL));
    assert_nobody(CALLER_BAD_SECRET, who(&nothing, SECRET_A "x", NULL));
    assert_nobody(CALLER_BAD_SECRET, who(&by_tls, "wrong", NULL));
    /* right, but of a caller that must come by an address of its own */
    assert_nobody(CALLER_BAD_SECRET, who(&nothing, SECRET_C, NULL));
    struct caller_proofs twice = { .secrets = secrets,
                                   .header = SECRET_A,
                                   .header_len = strlen(SECRET_A),
                                   .header_twice = true };
    assert_nobody(
        CALLER_SECRET_TWICE,
        callers_recognise(&all, callers_of_connection(&all, &nothing), &nothing, &twice));
}

static void an_address_of_its_own_serves_one_caller(void **state)
{
    (void)state;
    const struct caller_facts wrong_uid = { .listener = 1, .uid = 1002, .gid = 5 };
    const struct caller_facts right = { .listener = 1, .uid = 1001, .gid = 5 };
    const struct caller_facts second = { .listener = 2, .uid = -1, .gid = -1 };

    assert_nobody(CALLER_WRONG_ADDRESS, who(&wrong_uid, NULL, NULL));
    assert_nobody(CALLER_WRONG_ADDRESS, who(&wrong_uid, SECRET_A, NULL));
    assert_nobody(CALLER_SEVERAL, who(&right, SECRET_A, NULL));
    assert_is(BOTH, who(&second, SECRET_C, NULL));
    assert_nobody(CALLER_WRONG_ADDRESS, who(&second, NULL, NULL));
    assert_nobody(CALLER_WRONG_ADDRESS, who(&second, SECRET_A, NULL));
}

static void two_that_fit_are_nobody(void **state)
{
    (void)state;
    const struct caller_facts by_tls = { .uid = -1, .gid = -1, .uri = { spiffe, 1 } };
    struct caller_recognised r = who(&by_tls, SECRET_A, NULL);

    assert_nobody(CALLER_SEVERAL, r);
    assert_int_equal(r.fit, 1U << MTLS | 1U << SECRET);
    assert_nobody(CALLER_SEVERAL, who(&by_tls, NULL, SECRET_B));
}

static void a_certificate_with_two_uris_matches_none_of_them(void **state)
{
    (void)state;
    const struct caller_facts two = { .uid = -1, .gid = -1, .uri = { spiffe, 2 } };
    static const char *const dns[] = { "payroll.example" };
    const struct caller_facts named = {
        .uid = -1, .gid = -1, .uri = { spiffe, 2 }, .dns = { dns, 1 }
    };

    assert_is(OTHER, who(&two, NULL, NULL));
    all.caller[MTLS].dns = (struct caller_names){ dns, 1 };
    assert_is(MTLS, who(&named, NULL, NULL));
    all.caller[MTLS].dns.count = 0;
    all.caller[MTLS].subject = (struct caller_names){ dns, 1 };
    const struct caller_facts subject = { .uid = -1, .gid = -1, .subject = "payroll.example" };
    assert_is(MTLS, who(&subject, NULL, NULL));
}

#define EACH(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(each_proof_recognises_its_caller),
        EACH(who_shows_nothing_is_other_and_a_bearer_of_nobody_is_nothing),
        EACH(a_wrong_secret_in_the_header_is_never_other),
        EACH(an_address_of_its_own_serves_one_caller),
        EACH(two_that_fit_are_nobody),
        EACH(a_certificate_with_two_uris_matches_none_of_them),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

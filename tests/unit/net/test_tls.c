/* tls.c: checking the form of certificates without parsing them. */
#include <stdio.h>
#include <string.h>

#include "net/tls.h"
#include "unit.h"

#define BEGIN "-----BEGIN CERTIFICATE-----\n"
#define END "-----END CERTIFICATE-----\n"

/* Of P-256, for a hundred years, by itself. */
static const char body[] = "MIIBcDCCARWgAwIBAgIUOjoF8rOASGVft3OxUPW4QMgQYT8wCgYIKoZIzj0EAwIw\n"
                           "DDEKMAgGA1UEAwwBYTAgFw0yNjExMjkwMTA1NDNaGA8yMTI2MTEwNTAxMDU0M1ow\n"
                           "DDEKMAgGA1UEAwwBYTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABF1/GGuVmrr7\n"
                           "JJqlzgND5mt1snWb7rOewit6uCh5Zd9wtjDgGz7862J95qzSxTIA16UsIJpK1jRJ\n"
                           "5tI73/4CuU+jUzBRMB0GA1UdDgQWBBSttZkoKfmzxUJ7dAulGBu+y6YGcjAfBgNV\n"
                           "HSMEGDAWgBSttZkoKfmzxUJ7dAulGBu+y6YGcjAPBgNVHRMBAf8EBTADAQH/MAoG\n"
                           "CCqGSM49BAMCA0kAMEYCIQCG7OmRP86VOrEzFbQU4VK/HSgfhDX8ELDm3OzfD+DY\n"
                           "CQIhAOxWaczB/Gu+rp3RRrBuVUfF6ONfnXXqfh7YI5AHYVR+\n";

static const char *why_of(const char *before, size_t body_len, const char *behind)
{
    char text[4096];
    const char *why = "";

    (void)snprintf(text, sizeof text, "%s%.*s%s", before, (int)body_len, body, behind);
    bool good = tls_is_certificates(text, strlen(text), &why);

    assert_int_equal(good, why == NULL);
    return why;
}

static void whole_certificates_are_good(void **state)
{
    (void)state;
    assert_null(why_of(BEGIN, sizeof body - 1, END));
    assert_null(why_of("# an authority\n" BEGIN, sizeof body - 1, END "\n# and no other\n"));
}

static void what_holds_none_is_not(void **state)
{
    (void)state;
    static const char *const texts[] = { "", "\n", "<html>502 Bad Gateway</html>", END };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_string_equal(why_of(texts[i], 0, ""), "holds no certificate");
}

/* Cut at every byte, with and without an end that would hide it. */
static void a_half_is_not(void **state)
{
    (void)state;
    for (size_t n = 0; n < sizeof body - 2; n++) {
        assert_non_null(strstr(why_of(BEGIN, n, ""), "half written"));
        assert_non_null(strstr(why_of(BEGIN, n, "\n" END), "half written"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_certificates_are_good),
        cmocka_unit_test(what_holds_none_is_not),
        cmocka_unit_test(a_half_is_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* ledger/fingerprint.c: what makes two requests the same. */
#include "ledger/fingerprint.h"
#include "unit.h"

struct request {
    const char *method, *origin, *prefix, *path, *body;
};

static void of(const struct request *q, unsigned char out[LEDGER_FINGERPRINT_BYTES])
{
    struct ledger_fingerprint f;
    size_t len = strlen(q->body);

    assert_int_equal(
        ledger_fingerprint_init(&f, &(struct ledger_fingerprint_head){ .method = q->method,
                                                                       .origin = q->origin,
                                                                       .prefix = q->prefix,
                                                                       .path = q->path }),
        0);
    for (size_t i = 0; i < len; i++)
        ledger_fingerprint_add(&f, q->body + i, 1);
    assert_true(ledger_fingerprint_end(&f, out));
}

static void it_is_the_digest_of_parts_with_their_lengths_and_the_body(void **state)
{
    /* sha256 of "\0\0\0\0\0\0\0\4POST" "\0\0\0\0\0\0\0\10https://a" "\0\0\0\0\0\0\0\5/v0/x"
     * "{}" */
    static const unsigned char expected[LEDGER_FINGERPRINT_BYTES] = {
        0x67, 0xa9, 0x05, 0xfd, 0x50, 0x15, 0x25, 0xd2, 0x66, 0x36, 0x3d,
        0x93, 0x86, 0xcc, 0xf5, 0xec, 0xc5, 0xf1, 0xb5, 0xe4, 0xe2, 0x1d,
        0x55, 0x48, 0xdb, 0xd0, 0x46, 0x1b, 0x2b, 0x98, 0xd5, 0x6f
    };
    unsigned char got[LEDGER_FINGERPRINT_BYTES];
    (void)state;
    of(&(struct request){ "POST", "https://a", "/v0", "/x", "{}" }, got);
    assert_memory_equal(got, expected, sizeof got);
}

static void what_goes_upstream_counts_and_no_part_runs_into_the_next(void **state)
{
    static const struct request same = { "POST", "https://a", "/v0", "/x", "{}" },
                                split = { "POST", "https://a", "", "/v0/x", "{}" };
    static const struct request others[] = {
        { "PUT", "https://a", "/v0", "/x", "{}" },
        { "POST", "https://b", "/v0", "/x", "{}" },
        { "POST", "https://a", "/v0", "/y", "{}" },
        { "POST", "https://a", "/v0", "/x?", "{}" },
        { "POST", "https://a", "/v0", "/x", "{ }" },
        { "POST", "https://a", "/v0", "/x", "" },
        { "POST", "https://a", "/v0", "/x{", "}" },
        { "POSTh", "ttps://a", "/v0", "/x", "{}" },
        { "POST", "https://a/", "v0", "/x", "{}" },
    };
    unsigned char first[LEDGER_FINGERPRINT_BYTES], other[LEDGER_FINGERPRINT_BYTES];
    (void)state;
    of(&same, first);
    of(&split, other);
    assert_memory_equal(first, other, sizeof first);
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        of(&others[i], other);
        assert_memory_not_equal(first, other, sizeof first);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_the_digest_of_parts_with_their_lengths_and_the_body),
        cmocka_unit_test(what_goes_upstream_counts_and_no_part_runs_into_the_next),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

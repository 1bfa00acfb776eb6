/* files.c: the files that settings name: secrets and PEM. */
#include "config/config_case.h"

static void a_secret_file_is_read_to_the_byte(void **state)
{
    static char large[65536 + 2];
    static const struct {
        const char *bytes;
        size_t len;
        const char *expected; /* NULL: refused */
        const char *why;
    } cases[] = {
        { "secret", 6, "secret", NULL },
        { "secret\n", 7, "secret", NULL },
        { "secret\r\n", 8, "secret", NULL },
        { "secret\n\n", 8, NULL, ": has a control byte, 0x0a at byte 7 of 7" },
        { "\xEF\xBB\xBFs", 4, NULL, ": begins with a byte order mark" },
        { "secret\r", 7, NULL, ": has a control byte, 0x0d at byte 7 of 7" },
        { "  se cret ", 10, "  se cret ", NULL },
        { "\r", 1, NULL, "0x0d at byte 1" },
        { "", 0, NULL, "is empty" },
        { "\n", 1, NULL, "is empty" },
        { "\r\n", 2, NULL, "is empty" },
        { "a\0b", 3, NULL, "0x00 at byte 2 of 3" },
        { large, 65536, large, NULL },
        { large, 65537, NULL, "too large" },
        { large, 65538, NULL, "too large" },
    };

    (void)state;
    memset(large, 'L', sizeof large);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        auto_scratch struct scratch s = scratch_new();
        struct buf errors;

        buf_init(&errors, 1000);
        struct secret *secret = config_read_secret_file(
            scratch_write(&s, cases[i].bytes, cases[i].len, 0600), &errors);
        if (cases[i].expected == NULL) {
            assert_null(secret);
            assert_says(errors, cases[i].why);
        } else {
            assert_non_null(secret);
            if (cases[i].expected != large)
                assert_string_equal(secret_text(secret), cases[i].expected);
            else
                assert_int_equal(secret_len(secret), 65536);
            assert_int_equal(buf_unread(&errors), 0);
        }
        secret_free(secret);
        buf_done(&errors);
    }
}

static void credentials_are_read_again_from_their_files(void **state)
{
    char text[512], *id = NULL;
    struct secret *secret = NULL;
    struct buf errors;

    (void)state;
    auto_scratch struct scratch s = scratch_new();
    const char *id_path = scratch_write(&s, "id-1\n", 5, 0600);
    const char *secret_path = scratch_write(&s, "secret-1\n", 9, 0600);

    (void)snprintf(text, sizeof text, "[token]\nclient_id_file = %s\nclient_secret_file = %s\n",
                   id_path, secret_path);
    auto_result struct result r = load(text);
    assert_loads(r);
    assert_string_equal(r.config->token.client_id, "id-1");
    buf_init(&errors, 1000);

    s.count = 0; /* write the same two once more */
    (void)scratch_write(&s, "id-2\n", 5, 0600);
    (void)scratch_write(&s, "secret-2\n", 9, 0600);
    assert_int_equal(config_credentials(r.config, &id, &secret, &errors), 0);
    assert_string_equal(id, "id-2");
    assert_string_equal(secret_text(secret), "secret-2");
    free(id);
    secret_free(secret);

    /* half a rotation: neither is taken */
    assert_int_equal(unlink(secret_path), 0);
    assert_true(config_credentials(r.config, &id, &secret, &errors) < 0);
    assert_says(errors, secret_path);
    assert_says(errors, "cannot be read");
    assert_string_equal(id, "id-1");
    assert_string_equal(secret_text(secret), "secret-1");
    free(id);
    secret_free(secret);
    buf_done(&errors);
}

static void credentials_without_files_stay_as_loaded(void **state)
{
    char *id = NULL;
    struct secret *secret = NULL;
    struct buf errors;

    (void)state;
    auto_result struct result r = load(CREDENTIALS);
    assert_loads(r);
    buf_init(&errors, 1000);
    assert_int_equal(config_credentials(r.config, &id, &secret, &errors), 0);
    assert_string_equal(id, "id");
    assert_string_equal(secret_text(secret), "s3cret");
    free(id);
    secret_free(secret);
    buf_done(&errors);
}

/* As in /proc: 0 bytes are said to be in it. */
static void a_file_that_tells_no_size_is_read_whole(void **state)
{
    static const char path[] = "/proc/version";
    char expected[4096], why[256] = "";
    FILE *file = fopen(path, "re");
    size_t len = 0;

    (void)state;
    assert_non_null(file);
    size_t n = fread(expected, 1, sizeof expected, file);
    (void)fclose(file);
    assert_true(n > 1 && n < sizeof expected);
    for (size_t most = n; most <= sizeof expected; most += sizeof expected - n) {
        char *text = config_file_read(path, most, &len, why, sizeof why);

        assert_non_null(text);
        assert_int_equal(len, n);
        assert_memory_equal(text, expected, n);
        config_file_free(text, len);
    }
    assert_null(config_file_read(path, n - 1, &len, why, sizeof why));
    assert_non_null(strstr(why, "is too large"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_secret_file_is_read_to_the_byte),
        cmocka_unit_test(credentials_are_read_again_from_their_files),
        cmocka_unit_test(credentials_without_files_stay_as_loaded),
        cmocka_unit_test(a_file_that_tells_no_size_is_read_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

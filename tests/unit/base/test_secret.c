/* secret.c: the bytes are kept exactly, in pages of their own, and the process is closed. */
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "base/secret.h"
#include "unit.h"

static void a_secret_keeps_its_bytes_with_a_nul_behind_them(void **state)
{
    struct secret *s = secret_new("a\0b", 3);

    (void)state;
    assert_non_null(s);
    assert_int_equal(secret_len(s), 3);
    assert_memory_equal(secret_text(s), "a\0b", 4);
    secret_free(s);

    s = secret_new(NULL, 0);
    assert_non_null(s);
    assert_int_equal(secret_len(s), 0);
    assert_string_equal(secret_text(s), "");
    secret_free(s);
    secret_free(NULL);
}

static void a_prefix_stands_in_front(void **state)
{
    struct secret *s = secret_prefixed("Authorization: Bearer ", "abc=", 4);

    (void)state;
    assert_non_null(s);
    assert_string_equal(secret_text(s), "Authorization: Bearer abc=");
    assert_int_equal(secret_len(s), 26);
    secret_free(s);
}

static void a_secret_above_64_kib_is_refused(void **state)
{
    static char big[65537];

    (void)state;
    memset(big, 's', sizeof big);
    assert_null(secret_new(big, sizeof big));
    assert_null(secret_prefixed("x", big, 65536));

    struct secret *s = secret_new(big, 65536);
    assert_non_null(s);
    assert_memory_equal(secret_text(s), big, 65536);
    assert_int_equal(secret_text(s)[65536], 0);
    secret_free(s);
}

static void equal_means_same_length_and_bytes(void **state)
{
    struct secret *a = secret_new("abc", 3);
    struct secret *b = secret_new("abc", 3);
    struct secret *c = secret_new("abd", 3);
    struct secret *d = secret_new("abcd", 4);

    (void)state;
    assert_true(secret_equal(a, b));
    assert_false(secret_equal(a, c));
    assert_false(secret_equal(a, d));
    assert_false(secret_equal(a, NULL));
    assert_true(secret_equal(NULL, NULL));
    assert_true(secret_bytes_equal("ab", 2, "abc", 2));
    assert_false(secret_bytes_equal("ab", 2, "abc", 3));
    assert_false(secret_bytes_equal("ab", 2, "aB", 2));
    assert_true(secret_bytes_equal("", 0, "", 0));
    secret_free(a);
    secret_free(b);
    secret_free(c);
    secret_free(d);
}

static void wiping_leaves_zeros(void **state)
{
    char text[] = "canary";

    (void)state;
    secret_wipe(text, sizeof text);
    for (size_t i = 0; i < sizeof text; i++)
        assert_int_equal(text[i], 0);
    secret_wipe(NULL, 0);
}

/* The flags line of the mapping that holds p, as the kernel shows it. */
static void mapping_flags(const void *p, char *flags, size_t size)
{
    FILE *f = fopen("/proc/self/smaps", "re");
    char line[512];
    bool here = false;

    flags[0] = '\0';
    assert_non_null(f);
    while (fgets(line, sizeof line, f) != NULL) {
        unsigned long from;
        unsigned long to;
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
            here = (uintptr_t)p >= from && (uintptr_t)p < to;
        else if (here && strncmp(line, "VmFlags:", 8) == 0)
            (void)snprintf(flags, size, "%s", line + 8);
    }
    (void)fclose(f);
}

static void the_pages_stay_out_of_core_files_and_children(void **state)
{
    struct secret *s = secret_new("canary", 6);
    char flags[512];

    (void)state;
    assert_non_null(s);
    mapping_flags(s, flags, sizeof flags);
    assert_non_null(strstr(flags, " dd")); /* not dumped */
    assert_non_null(strstr(flags, " wf")); /* wiped on fork */

    pid_t child = fork();
    if (child == 0)
        _exit(secret_text(s)[0] == '\0' && secret_len(s) == 0 ? 0 : 1);
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_string_equal(secret_text(s), "canary");
    secret_free(s);
}

static void a_secret_is_made_even_when_nothing_may_be_locked(void **state)
{
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        const struct rlimit none = { 0, 0 };
        (void)setrlimit(RLIMIT_MEMLOCK, &none);
        struct secret *s = secret_new("canary", 6);
        _exit(s != NULL && strcmp(secret_text(s), "canary") == 0 ? 0 : 1);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static int protected_child(void)
{
    struct rlimit core = { 1, 1 };

    (void)setenv("SSLKEYLOGFILE", "/nowhere/keys", 1);
    (void)setenv("SSL_CERT_FILE", "/nowhere/ca.pem", 1);
    (void)setenv("HTTPS_PROXY", "http://kept", 1);
    secret_protect_process();
    if (getrlimit(RLIMIT_CORE, &core) != 0 || core.rlim_cur != 0 || core.rlim_max != 0)
        return 1;
    if (prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0)
        return 2;
    if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
        return 3;
    if (getenv("SSLKEYLOGFILE") != NULL || getenv("SSL_CERT_FILE") != NULL)
        return 4;
    if (getenv("HTTPS_PROXY") == NULL)
        return 5;
    return 0;
}

static void a_protected_process_has_no_core_no_debugger_and_no_key_log(void **state)
{
    (void)state;
    pid_t child = fork();
    if (child == 0)
        _exit(protected_child());
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

/* That the old bytes are gone cannot be looked at without reading what was freed; that the new
 * ones are right can. */
static void memory_that_is_wiped_when_given_back_keeps_its_bytes_when_it_grows(void **state)
{
    (void)state;
    enum { SIZE = 200, MORE = 4000 };
    char *p = malloc(SIZE);
    assert_non_null(p);
    memset(p, 's', SIZE);
    p = secret_wiping_realloc(p, MORE);
    assert_non_null(p);
    for (size_t i = 0; i < SIZE; i++)
        assert_int_equal(p[i], 's');
    p = secret_wiping_realloc(p, 10);
    assert_non_null(p);
    for (size_t i = 0; i < 10; i++)
        assert_int_equal(p[i], 's');
    secret_wiping_free(p);
    secret_wiping_free(NULL);
    p = secret_wiping_realloc(NULL, 10);
    assert_non_null(p);
    assert_null(secret_wiping_realloc(p, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_secret_keeps_its_bytes_with_a_nul_behind_them),
        cmocka_unit_test(a_prefix_stands_in_front),
        cmocka_unit_test(a_secret_above_64_kib_is_refused),
        cmocka_unit_test(equal_means_same_length_and_bytes),
        cmocka_unit_test(wiping_leaves_zeros),
        cmocka_unit_test(memory_that_is_wiped_when_given_back_keeps_its_bytes_when_it_grows),
        cmocka_unit_test(the_pages_stay_out_of_core_files_and_children),
        cmocka_unit_test(a_secret_is_made_even_when_nothing_may_be_locked),
        cmocka_unit_test(a_protected_process_has_no_core_no_debugger_and_no_key_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

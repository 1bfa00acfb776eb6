/* curl_alloc.c: memory that libcurl frees in the thread with the client secret contains
 * nothing of it. */
#include <curl/curl.h>

#include "heap.h"
#include "net/curl_alloc.h"

/* Not in the heap itself, and long enough that what the C library writes into a freed piece
 * does not hide it. */
static char secret[3001];

static void fill_secret(void)
{
    memset(secret, 'x', sizeof secret - 1);
    memcpy(secret + 1500, "wiping-canary", 13);
}

static void what_libcurl_has_copied_is_gone_when_it_is_freed(void **state)
{
    (void)state;
    need_heap();
    CURL *e = curl_easy_init();
    assert_non_null(e);
    assert_int_equal(curl_easy_setopt(e, CURLOPT_COPYPOSTFIELDS, secret), CURLE_OK);
    assert_true(copies_in_heap("wiping-", "canary") > 0);
    curl_easy_cleanup(e);
    assert_int_equal(copies_in_heap("wiping-", "canary"), 0);
}

static void what_has_grown_leaves_nothing_where_it_was(void **state)
{
    (void)state;
    need_heap();
    char *escaped = curl_easy_escape(NULL, secret, 0); /* byte by byte into a growing buffer */
    assert_non_null(escaped);
    assert_string_equal(escaped, secret);
    assert_int_equal(copies_in_heap("wiping-", "canary"), 1);
    curl_free(escaped);
    assert_int_equal(copies_in_heap("wiping-", "canary"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_libcurl_has_copied_is_gone_when_it_is_freed),
        cmocka_unit_test(what_has_grown_leaves_nothing_where_it_was),
    };
    fill_secret();
    if (curl_alloc_global_init() != 0)
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    curl_global_cleanup();
    return failed;
}

/* Secrets arrive unchanged however they are given, and stay secret. Rows:
 * tests/hostile/README.md. */
#include <fcntl.h>
#include <openssl/evp.h>
#include <unistd.h>

#include "harness.h"

static char long_secret[501];

static const char *const secrets[] = {
    "a+b%c&d=e:f/g;h#i",   "50%25 off%",     "with spaces in it ;not a comment #nor this",
    "\"quoted\" and 'so'", "; first",        "# first",
    "=first=last=",        "back\\slash\\n", "caf\xc3\xa9",
    long_secret,
};

enum source { FROM_INI, FROM_ENVIRONMENT, FROM_FILE };

/* %XX and + undone. */
static void undo_form(const char *in, char *out, size_t cap)
{
    size_t n = 0;
    for (; *in != '\0' && n + 1 < cap; in++) {
        unsigned value;
        if (*in == '%' && sscanf(in + 1, "%2x", &value) == 1) {
            out[n++] = (char)value;
            in += 2;
        } else {
            out[n++] = *in == '+' ? ' ' : *in;
        }
    }
    out[n] = '\0';
}

/* Id and secret out of "Basic ...", RFC 6749 section 2.3.1. */
static void read_basic(const struct peer_request *r, char *id, char *secret, size_t cap)
{
    char value[4096];
    unsigned char plain[4096];
    assert_true(head_value(bytes_text(&r->head), "Authorization", 0, value, sizeof value));
    assert_memory_equal(value, "Basic ", 6);
    int n = EVP_DecodeBlock(plain, (const unsigned char *)value + 6, (int)strlen(value + 6));
    assert_true(n > 0);
    plain[n] = '\0';
    char *colon = strchr((char *)plain, ':');
    assert_non_null(colon);
    *colon = '\0';
    undo_form((char *)plain, id, cap);
    undo_form(colon + 1, secret, cap);
}

static void check(const char *secret, enum source source, bool basic)
{
    WORLD(w);
    char path[] = "/tmp/oneshot-secret-XXXXXX", id[64], got[2048];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    (void)close(fd);
    struct bytes settings = { 0 }, variable = { 0 }, file = { 0 };
    if (source == FROM_INI)
        bytes_addf(&settings, "token.client_secret = %s\n", secret);
    if (source == FROM_FILE) {
        bytes_addf(&file, "%s\n", secret);
        write_file(path, bytes_text(&file));
        bytes_addf(&settings, "-token.client_secret\ntoken.client_secret_file = %s\n", path);
    }
    bytes_addf(&variable, "ONESHOT_PROXY_TOKEN_CLIENT_SECRET=%s", secret);
    const char *env[] = { bytes_text(&variable), NULL };
    bytes_addf(&settings, "token.auth_style = %s\n", basic ? "basic" : "body");
    world_start(&w, &(struct world_options){ .settings = bytes_text(&settings),
                                             .env = source == FROM_ENVIRONMENT ? env : NULL });
    assert_true(tokens_wait(w.tokens, 1, SOON_MS));
    const struct peer_request *r = peer_request(tokens_peer(w.tokens), "", 0);
    if (basic) {
        read_basic(r, id, got, sizeof got);
        assert_lacks(bytes_text(&r->body), "client_secret");
    } else {
        assert_int_equal(head_count(bytes_text(&r->head), "Authorization"), 0);
        tokens_form_field(w.tokens, 0, "client_id", id, sizeof id);
        tokens_form_field(w.tokens, 0, "client_secret", got, sizeof got);
    }
    assert_string_equal(got, secret);
    assert_string_equal(id, CLIENT_ID);
    assert_false(proxy_log_contains(w.proxy, secret));
    world_end(&w);
    (void)unlink(path);
    bytes_free(&settings);
    bytes_free(&variable);
    bytes_free(&file);
}

static void check_all(enum source source)
{
    for (size_t i = 0; i < 500; i++)
        long_secret[i] =
            "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+/"[i % 64];
    for (size_t i = 0; i < sizeof secrets / sizeof *secrets; i++) {
        check(secrets[i], source, false);
        check(secrets[i], source, true);
    }
}

/* Secrets with any character, and long ones, arrive intact in a Basic field and in a form.
 * (row 66) */
static void secrets_in_the_ini_arrive_intact(void **state)
{
    (void)state;
    check_all(FROM_INI);
}

static void secrets_in_the_environment_arrive_intact_and_win(void **state)
{
    (void)state;
    check_all(FROM_ENVIRONMENT);
}

static void secrets_in_a_file_of_their_own_arrive_intact(void **state)
{
    (void)state;
    check_all(FROM_FILE);
}

static void a_secret_file_is_read_again_after_a_refusal(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    char path[] = "/tmp/oneshot-secret-XXXXXX", got[64];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    (void)close(fd);
    write_file(path, CANARY "-old\n");
    struct bytes settings = { 0 };
    bytes_addf(&settings,
               "-token.client_secret\ntoken.client_secret_file = %s\n"
               "token.retry_min = 100ms\ntoken.retry_max = 300ms\n",
               path);
    struct world_options options = { .no_proxy = true,
                                     .hold_tokens = true,
                                     .settings = bytes_text(&settings) };
    world_start(&w, &options);
    tokens_push(w.tokens, (struct token_answer){ .status = 401 });
    world_proxy(&w, &options);
    assert_true(tokens_wait(w.tokens, 1, SOON_MS));
    tokens_form_field(w.tokens, 0, "client_secret", got, sizeof got);
    assert_string_equal(got, CANARY "-old");
    write_file(path, CANARY "-new\n");
    tokens_release(w.tokens);
    assert_true(proxy_log_wait(w.proxy, "event=token_obtained", 1, SOON_MS));
    tokens_form_field(w.tokens, 1, "client_secret", got, sizeof got);
    assert_string_equal(got, CANARY "-new");
    http_get(w.port, "/x", &a);
    assert_int_equal(a.status, 200);
    world_end(&w);
    (void)unlink(path);
    bytes_free(&settings);
    answer_free(&a);
}

static void a_changed_secret_file_is_used_by_the_next_renewal(void **state)
{
    (void)state;
    WORLD(w);
    char path[] = "/tmp/oneshot-secret-XXXXXX", got[64];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    (void)close(fd);
    write_file(path, CANARY "-old");
    struct bytes settings = { 0 };
    bytes_addf(&settings,
               "-token.client_secret\ntoken.client_secret_file = %s\n"
               "token.refresh_before = 29s\n",
               path);
    struct world_options options = { .no_proxy = true, .settings = bytes_text(&settings) };
    world_start(&w, &options);
    tokens_lifetime(w.tokens, 30);
    world_proxy(&w, &options);
    assert_true(proxy_log_wait(w.proxy, "event=token_obtained", 1, SOON_MS));
    write_file(path, CANARY "-next\r\n");
    size_t sent = tokens_fetches(w.tokens); /* and one more may be under way */
    assert_true(tokens_wait(w.tokens, sent + 2, SOON_MS));
    tokens_form_field(w.tokens, sent + 1, "client_secret", got, sizeof got);
    assert_string_equal(got, CANARY "-next");
    world_end(&w);
    (void)unlink(path);
    bytes_free(&settings);
}

/* Where the token's url, the id or the secret follow from another key, that is the one to
 * change. */
static void a_failure_names_the_key_that_is_set(void **state)
{
    (void)state;
    struct answer a = { 0 };
    char path[] = "/tmp/oneshot-secret-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    (void)close(fd);
    write_file(path, CANARY "\n");
    struct bytes settings = { 0 };
    bytes_addf(&settings, "-token.client_secret\ntoken.client_secret_file = %s\n", path);
    WORLD(refused);
    struct world_options options = { .no_proxy = true,
                                     .hold_tokens = true,
                                     .settings = bytes_text(&settings) };
    world_start(&refused, &options);
    tokens_push(refused.tokens, (struct token_answer){ .status = 401 });
    tokens_release(refused.tokens);
    world_proxy(&refused, &options);
    http_get(refused.port, "/x", &a);
    assert_problem(&a, 401, "token", "proxy_configuration_error");
    assert_contains(bytes_text(&a.body), "check token.client_id and token.client_secret_file.");
    WORLD(unreached);
    world_start(&unreached, &(struct world_options){
                                .hold_tokens = true,
                                .settings = "-token.url\n"
                                            "upstream.base_url = http://127.0.0.1:1\n" });
    http_get(unreached.port, "/x", &a);
    assert_problem(&a, 502, "token", "connection_refused");
    assert_contains(bytes_text(&a.body), "check host and port in upstream.base_url.");
    (void)unlink(path);
    bytes_free(&settings);
    answer_free(&a);
}

static void everything_may_come_from_the_environment(void **state)
{
    (void)state;
    WORLD(w);
    struct answer a = { 0 };
    char base[128], path[] = "/tmp/oneshot-secret-XXXXXX", file[128];
    world_start(&w, &(struct world_options){ .no_proxy = true });
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    (void)close(fd);
    write_file(path, CLIENT_SECRET "\n");
    (void)snprintf(base, sizeof base, "ONESHOT_PROXY_UPSTREAM_BASE_URL=%s/v0",
                   peer_url(tokens_peer(w.tokens)));
    (void)snprintf(file, sizeof file, "ONESHOT_PROXY_TOKEN_CLIENT_SECRET_FILE=%s", path);
    const char *env[] = { base,
                          file,
                          "ONESHOT_PROXY_TOKEN_CLIENT_ID=" CLIENT_ID,
                          "ONESHOT_PROXY_LISTEN_ADDRESS=127.0.0.1:0",
                          "ONESHOT_PROXY_ADMIN_ADDRESS=off",
                          NULL };
    w.proxy = proxy_start("", &(struct proxy_options){ .env = env, .no_file = true });
    assert_true(proxy_log_wait(w.proxy, "event=token_obtained", 1, SOON_MS));
    http_get(proxy_port(w.proxy), "/x", &a);
    assert_int_equal(a.status, 200);
    assert_int_equal(peer_count(tokens_peer(w.tokens), "GET /v0/x"), 1);
    world_end(&w);
    (void)unlink(path);
    answer_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(secrets_in_the_ini_arrive_intact),
        TEST(secrets_in_the_environment_arrive_intact_and_win),
        TEST(secrets_in_a_file_of_their_own_arrive_intact),
        TEST(a_secret_file_is_read_again_after_a_refusal),
        TEST(a_changed_secret_file_is_used_by_the_next_renewal),
        TEST(a_failure_names_the_key_that_is_set),
        TEST(everything_may_come_from_the_environment),
    };
    return RUN_TESTS(tests);
}

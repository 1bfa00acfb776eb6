/* Tests of the harness itself: callers and scripted peers, without the proxy between them. */
#include "harness.h"

static void an_echo_comes_back_and_is_recorded(void **state)
{
    (void)state;
    struct peer *api = api_start(&(struct api_options){ 0 });
    struct client c;
    struct answer a = { 0 };
    client_open(&c, peer_port(api));
    client_call(&c, "POST", "/v0/x?y=1", "X-A: 1\r\nX-A: 2\r\n", "hello", &a);
    assert_int_equal(a.status, 200);
    assert_string_equal(bytes_text(&a.body), "hello");
    client_call(&c, "GET", "/v0/z", NULL, NULL, &a);
    assert_int_equal(a.end, ANSWER_WHOLE);
    assert_true(peer_wait_complete(api, "POST /v0/x*", 1, SOON_MS));
    const struct peer_request *r = peer_request(api, "POST /v0/x*", 0);
    assert_int_equal(head_count(bytes_text(&r->head), "x-a"), 2);
    assert_string_equal(bytes_text(&r->body), "hello");
    assert_int_equal(peer_connections(api), 1);
    assert_int_equal(peer_count(api, ""), 2);
    answer_free(&a);
    client_close(&c);
    peer_stop(api);
}

static void chunked_bodies_are_taken_apart_both_ways(void **state)
{
    (void)state;
    struct peer *api = api_start(&(struct api_options){ 0 });
    struct answer a = { 0 };
    http_raw(peer_port(api),
             "PUT /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
             "3\r\nabc\r\n8;x=y\r\ndefghijk\r\n0\r\nT: v\r\n\r\n",
             &a);
    assert_string_equal(bytes_text(&a.body), "abcdefghijk");
    answer_free(&a);
    peer_stop(api);
}

static void serve_cuts(struct peer_conn *c, void *arg)
{
    (void)arg;
    const struct peer_request *r = peer_read_request(c);
    if (r == NULL)
        return;
    if (strcmp(r->target, "/length") == 0)
        (void)peer_puts(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
    else if (strcmp(r->target, "/chunk") == 0)
        (void)peer_puts(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc");
    else if (strcmp(r->target, "/reset") == 0) {
        (void)peer_puts(c, "HTTP/1.1 200 OK\r\n\r\nabc");
        peer_reset(c);
    } else if (strcmp(r->target, "/close") == 0)
        (void)peer_puts(c, "HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 200 OK\r\n\r\nabc");
}

static void a_body_cut_short_is_told_from_a_whole_one(void **state)
{
    (void)state;
    struct peer *api = peer_start(&(struct peer_options){ .serve = serve_cuts });
    static const struct {
        const char *target;
        enum answer_end end;
    } cases[] = { { "/length", ANSWER_CUT },
                  { "/chunk", ANSWER_CUT },
                  { "/reset", ANSWER_CUT },
                  { "/close", ANSWER_WHOLE },
                  { "/nothing", ANSWER_NONE } };
    struct answer a = { 0 };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        http_get(peer_port(api), cases[i].target, &a);
        assert_int_equal(a.end, cases[i].end);
    }
    answer_free(&a);
    peer_stop(api);
}

static void a_crowd_of_a_thousand_is_answered(void **state)
{
    (void)state;
    struct peer *api = api_start(&(struct api_options){ 0 });
    struct crowd *crowd = crowd_start(peer_port(api), 1000,
                                      "POST /v0/many HTTP/1.1\r\nConnection: close\r\n"
                                      "Content-Length: 2\r\n\r\nok");
    assert_true(crowd_finish(crowd, SOON_MS));
    assert_int_equal(peer_count(api, ""), 1000);
    peer_stop(api);
    assert_int_equal(crowd_count(crowd, 200), 1000);
    assert_int_equal(crowd_containing(crowd, "\r\n\r\nok"), 1000);
    crowd_free(crowd);
}

static void the_token_endpoint_follows_its_script(void **state)
{
    (void)state;
    struct tokens *t = tokens_start(CERT_NONE);
    tokens_push(t, (struct token_answer){ .status = 503, .headers = "Retry-After: 2\r\n" });
    struct answer a = { 0 };
    int port = peer_port(tokens_peer(t));
    http_call(port, "POST", "/token", NULL, "client_secret=a%2Bb+c%3d&x=1", &a);
    assert_int_equal(a.status, 503);
    assert_string_equal(answer_header(&a, "retry-after"), "2");
    char secret[32];
    tokens_form_field(t, 0, "client_secret", secret, sizeof secret);
    assert_string_equal(secret, "a+b c=");
    tokens_hold(t);
    struct client c;
    client_open(&c, port);
    client_puts(&c, "POST /token HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
    assert_true(tokens_wait(t, 2, SOON_MS));
    client_read(&c, &a, false, 20);
    assert_int_equal(a.end, ANSWER_LATE);
    tokens_release(t);
    client_read(&c, &a, false, SOON_MS);
    assert_true(bytes_contain(&a.body, "\"" CANARY "-token-1\""));
    client_close(&c);
    answer_free(&a);
    peer_stop(tokens_peer(t));
}

static void a_leaf_is_made_for_every_kind_of_flaw(void **state)
{
    (void)state;
    static const struct {
        enum cert_kind kind;
        bool accepted;
    } cases[] = { { CERT_VALID, true },
                  { CERT_EXPIRED, false },
                  { CERT_WRONG_NAME, false },
                  { CERT_SELF_SIGNED, false } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct peer *api = api_start(&(struct api_options){ .cert = cases[i].kind });
        SSL_CTX *context = SSL_CTX_new(TLS_client_method());
        assert_int_equal(SSL_CTX_load_verify_file(context, certs_ca_file()), 1);
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
        SSL *ssl = SSL_new(context);
        assert_int_equal(SSL_set1_host(ssl, "localhost"), 1);
        char address[32];
        (void)snprintf(address, sizeof address, "127.0.0.1:%d", peer_port(api));
        BIO *bio = BIO_new_connect(address);
        assert_int_equal(BIO_do_connect(bio), 1);
        SSL_set_bio(ssl, bio, bio);
        assert_int_equal(SSL_connect(ssl) == 1, cases[i].accepted);
        SSL_free(ssl);
        SSL_CTX_free(context);
        peer_stop(api);
    }
}

static void an_ini_takes_the_settings_of_a_test_over_the_defaults(void **state)
{
    (void)state;
    struct bytes ini = world_ini("http://127.0.0.1:1/v0", "http://127.0.0.1:2/token",
                                 "listen.address = 127.0.0.1:9\ntoken.timeout = 1s\n");
    assert_contains(bytes_text(&ini), "[listen]\naddress = 127.0.0.1:9\n[upstream]\n");
    assert_contains(bytes_text(&ini), "timeout = 1s\n[admin]\n");
    assert_contains(bytes_text(&ini), "url = http://127.0.0.1:2/token\n");
    assert_lacks(bytes_text(&ini), "127.0.0.1:0");
    bytes_free(&ini);
}

static void members_are_read_out_of_a_problem(void **state)
{
    (void)state;
    struct bytes json = { 0 };
    char value[64];
    bytes_add_str(&json, "{\"type\":\"urn:x\",\"status\":401,\"detail\":\"a \\\"b\\\"\","
                         "\"data\":null}");
    json_member(&json, "status", value, sizeof value);
    assert_string_equal(value, "401");
    json_member(&json, "detail", value, sizeof value);
    assert_string_equal(value, "a \\\"b\\\"");
    json_member(&json, "data", value, sizeof value);
    assert_string_equal(value, "null");
    json_member(&json, "absent", value, sizeof value);
    assert_string_equal(value, "");
    bytes_free(&json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_echo_comes_back_and_is_recorded),
        TEST(chunked_bodies_are_taken_apart_both_ways),
        TEST(a_body_cut_short_is_told_from_a_whole_one),
        TEST(a_crowd_of_a_thousand_is_answered),
        TEST(the_token_endpoint_follows_its_script),
        TEST(a_leaf_is_made_for_every_kind_of_flaw),
        TEST(an_ini_takes_the_settings_of_a_test_over_the_defaults),
        TEST(members_are_read_out_of_a_problem),
    };
    return RUN_TESTS(tests);
}

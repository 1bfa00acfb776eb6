#pragma once
/* What an integration test includes: the program under test between callers and scripted peers.
 *
 *     caller (client.h) -> oneshot-proxy (proxy.h) -> API (service.h, peer.h, h2.h)
 *                                    \-> token endpoint (service.h)
 *
 * A test begins with world_start and ends with world_end. The teardown ends what a failed
 * test left running, and prints the proxy's log. Tests never sleep: they wait for
 * conditions, with a deadline. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "h2.h"
#include "peer.h"
#include "proxy.h"
#include "service.h"
#include "unit.h"

/* Reaching this means failure, on a slow machine and with sanitizers too. */
#define SOON_MS 30000

#define TEST(name) cmocka_unit_test_setup_teardown(name, harness_setup, harness_teardown)
#define RUN_TESTS(tests) cmocka_run_group_tests(tests, NULL, NULL)
int harness_setup(void **state);
int harness_teardown(void **state);

struct world {
    struct tokens *tokens;
    struct peer *api;
    struct proxy *proxy;
    int port; /* the proxy's */
};

struct world_options {
    api_answer_fn answer; /* of the API; NULL: it echoes */
    void *arg;
    peer_serve_fn serve; /* instead of `answer`: gets the raw connection */
    enum cert_kind cert; /* of the API */
    enum cert_kind token_cert;
    bool h2;           /* the API speaks HTTP/2; needs a cert; without `serve` it answers 200 */
    bool hold_tokens;  /* the token endpoint does not answer at first */
    bool no_proxy;     /* do not start the proxy; the test calls world_proxy later */
    size_t drop_first; /* number of the API's connections to drop, see peer.h */
    int receive_buffer;
    /* Lines "section.key = value" that replace the defaults of a test; "-section.key"
     * removes a default. */
    const char *settings;
    const char *more; /* text that is added at the end of the ini file; NULL: none */
    const char *const *env;
};

/* Starts token endpoint, API and proxy, and waits for the first token, unless tokens are
 * held. */
void world_start(struct world *w, const struct world_options *options);
void world_proxy(struct world *w, const struct world_options *options);
void world_end(struct world *w);

/* Declares a world that ends at the end of the block. world_end may also be called before. */
#define WORLD(name) struct world name __attribute__((cleanup(world_end))) = { 0 }
/* Overwrites the proxy's ini file, sends SIGHUP, and waits for that event ("reloaded",
 * "reload_refused"). */
void world_reload(struct world *w, const struct world_options *options, const char *event);

/* With ONESHOT_TEST_WAY=auto, a test that does not choose an HTTP version gets an API with
 * TLS that speaks HTTP/1.1, and the version is negotiated (upstream.http_version = auto).
 * Returns whether that is so; then `why` is printed: the part of the test that cannot be
 * done so (NULL: nothing). */
bool by_handshake(const char *why);

/* Creates or overwrites a file, in place. */
void write_file(const char *path, const char *text);

/* The ini text of such a world: defaults with these two URLs, then the settings. */
struct bytes world_ini(const char *base_url, const char *token_url, const char *settings);

/* Asserts a problem of the proxy's own: status, stage, Proxy-Status error, and all members
 * that every problem has. slug NULL: not compared. */
void assert_problem(const struct answer *a, int status, const char *stage, const char *error);
void assert_problem_detail(const struct answer *a, const char *words);
/* Copies a member of a flat JSON object as written (strings without quotes); "" if there is
 * none. */
void json_member(const struct bytes *json, const char *name, char *out, size_t cap);

void assert_contains(const char *text, const char *needle);
void assert_lacks(const char *text, const char *needle);

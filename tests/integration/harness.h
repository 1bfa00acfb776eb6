#pragma once
/* What an integration test includes: the binary under test between callers and scripted peers.
 *
 *     caller (client.h) -> oneshot-proxy (proxy.h) -> API (service.h, peer.h, h2.h)
 *                                    \-> token endpoint (service.h)
 *
 * A test begins with world_start, ends with world_end. What a failed test left running is ended
 * by the teardown, which prints the proxy's log. Nothing sleeps: all waiting is on conditions,
 * with a deadline. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "h2.h"
#include "peer.h"
#include "proxy.h"
#include "service.h"
#include "unit.h"

/* Long enough that reaching it means failure, on a slow machine and under sanitizers too. */
#define SOON_MS 30000

#define TEST(name) cmocka_unit_test_setup_teardown(name, harness_setup, harness_teardown)
#define RUN_TESTS(tests) cmocka_run_group_tests(tests, NULL, NULL)
int harness_setup(void **state);
int harness_teardown(void **state);

struct world {
    struct tokens *tokens;
    struct peer *api;
    struct proxy *proxy;
    int port; /* of the proxy */
};

struct world_options {
    api_answer_fn answer; /* of the API; NULL: it echoes */
    void *arg;
    peer_serve_fn serve; /* instead of `answer`: the raw connection */
    enum cert_kind cert; /* of the API */
    enum cert_kind token_cert;
    bool h2;           /* the API speaks HTTP/2; needs a cert */
    bool hold_tokens;  /* the token endpoint waits from the start */
    bool no_proxy;     /* the test changes something first and calls world_proxy */
    size_t drop_first; /* of the API's connections, see peer.h */
    int receive_buffer;
    /* "section.key = value" lines over the defaults of a test; "-section.key": not even the
     * default */
    const char *settings;
    const char *more; /* text of an ini file that goes behind all that; NULL: none */
    const char *const *env;
};

/* Starts token endpoint, API and proxy; unless the tokens are held, the first token is there.
 */
void world_start(struct world *w, const struct world_options *options);
void world_proxy(struct world *w, const struct world_options *options);
void world_end(struct world *w);

/* A world that ends with the block it is declared in. world_end may still be called before. */
#define WORLD(name) struct world name __attribute__((cleanup(world_end))) = { 0 }
/* Writes the ini of these options over the proxy's own, sends SIGHUP, and waits for that event
 * ("reloaded", "reload_refused"). */
void world_reload(struct world *w, const struct world_options *options, const char *event);

/* With ONESHOT_TEST_WAY=auto a test that asks for no HTTP version has an API with TLS that
 * speaks HTTP/1.1, and the version is left to the handshake (upstream.http_version = auto). True
 * then; `why` tells what of a test cannot be so (NULL: nothing is said). */
bool by_handshake(const char *why);

/* Makes or overwrites it, in place. */
void write_file(const char *path, const char *text);

/* The ini text that such a world uses: defaults for these two URLs, then the settings. */
struct bytes world_ini(const char *base_url, const char *token_url, const char *settings);

/* A problem of the proxy's own: its status, stage, Proxy-Status error, and all members that every
 * problem has. slug NULL: not compared. */
void assert_problem(const struct answer *a, int status, const char *stage, const char *error);
void assert_problem_detail(const struct answer *a, const char *words);
/* A member of a flat JSON object as written (strings without their quotes); "" when absent. */
void json_member(const struct bytes *json, const char *name, char *out, size_t cap);

void assert_contains(const char *text, const char *needle);
void assert_lacks(const char *text, const char *needle);

/* The status page in every possible state. With a directory as argument the pages are
 * written there instead, to be looked at in a browser (./dev page). */
#include <stdio.h>
#include <string.h>

#include "admin/page/page.h"
#include "config/config_case.h"
#include "ledger/claim_result.h"
#include "unit.h"

#define NOW_MS 90000000
#define NOW_S 1795521600 /* 2026-11-24 12:00:00 */

/* What a page is made of; every state starts from `well`. */
static struct {
    struct status status;
    struct token_manager_stats tokens;
    struct history history;
    struct history_totals totals;
    struct recent_failures failures;
    struct health health;
    struct health_since since;
    const char *listen;
} world;

static struct content page = { .status = &world.status,
                               .health = &world.health,
                               .since = &world.since,
                               .history = &world.history,
                               .totals = &world.totals,
                               .failures = &world.failures };
static struct config *config;
static struct buf html;

static struct config *settings(const char *ini)
{
    struct result r = load(ini);
    struct config *c = r.config;

    r.config = NULL;
    result_free(&r);
    return c;
}

static void event(struct token_manager_event e, int64_t age_ms)
{
    e.at_ms = NOW_MS - age_ms;
    e.wall_s = NOW_S - age_ms / 1000;
    world.tokens.event[world.tokens.events++ % TOKEN_MANAGER_EVENTS] = e;
}

static void failure(enum failure_kind kind, int status, int64_t age_ms, const char *method,
                    const char *path, const char *id, const char *detail)
{
    struct recent_failures_entry *e = &world.failures.entry[world.failures.count++];

    *e = (struct recent_failures_entry){ .kind = kind,
                                         .stage = kind == FAIL_NONE ? STAGE_UPSTREAM
                                                                    : failure_info(kind)->stage,
                                         .status = status,
                                         .at_ms = NOW_MS - age_ms,
                                         .wall_s = NOW_S - age_ms / 1000 };
    (void)snprintf(e->method, sizeof e->method, "%s", method);
    (void)snprintf(e->path, sizeof e->path, "%s", path);
    (void)snprintf(e->request_id, sizeof e->request_id, "%s", id);
    (void)snprintf(e->detail, sizeof e->detail, "%s", detail);
}

/* A small generator of numbers, so that the pages look the same each time. */
static uint64_t seed;
static uint64_t dice(uint64_t n)
{
    seed = seed * 6364136223846793005U + 1442695040888963407U;
    return (seed >> 33) % n;
}

static void traffic(uint64_t requests, size_t bucket)
{
    world.totals.requests += requests;
    world.totals.bucket[bucket] += requests * 90 / 100;
    world.totals.bucket[bucket + 1] += requests * 8 / 100;
    world.totals.bucket[bucket + 3] += requests - requests * 90 / 100 - requests * 8 / 100;
}

/* A quarter of an hour with a quiet start, a gap, an upstream that failed, and a peak. */
static void quarter_of_an_hour(void)
{
    int64_t at_ms = NOW_MS - 4000 - 88 * HISTORY_STEP_MS;

    seed = 7;
    history_init(&world.history, &world.totals, at_ms);
    for (int i = 0; i < 88; i++) {
        at_ms += HISTORY_STEP_MS;
        if (i >= 20 && i < 24)
            continue; /* asleep */
        traffic(i < 15 ? dice(3) : 300 + dice(200) + (i > 60 ? 400 + dice(300) : 0),
                i > 40 && i < 50 ? 9
                : i % 7 == 0     ? 5
                                 : 4);
        world.totals.failed[STAGE_REQUEST] += i > 30 ? dice(8) : 0;
        world.totals.upstream_errors += i > 40 && i < 50 ? 60 + dice(40) : 0;
        world.totals.failed[STAGE_UPSTREAM] += i > 43 && i < 48 ? 20 : 0;
        history_sample(&world.history, &world.totals, at_ms);
    }
    traffic(330, 4);
}

static void totals_of_requests(void)
{
    struct metrics_sum *sum = &world.status.sum;

    sum->requests[METRICS_SAFE][2][STAGE_COUNT] = 1234567;
    sum->requests[METRICS_UNSAFE][2][STAGE_COUNT] = 65432;
    sum->requests[METRICS_SAFE][4][STAGE_COUNT] = 812;
    sum->requests[METRICS_SAFE][5][STAGE_COUNT] = 744;
    sum->requests[METRICS_SAFE][4][STAGE_REQUEST] = 190;
    sum->requests[METRICS_UNSAFE][5][STAGE_UPSTREAM] = 80;
    sum->requests[METRICS_SAFE][5][STAGE_TOKEN] = 3;
    sum->counter[M_requests_finished] = 1301828;
    sum->counter[M_connections_opened] = 4210;
    sum->counter[M_upstream_connections_opened] = 96;
    sum->counter[M_replays] = 2;
    sum->counter[M_request_body_bytes] = 48211530;
    sum->counter[M_response_body_bytes] = 9876543210;
}

static void well(void)
{
    memset(&world, 0, sizeof world);
    world.listen = "127.0.0.1:8080";
    world.status = (struct status){ .version = "0.1.0",
                                    .now_ms = NOW_MS,
                                    .now_wall_s = NOW_S,
                                    .uptime_ms = 86000000,
                                    .started_wall_s = NOW_S - 86000,
                                    .worker_count = 2,
                                    .in_flight = 7,
                                    .connections = 31,
                                    .upstream_connections = 12,
                                    .config = config };
    world.status.token = (struct status_token){ .held = true,
                                                .age_ms = 1310000,
                                                .expires_in_ms = 2290000,
                                                .lifetime_ms = 3600000,
                                                .generation = 27,
                                                .next_fetch_ms = 1940000,
                                                .stats = &world.tokens };
    world.tokens.obtained = 27;
    world.tokens.failed = 1;
    world.tokens.last_success_wall_s = NOW_S - 1310;
    event((struct token_manager_event){ .what = TOKEN_MANAGER_OBTAINED,
                                        .generation = 25,
                                        .took_ms = 181,
                                        .lifetime_ms = 3600000 },
          7710000);
    event((struct token_manager_event){ .what = TOKEN_MANAGER_FAILED,
                                        .generation = 26,
                                        .took_ms = 10003,
                                        .retry_ms = 1400,
                                        .failure =
                                            failure_make(FAIL_TOKEN_TIMEOUT,
                                                         "The token endpoint did not answer "
                                                         "within token.timeout.") },
          4470000);
    event((struct token_manager_event){ .what = TOKEN_MANAGER_OBTAINED,
                                        .generation = 26,
                                        .took_ms = 212,
                                        .lifetime_ms = 3600000 },
          4468000);
    event((struct token_manager_event){ .what = TOKEN_MANAGER_OBTAINED,
                                        .generation = 27,
                                        .took_ms = 198,
                                        .lifetime_ms = 3600000 },
          1310000);
    failure(FAIL_HOST_DENIED, 421, 214000, "GET", "/v0/chains",
            "9f2c41d07be84a13a6d0c2f1b7e95d38",
            "The Host of this request is not on listen.allowed_hosts; add it there if callers "
            "use that name.");
    failure(FAIL_NONE, 503, 381000, "GET", "/v0/business/5f2a/transactions", "req-20418", "");
    failure(FAIL_UPSTREAM_RESPONSE_TIMEOUT, 504, 402000, "POST",
            "/v0/methods/7c1de0a4-55f1-4a8e-9d3b-90f0c2/execute", "checkout-77120",
            "No answer began within upstream.response_timeout: outcome unknown.");
    totals_of_requests();
    quarter_of_an_hour();
}

static void empty(void)
{
    well();
    memset(&world.tokens, 0, sizeof world.tokens);
    memset(&world.failures, 0, sizeof world.failures);
    memset(&world.totals, 0, sizeof world.totals);
    memset(&world.status.sum, 0, sizeof world.status.sum);
    history_init(&world.history, &world.totals, NOW_MS - 700);
    world.status.in_flight = world.status.connections = world.status.upstream_connections = 0;
    world.status.uptime_ms = 700;
    world.status.started_wall_s = NOW_S;
    world.status.reason = STATUS_TOKEN_PENDING;
    world.status.token = (struct status_token){
        .fetching = true, .fetching_for_ms = 640, .next_fetch_ms = -1, .stats = &world.tokens
    };
}

static void fail_token(const struct failure *f, unsigned times)
{
    world.tokens.consecutive_failures = times;
    world.tokens.last_failure = *f;
    for (unsigned i = 0; i < times; i++)
        event((struct token_manager_event){ .what = TOKEN_MANAGER_FAILED,
                                            .generation = 28,
                                            .took_ms = 87 + i,
                                            .retry_ms = 8000 << i,
                                            .failure = *f },
              400000 >> i);
}

static void refused(void)
{
    empty();
    struct failure f = failure_make(
        FAIL_TOKEN_REFUSED,
        "The token endpoint answered 401: check token.client_id and token.client_secret.");
    f.received_status = 401;
    fail_token(&f, 3);
    world.status.reason = STATUS_TOKEN_FAILING;
    world.status.token = (struct status_token){ .backing_off = true,
                                                .next_fetch_ms = 21000,
                                                .stats = &world.tokens };
    failure(FAIL_TOKEN_REFUSED, 401, 3000, "GET", "/v0/chains", "a-1", f.detail);
}

static void renewal_fails(void)
{
    well();
    struct failure f = failure_make(FAIL_TOKEN_UNAVAILABLE,
                                    "The token endpoint answered 503; the proxy keeps trying.");
    fail_token(&f, 2);
    world.status.token.age_ms = 3430000;
    world.status.token.expires_in_ms = 170000;
    world.status.token.backing_off = true;
    world.status.token.next_fetch_ms = 12000;
}

static void expired(void)
{
    renewal_fails();
    event((struct token_manager_event){ .what = TOKEN_MANAGER_EXPIRED, .generation = 27 },
          2000);
    world.status.reason = STATUS_TOKEN_FAILING;
    world.status.token.held = false;
    world.status.token.age_ms = world.status.token.expires_in_ms =
        world.status.token.lifetime_ms = 0;
}

static void draining(void)
{
    well();
    world.status.draining = true;
    world.status.reason = STATUS_DRAINING;
    failure(FAIL_DRAINING, 503, 500, "GET", "/v0/chains", "",
            "This proxy is being stopped; connect again.");
}

static void stuck(void)
{
    well();
    world.status.stuck_count = 1;
    world.status.worker[1] = (struct status_worker){ .turn_age_ms = 9300, .stuck = true };
}

static void upstream_down(void)
{
    well();
    world.totals.failed[STAGE_UPSTREAM] += 9000;
    world.totals.requests += 9000;
    for (int i = 0; i < 12; i++)
        failure(FAIL_UPSTREAM_CONNECT, 502, 1000 + i * 700, i % 3 == 0 ? "POST" : "GET",
                "/v0/chains", "a-2",
                "The upstream refused the connection or cannot be reached (Couldn't connect to "
                "server).");
}

static void ledger_down(void)
{
    well();
    world.status.ledger =
        (struct ledger_status){ .on = true,
                                .kind = "postgresql",
                                .down_ms = NOW_MS - 42000,
                                .why = "the ledger's store cannot be reached" };
    failure(FAIL_LEDGER, 503, 3000, "POST", "/v0/methods/7c1de0a4/execute", "pay-3",
            "The request was not sent, since it could not be recorded: the ledger's store "
            "cannot be reached.");
}

static struct freeze freeze = { .file = (char[]){ "/etc/oneshot-proxy/freeze" },
                                .is_frozen = true,
                                .since_s = NOW_S - 95 };

static void frozen(void)
{
    well();
    freeze.in_doubt = false;
    (void)snprintf(freeze.reason, sizeof freeze.reason, "incident 7, call 555-0100");
    world.status.freeze = &freeze;
}

static void frozen_in_doubt(void)
{
    frozen();
    freeze.in_doubt = true;
    (void)snprintf(freeze.reason, sizeof freeze.reason,
                   "the directory of freeze.file is missing");
}

static void reload_refused(void)
{
    well();
    world.status.reload_trouble = "/etc/oneshot-proxy/oneshot-proxy.ini:12: log.level: "
                                  "\"loud\" is not allowed; allowed: debug, info, warn, error";
    world.status.reload_wall_s = NOW_S - 200;
}

/* Every text that a peer or the settings give, as bad as it gets. */
static const char attack[] =
    "</title></code><script>document.title='owned'</script>"
    "<img src=x onerror=\"document.title='owned'\">'\"&amp;\xff\xc3\xa4\x01";

static void hostile(void)
{
    well();
    char path[300];
    (void)snprintf(path, sizeof path, "/%s", attack);
    for (int i = 0; i < 3; i++)
        failure(FAIL_BAD_REQUEST, 400, i, "<b>\"'&", path, attack, attack);
    failure(FAIL_NONE, 500, 5, "GET", path, attack, attack);
    world.tokens.last_failure = failure_make(FAIL_TOKEN_TLS, "%s", attack);
    fail_token(&world.tokens.last_failure, 1);
    world.listen = attack;
    world.status.reload_trouble = attack;
}

static const struct {
    const char *name;
    void (*make)(void);
    const char *headline;
} states[] = {
    { "well", well, "All is well" },
    { "empty", empty, "Waiting for the first token" },
    { "refused", refused, "No token: requests fail" },
    { "renewal", renewal_fails, "Serving, but the token cannot be renewed" },
    { "expired", expired, "No token: requests fail" },
    { "draining", draining, "Stopping" },
    { "stuck", stuck, "A worker is stuck" },
    { "down", upstream_down, "The upstream is failing" },
    { "ledger", ledger_down, "The ledger is down: what it records is refused" },
    { "frozen", frozen, "Frozen: what moves money is refused" },
    { "doubt", frozen_in_doubt, "Frozen: freeze.file cannot be looked at" },
    { "reload", reload_refused, "The last reload was refused" },
    { "hostile", hostile, NULL },
};

static int render(void)
{
    struct history_step recent =
        history_sum(&world.history, &world.totals, NOW_MS, HEALTH_STEPS);

    world.health = health_of(&world.status, &recent);
    world.since = (struct health_since){ .kind = world.health.kind };
    world.since.ms = NOW_MS - base_min(world.status.uptime_ms, 754000);
    world.since.wall_s = NOW_S - (NOW_MS - world.since.ms) / 1000;
    buf_done(&html);
    buf_init(&html, PAGE_BYTES_MAX);
    page.listen = world.listen;
    return page_render(&page, &html);
}

static const char *rendered(void (*make)(void))
{
    make();
    assert_int_equal(render(), 0);
    return buf_text(&html);
}

static void assert_shows(const char *text, const char *wanted)
{
    if (strstr(text, wanted) == NULL)
        fail_msg("there is no \"%s\"", wanted);
}
static void assert_lacks(const char *text, const char *unwanted)
{
    if (strstr(text, unwanted) != NULL)
        fail_msg("there is \"%s\"", unwanted);
}

static bool has_no_end(const char *name, size_t len)
{
    static const char *const names[] = { "meta", "link", "!DOCTYPE", "br", "img" };

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strlen(names[i]) == len && strncmp(names[i], name, len) == 0)
            return true;
    return false;
}

/* Every tag that opens is closed, in order; style and script are text. */
static void assert_nested(const char *text)
{
    const char *open[64];
    size_t length[64], depth = 0;

    for (const char *p = strchr(text, '<'); p != NULL; p = strchr(p, '<')) {
        bool ends = p[1] == '/';
        const char *name = p + 1 + ends;
        size_t len = strcspn(name, " >\n/");
        const char *end = strchr(p, '>');

        assert_non_null(end);
        assert_true(len > 0);
        p = end;
        if (ends) {
            if (depth == 0 || depth > ARRAY_LEN(open) || length[depth - 1] != len ||
                strncmp(open[depth - 1], name, len) != 0)
                fail_msg("%.*s is closed, which is not open", (int)len, name);
            depth--;
        } else if (end[-1] != '/' && !has_no_end(name, len)) {
            assert_true(depth < ARRAY_LEN(open));
            open[depth] = name;
            length[depth++] = len;
            if (strncmp(name, "style", 5) == 0 && len == 5)
                p = strstr(end, "</style>");
            if (strncmp(name, "script", 6) == 0 && len == 6)
                p = strstr(end, "</script>");
        }
    }
    assert_int_equal(depth, 0);
}

static void every_state_is_sound_html_and_says_what_it_is(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(states); i++) {
        const char *text = rendered(states[i].make);
        assert_nested(text);
        if (states[i].headline == NULL)
            continue;
        char wanted[128];
        (void)snprintf(wanted, sizeof wanted, "<h2 id=\"health-h\">%s</h2>",
                       states[i].headline);
        assert_shows(text, wanted);
    }
}

static void
nothing_comes_from_outside_and_nothing_has_a_style_or_handler_of_its_own(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(states); i++) {
        const char *text = rendered(states[i].make);
        if (states[i].make == hostile) /* has all of it, as text */
            continue;
        assert_lacks(text, " src=");
        assert_lacks(text, "http://www.w3.org/1999");
        assert_lacks(text, "@import");
        assert_lacks(text, "url(");
        assert_lacks(text, " style=");
        assert_lacks(text, "javascript:");
        assert_lacks(text, "<iframe");
        assert_lacks(text, "<form");
    }
}

static void the_policy_lets_only_this_style_and_script_be(void **state)
{
    (void)state;
    const char *text = page_policy();
    assert_shows(text, "default-src 'none'");
    assert_shows(text, "style-src 'sha256-");
    assert_shows(text, "script-src 'sha256-");
    assert_shows(text, "frame-ancestors 'none'");
    assert_shows(text, "base-uri 'none'");
    assert_shows(text, "form-action 'none'");
    assert_lacks(text, "unsafe");
    assert_lacks(text, "*");
    assert_ptr_equal(text, page_policy());
}

static void hostile_text_stays_text(void **state)
{
    (void)state;
    const char *text = rendered(hostile);
    assert_lacks(text, "<script>document");
    assert_lacks(text, "<img");
    assert_lacks(text, "onerror=\"");
    assert_shows(text, "&lt;script&gt;document.title=&#39;owned&#39;&lt;/script&gt;");
    assert_shows(text, "&#39;&quot;&amp;amp;\\xff\\xc3\\xa4\\x01");
    assert_shows(text, "&lt;b&gt;&quot;&#39;&amp;");
    for (const char *p = text; *p != '\0'; p++)
        assert_true(*p == '\n' || (unsigned char)*p >= ' ');
}

static void the_longest_texts_there_can_be_fit(void **state)
{
    (void)state;
    well();
    world.failures.count = 0;
    char text[1000];
    memset(text, '"', sizeof text - 1); /* six bytes each */
    text[sizeof text - 1] = '\0';
    for (int i = 0; i < RECENT_FAILURES_KEPT; i++)
        failure(FAIL_BODY_TOO_LARGE, 413, 86400000, text, text, text, text);
    struct failure f = { .kind = FAIL_TOKEN_TLS };
    memset(f.detail, '"', sizeof f.detail - 1);
    fail_token(&f, TOKEN_MANAGER_EVENTS);
    for (int i = 0; i < 200; i++) {
        traffic(UINT64_C(4000000000000), 11);
        world.totals.failed[STAGE_REQUEST] += UINT64_C(1000000000000);
        world.totals.failed[STAGE_PROXY] += UINT64_C(1000000000000);
        history_sample(&world.history, &world.totals, NOW_MS + i * (int64_t)HISTORY_STEP_MS);
    }
    struct config *long_config = settings("[token]\nclient_id = a\nclient_secret = b\n");
    char *scope = base_alloc(300000);
    memset(scope, '&', 299999);
    free(long_config->token.scope);
    long_config->token.scope = scope;
    char *url = base_alloc(100000);
    memset(url, '<', 99999);
    free(long_config->token.url);
    long_config->token.url = url;
    world.status.config = long_config;
    assert_int_equal(render(), 0);
    assert_in_range(buf_unread(&html), 100000, PAGE_BYTES_MAX / 2);
    assert_nested(buf_text(&html));
    assert_shows(buf_text(&html), "(cut)");
    config_unref(long_config);
}

static void a_page_that_does_not_fit_is_an_error_and_not_half_a_page(void **state)
{
    (void)state;
    assert_non_null(rendered(well));
    struct buf small;
    buf_init(&small, 10000);
    assert_true(page_render(&page, &small) < 0);
    buf_done(&small);
}

static void before_anything_happened_it_says_so(void **state)
{
    (void)state;
    const char *text = rendered(empty);
    assert_shows(text, "None is held");
    assert_shows(text, "One is being fetched, for 640 ms so far.");
    assert_shows(text, "None since the start.");
    assert_shows(text, "No requests.");
    assert_lacks(text, "The last fetches");
    assert_lacks(text, "nan\"");
    assert_lacks(text, "nan%");
    assert_lacks(text, "inf\"");
    assert_lacks(text, "inf%");
}

static void a_valid_token_shows_how_much_of_its_life_is_left(void **state)
{
    (void)state;
    const char *text = rendered(well);
    assert_shows(text, "38 min 10 s left");
    assert_shows(text, "obtained <time datetime=\"2026-11-24T11:38:10Z\">11:38:10</time>");
    assert_shows(text, "64 % of its life is left");
    assert_shows(text, "x=\"36.39%\" width=\"63.61%\"");
    assert_shows(text, "renewed in 32 min 20 s");
    assert_shows(text, ">12:38:10</time>");
    assert_shows(text, "number 27, lives for 1 h</td>");
    assert_shows(text, "did not answer within token.timeout.");
    assert_lacks(text, "None is held");
}

static void a_refused_secret_is_told_with_what_to_do(void **state)
{
    (void)state;
    const char *text = rendered(refused);
    assert_shows(text, "check token.client_id and token.client_secret");
    assert_shows(text, "the configuration (client credentials)");
    assert_shows(text, "the next one comes in 21 s");
    assert_shows(text, "<code>GET /v0/chains</code>");
    assert_shows(text, "token-refused");
}

static void a_dead_token_is_not_shown_as_alive(void **state)
{
    (void)state;
    const char *text = rendered(expired);
    assert_shows(text, "None is held");
    assert_shows(text, ">expired</span>");
    assert_lacks(text, " left</p>");
}

static void the_failures_have_stage_status_path_and_advice(void **state)
{
    (void)state;
    const char *text = rendered(well);
    assert_shows(text, ">request</span>");
    assert_shows(text, ">upstream</span>");
    assert_shows(text, ">421</td>");
    assert_shows(text, "<code>POST /v0/methods/7c1de0a4-55f1-4a8e-9d3b-90f0c2/execute</code>");
    assert_shows(text, "checkout-77120");
    assert_shows(text, "Find out whether it was carried out before sending it again.");
    assert_shows(text, "Ask there, with the request id.");
    assert_shows(text, "3 min 34 s ago");
    assert_shows(text, "datetime=\"2026-11-24T11:56:26Z\"");
}

/* Which part of a connection failed only the detail knows: advice for another part would lead
 * astray. */
static void the_advice_about_a_connection_does_not_contradict_the_detail(void **state)
{
    (void)state;
    static const struct {
        enum failure_kind kind;
        const char *detail;
    } cases[] = {
        { FAIL_UPSTREAM_DNS, "The name of the outbound proxy does not resolve." },
        { FAIL_UPSTREAM_CONNECT, "The outbound proxy wants other credentials (407)." },
        { FAIL_UPSTREAM_CERT, "The certificate of the upstream is for another name." },
        { FAIL_UPSTREAM_TLS, "The upstream wants a client certificate, or another one." },
        { FAIL_UPSTREAM_CONNECT_TIMEOUT, "The TLS handshake took longer." },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        well();
        world.failures.count = 0;
        failure(cases[i].kind, 502, 1000, "GET", "/v0/chains", "a-1", cases[i].detail);
        assert_int_equal(render(), 0);
        char wanted[200];
        (void)snprintf(wanted, sizeof wanted,
                       "%s oneshot-proxy doctor tries the connection step by step.<span",
                       cases[i].detail);
        assert_shows(buf_text(&html), wanted);
    }
}

/* It is passed on at once where it may not be repeated, and between two fetches. */
static void a_401_of_the_api_is_not_said_to_be_of_a_fresh_token(void **state)
{
    (void)state;
    well();
    failure(FAIL_NONE, 401, 1000, "POST", "/v0/chains", "a-1", "");
    assert_int_equal(render(), 0);
    assert_shows(buf_text(&html), "The upstream refused the token.");
    assert_lacks(buf_text(&html), "a fresh one too");
}

static void a_freeze_says_until_when(void **state)
{
    (void)state;
    const char *text = rendered(frozen);
    assert_shows(text, "<h2 id=\"frozen-h\">Frozen</h2><p>incident 7, call 555-0100</p>");
    assert_shows(text, "until <code>/etc/oneshot-proxy/freeze</code> is gone: ");
    text = rendered(frozen_in_doubt);
    assert_shows(text, "<p>the directory of freeze.file is missing</p>");
    assert_shows(text, "freeze</code> can be looked at and is not there: ");
}

static void a_refused_reload_is_shown_whatever_else_is_wrong(void **state)
{
    (void)state;
    const char *text = rendered(reload_refused);
    assert_shows(text, "oneshot-proxy.ini:12: log.level: &quot;loud&quot;");
    assert_lacks(text, "id=\"reload\"");
    reload_refused();
    world.status.stuck_count = 1;
    world.status.worker[1] = (struct status_worker){ .turn_age_ms = 9300, .stuck = true };
    assert_int_equal(render(), 0);
    text = buf_text(&html);
    assert_shows(text, "<h2 id=\"health-h\">A worker is stuck</h2>");
    assert_shows(text, "<h2 id=\"reload-h\">The last reload was refused</h2>");
    assert_shows(text, "oneshot-proxy.ini:12: log.level: &quot;loud&quot;");
    assert_lacks(rendered(well), "reload was refused");
}

static void numbers_are_there_for_people_and_for_machines(void **state)
{
    (void)state;
    const char *text = rendered(well);
    assert_shows(text, "<data value=\"1299999\" data-metric=\"oneshot_proxy_requests_total");
    assert_shows(text, ">1\xe2\x80\xaf"
                       "299\xe2\x80\xaf"
                       "999</data>");
    assert_shows(text, "<data value=\"9876543210\"");
    assert_shows(text, ">9.9\xe2\x80\xafGB</data>");
}

static void secrets_of_the_settings_are_hidden(void **state)
{
    (void)state;
    const char *text = rendered(well);
    assert_shows(text, "client_secret = ******");
    assert_shows(text, "client_id = client-7");
    assert_lacks(text, "hunter2");
}

static void a_gap_in_the_history_is_a_gap_in_the_charts(void **state)
{
    (void)state;
    const char *text = rendered(well);
    const char *curve = strstr(text, "<path class=\"p50\" d=\"M");
    assert_non_null(curve);
    const char *end = strchr(curve, '>');
    size_t pieces = 0;
    for (const char *p = curve; p < end; p++)
        pieces += *p == 'M';
    assert_in_range(pieces, 2, 12);
}

static bool page_has(const char *text)
{
    assert_int_equal(render(), 0);
    return strstr(buf_text(&html), text) != NULL;
}

static void the_ledger_has_a_line_where_there_is_one(void **state)
{
    (void)state;
    well();
    assert_false(page_has("id=\"ledger\""));
    world.status.ledger =
        (struct ledger_status){ .on = true, .up = true, .kind = "sqlite", .claim_us = 4000 };
    world.status.sum.ledger[CLAIM_RESULT_CLAIMED] = 1204;
    world.status.sum.ledger[CLAIM_RESULT_REPLAYED] = 3;
    assert_true(page_has("<section id=\"ledger\" class=\"good\""));
    assert_true(page_has("sqlite, up, claims "));
    assert_true(page_has("value=\"1204\""));
    assert_false(page_has("ledger list"));
    world.status.ledger.unknown = 1;
    world.status.ledger.unknown_oldest_ms = (NOW_S - 720) * INT64_C(1000);
    assert_true(page_has("class=\"warn\" aria-labelledby=\"ledger-h\""));
    assert_true(page_has("outcome unknown</strong> for 12 min"));
    assert_true(page_has("(<code>oneshot-proxy ledger list --state unknown</code>)"));
    config->file = strdup("/etc/a <b>.ini");
    assert_true(page_has("--state unknown --config &#39;/etc/a &lt;b&gt;.ini&#39;</code>)"));
    free(config->file);
    config->file = NULL;
    world.status.ledger.up = false;
    world.status.ledger.down_ms = NOW_MS - 5000;
    world.status.ledger.why = "the disk <is> full";
    world.status.ledger.outcomes_waiting = 2;
    assert_true(page_has("class=\"bad\" aria-labelledby=\"ledger-h\""));
    assert_true(page_has("<strong>down</strong> for 5"));
    assert_true(page_has("the disk &lt;is&gt; full"));
    assert_true(page_has(" outcomes wait to be written"));
}

static int setup(void **state)
{
    (void)state;
    config = settings("[token]\nclient_id = client-7\nclient_secret = hunter2\n"
                      "[upstream]\nbase_url = https://api.1shotapi.dev/v0\n");
    return config == NULL ? -1 : 0;
}
static int teardown(void **state)
{
    (void)state;
    buf_done(&html);
    config_unref(config);
    return 0;
}

/* NAME.html for each state. */
static int write_all(const char *directory)
{
    int err = setup(NULL);

    for (size_t i = 0; err == 0 && i < ARRAY_LEN(states); i++) {
        char path[4096];

        (void)snprintf(path, sizeof path, "%s/%s.html", directory, states[i].name);
        states[i].make();
        err = render();
        FILE *f = fopen(path, "we");
        if (err != 0 || f == NULL || fputs(buf_text(&html), f) < 0 || fclose(f) != 0)
            err = -1;
    }
    (void)teardown(NULL);
    return err;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_state_is_sound_html_and_says_what_it_is),
        cmocka_unit_test(
            nothing_comes_from_outside_and_nothing_has_a_style_or_handler_of_its_own),
        cmocka_unit_test(the_policy_lets_only_this_style_and_script_be),
        cmocka_unit_test(hostile_text_stays_text),
        cmocka_unit_test(the_longest_texts_there_can_be_fit),
        cmocka_unit_test(a_page_that_does_not_fit_is_an_error_and_not_half_a_page),
        cmocka_unit_test(before_anything_happened_it_says_so),
        cmocka_unit_test(a_valid_token_shows_how_much_of_its_life_is_left),
        cmocka_unit_test(a_refused_secret_is_told_with_what_to_do),
        cmocka_unit_test(a_dead_token_is_not_shown_as_alive),
        cmocka_unit_test(the_failures_have_stage_status_path_and_advice),
        cmocka_unit_test(the_advice_about_a_connection_does_not_contradict_the_detail),
        cmocka_unit_test(a_401_of_the_api_is_not_said_to_be_of_a_fresh_token),
        cmocka_unit_test(a_freeze_says_until_when),
        cmocka_unit_test(a_refused_reload_is_shown_whatever_else_is_wrong),
        cmocka_unit_test(numbers_are_there_for_people_and_for_machines),
        cmocka_unit_test(secrets_of_the_settings_are_hidden),
        cmocka_unit_test(a_gap_in_the_history_is_a_gap_in_the_charts),
        cmocka_unit_test(the_ledger_has_a_line_where_there_is_one),
    };

    if (argc > 1) { /* the policy, for whoever serves them */
        (void)puts(page_policy());
        return write_all(argv[1]) == 0 ? 0 : 1;
    }
    return cmocka_run_group_tests(tests, setup, teardown);
}

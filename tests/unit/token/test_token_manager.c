/* token_manager.c, with the test's own clock: clock, timers and the token endpoint are
 * defined here in place of clock.c, loop.c and token_client.c. Rows:
 * tests/hostile/README.md. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "token/token_manager.h"
#include "unit.h"

static int64_t now_ms;
#define TIMERS_MAX 8
static struct loop_timer *armed[TIMERS_MAX];
static struct token_client *fetching; /* the fetch under way */
static uint64_t fetching_generation;
static unsigned fetches;
static bool credentials_changed, request_changed;
static struct token_view seen; /* the last one published */
static unsigned views;

int64_t clock_ms(void)
{
    return now_ms;
}
int64_t clock_us(void)
{
    return now_ms * 1000;
}
int64_t clock_wall_s(void)
{
    return now_ms / 1000;
}

void loop_timer_clear(struct loop *l, struct loop_timer *t)
{
    (void)l;
    for (size_t i = 0; i < TIMERS_MAX; i++)
        if (armed[i] == t)
            armed[i] = NULL;
    t->slot = 0;
}
void loop_timer_set(struct loop *l, struct loop_timer *t, int64_t due_ms)
{
    loop_timer_clear(l, t);
    t->due_ms = due_ms;
    t->slot = 1;
    for (size_t i = 0; i < TIMERS_MAX; i++)
        if (armed[i] == NULL) {
            armed[i] = t;
            return;
        }
    fail_msg("too many timers");
}

int token_client_init(struct token_client *client, struct loop *l)
{
    *client = (struct token_client){ .loop = l };
    return 0;
}
void token_client_done(struct token_client *client)
{
    token_client_cancel(client);
}
void token_client_cancel(struct token_client *client)
{
    if (fetching == client)
        fetching = NULL;
}
void token_client_fetch(struct token_client *client, const struct config *c,
                        uint64_t generation)
{
    (void)c;
    assert_null(fetching); /* one at a time */
    fetching = client;
    fetching_generation = generation;
    fetches++;
}
bool token_client_credentials_changed(struct token_client *s, const struct config *c)
{
    (void)s;
    (void)c;
    return credentials_changed;
}

bool token_client_configure(struct token_client *s, const struct config *was,
                            const struct config *now)
{
    (void)s;
    (void)now;
    return was != NULL && request_changed;
}

/* Lets time pass, firing each timer at its time. */
static void pass(int64_t ms)
{
    int64_t end = now_ms + ms;

    for (;;) {
        struct loop_timer *first = NULL;

        for (size_t i = 0; i < TIMERS_MAX; i++)
            if (armed[i] != NULL && (first == NULL || armed[i]->due_ms < first->due_ms))
                first = armed[i];
        if (first == NULL || first->due_ms > end)
            break;
        now_ms = base_max(now_ms, first->due_ms);
        loop_timer_clear(NULL, first);
        first->on_due(first);
    }
    now_ms = end;
}

static void answer_token_sent(int64_t lifetime_s, int64_t sent_ms)
{
    struct token_client *client = fetching;
    char json[128];
    const char *why = "";

    assert_non_null(client);
    (void)snprintf(json, sizeof json,
                   "{\"access_token\":\"abc\",\"token_type\":\"Bearer\",\"expires_in\":%lld}",
                   (long long)lifetime_s);
    struct token_client_result r = { .retry_after_ms = -1 };
    r.token = token_parse(json, strlen(json),
                          &(struct token_rules){ .default_lifetime_ms = 1000,
                                                 .now_ms = sent_ms,
                                                 .generation = fetching_generation },
                          &why);
    assert_non_null(r.token);
    fetching = NULL;
    client->on_done(client, &r);
}

static void answer_token(int64_t lifetime_s)
{
    answer_token_sent(lifetime_s, now_ms);
}

static void answer_failure(enum failure_kind kind, bool refused, int64_t retry_after_ms)
{
    struct token_client *s = fetching;
    struct token_client_result r = { .refused = refused, .retry_after_ms = retry_after_ms };

    assert_non_null(s);
    r.failure = failure_make(kind, "scripted");
    fetching = NULL;
    s->on_done(s, &r);
}

static void on_publish(void *arg, const struct token_view *view)
{
    (void)arg;
    seen = *view;
    views++;
}

/* The upstream refuses a token. Returns until when that is passed on; 0: it is not. */
static int64_t refuse(struct token_manager *t, uint64_t generation)
{
    token_manager_on_refused(t, generation);
    struct token_view v = token_manager_view(t);

    return v.passthrough_generation == generation ? v.passthrough_until_ms : 0;
}

static struct loop loop;

/* Settings with the defaults that matter here; never freed by its references. */
/* The ones before stay as they are, to be compared with. */
static struct config *settings_for(const char *origin)
{
    static struct config pair[2];
    static unsigned next;
    struct config *c = &pair[next++ % 2];

    memset(c, 0, sizeof *c);
    c->refs = 1000;
    c->upstream.origin = (char *)(uintptr_t)origin;
    c->token.refresh_before.percent = 10;
    c->token.retry_min_ms = 1000;
    c->token.retry_max_ms = 60000;
    c->token.timeout_ms = 10000;
    return c;
}

static struct config *settings(void)
{
    return settings_for("https://api.example");
}

static void begin(struct token_manager *t)
{
    now_ms = 1000000;
    for (size_t i = 0; i < TIMERS_MAX; i++)
        armed[i] = NULL;
    fetching = NULL;
    fetches = views = 0;
    credentials_changed = request_changed = false;
    seen = (struct token_view){ .token = NULL };
    assert_int_equal(token_manager_init(t, &loop, settings(), on_publish, NULL), 0);
    token_manager_start(t);
    assert_int_equal(fetches, 1);
}

static void a_token_is_renewed_a_tenth_before_its_end_and_serves_meanwhile(void **state)
{
    struct token_manager t;

    (void)state;
    begin(&t);
    answer_token(1000);
    assert_int_equal(seen.token->generation, 1);
    pass(889 * 1000); /* a tenth of 1000 s, give or take a tenth: 890 to 910 s */
    assert_int_equal(fetches, 1);
    pass(22 * 1000);
    assert_int_equal(fetches, 2);
    assert_non_null(token_manager_view(&t).token);
    assert_int_equal(token_manager_view(&t).token->generation, 1);
    answer_token(1000);
    assert_int_equal(seen.token->generation, 2);
    token_manager_done(&t);
}

/* While the old token is valid, nobody sees that its renewal failed. (row 64) */
static void a_failed_renewal_shows_to_nobody_until_the_token_dies(void **state)
{
    struct token_manager t;

    (void)state;
    begin(&t);
    answer_token(1000);
    for (int64_t end = now_ms + 999 * 1000; now_ms < end;) {
        pass(1000);
        if (fetching != NULL)
            answer_failure(FAIL_TOKEN_UNAVAILABLE, false, -1);
        assert_non_null(token_manager_view(&t).token);
    }
    assert_true(fetches > 2);
    pass(1000);
    assert_null(seen.token); /* an expired token is never given out */
    token_manager_done(&t);
}

static void failures_are_spaced_further_and_further_up_to_the_limit(void **state)
{
    struct token_manager t;
    int64_t longest = 0;

    (void)state;
    begin(&t);
    for (int i = 0; i < 12; i++) {
        answer_failure(FAIL_TOKEN_CONNECT, false, -1);
        assert_true(seen.failing);
        assert_int_equal(seen.failure.kind, FAIL_TOKEN_CONNECT);
        assert_true(seen.failure.retry_after_s >= 1);
        int64_t from = now_ms;
        while (fetching == NULL)
            pass(100);
        assert_true(now_ms - from >= 1000); /* never sooner than retry_min */
        assert_true(now_ms - from <= 60100);
        assert_false(seen.failing); /* under way again: requests wait for it */
        longest = base_max(longest, now_ms - from);
    }
    assert_true(longest > 4000);
    token_manager_done(&t);
}

static void refused_credentials_back_off_longer_than_a_network_failure(void **state)
{
    struct token_manager t;

    (void)state;
    begin(&t);
    answer_failure(FAIL_TOKEN_REFUSED, true, -1);
    pass(3900);
    assert_int_equal(fetches, 1);
    pass(60000);
    assert_int_equal(fetches, 2);
    token_manager_done(&t);
}

static void changed_credentials_are_tried_at_once_but_only_once(void **state)
{
    struct token_manager t;

    (void)state;
    begin(&t);
    credentials_changed = true;
    answer_failure(FAIL_TOKEN_REFUSED, true, -1);
    pass(1);
    assert_int_equal(fetches, 2);
    answer_failure(FAIL_TOKEN_REFUSED, true, -1);
    pass(3000);
    assert_int_equal(fetches, 2);
    token_manager_done(&t);
}

/* Retry-After of the token endpoint is honoured up to a limit. (row 62) */
static void retry_after_is_honoured_and_capped(void **state)
{
    struct token_manager t;

    (void)state;
    begin(&t);
    answer_failure(FAIL_TOKEN_UNAVAILABLE, false, 30000);
    pass(29900);
    assert_int_equal(fetches, 1);
    pass(200);
    assert_int_equal(fetches, 2);
    answer_failure(FAIL_TOKEN_UNAVAILABLE, false, 1000000000LL * 1000);
    pass(60100);
    assert_int_equal(fetches, 3);
    token_manager_done(&t);
}

static void however_many_ask_one_fetch_runs(void **state)
{
    struct token_manager t;

    (void)state;
    begin(&t);
    for (int i = 0; i < 1000; i++)
        token_manager_on_want(&t);
    assert_int_equal(fetches, 1);
    answer_failure(FAIL_TOKEN_CONNECT, false, -1);
    for (int i = 0; i < 1000; i++)
        token_manager_on_want(&t);
    assert_int_equal(fetches, 1); /* backing off: the last failure at once */
    assert_true(seen.failing);
    token_manager_done(&t);
}

static void a_refused_token_serves_until_the_new_one_is_here_which_is_fetched_once(void **state)
{
    struct token_manager t;

    (void)state;
    begin(&t);
    answer_token(1000);
    for (int i = 0; i < 50; i++)
        assert_int_equal(refuse(&t, 1), 0);
    assert_int_equal(fetches, 2);
    assert_int_equal(seen.token->generation, 1);
    answer_token(1000);
    for (int i = 0; i < 50; i++)
        assert_int_equal(refuse(&t, 1), 0); /* late, for the older one */
    assert_int_equal(token_manager_view(&t).token->generation, 2);
    assert_int_equal(token_manager_view(&t).passthrough_generation, 0);
    assert_int_equal(fetches, 2);
    assert_int_equal(t.stats.refused, 1);
    token_manager_done(&t);
}

static void fresh_tokens_that_are_refused_too_are_fetched_ever_more_rarely(void **state)
{
    struct token_manager t;

    (void)state;
    begin(&t);
    answer_token(100000);
    for (int i = 0; i < 6000; i++) { /* a refusal each 100 ms for ten minutes */
        pass(100);
        int64_t until = refuse(&t, t.generation);
        if (fetching != NULL) {
            answer_token(100000);
        } else {
            assert_true(until > now_ms);
            assert_non_null(token_manager_view(&t).token); /* it goes on serving */
        }
    }
    assert_in_range(fetches, 8, 60);
    token_manager_done(&t);
}

static void a_token_refused_while_the_endpoint_backs_off_does_not_hurry_it(void **state)
{
    struct token_manager t;

    (void)state;
    begin(&t);
    answer_token(1000);
    while (fetching == NULL)
        pass(1000);
    answer_failure(FAIL_TOKEN_UNAVAILABLE, false, 30000);
    assert_int_equal(fetches, 2);
    assert_int_equal(refuse(&t, 1), t.timer.due_ms); /* the refusal goes to the caller */
    assert_int_equal(fetches, 2);
    assert_int_equal(seen.token->generation, 1);
    token_manager_done(&t);
}

static void a_new_secret_is_fetched_with_at_once_while_the_old_token_serves(void **state)
{
    struct token_manager t;

    (void)state;
    begin(&t);
    answer_token(1000);
    request_changed = true;
    token_manager_reconfigure(&t, settings());
    assert_int_equal(fetches, 2);
    assert_int_equal(token_manager_view(&t).token->generation, 1);
    answer_token(1000);
    assert_int_equal(seen.token->generation, 2);
    token_manager_done(&t);
}

static void settings_that_ask_for_the_same_cost_no_fetch(void **state)
{
    struct token_manager t;

    (void)state;
    begin(&t);
    for (int i = 0; i < 100; i++)
        token_manager_reconfigure(&t, settings()); /* during the first fetch */
    assert_int_equal(fetches, 1);
    answer_token(1000);
    for (int i = 0; i < 100; i++)
        token_manager_reconfigure(&t, settings());
    assert_int_equal(fetches, 1);
    pass(950 * 1000); /* the renewal is still planned, once */
    assert_int_equal(fetches, 2);
    token_manager_done(&t);
}

static void after_a_failure_new_settings_are_tried_at_once(void **state)
{
    struct token_manager t;

    (void)state;
    begin(&t);
    answer_failure(FAIL_TOKEN_CONNECT, false, -1);
    token_manager_reconfigure(&t, settings());
    assert_int_equal(fetches, 2);
    token_manager_reconfigure(&t, settings()); /* that one is under way */
    assert_int_equal(fetches, 2);
    answer_token(1000);
    token_manager_done(&t);
}

static void a_token_does_not_go_to_another_upstream(void **state)
{
    struct token_manager t;

    (void)state;
    begin(&t);
    answer_token(1000);
    token_manager_reconfigure(&t, settings_for("https://other.example"));
    assert_null(token_manager_view(&t).token);
    assert_null(seen.token);
    assert_int_equal(fetches, 2);
    answer_token(1000);
    assert_int_equal(seen.token->generation, 2);
    token_manager_done(&t);
}

static void files_that_changed_cost_one_fetch_and_others_none(void **state)
{
    struct token_manager t;

    (void)state;
    begin(&t);
    answer_token(1000);
    token_manager_on_files(&t);
    assert_int_equal(fetches, 1);
    credentials_changed = true;
    token_manager_on_files(&t);
    assert_int_equal(fetches, 2);
    assert_int_equal(token_manager_view(&t).token->generation, 1); /* serves meanwhile */
    credentials_changed = false;
    token_manager_on_files(&t);
    assert_int_equal(fetches, 2);
    answer_token(1000);
    token_manager_done(&t);
}

static void changed_files_end_a_back_off(void **state)
{
    struct token_manager t;

    (void)state;
    begin(&t);
    answer_failure(FAIL_TOKEN_REFUSED, true, -1);
    credentials_changed = true;
    token_manager_on_files(&t);
    assert_int_equal(fetches, 2);
    answer_token(1000);
    token_manager_done(&t);
}

static void a_token_that_lives_no_longer_than_refresh_before_is_renewed_halfway(void **state)
{
    struct token_manager t;

    (void)state;
    begin(&t);
    t.config->token.refresh_before = (struct config_share){ .ms = 300000 };
    answer_token(300);
    pass(130 * 1000);
    assert_int_equal(fetches, 1);
    pass(40 * 1000);
    assert_int_equal(fetches, 2);
    token_manager_done(&t);
}

#define DRAWS 400

/* Whether the draws lie in [low, high], fill all of it and no part of it more than others: each
 * quarter has its share, give or take more than chance ever does. */
static void assert_even(const int64_t *draw, int64_t low, int64_t high)
{
    size_t in_quarter[4] = { 0 };

    for (size_t i = 0; i < DRAWS; i++) {
        assert_in_range(draw[i], low, high);
        in_quarter[(draw[i] - low) * 4 / (high - low + 1)]++;
    }
    for (size_t q = 0; q < 4; q++)
        assert_in_range(in_quarter[q], DRAWS / 4 - 60, DRAWS / 4 + 60); /* 7 sigma */
}

/* Many gateways that were started together must not ask together. */
static void renewals_are_spread_evenly_over_a_tenth_about_their_time(void **state)
{
    struct token_manager t;
    int64_t after_ms[DRAWS];

    (void)state;
    begin(&t);
    for (size_t i = 0; i < DRAWS; i++) {
        int64_t from = now_ms;

        answer_token(1000);
        pass(t.timer.due_ms - now_ms);
        after_ms[i] = now_ms - from;
    }
    assert_even(after_ms, 890000, 910000);
    token_manager_done(&t);
}

/* The first pause after a failure lies between retry_min and twice that, the third below eight
 * times, those of refused credentials between half of their limit and it. */
static void pauses_after_failures_are_spread_evenly_too(void **state)
{
    static const struct {
        unsigned failures;
        bool refused;
        int64_t low, high;
    } cases[] = {
        { 1, false, 1000, 2000 },   { 3, false, 1000, 8000 },
        { 12, false, 1000, 60000 }, /* retry_max, for ever */
        { 1, true, 4000, 16000 },   { 9, true, 4000, 60000 },
    };

    (void)state;
    for (size_t k = 0; k < ARRAY_LEN(cases); k++) {
        int64_t after_ms[DRAWS];

        for (size_t i = 0; i < DRAWS; i++) {
            struct token_manager t;

            begin(&t);
            for (unsigned n = 0; n < cases[k].failures; n++) {
                if (fetching == NULL)
                    pass(t.timer.due_ms - now_ms);
                answer_failure(FAIL_TOKEN_CONNECT, cases[k].refused, -1);
            }
            after_ms[i] = t.timer.due_ms - now_ms;
            token_manager_done(&t);
        }
        assert_even(after_ms, cases[k].low, cases[k].high);
    }
}

/* Where refresh_before leaves nothing of the lifetime, or less than nothing. */
static void no_renewal_comes_sooner_than_retry_min(void **state)
{
    static const struct {
        int64_t before_ms, life_s, soonest_ms;
    } cases[] = {
        { 999000, 1000, 1000 }, { 1000000, 1001, 1000 }, { 950000, 1000, 1000 },
        { 9900, 10, 1000 },     { 999, 1, 500 }, /* a life of one second: halfway */
    };

    (void)state;
    for (size_t k = 0; k < ARRAY_LEN(cases); k++) {
        struct token_manager t;
        int64_t shortest = INT64_MAX;

        begin(&t);
        t.config->token.refresh_before = (struct config_share){ .ms = cases[k].before_ms };
        for (size_t i = 0; i < 100; i++) {
            int64_t from = now_ms;

            answer_token(cases[k].life_s);
            shortest = base_min(shortest, t.timer.due_ms - from);
            pass(t.timer.due_ms - now_ms);
        }
        assert_true(shortest >= cases[k].soonest_ms);
        token_manager_done(&t);
    }
}

/* What failed before a success is forgotten: pauses are short again, and credentials that have
 * changed are tried at once again. */
static void a_token_ends_what_was_remembered_of_failures(void **state)
{
    (void)state;
    for (int i = 0; i < 30; i++) {
        struct token_manager t;

        begin(&t);
        for (int n = 0; n < 8; n++) {
            answer_failure(FAIL_TOKEN_CONNECT, false, -1);
            pass(t.timer.due_ms - now_ms);
        }
        answer_token(1000);
        pass(t.timer.due_ms - now_ms);
        answer_failure(FAIL_TOKEN_CONNECT, false, -1);
        assert_in_range(t.timer.due_ms - now_ms, 1000, 2000);
        pass(t.timer.due_ms - now_ms);
        for (int n = 0; n < 2; n++) {
            credentials_changed = true;
            answer_failure(FAIL_TOKEN_REFUSED, true, -1);
            assert_int_equal(t.timer.due_ms, now_ms);
            pass(0);
            answer_failure(FAIL_TOKEN_REFUSED, true, -1);
            assert_true(t.timer.due_ms - now_ms >= 4000); /* not twice in a row */
            pass(t.timer.due_ms - now_ms);
            answer_token(1000);
            pass(t.timer.due_ms - now_ms);
        }
        token_manager_done(&t);
    }
}

/* Refusals that are long apart are tokens that were revoked, one by one: no pause has grown. */
static void refusals_long_apart_are_no_row_of_refusals(void **state)
{
    static const struct {
        int64_t apart_ms;
        bool forgotten;
    } cases[] = { { 121000, true }, { 119000, false } };

    (void)state;
    for (size_t k = 0; k < ARRAY_LEN(cases); k++) {
        int64_t longest = 0;

        for (int i = 0; i < 20; i++) {
            struct token_manager t;

            begin(&t);
            answer_token(86400);
            for (int n = 0; n < 9; n++) {
                if (n > 0)
                    pass(n < 8 ? t.refused_fetch_ms - now_ms : cases[k].apart_ms);
                assert_int_equal(refuse(&t, t.generation), 0);
                answer_token(86400);
            }
            longest = base_max(longest, t.refused_fetch_ms - now_ms);
            token_manager_done(&t);
        }
        assert_int_equal(longest == 1000, cases[k].forgotten);
    }
}

/* With other credentials, or for another upstream, the fault may be mended: a refusal counts
 * again at once. */
static void what_was_refused_before_a_new_secret_delays_nothing_after_it(void **state)
{
    struct token_manager t;

    (void)state;
    begin(&t);
    answer_token(1000);
    for (int i = 0; i < 8; i++) { /* until it has to wait */
        (void)refuse(&t, t.generation);
        if (fetching != NULL)
            answer_token(1000);
    }
    assert_true(refuse(&t, t.generation) > now_ms);
    credentials_changed = true;
    token_manager_on_files(&t);
    answer_token(1000);
    assert_int_equal(refuse(&t, t.generation), 0);
    assert_non_null(fetching);
    answer_token(1000);
    token_manager_done(&t);
}

static void what_happened_to_tokens_is_kept_for_the_status_page(void **state)
{
    struct token_manager t;

    (void)state;
    begin(&t);
    now_ms += 40;
    answer_token(1000);
    pass(900 * 1000);
    while (fetching == NULL)
        pass(1000);
    now_ms += 7;
    answer_failure(FAIL_TOKEN_UNAVAILABLE, false, 30000);
    assert_int_equal(refuse(&t, 1), t.timer.due_ms);
    assert_int_equal(t.stats.events, 3);
    assert_int_equal(t.stats.event[0].what, TOKEN_MANAGER_OBTAINED);
    assert_int_equal(t.stats.event[0].took_ms, 40);
    assert_int_equal(t.stats.event[0].lifetime_ms, 1000000);
    assert_int_equal(t.stats.event[0].generation, 1);
    assert_int_equal(t.stats.event[1].what, TOKEN_MANAGER_FAILED);
    assert_int_equal(t.stats.event[1].took_ms, now_ms - t.sent_ms);
    assert_int_equal(t.stats.event[1].retry_ms, 30000);
    assert_int_equal(t.stats.event[1].failure.kind, FAIL_TOKEN_UNAVAILABLE);
    assert_int_equal(t.stats.event[1].at_ms, now_ms);
    assert_int_equal(t.stats.event[2].what, TOKEN_MANAGER_SUSPECT);
    assert_int_equal(t.stats.event[2].generation, 1);
    token_manager_done(&t);
}

static void of_many_token_events_the_last_ten_are_kept(void **state)
{
    struct token_manager t;

    (void)state;
    begin(&t);
    for (unsigned i = 0; i < 25; i++) {
        while (fetching == NULL)
            pass(1000);
        answer_failure(FAIL_TOKEN_UNAVAILABLE, false, 1000);
    }
    assert_int_equal(t.stats.events, 25);
    assert_int_equal(t.stats.consecutive_failures, 25);
    for (size_t i = 1; i < TOKEN_MANAGER_EVENTS; i++)
        assert_true(t.stats.event[(25 + i) % TOKEN_MANAGER_EVENTS].at_ms >
                    t.stats.event[(25 + i - 1) % TOKEN_MANAGER_EVENTS].at_ms);
    token_manager_done(&t);
}

/* One path that answers 401 says nothing of the others, however ill the token endpoint is. */
static void a_suspect_token_serves_while_the_endpoint_is_down(void **state)
{
    struct token_manager t;

    (void)state;
    begin(&t);
    answer_token(36000);
    pass(60000);
    for (int64_t end = now_ms + 3600000; now_ms < end;) {
        (void)refuse(&t, 1);
        assert_int_equal(token_manager_view(&t).token->generation, 1);
        if (fetching != NULL && now_ms % 3 == 0)
            answer_failure(FAIL_TOKEN_UNAVAILABLE, false, -1);
        /* never both: held for ever, and nothing is being fetched */
        assert_true(fetching != NULL || token_manager_view(&t).passthrough_until_ms > now_ms);
        pass(333);
    }
    assert_int_equal(t.stats.refused, 1);
    if (fetching == NULL)
        pass(60000);
    answer_token(1000);
    assert_int_equal(seen.token->generation, 2);
    assert_int_equal(seen.passthrough_generation, 0);
    token_manager_done(&t);
}

static void a_young_token_that_is_refused_rests_and_is_tried_again(void **state)
{
    struct token_manager t;

    (void)state;
    begin(&t);
    answer_token(1000);
    pass(t.timer.due_ms - now_ms);
    answer_token(1000);
    assert_int_equal(seen.other->generation, 1);
    assert_true(seen.other_good);
    for (int i = 0; i < 9; i++) {
        assert_int_equal(refuse(&t, 2), 0);
        assert_int_equal(seen.token->generation, 1);
        assert_int_equal(seen.other->generation, 2);
        pass(900);
        assert_int_equal(seen.token->generation, 1);
        pass(101);
        assert_int_equal(seen.token->generation, 2); /* once more */
    }
    assert_int_equal(fetches, 2);
    assert_int_equal(t.stats.refused, 0);
    pass(1000); /* not young any more */
    assert_int_equal(refuse(&t, 2), 0);
    assert_int_equal(fetches, 3);
    assert_int_equal(seen.token->generation, 2);
    answer_token(1000);
    assert_int_equal(seen.other->generation, 1); /* the one before that is good is kept */
    token_manager_done(&t);
}

/* When both are refused, and nobody has had the one before taken since, the age of the young
 * one is not the cause. */
static void a_young_token_is_replaced_when_the_one_before_is_refused_too(void **state)
{
    (void)state;
    for (int was_suspect = 0; was_suspect < 2; was_suspect++) {
        struct token_manager t;

        begin(&t);
        answer_token(1000);
        if (was_suspect)
            (void)refuse(&t, 1);
        else
            pass(t.timer.due_ms - now_ms);
        answer_token(1000);
        pass(1001);
        if (!was_suspect) {
            assert_int_equal(refuse(&t, 2), 0); /* it rests */
            assert_null(fetching);
            assert_int_equal(refuse(&t, 1), 0);
            assert_false(seen.other_good);
            assert_int_equal(seen.doubted[1], 1);
            pass(1001);
        }
        assert_int_equal(refuse(&t, 2), 0);
        assert_int_equal(fetches, 3);
        answer_token(1000);
        assert_int_equal(seen.other->generation, 2);
        token_manager_done(&t);
    }
}

static void the_token_before_goes_when_it_dies(void **state)
{
    struct token_manager t;

    (void)state;
    begin(&t);
    answer_token(100);
    pass(t.timer.due_ms - now_ms);
    answer_token(1000);
    assert_int_equal(refuse(&t, 2), 0); /* the one before serves */
    t.hold_back_timer.due_ms = now_ms + 60000;
    pass(20000);
    assert_int_equal(seen.token->generation, 2);
    assert_null(seen.other);
    assert_null(t.previous);
    token_manager_done(&t);
}

static void
a_token_that_lives_shorter_than_its_fetch_takes_is_a_failure_with_pauses(void **state)
{
    struct token_manager t;

    (void)state;
    begin(&t);
    for (int i = 0; i < 20; i++) {
        int64_t sent_ms = now_ms;

        assert_non_null(fetching);
        now_ms += 3000 + i * 100;
        answer_token_sent(2, sent_ms);
        assert_null(seen.token);
        assert_true(seen.failing);
        assert_int_equal(seen.failure.kind, FAIL_TOKEN_INVALID);
        assert_non_null(strstr(seen.failure.detail, "The token lives for 2000 ms"));
        assert_true(t.timer.due_ms - now_ms >= 1000);
        pass(t.timer.due_ms - now_ms);
    }
    assert_int_equal(t.stats.obtained, 0);
    assert_int_equal(t.stats.failed, 20);
    answer_token(1000);
    assert_int_equal(seen.token->generation, 1);
    token_manager_done(&t);
}

/* --- a model of the upstream, and of requests that follow the views ------------------------
 *
 * Each token becomes known to the upstream some time after it was given out, and may be
 * revoked; one path refuses all. A request is sent with the view's token and repeated once
 * as relay.c does. */

#define MODEL_TOKENS 4000

static struct {
    int64_t known_ms[MODEL_TOKENS];
    bool revoked[MODEL_TOKENS];
    int64_t propagation_ms;
    int64_t last_fetch_ms; /* of those that refusals caused */
    uint64_t random;
} model;

static uint64_t draw(uint64_t n)
{
    model.random ^= model.random << 13;
    model.random ^= model.random >> 7;
    model.random ^= model.random << 17;
    return model.random % n;
}

static bool upstream_takes(const struct token *token, bool path_refuses)
{
    assert_true(token_valid(token, now_ms)); /* an expired one is never sent */
    return !path_refuses && !model.revoked[token->generation] &&
           now_ms >= model.known_ms[token->generation];
}

static void check_view(const struct token_manager *t)
{
    struct token_view v = token_manager_view(t);

    if (v.token != NULL) {
        assert_true(token_valid(v.token, now_ms));
        assert_ptr_not_equal(v.token, v.other);
        assert_false(v.failing);
    } else {
        assert_true(v.failing || fetching != NULL);
    }
}

/* Tells what the upstream said, as a worker does. Returns whether the token was taken. */
static bool model_send(struct token_manager *t, const struct token *token, bool path_refuses)
{
    uint64_t generation = token->generation;
    struct token_view v = token_manager_view(t);
    unsigned before = fetches;

    if (upstream_takes(token, path_refuses)) {
        if (v.doubted[0] == generation || v.doubted[1] == generation)
            token_manager_on_accepted(t, generation);
        return true;
    }
    token_manager_on_refused(t, generation);
    if (fetches > before) { /* spaced, however many refuse */
        assert_true(now_ms - model.last_fetch_ms >= 1000);
        model.last_fetch_ms = now_ms;
    }
    check_view(t);
    return false;
}

/* Returns whether the caller gets something else than a 401. Whom it waits for, while a
 * token is being fetched, has it at once here: `wait` says that it comes, in this moment. */
static bool model_request(struct token_manager *t, bool path_refuses, bool wait)
{
    struct token_view v = token_manager_view(t);

    if (v.token == NULL)
        return true; /* waits, or is told of the token endpoint */
    uint64_t mine = v.token->generation;
    bool young = token_is_young(v.token, now_ms);

    if (model_send(t, v.token, path_refuses))
        return true;
    v = token_manager_view(t);
    if (v.token == NULL)
        return false;
    bool passed_on = v.passthrough_generation == mine;
    const struct token *newest =
        v.other != NULL && v.other->generation > v.token->generation ? v.other : v.token;
    const struct token *oldest = newest == v.token ? v.other : v.token;

    if (newest->generation > mine)
        return model_send(t, newest, path_refuses);
    if (oldest != NULL && oldest->generation < mine && young &&
        (v.other_good || oldest == v.token || passed_on))
        return model_send(t, oldest, path_refuses);
    if (passed_on || !wait)
        return false;
    assert_non_null(fetching); /* it is not held for nothing */
    model.known_ms[fetching_generation] = now_ms + (int64_t)draw(2) * model.propagation_ms;
    answer_token(30 + (int64_t)draw(600));
    return model_send(t, t->current, path_refuses);
}

static void model_begin(struct token_manager *t, uint64_t seed, int64_t propagation_ms)
{
    memset(&model, 0, sizeof model);
    model.random = seed * 0x9E3779B97F4A7C15ULL + 1;
    model.propagation_ms = propagation_ms;
    begin(t);
}

static void model_answer(int64_t life_s)
{
    model.known_ms[fetching_generation] = now_ms + model.propagation_ms;
    answer_token(life_s);
}

/* Everything happens: what must hold always is checked in the functions above, and that the
 * current token, if the upstream takes it, is enough for everybody on a sound path. */
static void whatever_happens_to_tokens_a_good_one_serves_all_sound_paths(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= unit_rounds(300); seed++) {
        struct token_manager t;

        model_begin(&t, seed, (int64_t)draw(2) * 1500);
        for (int step = 0; step < 1000 && t.generation + 2 < MODEL_TOKENS; step++) {
            bool sound = t.current != NULL && token_valid(t.current, now_ms) &&
                         upstream_takes(t.current, false);

            switch (draw(12)) {
            case 0:
                if (fetching != NULL)
                    model_answer(5 + (int64_t)draw(600));
                break;
            case 1:
                if (fetching != NULL)
                    answer_failure(draw(2) ? FAIL_TOKEN_CONNECT : FAIL_TOKEN_UNAVAILABLE, false,
                                   draw(2) ? -1 : (int64_t)draw(60000));
                break;
            case 2: /* late, for any that there was */
                if (t.generation > 1)
                    token_manager_on_refused(&t, 1 + draw(t.generation - 1));
                break;
            case 3:
                if (draw(10) == 0)
                    model.revoked[t.generation] = true;
                break;
            case 4:
                if (draw(10) == 0 && t.generation > 1)
                    model.revoked[t.generation - 1] = true;
                break;
            case 5:
            case 6: /* the path that refuses all */
                (void)model_request(&t, true, draw(2) == 1);
                break;
            case 7:
                pass((int64_t)draw(20000));
                break;
            case 8:
                token_manager_on_want(&t);
                break;
            default: {
                bool served = model_request(&t, false, false);

                assert_true(served || !sound);
                break;
            }
            }
            pass((int64_t)draw(500));
            check_view(&t);
        }
        token_manager_done(&t);
    }
}

/* Where nothing is revoked and the endpoint is well, no sound path ever sees a 401, although
 * each new token is unknown for a while, and one path refuses whatever it gets. */
static void no_renewal_shows_while_new_tokens_are_not_known_everywhere(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= unit_rounds(200); seed++) {
        struct token_manager t;
        int64_t refusing_path = (int64_t)(seed % 3 == 0 ? 0 : seed % 3 == 1 ? 300 : 5000);
        int64_t next_ms = 0;

        model_begin(&t, seed, 1500 + (int64_t)(seed % 5) * 1000);
        model_answer(120);
        model.known_ms[1] = 0;
        while (t.generation < 60 && now_ms < 1000000 + 3600000) {
            if (refusing_path > 0 && now_ms >= next_ms) {
                (void)model_request(&t, true, false);
                next_ms = now_ms + (int64_t)draw((uint64_t)refusing_path);
            }
            assert_true(model_request(&t, false, false));
            if (fetching != NULL && draw(3) == 0)
                model_answer(120);
            pass(50 + (int64_t)draw(100));
        }
        if (refusing_path == 0)
            assert_int_equal(t.stats.refused, 0);
        token_manager_done(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_is_renewed_a_tenth_before_its_end_and_serves_meanwhile),
        cmocka_unit_test(a_failed_renewal_shows_to_nobody_until_the_token_dies),
        cmocka_unit_test(failures_are_spaced_further_and_further_up_to_the_limit),
        cmocka_unit_test(refused_credentials_back_off_longer_than_a_network_failure),
        cmocka_unit_test(changed_credentials_are_tried_at_once_but_only_once),
        cmocka_unit_test(retry_after_is_honoured_and_capped),
        cmocka_unit_test(however_many_ask_one_fetch_runs),
        cmocka_unit_test(
            a_refused_token_serves_until_the_new_one_is_here_which_is_fetched_once),
        cmocka_unit_test(fresh_tokens_that_are_refused_too_are_fetched_ever_more_rarely),
        cmocka_unit_test(a_token_refused_while_the_endpoint_backs_off_does_not_hurry_it),
        cmocka_unit_test(a_new_secret_is_fetched_with_at_once_while_the_old_token_serves),
        cmocka_unit_test(settings_that_ask_for_the_same_cost_no_fetch),
        cmocka_unit_test(after_a_failure_new_settings_are_tried_at_once),
        cmocka_unit_test(a_token_does_not_go_to_another_upstream),
        cmocka_unit_test(files_that_changed_cost_one_fetch_and_others_none),
        cmocka_unit_test(changed_files_end_a_back_off),
        cmocka_unit_test(a_token_that_lives_no_longer_than_refresh_before_is_renewed_halfway),
        cmocka_unit_test(renewals_are_spread_evenly_over_a_tenth_about_their_time),
        cmocka_unit_test(pauses_after_failures_are_spread_evenly_too),
        cmocka_unit_test(no_renewal_comes_sooner_than_retry_min),
        cmocka_unit_test(a_token_ends_what_was_remembered_of_failures),
        cmocka_unit_test(refusals_long_apart_are_no_row_of_refusals),
        cmocka_unit_test(what_was_refused_before_a_new_secret_delays_nothing_after_it),
        cmocka_unit_test(what_happened_to_tokens_is_kept_for_the_status_page),
        cmocka_unit_test(of_many_token_events_the_last_ten_are_kept),
        cmocka_unit_test(a_suspect_token_serves_while_the_endpoint_is_down),
        cmocka_unit_test(a_young_token_that_is_refused_rests_and_is_tried_again),
        cmocka_unit_test(a_young_token_is_replaced_when_the_one_before_is_refused_too),
        cmocka_unit_test(the_token_before_goes_when_it_dies),
        cmocka_unit_test(
            a_token_that_lives_shorter_than_its_fetch_takes_is_a_failure_with_pauses),
        cmocka_unit_test(whatever_happens_to_tokens_a_good_one_serves_all_sound_paths),
        cmocka_unit_test(no_renewal_shows_while_new_tokens_are_not_known_everywhere),
    };

    log_setup(LOG_ERROR, LOG_LOGFMT); /* thousands of fetches */
    return cmocka_run_group_tests(tests, NULL, NULL);
}

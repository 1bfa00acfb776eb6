/* Keeps a usable token. Three states; at most one fetch runs at a time:
 *
 *              start; a request wants a token;
 *              renewal is due; the token expired or was refused
 *      IDLE ---------------------------------------------------> FETCHING <----+
 *       ^                                                         |    |       | the wait is
 *       |                    a token came                         |    |       | over, or new
 *       +---------------------------------------------------------+    |       | settings or
 *                                                       the fetch failed       | credentials
 *                                                                      v       |
 *                                                                    WAITING --+
 *
 *   IDLE      nothing runs; a timer waits for the renewal of the current token
 *   FETCHING  a request to the token endpoint is in progress; new settings or credentials
 *             cancel it and begin another
 *   WAITING   the last fetch failed; a timer ends the wait, which grows with each failure
 *
 * A token is used in every state until it expires, so that callers do not notice a renewal
 * that fails. `publish` tells the workers whenever what they should do changes: use this
 * token; wait, one is being fetched; or answer with this failure.
 *
 * Two tokens are kept: the current one, and the previous one until it expires.
 *
 *   If the upstream refuses the current one: what is done
 *     it is young, the previous one works    it is not known everywhere yet: the previous one
 *                                            is used for a moment, then it is tried again; no
 *                                            fetch
 *     otherwise                              it is suspect: it is still used, since one path of
 *                                            the API that answers 401 proves nothing about the
 *                                            others; and one fetch begins, unless one runs or
 *                                            must not begin yet
 *
 * If new tokens are refused too, their age is not the cause: the fetches caused by refusals
 * are spaced out, starting with token.retry_min, and in between, or when the fetch fails,
 * the caller gets the upstream's 401. The refusal of an older token says nothing about a
 * newer one. */
#include "token/token_manager.h"

#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/log.h"

/* Refused credentials are unlikely to be accepted a second later. */
#define REFUSED_FACTOR 8
#define RETRY_AFTER_FLOOR_MS 60000
/* A young token that was refused is tried again after this time. */
#define HOLD_BACK_MS 1000

static void fetch(struct token_manager *t);

/* Uniform in [low, high]. */
static int64_t random_between(int64_t low, int64_t high)
{
    uint64_t random = 0;

    if (high <= low || getrandom(&random, sizeof random, 0) != sizeof random)
        return low;
    return low + (int64_t)(random % (uint64_t)(high - low + 1));
}

/* Exponential back-off with full jitter, never below retry_min. */
static int64_t back_off_ms(const struct config *c, unsigned step, int64_t factor)
{
    int64_t ceiling = c->token.retry_min_ms * factor;

    for (unsigned i = 0; i < step && ceiling < c->token.retry_max_ms; i++)
        ceiling *= 2;
    ceiling = base_min(ceiling, c->token.retry_max_ms);
    return random_between(
        base_min(c->token.retry_min_ms * factor / (factor > 1 ? 2 : 1), ceiling), ceiling);
}

/* Whether the current token is not known everywhere yet, and the previous one is used. */
static bool is_held_back(const struct token_manager *t, int64_t now_ms)
{
    return t->hold_back_timer.slot != 0 && token_valid(t->previous, now_ms);
}

/* Until when refusals of the current token are passed on to callers; 0: a fetch runs, or may
 * begin. */
static int64_t passthrough_until_ms(const struct token_manager *t, int64_t now_ms)
{
    int64_t until_ms = t->refused_fetch_ms;

    if (!t->suspect || t->state == TOKEN_MANAGER_FETCHING)
        return 0;
    if (t->state == TOKEN_MANAGER_WAITING)
        until_ms = base_max(until_ms, t->timer.due_ms);
    return until_ms > now_ms ? until_ms : 0;
}

struct token_view token_manager_view(const struct token_manager *t)
{
    struct token_view v = { .token = NULL };
    int64_t now_ms = clock_ms();

    if (token_valid(t->current, now_ms)) {
        bool held_back = is_held_back(t, now_ms);

        v.token = held_back ? t->previous : t->current;
        if (held_back)
            v.other = t->current;
        else if (token_valid(t->previous, now_ms))
            v.other = t->previous;
        v.other_good = !t->previous_refused;
        v.passthrough_until_ms = passthrough_until_ms(t, now_ms);
        if (v.passthrough_until_ms != 0)
            v.passthrough_generation = t->current->generation;
        if (t->suspect && !t->suspect_accepted)
            v.doubted[0] = t->current->generation;
        if (t->previous != NULL && t->previous_refused)
            v.doubted[1] = t->previous->generation;
        return v;
    }
    v.failing = t->state == TOKEN_MANAGER_WAITING;
    v.failure = t->failure;
    if (v.failing) {
        int64_t left_ms = t->timer.due_ms - now_ms;

        v.failure.retry_after_s = (int)base_max(1, (left_ms + 999) / 1000);
    }
    return v;
}

static void publish(struct token_manager *t)
{
    struct token_view v = token_manager_view(t);

    t->publish(t->arg, &v);
}

/* One timer for both tokens: at the earlier expiry. */
static void arm_expiry(struct token_manager *t)
{
    loop_timer_clear(t->loop, &t->expiry_timer);
    if (t->current == NULL)
        return;
    loop_timer_set(t->loop, &t->expiry_timer,
                   t->previous == NULL
                       ? t->current->expires_ms
                       : base_min(t->current->expires_ms, t->previous->expires_ms));
}

static void drop_previous(struct token_manager *t)
{
    token_unref(t->previous);
    t->previous = NULL;
    t->previous_refused = false;
    loop_timer_clear(t->loop, &t->hold_back_timer);
}

static void drop_tokens(struct token_manager *t)
{
    drop_previous(t);
    token_unref(t->current);
    t->current = NULL;
    t->suspect = t->suspect_accepted = false;
    arm_expiry(t);
}

/* A new token becomes the current one, and the current one the previous; except if that was
 * refused and the previous one works. */
static void set_current(struct token_manager *t, struct token *token)
{
    bool unproven = t->hold_back_timer.slot != 0 || (t->suspect && !t->suspect_accepted);

    if (unproven && token_valid(t->previous, clock_ms()) && !t->previous_refused) {
        loop_timer_clear(t->loop, &t->hold_back_timer);
        token_unref(t->current);
    } else {
        drop_previous(t);
        t->previous = t->current;
        t->previous_refused = t->current != NULL && t->suspect && !t->suspect_accepted;
    }
    t->current = token;
    t->suspect = t->suspect_accepted = false;
    arm_expiry(t);
}

/* When to renew: refresh_before ahead of the expiry, plus or minus a tenth. A token that
 * lives no longer than that is renewed after half of its life; never sooner than retry_min
 * after it came. */
static int64_t renewal_ms(const struct token_manager *t)
{
    const struct config_share *share = &t->config->token.refresh_before;
    int64_t life = t->current->expires_ms - t->current->obtained_ms;
    int64_t before = share->percent > 0 ? life * share->percent / 100 : share->ms;
    int64_t soonest = base_min(t->config->token.retry_min_ms, life / 2);

    if (before >= life)
        before = life / 2;
    before = random_between(before * 9 / 10, before * 11 / 10);
    return t->current->obtained_ms + base_max(life - before, soonest);
}

static void note(struct token_manager *t, struct token_manager_event e)
{
    e.at_ms = clock_ms();
    e.wall_s = clock_wall_s();
    t->stats.event[t->stats.events++ % TOKEN_MANAGER_EVENTS] = e;
}

static void on_obtained(struct token_manager *t, struct token *token)
{
    t->generation = token->generation;
    t->failures = 0;
    t->reread = false;
    t->state = TOKEN_MANAGER_IDLE;
    t->stats.obtained++;
    t->stats.consecutive_failures = 0;
    t->stats.last_success_wall_s = clock_wall_s();
    t->failure = (struct failure){ .kind = FAIL_NONE };
    set_current(t, token);
    loop_timer_set(t->loop, &t->timer, renewal_ms(t));
    note(t,
         (struct token_manager_event){ .what = TOKEN_MANAGER_OBTAINED,
                                       .generation = token->generation,
                                       .took_ms = clock_ms() - t->sent_ms,
                                       .lifetime_ms = token->expires_ms - token->obtained_ms });
}

static void log_obtained(const struct token_manager *t)
{
    const struct token *token = t->current;

    log_info("token_obtained", log_int("generation", (int64_t)token->generation),
             log_int("lifetime_s", (token->expires_ms - token->obtained_ms) / 1000),
             log_int("took_ms", clock_ms() - t->sent_ms));
}

static void on_failed(struct token_manager *t, const struct token_client_result *result)
{
    int64_t delay_ms =
        back_off_ms(t->config, t->failures + 1, result->refused ? REFUSED_FACTOR : 1);

    t->failures++;
    t->stats.failed++;
    t->stats.failed_of[result->failure.kind]++;
    t->stats.consecutive_failures++;
    t->stats.last_failure_wall_s = clock_wall_s();
    t->stats.last_failure = result->failure;
    if (result->refused && !t->reread &&
        token_client_credentials_changed(&t->client, t->config)) {
        t->reread = true;
        log_info("credentials_reread");
        delay_ms = 0;
    }
    if (result->retry_after_ms > 0)
        delay_ms = base_max(
            delay_ms, base_min(result->retry_after_ms,
                               base_max(t->config->token.retry_max_ms, RETRY_AFTER_FLOOR_MS)));
    t->state = TOKEN_MANAGER_WAITING;
    t->failure = result->failure;
    loop_timer_set(t->loop, &t->timer, clock_ms() + delay_ms);
    note(t, (struct token_manager_event){ .what = TOKEN_MANAGER_FAILED,
                                          .generation = t->generation + 1,
                                          .took_ms = clock_ms() - t->sent_ms,
                                          .retry_ms = delay_ms,
                                          .failure = result->failure });
    log_warn("token_fetch_failed", log_str("error", failure_info(result->failure.kind)->slug),
             log_int("status", result->failure.received_status),
             log_int("retry_in_ms", delay_ms),
             log_str("serving", token_valid(t->current, clock_ms()) ? "the token that is held"
                                                                    : "failures"),
             log_str("detail", result->failure.detail));
}

/* A token that had expired when it came is of no use, and fetching again at once would not
 * help. */
static struct token_client_result dead_on_arrival(const struct token_manager *t,
                                                  const struct token *token)
{
    return (struct token_client_result){
        .failure =
            failure_make(FAIL_TOKEN_INVALID,
                         "The token lives for %lld ms, and fetching it took %lld ms: it was "
                         "expired when it came. Have the token endpoint give longer lives "
                         "(expires_in) or answer faster.",
                         (long long)(token->expires_ms - token->obtained_ms),
                         (long long)(clock_ms() - t->sent_ms)),
        .retry_after_ms = -1
    };
}

static void on_done(struct token_client *client, const struct token_client_result *result)
{
    struct token_manager *t = CONTAINER_OF(client, struct token_manager, client);
    bool obtained = result->token != NULL && token_valid(result->token, clock_ms());

    if (result->token == NULL) {
        on_failed(t, result);
    } else if (obtained) {
        on_obtained(t, result->token);
    } else {
        const struct token_client_result dead = dead_on_arrival(t, result->token);

        token_unref(result->token);
        on_failed(t, &dead);
    }
    publish(t);
    if (obtained) /* when the log says so, the workers have been told */
        log_obtained(t);
}

static void fetch(struct token_manager *t)
{
    bool served = token_valid(t->current, clock_ms());

    loop_timer_clear(t->loop, &t->timer);
    t->state = TOKEN_MANAGER_FETCHING;
    t->sent_ms = clock_ms();
    log_info("token_fetch_started", log_int("generation", (int64_t)t->generation + 1));
    if (!served || t->suspect)
        publish(t);
    token_client_fetch(&t->client, t->config, t->generation + 1);
}

static void on_timer(struct loop_timer *timer)
{
    fetch(CONTAINER_OF(timer, struct token_manager, timer));
}

static void on_expiry(struct loop_timer *timer)
{
    struct token_manager *t = CONTAINER_OF(timer, struct token_manager, expiry_timer);
    int64_t now_ms = clock_ms();

    if (!token_valid(t->previous, now_ms))
        drop_previous(t);
    if (token_valid(t->current, now_ms)) {
        arm_expiry(t);
        publish(t);
        return;
    }
    note(t, (struct token_manager_event){ .what = TOKEN_MANAGER_EXPIRED,
                                          .generation = t->current->generation });
    log_warn("token_expired", log_int("generation", (int64_t)t->current->generation));
    token_unref(t->current);
    t->current = t->previous; /* may live longer, or be NULL */
    t->suspect = t->previous_refused;
    t->suspect_accepted = false;
    t->previous = NULL;
    drop_previous(t);
    arm_expiry(t);
    publish(t);
    if (t->state == TOKEN_MANAGER_IDLE)
        fetch(t);
}

static void on_held_back_over(struct loop_timer *timer)
{
    publish(CONTAINER_OF(timer, struct token_manager, hold_back_timer));
}

int token_manager_init(struct token_manager *t, struct loop *l, struct config *c,
                       void (*publish_fn)(void *arg, const struct token_view *view), void *arg)
{
    *t = (struct token_manager){
        .loop = l,
        .config = config_ref(c),
        .timer.on_due = on_timer,
        .expiry_timer.on_due = on_expiry,
        .hold_back_timer.on_due = on_held_back_over,
        .publish = publish_fn,
        .arg = arg,
    };
    int err = token_client_init(&t->client, l);
    t->client.on_done = on_done;
    (void)token_client_configure(&t->client, NULL, c);
    return err;
}

void token_manager_done(struct token_manager *t)
{
    if (t->loop == NULL)
        return;
    token_client_done(&t->client);
    drop_tokens(t);
    loop_timer_clear(t->loop, &t->timer);
    config_unref(t->config);
    *t = (struct token_manager){ .loop = NULL };
}

void token_manager_start(struct token_manager *t)
{
    fetch(t);
}

void token_manager_on_want(struct token_manager *t)
{
    if (t->state == TOKEN_MANAGER_IDLE && !token_valid(t->current, clock_ms()))
        fetch(t);
    else if (t->state != TOKEN_MANAGER_FETCHING)
        publish(t); /* whoever asked has not seen the present view yet */
}

static void hold_back(struct token_manager *t)
{
    log_info("token_not_known_yet", log_int("generation", (int64_t)t->current->generation),
             log_str("detail", "the upstream does not take the new token yet; the one before "
                               "serves for a moment"));
    loop_timer_set(t->loop, &t->hold_back_timer, clock_ms() + HOLD_BACK_MS);
    publish(t);
}

static void doubt(struct token_manager *t)
{
    t->suspect = true;
    t->suspect_accepted = false;
    t->stats.refused++;
    note(t, (struct token_manager_event){ .what = TOKEN_MANAGER_SUSPECT,
                                          .generation = t->current->generation });
    log_warn(
        "token_suspect", log_int("generation", (int64_t)t->current->generation),
        log_str("detail", "the upstream refused the token; it serves until a new one is here"));
}

static void on_previous_refused(struct token_manager *t)
{
    if (t->previous_refused)
        return;
    t->previous_refused = true;
    publish(t);
}

void token_manager_on_refused(struct token_manager *t, uint64_t generation)
{
    int64_t now_ms = clock_ms();

    if (t->previous != NULL && t->previous->generation == generation)
        on_previous_refused(t);
    if (t->current == NULL || t->current->generation != generation)
        return; /* a late answer to an older token; a view with the present one was sent */
    if (is_held_back(t, now_ms))
        return; /* known already; it will be tried again */
    if (!t->suspect && token_is_young(t->current, now_ms) && token_valid(t->previous, now_ms) &&
        !t->previous_refused) {
        hold_back(t);
        return;
    }
    if (!t->suspect)
        doubt(t);
    if (t->state == TOKEN_MANAGER_FETCHING)
        return; /* the result will be published */
    /* During back-off, a refused token is no reason to ask the endpoint earlier than it
     * wants. */
    if (t->state == TOKEN_MANAGER_WAITING || now_ms < t->refused_fetch_ms) {
        publish(t);
        return;
    }
    /* Refusals a long time apart are just tokens that were revoked. */
    if (now_ms - t->refused_last_ms > 2 * t->config->token.retry_max_ms)
        t->refused_in_row = 0;
    t->refused_last_ms = now_ms;
    t->refused_fetch_ms = now_ms + back_off_ms(t->config, t->refused_in_row, 1);
    t->refused_in_row++;
    fetch(t);
}

void token_manager_on_accepted(struct token_manager *t, uint64_t generation)
{
    int64_t now_ms = clock_ms();

    if (t->current != NULL && t->current->generation == generation && t->suspect) {
        t->suspect_accepted = true;
    } else if (t->previous != NULL && t->previous->generation == generation &&
               t->previous_refused) {
        t->previous_refused = false;
        /* So the young token was not refused because it was young. */
        if (t->suspect && t->state == TOKEN_MANAGER_IDLE &&
            token_is_young(t->current, now_ms)) {
            t->suspect = false;
            hold_back(t);
            return;
        }
    } else {
        return;
    }
    publish(t);
}

static void refetch(struct token_manager *t)
{
    token_client_cancel(&t->client);
    t->failures = 0;
    t->refused_fetch_ms = 0;
    fetch(t);
}

void token_manager_reconfigure(struct token_manager *t, struct config *c)
{
    struct config *was = t->config;
    bool other = token_client_configure(&t->client, was, c);

    /* A token belongs to the upstream for which it was obtained. */
    if (strcmp(was->upstream.origin, c->upstream.origin) != 0) {
        drop_tokens(t);
        other = true;
    }
    t->config = config_ref(c);
    config_unref(was);
    /* Whoever has the files read after a failure has corrected something, perhaps at the
     * endpoint. */
    if (other || t->state == TOKEN_MANAGER_WAITING)
        refetch(t);
    else if (t->state == TOKEN_MANAGER_IDLE && t->current != NULL)
        loop_timer_set(t->loop, &t->timer, renewal_ms(t));
}

void token_manager_on_files(struct token_manager *t)
{
    if (!token_client_credentials_changed(&t->client, t->config)) {
        log_debug("credentials_unchanged");
        return;
    }
    log_info("credentials_changed");
    refetch(t);
}

#pragma once
/* Decides when a token is fetched, renewed or dropped, and how long to wait after a failure. The
 * states are at the head of token_manager.c. Thread: control. */
#include "base/base.h"
#include "base/failure.h"
#include "config/config.h"
#include "event/loop.h"
#include "token/token.h"
#include "token/token_client.h"

/* What the workers are told. Either a token; or none and one is being fetched; or none and why.
 */
struct token_view {
    struct token *token; /* borrowed for the call */
    bool failing;
    struct failure failure;
};

enum token_manager_state { TOKEN_MANAGER_IDLE, TOKEN_MANAGER_FETCHING, TOKEN_MANAGER_WAITING };

/* What the status page tells of the last fetches, and of tokens that were dropped or expired. */
struct token_manager_event {
    enum {
        TOKEN_MANAGER_OBTAINED,
        TOKEN_MANAGER_FAILED,
        TOKEN_MANAGER_DROPPED,
        TOKEN_MANAGER_EXPIRED
    } what;
    int64_t at_ms, wall_s;
    uint64_t generation;
    int64_t took_ms;        /* of a fetch */
    int64_t lifetime_ms;    /* of a token obtained */
    int64_t retry_ms;       /* after a failure: how long until the next fetch */
    struct failure failure; /* of one that failed */
};
#define TOKEN_MANAGER_EVENTS 10

/* Counted for the metrics and the status page. */
struct token_manager_stats {
    uint64_t fetches, obtained, failed, dropped;
    uint64_t failed_of[FAILURE_COUNT]; /* `failed`, by kind */
    unsigned consecutive_failures;
    int64_t last_success_wall_s, last_failure_wall_s;
    struct failure last_failure;
    struct token_manager_event event[TOKEN_MANAGER_EVENTS]; /* a ring */
    size_t events;                                          /* how many there were in all */
};

struct token_manager {
    struct loop *loop;
    struct config *config;
    struct token_client client;
    enum token_manager_state state;
    struct token *current;
    uint64_t generation;            /* of the last one obtained */
    int64_t sent_ms;                /* when the running fetch began */
    struct loop_timer timer;        /* renewal, or the end of a back-off */
    struct loop_timer expiry_timer; /* tells the workers that the token is dead */
    struct failure failure;         /* the last one, while there is no token */
    unsigned failures;              /* in a row */
    unsigned refused_in_row;        /* fetches caused by refused tokens, in a row */
    int64_t refused_fetch_ms;       /* no such fetch before */
    int64_t refused_last_ms;
    bool reread; /* after refused credentials they were read again and had changed */
    struct token_manager_stats stats;
    void (*publish)(void *arg, const struct token_view *view);
    void *arg;
};

/* Takes a reference to c. publish is called whenever the view changes. Returns 0 or -errno. */
int token_manager_init(struct token_manager *t, struct loop *l, struct config *c,
                       void (*publish)(void *arg, const struct token_view *view),
                       void *arg) MUST_CHECK;
void token_manager_done(struct token_manager *t);

/* The first fetch. */
void token_manager_start(struct token_manager *t);

/* A request waits: fetch, unless that is under way or backing off. */
void token_manager_on_want(struct token_manager *t);

/* The upstream refused the token. Returns 0 when a newer one is there or on its way (a view
 * follows or has been sent); else the time until which a 401 is to be passed on to the caller.
 * Time in clock_ms(). */
int64_t token_manager_on_refused(struct token_manager *t, uint64_t generation);

/* New settings. One fetch when it would ask for something else than before, or when the last
 * one failed; the old token serves until the new one is here. */
void token_manager_reconfigure(struct token_manager *t, struct config *c);

/* The credential files may have changed: likewise one fetch when they have. */
void token_manager_on_files(struct token_manager *t);

/* The present view, for a worker that asks or is new. */
struct token_view token_manager_view(const struct token_manager *t);

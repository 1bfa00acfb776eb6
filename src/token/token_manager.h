#pragma once
/* Decides when a token is fetched, renewed or dropped, and how long to wait after a failure.
 * The states are drawn in token_manager.c. Thread: control. */
#include "base/base.h"
#include "base/failure.h"
#include "config/config.h"
#include "event/loop.h"
#include "token/token.h"
#include "token/token_client.h"

/* What workers are told: a token; or none, and one is being fetched; or none, and why. The
 * tokens are borrowed for the call. */
struct token_view {
    struct token *token; /* the one to use for requests */
    struct token *other; /* another one that has not expired, newer or older; NULL: none */
    bool other_good;     /* the upstream has not refused the older of the two */
    bool failing;
    struct failure failure;
    /* Until then, a refusal of the token with this generation is passed on to callers: no
     * other token is being fetched. 0: none. */
    uint64_t passthrough_generation;
    int64_t passthrough_until_ms;
    /* The upstream has refused these tokens. If it accepts one after all, call
     * token_manager_on_accepted. 0: none. */
    uint64_t doubted[2];
};

enum token_manager_state { TOKEN_MANAGER_IDLE, TOKEN_MANAGER_FETCHING, TOKEN_MANAGER_WAITING };

/* What the status page shows about the last fetches, and about tokens that were dropped or
 * expired. */
struct token_manager_event {
    enum {
        TOKEN_MANAGER_OBTAINED,
        TOKEN_MANAGER_FAILED,
        TOKEN_MANAGER_SUSPECT, /* the upstream refused it */
        TOKEN_MANAGER_EXPIRED
    } what;
    int64_t at_ms, wall_s;
    uint64_t generation;
    int64_t took_ms;        /* duration of a fetch */
    int64_t lifetime_ms;    /* of a token that was obtained */
    int64_t retry_ms;       /* after a failure: time until the next fetch */
    struct failure failure; /* of a fetch that failed */
};
#define TOKEN_MANAGER_EVENTS 10

/* Counters for the metrics and the status page. */
struct token_manager_stats {
    uint64_t obtained, failed;         /* fetches that ended so */
    uint64_t refused;                  /* how often a token became suspect */
    uint64_t failed_of[FAILURE_COUNT]; /* `failed`, by kind */
    unsigned consecutive_failures;
    int64_t last_success_wall_s, last_failure_wall_s;
    struct failure last_failure;
    struct token_manager_event event[TOKEN_MANAGER_EVENTS]; /* a ring */
    size_t events;                                          /* total number of events */
};

struct token_manager {
    struct loop *loop;
    struct config *config;
    struct token_client client;
    enum token_manager_state state;
    struct token *current;  /* the newest */
    struct token *previous; /* the one before; NULL: none, or expired */
    bool suspect;           /* the upstream has refused the current one */
    bool suspect_accepted;  /* ... and accepted it afterwards */
    /* the upstream has refused the previous one, and not accepted it since */
    bool previous_refused;
    uint64_t generation;            /* of the last token obtained */
    int64_t sent_ms;                /* when the running fetch began */
    struct loop_timer timer;        /* renewal, or the end of a back-off */
    struct loop_timer expiry_timer; /* when a token expires */
    /* Armed while the current token, which is young and was refused, is held back and the
     * previous one is used; then it is tried again. */
    struct loop_timer hold_back_timer;
    struct failure failure;   /* the last one, while there is no token */
    unsigned failures;        /* number of fetches in a row that failed */
    unsigned refused_in_row;  /* number of fetches in a row that refused tokens caused */
    int64_t refused_fetch_ms; /* earliest time of the next such fetch */
    int64_t refused_last_ms;
    bool reread; /* after the credentials were refused, they were read again and had changed */
    struct token_manager_stats stats;
    void (*publish)(void *arg, const struct token_view *view);
    void *arg;
};

/* Takes a reference to c. publish is called whenever the view changes. Returns 0 or -errno. */
int token_manager_init(struct token_manager *t, struct loop *l, struct config *c,
                       void (*publish)(void *arg, const struct token_view *view),
                       void *arg) MUST_CHECK;
void token_manager_done(struct token_manager *t);

/* Begins the first fetch. */
void token_manager_start(struct token_manager *t);

/* A request waits for a token: begins a fetch, unless one runs or back-off is in effect. */
void token_manager_on_want(struct token_manager *t);

/* The upstream refused the token of this generation. A view that says what to do follows, or
 * was sent already: it contains another token; or until when such refusals are passed on; or
 * neither, and then a token is being fetched. */
void token_manager_on_refused(struct token_manager *t, uint64_t generation);

/* The upstream accepted a token that the view lists as doubted. */
void token_manager_on_accepted(struct token_manager *t, uint64_t generation);

/* New settings. Begins a fetch if it would send a different request than before, or if the
 * last one failed; the old token is used until then. */
void token_manager_reconfigure(struct token_manager *t, struct config *c);

/* The credential files may have changed: begins a fetch if they have. */
void token_manager_on_files(struct token_manager *t);

/* The present view, for a worker that asks for it or is new. */
struct token_view token_manager_view(const struct token_manager *t);

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
 * The tokens are borrowed for the call. */
struct token_view {
    struct token *token; /* the one to send requests with */
    struct token *other; /* NULL, or another one that is alive: newer or older */
    bool other_good;     /* the upstream is not known to refuse the older one of the two */
    bool failing;
    struct failure failure;
    /* A refusal of the token of this generation is to be passed on until then: no other token is
     * being fetched. 0: none. */
    uint64_t passthrough_generation;
    int64_t passthrough_until_ms;
    /* The upstream has refused these. When it takes one of them after all, that is to be told by
     * token_manager_on_accepted. 0: none. */
    uint64_t doubted[2];
};

enum token_manager_state { TOKEN_MANAGER_IDLE, TOKEN_MANAGER_FETCHING, TOKEN_MANAGER_WAITING };

/* What the status page tells of the last fetches, and of tokens that were dropped or expired. */
struct token_manager_event {
    enum {
        TOKEN_MANAGER_OBTAINED,
        TOKEN_MANAGER_FAILED,
        TOKEN_MANAGER_SUSPECT, /* the upstream refused it */
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
    uint64_t fetches, obtained, failed, refused;
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
    struct token *current;  /* the newest one */
    struct token *previous; /* NULL, or the one before, while it lives */
    bool suspect;           /* the upstream has refused the current one ... */
    bool suspect_accepted;  /* ... and then taken it */
    bool previous_refused; /* the upstream has refused the one before, and not taken it since */
    uint64_t generation;   /* of the last one obtained */
    int64_t sent_ms;       /* when the running fetch began */
    struct loop_timer timer;        /* renewal, or the end of a back-off */
    struct loop_timer expiry_timer; /* a token dies */
    /* Armed: the current one, which is young and was refused, is held back and the one before serves;
     * when this is due it is tried again. */
    struct loop_timer hold_back_timer;
    struct failure failure;   /* the last one, while there is no token */
    unsigned failures;        /* in a row */
    unsigned refused_in_row;  /* fetches caused by refused tokens, in a row */
    int64_t refused_fetch_ms; /* no such fetch before */
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

/* The upstream refused the token of this generation. A view follows, or has been sent, that says
 * what to do: it holds another token; or says until when such refusals are passed on; or does
 * neither, and then one is being fetched. */
void token_manager_on_refused(struct token_manager *t, uint64_t generation);

/* The upstream took a token that the view says is doubted. */
void token_manager_on_accepted(struct token_manager *t, uint64_t generation);

/* New settings. One fetch when it would ask for something else than before, or when the last
 * one failed; the old token serves until the new one is here. */
void token_manager_reconfigure(struct token_manager *t, struct config *c);

/* The credential files may have changed: likewise one fetch when they have. */
void token_manager_on_files(struct token_manager *t);

/* The present view, for a worker that asks or is new. */
struct token_view token_manager_view(const struct token_manager *t);

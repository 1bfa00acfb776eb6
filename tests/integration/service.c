/* The ready-made origins: a token endpoint with programmable answers, an API that echoes. */
#include "service.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ANSWERS_MAX 32

struct tokens {
    struct peer *peer;
    struct gate gate;
    pthread_mutex_t lock;
    struct token_answer queue[ANSWERS_MAX], normal;
    size_t first, last; /* of the queue */
    size_t given;
    int lifetime_s;
};

static struct token_answer next_answer(struct tokens *t, size_t *number, int *lifetime_s)
{
    (void)pthread_mutex_lock(&t->lock);
    struct token_answer answer = t->normal;
    if (t->first < t->last) {
        answer = t->queue[t->first];
        if (t->queue[t->first].times <= 1)
            t->first++;
        else
            t->queue[t->first].times--;
    }
    if (answer.what == TOKEN_WRITE && answer.status == 0)
        t->given++;
    *number = t->given;
    *lifetime_s = t->lifetime_s;
    (void)pthread_mutex_unlock(&t->lock);
    return answer;
}

static void serve_tokens(struct peer_conn *c, void *arg)
{
    struct tokens *t = arg;
    while (peer_read_request(c) != NULL) {
        if (!gate_pass(&t->gate, c))
            return;
        size_t number;
        int lifetime_s;
        struct token_answer a = next_answer(t, &number, &lifetime_s);
        char body[256];
        if (a.what == TOKEN_CLOSE) {
            peer_close(c);
        } else if (a.what == TOKEN_RESET) {
            peer_reset(c);
        } else if (a.what == TOKEN_HANG) {
            peer_read_eof(c);
        } else if (a.status != 0) {
            (void)peer_answer(c, a.status, a.headers, a.body ? a.body : "");
        } else {
            (void)snprintf(body, sizeof body,
                           "{\"access_token\":\"" CANARY "-token-%zu\","
                           "\"token_type\":\"Bearer\",\"expires_in\":%d,"
                           "\"scope\":\"read:api write:api\"}",
                           number, lifetime_s);
            (void)peer_answer(c, 200, "Content-Type: application/json\r\n", body);
        }
    }
}

static void free_tokens(void *arg)
{
    struct tokens *t = arg;
    (void)pthread_mutex_destroy(&t->lock);
    free(t);
}

struct tokens *tokens_start(enum cert_kind cert)
{
    struct tokens *t = calloc(1, sizeof *t);
    if (t == NULL)
        abort();
    gate_init(&t->gate);
    t->gate.open = true;
    (void)pthread_mutex_init(&t->lock, NULL);
    t->lifetime_s = 3600;
    t->peer = peer_start(&(struct peer_options){
        .serve = serve_tokens, .arg = t, .free_arg = free_tokens, .cert = cert });
    return t;
}

struct peer *tokens_peer(struct tokens *t)
{
    return t->peer;
}

void tokens_push(struct tokens *t, struct token_answer answer)
{
    (void)pthread_mutex_lock(&t->lock);
    if (t->last == ANSWERS_MAX)
        abort();
    t->queue[t->last++] = answer;
    (void)pthread_mutex_unlock(&t->lock);
}

void tokens_always(struct tokens *t, struct token_answer answer)
{
    (void)pthread_mutex_lock(&t->lock);
    t->normal = answer;
    (void)pthread_mutex_unlock(&t->lock);
}

void tokens_lifetime(struct tokens *t, int seconds)
{
    (void)pthread_mutex_lock(&t->lock);
    t->lifetime_s = seconds;
    (void)pthread_mutex_unlock(&t->lock);
}

void tokens_hold(struct tokens *t)
{
    gate_shut(&t->gate);
}

void tokens_release(struct tokens *t)
{
    gate_open(&t->gate);
}

size_t tokens_fetches(struct tokens *t)
{
    return peer_count(t->peer, "");
}

bool tokens_wait(struct tokens *t, size_t n, int ms)
{
    return peer_wait_complete(t->peer, "", n, ms);
}

size_t tokens_given(struct tokens *t)
{
    (void)pthread_mutex_lock(&t->lock);
    size_t n = t->given;
    (void)pthread_mutex_unlock(&t->lock);
    return n;
}

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    int lower = tolower((unsigned char)c);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

void tokens_form_field(struct tokens *t, size_t index, const char *name, char *out, size_t cap)
{
    out[0] = '\0';
    const struct peer_request *r = peer_request(t->peer, "", index);
    size_t name_len = strlen(name), n = 0;
    const char *at = r ? bytes_text(&r->body) : "";
    while (at != NULL && !(strncmp(at, name, name_len) == 0 && at[name_len] == '=')) {
        at = strchr(at, '&');
        at += at != NULL;
    }
    for (at += at ? name_len + 1 : 0; at && *at != '\0' && *at != '&' && n + 1 < cap; at++) {
        if (*at == '%' && hex(at[1]) >= 0 && hex(at[2]) >= 0) {
            out[n++] = (char)(hex(at[1]) * 16 + hex(at[2]));
            at += 2;
        } else {
            out[n++] = *at == '+' ? ' ' : *at;
        }
    }
    out[n] = '\0';
}

void api_echo(struct peer_conn *c, const struct peer_request *r, void *arg)
{
    (void)arg;
    (void)peer_answer(c, 200, "Content-Type: text/plain\r\n", bytes_text(&r->body));
}

static bool says_close(const struct peer_request *r)
{
    char value[16];
    return head_value(bytes_text(&r->head), "Connection", 0, value, sizeof value) &&
           strcmp(value, "close") == 0;
}

static void serve_api(struct peer_conn *c, void *arg)
{
    const struct api_options *options = arg;
    const struct peer_request *r;
    while ((r = peer_read_request(c)) != NULL) {
        options->answer(c, r, options->arg);
        if (says_close(r))
            peer_close(c);
    }
}

struct peer *api_start(const struct api_options *options)
{
    struct api_options *copy = calloc(1, sizeof *copy);
    if (copy == NULL)
        abort();
    *copy = *options;
    if (copy->answer == NULL)
        copy->answer = api_echo;
    return peer_start(&(struct peer_options){ .serve = serve_api,
                                              .arg = copy,
                                              .free_arg = free,
                                              .cert = options->cert,
                                              .drop_first = options->drop_first });
}

size_t api_token_of(const struct peer_request *r)
{
    static const char prefix[] = "Bearer " CANARY "-token-";
    char value[128];
    if (!head_value(bytes_text(&r->head), "Authorization", 0, value, sizeof value) ||
        strncmp(value, prefix, sizeof prefix - 1) != 0)
        return 0;
    return strtoul(value + sizeof prefix - 1, NULL, 10);
}

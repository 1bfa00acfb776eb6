/* Mutations of requests and of answers, against the real program: whatever it receives, what
 * it sends to either side is strictly valid HTTP, every exchange ends, and nothing crashes (row 17
 * of tests/hostile/README.md). The same number gives the same mutation;
 * ONESHOT_PROXY_MUTATIONS is their number, and ONESHOT_PROXY_MUTATION_FIRST the first. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <sys/socket.h>

#include "harness.h"
#include "mutate.h"
#include "strict.h"

#define CORPUS SOURCE_DIR "/tests/hostile/"
#define AT_ONCE 64 /* callers */

static uint64_t number(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text == NULL ? otherwise : strtoull(text, NULL, 10);
}

/* What an origin saw that it must not see, the first time. */
struct judge {
    pthread_mutex_t lock;
    const char *wrong;
    struct bytes bytes;
    const struct corpus *answers; /* NULL: answers are sound */
    size_t seen;
};

static void object(struct judge *j, const char *wrong, const char *data, size_t len)
{
    (void)pthread_mutex_lock(&j->lock);
    if (j->wrong == NULL) {
        j->wrong = wrong;
        bytes_add_escaped(&j->bytes, data, len);
    }
    (void)pthread_mutex_unlock(&j->lock);
}

static void serve_judging(struct peer_conn *c, void *arg)
{
    static const char fine[] = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine";
    struct judge *j = arg;
    struct bytes heard = { 0 };
    char piece[16384];
    long n;
    while ((n = peer_read(c, piece, sizeof piece)) > 0) {
        bytes_add(&heard, piece, (size_t)n);
        struct strict s;
        while ((s = strict_request(heard.data, heard.len)).length > 0 && s.wrong == NULL) {
            (void)pthread_mutex_lock(&j->lock);
            j->seen++;
            (void)pthread_mutex_unlock(&j->lock);
            const char *mark = j->answers ? memmem(heard.data, s.length, "/m", 2) : NULL;
            if (mark != NULL) {
                struct bytes answer = { 0 };
                mutate(j->answers, strtoull(mark + 2, NULL, 10), &answer);
                (void)peer_write(c, answer.data, answer.len);
                bytes_free(&answer);
                peer_close(c);
            } else {
                (void)peer_write(c, fine,
                                 strncmp(heard.data, "HEAD ", 5) == 0 ? sizeof fine - 5
                                                                      : sizeof fine - 1);
            }
            bytes_drop(&heard, s.length);
        }
        if (s.wrong != NULL) {
            object(j, s.wrong, heard.data, heard.len);
            break;
        }
    }
    bytes_free(&heard);
}

/* Everything that came back, one answer behind the other; a last one may be cut. */
static void judge_answers(const struct client *c, bool to_head, const char *what, uint64_t seed)
{
    const char *data = bytes_text(&c->in);
    size_t len = c->in.len;
    while (len > 0) {
        struct strict s = strict_answer(data, len, !c->reset);
        if (s.wrong == NULL && to_head && s.status >= 200)
            return; /* a body that its head promises does not come */
        if (s.wrong != NULL) {
            struct bytes text = { 0 };
            bytes_add_escaped(&text, data, len < 2000 ? len : 2000);
            fail_msg("%s %llu brought %s:\n%s", what, (unsigned long long)seed, s.wrong,
                     text.data);
        }
        if (s.length == 0)
            return;
        data += s.length;
        len -= s.length;
    }
}

struct exchange {
    struct client client;
    struct bytes out;
    size_t sent;
    bool ended;
};

/* One step of it: sends what goes out, says that this was all, reads what is there. */
static void go_on(struct exchange *e, short events)
{
    if (e->sent < e->out.len && (events & (POLLOUT | POLLERR | POLLHUP)) != 0) {
        size_t n = client_try_send(&e->client, e->out.data + e->sent, e->out.len - e->sent, 0);
        e->sent = n == 0 && errno != EAGAIN ? e->out.len : e->sent + n;
        if (e->sent == e->out.len)
            (void)shutdown(e->client.fd, SHUT_WR);
    }
    if ((events & (POLLIN | POLLERR | POLLHUP)) != 0)
        e->ended = client_fill(&e->client, 0) == 0;
}

/* What never ended. */
static void complain(const struct exchange *e, const char *what, uint64_t seed)
{
    for (size_t i = 0; i < AT_ONCE; i++) {
        struct bytes text = { 0 };
        if (e[i].ended)
            continue;
        bytes_add_escaped(&text, bytes_text(&e[i].out),
                          e[i].out.len < 2000 ? e[i].out.len : 2000);
        print_error("%s %" PRIu64 " never ended; %zu bytes came back: %s\n", what, seed + i,
                    e[i].client.in.len, bytes_text(&text));
        bytes_free(&text);
    }
    fail();
}

/* All at once, until each has ended. */
static void finish(struct exchange *e, const char *what, uint64_t seed)
{
    int64_t deadline_ms = now_ms() + 2 * SOON_MS;
    struct pollfd p[AT_ONCE];
    size_t left = AT_ONCE;
    while (left > 0) {
        left = 0;
        for (size_t i = 0; i < AT_ONCE; i++) {
            bool more = e[i].sent < e[i].out.len;
            p[i] = (struct pollfd){ .fd = e[i].ended ? -1 : e[i].client.fd,
                                    .events = (short)(POLLIN | (more ? POLLOUT : 0)) };
            left += !e[i].ended;
        }
        if (left > 0 && poll(p, AT_ONCE, left_ms(deadline_ms)) <= 0)
            complain(e, what, seed);
        for (size_t i = 0; i < AT_ONCE; i++)
            if (!e[i].ended && p[i].revents != 0)
                go_on(&e[i], p[i].revents);
    }
}

static void assert_fine(struct world *w, struct judge *j, const char *what, uint64_t seed)
{
    struct answer a = { 0 };
    if (proxy_wait_exit(w->proxy, 0) >= 0)
        fail_msg("it fell over up to %s %llu", what, (unsigned long long)seed);
    /* more than once, since the timeout for a head is short for a machine with much to do */
    int64_t deadline_ms = now_ms() + SOON_MS;
    do
        http_get(w->port, "/fine", &a);
    while (a.status != 200 && ask_again(deadline_ms));
    if (a.status != 200)
        fail_msg("%d (end %d) after %s %llu", a.status, (int)a.end, what,
                 (unsigned long long)seed);
    answer_free(&a);
    if (j->wrong != NULL)
        fail_msg("up to %s %llu the upstream got %s:\n%s", what, (unsigned long long)seed,
                 j->wrong, bytes_text(&j->bytes));
}

static const char settings[] = "listen.header_timeout = 80ms\nlisten.body_timeout = 80ms\n"
                               "upstream.idle_timeout = 5s\nupstream.response_timeout = 5s\n"
                               "log.access = no\nlog.level = info\nupstream.replay = none\n";

/* Answers that say 401 would cost a fetch each. */
#define NO_401 "upstream.token_refused_statuses = 498\n"

static void mutated_requests_reach_the_upstream_sound_or_not_at_all(void **state)
{
    (void)state;
    struct corpus corpus = corpus_read(CORPUS "requests.txt");
    static struct judge j;
    WORLD(w);
    uint64_t first = number("ONESHOT_PROXY_MUTATION_FIRST", 1);
    uint64_t count = number("ONESHOT_PROXY_MUTATIONS", sanitized() ? 600 : 2000);
    j = (struct judge){ .lock = PTHREAD_MUTEX_INITIALIZER };
    world_start(
        &w, &(struct world_options){ .serve = serve_judging, .arg = &j, .settings = settings });
    for (uint64_t seed = first; seed < first + count; seed += AT_ONCE) {
        static struct exchange e[AT_ONCE];
        for (size_t i = 0; i < AT_ONCE; i++) {
            e[i] = (struct exchange){ 0 };
            mutate(&corpus, seed + i, &e[i].out);
            if (e[i].out.len == 0) /* nothing would tell us that this was all */
                bytes_add_str(&e[i].out, "G");
            client_open(&e[i].client, w.port);
        }
        finish(e, "request", seed);
        for (size_t i = 0; i < AT_ONCE; i++) {
            judge_answers(&e[i].client, memmem(e[i].out.data, e[i].out.len, "HEAD", 4) != NULL,
                          "request", seed + i);
            client_close(&e[i].client);
            bytes_free(&e[i].out);
        }
        assert_fine(&w, &j, "request", seed + AT_ONCE - 1);
    }
    printf("%llu mutated requests, %zu sound ones reached the upstream\n",
           (unsigned long long)count, j.seen);
    bytes_free(&j.bytes);
    corpus_free(&corpus);
}

static void mutated_answers_reach_the_caller_sound_or_not_at_all(void **state)
{
    (void)state;
    struct corpus corpus = corpus_read(CORPUS "answers.txt");
    static struct judge j;
    WORLD(w);
    struct bytes all = { 0 };
    uint64_t first = number("ONESHOT_PROXY_MUTATION_FIRST", 1);
    uint64_t count = number("ONESHOT_PROXY_MUTATIONS", sanitized() ? 600 : 2000);
    j = (struct judge){ .lock = PTHREAD_MUTEX_INITIALIZER, .answers = &corpus };
    bytes_add_str(&all, settings);
    bytes_add_str(&all, NO_401);
    world_start(&w, &(struct world_options){
                        .serve = serve_judging, .arg = &j, .settings = bytes_text(&all) });
    for (uint64_t seed = first; seed < first + count; seed += AT_ONCE) {
        static struct exchange e[AT_ONCE];
        for (size_t i = 0; i < AT_ONCE; i++) {
            e[i] = (struct exchange){ 0 };
            client_open(&e[i].client, w.port);
            char request[128];
            (void)snprintf(request, sizeof request,
                           "%s /m%" PRIu64
                           " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
                           (seed + i) % 7 == 0 ? "HEAD" : "DELETE", seed + i);
            client_puts(&e[i].client, request);
        }
        finish(e, "answer", seed);
        for (size_t i = 0; i < AT_ONCE; i++) {
            judge_answers(&e[i].client, (seed + i) % 7 == 0, "answer", seed + i);
            client_close(&e[i].client);
        }
        assert_fine(&w, &j, "answer", seed + AT_ONCE - 1);
    }
    printf("%llu mutated answers\n", (unsigned long long)count);
    bytes_free(&j.bytes);
    bytes_free(&all);
    corpus_free(&corpus);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(mutated_requests_reach_the_upstream_sound_or_not_at_all),
        TEST(mutated_answers_reach_the_caller_sound_or_not_at_all),
    };
    return RUN_TESTS(tests);
}

/* The world of a test: starts peers and proxy, writes the settings, and checks answers. */
#include "harness.h"

#include <ctype.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "h2.h"
#include "proxy_inside.h"

#define PEERS_MAX 16

static struct proxy *proxies;
static struct peer *peers[PEERS_MAX];
static size_t peer_count_now;

void harness_register_proxy(struct proxy *p)
{
    p->next = proxies;
    proxies = p;
}

void harness_forget_proxy(struct proxy *p)
{
    for (struct proxy **at = &proxies; *at != NULL; at = &(*at)->next) {
        if (*at == p) {
            *at = p->next;
            return;
        }
    }
}

int harness_setup(void **state)
{
    (void)state;
    (void)signal(SIGPIPE, SIG_IGN);
    return 0;
}

int harness_teardown(void **state)
{
    (void)state;
    while (proxies != NULL)
        proxy_kill(proxies);
    while (peer_count_now > 0)
        peer_stop(peers[--peer_count_now]);
    return 0;
}

/* Registers a peer, so that the teardown stops it if the test does not. */
static struct peer *keep(struct peer *p)
{
    assert_true(peer_count_now < PEERS_MAX);
    peers[peer_count_now++] = p;
    return p;
}

static const char *const defaults[] = {
    "listen.address = 127.0.0.1:0", "upstream.proxy = none",
    "token.client_id = " CLIENT_ID, "token.client_secret = " CLIENT_SECRET,
    "admin.address = off",          "log.level = debug",
    "process.workers = 1",
};

/* Copies "section.key" of a line, also of "-section.key", which removes a default; false:
 * the line is empty. */
static bool key_of(const char *line, char *key, size_t cap)
{
    while (*line == ' ' || *line == '-')
        line++;
    size_t n = strcspn(line, " =\n");
    (void)snprintf(key, cap, "%.*s", (int)n, line);
    return n > 0;
}

static bool overridden(const char *key, const char *settings)
{
    char other[128];
    for (const char *line = settings; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (key_of(line, other, sizeof other) && strcmp(key, other) == 0)
            return true;
    }
    return false;
}

/* Writes the line "section.key = value" if it belongs to that section. */
static void add_line(struct bytes *ini, const char *section, const char *line)
{
    while (*line == ' ')
        line++;
    size_t n = strlen(section);
    if (strncmp(line, section, n) == 0 && line[n] == '.')
        bytes_addf(ini, "%.*s\n", (int)strcspn(line + n + 1, "\n"), line + n + 1);
}

/* Whether a line belongs to that section. */
static bool mentions(const char *settings, const char *section)
{
    size_t len = strlen(section);
    for (const char *line = settings; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, section, len) == 0 && line[len] == '.')
            return true;
    }
    return false;
}

struct bytes world_ini(const char *base_url, const char *token_url, const char *settings)
{
    enum { OPTIONAL_FROM = 6 }; /* these are written only if they have a line */
    static const char *const sections[] = {
        "listen",  "upstream", "token",   "admin",  "log",
        "process", "classes",  "callers", "freeze", "ledger"
    };
    struct bytes ini = { 0 };
    char base[160], token[160], key[128];
    (void)snprintf(base, sizeof base, "upstream.base_url = %s", base_url);
    (void)snprintf(token, sizeof token, "token.url = %s", token_url);
    if (settings == NULL)
        settings = "";
    for (size_t s = 0; s < sizeof sections / sizeof *sections; s++) {
        if (s >= OPTIONAL_FROM && !mentions(settings, sections[s]))
            continue;
        bytes_addf(&ini, "[%s]\n", sections[s]);
        for (size_t i = 0; i < sizeof defaults / sizeof *defaults; i++)
            if (key_of(defaults[i], key, sizeof key) && !overridden(key, settings))
                add_line(&ini, sections[s], defaults[i]);
        if (!overridden("upstream.base_url", settings))
            add_line(&ini, sections[s], base);
        if (!overridden("token.url", settings))
            add_line(&ini, sections[s], token);
        for (const char *line = settings; line != NULL; line = strchr(line, '\n')) {
            line += *line == '\n';
            add_line(&ini, sections[s], line);
        }
    }
    return ini;
}

bool by_handshake(const char *why)
{
    const char *way = getenv("ONESHOT_TEST_WAY");
    bool so = way != NULL && strcmp(way, "auto") == 0;
    if (so && why != NULL)
        (void)fprintf(stderr, "SKIPPED by handshake: %s\n", why);
    return so;
}

static enum cert_kind cert_of(const struct world_options *options)
{
    bool ours = options->cert == CERT_NONE && !options->h2 && by_handshake(NULL) &&
                !overridden("upstream.http_version", options->settings);
    return ours ? CERT_VALID : options->cert;
}

/* The ini of a world: its defaults, these peers, the settings. */
static struct bytes ini_of(const struct world *w, const struct world_options *options)
{
    char base[128], token[128];
    struct bytes settings = { 0 };
    (void)snprintf(base, sizeof base, "%s/v0", peer_url(w->api));
    (void)snprintf(token, sizeof token, "%s/v0/token", peer_url(tokens_peer(w->tokens)));
    bool tls = strncmp(base, "https", 5) == 0;
    if (tls && by_handshake(NULL) && !overridden("upstream.http_version", options->settings))
        bytes_add_str(&settings, "upstream.http_version = auto\n");
    if ((options->cert != CERT_NONE || (tls && by_handshake(NULL))) &&
        !overridden("upstream.ca_file", options->settings))
        bytes_addf(&settings, "upstream.ca_file = %s\n", certs_ca_file());
    else if (options->token_cert != CERT_NONE)
        bytes_addf(&settings, "token.ca_file = %s\n", certs_ca_file());
    bytes_add_str(&settings, options->settings ? options->settings : "");
    struct bytes ini = world_ini(base, token, bytes_text(&settings));
    if (options->more != NULL)
        bytes_addf(&ini, "%s", options->more);
    bytes_free(&settings);
    return ini;
}

/* Waits until the first fetch of a token has ended, successfully or not. */
static void wait_for_first_fetch(struct world *w)
{
    int64_t deadline_ms = now_ms() + SOON_MS;
    while (proxy_log_count(w->proxy, "event=token_obtained") == 0 &&
           proxy_log_count(w->proxy, "event=token_fetch_failed") == 0)
        if (!ask_again(deadline_ms))
            fail_msg("the first fetch of a token never ended");
}

void world_proxy(struct world *w, const struct world_options *options)
{
    struct bytes ini = ini_of(w, options);
    w->proxy = proxy_start(bytes_text(&ini), &(struct proxy_options){ .env = options->env });
    bytes_free(&ini);
    w->port = proxy_port(w->proxy);
    if (!options->hold_tokens && tokens_given(w->tokens) == 0)
        wait_for_first_fetch(w);
}

void world_reload(struct world *w, const struct world_options *options, const char *event)
{
    struct bytes ini = ini_of(w, options), pattern = { 0 };
    char path[128];
    (void)snprintf(path, sizeof path, "%s/oneshot-proxy.ini", proxy_dir(w->proxy));
    write_file(path, bytes_text(&ini));
    bytes_addf(&pattern, "event=%s", event);
    size_t before = proxy_log_count(w->proxy, bytes_text(&pattern));
    proxy_signal(w->proxy, SIGHUP);
    assert_true(proxy_log_wait(w->proxy, bytes_text(&pattern), before + 1, SOON_MS));
    bytes_free(&ini);
    bytes_free(&pattern);
}

void write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    (void)close(fd);
}

void world_start(struct world *w, const struct world_options *options)
{
    enum cert_kind cert = cert_of(options);
    peer_serve_fn serve = options->serve != NULL ? options->serve
                          : options->h2          ? h2_serve
                                                 : NULL;
    assert_true(!options->h2 || options->answer == NULL);
    *w = (struct world){ 0 };
    w->tokens = tokens_start(options->token_cert);
    (void)keep(tokens_peer(w->tokens));
    if (options->hold_tokens)
        tokens_hold(w->tokens);
    if (serve != NULL)
        w->api =
            peer_start(&(struct peer_options){ .serve = serve,
                                               .arg = options->arg,
                                               .cert = cert,
                                               .h2 = options->h2,
                                               .drop_first = options->drop_first,
                                               .receive_buffer = options->receive_buffer });
    else
        w->api = api_start(&(struct api_options){ .answer = options->answer,
                                                  .arg = options->arg,
                                                  .cert = cert,
                                                  .drop_first = options->drop_first });
    (void)keep(w->api);
    if (!options->no_proxy)
        world_proxy(w, options);
}

void world_end(struct world *w)
{
    if (w->proxy != NULL)
        proxy_stop(w->proxy);
    while (peer_count_now > 0)
        peer_stop(peers[--peer_count_now]);
    *w = (struct world){ 0 };
}

void json_member(const struct bytes *json, const char *name, char *out, size_t cap)
{
    char needle[64];
    (void)snprintf(needle, sizeof needle, "\"%s\"", name);
    const char *at = strstr(bytes_text(json), needle);
    out[0] = '\0';
    if (at == NULL)
        return;
    at += strlen(needle);
    at += strspn(at, " :\n");
    const char *end = at + strcspn(at, ",}\n ");
    if (*at == '"') {
        for (end = ++at; *end != '\0' && *end != '"'; end++)
            end += *end == '\\' && end[1] != '\0';
    }
    (void)snprintf(out, cap, "%.*s", (int)(end - at), at);
}

void assert_contains(const char *text, const char *needle)
{
    if (strstr(text, needle) == NULL)
        fail_msg("\"%s\" is not in:\n%s", needle, text);
}

void assert_lacks(const char *text, const char *needle)
{
    if (strstr(text, needle) != NULL)
        fail_msg("\"%s\" is in:\n%s", needle, text);
}

void assert_problem(const struct answer *a, int status, const char *stage, const char *error)
{
    if (a->end != ANSWER_WHOLE || a->status != status)
        fail_msg("expected a problem %d, got end %d status %d:\n%s%s", status, (int)a->end,
                 a->status, bytes_text(&a->head), bytes_text(&a->body));
    assert_string_equal(answer_header(a, "Content-Type"), "application/problem+json");
    const char *proxy_status = answer_header(a, "Proxy-Status");
    char wanted[128], value[1024], code[16];
    (void)snprintf(wanted, sizeof wanted, "oneshot-proxy; error=%s", error);
    assert_contains(proxy_status, wanted);
    (void)snprintf(code, sizeof code, "%d", status);
    json_member(&a->body, "status", value, sizeof value);
    assert_string_equal(value, code);
    json_member(&a->body, "stage", value, sizeof value);
    assert_string_equal(value, stage);
    json_member(&a->body, "type", value, sizeof value);
    assert_contains(value, "urn:oneshot-proxy:");
    static const char *const texts[] = { "title", "detail", "message" };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        json_member(&a->body, texts[i], value, sizeof value);
        if (value[0] == '\0')
            fail_msg("no %s in %s", texts[i], bytes_text(&a->body));
    }
    json_member(&a->body, "retryable", value, sizeof value);
    assert_true(strcmp(value, "true") == 0 || strcmp(value, "false") == 0);
    json_member(&a->body, "data", value, sizeof value);
    assert_string_equal(value, "null");
    assert_lacks(bytes_text(&a->body), CANARY);
}

void assert_problem_detail(const struct answer *a, const char *words)
{
    char detail[1024];
    json_member(&a->body, "detail", detail, sizeof detail);
    assert_contains(detail, words);
}

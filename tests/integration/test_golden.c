/* Without [classes], [caller ...] and [freeze] every byte is as before these existed: what
 * is sent upstream, what comes back, and the fields of the log. golden.txt was written by a
 * build from that time. */
#include "harness.h"

#define U "6f1c0de0-aaaa-4bbb-8ccc-dddddddddddd"
#define FILE_OF_BEFORE SOURCE_DIR "/tests/integration/golden.txt"

/* Heads behind the request line, but for Host, X-Request-Id and Connection; and bodies. */
static const struct {
    const char *request_line, *fields, *body;
} requests[] = {
    { "GET /chains", "", "" },
    { "GET /v0/chains?page=2&_method=DELETE", "Accept: */*\r\n", "" },
    { "GET //chains", "", "" },
    { "GET http://localhost/v0/chains", "", "" },
    { "HEAD /transactions/" U, "", "" },
    { "OPTIONS /methods/" U "/execute", "", "" },
    { "GET /wallets/" U "/signature/erc3009?amount=1", "Authorization: Bearer mine\r\n", "" },
    { "POST /methods/" U "/execute", "Content-Type: application/json\r\nContent-Length: 2\r\n",
      "{}" },
    { "POST /wallets/" U "/transfer", "Transfer-Encoding: chunked\r\n",
      "2\r\n{}\r\n0\r\n\r\n" },
    { "POST /wallets/" U "/transfer/", "Content-Length: 2\r\n", "{}" },
    { "POST /methods/" U "/%65xecute;v=1", "Content-Length: 0\r\n", "" },
    { "POST /methods/" U "/read",
      "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 3\r\n", "a=b" },
    { "PUT /methods/" U, "X-HTTP-Method-Override: DELETE\r\nContent-Length: 2\r\n", "{}" },
    { "GET /chains", "X-Original-URL: /x402/settle\r\nX_Rewrite_Url: /x\r\n", "" },
    { "GET /chains", "X-Caller-Key: a\r\nX_Caller_Key: b\r\nX-Caller-Key: c\r\n", "" },
    { "DELETE /wallets/" U, "", "" },
    { "PATCH /anything", "Content-Length: 2\r\n", "{}" },
    { "post /methods/" U "/execute", "Content-Length: 2\r\n", "{}" },
    { "POST /token", "Content-Type: application/json\r\nContent-Length: 2\r\n", "{}" },
    { "POST /v0/token?x=1", "Content-Length: 3\r\n", "a=b" },
    { "GET /token", "", "" },
    { "POST /methods/" U "%2Fexecute", "Content-Length: 2\r\n", "{}" },
    { "POST /methods/../x", "Content-Length: 2\r\n", "{}" },
    { "TRACE /chains", "", "" },
    { "CONNECT x:443", "", "" },
    { "GET /chains", "Origin: https://elsewhere.example\r\n", "" },
};
#define REQUESTS (sizeof requests / sizeof *requests)

/* What differs from run to run: the date. */
static void add_head(struct bytes *out, const struct bytes *head)
{
    for (const char *line = bytes_text(head); *line != '\0';) {
        size_t n = strcspn(line, "\n");

        n += line[n] == '\n';
        if (strncasecmp(line, "Date:", 5) == 0)
            bytes_add_str(out, "Date: ...\r\n");
        else
            bytes_add(out, line, n);
        line += n;
    }
}

/* The names of the fields of the last access line. */
static void add_log_fields(struct bytes *out, const struct bytes *log)
{
    const char *line = NULL, *next = bytes_text(log);
    bool quoted = false;

    while ((next = strstr(next, "event=access ")) != NULL)
        line = next++;
    bytes_add_str(out, "log:");
    for (const char *p = line; p != NULL && *p != '\0' && *p != '\n'; p++) {
        if (!quoted && (p == line || p[-1] == ' ')) {
            bytes_add_str(out, " ");
            bytes_add(out, p, strcspn(p, "="));
        }
        quoted ^= *p == '"' && p[-1] != '\\';
    }
    bytes_add_str(out, "\n");
}

static void ask(struct world *w, size_t i, struct bytes *out)
{
    struct answer a = { 0 };
    struct client c;
    struct bytes request = { 0 };
    size_t before = peer_count(w->api, "");

    bytes_addf(&request,
               "%s HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: golden-%zu\r\n"
               "Connection: close\r\n%s\r\n%s",
               requests[i].request_line, i, requests[i].fields, requests[i].body);
    client_open(&c, w->port);
    client_puts(&c, bytes_text(&request));
    client_read(&c, &a, strncmp(requests[i].request_line, "HEAD", 4) == 0, SOON_MS);
    client_close(&c);
    assert_int_equal(a.end, ANSWER_WHOLE);
    assert_true(proxy_log_wait(w->proxy, "event=access", i + 1, SOON_MS));
    bytes_addf(out, "=== %zu\n", i);
    bytes_add(out, request.data, request.len);
    if (peer_count(w->api, "") > before) {
        const struct peer_request *up = peer_request(w->api, "", before);

        bytes_add_str(out, "\n--- up\n");
        add_head(out, &up->head);
        bytes_add_str(out, bytes_text(&up->body));
    }
    bytes_add_str(out, "\n--- back\n");
    add_head(out, &a.head);
    bytes_addf(out, "%s\n", bytes_text(&a.body));
    struct bytes log = proxy_log_copy(w->proxy);
    add_log_fields(out, &log);
    bytes_free(&log);
    bytes_free(&request);
    answer_free(&a);
}

/* Ports are what they are. */
static void hide_port(struct bytes *text, int port)
{
    struct bytes out = { 0 };
    char name[32];
    const char *at = bytes_text(text), *found;

    (void)snprintf(name, sizeof name, "127.0.0.1:%d", port);
    while ((found = strstr(at, name)) != NULL) {
        bytes_add(&out, at, (size_t)(found - at));
        bytes_add_str(&out, "127.0.0.1:PORT");
        at = found + strlen(name);
    }
    bytes_add_str(&out, at);
    bytes_free(text);
    *text = out;
}

static void without_sections_every_byte_is_as_before(void **state)
{
    (void)state;
    WORLD(w);
    struct bytes now = { 0 }, before = { 0 };
    char piece[4096];
    size_t n;
    world_start(&w, &(struct world_options){ .settings = "process.workers = 1" });
    for (size_t i = 0; i < REQUESTS; i++)
        ask(&w, i, &now);
    hide_port(&now, peer_port(w.api));
    FILE *f = fopen(FILE_OF_BEFORE, "r");
    while (f != NULL && (n = fread(piece, 1, sizeof piece, f)) > 0)
        bytes_add(&before, piece, n);
    if (f != NULL)
        (void)fclose(f);
    if (strcmp(bytes_text(&now), bytes_text(&before)) != 0) {
        (void)fputs(bytes_text(&now), stderr);
        fail_msg("differs from %s; what it is now is above", FILE_OF_BEFORE);
    }
    bytes_free(&now);
    bytes_free(&before);
}

int main(void)
{
    const struct CMUnitTest tests[] = { TEST(without_sections_every_byte_is_as_before) };
    return RUN_TESTS(tests);
}

/* What the decision about a request costs, with as many callers as there may be: the functions that
 * admission calls, in its order, without the rest of the program. For costs.py.
 *
 *     rules-cost KIND COUNT     decides COUNT times; prints nanoseconds of CPU time for each
 *
 * KIND: "socket" (the caller is known by its user and a pattern with an id in it allows the
 * request), "patterns" (the same, the last of 64 such patterns), "secret" (by the last of all secrets, and a class allows it), or "none" (what is left
 * is the loop). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "config/config.h"
#include "proxy/decision.h"
#include "rights/limits.h"

#define U "6f1c0de0-aaaa-4bbb-8ccc-dddddddddddd"

/* The entries of allow before the one that matches. */
static bool add_patterns(struct buf *text, int count)
{
    bool ok = true;

    for (int i = 0; i < count && ok; i++)
        ok = buf_addf(text, "POST /methods/%08x-aaaa-4bbb-8ccc-dddddddddddd/execute, ", i) == 0;
    return ok;
}

/* 32 of them, of which the last is the one that asks. */
static struct config *load(bool by_secret, int more_patterns, const char *dir)
{
    struct config_report report;
    struct buf text;

    buf_init(&text, 1 << 20);
    bool ok = buf_addf(&text, "[token]\nclient_id = a\nclient_secret = b\n[listen]\n"
                              "address = unix:/run/x\n[classes]\ntable = 1shot\n") == 0;

    for (int i = 0; i < CALLERS_MAX && ok; i++) {
        char path[256];

        (void)snprintf(path, sizeof path, "%s/%d", dir, i);
        FILE *f = by_secret ? fopen(path, "w") : NULL;

        if (f != NULL) {
            ok = fprintf(f,
                         "0123456789abcdef0123456789abcdef0123456789a%02d\n"
                         "9876543210abcdef0123456789abcdef0123456789a%02d\n",
                         i, i) > 0;
            ok &= fclose(f) == 0;
        }
        ok = ok &&
             buf_addf(&text,
                      "[caller c%d]\nmax_in_flight = 1000\n"
                      "rate = money 1000000/1s\n",
                      i) == 0 &&
             (by_secret ? buf_addf(&text, "secret_file = %s\nallow = read, money\n", path) == 0
                        : buf_addf(&text, "uid = %d\nallow = read, simulate, ", i + 1) == 0 &&
                              add_patterns(&text, more_patterns) &&
                              buf_addf(&text, "POST /wallets/" U "/transfer, POST /methods/" U
                                              "/execute\n") == 0);
    }
    config_report_init(&report);
    struct config *c =
        ok ? config_load_text("bench", buf_text(&text), buf_unread(&text), &report) : NULL;

    for (size_t i = 0; i < report.count && c == NULL; i++)
        (void)fprintf(stderr, "%s\n", report.message[i].text);
    config_report_done(&report);
    buf_done(&text);
    return c;
}

#define FIELD(n, v)                                                                      \
    {                                                                                    \
        .name = (n), .value = (v), .name_len = sizeof(n) - 1, .value_len = sizeof(v) - 1 \
    }
/* The last is for the one who shows a secret. */
static const struct header_field fields[] = {
    FIELD("Host", "localhost:8080"),
    FIELD("User-Agent", "axios/1.7.9"),
    FIELD("Accept", "application/json, text/plain, */*"),
    FIELD("Accept-Encoding", "gzip, compress, deflate, br"),
    FIELD("Content-Type", "application/json"),
    FIELD("Content-Length", "64"),
    FIELD("Authorization", "Bearer oneshot-proxy-placeholder"),
    FIELD("X-Request-Id", "0123456789abcdef0123456789abcdef"),
    FIELD("Connection", "keep-alive"),
    FIELD("X-Caller-Key", "9876543210abcdef0123456789abcdef0123456789a31"),
};

static bool decide(const struct config *c, const struct caller_facts *facts,
                   uint32_t candidates, bool by_secret)
{
    const struct rules *rules = c->rules;
    const struct decision_head head = { .config = c,
                                        .method = "POST",
                                        .target = "/v0/methods/" U "/execute",
                                        .fields = fields,
                                        .count = ARRAY_LEN(fields) - !by_secret,
                                        .check = { .body_bytes = 64 } };
    const struct route route = { .kind = ROUTE_FORWARD,
                                 .path = head.target,
                                 .path_len = strlen(head.target),
                                 .api_path = head.target + 3 };
    const struct class_request q = decision_class_request(&head, &route);
    struct operation o;
    struct caller_proofs proofs = decision_proofs(&head);
    struct limits_refusal why;
    rules_operation(rules, &q, &o);
    bool resendable = rules_may_resend(rules, &q, &o);

    proofs.secrets = rules->secrets;
    const struct caller_recognised who =
        callers_recognise(&rules->callers, candidates, facts, &proofs);
    const struct rules_decision v = rules_decide(rules, &who, head.method, &o);

    if (v.outcome != DECISION_ALLOWED || resendable || !limits_enter(who.caller, &why) ||
        !limits_charge(who.caller, o.class, &why))
        return false;
    rules_count(rules, who.caller, o.class, v.outcome);
    limits_leave(who.caller);
    return true;
}

int main(int argc, char **argv)
{
    char dir[] = "/tmp/rules-cost-XXXXXX", path[256];

    if (argc != 3 || mkdtemp(dir) == NULL)
        return 2;
    bool by_secret = strcmp(argv[1], "secret") == 0, none = strcmp(argv[1], "none") == 0;
    long count = strtol(argv[2], NULL, 10), done = 0;
    struct config *c =
        load(by_secret, strcmp(argv[1], "patterns") == 0 ? RIGHTS_PATTERNS_MAX - 2 : 0, dir);

    for (int i = 0; i < CALLERS_MAX; i++) {
        (void)snprintf(path, sizeof path, "%s/%d", dir, i);
        (void)remove(path);
    }
    (void)rmdir(dir);
    if (c == NULL)
        return 1;
    const struct caller_facts facts = { .uid = by_secret ? -1 : CALLERS_MAX, .gid = -1 };
    uint32_t candidates = callers_of_connection(&c->rules->callers, &facts);
    clock_t began = clock();

    while (done < count && (none || decide(c, &facts, candidates, by_secret)))
        done++;
    double took_s = (double)(clock() - began) / CLOCKS_PER_SEC;

    (void)printf("%.1f\n", took_s * 1e9 / (double)count);
    config_unref(c);
    return done == count ? 0 : 1;
}

/* rights/classes.c: which class a request has. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "http/override.h"
#include "rights/classes.h"
#include "unit.h"

#define U "6f1c0de0-aaaa-4bbb-8ccc-dddddddddddd"
#define UPPER "6F1C0DE0-AAAA-4BBB-8CCC-DDDDDDDDDDDD"

static enum request_class class_in(const struct classes *c, const char *method,
                                   const char *api_path)
{
    const char *query = strchr(api_path, '?');
    const struct override_request o = { .query = query == NULL ? "" : query + 1 };

    struct operation found;

    classes_find(c,
                 &(struct class_request){ .method = method,
                                          .api_path = api_path,
                                          .api_path_len = strcspn(api_path, "?"),
                                          .overridden = override_found(&o) },
                 &found);
    return found.class;
}

static enum request_class class_of(const char *method, const char *api_path)
{
    struct classes c;

    classes_init(&c, CLASS_TABLE_1SHOT);
    return class_in(&c, method, api_path);
}

static void the_table_gives_each_request_its_class(void **state)
{
    (void)state;
    static const struct {
        const char *method, *path;
        enum request_class class;
    } rows[] = {
        { "GET", "/chains", CLASS_READ },
        { "GET", "/chains?page=2", CLASS_READ },
        { "HEAD", "/transactions/" U, CLASS_READ },
        { "OPTIONS", "/methods/" U "/execute", CLASS_READ },
        { "OPTIONS", "/nowhere", CLASS_UNKNOWN },
        { "GET", "/wallets/" U "/signature/erc3009?amount=1", CLASS_SIGN },
        { "HEAD", "/wallets/" U "/signature/permit2", CLASS_SIGN },
        { "POST", "/methods/" U "/read", CLASS_SIMULATE },
        { "POST", "/methods/" U "/read?x=/methods/" U "/execute", CLASS_SIMULATE },
        { "POST", "/methods/" U "/execute", CLASS_MONEY },
        { "POST", "/methods/" UPPER "/execute", CLASS_MONEY },
        { "POST", "/methods/executeBatch", CLASS_MONEY },
        { "PUT", "/wallets/" U "/authorizePermit2", CLASS_MONEY },
        { "PUT", "/webhooks/endpoints/" U "/rotate", CLASS_CREATE },
        { "PUT", "/methods/" U, CLASS_CHANGE },
        { "POST", "/transactions/" U "/execute", CLASS_MONEY },
        { "POST", "/methods/" U "/execute/", CLASS_UNKNOWN },
        { "POST", "/methods//" U "/execute", CLASS_UNKNOWN },
        { "POST", "/methods/" U "/Execute", CLASS_UNKNOWN },
        { "POST", "/methods/" U "/%65xecute", CLASS_UNKNOWN },
        { "POST", "/methods/" U "/execute;v=1", CLASS_UNKNOWN },
        { "POST", "/methods;a/" U "/execute", CLASS_UNKNOWN },
        { "POST", "/methods/" U ":execute", CLASS_UNKNOWN },
        { "GET", "/methods/" U "?%5fmethod=DELETE", CLASS_UNKNOWN },
        { "GET", "/methods/" U "?a=1&_METHOD=DELETE", CLASS_UNKNOWN },
        { "GET", "/methods/" U "?_method", CLASS_UNKNOWN },
        { "OPTIONS", "/methods/" U "/execute?[_method]=POST", CLASS_UNKNOWN },
        { "OPTIONS", "/methods/" U "/execute?_method[]=POST", CLASS_UNKNOWN },
        { "OPTIONS", "/methods/" U "/execute?_method%5B0%5d=POST", CLASS_UNKNOWN },
        { "GET", "/methods/" U "?%5B%5f_method]=DELETE", CLASS_READ },
        { "GET", "/methods/" U "?a[_method]=DELETE", CLASS_READ },
        { "GET", "/methods/" U "?[_methods]=DELETE", CLASS_READ },
        { "GET", "/methods/" U "?x_method=1", CLASS_READ },
        { "GET", "/methods/" U "?_methods=1", CLASS_READ },
        { "post", "/methods/" U "/execute", CLASS_UNKNOWN },
        { "GET", "/methods/" U "/execute", CLASS_UNKNOWN },
        { "PATCH", "/methods/" U, CLASS_UNKNOWN },
        { "POST", "/methods/EXECUTEBATCH", CLASS_UNKNOWN },
        { "POST", "/wallets/" U "/transfer", CLASS_MONEY },
        { "POST", "/wallets/" U "/transfer/", CLASS_UNKNOWN },
        { "POST", "/wallets/" U "/transfer%20", CLASS_UNKNOWN },
        { "POST", "/v0/wallets/" U "/transfer", CLASS_UNKNOWN },
        { "POST", "/token", CLASS_UNKNOWN },
        { "GET", "/chains/0x14a34/fees", CLASS_UNKNOWN },
        { "GET", "/chains/84532/fees", CLASS_READ },
        { "GET", "/", CLASS_UNKNOWN },
        { "GET", "", CLASS_UNKNOWN },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        enum request_class class = class_of(rows[i].method, rows[i].path);

        if (class != rows[i].class)
            fail_msg("%s %s is %s", rows[i].method, rows[i].path, class_name(class));
    }
}

static void no_two_entries_of_the_table_match_one_request(void **state)
{
    (void)state;
    size_t count = 0, of_class[CLASS_COUNT] = { 0 };
    struct classes c;

    classes_init(&c, CLASS_TABLE_1SHOT);
    for (const struct class_pattern *a; (a = classes_builtin(count)) != NULL; count++) {
        of_class[a->class]++;
        for (size_t i = 0; i < count; i++)
            if (pattern_overlaps(&a->pattern, &classes_builtin(i)->pattern))
                fail_msg("%s and %s", a->pattern.text, classes_builtin(i)->pattern.text);
    }
    assert_int_equal(count, 70);
    assert_int_equal(of_class[CLASS_READ], 19 + 3);
    assert_int_equal(of_class[CLASS_SIMULATE], 7);
    assert_int_equal(of_class[CLASS_CREATE], 9 + 2);
    assert_int_equal(of_class[CLASS_CHANGE], 15 + 3);
    assert_int_equal(of_class[CLASS_SIGN], 4);
    assert_int_equal(of_class[CLASS_MONEY], 7 + 1);
}

/* The class that the table has for "METHOD /pattern"; CLASS_COUNT: it is not in it. */
static enum request_class class_in_table(const char *operation)
{
    const struct class_pattern *p;

    for (size_t i = 0; (p = classes_builtin(i)) != NULL; i++)
        if (strlen(operation) == p->pattern.text_len &&
            memcmp(operation, p->pattern.text, p->pattern.text_len) == 0)
            return p->class;
    return CLASS_COUNT;
}

/* Whether an operation of that letter, see tests/origin/operations.txt, may be of that
 * class. */
static bool fits(char letter, enum request_class class)
{
    switch (letter) {
    case '$':
        return class == CLASS_MONEY;
    case 'S':
        return class == CLASS_SIGN;
    case 'N':
        return class == CLASS_CREATE;
    case 'I':
        return class == CLASS_CHANGE;
    default:
        return letter == 'R' && class <= CLASS_SIMULATE;
    }
}

/* The table holds what is documented, and nine operations that only clients call. */
static void each_documented_operation_has_the_class_of_what_it_does(void **state)
{
    (void)state;
    FILE *f = fopen(SOURCE_DIR "/tests/origin/operations.txt", "r");
    char line[200];
    size_t documented = 0, in_table = 0;
    struct classes c;

    assert_non_null(f);
    classes_init(&c, CLASS_TABLE_1SHOT);
    while (fgets(line, sizeof line, f) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (line[0] == '#' || line[0] == '\0')
            continue;
        documented++;
        enum request_class class = class_in_table(line + 2);

        if (class == CLASS_COUNT || !fits(line[0], class))
            fail_msg("%s: %s", line, class == CLASS_COUNT ? "is missing" : class_name(class));
    }
    (void)fclose(f);
    while (classes_builtin(in_table) != NULL)
        in_table++;
    assert_int_equal(documented, 61);
    assert_int_equal(in_table, documented + 9);
}

/* The stand-in API says of its endpoints itself which of them move money. */
static void the_stand_in_agrees_about_what_moves_money(void **state)
{
    (void)state;
    FILE *f = fopen(SOURCE_DIR "/tests/origin/api.c", "r");
    char line[200], method[16], pattern[64], moves[8], path[256];
    size_t endpoints = 0;

    assert_non_null(f);
    while (fgets(line, sizeof line, f) != NULL) {
        if (sscanf(line, " { \"%15[A-Z]\", \"%63[^\"]\", %*[a-z_], %7[a-z] }", method, pattern,
                   moves) != 3)
            continue;
        size_t n = 0;

        for (const char *p = pattern; *p != '\0'; p++)
            n += (size_t)snprintf(path + n, sizeof path - n, "%.*s", *p == '*' ? 36 : 1,
                                  *p == '*'   ? "6f1c0de0-aaaa-4bbb-8ccc-dddddddddddd"
                                  : *p == '#' ? "8"
                                              : p);
        enum request_class class = class_of(method, path);

        endpoints++;
        if (class == CLASS_UNKNOWN || (class == CLASS_MONEY) != (strcmp(moves, "true") == 0))
            fail_msg("%s %s is %s", method, path, class_name(class));
    }
    (void)fclose(f);
    assert_in_range(endpoints, 20, 100);
}

static void a_request_that_means_another_one_is_unknown(void **state)
{
    (void)state;
    static const struct header_field fields[] = {
        { "X-HTTP-Method-Override", "PUT", 22, 3 },
        { "X_HTTP_Method", "GET", 13, 3 },
        { "x-method_override", "GET", 17, 3 },
        { "X-Original-URL", "/x402/settle", 14, 12 },
        { "X-Rewrite-Url", "/x", 13, 2 },
    };
    static const struct header_field harmless[] = {
        { "X-HTTP-Methods", "PUT", 14, 3 },
        { "Content-Type", "application/json", 12, 16 },
        { "X-Original-URLs", "/x", 15, 2 },
    };
    static const struct header_field forms[] = {
        { "Content-Type", "application/x-www-form-urlencoded; charset=utf-8", 12, 48 },
        { "content_type", "Multipart/form-data; boundary=x", 12, 31 },
    };

    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        assert_true(override_found(
            &(struct override_request){ .query = "", .fields = &fields[i], .count = 1 }));
    for (size_t i = 0; i < ARRAY_LEN(harmless); i++)
        assert_false(override_found(&(struct override_request){
            .query = "", .fields = &harmless[i], .count = 1, .has_body = true }));
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        struct override_request r = { .query = "", .fields = &forms[i], .count = 1 };

        assert_false(override_found(&r));
        r.has_body = true;
        assert_true(override_found(&r));
    }
    struct classes c;

    classes_init(&c, CLASS_TABLE_1SHOT);
    struct operation o;

    classes_find(
        &c,
        &(struct class_request){
            .method = "GET", .api_path = "/chains", .api_path_len = 7, .overridden = true },
        &o);
    assert_int_equal(o.class, CLASS_UNKNOWN);
    assert_false(o.shape.plain);
}

static void of_other_apis_the_method_decides_until_it_is_narrowed(void **state)
{
    (void)state;
    static const char text[] = "POST /search";
    struct class_pattern added = { .class = CLASS_READ };
    struct classes c;

    classes_init(&c, CLASS_TABLE_METHODS);
    assert_int_equal(class_in(&c, "GET", "/x"), CLASS_READ);
    assert_int_equal(class_in(&c, "OPTIONS", "/x"), CLASS_READ);
    assert_int_equal(class_in(&c, "PATCH", "/x"), CLASS_CHANGE);
    assert_int_equal(class_in(&c, "POST", "/search"), CLASS_MONEY);
    assert_int_equal(class_in(&c, "PROPFIND", "/x"), CLASS_UNKNOWN);
    assert_int_equal(class_in(&c, "GET", "/x/"), CLASS_UNKNOWN);
    assert_null(pattern_parse(&added.pattern, text, sizeof text - 1));
    classes_add(&c, &added);
    assert_int_equal(class_in(&c, "POST", "/search"), CLASS_READ);
    assert_int_equal(class_in(&c, "POST", "/search/"), CLASS_UNKNOWN);
    classes_done(&c);
}

static void an_added_pattern_makes_stricter_and_never_laxer(void **state)
{
    (void)state;
    static const char *const texts[] = { "POST /methods/{uuid}/read", "POST /new/{uuid}",
                                         "POST /new/{}" };
    struct class_pattern added[3] = { { .class = CLASS_MONEY },
                                      { .class = CLASS_SIMULATE },
                                      { .class = CLASS_SIGN } };
    struct classes c;

    classes_init(&c, CLASS_TABLE_1SHOT);
    for (size_t i = 0; i < 3; i++)
        assert_null(pattern_parse(&added[i].pattern, texts[i], strlen(texts[i])));
    for (size_t i = 0; i < 3; i++)
        classes_add(&c, &added[i]);
    assert_int_equal(class_in(&c, "POST", "/methods/" U "/read"), CLASS_MONEY);
    assert_int_equal(class_in(&c, "POST", "/new/" U), CLASS_SIGN); /* the strictest */
    assert_int_equal(class_in(&c, "POST", "/new/x"), CLASS_SIGN);
    assert_int_equal(class_in(&c, "OPTIONS", "/new/x"), CLASS_READ);
    assert_null(classes_laxer_than(&c, &added[0]));
    c.added[0].class = CLASS_READ;
    assert_string_equal(classes_laxer_than(&c, &c.added[0]), texts[0]);
    /* Even unheeded by --check it could not make anything laxer. */
    assert_int_equal(class_in(&c, "POST", "/methods/" U "/read"), CLASS_SIMULATE);
    classes_done(&c);
}

/* Any edit of one byte of a request that signs or pays leaves it there, or makes it unknown; it
 * never becomes one that a smaller right allows. */
static void no_small_edit_makes_a_payment_look_harmless(void **state)
{
    (void)state;
    struct classes c;
    char path[128];

    classes_init(&c, CLASS_TABLE_1SHOT);
    for (size_t i = 0; classes_builtin(i) != NULL; i++) {
        const struct class_pattern *p = classes_builtin(i);
        char method[8] = { 0 };
        size_t n = 0;

        if (p->class < CLASS_SIGN)
            continue;
        memcpy(method, p->pattern.text, p->pattern.method_len);
        for (size_t s = 0; s < p->pattern.count; s++) {
            const struct pattern_segment *g = &p->pattern.segment[s];
            const char *text = g->kind == PATTERN_UUID  ? U
                               : g->kind == PATTERN_ANY ? "erc3009"
                                                        : g->text;
            size_t len = g->kind == PATTERN_LITERAL ? g->len : strlen(text);

            path[n++] = '/';
            memcpy(path + n, text, len);
            n += len;
        }
        path[n] = '\0';
        assert_int_equal(class_in(&c, method, path), p->class);
        for (size_t at = 0; at < n; at++)
            for (int byte = 1; byte < 256; byte++) {
                char was = path[at];

                path[at] = (char)byte;
                if (path[at] != '?' && class_in(&c, method, path) < CLASS_SIGN)
                    fail_msg("%s %s", method, path);
                path[at] = was;
            }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_gives_each_request_its_class),
        cmocka_unit_test(no_two_entries_of_the_table_match_one_request),
        cmocka_unit_test(each_documented_operation_has_the_class_of_what_it_does),
        cmocka_unit_test(the_stand_in_agrees_about_what_moves_money),
        cmocka_unit_test(a_request_that_means_another_one_is_unknown),
        cmocka_unit_test(of_other_apis_the_method_decides_until_it_is_narrowed),
        cmocka_unit_test(an_added_pattern_makes_stricter_and_never_laxer),
        cmocka_unit_test(no_small_edit_makes_a_payment_look_harmless),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

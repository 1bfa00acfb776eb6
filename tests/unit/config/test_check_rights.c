/* check_rights.c: the settings about classes, and what is refused in them. */
#include <unistd.h>

#include "config_case.h"

static struct result load_classes(const char *lines)
{
    char text[20000];

    (void)snprintf(text, sizeof text, CREDENTIALS "%s", lines);
    return load(text);
}

static void without_a_table_there_is_are_no_rules(void **state)
{
    (void)state;
    auto_result struct result r = load(CREDENTIALS);
    assert_loads(r);
    assert_null(r.config->rules);
}

static void a_table_with_patterns_makes_rules(void **state)
{
    (void)state;
    auto_result struct result r =
        load_classes("[classes]\ntable = 1shot\nread = GET /a/{}, GET /b\nmoney = PUT /c\n");
    assert_loads(r);
    assert_non_null(r.config->rules);
    assert_int_equal(r.config->rules->classes.added_count, 3);
    struct operation o;

    rules_operation(
        r.config->rules,
        &(struct class_request){ .method = "PUT", .api_path = "/c", .api_path_len = 2 }, &o);
    assert_int_equal(o.class, CLASS_MONEY);
}

static void what_is_wrong_with_classes_is_told(void **state)
{
    static const struct {
        const char *lines, *says;
    } cases[] = {
        { "[classes]\nread = GET /a\n", "t.ini:5: classes.read: needs classes.table" },
        { "[classes]\nrepeat_simulate = yes\n",
          "classes.repeat_simulate: needs classes.table" },
        { "[classes]\ntable = on\n", "allowed: off, 1shot or methods" },
        { "[classes]\ntable = 1shot\nread = GET /a/*\n", "use {} for one segment" },
        { "[classes]\ntable = 1shot\nread = GET /v0/a\n", "leave out /v0" },
        { "[classes]\ntable = 1shot\nread = GET /a?b=c\n", "queries are not matched" },
        { "[classes]\ntable = 1shot\nread = POST /methods/{uuid}/execute\n",
          "would make POST /methods/{uuid}/execute laxer" },
        { "[classes]\ntable = 1shot\nread = POST /methods/{}/execute\n",
          "would make POST /methods/{uuid}/execute laxer" },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        auto_result struct result r = load_classes(cases[i].lines);
        assert_refuses(r, cases[i].says);
    }
}

#define TABLE "[classes]\ntable = 1shot\n"
#define METHODS "[classes]\ntable = methods\n"
#define UNIX "[listen]\naddress = unix:/run/x\n" TABLE

static void what_is_wrong_with_callers_is_told(void **state)
{
    static const struct {
        const char *lines, *says;
    } cases[] = {
        { "[caller a]\nuid = 1\nallow = read\n", "classes.table: is off" },
        { UNIX "[caller A]\nuid = 1\n", "is no name" },
        { UNIX "[caller a]\nname = 1\n", "unknown key \"name\" in [caller a]" },
        { UNIX "[caller a]\nallow = read\n", "nothing by which [caller a]" },
        { TABLE "[caller a]\nuid = 1\nallow = read\n", "caller a.uid: needs a unix socket" },
        { UNIX "[caller a]\nuid = 65534\nallow = read\n", "not mapped" },
        { UNIX "[caller a]\nuid = 4294967295\nallow = read\n", "is out of range" },
        { UNIX "[caller a]\nuid = 1\nallow = read\n[caller b]\nuid = 1\nallow = read\n",
          "[caller b] is recognised by just what [caller a] is" },
        { UNIX "[caller a]\naddress = unix:/a\n[caller b]\naddress = unix:/a\n",
          "belongs to [caller a] already" },
        { UNIX "[caller a]\naddress = unix:/run/x\nallow = read\n",
          "is in listen.address, too" },
        { UNIX "[caller a]\ncertificate = dns:a\nallow = read\n",
          "needs listen.tls_client_ca" },
        { UNIX "[caller a]\ncertificate = a\nallow = read\n", "is no name; allowed: uri:" },
        { UNIX "[caller a]\ncertificate = O=x, subject:CN=a\n", "\"O=x\" is no name" },
        { UNIX "[caller a]\ncertificate = subject:CN=a, urn:x=y\n", "\"urn:x=y\" is no name" },
        { UNIX "[caller a]\ncertificate = dns:a, O=x\n", "\"O=x\" is no name" },
        { UNIX "[caller a]\nuid = 1\nallow = GET /v0/chains\n", "leave out /v0" },
        { UNIX "[caller a]\nuid = 1\nallow = GET /chains/*\n", "use {} for one segment" },
        { UNIX "[caller a]\nuid = 1\nallow = GET /chains?a=b\n", "queries are not matched" },
        { UNIX "[caller a]\nuid = 1\nallow = GET /nothing\n", "can match nothing" },
        { UNIX "[caller a]\nuid = 1\nallow = reads\n", "is neither a class" },
        { UNIX "[caller a]\nuid = 1\nallow = all\ndeny = sign\n", "walk around" },
        { UNIX "[caller a]\nuid = 1\nallow = read\ndeny = all\n", "refused anyhow" },
        { UNIX "[caller a]\nuid = 1\nallow = money\ndeny = POST /methods/{uuid}/execute\n",
          "the batch carries ids in its body" },
        { UNIX "[caller a]\nuid = 1\nallow = money\ndeny = POST /methods/{uuid}/{}\n",
          "the batch carries ids in its body" },
        { UNIX "[caller other]\nuid = 1\nallow = read\n", "[caller other] stands for" },
        { UNIX "[caller none]\nuid = 1\nallow = read\n", "[caller none] cannot be used" },
        { UNIX "[caller a]\nuid = 1\nallow = read\nrate = 5/1s\n",
          "does not begin with a class" },
        { UNIX "[caller a]\nuid = 1\nallow = read\nrate = read\n", "is no rate" },
        { UNIX "[caller a]\nuid = 1\nallow = read\nrate = read 5/1\n", "is no rate" },
        { UNIX "[caller a]\nuid = 1\nallow = read\nrate = read 0/1s\n", "1 to 1000000" },
        { UNIX "[caller a]\nuid = 1\nallow = read\nrate = read 5/1500ms\n", "whole seconds" },
        { UNIX "[caller a]\nuid = 1\nallow = read\nrate = read 5/2d\n", "1s to 24h" },
        { UNIX "[caller a]\nuid = 1\nallow = read\nrate = read 5/1s, read 6/1s\n",
          "a second rate" },
        { UNIX "[caller a]\nuid = 1\nallow = read\nrate = unknown 5/1s\n", "charged to money" },
        { UNIX "[caller a]\nuid = 1\nallow = read\nmax_in_flight = 0\n", "out of range" },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        auto_result struct result r = load_classes(cases[i].lines);
        assert_refuses(r, cases[i].says);
    }
}

#define UUID "6f1c0de0-aaaa-4bbb-8ccc-dddddddddddd"

/* {uuid} matches one spelling of an id, {} matches all. */
static void another_spelling_of_an_id_cannot_walk_around_a_deny(void **state)
{
    static const struct {
        const char *table, *allow, *deny;
        bool refused;
    } cases[] = {
        { TABLE, "POST /wallets/{}/transfer", "POST /wallets/" UUID "/transfer", true },
        { TABLE, "POST /wallets/{}/transfer", "POST /wallets/{uuid}/transfer", true },
        { TABLE, "read, POST /wallets/{}/{}", "POST /wallets/{uuid}/transfer", true },
        { TABLE, "GET /chains/{}/fees", "GET /chains/{n}/fees", true },
        { TABLE, "POST /wallets/{}/transfer", "money", true },
        { TABLE "money = PUT /a/{uuid}\n", "PUT /a/{}", "money", true },
        { METHODS "money = PUT /a/{uuid}\n", "PUT /a/{}", "money", true },
        { TABLE "money = POST /vendors/{}/pay\n", "money", "POST /vendors/" UUID "/pay", true },
        { METHODS, "money", "POST /wallets/{uuid}/transfer", true },
        { METHODS, "money", "POST /wallets/" UUID "/transfer", true },
        { METHODS "sign = POST /a/{uuid}\n", "money", "sign", true },
        { TABLE, "GET /chains/{n}/fees", "GET /chains/1/fees", true },
        { TABLE, "read", "GET /chains/1/fees", true },
        /* the ids are written alike, or what is denied leaves no way */
        { TABLE, "money", "POST /wallets/" UUID "/transfer", false },
        { TABLE "money = POST /vendors/{uuid}/pay\n", "money", "POST /vendors/" UUID "/pay",
          false },
        { METHODS, "money", "POST /wallets/{}/transfer", false },
        { METHODS, "read", "POST /wallets/{uuid}/transfer", false },
        { METHODS "change = POST /{}/{}\nsign = POST /a/{}\n", "change", "POST /a/{uuid}",
          false },
        { METHODS "change = POST /{}/{}\nsign = POST /b/{}\n", "change", "POST /a/{uuid}",
          true },
        { METHODS "sign = POST /wallets/{}/transfer\n", "money",
          "POST /wallets/{uuid}/transfer", false },
        { TABLE, "GET /chains/8453/fees", "GET /chains/1/fees", false },
        { TABLE, "GET /chains/{n}/fees", "GET /chains/{n}/fees", false },
        { TABLE, "POST /wallets/{uuid}/transfer", "POST /wallets/" UUID "/transfer", false },
        { TABLE, "POST /wallets/{uuid}/{}", "POST /wallets/{uuid}/transfer", false },
        { TABLE, "POST /wallets/{}/{}",
          "POST /wallets/{uuid}/transfer, POST /wallets/{}/transfer", false },
        { TABLE, "POST /wallets/{}/delegations",
          "POST /wallets/" UUID "/{}, POST /wallets/{}/delegations", false },
        { TABLE, "GET /wallets/{}", "POST /wallets/{uuid}/transfer", false },
        { TABLE, "GET /wallets/{}", "DELETE /wallets/{uuid}", false },
        { TABLE, "GET /wallets/{}", "money", false },
        { METHODS, "POST /wallets/{}/transfer", "sign", false },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char lines[512];

        (void)snprintf(lines, sizeof lines,
                       "[listen]\naddress = unix:/run/x\n%s[caller a]\nuid = 1\nallow = %s\n"
                       "deny = %s\n",
                       cases[i].table, cases[i].allow, cases[i].deny);
        auto_result struct result r = load_classes(lines);
        if (cases[i].refused)
            assert_refuses(r, "another spelling of the id would walk around");
        else
            assert_loads(r);
    }
}

static void what_is_doubtful_about_callers_is_told(void **state)
{
    static const struct {
        const char *lines, *says;
    } cases[] = {
        { TABLE "[caller a]\naddress = 127.0.0.1:81\nallow = money\n", "a name, not a proof" },
        { UNIX "[caller a]\nuid = 1\nallow = read\n[caller b]\ngid = 1\nallow = read\n",
          "could be both [caller a] and [caller b]" },
        { UNIX "[caller a]\nuid = 1\nallow = change\n[caller b]\nuid = 2\nallow = money\n",
          "can point a method" },
        { UNIX "[caller a]\nuid = 1\nallow = create\n[caller b]\nuid = 2\nallow = money\n",
          "adds to the parameters" },
        { UNIX "[caller a]\nuid = 1\n", "may do nothing" },
        { UNIX "[caller other]\nallow = sign\n", "whoever nobody recognised sign" },
        { UNIX "[callers]\nmode = observe\n[caller a]\nuid = 1\nallow = read\n",
          "callers.mode: is observe" },
        { UNIX "[caller a]\nuid = 1\nallow = read\nmode = observe\n",
          "caller a.mode: is observe" },
        { UNIX "[caller a]\nuid = 1\nallow = POST /methods/{uuid}/execute\nrate = sign 1/1s\n",
          "caller a.rate: [caller a] may move money as often as it likes" },
        { UNIX "[caller a]\nuid = 1\nallow = read\nrate = sign 1/1s\n",
          "limits sign, which [caller a] may not do" },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        auto_result struct result r = load_classes(cases[i].lines);
        assert_loads(r);
        assert_says(r.warnings, cases[i].says);
    }
}

static void a_caller_without_a_mode_has_that_of_all(void **state)
{
    static const char lines[] = UNIX "[callers]\nmode = observe\n"
                                     "[caller a]\nuid = 1\nallow = read\nmode = enforce\n"
                                     "[caller b]\nuid = 2\nallow = read\n";
    (void)state;
    auto_result struct result r = load_classes(lines);
    assert_loads(r);
    assert_true(r.config->rules->observe_unknown);
    assert_false(r.config->rules->callers.caller[0].observe);
    assert_true(r.config->rules->callers.caller[1].observe);
    assert_int_equal(rules_observing(r.config->rules), 2);
    struct buf out;
    buf_init(&out, 1 << 20);
    assert_int_equal(config_print(r.config, &out), 0);
    assert_says(out, "mode = enforce\n");
    assert_says(out, "#mode =\n");
    buf_done(&out);
}

#define SECRET "0123456789abcdef0123456789abcdef"

static void name_secret(char path[64])
{
    (void)snprintf(path, 64, "/tmp/check-rights-%d.secret", (int)getpid());
}

static void put_secret(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

/* What is in the secret file of [caller a], where it is wrong. */
static void what_is_wrong_with_a_secret_file_is_told_without_the_secret(void **state)
{
    static const struct {
        const char *file, *more, *says;
    } cases[] = {
        { "", "", ": is empty" },
        { "\n", "", "line 1 is empty" },
        { SECRET "\n\n", "", "line 2 is empty" },
        { SECRET "\n" SECRET "x\n" SECRET "y\n", "", "line 3 is one too many" },
        { "0123456789abcdef0123456789abcde\n", "", "line 1 is too short; allowed: 32 to 256" },
        { SECRET " \n", "", "line 1 holds a character that is none of" },
        { SECRET "=a\n", "", "line 1 holds a character that is none of" },
        { SECRET "\n",
          "[caller b]\nallow = read\nsecret_file = ", "holds a secret of [caller a], too" },
        { SECRET "\n", "[caller b]\nallow = read\nsecret_file = /nowhere",
          "caller b.secret_file: /nowhere: cannot be read" },
        { SECRET "\n", "[callers]\nheader = X Y\n", "callers.header: is no name" },
        { SECRET "\n", "[callers]\nheader = AUTHORIZATION\n", "a meaning of its own" },
        { SECRET "\n", "[callers]\nheader = Traceparent\n", "a meaning of its own" },
        { SECRET "\n", "[callers]\nheader = Idempotency-Key\n", "a meaning of its own" },
        { SECRET "\n", "[listen]\nrequire_header = x-caller-key: y\n",
          "callers.header: is the field of listen.require_header" },
        { SECRET "\n",
          "[caller other]\nallow = read\nsecret_file = ", "[caller other] stands for" },
    };
    (void)state;
    char path[64];

    name_secret(path);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *more = cases[i].more;
        bool is_open = more[0] != '\0' && more[strlen(more) - 1] == ' ';
        char lines[1024];

        put_secret(path, cases[i].file);
        (void)snprintf(lines, sizeof lines,
                       TABLE "[caller a]\nsecret_file = %s\nallow = read\n%s%s\n", path, more,
                       is_open ? path : "");
        auto_result struct result r = load_classes(lines);
        assert_refuses(r, cases[i].says);
        assert_null(strstr(buf_text(&r.errors), SECRET));
    }
    (void)remove(path);
}

static void a_secret_that_others_could_read_on_the_way_is_doubtful(void **state)
{
    static const struct {
        const char *address;
        bool warned;
    } cases[] = { { "0.0.0.0:80", true },
                  { "127.0.0.1:80", false },
                  { "unix:/run/x", false },
                  { "unix:/run/x, example.com:80", true } };
    (void)state;
    char path[64];

    name_secret(path);
    put_secret(path, SECRET "\n");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char lines[512];

        (void)snprintf(lines, sizeof lines,
                       "[listen]\naddress = %s\n" TABLE
                       "[caller a]\nsecret_file = %s\nallow = sign\n",
                       cases[i].address, path);
        auto_result struct result r = load_classes(lines);
        assert_loads(r);
        assert_int_equal(strstr(buf_text(&r.warnings), "over plain TCP from another machine") !=
                             NULL,
                         cases[i].warned);
        assert_null(strstr(buf_text(&r.warnings), "by a TCP port only"));
        assert_non_null(r.config->rules->secrets);
    }
    (void)remove(path);
}

static void a_freeze_file_that_cannot_be_looked_at_is_doubtful(void **state)
{
    (void)state;
    auto_scratch struct scratch s = scratch_new();
    char lines[512];

    (void)snprintf(lines, sizeof lines, TABLE "[freeze]\nfile = %s/gone/freeze\n", s.dir);
    auto_result struct result missing = load_classes(lines);
    assert_loads(missing);
    assert_says(missing.warnings, "freeze.file: /tmp/config-test-");
    assert_says(
        missing.warnings,
        "/gone/freeze: the directory of freeze.file is missing, which counts as frozen");
    /* With its directory it is good, whether the file is there or not. */
    (void)snprintf(lines, sizeof lines, TABLE "[freeze]\nfile = %s/freeze\n", s.dir);
    auto_result struct result absent = load_classes(lines);
    assert_loads(absent);
    assert_int_equal(buf_unread(&absent.warnings), 0);
    const char *file = scratch_write(&s, "incident\n", 9, 0600);
    (void)snprintf(lines, sizeof lines, TABLE "[freeze]\nfile = %s\n", file);
    auto_result struct result present = load_classes(lines);
    assert_loads(present);
    assert_int_equal(buf_unread(&present.warnings), 0);
}

static void a_caller_may_come_from_the_environment_key_by_key(void **state)
{
    (void)state;
    auto_scratch struct scratch s = scratch_new();
    const char *text = CREDENTIALS UNIX "[caller pay-roll]\nuid = 1\nallow = money\n";
    const char *path = scratch_write(&s, text, strlen(text), 0600);
    auto_result struct result r =
        load_env(path, (const char *const[]){ "ONESHOT_PROXY_CALLER_PAY_ROLL_ALLOW=read",
                                              "ONESHOT_PROXY_CALLER_DASH_GID=7",
                                              "ONESHOT_PROXY_CALLER_DASH_ALLOW=read", NULL });
    assert_loads(r);
    assert_int_equal(r.config->caller_count, 2);
    assert_string_equal(r.config->caller[0].allow.item[0], "read");
    assert_int_equal(r.config->caller[0].uid, 1);
    assert_string_equal(r.config->caller[1].name, "dash");
    struct buf out;
    buf_init(&out, 1 << 20);
    assert_int_equal(config_print(r.config, &out), 0);
    assert_says(out, "[caller pay-roll]\n#address =\nuid = 1\n#gid =\n");
    assert_says(out, "[caller dash]\n");
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_table_there_is_are_no_rules),
        cmocka_unit_test(a_table_with_patterns_makes_rules),
        cmocka_unit_test(what_is_wrong_with_classes_is_told),
        cmocka_unit_test(what_is_wrong_with_callers_is_told),
        cmocka_unit_test(another_spelling_of_an_id_cannot_walk_around_a_deny),
        cmocka_unit_test(what_is_doubtful_about_callers_is_told),
        cmocka_unit_test(a_caller_without_a_mode_has_that_of_all),
        cmocka_unit_test(what_is_wrong_with_a_secret_file_is_told_without_the_secret),
        cmocka_unit_test(a_secret_that_others_could_read_on_the_way_is_doubtful),
        cmocka_unit_test(a_freeze_file_that_cannot_be_looked_at_is_doubtful),
        cmocka_unit_test(a_caller_may_come_from_the_environment_key_by_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

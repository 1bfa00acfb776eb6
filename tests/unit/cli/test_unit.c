/* unit.c: the parts of a systemd unit file that the settings depend on. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/unit.h"
#include "unit.h"

static char dir[] = "/tmp/oneshot-unit-XXXXXX";
static struct buf error;
static struct unit unit;

static int setup(void **state)
{
    (void)state;
    memcpy(dir + sizeof dir - 7, "XXXXXX", 6);
    assert_non_null(mkdtemp(dir));
    assert_int_equal(setenv("SYSTEMD_UNIT_PATH", dir, 1), 0);
    buf_init(&error, 4096);
    return 0;
}

static int teardown(void **state)
{
    char command[64];

    (void)state;
    unit_done(&unit);
    buf_done(&error);
    (void)snprintf(command, sizeof command, "rm -r %s", dir);
    return system(command); /* NOLINT(cert-env33-c,concurrency-mt-unsafe) */
}

static void put(const char *name, const char *text)
{
    char path[128];

    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void read_it(const char *name)
{
    if (unit_read(name, &unit, &error) != 0)
        fail_msg("%s", buf_text(&error));
}

static void assert_variables(const char *const *wanted)
{
    size_t n = 0;

    for (; wanted[n] != NULL; n++) {
        assert_true(n < unit.variables);
        assert_string_equal(unit.variable[n], wanted[n]);
    }
    assert_int_equal(unit.variables, n);
    assert_null(unit.variable[n]);
}
#define ASSERT_VARIABLES(...) assert_variables((const char *const[]){ __VA_ARGS__, NULL })

static void the_unit_of_the_package_names_file_and_secret(void **state)
{
    (void)state;
    assert_int_equal(setenv("SYSTEMD_UNIT_PATH", SOURCE_DIR "/conf", 1), 0);
    read_it("oneshot-proxy");
    assert_string_equal(unit.path, SOURCE_DIR "/conf/oneshot-proxy.service");
    assert_string_equal(unit.config, "/etc/oneshot-proxy/oneshot-proxy.ini");
    ASSERT_VARIABLES("ONESHOT_PROXY_TOKEN_CLIENT_SECRET_FILE=/etc/oneshot-proxy/client_secret");
}

static void an_instance_of_the_template_has_its_own(void **state)
{
    (void)state;
    assert_int_equal(setenv("SYSTEMD_UNIT_PATH", SOURCE_DIR "/conf", 1), 0);
    read_it("oneshot-proxy@billing.service");
    assert_string_equal(unit.path, SOURCE_DIR "/conf/oneshot-proxy@.service");
    assert_string_equal(unit.config, "/etc/oneshot-proxy/billing.ini");
    ASSERT_VARIABLES(
        "ONESHOT_PROXY_TOKEN_CLIENT_SECRET_FILE=/etc/oneshot-proxy/billing.client_secret");
}

static void values_are_read_as_systemd_reads_them(void **state)
{
    (void)state;
    put("vars", "# comment\n; too\nFROM_FILE=\"two words\"\nPLAIN=a b\n\n");
    char text[1024];
    (void)snprintf(text, sizeof text,
                   "[Unit]\nEnvironment=NOT=ours\n[Service]\n"
                   "Environment=A=1 \"B=two words\" 'C=x%%%%y' \\\n  D=%%n\n"
                   "# Environment=E=5\n"
                   "Environment = A=2\n"
                   "EnvironmentFile=-/nonexistent/file\n"
                   "EnvironmentFile=%s/vars\n"
                   "ExecStart=/usr/bin/oneshot-proxy --config=/a.ini\n"
                   "[Install]\nEnvironment=NOT=ours\n",
                   dir);
    put("p.service", text);
    read_it("p");
    assert_string_equal(unit.config, "/a.ini");
    ASSERT_VARIABLES("A=2", "B=two words", "C=x%y", "D=p.service", "FROM_FILE=two words",
                     "PLAIN=a b");
}

static void drop_ins_come_after_the_unit_by_name(void **state)
{
    char path[96];

    (void)state;
    put("p.service", "[Service]\nEnvironment=A=1 B=1\nLoadCredential=s:/one\n"
                     "ExecStart=/x --config /one.ini\n");
    (void)snprintf(path, sizeof path, "%s/p.service.d", dir);
    assert_int_equal(mkdir(path, 0700), 0);
    put("p.service.d/20.conf", "[Service]\nLoadCredential=s:/two\nEnvironment=S=%d/s\n");
    put("p.service.d/10.conf", "[Service]\nEnvironment=\nLoadCredential=\nEnvironment=C=3\n"
                               "ExecStart=\nExecStart=/x --config /two.ini\n");
    put("p.service.d/99.txt", "[Service]\nEnvironment=D=4\n");
    read_it("p");
    assert_string_equal(unit.config, "/two.ini");
    ASSERT_VARIABLES("C=3", "S=/two");
}

/* systemd reads the files of EnvironmentFile after every Environment, so a drop-in's
 * Environment does not replace what such a file sets. */
static void environment_files_come_last(void **state)
{
    char text[256], path[96];

    (void)state;
    put("old", "OLD=1\n");
    put("vars", "A=from the file\n");
    (void)snprintf(text, sizeof text,
                   "[Service]\nEnvironmentFile=%s/old\nEnvironmentFile=\n"
                   "EnvironmentFile=%s/vars\nEnvironment=A=unit\n",
                   dir, dir);
    put("p.service", text);
    (void)snprintf(path, sizeof path, "%s/p.service.d", dir);
    assert_int_equal(mkdir(path, 0700), 0);
    put("p.service.d/10.conf", "[Service]\nEnvironment=\"A=from the drop-in\" B=2\n");
    read_it("p");
    ASSERT_VARIABLES("A=from the file", "B=2");
}

/* The variable is in the unit, the path in a drop-in. */
static void a_drop_in_moves_a_credential(void **state)
{
    char path[96];

    (void)state;
    put("p.service", "[Service]\nLoadCredential=s:/one\nEnvironment=S=%d/s\n");
    (void)snprintf(path, sizeof path, "%s/p.service.d", dir);
    assert_int_equal(mkdir(path, 0700), 0);
    put("p.service.d/10.conf", "[Service]\nLoadCredential=s:/two\n");
    read_it("p");
    ASSERT_VARIABLES("S=/two");
}

/* Of two with the same name the first directory's counts; all are read by name, whatever
 * their directories. */
static void drop_ins_of_several_directories_are_read_by_name(void **state)
{
    char text[256];

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        (void)snprintf(text, sizeof text, "%s/%zu", dir, i);
        assert_int_equal(mkdir(text, 0700), 0);
        (void)snprintf(text, sizeof text, "%s/%zu/p@.service.d", dir, i);
        assert_int_equal(mkdir(text, 0700), 0);
    }
    (void)snprintf(text, sizeof text, "%s/0/p@x.service.d", dir);
    assert_int_equal(mkdir(text, 0700), 0);
    put("1/p@.service", "[Service]\nEnvironment=A=0 B=0 C=0\n");
    put("0/p@.service.d/20.conf", "[Service]\nEnvironment=A=local\n");
    put("1/p@.service.d/10.conf", "[Service]\nEnvironment=A=early B=early\n");
    put("1/p@.service.d/20.conf", "[Service]\nEnvironment=A=hidden\n");
    put("0/p@.service.d/30.conf", "[Service]\nEnvironment=C=all\n");
    put("0/p@x.service.d/30.conf", "[Service]\nEnvironment=C=instance\n");
    (void)snprintf(text, sizeof text, "%s/0:%s/1", dir, dir);
    assert_int_equal(setenv("SYSTEMD_UNIT_PATH", text, 1), 0);
    read_it("p@x");
    ASSERT_VARIABLES("A=local", "B=early", "C=instance");
}

/* A comment does not continue in the next line, and one between the lines of a value is left
 * out. */
static void a_comment_is_one_line(void **state)
{
    (void)state;
    put("p.service", "[Service]\n# no more \\\nEnvironment=A=1 \\\n; between \\\n  B=2\n");
    read_it("p");
    ASSERT_VARIABLES("A=1", "B=2");
}

/* As systemd.exec(5) says: outside quotes a backslash makes the next character plain, in
 * single quotes it is a backslash, and in double quotes only some characters need one. */
static void a_backslash_in_an_environment_file_is_read_as_systemd_reads_it(void **state)
{
    char text[128];

    (void)state;
    put("vars", "PLAIN=a\\b\\\\c\"d'e\nSINGLE='a\\b\"c'\nDOUBLE=\"a\\b\\\\c\\\"d\\$e\"\n"
                "BOTH = \"a b\"'c'\nEMPTY=\"\"\n");
    (void)snprintf(text, sizeof text, "[Service]\nEnvironmentFile=%s/vars\n", dir);
    put("p.service", text);
    read_it("p");
    ASSERT_VARIABLES("PLAIN=ab\\c\"d'e", "SINGLE=a\\b\"c", "DOUBLE=a\\b\\c\"d$e", "BOTH=a bc",
                     "EMPTY=");
}

static void the_directories_of_the_system_have_specifiers(void **state)
{
    (void)state;
    put("p.service", "[Service]\nExecStart=/x --config %E/p/p.ini\n"
                     "Environment=A=%t/a B=%S/b C=%C/c D=%L/d E=%T/e F=%V/f\n");
    read_it("p");
    assert_string_equal(unit.config, "/etc/p/p.ini");
    ASSERT_VARIABLES("A=/run/a", "B=/var/lib/b", "C=/var/cache/c", "D=/var/log/d", "E=/tmp/e",
                     "F=/var/tmp/f");
}

/* Encrypted ones and those of systemd's own store. */
static void a_credential_that_is_no_file_is_looked_for_where_systemd_puts_it(void **state)
{
    (void)state;
    put("p.service", "[Service]\nLoadCredentialEncrypted=s:/enc\nEnvironment=S=%d/s D=%d\n");
    read_it("p");
    ASSERT_VARIABLES("S=/run/credentials/p.service/s", "D=/run/credentials/p.service");
}

static void what_cannot_be_read_is_told(void **state)
{
    static const struct {
        const char *text, *words;
    } rows[] = {
        { "[Service]\nEnvironment=\"A=1\n", "/p.service:2: the line is not understood" },
        { "[Service]\n\nEnvironment=A\n", "/p.service:3: the line is not understood" },
        { "[Service]\nEnvironment=A=%q\n", "/p.service:2: the line is not understood" },
        { "[Service]\nEnvironmentFile=/nonexistent/f\n", "/nonexistent/f: No such" }
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        put("p.service", rows[i].text);
        assert_true(unit_read("p", &unit, &error) < 0);
        if (strstr(buf_text(&error), rows[i].words) == NULL)
            fail_msg("no \"%s\" in: %s", rows[i].words, buf_text(&error));
        buf_clear(&error);
        unit_done(&unit);
    }
    assert_int_equal(unit_read("q", &unit, &error), -ENOENT);
    assert_non_null(strstr(buf_text(&error), "there is no unit q.service in "));
    unit_done(&unit);
    assert_int_equal(unit_read("../p", &unit, &error), -EINVAL);
    unit_done(&unit);
    assert_int_equal(unit_read("p@", &unit, &error), -EINVAL);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(the_unit_of_the_package_names_file_and_secret),
        T(an_instance_of_the_template_has_its_own),
        T(values_are_read_as_systemd_reads_them),
        T(drop_ins_come_after_the_unit_by_name),
        T(environment_files_come_last),
        T(a_drop_in_moves_a_credential),
        T(drop_ins_of_several_directories_are_read_by_name),
        T(a_comment_is_one_line),
        T(a_backslash_in_an_environment_file_is_read_as_systemd_reads_it),
        T(the_directories_of_the_system_have_specifiers),
        T(a_credential_that_is_no_file_is_looked_for_where_systemd_puts_it),
        T(what_cannot_be_read_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

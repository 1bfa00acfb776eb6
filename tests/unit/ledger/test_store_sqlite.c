/* store_sqlite.c, with real files: the contract of all stores, the requirements on a file,
 * and the damage that is found. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "ledger/store_contract.h"
#include "ledger/store_sqlite.h"

static char directory[PATH_MAX], path[PATH_MAX + 16], url[PATH_MAX + 64];

static struct store_options options(void)
{
    return (struct store_options){
        .url = url, .instance = "test", .timeout_ms = 2000, .by_command = true
    };
}

static enum store_result open_it(struct store **s, struct buf *error)
{
    const struct store_options o = options();

    buf_clear(error);
    return store_sqlite.open(s, &o, error);
}

/* Beside the test program, since /tmp may lie in memory. */
static int make_directory(void **state)
{
    char name[] = "ledger-XXXXXX";

    (void)state;
    assert_non_null(mkdtemp(name));
    assert_non_null(realpath(name, directory));
    (void)snprintf(path, sizeof path, "%s/ledger.db", directory);
    (void)snprintf(url, sizeof url, "sqlite:%s", path);
    return 0;
}

static int remove_directory(void **state)
{
    static const char *const names[] = { "ledger.db", "ledger.db-wal", "ledger.db-journal",
                                         "ledger.db-acked", "link.db" };
    char name[PATH_MAX + 32];

    (void)state;
    assert_int_equal(chmod(directory, 0700), 0);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        (void)snprintf(name, sizeof name, "%s/%s", directory, names[i]);
        (void)unlink(name);
    }
    assert_int_equal(rmdir(directory), 0);
    return 0;
}

static void make_store(void)
{
    const struct store_options o = options();
    struct buf error;

    buf_init(&error, 4096);
    if (store_sqlite.init(&o, &error) != STORE_OK)
        fail_msg("%s", buf_text(&error));
    buf_done(&error);
}

static struct store *open_sound(void)
{
    struct store *s = NULL;
    struct buf error;

    buf_init(&error, 4096);
    if (open_it(&s, &error) != STORE_OK)
        fail_msg("%s", buf_text(&error));
    buf_done(&error);
    return s;
}

static int setup(void **state)
{
    static struct fixture f;

    (void)make_directory(state);
    make_store();
    f = (struct fixture){ .type = &store_sqlite, .store = open_sound() };
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    store_sqlite.close(fixture_of(state)->store);
    return remove_directory(state);
}

static void assert_not_opened(enum store_result expected, const char *says)
{
    struct store *s = NULL;
    struct buf error;

    buf_init(&error, 4096);
    assert_int_equal(open_it(&s, &error), expected);
    assert_null(s);
    if (strstr(buf_text(&error), says) == NULL)
        fail_msg("\"%s\" is not in: %s", says, buf_text(&error));
    buf_done(&error);
}

static void nothing_is_made_but_by_init(void **state)
{
    const struct store_options o = options();
    struct buf error;
    struct stat st;

    (void)state;
    assert_not_opened(STORE_REFUSED, "is its volume mounted?");
    assert_int_equal(access(path, F_OK), -1);
    make_store();
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    buf_init(&error, 4096);
    assert_int_equal(store_sqlite.init(&o, &error), STORE_REFUSED);
    assert_non_null(strstr(buf_text(&error), "is there already, and is left as it is"));
    buf_done(&error);
    store_sqlite.close(open_sound());
}

static void what_others_could_replace_is_refused(void **state)
{
    char name[PATH_MAX + 32];

    (void)state;
    make_store();
    assert_int_equal(chmod(path, 0640), 0);
    assert_not_opened(STORE_REFUSED, "is open to others");
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(chmod(directory, 0770), 0);
    assert_not_opened(STORE_REFUSED, "may be written to by others");
    assert_int_equal(chmod(directory, 0755), 0);
    (void)snprintf(name, sizeof name, "%s/link.db", directory);
    assert_int_equal(symlink(path, name), 0);
    (void)snprintf(url, sizeof url, "sqlite:%s", name);
    assert_not_opened(STORE_REFUSED, "is not a regular file");
}

/* As root meets it while the proxy is down. */
static void a_store_of_another_user_is_told_as_that(void **state)
{
    char expected[96];
    bool is_root = geteuid() == 0;

    (void)state;
    make_store();
    if (is_root)
        assert_int_equal(chown(path, 61841, (gid_t)-1), 0);
    else
        (void)snprintf(url, sizeof url, "sqlite:/etc/passwd");
    (void)snprintf(expected, sizeof expected,
                   " belongs to uid %d, and this is uid %u: run it as that user",
                   is_root ? 61841 : 0, (unsigned)geteuid());
    assert_not_opened(STORE_REFUSED, expected);
}

/* As systemd has it for a DynamicUser. The file itself may not be one. */
static void a_link_is_followed_to_the_directory_and_not_to_the_file(void **state)
{
    char link[PATH_MAX + 16];
    struct store *s = NULL;
    struct buf error;

    (void)state;
    make_store();
    buf_init(&error, 4096);
    (void)snprintf(link, sizeof link, "%s.link", directory);
    assert_int_equal(symlink(directory, link), 0);
    (void)snprintf(url, sizeof url, "sqlite:%s/ledger.db", link);
    enum store_result result = open_it(&s, &error);
    assert_int_equal(unlink(link), 0);
    if (result != STORE_OK)
        fail_msg("%s", buf_text(&error));
    store_sqlite.close(s);
    (void)snprintf(link, sizeof link, "%s/link.db", directory);
    assert_int_equal(symlink(path, link), 0);
    (void)snprintf(url, sizeof url, "sqlite:%s", link);
    assert_not_opened(STORE_REFUSED, "is not a regular file");
    buf_done(&error);
}

static void memory_is_no_disk(void **state)
{
    (void)state;
    if (access("/dev/shm", W_OK) != 0)
        skip();
    char name[] = "/dev/shm/ledger-XXXXXX";
    const struct store_options o = options();
    struct buf error;

    assert_non_null(mkdtemp(name));
    (void)snprintf(url, sizeof url, "sqlite:%s/ledger.db", name);
    buf_init(&error, 4096);
    enum store_result r = store_sqlite.init(&o, &error);

    assert_int_equal(rmdir(name), 0);
    assert_int_equal(r, STORE_REFUSED);
    assert_non_null(strstr(buf_text(&error), "is on tmpfs"));
    buf_done(&error);
}

static void run_sql(const char *text)
{
    sqlite3 *db = NULL;

    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void another_version_or_no_ledger_is_refused(void **state)
{
    (void)state;
    make_store();
    run_sql("UPDATE ledger_meta SET version = 2");
    assert_not_opened(STORE_REFUSED, "is a ledger of version 2, and this program knows 1");
    run_sql("DROP TABLE ledger_meta");
    assert_not_opened(STORE_REFUSED, "is not a ledger");
    int fd = open(path, O_WRONLY | O_TRUNC);

    assert_true(fd >= 0);
    for (size_t i = 0; i < 200; i++)
        assert_int_equal(write(fd, "this is no database ", 20), 20);
    (void)close(fd);
    assert_not_opened(STORE_REFUSED, "is not a ledger");
    assert_int_equal(truncate(path, 0), 0);
    assert_not_opened(STORE_REFUSED, "is not a ledger");
}

/* In a process of its own: a process does not lock itself out. */
static void a_second_process_is_locked_out(void **state)
{
    int status = 0, opened[2], go[2];
    char byte = 0;

    (void)state;
    make_store();
    assert_int_equal(pipe(opened), 0);
    assert_int_equal(pipe(go), 0);
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        struct store *s = open_sound();

        bool held = write(opened[1], "1", 1) == 1 && read(go[0], &byte, 1) == 1;

        store_sqlite.close(s); /* valgrind looks for what is left */
        _exit(held ? 0 : 1);
    }
    assert_int_equal(read(opened[0], &byte, 1), 1);
    assert_not_opened(STORE_HELD, "is in use by another process");
    assert_int_equal(write(go[1], "1", 1), 1);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    for (size_t i = 0; i < 2; i++) {
        (void)close(opened[i]);
        (void)close(go[i]);
    }
    store_sqlite.close(open_sound());
}

/* What was committed before it was killed, is there: the commit was in the file. */
static void claims_survive_a_process_that_is_killed(void **state)
{
    struct fixture f = { .type = &store_sqlite };
    int status = 0;
    auto_claim retry;

    (void)state;
    make_store();
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        auto_claim a;

        f.store = open_sound();
        if (claim_key(&f, &a, "k") == STORE_CLAIMED)
            (void)kill(getpid(), SIGKILL);
        _exit(1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    f.store = open_sound();
    assert_int_equal(claim_key(&f, &retry, "k"), STORE_FOUND);
    assert_int_equal(census_at(&f, STORE_ALL, NOW_MS).orphans, 1);
    store_sqlite.close(f.store);
}

/* Leaves a log with a claim in it, as a process does that is killed. */
static void make_log(void)
{
    struct fixture f = { .type = &store_sqlite };
    int status = 0;
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        auto_claim a, b;

        f.store = open_sound();
        if (claim_key(&f, &a, "a") == STORE_CLAIMED && claim_key(&f, &b, "b") == STORE_CLAIMED)
            (void)kill(getpid(), SIGKILL);
        _exit(1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
}

static void flip_in(const char *name, off_t at)
{
    unsigned char byte = 0;
    int fd = open(name, O_RDWR);

    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 0x20;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    (void)close(fd);
}

/* Wherever a bit of the log is flipped: SQLite alone would forget the rest without a word. */
static void a_damaged_log_is_found_out(void **state)
{
    char log[PATH_MAX + 64];
    struct stat st;

    (void)state;
    make_store();
    make_log();
    (void)snprintf(log, sizeof log, "%s-wal", path);
    assert_int_equal(stat(log, &st), 0);
    for (off_t at = 0; at < st.st_size; at += at < 64 ? 1 : 997) {
        flip_in(log, at);
        struct store *s = NULL;
        struct buf error;

        buf_init(&error, 4096);
        if (open_it(&s, &error) != STORE_REFUSED)
            fail_msg("the byte at %lld of the log is not missed", (long long)at);
        buf_done(&error);
        flip_in(log, at);
    }
    store_sqlite.close(open_sound());
}

static void a_log_that_is_gone_is_missed(void **state)
{
    char log[PATH_MAX + 64];

    (void)state;
    make_store();
    make_log();
    (void)snprintf(log, sizeof log, "%s-wal", path);
    assert_int_equal(unlink(log), 0);
    assert_not_opened(STORE_REFUSED, "frames that were durable 0 are sound");
}

/* A write that was never acknowledged is no loss. */
static void a_torn_end_of_the_log_is_no_damage(void **state)
{
    struct fixture f = { .type = &store_sqlite };
    char log[PATH_MAX + 64];
    struct stat st;

    (void)state;
    make_store();
    make_log();
    (void)snprintf(log, sizeof log, "%s-wal", path);
    assert_int_equal(stat(log, &st), 0);
    int fd = open(log, O_WRONLY | O_APPEND);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, "torn", 4), 4);
    (void)close(fd);
    f.store = open_sound();
    auto_claim a;

    assert_int_equal(claim_key(&f, &a, "b"), STORE_FOUND);
    store_sqlite.close(f.store);
}

static void flip(off_t at)
{
    flip_in(path, at);
}

/* Where the text stands in the file; the n-th, from 0. */
static off_t place_of(const char *text, size_t n)
{
    static char all[1 << 20];
    int fd = open(path, O_RDONLY);
    ssize_t len = read(fd, all, sizeof all);

    (void)close(fd);
    for (ssize_t i = 0; i + (ssize_t)strlen(text) <= len; i++)
        if (memcmp(all + i, text, strlen(text)) == 0 && n-- == 0)
            return i;
    fail_msg("%s is not in the file", text);
    return 0;
}

static void a_key_that_was_altered_is_found_out(void **state)
{
    struct fixture f = { .type = &store_sqlite };

    (void)state;
    for (size_t n = 0; n < 2; n++) { /* in the table, in the index */
        auto_claim a;

        make_store();
        f.store = open_sound();
        assert_int_equal(claim_key(&f, &a, "AAAABBBBCCCC"), STORE_CLAIMED);
        store_sqlite.close(f.store);
        flip(place_of("AAAABBBBCCCC", n));
        assert_not_opened(STORE_REFUSED, "is damaged");
        assert_int_equal(unlink(path), 0);
    }
}

static void no_flipped_byte_crashes_or_frees_a_key(void **state)
{
    struct fixture f = { .type = &store_sqlite };
    struct buf error;
    struct stat st;
    auto_claim a;

    (void)state;
    make_store();
    f.store = open_sound();
    assert_int_equal(claim_key(&f, &a, "the-key-that-is-looked-for"), STORE_CLAIMED);
    store_sqlite.close(f.store);
    assert_int_equal(stat(path, &st), 0);
    buf_init(&error, 1 << 16);
    /* Past the first page's header, every 211th byte. */
    for (off_t at = 100; at < st.st_size; at += 211) {
        struct store *s = NULL;

        flip(at);
        if (open_it(&s, &error) == STORE_OK) {
            auto_claim retry;

            f.store = s;
            claim_of(&retry, "", "the-key-that-is-looked-for", false);
            (void)store_sqlite.batch(
                s,
                &(struct store_batch){ .claim = (struct store_claim *[]){ &retry.c },
                                       .claims = 1,
                                       .now_ms = NOW_MS },
                &error);
            if (retry.c.result == STORE_CLAIMED)
                fail_msg("the byte at %" PRId64 " has freed the key", (int64_t)at);
            store_sqlite.close(s);
        }
        flip(at);
    }
    buf_done(&error);
}

static uint64_t prune_before(struct fixture *f, int64_t answers_ms, int64_t keys_ms)
{
    struct store_prune p = { .answers_before_ms = answers_ms,
                             .keys_before_ms = keys_ms,
                             .at_most = 2 };
    uint64_t pruned = 0;
    struct buf error;

    buf_init(&error, 4096);
    do {
        if (f->type->prune(f->store, &p, &error) != STORE_OK)
            fail_msg("%s", buf_text(&error));
        pruned += p.pruned;
    } while (p.more);
    buf_done(&error);
    return pruned;
}

static void answers_go_before_keys_and_open_ones_stay(void **state)
{
    struct fixture *f = fixture_of(state);
    const struct ledger_bytes body = { .data = (char *)"done", .len = 4 };
    const int64_t now_ms = clock_wall_ms();
    struct claim c[5];

    for (size_t i = 0; i < ARRAY_LEN(c); i++) {
        char key[8];

        (void)snprintf(key, sizeof key, "k%zu", i);
        claim_of(&c[i], "", key, false);
        batch_at(f, now_ms, (struct store_claim *[]){ &c[i].c }, 1, NULL, 0);
    }
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(tell_outcome(f, (struct store_outcome){ .id = c[i].id,
                                                                 .state = LEDGER_ANSWERED,
                                                                 .status = 200,
                                                                 .body = &body }),
                         STORE_WRITTEN);
    assert_int_equal(tell_state(f, c[3].id, LEDGER_UNKNOWN), STORE_WRITTEN);
    assert_int_equal(prune_before(f, now_ms - 60000, now_ms - 120000), 0);
    assert_int_equal(prune_before(f, now_ms + 60000, now_ms - 60000), 3);
    auto_claim retry;

    assert_int_equal(claim_key(f, &retry, "k0"), STORE_FOUND);
    assert_int_equal(retry.c.found.status, 200);
    assert_null(retry.c.found.answer_body.data);
    /* The next day it looks from the beginning. */
    assert_int_equal(prune_before(f, now_ms + 86400000, now_ms + 86400000), 3);
    assert_int_equal(list_of(f, (struct store_list){ .states = 0 }), 2);
}

static void the_log_is_written_back_when_it_has_grown(void **state)
{
    struct fixture *f = fixture_of(state);
    char log[PATH_MAX + 32];
    struct stat st;
    auto_free char *bytes = base_alloc(200000);
    const struct ledger_bytes body = { .data = bytes, .len = 200000 };
    struct buf error;

    memset(bytes, 'x', 200000);
    buf_init(&error, 4096);
    (void)snprintf(log, sizeof log, "%s-wal", path);
    for (size_t i = 0; i < 100; i++) {
        char key[16];
        auto_claim c;

        (void)snprintf(key, sizeof key, "key-%zu", i);
        assert_int_equal(claim_key(f, &c, key), STORE_CLAIMED);
        assert_int_equal(tell_outcome(f, (struct store_outcome){ .id = c.id,
                                                                 .state = LEDGER_ANSWERED,
                                                                 .body = &body }),
                         STORE_WRITTEN);
        assert_int_equal(store_sqlite.idle(f->store, &error), STORE_OK);
    }
    assert_int_equal(stat(log, &st), 0);
    assert_true(st.st_size < 8 << 20); /* of 20 MB that were written */
    buf_done(&error);
}

/* Else a full disk would look well, and doctor would time nothing. */
static void a_commit_that_changes_nothing_is_written_all_the_same(void **state)
{
    struct fixture *f = fixture_of(state);
    char log[PATH_MAX + 64];
    struct stat before, after;
    struct buf error;

    (void)snprintf(log, sizeof log, "%s-wal", path);
    buf_init(&error, 4096);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(stat(log, &before), 0);
        assert_int_equal(store_sqlite.touch(f->store, &error), STORE_OK);
        assert_int_equal(stat(log, &after), 0);
        assert_true(after.st_size > before.st_size);
    }
    buf_done(&error);
}

static void the_store_says_how_large_it_is(void **state)
{
    assert_true(census_at(fixture_of(state), STORE_COUNT_ONLY, NOW_MS).bytes >= 4096);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CONTRACT_TESTS(setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_is_made_but_by_init, make_directory,
                                        remove_directory),
        cmocka_unit_test_setup_teardown(what_others_could_replace_is_refused, make_directory,
                                        remove_directory),
        cmocka_unit_test_setup_teardown(a_store_of_another_user_is_told_as_that, make_directory,
                                        remove_directory),
        cmocka_unit_test_setup_teardown(a_link_is_followed_to_the_directory_and_not_to_the_file,
                                        make_directory, remove_directory),
        cmocka_unit_test_setup_teardown(memory_is_no_disk, make_directory, remove_directory),
        cmocka_unit_test_setup_teardown(another_version_or_no_ledger_is_refused, make_directory,
                                        remove_directory),
        cmocka_unit_test_setup_teardown(a_second_process_is_locked_out, make_directory,
                                        remove_directory),
        cmocka_unit_test_setup_teardown(claims_survive_a_process_that_is_killed, make_directory,
                                        remove_directory),
        cmocka_unit_test_setup_teardown(a_damaged_log_is_found_out, make_directory,
                                        remove_directory),
        cmocka_unit_test_setup_teardown(a_log_that_is_gone_is_missed, make_directory,
                                        remove_directory),
        cmocka_unit_test_setup_teardown(a_torn_end_of_the_log_is_no_damage, make_directory,
                                        remove_directory),
        cmocka_unit_test_setup_teardown(a_key_that_was_altered_is_found_out, make_directory,
                                        remove_directory),
        cmocka_unit_test_setup_teardown(no_flipped_byte_crashes_or_frees_a_key, make_directory,
                                        remove_directory),
        cmocka_unit_test_setup_teardown(answers_go_before_keys_and_open_ones_stay, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(the_log_is_written_back_when_it_has_grown, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_commit_that_changes_nothing_is_written_all_the_same,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(the_store_says_how_large_it_is, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

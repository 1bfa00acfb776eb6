/* freeze.c and freeze_file.c: frozen when in doubt, with real files. The test controls the clock. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "rights/freeze.h"
#include "unit.h"

static int64_t now_ms = 1000;

int64_t clock_ms(void)
{
    return now_ms;
}

int64_t clock_us(void)
{
    return now_ms * 1000;
}

int64_t clock_wall_s(void)
{
    return 1700000000 + now_ms / 1000;
}

static struct loop loop;
static struct freeze freeze;
static char directory[64], file[PATH_MAX];
static unsigned changes;

static void on_change(struct freeze *f)
{
    assert_ptr_equal(f, &freeze);
    changes++;
}

static int setup(void **state)
{
    (void)state;
    (void)snprintf(directory, sizeof directory, "/tmp/freeze-XXXXXX");
    assert_non_null(mkdtemp(directory));
    (void)snprintf(file, sizeof file, "%s/freeze", directory);
    assert_int_equal(loop_init(&loop), 0);
    freeze_init(&freeze, &loop, on_change);
    changes = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    freeze_done(&freeze);
    loop_done(&loop);
    (void)unlink(file);
    (void)rmdir(file);
    (void)rmdir(directory);
    return 0;
}

static void write_file(const char *text)
{
    int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0644);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    (void)close(fd);
}

/* As the timer does a second later. */
static void look_again(void)
{
    now_ms += FREEZE_LOOK_MS;
    assert_true(freeze.timer.due_ms <= now_ms);
    freeze.timer.on_due(&freeze.timer);
}

static void assert_frozen(const char *why)
{
    char reason[FREEZE_REASON_MAX + 1];

    assert_true(freeze_is_on(&freeze, now_ms));
    freeze_reason(&freeze, now_ms, reason);
    if (strstr(reason, why) == NULL)
        fail_msg("%s, not %s", reason, why);
}

static void without_the_setting_nothing_is_frozen(void **state)
{
    (void)state;
    assert_false(freeze_is_on(&freeze, now_ms));
    assert_false(freeze_is_on(&freeze, now_ms + 1000 * FREEZE_STALE_MS));
    assert_int_equal(changes, 0);
}

static void the_file_freezes_and_its_absence_thaws(void **state)
{
    (void)state;
    freeze_set_file(&freeze, file);
    assert_false(freeze_is_on(&freeze, now_ms));
    write_file("incident 12: stop all payments\nsecond line\n");
    look_again();
    assert_frozen("incident 12: stop all payments");
    assert_int_equal(strlen(freeze.reason), strlen("incident 12: stop all payments"));
    assert_int_equal(changes, 1);
    look_again();
    assert_int_equal(changes, 1);
    write_file("another reason");
    look_again();
    assert_frozen("another reason");
    assert_int_equal(changes, 2);
    assert_int_equal(freeze_file_remove(file), 0);
    look_again();
    assert_false(freeze_is_on(&freeze, now_ms));
    assert_int_equal(changes, 3);
}

static void a_file_that_is_there_at_the_start_freezes_before_the_first_request(void **state)
{
    (void)state;
    write_file("from the start");
    freeze_set_file(&freeze, file);
    assert_frozen("from the start");
    assert_int_equal(changes, 1);
}

static void whatever_is_not_known_to_be_away_freezes(void **state)
{
    (void)state;
    char moved[PATH_MAX + 16];

    assert_int_equal(symlink("/nowhere/at/all", file), 0);
    freeze_set_file(&freeze, file);
    assert_frozen("cannot be read");
    assert_int_equal(unlink(file), 0);
    assert_int_equal(mkdir(file, 0700), 0);
    look_again();
    assert_frozen("cannot be read");
    assert_int_equal(rmdir(file), 0);
    look_again();
    assert_false(freeze_is_on(&freeze, now_ms));
    (void)snprintf(moved, sizeof moved, "%s.moved", directory);
    assert_int_equal(rename(directory, moved), 0);
    look_again();
    assert_frozen("directory of freeze.file is missing");
    assert_true(freeze.in_doubt);
    assert_int_equal(rename(moved, directory), 0);
    look_again();
    assert_false(freeze_is_on(&freeze, now_ms));
    int plain = open(file, O_WRONLY | O_CREAT, 0600); /* ENOTDIR */
    assert_true(plain >= 0);
    (void)close(plain);
    (void)snprintf(moved, sizeof moved, "%s/below", file);
    freeze_set_file(&freeze, moved);
    assert_frozen("cannot be looked at");
}

static void who_does_not_look_for_five_seconds_has_frozen_it(void **state)
{
    (void)state;
    freeze_set_file(&freeze, file);
    now_ms += FREEZE_STALE_MS;
    assert_false(freeze_is_on(&freeze, now_ms));
    now_ms += 1;
    assert_frozen("not looked at for 5 s");
    look_again();
    assert_false(freeze_is_on(&freeze, now_ms));
}

static void a_reason_is_printable_and_short(void **state)
{
    (void)state;
    char text[1000];

    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    text[3] = '\x1b';
    text[4] = '\r';
    write_file(text);
    freeze_set_file(&freeze, file);
    assert_frozen("xxx??xxx");
    assert_int_equal(strlen(freeze.reason), FREEZE_REASON_MAX);
    write_file("");
    look_again();
    assert_frozen("no reason is given");
}

static void the_commands_create_it_whole_and_remove_it(void **state)
{
    (void)state;
    freeze_set_file(&freeze, file);
    assert_int_equal(freeze_file_create(file, "by command"), 0);
    look_again();
    assert_frozen("by command");
    assert_false(freeze.in_doubt);
    mode_t mask = umask(0077); /* the proxy's user has to read it nevertheless */
    struct stat made;
    assert_int_equal(freeze_file_create(file, "again"), 0);
    (void)umask(mask);
    assert_int_equal(stat(file, &made), 0);
    assert_int_equal(made.st_mode & 0777, 0644);
    assert_int_equal(freeze_file_remove(file), 0);
    assert_int_equal(freeze_file_remove(file), -ENOENT);
    assert_int_equal(freeze_file_create("/nowhere/at/all", "x"), -ENOENT);
}

static void another_file_is_taken_into_force_at_once(void **state)
{
    (void)state;
    write_file("held");
    freeze_set_file(&freeze, file);
    assert_true(freeze_is_on(&freeze, now_ms));
    freeze_set_file(&freeze, NULL);
    assert_false(freeze_is_on(&freeze, now_ms));
    assert_int_equal(changes, 2);
}

#define EACH(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(without_the_setting_nothing_is_frozen),
        EACH(the_file_freezes_and_its_absence_thaws),
        EACH(a_file_that_is_there_at_the_start_freezes_before_the_first_request),
        EACH(whatever_is_not_known_to_be_away_freezes),
        EACH(who_does_not_look_for_five_seconds_has_frozen_it),
        EACH(a_reason_is_printable_and_short),
        EACH(the_commands_create_it_whole_and_remove_it),
        EACH(another_file_is_taken_into_force_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* lookup.c, with name servers that answer when the test says so. */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "net/lookup.h"
#include "unit.h"

#define LONG_MS 30000 /* reaching it is a failure */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool servers_answer;
static unsigned answered;

static void let_servers_answer(bool yes)
{
    (void)pthread_mutex_lock(&lock);
    servers_answer = yes;
    (void)pthread_cond_broadcast(&changed);
    (void)pthread_mutex_unlock(&lock);
}

static void await_answers(unsigned n)
{
    (void)pthread_mutex_lock(&lock);
    while (answered < n)
        (void)pthread_cond_wait(&changed, &lock);
    (void)pthread_mutex_unlock(&lock);
}

/* Instead of the C library's: "none" is no name, every other one is 127.0.0.1. */
/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name) */
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **found)
{
    struct whole {
        struct addrinfo info;
        struct sockaddr_in address;
    } *one = base_alloc(sizeof *one);

    assert_int_equal(hints->ai_socktype, SOCK_STREAM);
    (void)pthread_mutex_lock(&lock);
    while (!servers_answer)
        (void)pthread_cond_wait(&changed, &lock);
    answered++;
    (void)pthread_cond_broadcast(&changed);
    (void)pthread_mutex_unlock(&lock);
    if (strcmp(node, "none") == 0) {
        free(one);
        return EAI_NONAME;
    }
    one->address = (struct sockaddr_in){ .sin_family = AF_INET,
                                         .sin_port = htons((uint16_t)strtol(service, NULL, 10)),
                                         .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    one->info = (struct addrinfo){ .ai_family = AF_INET,
                                   .ai_addr = (struct sockaddr *)&one->address,
                                   .ai_addrlen = sizeof one->address };
    *found = &one->info;
    return 0;
}

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name) */
void freeaddrinfo(struct addrinfo *found)
{
    free(found);
}

static void a_name_has_its_address_and_port(void **state)
{
    const struct addrinfo *found = NULL;

    (void)state;
    let_servers_answer(true);
    struct lookup *l = lookup_start("db.test", 5432);
    assert_non_null(l);
    assert_int_equal(lookup_wait(l, clock_ms() + LONG_MS, -1, &found), 0);
    assert_non_null(found);
    assert_int_equal(
        ntohs(((const struct sockaddr_in *)(const void *)found->ai_addr)->sin_port), 5432);
    assert_int_equal(lookup_wait(l, clock_ms(), -1, &found), 0); /* and has it still */
    assert_non_null(found);
    lookup_free(l);
}

static void a_name_that_does_not_exist_is_told(void **state)
{
    const struct addrinfo *found = NULL;

    (void)state;
    let_servers_answer(true);
    struct lookup *l = lookup_start("none", 1);
    assert_non_null(l);
    assert_int_equal(lookup_wait(l, clock_ms() + LONG_MS, -1, &found), EAI_NONAME);
    assert_null(found);
    lookup_free(l);
}

static void servers_that_do_not_answer_are_waited_for_in_parts(void **state)
{
    const struct addrinfo *found = NULL;

    (void)state;
    let_servers_answer(false);
    struct lookup *l = lookup_start("db.test", 1);
    assert_non_null(l);
    assert_int_equal(lookup_wait(l, clock_ms() + 20, -1, &found), -ETIMEDOUT);
    assert_int_equal(lookup_wait(l, clock_ms() - 1, -1, &found), -ETIMEDOUT);
    let_servers_answer(true);
    assert_int_equal(lookup_wait(l, clock_ms() + LONG_MS, -1, &found), 0);
    assert_non_null(found);
    lookup_free(l);
}

static void the_wait_ends_when_it_is_woken(void **state)
{
    const struct addrinfo *found = NULL;
    int wake_fd = eventfd(1, EFD_CLOEXEC);
    int64_t began_ms = clock_ms();

    (void)state;
    assert_true(wake_fd >= 0);
    let_servers_answer(false);
    struct lookup *l = lookup_start("db.test", 1);
    assert_non_null(l);
    assert_int_equal(lookup_wait(l, began_ms + LONG_MS, wake_fd, &found), -ETIMEDOUT);
    assert_true(clock_ms() < began_ms + LONG_MS);
    let_servers_answer(true);
    lookup_free(l);
    (void)close(wake_fd);
}

static void one_that_is_left_behind_frees_itself(void **state)
{
    unsigned before;

    (void)state;
    let_servers_answer(false);
    before = answered;
    struct lookup *l = lookup_start("db.test", 1);
    assert_non_null(l);
    lookup_free(l);
    lookup_free(NULL);
    let_servers_answer(true);
    await_answers(before + 1);
}

static size_t threads(void)
{
    DIR *d = opendir("/proc/self/task");
    size_t n = 0;

    assert_non_null(d);
    while (readdir(d) != NULL) /* NOLINT(concurrency-mt-unsafe): of its own directory */
        n++;
    (void)closedir(d);
    return n;
}

static size_t threads_before;

static int start(void **state)
{
    (void)state;
    threads_before = threads();
    return 0;
}

/* Nobody can join one that was left behind: what looks for leaks at the end would find its
 * stack. */
static int await_threads(void **state)
{
    int64_t until_ms = clock_ms() + LONG_MS / 3;

    (void)state;
    while (threads() > threads_before && clock_ms() < until_ms)
        (void)sched_yield();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_has_its_address_and_port),
        cmocka_unit_test(a_name_that_does_not_exist_is_told),
        cmocka_unit_test(servers_that_do_not_answer_are_waited_for_in_parts),
        cmocka_unit_test(the_wait_ends_when_it_is_woken),
        cmocka_unit_test(one_that_is_left_behind_frees_itself),
    };

    return cmocka_run_group_tests(tests, start, await_threads);
}

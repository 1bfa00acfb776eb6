/* A ledger's store for one test, and payments that use it. */
#include "store.h"

#include <dirent.h>
#include <limits.h>
#include <unistd.h>

void store_make(struct store *s, const char *more)
{
    char name[] = "store-XXXXXX", whole[PATH_MAX], config[320];

    assert_non_null(mkdtemp(name));
    assert_non_null(realpath(name, whole));
    assert_true(strlen(whole) < sizeof s->dir - 32);
    memcpy(s->dir, whole, strlen(whole) + 1);
    int n = snprintf(s->settings, sizeof s->settings, "ledger.store = sqlite:%s/ledger.db\n%s",
                     s->dir, more == NULL ? "" : more);
    assert_true(n > 0 && (size_t)n < sizeof s->settings);
    struct bytes ini =
        world_ini("http://127.0.0.1:1/v0", "http://127.0.0.1:1/v0/token", s->settings);

    (void)snprintf(config, sizeof config, "%s/init.ini", s->dir);
    write_file(config, bytes_text(&ini));
    bytes_free(&ini);
    const char *argv[] = { "ledger", "init", "--config", config, NULL };
    struct run r = run_proxy(argv, NULL);

    if (r.code != 0)
        fail_msg("ledger init left with %d: %s%s", r.code, bytes_text(&r.out),
                 bytes_text(&r.err));
    run_free(&r);
}

void store_remove(struct store *s)
{
    DIR *d = s->dir[0] == '\0' ? NULL : opendir(s->dir);

    if (d == NULL)
        return;
    for (const struct dirent *e; (e = readdir(d)) != NULL;)
        (void)unlinkat(dirfd(d), e->d_name, 0);
    (void)closedir(d);
    (void)rmdir(s->dir);
    s->dir[0] = '\0';
}

void store_pay(const struct world *w, const char *key, struct answer *a)
{
    char field[128];

    (void)snprintf(field, sizeof field, "Idempotency-Key: %s\r\n", key);
    http_call(w->port, "POST", PATH, field, PAY, a);
}

int store_pay_status(const struct world *w, const char *key)
{
    struct answer a = { 0 };

    store_pay(w, key, &a);
    int status = a.status;

    answer_free(&a);
    return status;
}

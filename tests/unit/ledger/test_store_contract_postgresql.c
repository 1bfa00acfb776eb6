/* The contract of all stores, with the store in PostgreSQL against a real server. What only
 * that store does is in test_store_postgresql.c. */
#include "ledger/store_contract.h"
#include "ledger/store_postgresql.h"
#include "postgres.h"

#define DATABASE "contract"

static struct postgres *server;

/* The server's clock counts, so its entries are made older. */
static void age(int64_t ms)
{
    char sql[128];

    (void)snprintf(sql, sizeof sql, "UPDATE ledger_entry SET lease_ms = lease_ms - %lld",
                   (long long)ms);
    (void)postgres_ask(server, DATABASE, sql);
}

static int setup(void **state)
{
    static struct fixture f;
    const struct store_options o = { .url = postgres_url(server, DATABASE),
                                     .instance = "test",
                                     .timeout_ms = 30000 };
    struct buf error;

    buf_init(&error, 4096);
    f = (struct fixture){ .type = &store_postgresql, .age = age };
    (void)postgres_ask(server, DATABASE, "DROP TABLE IF EXISTS ledger_meta, ledger_entry");
    if (f.type->init(&o, &error) != STORE_OK || f.type->open(&f.store, &o, &error) != STORE_OK)
        fail_msg("%s", buf_text(&error));
    buf_done(&error);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    store_postgresql.close(fixture_of(state)->store);
    return 0;
}

static int start(void **state)
{
    (void)state;
    server = postgres_start(NULL);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    postgres_stop(server);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = { CONTRACT_TESTS(setup, teardown) };

    return cmocka_run_group_tests(tests, start, stop);
}

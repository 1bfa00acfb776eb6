#pragma once
/* The endpoints: which path is whose, and what the handlers share. */
#include <stdbool.h>
#include <stdint.h>

#include "reply.h"
#include "store.h"

/* One request, authenticated. Everything belongs to the caller. */
struct call {
    struct store *store;
    const char *id;           /* the variable segment of the path, or NULL */
    struct json_object *body; /* an object, empty where none was sent */
    const char *(*query)(void *ctx, const char *name); /* NULL where absent */
    void *query_ctx;
};

/* Answers METHOD and the path below the base path. `*executed` is set when the call moved
 * money and was accepted. */
struct reply api_handle(struct call *call, const char *method, const char *path,
                        bool *executed);

/* A query parameter that is a positive number: returns false when it is there and is not
 * one; an absent one leaves the value alone. */
bool api_query_number(const struct call *call, const char *name, int64_t *value);

/* A page of the objects that `keep` likes, in the API's frame, by the call's page and
 * pageSize; 422 when these are no numbers. */
struct reply api_page(const struct call *call, const struct json_object *list,
                      bool (*keep)(const struct call *call, const struct json_object *object));

/* Whether the query parameter `name` is absent, or equals the object's member. */
bool api_matches(const struct call *call, const struct json_object *object, const char *name);

struct reply chains_list(const struct call *call);
struct reply chains_fees(const struct call *call);
bool chains_has(int64_t chain_id);

struct reply wallets_list(const struct call *call);
struct reply wallets_create(const struct call *call);
struct reply wallets_get(const struct call *call);
struct reply wallets_update(const struct call *call);
struct reply wallets_delete(const struct call *call);
struct reply wallets_transfer(const struct call *call);

/* Whether the method only reads: view or pure. */
bool methods_is_read(const struct json_object *method);
struct reply methods_list(const struct call *call);
struct reply methods_create(const struct call *call);
struct reply methods_get(const struct call *call);
struct reply methods_update(const struct call *call);
struct reply methods_delete(const struct call *call);
struct reply methods_execute(const struct call *call);
struct reply methods_execute_batch(const struct call *call);
struct reply methods_test(const struct call *call);
struct reply methods_encode(const struct call *call);
struct reply methods_estimate(const struct call *call);
struct reply methods_read(const struct call *call);

struct reply transactions_list(const struct call *call);
struct reply transactions_get(const struct call *call);

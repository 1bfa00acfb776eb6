/* Transactions. No chain is behind them; each look at one takes it a step further:
 * Pending -> Submitted -> Completed, so that a client's polling comes to an end. */
#include "transactions.h"

#include <string.h>
#include <time.h>

struct reply transactions_submit(const struct call *call, const struct transaction_order *order)
{
    struct json_object *json = json_object_new_object();
    struct json_object *first = json_object_array_get_idx(order->method_ids, 0);
    char id[STORE_UUID_SIZE];

    store_make_uuid(id);
    store_set_text(json, "id", id);
    /* Clients of 2025 require contractMethodId, the API of 2026 has contractMethodIds. */
    store_set_text(json, "contractMethodId",
                   first ? json_object_get_string(first) : STORE_METHOD_NATIVE);
    json_object_object_add(json, "contractMethodIds", order->method_ids);
    store_set_text(json, "apiCredentialId", STORE_CREDENTIAL);
    store_set_text(json, "apiKey", call->store->client_id);
    store_set_text(json, "userId", NULL);
    store_set_text(json, "status", "Pending");
    store_set_text(json, "transactionHash", NULL);
    store_set_text(json, "contractAddress", order->contract_address);
    store_set_text(json, "name", order->name);
    store_set_text(json, "functionName", order->function_name);
    json_object_object_add(json, "chainId", json_object_new_int64(order->chain_id));
    store_set_text(json, "memo", order->memo);
    json_object_object_add(json, "completed", NULL);
    store_set_text(json, "walletId", store_text(order->wallet, "id"));
    store_set_text(json, "failureReason", NULL);
    store_set_text(json, "from", store_text(order->wallet, "accountAddress"));
    store_set_text(json, "to", order->to);
    store_set_text(json, "gasPrice", NULL);
    store_set_text(json, "gasLimit", "65000");
    store_set_text(json, "maxFeePerGas", "1500000");
    store_set_text(json, "maxPriorityFeePerGas", "1000000");
    store_stamp(json, true);
    json_object_object_add(json, "deleted", json_object_new_boolean(false));
    store_add(call->store->transactions, json);
    return reply_ok(json_object_get(json));
}

static void advance(struct json_object *transaction)
{
    const char *status = store_text(transaction, "status");
    char hash[STORE_HASH_SIZE];

    if (strcmp(status, "Pending") == 0) {
        store_make_hex(hash, sizeof(hash));
        store_set_text(transaction, "transactionHash", hash);
        store_set_text(transaction, "status", "Submitted");
    } else if (strcmp(status, "Submitted") == 0) {
        store_set_text(transaction, "status", "Completed");
        store_set_text(transaction, "gasUsed", "51203");
        json_object_object_add(transaction, "completed", json_object_new_int64(time(NULL)));
        json_object_object_add(transaction, "logs", json_object_new_array());
    } else {
        return;
    }
    store_stamp(transaction, false);
}

struct reply transactions_get(const struct call *call)
{
    struct json_object *transaction = store_find(call->store->transactions, call->id);

    if (!transaction)
        return reply_not_found("Transaction");
    advance(transaction);
    return reply_ok(json_object_get(transaction));
}

static bool wanted(const struct call *call, const struct json_object *transaction)
{
    int64_t created = store_number(transaction, "created");
    int64_t after = INT64_MIN, before = INT64_MAX;

    /* Every transaction belongs to the one business whose credential made it. */
    if (strcmp(call->id, STORE_BUSINESS) != 0 ||
        !api_query_number(call, "createdAfter", &after) ||
        !api_query_number(call, "createdBefore", &before))
        return false;
    return created >= after && created <= before && api_matches(call, transaction, "chainId") &&
           api_matches(call, transaction, "status") &&
           api_matches(call, transaction, "walletId") &&
           api_matches(call, transaction, "contractMethodId") &&
           api_matches(call, transaction, "apiCredentialId") &&
           api_matches(call, transaction, "userId") && api_matches(call, transaction, "memo");
}

struct reply transactions_list(const struct call *call)
{
    return api_page(call, call->store->transactions, wanted);
}

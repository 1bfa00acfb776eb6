/* Wallets. */
#include <string.h>

#include "transactions.h"

static bool wanted(const struct call *call, const struct json_object *wallet)
{
    return strcmp(store_text(wallet, "businessId"), call->id) == 0 &&
           api_matches(call, wallet, "chainId") && api_matches(call, wallet, "name");
}

struct reply wallets_list(const struct call *call)
{
    return api_page(call, call->store->wallets, wanted);
}

/* The answer has its own balance, so that the stored wallet stays without. */
static struct json_object *with_balance(const struct json_object *wallet)
{
    struct json_object *balance = json_object_new_object();
    struct json_object *copy = json_object_new_object();

    json_object_object_add(balance, "type", json_object_new_int(0));
    store_set_text(balance, "ticker", "ETH");
    json_object_object_add(balance, "chainId",
                           json_object_new_int64(store_number(wallet, "chainId")));
    store_set_text(balance, "tokenAddress", "");
    store_set_text(balance, "accountAddress", store_text(wallet, "accountAddress"));
    store_set_text(balance, "balance", "250000000000000000");
    json_object_object_add(balance, "decimals", json_object_new_int(18));
    json_object_object_foreach((struct json_object *)wallet, name, member)
    {
        json_object_object_add(copy, name, json_object_get(member));
    }
    json_object_object_add(copy, "accountBalanceDetails", balance);
    return copy;
}

struct reply wallets_create(const struct call *call)
{
    const char *name = store_text(call->body, "name");
    const char *description = store_text(call->body, "description");
    int64_t chain = store_number(call->body, "chainId");
    char id[STORE_UUID_SIZE], address[STORE_ADDRESS_SIZE];
    struct json_object *wallet;

    if (!chains_has(chain))
        return reply_parameter("chainId", "EChain",
                               json_object_object_get(call->body, "chainId"));
    if (!name)
        return reply_parameter("name", "string", json_object_object_get(call->body, "name"));

    wallet = json_object_new_object();
    store_make_uuid(id);
    store_make_hex(address, sizeof(address));
    store_set_text(wallet, "id", id);
    store_set_text(wallet, "accountAddress", address);
    store_set_text(wallet, "businessId", call->id);
    store_set_text(wallet, "userId", NULL);
    json_object_object_add(wallet, "chainId", json_object_new_int64(chain));
    store_set_text(wallet, "name", name);
    store_set_text(wallet, "description", description ? description : "");
    json_object_object_add(wallet, "isAdmin", json_object_new_boolean(false));
    json_object_object_add(wallet, "accountBalanceDetails", NULL);
    store_stamp(wallet, true);
    store_add(call->store->wallets, wallet);
    return reply_ok(json_object_get(wallet));
}

struct reply wallets_get(const struct call *call)
{
    struct json_object *wallet = store_find(call->store->wallets, call->id);
    const char *balances = call->query(call->query_ctx, "includeBalances");

    if (!wallet)
        return reply_not_found("Wallet");
    if (balances && strcmp(balances, "true") == 0)
        return reply_ok(with_balance(wallet));
    return reply_ok(json_object_get(wallet));
}

struct reply wallets_update(const struct call *call)
{
    struct json_object *wallet = store_find(call->store->wallets, call->id);
    const char *name = store_text(call->body, "name");
    const char *description = store_text(call->body, "description");

    if (!wallet)
        return reply_not_found("Wallet");
    if (name)
        store_set_text(wallet, "name", name);
    if (description)
        store_set_text(wallet, "description", description);
    store_stamp(wallet, false);
    return reply_ok(json_object_get(wallet));
}

struct reply wallets_delete(const struct call *call)
{
    struct json_object *json;

    if (!store_remove(call->store->wallets, call->id))
        return reply_not_found("Wallet");
    json = json_object_new_object();
    json_object_object_add(json, "success", json_object_new_boolean(true));
    return reply_ok(json);
}

struct reply wallets_transfer(const struct call *call)
{
    struct json_object *wallet = store_find(call->store->wallets, call->id);
    const char *to = store_text(call->body, "destinationAccountAddress");
    struct transaction_order order;

    if (!wallet)
        return reply_not_found("Wallet");
    if (!to)
        return reply_parameter("destinationAccountAddress", "string",
                               json_object_object_get(call->body, "destinationAccountAddress"));
    order = (struct transaction_order){
        .wallet = wallet,
        .name = "Native transfer",
        .function_name = "transfer",
        .contract_address = to,
        .to = to,
        .memo = store_text(call->body, "memo"),
        .chain_id = store_number(wallet, "chainId"),
        .method_ids = json_object_new_array(),
    };
    return transactions_submit(call, &order);
}

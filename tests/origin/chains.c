/* The chains, and what a transaction costs on them. */
#include <stdlib.h>
#include <string.h>

#include "api.h"

static const struct chain {
    int64_t id;
    const char *name, *type, *currency, *symbol;
    double block_s;
    const char *gas_price;         /* where EIP-1559 does not apply, else NULL */
    const char *max_fee, *max_tip; /* where it does */
} chains[] = {
    { 1, "Ethereum", "Mainnet", "Ether", "ETH", 12, NULL, "30000000000", "2000000000" },
    { 56, "BNB Smart Chain", "Mainnet", "BNB", "BNB", 3, "3000000000", NULL, NULL },
    { 137, "Polygon", "Mainnet", "POL", "POL", 2, NULL, "60000000000", "30000000000" },
    { 8453, "Base", "Mainnet", "Ether", "ETH", 2, NULL, "12000000", "1000000" },
    { 42161, "Arbitrum One", "Mainnet", "Ether", "ETH", 0.25, NULL, "20000000", "0" },
    { 84532, "Base Sepolia", "Testnet", "Sepolia Ether", "ETH", 2, NULL, "1500000", "1000000" },
    { 11155111, "Sepolia", "Testnet", "Sepolia Ether", "ETH", 12, NULL, "2500000000",
      "1500000000" },
};

enum { CHAINS = sizeof(chains) / sizeof(chains[0]) };

static const struct chain *find(int64_t id)
{
    for (size_t i = 0; i < CHAINS; i++) {
        if (chains[i].id == id)
            return &chains[i];
    }
    return NULL;
}

bool chains_has(int64_t chain_id)
{
    return find(chain_id) != NULL;
}

static struct json_object *chain_json(const struct chain *chain)
{
    struct json_object *json = json_object_new_object();
    struct json_object *currency = json_object_new_object();

    store_set_text(currency, "name", chain->currency);
    store_set_text(currency, "symbol", chain->symbol);
    json_object_object_add(currency, "decimals", json_object_new_int(18));
    store_set_text(json, "name", chain->name);
    json_object_object_add(json, "chainId", json_object_new_int64(chain->id));
    json_object_object_add(json, "averageBlockMiningTime",
                           json_object_new_double(chain->block_s));
    json_object_object_add(json, "nativeCurrency", currency);
    store_set_text(json, "type", chain->type);
    return json;
}

static bool any(const struct call *call, const struct json_object *object)
{
    (void)call;
    (void)object;
    return true;
}

struct reply chains_list(const struct call *call)
{
    struct json_object *list = json_object_new_array();
    struct reply reply;

    for (size_t i = 0; i < CHAINS; i++)
        json_object_array_add(list, chain_json(&chains[i]));
    reply = api_page(call, list, any);
    json_object_put(list);
    return reply;
}

struct reply chains_fees(const struct call *call)
{
    char *end;
    const struct chain *chain = find(strtol(call->id, &end, 10));
    struct json_object *json;

    if (*end || !chain) {
        struct json_object *given = json_object_new_string(call->id);
        struct reply reply = reply_parameter("chainId", "EChain", given);

        json_object_put(given);
        return reply;
    }
    json = json_object_new_object();
    store_set_text(json, "gasPrice", chain->gas_price);
    store_set_text(json, "maxFeePerGas", chain->max_fee);
    store_set_text(json, "maxPriorityFeePerGas", chain->max_tip);
    return reply_ok(json);
}

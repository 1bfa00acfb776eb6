/* Calling contract methods: for real, which makes a transaction, or only to see. */
#include <stdlib.h>
#include <string.h>

#include "abi.h"
#include "transactions.h"

/* Finds the method and checks that `body` has a value for each of its inputs. Returns
 * NULL with the answer in *refusal when one of these fails. */
static struct json_object *prepare(const struct call *call, const char *id,
                                   const struct json_object *body, struct reply *refusal)
{
    struct json_object *method = store_find(call->store->methods, id);
    struct json_object *params = json_object_object_get(body, "params");
    struct json_object *inputs;

    if (!method) {
        *refusal = reply_not_found("Contract Method");
        return NULL;
    }
    inputs = json_object_object_get(method, "inputs");
    for (size_t i = 0; i < json_object_array_length(inputs); i++) {
        const struct json_object *input = json_object_array_get_idx(inputs, i);
        const char *name = store_text(input, "name");

        if (!store_text(input, "value") && !json_object_object_get(params, name)) {
            *refusal = reply_parameter(name, store_text(input, "type"), NULL);
            return NULL;
        }
    }
    if (store_text(body, "value") &&
        strcmp(store_text(method, "stateMutability"), "payable") != 0) {
        *refusal = reply_invalid("The method is not payable");
        return NULL;
    }
    return method;
}

/* The wallet that pays: the one named in the call, else the method's own. */
static struct json_object *payer(const struct call *call, const struct json_object *method,
                                 struct reply *refusal)
{
    const char *id = store_text(call->body, "walletId");
    struct json_object *wallet =
        store_find(call->store->wallets, id ? id : store_text(method, "walletId"));

    if (!wallet)
        *refusal = reply_not_found("Wallet");
    return wallet;
}

static struct reply submit(const struct call *call, const struct json_object *method,
                           struct json_object *method_ids)
{
    const char *address = store_text(call->body, "contractAddress");
    struct reply refusal;
    struct transaction_order order = {
        .wallet = payer(call, method, &refusal),
        .name = store_text(method, "name"),
        .function_name = store_text(method, "functionName"),
        .contract_address = address ? address : store_text(method, "contractAddress"),
        .memo = store_text(call->body, "memo"),
        .chain_id = store_number(method, "chainId"),
        .method_ids = method_ids,
    };

    order.to = order.contract_address;
    if (order.wallet)
        return transactions_submit(call, &order);
    json_object_put(method_ids);
    return refusal;
}

struct reply methods_execute(const struct call *call)
{
    struct reply refusal;
    struct json_object *method = prepare(call, call->id, call->body, &refusal);
    struct json_object *ids;

    if (!method)
        return refusal;
    if (methods_is_read(method))
        return reply_invalid("Use read for view and pure methods");
    ids = json_object_new_array();
    json_object_array_add(ids, json_object_new_string(call->id));
    return submit(call, method, ids);
}

struct reply methods_execute_batch(const struct call *call)
{
    struct json_object *batch = json_object_object_get(call->body, "contractMethods");
    struct json_object *ids, *method = NULL;
    struct reply refusal;

    if (!json_object_is_type(batch, json_type_array) || json_object_array_length(batch) == 0)
        return reply_parameter("contractMethods", "array", batch);
    ids = json_object_new_array();
    for (size_t i = 0; i < json_object_array_length(batch); i++) {
        struct json_object *item = json_object_array_get_idx(batch, i);
        const char *id = store_text(item, "contractMethodId");

        method = prepare(call, id ? id : "", item, &refusal);
        if (!method) {
            json_object_put(ids);
            return refusal;
        }
        json_object_array_add(ids, json_object_new_string(id));
    }
    return submit(call, method, ids);
}

struct reply methods_test(const struct call *call)
{
    struct reply refusal;
    struct json_object *method = prepare(call, call->id, call->body, &refusal);
    struct json_object *json, *result;

    if (!method)
        return refusal;
    result = abi_result(method);
    if (!json_object_is_type(result, json_type_object)) {
        struct json_object *bare = result;

        result = json_object_new_object();
        json_object_object_add(result, "0", bare);
    }
    json = json_object_new_object();
    json_object_object_add(json, "success", json_object_new_boolean(true));
    json_object_object_add(json, "result", result);
    json_object_object_add(json, "error", NULL);
    return reply_ok(json);
}

struct reply methods_encode(const struct call *call)
{
    struct reply refusal;
    struct json_object *method = prepare(call, call->id, call->body, &refusal);
    struct json_object *json;
    char *data;

    if (!method)
        return refusal;
    data = abi_encode(method, json_object_object_get(call->body, "params"));
    json = json_object_new_object();
    store_set_text(json, "data", data);
    free(data);
    return reply_ok(json);
}

struct reply methods_estimate(const struct call *call)
{
    struct reply refusal;
    struct json_object *method = prepare(call, call->id, call->body, &refusal);
    struct json_object *json;

    if (!method)
        return refusal;
    json = json_object_new_object();
    json_object_object_add(json, "chainId",
                           json_object_new_int64(store_number(method, "chainId")));
    store_set_text(json, "contractAddress", store_text(method, "contractAddress"));
    store_set_text(json, "functionName", store_text(method, "functionName"));
    store_set_text(json, "gasAmount", "51203");
    store_set_text(json, "maxFeePerGas", "1500000");
    store_set_text(json, "maxPriorityFeePerGas", "1000000");
    store_set_text(json, "gasPrice", NULL);
    return reply_ok(json);
}

struct reply methods_read(const struct call *call)
{
    struct reply refusal;
    struct json_object *method = prepare(call, call->id, call->body, &refusal);

    if (!method)
        return refusal;
    if (!methods_is_read(method))
        return reply_invalid("Use execute for methods that write");
    return reply_ok(abi_result(method));
}

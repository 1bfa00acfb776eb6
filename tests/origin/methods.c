/* Contract methods: keeping them. Calling them is in calls.c. */
#include <string.h>

#include "params.h"

bool methods_is_read(const struct json_object *method)
{
    const char *mutability = store_text(method, "stateMutability");

    return strcmp(mutability, "view") == 0 || strcmp(mutability, "pure") == 0;
}

static bool wanted(const struct call *call, const struct json_object *method)
{
    const char *type = call->query(call->query_ctx, "methodType");
    const char *status = call->query(call->query_ctx, "status");

    if (type && (strcmp(type, "read") == 0) != methods_is_read(method))
        return false;
    if (status && strcmp(status, "archived") == 0)
        return false; /* a deleted method is gone for good here */
    return strcmp(store_text(method, "businessId"), call->id) == 0 &&
           api_matches(call, method, "chainId") && api_matches(call, method, "name") &&
           api_matches(call, method, "contractAddress") &&
           api_matches(call, method, "promptId");
}

struct reply methods_list(const struct call *call)
{
    return api_page(call, call->store->methods, wanted);
}

static bool is_mutability(const char *text)
{
    return strcmp(text, "nonpayable") == 0 || strcmp(text, "payable") == 0 ||
           strcmp(text, "view") == 0 || strcmp(text, "pure") == 0;
}

/* Returns the name of the first member that a new method lacks, or NULL. */
static const char *missing(const struct json_object *body)
{
    static const char *const texts[] = { "contractAddress", "walletId",     "name",
                                         "description",     "functionName", "stateMutability" };

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (!store_text(body, texts[i]))
            return texts[i];
    }
    if (!is_mutability(store_text(body, "stateMutability")))
        return "stateMutability";
    return store_is_uuid(store_text(body, "walletId")) ? NULL : "walletId";
}

struct reply methods_create(const struct call *call)
{
    const char *lacks = missing(call->body);
    int64_t chain = store_number(call->body, "chainId");
    struct json_object *inputs = json_object_object_get(call->body, "inputs");
    struct json_object *outputs = json_object_object_get(call->body, "outputs");
    struct json_object *method;
    char id[STORE_UUID_SIZE];

    if (lacks)
        return reply_parameter(lacks, "string", json_object_object_get(call->body, lacks));
    if (!chains_has(chain))
        return reply_parameter("chainId", "EChain",
                               json_object_object_get(call->body, "chainId"));
    if (!params_are_valid(inputs))
        return reply_parameter("inputs", "SolidityStructParam[]", inputs);
    if (!params_are_valid(outputs))
        return reply_parameter("outputs", "SolidityStructParam[]", outputs);

    method = json_object_new_object();
    store_make_uuid(id);
    store_set_text(method, "id", id);
    store_set_text(method, "businessId", call->id);
    json_object_object_add(method, "chainId", json_object_new_int64(chain));
    store_set_text(method, "contractAddress", store_text(call->body, "contractAddress"));
    store_set_text(method, "walletId", store_text(call->body, "walletId"));
    store_set_text(method, "name", store_text(call->body, "name"));
    store_set_text(method, "description", store_text(call->body, "description"));
    store_set_text(method, "functionName", store_text(call->body, "functionName"));
    json_object_object_add(method, "inputs", params_stored(inputs, call->id));
    json_object_object_add(method, "outputs", params_stored(outputs, call->id));
    store_set_text(method, "stateMutability", store_text(call->body, "stateMutability"));
    store_set_text(method, "promptId", NULL);
    store_set_text(method, "callbackUrl", store_text(call->body, "callbackUrl"));
    store_set_text(method, "publicKey", NULL);
    store_stamp(method, true);
    store_add(call->store->methods, method);
    return reply_ok(json_object_get(method));
}

struct reply methods_get(const struct call *call)
{
    struct json_object *method = store_find(call->store->methods, call->id);

    return method ? reply_ok(json_object_get(method)) : reply_not_found("Contract Method");
}

struct reply methods_update(const struct call *call)
{
    static const char *const texts[] = { "contractAddress", "walletId",     "name",
                                         "description",     "functionName", "stateMutability",
                                         "callbackUrl" };
    struct json_object *method = store_find(call->store->methods, call->id);
    struct json_object *changes;
    const char *mutability;

    if (!method)
        return reply_not_found("Contract Method");
    /* The specification has the members at the top, the Node SDK sends them in `params`. */
    if (!json_object_object_get_ex(call->body, "params", &changes) ||
        !json_object_is_type(changes, json_type_object))
        changes = call->body;
    mutability = store_text(changes, "stateMutability");
    if (mutability && !is_mutability(mutability))
        return reply_parameter("stateMutability", "string",
                               json_object_object_get(changes, "stateMutability"));
    if (json_object_object_get(changes, "chainId")) {
        struct json_object *chain = json_object_object_get(changes, "chainId");

        if (!chains_has(store_number(changes, "chainId")))
            return reply_parameter("chainId", "EChain", chain);
        json_object_object_add(method, "chainId", json_object_get(chain));
    }
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (store_text(changes, texts[i]))
            store_set_text(method, texts[i], store_text(changes, texts[i]));
    }
    store_stamp(method, false);
    return reply_ok(json_object_get(method));
}

struct reply methods_delete(const struct call *call)
{
    if (!store_remove(call->store->methods, call->id))
        return reply_not_found("Contract Method");
    return reply_ok(NULL); /* 200 without a body, as in the specification */
}

/* The state, and making up believable members for it. */
#include "store.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

/* Bounds the memory of a stand-in that a load test runs against. */
enum { OBJECTS_KEPT = 2000 };

static struct json_object *seed(const char *text)
{
    struct json_object *object = json_tokener_parse(text);

    if (!object)
        abort();
    store_stamp(object, true);
    return object;
}

#define PARAM(name, type, size, index)                                            \
    "{\"id\":\"7c1e5a52-3f0b-4d7e-9a54-0d2f6c8b2e0" index                         \
    "\",\"structId\":\"7c1e5a52-3f0b-4d7e-9a54-0d2f6c8b3e01\",\"name\":\"" name   \
    "\",\"description\":null,\"type\":\"" type "\",\"index\":" index              \
    ",\"value\":null,\"typeSize\":" size ",\"typeSize2\":null,\"isArray\":false," \
    "\"arraySize\":null,\"typeStructId\":null}"

#define METHOD(id, name, description, function, mutability, inputs, outputs)             \
    "{\"id\":\"" id "\",\"businessId\":\"" STORE_BUSINESS "\",\"chainId\":84532,"        \
    "\"contractAddress\":\"0x4200000000000000000000000000000000000006\",\"walletId\":"   \
    "\"" STORE_WALLET "\",\"name\":\"" name "\",\"description\":\"" description          \
    "\",\"functionName\":\"" function "\",\"inputs\":[" inputs "],\"outputs\":[" outputs \
    "],\"stateMutability\":\"" mutability                                                \
    "\",\"promptId\":null,\"callbackUrl\":null,\"publicKey\":null}"

static const char wallet_json[] =
    "{\"id\":\"" STORE_WALLET
    "\",\"accountAddress\":\"0x52908400098527886e0f7030069857d2e4169ee7\","
    "\"businessId\":\"" STORE_BUSINESS "\",\"userId\":null,\"chainId\":84532,"
    "\"name\":\"Treasury\",\"description\":\"Pays for gas\",\"isAdmin\":true,"
    "\"accountBalanceDetails\":null}";

static const char *const method_json[] = {
    METHOD(STORE_METHOD_TRANSFER, "Transfer WETH", "Moves wrapped ether to another account",
           "transfer", "nonpayable",
           PARAM("to", "address", "null", "0") "," PARAM("value", "uint", "256", "1"),
           PARAM("success", "bool", "null", "0")),
    METHOD(STORE_METHOD_BALANCE, "WETH balance", "How much wrapped ether an account holds",
           "balanceOf", "view", PARAM("account", "address", "null", "0"),
           PARAM("balance", "uint", "256", "0")),
    METHOD(STORE_METHOD_DEPOSIT, "Wrap ether", "Turns ether into wrapped ether", "deposit",
           "payable", "", ""),
};

struct store *store_new(const char *client_id)
{
    struct store *store = calloc(1, sizeof(*store));

    if (!store)
        abort();
    store->client_id = client_id;
    store->wallets = json_object_new_array();
    store->methods = json_object_new_array();
    store->transactions = json_object_new_array();
    store_add(store->wallets, seed(wallet_json));
    for (size_t i = 0; i < sizeof(method_json) / sizeof(method_json[0]); i++)
        store_add(store->methods, seed(method_json[i]));
    return store;
}

void store_free(struct store *store)
{
    if (!store)
        return;
    json_object_put(store->wallets);
    json_object_put(store->methods);
    json_object_put(store->transactions);
    free(store);
}

void store_add(struct json_object *list, struct json_object *object)
{
    if (json_object_array_length(list) >= OBJECTS_KEPT)
        json_object_array_del_idx(list, 0, 1);
    json_object_array_add(list, object);
}

static size_t find_index(const struct json_object *list, const char *id)
{
    size_t count = json_object_array_length(list);

    for (size_t i = 0; i < count; i++) {
        const char *other = store_text(json_object_array_get_idx(list, i), "id");

        if (other && strcmp(other, id) == 0)
            return i;
    }
    return count;
}

struct json_object *store_find(const struct json_object *list, const char *id)
{
    size_t index = find_index(list, id);

    return index < json_object_array_length(list) ? json_object_array_get_idx(list, index)
                                                  : NULL;
}

bool store_remove(struct json_object *list, const char *id)
{
    size_t index = find_index(list, id);

    return index < json_object_array_length(list) &&
           json_object_array_del_idx(list, index, 1) == 0;
}

const char *store_text(const struct json_object *object, const char *name)
{
    struct json_object *member;

    if (!json_object_object_get_ex(object, name, &member) ||
        !json_object_is_type(member, json_type_string))
        return NULL;
    return json_object_get_string(member);
}

int64_t store_number(const struct json_object *object, const char *name)
{
    struct json_object *member;

    if (!json_object_object_get_ex(object, name, &member) ||
        !json_object_is_type(member, json_type_int))
        return 0;
    return json_object_get_int64(member);
}

void store_set_text(struct json_object *object, const char *name, const char *value)
{
    json_object_object_add(object, name, value ? json_object_new_string(value) : NULL);
}

void store_stamp(struct json_object *object, bool created)
{
    int64_t now = time(NULL);

    json_object_object_add(object, "updated", json_object_new_int64(now));
    if (created)
        json_object_object_add(object, "created", json_object_new_int64(now));
}

bool store_is_uuid(const char *text)
{
    for (size_t i = 0; i < STORE_UUID_SIZE - 1; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;

        if (dash ? text[i] != '-' : !isxdigit((unsigned char)text[i]))
            return false;
    }
    return text[STORE_UUID_SIZE - 1] == '\0';
}

static void random_hex(char *out, size_t digits)
{
    for (size_t i = 0; i < digits; i++) {
        unsigned char byte;

        if (getrandom(&byte, 1, 0) != 1)
            abort();
        out[i] = "0123456789abcdef"[byte & 15];
    }
    out[digits] = '\0';
}

void store_make_uuid(char out[STORE_UUID_SIZE])
{
    random_hex(out, STORE_UUID_SIZE - 1);
    out[8] = out[13] = out[18] = out[23] = '-';
    out[14] = '4'; /* version 4: random */
    out[19] = 'a'; /* the variant of RFC 4122 */
}

void store_make_hex(char *out, size_t size)
{
    out[0] = '0';
    out[1] = 'x';
    random_hex(out + 2, size - 3);
}

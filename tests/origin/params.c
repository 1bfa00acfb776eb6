/* Solidity parameters: checking new ones and filling them in. A parameter may hold a struct,
 * which holds parameters again; how deep is bounded by the JSON parser. */
#include "params.h"

#include <string.h>

static bool is_type(const char *text)
{
    static const char *const types[] = { "address", "bool", "bytes", "int",
                                         "string",  "uint", "struct" };

    for (size_t i = 0; text && i < sizeof(types) / sizeof(types[0]); i++) {
        if (strcmp(types[i], text) == 0)
            return true;
    }
    return false;
}

static bool is_param(const struct json_object *param)
{
    struct json_object *inner = json_object_object_get(param, "typeStruct");
    const char *type = store_text(param, "type");

    if (!json_object_is_type(param, json_type_object) || !store_text(param, "name") ||
        !is_type(type) ||
        !json_object_is_type(json_object_object_get(param, "index"), json_type_int))
        return false;
    if (inner && !(json_object_is_type(inner, json_type_object) &&
                   params_are_valid(json_object_object_get(inner, "params"))))
        return false;
    return strcmp(type, "struct") != 0 || inner || store_text(param, "typeStructId");
}

bool params_are_valid(struct json_object *params)
{
    if (!json_object_is_type(params, json_type_array))
        return false;
    for (size_t i = 0; i < json_object_array_length(params); i++) {
        if (!is_param(json_object_array_get_idx(params, i)))
            return false;
    }
    return true;
}

static struct json_object *stored_struct(const struct json_object *from,
                                         const char *business_id)
{
    struct json_object *json = json_object_new_object();
    char id[STORE_UUID_SIZE];

    store_make_uuid(id);
    store_set_text(json, "id", id);
    store_set_text(json, "businessId", business_id);
    store_set_text(json, "name", store_text(from, "name"));
    json_object_object_add(json, "params",
                           params_stored(json_object_object_get(from, "params"), business_id));
    store_stamp(json, true);
    return json;
}

static struct json_object *stored_param(const struct json_object *from, const char *struct_id,
                                        const char *business_id)
{
    static const char *const copied[] = { "name",      "description", "type",
                                          "index",     "value",       "typeSize",
                                          "typeSize2", "arraySize",   "typeStructId" };
    struct json_object *json = json_object_new_object();
    struct json_object *inner = json_object_object_get(from, "typeStruct");
    bool is_array = json_object_get_boolean(json_object_object_get(from, "isArray"));
    char id[STORE_UUID_SIZE];

    store_make_uuid(id);
    store_set_text(json, "id", id);
    store_set_text(json, "structId", struct_id);
    for (size_t i = 0; i < sizeof(copied) / sizeof(copied[0]); i++)
        json_object_object_add(json, copied[i],
                               json_object_get(json_object_object_get(from, copied[i])));
    json_object_object_add(json, "isArray", json_object_new_boolean(is_array));
    if (inner) {
        struct json_object *type = stored_struct(inner, business_id);

        store_set_text(json, "typeStructId", store_text(type, "id"));
        json_object_object_add(json, "typeStruct", type);
    }
    return json;
}

struct json_object *params_stored(struct json_object *params, const char *business_id)
{
    struct json_object *list = json_object_new_array();
    char struct_id[STORE_UUID_SIZE];

    store_make_uuid(struct_id);
    for (size_t i = 0; i < json_object_array_length(params); i++)
        json_object_array_add(
            list, stored_param(json_object_array_get_idx(params, i), struct_id, business_id));
    return list;
}

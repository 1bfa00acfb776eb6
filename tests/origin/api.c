/* The table of endpoints, and what lists have in common. */
#include "api.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE_SIZE_DEFAULT = 25 };

/* In a path, `*` stands for one segment that is a UUID, `#` for one that is a number. */
static const struct route {
    const char *method, *path;
    struct reply (*handle)(const struct call *call);
    bool moves_money;
} routes[] = {
    { "GET", "/chains", chains_list, false },
    { "GET", "/chains/#/fees", chains_fees, false },
    { "GET", "/business/*/wallets", wallets_list, false },
    { "POST", "/business/*/wallets", wallets_create, false },
    { "GET", "/wallets/*", wallets_get, false },
    { "PUT", "/wallets/*", wallets_update, false },
    { "DELETE", "/wallets/*", wallets_delete, false },
    { "POST", "/wallets/*/transfer", wallets_transfer, true },
    { "GET", "/business/*/methods", methods_list, false },
    { "POST", "/business/*/methods", methods_create, false },
    { "POST", "/methods/executeBatch", methods_execute_batch, true },
    { "GET", "/methods/*", methods_get, false },
    { "PUT", "/methods/*", methods_update, false },
    { "DELETE", "/methods/*", methods_delete, false },
    { "POST", "/methods/*/execute", methods_execute, true },
    { "POST", "/methods/*/test", methods_test, false },
    { "POST", "/methods/*/encode", methods_encode, false },
    { "POST", "/methods/*/estimate", methods_estimate, false },
    { "POST", "/methods/*/read", methods_read, false },
    { "GET", "/business/*/transactions", transactions_list, false },
    { "GET", "/transactions/*", transactions_get, false },
};

/* Returns whether the path has the pattern's shape; the variable segment goes to `id`,
 * which may be too short for it: then it is cut and cannot be a valid id. */
static bool path_fits(const char *pattern, const char *path, char *id, size_t id_size)
{
    for (; *pattern; pattern++) {
        if (*pattern == '*' || *pattern == '#') {
            size_t length = strcspn(path, "/");
            size_t kept = length < id_size ? length : id_size - 1;

            if (length == 0)
                return false;
            memcpy(id, path, kept);
            id[kept] = '\0';
            path += length;
        } else if (*path++ != *pattern) {
            return false;
        }
    }
    return *path == '\0';
}

static struct reply run(const struct route *route, struct call *call)
{
    bool is_number = strchr(route->path, '#') != NULL;

    if (*call->id && !is_number && !store_is_uuid(call->id)) {
        struct json_object *given = json_object_new_string(call->id);
        struct reply reply = reply_parameter("id", "uuid", given);

        json_object_put(given);
        return reply;
    }
    return route->handle(call);
}

struct reply api_handle(struct call *call, const char *method, const char *path, bool *executed)
{
    char id[STORE_UUID_SIZE + 1] = "";

    *executed = false;
    if (strcmp(method, "HEAD") == 0)
        method = "GET";
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        const struct route *route = &routes[i];

        id[0] = '\0';
        if (strcmp(route->method, method) != 0 || !path_fits(route->path, path, id, sizeof(id)))
            continue;
        call->id = id;

        struct reply reply = run(route, call);

        call->id = NULL;
        *executed = route->moves_money && reply.status == 200;
        return reply;
    }
    return reply_not_found("Endpoint");
}

bool api_query_number(const struct call *call, const char *name, int64_t *value)
{
    const char *text = call->query(call->query_ctx, name);
    char *end;
    long number;

    if (!text)
        return true;
    errno = 0;
    number = strtol(text, &end, 10);
    if (errno || end == text || *end || number < 1)
        return false;
    *value = number;
    return true;
}

bool api_matches(const struct call *call, const struct json_object *object, const char *name)
{
    const char *wanted = call->query(call->query_ctx, name);
    struct json_object *member;

    if (!wanted)
        return true;
    if (!json_object_object_get_ex(object, name, &member) || !member)
        return false;
    return strcmp(json_object_get_string(member), wanted) == 0;
}

static struct reply query_refused(const struct call *call, const char *name)
{
    struct json_object *given = json_object_new_string(call->query(call->query_ctx, name));
    struct reply reply = reply_parameter(name, "number", given);

    json_object_put(given);
    return reply;
}

struct reply api_page(const struct call *call, const struct json_object *list,
                      bool (*keep)(const struct call *call, const struct json_object *object))
{
    int64_t page = 1, size = PAGE_SIZE_DEFAULT, total = 0;
    size_t count = json_object_array_length(list);
    struct json_object *json, *found;

    if (!api_query_number(call, "page", &page))
        return query_refused(call, "page");
    if (!api_query_number(call, "pageSize", &size))
        return query_refused(call, "pageSize");

    found = json_object_new_array();
    for (size_t i = 0; i < count; i++) {
        struct json_object *object = json_object_array_get_idx(list, i);

        if (!keep(call, object))
            continue;
        if (total / size == page - 1)
            json_object_array_add(found, json_object_get(object));
        total++;
    }
    json = json_object_new_object();
    json_object_object_add(json, "response", found);
    json_object_object_add(json, "page", json_object_new_int64(page));
    json_object_object_add(json, "pageSize", json_object_new_int64(size));
    json_object_object_add(json, "totalResults", json_object_new_int64(total));
    return reply_ok(json);
}

/* Answers in the shapes of the 1Shot API. */
#include "reply.h"

#include <stdbool.h>
#include <stdio.h>

static const struct {
    const char *type, *message;
    unsigned status;
    bool retryable;
} errors[] = {
    { "INVALID_PARAMETERS_ERROR", "The provided parameters are invalid", 400, false },
    { "UnauthenticatedError", "No authentication token provided or invalid", 401, false },
    { "UnauthorizedError", "Insufficient permissions for operation", 403, false },
    { "NotFoundError", "Resource not found", 404, false },
    { "PayloadTooLargeError", "Request body is too large", 413, false },
    { "InvalidApiParametersError", "A parameter is invalid", 422, true },
    { "TooManyRequestsError", "Too many requests", 429, true },
    { "ERR_DATABASE", "Database operation failed", 500, true },
    { "ERR_DATABASE", "Database operation failed", 503, true },
};

static struct reply error_reply(unsigned status, const char *type, const char *message,
                                bool retryable, struct json_object *data)
{
    struct json_object *json = json_object_new_object();

    json_object_object_add(json, "type", json_object_new_string(type));
    json_object_object_add(json, "message", json_object_new_string(message));
    json_object_object_add(json, "data", data);
    json_object_object_add(json, "retryable", json_object_new_boolean(retryable));
    return (struct reply){ .status = status, .json = json };
}

struct reply reply_ok(struct json_object *json)
{
    return (struct reply){ .status = 200, .json = json };
}

struct reply reply_error(unsigned status, const char *type, const char *message,
                         struct json_object *data)
{
    return error_reply(status, type, message, false, data);
}

struct reply reply_invalid(const char *message)
{
    return reply_error(400, "INVALID_PARAMETERS_ERROR", message, NULL);
}

struct reply reply_not_found(const char *what)
{
    char message[96];

    snprintf(message, sizeof(message), "%s not found", what);
    return reply_error(404, "NotFoundError", message, NULL);
}

struct reply reply_parameter(const char *name, const char *type, struct json_object *value)
{
    struct json_object *data = json_object_new_object();
    char message[160];

    json_object_object_add(data, "parameterType", json_object_new_string(type));
    json_object_object_add(data, "parameterName", json_object_new_string(name));
    json_object_object_add(data, "parameterValue", json_object_get(value));
    snprintf(message, sizeof(message), "Parameter %.60s should be of type %s", name, type);
    return error_reply(422, "InvalidApiParametersError", message, true, data);
}

struct reply reply_status(unsigned status)
{
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        if (errors[i].status == status)
            return error_reply(status, errors[i].type, errors[i].message, errors[i].retryable,
                               NULL);
    }
    return error_reply(status, "InternalError", "Something went wrong", status >= 500, NULL);
}

#pragma once
/* What a handler hands back: a status and a JSON value, in the API's own shapes. */
#include <json-c/json.h>

struct reply {
    unsigned status;
    struct json_object *json; /* owned; NULL: an answer without a body */
};

struct reply reply_ok(struct json_object *json);

/* The API's error shape: {"type","message","retryable","data"}. `data` may be NULL and is
 * taken over. */
struct reply reply_error(unsigned status, const char *type, const char *message,
                         struct json_object *data);

/* 400 INVALID_PARAMETERS_ERROR. */
struct reply reply_invalid(const char *message);

/* 404, naming what was looked for. */
struct reply reply_not_found(const char *what);

/* 422 InvalidApiParametersError. Like the real API it repeats the value it was given,
 * which is why a client must not log such an answer. `value` may be NULL and is not taken. */
struct reply reply_parameter(const char *name, const char *type, struct json_object *value);

/* The error the API would send with this status. */
struct reply reply_status(unsigned status);

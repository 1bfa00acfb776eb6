#pragma once
/* Solidity parameters: `inputs` and `outputs` of a contract method. */
#include "api.h"

/* Whether it is an array of parameters as a client may send them. */
bool params_are_valid(struct json_object *params);

/* The same as the API stores and shows them: with ids, every member there, owned by the
 * caller. Takes only what is valid. */
struct json_object *params_stored(struct json_object *params, const char *business_id);

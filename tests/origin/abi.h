#pragma once
/* Enough of the Solidity ABI to answer encode and read believably. */
#include <json-c/json.h>

/* The call's data, "0x…", for a method and its parameters; the caller frees it. */
char *abi_encode(const struct json_object *method, const struct json_object *params);

/* What the function might return: one bare value, or an object of several by name. */
struct json_object *abi_result(const struct json_object *method);

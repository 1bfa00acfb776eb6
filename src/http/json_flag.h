#pragma once
/* The flag that makes json-c accept only JSON (RFC 8259). In strict mode, json-c 0.18 also refuses
 * all characters outside ASCII and numbers that are too large, so from there on the flag is empty:
 * whoever uses it must be able to handle what json-c accepts beyond JSON. */
#include <json-c/json.h>

#if JSON_C_VERSION_NUM < (18 << 8)
#define JSON_FLAG_STRICT JSON_TOKENER_STRICT
#else
#define JSON_FLAG_STRICT 0
#endif

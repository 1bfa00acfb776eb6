#pragma once
/* What the stand-in knows: wallets, contract methods and transactions, kept as the very
 * JSON objects it answers with. One thread only. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "reply.h"

/* The one business, and what exists in it from the start. */
#define STORE_BUSINESS "7c1e5a52-3f0b-4d7e-9a54-0d2f6c8b1e01"
#define STORE_WALLET "7c1e5a52-3f0b-4d7e-9a54-0d2f6c8b1e02"
#define STORE_METHOD_TRANSFER "7c1e5a52-3f0b-4d7e-9a54-0d2f6c8b1e03"
#define STORE_METHOD_BALANCE "7c1e5a52-3f0b-4d7e-9a54-0d2f6c8b1e04"
#define STORE_METHOD_DEPOSIT "7c1e5a52-3f0b-4d7e-9a54-0d2f6c8b1e05"
#define STORE_CREDENTIAL "7c1e5a52-3f0b-4d7e-9a54-0d2f6c8b1e06"
/* Stands in a transaction where no contract method is behind it. */
#define STORE_METHOD_NATIVE "7c1e5a52-3f0b-4d7e-9a54-0d2f6c8b1e07"

struct store {
    struct json_object *wallets, *methods, *transactions; /* arrays */
    const char *client_id;                                /* shown as a transaction's apiKey */
};

struct store *store_new(const char *client_id);
/* Takes NULL. */
void store_free(struct store *store);

/* Puts the object, which is taken over, at the end; the oldest leaves when there are too many.
 */
void store_add(struct json_object *list, struct json_object *object);

/* The object with this id, still the store's, or NULL. */
struct json_object *store_find(const struct json_object *list, const char *id);

/* Returns whether there was one. */
bool store_remove(struct json_object *list, const char *id);

/* Members by name; NULL or 0 where absent or of another type. */
const char *store_text(const struct json_object *object, const char *name);
int64_t store_number(const struct json_object *object, const char *name);

/* Sets a string member; NULL sets null. */
void store_set_text(struct json_object *object, const char *name, const char *value);

/* Sets `created` and `updated`, or `updated` only, to the present Unix time. */
void store_stamp(struct json_object *object, bool created);

bool store_is_uuid(const char *text);

enum { STORE_UUID_SIZE = 37, STORE_ADDRESS_SIZE = 43, STORE_HASH_SIZE = 67 };
void store_make_uuid(char out[STORE_UUID_SIZE]);
/* "0x" and (size - 3) random hex digits: an address or a transaction hash. */
void store_make_hex(char *out, size_t size);

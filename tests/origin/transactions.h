#pragma once
/* Making a transaction, for the handlers that submit one. */
#include "api.h"

struct transaction_order {
    const struct json_object *wallet; /* who pays */
    const char *name, *function_name;
    const char *contract_address, *to;
    const char *memo; /* NULL: none */
    int64_t chain_id;
    struct json_object *method_ids; /* an array, taken over */
};

/* Stores it, and answers with it: status Pending. */
struct reply transactions_submit(const struct call *call,
                                 const struct transaction_order *order);

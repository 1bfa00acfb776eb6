#pragma once
/* Recognises requests that claim to have another method or path. Some servers obey such
 * fields and arguments, so method and path of such a request cannot be trusted. Pure. */
#include "http/header.h"

struct override_request {
    const char *query; /* after the `?`; "" for none */
    const struct header_field *fields;
    size_t count;
    bool has_body;
};

/* Whether the request has a field X-HTTP-Method-Override, X-HTTP-Method, X-Method-Override,
 * X-Original-URL or X-Rewrite-URL (`_` is read as `-`); a query argument named `_method`
 * (decoded, in any case, with or without brackets); or a body with the Content-Type of a
 * form (its arguments could have that name). */
bool override_found(const struct override_request *r);

#pragma once
/* Requests that say they mean another method or path than they show. Some servers obey such
 * fields and arguments, so nothing can be concluded from the method and the path. Pure. */
#include "http/header.h"

struct override_request {
    const char *query; /* behind the `?`; "" for none */
    const struct header_field *fields;
    size_t count;
    bool has_body;
};

/* Whether the request has a field X-HTTP-Method-Override, X-HTTP-Method, X-Method-Override,
 * X-Original-URL or X-Rewrite-URL (with `_` read as `-`), a query argument named `_method` (in
 * any case, once decoded, with or without brackets), or a body whose Content-Type is a form's
 * (whose arguments could be named so). */
bool override_found(const struct override_request *r);

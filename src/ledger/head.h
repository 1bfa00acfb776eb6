#pragma once
/* The fields of an answer that are kept for its replay, as text: lines "Name: value", each with CR LF
 * behind it. Pure. */
#include "base/arena.h"
#include "base/base.h"
#include "base/buf.h"
#include "http/header.h"

/* Of the fields that go to the caller those that are kept, appended: Content-Type, Content-Encoding,
 * Content-Language, Location, ETag, and the upstream's X-Request-Id as X-Original-Request-Id. Never one
 * that holds for one answer or one connection only. Returns 0, -EMSGSIZE or -ENOMEM. */
int ledger_head_write(struct buf *out, const struct header_field *fields,
                      size_t count) MUST_CHECK;

/* The same fields again, and behind them Idempotent-Replayed: true. Names and values end in NUL and
 * lie in the arena. Lines that are none of these fields, as a damaged store may have, are passed over.
 * NULL: no memory. */
struct header_field *ledger_head_read(struct arena *arena, const char *text, size_t len,
                                      size_t *count) MUST_CHECK;

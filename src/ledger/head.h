#pragma once
/* The header fields of an answer that are kept for its replay, as text: lines "Name: value",
 * each ended by CR LF. Pure. */
#include "base/arena.h"
#include "base/base.h"
#include "base/buf.h"
#include "http/header.h"

/* Appends those of the fields for the caller that are kept: Content-Type, Content-Encoding,
 * Content-Language, Location, ETag, and the upstream's X-Request-Id as
 * X-Original-Request-Id; none that belongs to one answer or one connection only. Returns 0,
 * -EMSGSIZE or -ENOMEM. */
int ledger_head_write(struct buf *out, const struct header_field *fields,
                      size_t count) MUST_CHECK;

/* Reads the same fields, and adds Idempotent-Replayed: true. Names and values end in NUL and
 * are in the arena. Other lines, which a damaged store may have, are ignored. NULL: no
 * memory. */
struct header_field *ledger_head_read(struct arena *arena, const char *text, size_t len,
                                      size_t *count) MUST_CHECK;

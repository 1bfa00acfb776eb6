#pragma once
/* Writes the status as Prometheus reads it: its text format, version 0.0.4. Every metric stands
 * in one table in prometheus.c: name, type, labels, help and where its value comes from. */
#include "admin/status.h"
#include "base/base.h"
#include "base/buf.h"

#define PROMETHEUS_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* Appends every metric. Returns 0 or what buf_add says. Thread: any. */
int prometheus_render(const struct status *s, struct buf *out) MUST_CHECK;

/* The table of docs/metrics.md. */
int prometheus_print_markdown(struct buf *out) MUST_CHECK;

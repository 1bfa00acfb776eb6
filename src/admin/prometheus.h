#pragma once
/* Writes the status in Prometheus's text format, version 0.0.4. All metrics are in one table
 * in prometheus.c: name, type, labels, help and source. */
#include "admin/status.h"
#include "base/base.h"
#include "base/buf.h"

#define PROMETHEUS_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* Appends every metric. Returns 0 or the error of buf_add. Thread: any. */
int prometheus_render(const struct status *s, struct buf *out) MUST_CHECK;

/* Prints the table for docs/metrics.md. */
int prometheus_print_markdown(struct buf *out) MUST_CHECK;

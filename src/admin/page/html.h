#pragma once
/* Writes HTML: text from anywhere, times, and numbers in a readable form. Thread: control. */
#include "base/base.h"
#include "base/buf.h"

/* The output. After a failed write nothing more is written, and `err` says why, so it need
 * be checked only at the end. */
struct html {
    struct buf *buf;
    int err;
};

/* Writes HTML unchanged: only for the program's own literals. */
void html_put(struct html *o, const char *html);
void html_putf(struct html *o, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Writes text from anywhere, also inside a quoted attribute: markup is escaped, and a byte
 * that is not printable ASCII is shown as \xNN; only newlines are kept. */
void html_text(struct html *o, const char *text);
/* The same with a capital letter at the beginning. */
void html_sentence(struct html *o, const char *text);
void html_textn(struct html *o, const char *text, size_t n);

/* "850 ms", "12.4 s", "3 min 20 s", "2 h 5 min", "2 h", "6 d 4 h". */
void html_span(struct html *o, int64_t ms);
/* The same followed by " ago"; "just now" below a second. */
void html_ago(struct html *o, int64_t ms);

/* A duration in microseconds: "0.42 ms", "17 ms", "1.3 s". */
void html_latency(struct html *o, double us);

/* <time>, UTC, to the second: for people with the date only if it differs from that of
 * `now_s`; for machines always complete (ISO 8601). */
void html_time(struct html *o, int64_t wall_s, int64_t now_s);

/* A table cell: how long ago, and the time. */
void html_when(struct html *o, int64_t ago_ms, int64_t wall_s, int64_t now_s);

/* <data>: digits in groups of three, the plain number for machines, and the name of the
 * metric with the same value (NULL: none). */
void html_count(struct html *o, uint64_t n, const char *metric);

/* "0", "0.4", "17", "1200": a rate in a readable form. */
void html_rate(struct html *o, double per_s);

/* "12 kB", "3.1 MB" */
void html_bytes(struct html *o, uint64_t n, const char *metric);

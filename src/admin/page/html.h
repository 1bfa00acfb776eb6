#pragma once
/* Writes HTML: text that may come from anyone, times, and numbers as people read them.
 * Thread: control. */
#include "base/base.h"
#include "base/buf.h"

/* Where it goes. After a write that failed nothing more is written, and `err` says why: it need
 * be looked at only at the end. */
struct html {
    struct buf *buf;
    int err;
};

/* HTML as it is: never anything but the program's own words. */
void html_put(struct html *o, const char *html);
void html_putf(struct html *o, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Text of whatever origin, also inside a quoted attribute: markup is escaped, and a byte that
 * is not printable ASCII is shown as \xNN; only line ends stay. */
void html_text(struct html *o, const char *text);
/* The same with a capital at the beginning. */
void html_sentence(struct html *o, const char *text);
void html_textn(struct html *o, const char *text, size_t n);

/* "850 ms", "12.4 s", "3 min 20 s", "2 h 5 min", "2 h", "6 d 4 h". */
void html_span(struct html *o, int64_t ms);
/* The same with " ago" behind it; "just now" below a second. */
void html_ago(struct html *o, int64_t ms);

/* A duration measured in microseconds: "0.42 ms", "17 ms", "1.3 s". */
void html_latency(struct html *o, double us);

/* <time>, UTC, to the second: with the date for people when it is not that of `now_s`; for
 * machines always whole, as ISO 8601 says. */
void html_time(struct html *o, int64_t wall_s, int64_t now_s);

/* A cell of a table: how long ago, and the time. */
void html_when(struct html *o, int64_t ago_ms, int64_t wall_s, int64_t now_s);

/* <data>: digits in groups of three, the plain number for machines, and the name of the metric
 * that holds the same (NULL: none). */
void html_count(struct html *o, uint64_t n, const char *metric);

/* "0", "0.4", "17", "1200": a rate for people. */
void html_rate(struct html *o, double per_s);

/* "12 kB", "3.1 MB" */
void html_bytes(struct html *o, uint64_t n, const char *metric);

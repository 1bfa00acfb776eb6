#pragma once
/* Writing HTML: text that may come from anyone, times, and numbers as people read them. For the
 * page*.c files only. Thread: control. */
#include "base/base.h"
#include "base/buf.h"

/* Errors stick: once one write failed, the rest is passed over and `err` tells. */
struct page_out {
    struct buf *buf;
    int err;
};

/* HTML as it is: never anything but the program's own words. */
void page_put(struct page_out *o, const char *html);
void page_putf(struct page_out *o, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Text of whatever origin, also inside a quoted attribute: markup is escaped, and a byte that
 * is not printable ASCII is shown as \xNN; only line ends stay. */
void page_text(struct page_out *o, const char *text);
/* The same with a capital at the beginning. */
void page_sentence(struct page_out *o, const char *text);
void page_textn(struct page_out *o, const char *text, size_t n);

/* "850 ms", "12.4 s", "3 min 20 s", "2 h 5 min", "2 h", "6 d 4 h". */
void page_span(struct page_out *o, int64_t ms);
/* The same with " ago" behind it; "just now" below a second. */
void page_ago(struct page_out *o, int64_t ms);

/* A duration measured in microseconds: "0.42 ms", "17 ms", "1.3 s". */
void page_latency(struct page_out *o, double us);

/* <time>, UTC, to the second: with the date for people when it is not that of `now_s`; for
 * machines always whole, as ISO 8601 says. */
void page_time(struct page_out *o, int64_t wall_s, int64_t now_s);

/* <data>: digits in groups of three, the plain number for machines, and the name of the metric
 * that holds the same (NULL: none). */
void page_count(struct page_out *o, uint64_t n, const char *metric);

/* "0", "0.4", "17", "1200": a rate for people. */
void page_rate(struct page_out *o, double per_s);

/* "12 kB", "3.1 MB" */
void page_bytes(struct page_out *o, uint64_t n, const char *metric);

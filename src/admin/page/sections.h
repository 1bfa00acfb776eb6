#pragma once
/* The sections of the status page, from top to bottom. For page.c. Thread: control. */
#include "admin/page/html.h"
#include "admin/page/page.h"

/* A cell of a table: how long ago, and the time. */
void page_part_when(struct page_out *o, const struct status *s, int64_t at_ms, int64_t wall_s);

void page_part_verdict(struct page_out *o, const struct page *p);
void page_part_facts(struct page_out *o, const struct page *p);
void page_part_token(struct page_out *o, const struct page *p);
void page_part_traffic(struct page_out *o, const struct page *p);
void page_part_failures(struct page_out *o, const struct page *p);
void page_part_totals(struct page_out *o, const struct page *p);
void page_part_config(struct page_out *o, const struct page *p);

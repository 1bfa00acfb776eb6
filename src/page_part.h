#pragma once
/* The sections of the status page, from top to bottom. For page.c. Thread: control. */
#include "page.h"
#include "page_out.h"

void page_part_verdict(struct page_out *o, const struct page *p);
void page_part_facts(struct page_out *o, const struct page *p);
void page_part_token(struct page_out *o, const struct page *p);
void page_part_traffic(struct page_out *o, const struct page *p);
void page_part_failures(struct page_out *o, const struct page *p);
void page_part_totals(struct page_out *o, const struct page *p);
void page_part_config(struct page_out *o, const struct page *p);

#pragma once
/* Entries of the ledger as people and programs read them. What callers sent is never printed as it
 * is: no control character reaches the terminal. */
#include "config/config.h"
#include "ledger/entry.h"

enum ledger_format { LEDGER_TABLE, LEDGER_JSON, LEDGER_IDS };

/* table, json, ids. */
bool ledger_format_find(const char *name, enum ledger_format *out);

struct ledger_printer {
    enum ledger_format format;
    size_t count;
    bool failed; /* standard output took no more */
};

/* One entry of a list; `arg` is the printer. Returns false once printing has failed. */
bool ledger_print_entry(void *arg, const struct ledger_entry *e);
/* Behind the last one. Returns whether all was printed. */
bool ledger_print_end(struct ledger_printer *p);

/* All of one entry, and, when it is open, how to find out what became of it and what to do then.
 * Returns whether all was printed. */
bool ledger_print_whole(const struct config *c, const struct ledger_entry *e);

#pragma once
/* Prints entries of the ledger for people and programs. Text from callers is never printed
 * unchanged: no control character reaches the terminal. */
#include "config/config.h"
#include "ledger/entry.h"

enum ledger_format { LEDGER_TABLE, LEDGER_JSON, LEDGER_IDS };

/* table, json, ids. */
bool ledger_format_find(const char *name, enum ledger_format *out);

struct ledger_printer {
    enum ledger_format format;
    size_t count;
    bool failed; /* writing to standard output failed */
};

/* Prints one entry of a list; `arg` is the printer. Returns false once printing has failed. */
bool ledger_print_entry(void *arg, const struct ledger_entry *e);
/* Call it after the last one. Returns whether everything was printed. */
bool ledger_print_end(struct ledger_printer *p);

/* Prints everything about one entry and, if it is open, how to find out its outcome and what
 * to do then. Returns whether everything was printed. */
bool ledger_print_whole(const struct config *c, const struct ledger_entry *e);

#pragma once
/* Reads the files that hold the secrets of callers, caller.secret_file: one line, or two
 * while a secret is being changed. */
#include "config/settings.h"

/* Reports what is wrong with a caller's file; `why` contains nothing of the content. */
typedef void caller_files_wrong(void *arg, size_t caller, const char *why);

/* Reads the secrets from the files as they are now, for c->rules. A caller whose file is
 * missing or wrong keeps its secrets from `last` (may be NULL). If two callers would have
 * the same secret, or one has the proxy's own client secret, all callers keep theirs. Every
 * fault is reported by `wrong`. Returns NULL when no caller has such a file. Thread:
 * control. The caller of this function gets a reference. */
struct caller_secrets *caller_files_read(const struct config *c,
                                         const struct caller_secrets *last,
                                         caller_files_wrong *wrong, void *arg);

#pragma once
/* Reads the files that hold the secrets of callers, caller.secret_file: one line, or two while a
 * secret is being changed. */
#include "config/settings.h"

/* What is wrong with the file of a caller; `why` holds nothing of what is in it. */
typedef void caller_files_wrong(void *arg, size_t caller, const char *why);

/* The secrets as the files are now, for c->rules. A caller whose file is missing or wrong keeps
 * what it has in `last`, where that is not NULL; and when two callers would have one secret, or one
 * has the proxy's own client secret, all keep it. Each such thing is told by `wrong`. Returns NULL
 * when no caller has such a file. Thread: control. Owns: the caller holds a reference. */
struct caller_secrets *caller_files_read(const struct config *c,
                                         const struct caller_secrets *last,
                                         caller_files_wrong *wrong, void *arg);

#pragma once
/* The settings of the program: loading, reloading and comparing them. settings.h says what
 * they are. */
#include "config/env.h"
#include "config/report.h"
#include "config/settings.h"

/* Reads the file (may be NULL), then the environment (may be NULL), fills in the defaults,
 * reads the `_file`s, and checks everything. It finds all errors, not only the first. An
 * empty value means "none" for keys without a default, and is an error for others. The
 * report was just initialised. Returns the settings with one reference, or NULL when the
 * report has errors. Thread: control. */
struct config *config_load(const char *file, const struct config_env *env,
                           struct config_report *report) MUST_CHECK;

/* The same for a text in memory, without environment, for tests; messages have `name` in
 * place of the file's. */
struct config *config_load_text(const char *name, const char *text, size_t len,
                                struct config_report *report) MUST_CHECK;

/* Like config_load, to find out what the rules decide: reads no other file that the settings
 * name, and the credentials may be missing. */
struct config *config_load_rules(const char *file, const struct config_env *env,
                                 struct config_report *report) MUST_CHECK;

/* Only admin.address, for a command that asks a running proxy: no `_file` is read, and
 * errors elsewhere do not matter. Returns NULL with errors in the report when the file
 * cannot be read or the key is wrong. The caller frees the result. Thread: control. */
char *config_admin_address(const char *file, const struct config_env *env,
                           struct config_report *report) MUST_CHECK;

/* The same for freeze.file; it is an error when it is not set. */
char *config_freeze_file(const char *file, const struct config_env *env,
                         struct config_report *report) MUST_CHECK;

/* Only [ledger], checked; the files that it names are not read. It is an error when no store
 * is set. Returns settings of which only that section may be used, with one reference, or
 * NULL with errors in the report. Thread: control. */
struct config *config_load_ledger(const char *file, const struct config_env *env,
                                  struct config_report *report) MUST_CHECK;

/* Thread: any. */
struct config *config_ref(struct config *c);
/* Takes NULL. The last reference wipes the secrets. */
void config_unref(struct config *c);

/* How long an entry of the ledger belongs to the process that claimed it: the longest time
 * that an exchange with one repetition may take, plus a minute. Thread: any. */
int64_t config_lease_ms(const struct config *c);

/* Every file whose change matters while the program runs: secrets, certificates, keys, the
 * system's trust store; but not the callers' secrets. A file may be visited twice. Thread:
 * any. */
void config_each_watched(const struct config *c, void (*visit)(const char *path, void *arg),
                         void *arg);

/* Visits every file that these settings name, including the one they came from, and the port
 * of every TCP connection that they lead to, with the key that says so; also those of
 * proxies in the environment where these are used. One may be visited twice. Thread: any. */
void config_each_file(const struct config *c, void (*visit)(const char *path, void *arg),
                      void *arg);
void config_each_port(const struct config *c,
                      void (*visit)(const char *key, int port, void *arg), void *arg);

/* Appends the keys ("section.key, section.key") that differ between a and b, and "the
 * system's trust store" if that does. config_needs_restart: only the keys that take effect
 * after a restart. Appends nothing when nothing differs. Return 0 or the error of buf_add.
 * Thread: any. */
int config_changes(const struct config *a, const struct config *b, struct buf *out) MUST_CHECK;
int config_needs_restart(const struct config *a, const struct config *b,
                         struct buf *out) MUST_CHECK;

struct config_reload_report {
    struct config_report report;
    struct buf restart; /* keys that differ and need a restart */
    struct buf changed; /* keys that differ and take effect now */
};
void config_reload_report_init(struct config_reload_report *r);
void config_reload_report_done(struct config_reload_report *r);

/* Like config_load with the same file, for a program that runs with these settings: keys
 * that need a restart keep their present values. Returns NULL when anything in the file is
 * wrong. Thread: control. */
struct config *config_reload(const struct config *running, const struct config_env *env,
                             struct config_reload_report *reload) MUST_CHECK;

/* Looks at the certificates, keys and authorities that `running` names, and at the system's
 * trust store, as they are now. Returns settings with one reference that differ from
 * `running` only in these, or NULL when there is nothing new to use. The report, which was
 * just initialised, names what has changed, and as errors what is not used and why: a file
 * that is missing or half written, a key that does not belong to its certificate. In that
 * case the old content is kept. Thread: control. */
struct config *config_renew(struct config *running,
                            struct config_reload_report *reload) MUST_CHECK;

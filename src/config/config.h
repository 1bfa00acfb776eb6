#pragma once
/* The settings of the program: loading them, looking after them, comparing them. What they are
 * is in settings.h. */
#include "config/env.h"
#include "config/report.h"
#include "config/settings.h"

/* Reads the file (may be NULL), then the environment (may be NULL), fills in the defaults,
 * reads the `_file`s, and checks everything. All errors are found, not only the first. An empty
 * value means "none" for keys that have no default, and is an error elsewhere. Returns the
 * settings with one reference, or NULL when the report (which was just initialised) has errors.
 * Thread: control. */
struct config *config_load(const char *file, const struct config_env *env,
                           struct config_report *report) MUST_CHECK;

/* The same of a text in memory, without environment; `name` stands for the file. */
struct config *config_load_text(const char *name, const char *text, size_t len,
                                struct config_report *report) MUST_CHECK;

/* As config_load, for one who asks what the rules in it decide: no other file that the settings
 * name is read, and the credentials may be missing. */
struct config *config_load_rules(const char *file, const struct config_env *env,
                                 struct config_report *report) MUST_CHECK;

/* Only admin.address, for one who asks a running proxy: no `_file` is read, and what is wrong
 * elsewhere does not matter. Returns NULL with errors in the report when the file cannot be read
 * or the key is wrong. Owns: the caller frees. Thread: control. */
char *config_admin_address(const char *file, const struct config_env *env,
                           struct config_report *report) MUST_CHECK;

/* Likewise freeze.file; it is an error when there is none. */
char *config_freeze_file(const char *file, const struct config_env *env,
                         struct config_report *report) MUST_CHECK;

/* Likewise [ledger], with the files that it names; it is an error when it names no store. Only
 * that section of the settings is to be used. Returns NULL with errors in the report. */
struct config *config_load_ledger(const char *file, const struct config_env *env,
                                  struct config_report *report) MUST_CHECK;

/* Thread: any. */
struct config *config_ref(struct config *c);
/* Takes NULL. Secrets are wiped with the last reference. */
void config_unref(struct config *c);

/* How long an entry of the ledger belongs to whoever claimed it: as long as an exchange that is
 * repeated once may take, and a minute. Thread: any. */
int64_t config_lease_ms(const struct config *c);

/* Every file whose change matters while the program runs: secrets, certificates, keys, the system's
 * trust store; but for the callers' secrets. One may come twice. Thread: any. */
void config_each_watched(const struct config *c, void (*visit)(const char *path, void *arg),
                         void *arg);

/* Every file that these settings name, the one they came from included; the port of every TCP
 * connection that they lead to, with the key that says so, those of proxies in the environment
 * included where these count. One may come twice. Thread: any. */
void config_each_file(const struct config *c, void (*visit)(const char *path, void *arg),
                      void *arg);
void config_each_port(const struct config *c,
                      void (*visit)(const char *key, int port, void *arg), void *arg);

/* The keys ("section.key, section.key") that differ between a and b, and "the system's trust store";
 * of the keys, those that take
 * effect only after a restart. They append nothing when there are none. */
int config_changes(const struct config *a, const struct config *b, struct buf *out) MUST_CHECK;
int config_needs_restart(const struct config *a, const struct config *b,
                         struct buf *out) MUST_CHECK;

struct config_reload_report {
    struct config_report report;
    struct buf restart; /* keys that differ and wait for a restart */
    struct buf changed; /* keys that differ and apply */
};
void config_reload_report_init(struct config_reload_report *r);
void config_reload_report_done(struct config_reload_report *r);

/* As config_load, of running's own file, for a program that runs with these settings: keys that
 * take effect only after a restart keep the values they have there. Returns NULL when anything
 * in the file is wrong. Thread: control. */
struct config *config_reload(const struct config *running, const struct config_env *env,
                             struct config_reload_report *reload) MUST_CHECK;

/* Looks at the certificates, keys and authorities that running names, and at the system's trust
 * store, as they are now. Returns settings with one reference that differ from running in these
 * only, or NULL when nothing is there to be taken up. The report, which was just initialised, names
 * what has changed, and as errors what is not taken up and why: a file that is gone or half
 * written, a key that is not its certificate's. What was there before is kept then. Thread:
 * control. */
struct config *config_renew(struct config *running,
                            struct config_reload_report *reload) MUST_CHECK;

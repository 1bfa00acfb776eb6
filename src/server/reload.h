#pragma once
/* On SIGHUP the settings are read again. When a watched file has changed, the certificates,
 * keys and authorities are. The result is logged. Thread: control. */
#include "config/config.h"

/* What is wrong with what was read, for the status page: the first error; "": nothing. */
struct reload_trouble {
    char text[512];
};

/* Reads the settings file of `running` again. Logs every error, every warning, the keys that
 * changed, and those that need a restart. Returns the settings to use, with one reference,
 * or NULL: the file has errors, of which `trouble` has the first, and nothing changes.
 * workers: how many there are. */
struct config *reload_read(const struct config *running, const struct config_env *env,
                           unsigned workers, struct reload_trouble *trouble) MUST_CHECK;

/* Checks the certificate files that `running` names. Logs what is now used, and what is not,
 * unless `trouble`, as the call before left it, says so already. Returns the settings to use,
 * with one reference, or NULL: nothing has changed. */
struct config *reload_certificates(struct config *running,
                                   struct reload_trouble *trouble) MUST_CHECK;

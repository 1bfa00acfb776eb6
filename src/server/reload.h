#pragma once
/* SIGHUP: the settings are read again. A file that is watched has changed: the certificates, keys
 * and authorities are. What came of it is told in the log. Thread: control. */
#include "config/config.h"

/* Reads running's file again. Logs every error, every warning, the keys that changed and those
 * that wait for a restart. Returns the settings to go on with, with one reference, or NULL: the
 * file is not good and nothing changes. */
struct config *reload_read(const struct config *running,
                           const struct config_env *env) MUST_CHECK;

/* What is wrong with the files of certificates now, for the status page and so that it is told once;
 * "": nothing. */
struct reload_trouble {
    char text[512];
};

/* Looks at the files of certificates that running names. Logs what is taken up, and, when it is not
 * what `trouble` says already, what is not. Returns the settings to go on with, with one reference,
 * or NULL: nothing has changed. */
struct config *reload_certificates(struct config *running,
                                   struct reload_trouble *trouble) MUST_CHECK;

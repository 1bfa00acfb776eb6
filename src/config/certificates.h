#pragma once
/* The PEM files of the settings (certificates, keys, authorities): reads them, checks that
 * they fit together, and reads them again when they change while the program runs. Thread:
 * control. */
#include "config/report.h"

/* Reads all of them into c, and reports faults. */
void config_check_certificates(struct config *c, struct config_report *report);

/* Whether the key names a certificate or key file whose content differs between a and b. */
bool config_contents_differ(const struct config *a, const struct config *b,
                            const struct config_key *key);

/* Reads the files again, and looks at the system's trust store. Faults are reported, and c
 * keeps what it had: each certificate with its key on its own, and each file of authorities. */
void config_load_certificates(struct config *c, struct config_report *report);

/* Call it after *c was copied from other settings by assignment: replaces the pointers to
 * their certificates by copies (or references) that c owns. */
void config_own_certificates(struct config *c);

/* Sets c->trust.changed_ms, the time at which the system's trust store last changed: now, if c
 * has found another store than `running` has; otherwise as in `running`. If c has found no
 * good store, c uses that of `running`. */
void config_trust_since(struct config *c, const struct config *running);
/* Whether a and b have found different trust stores of the system. */
bool config_trust_differs(const struct config *a, const struct config *b);

/* Frees what these functions have allocated. */
void config_clear_certificates(struct config *c);

/* A warning is logged when a certificate has less time left than this. */
#define CONFIG_CERTIFICATE_SOON_S (14 * 86400)

struct config_certificate {
    const char *key, *path; /* borrowed */
    /* When the first certificate of a chain expires. For authorities: the first that has not
     * expired yet, or, if all have, the last: a collection often contains some that have
     * expired. */
    int64_t end_s;
};
/* The files in use, each once. Returns how many. */
size_t config_certificates(const struct config *c, int64_t now_s,
                           struct config_certificate out[CERTIFICATES_COUNT]);

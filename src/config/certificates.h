#pragma once
/* The PEM files of the settings (certificates, keys, authorities): reading them, checking that they
 * fit together, and taking up what has come in their place while the program runs. Thread: control.
 */
#include "config/report.h"

/* Reads all of them into c and reports what is wrong. */
void config_check_certificates(struct config *c, struct config_report *report);

/* Whether the key names a certificate or key file that holds something else now. */
bool config_contents_differ(const struct config *a, const struct config *b,
                            const struct config_key *key);

/* Reads them once more, and looks at the system's trust store. What is not good is reported, and c
 * keeps what it held: each certificate with its key by itself, and each file of authorities. */
void config_load_certificates(struct config *c, struct config_report *report);

/* After a copy byte by byte: gives c certificates of its own in place of the other's. */
void config_own_certificates(struct config *c);

/* Keeps the time at which `running` saw the system's trust store change, or sets it when c has
 * found another one. Where c has found none that is good, it takes that of `running`. */
void config_trust_since(struct config *c, const struct config *running);
bool config_trust_differs(const struct config *a, const struct config *b);

/* Frees what these functions made. */
void config_clear_certificates(struct config *c);

/* A certificate with fewer seconds left is warned of. */
#define CONFIG_CERTIFICATE_SOON_S (14 * 86400)

struct config_certificate {
    const char *key, *path; /* borrowed */
    /* When the first of a chain ends. Of authorities: the first of those that are still good, or
     * the last of all, since a collection often holds some that are past their time. */
    int64_t end_s;
};
/* Those in use, each file once. Returns how many. */
size_t config_certificates(const struct config *c, int64_t now_s,
                           struct config_certificate out[CERTIFICATES_COUNT]);

#pragma once
/* What a systemd unit of this program sets: the settings file and the environment. So
 * `doctor`, `--check` and other commands see the settings that the service sees, without
 * systemd. Thread: control, while there is no other. */
#include "base/base.h"
#include "base/buf.h"

/* systemd's own limit is larger; this is enough. */
#define UNIT_FILE_BYTES_MAX (1 << 20)
#define UNIT_VARIABLES_MAX 256

struct unit {
    char *path;   /* of the unit file that was found */
    char *config; /* FILE in "--config FILE" of ExecStart; NULL: none */
    char *variable[UNIT_VARIABLES_MAX + 1]; /* "NAME=value", ended by NULL */
    size_t variables;
};

/* Reads the unit `name` ("oneshot-proxy", "oneshot-proxy@billing", with or without
 * ".service") from where systemd looks for it, and the drop-ins in its directories NAME.d.
 * It understands ExecStart, Environment, EnvironmentFile and LoadCredential; %d/ID in a
 * value becomes the file from which the credential ID is loaded, since only the service can
 * see the copy. Returns 0; or -errno, with the reason appended to `error`. In both cases
 * call unit_done. */
int unit_read(const char *name, struct unit *out, struct buf *error) MUST_CHECK;
/* Wipes the values and frees. Takes a zeroed one. */
void unit_done(struct unit *u);

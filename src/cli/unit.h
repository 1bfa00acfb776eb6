#pragma once
/* What a systemd unit of this program sets: which file it reads, and its environment. Lets
 * `doctor`, `--check` and the others see the settings that the service sees, without systemd.
 * Thread: control, while it is the only one. */
#include "base/base.h"
#include "base/buf.h"

/* systemd's own limit of a line is larger; ours need no more. */
#define UNIT_FILE_BYTES_MAX (1 << 20)
#define UNIT_VARIABLES_MAX 256

struct unit {
    char *path;   /* of the unit file that was found */
    char *config; /* FILE of "--config FILE" in ExecStart; NULL: there is none */
    char *variable[UNIT_VARIABLES_MAX + 1]; /* "NAME=value", ends with NULL */
    size_t variables;
};

/* Reads the unit `name` ("oneshot-proxy", "oneshot-proxy@billing", with ".service" or without),
 * from where systemd looks for it, and the drop-ins of its directories NAME.d. Known are ExecStart,
 * Environment, EnvironmentFile and LoadCredential; %d/ID in a value becomes the file that the
 * credential ID is loaded from, since the copy exists for the service alone. Returns 0; or
 * -errno, with the reason appended to `error`. What it filled in is the caller's to free with
 * unit_done, in either case. */
int unit_read(const char *name, struct unit *out, struct buf *error) MUST_CHECK;
/* Frees, and wipes the values. Takes a zeroed one. */
void unit_done(struct unit *u);

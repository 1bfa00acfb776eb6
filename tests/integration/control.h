#pragma once
/* Stops the control thread of the program under test behind the first mail that a reload sends to a
 * worker, and lets it go on: what the workers are told later, and what the control thread looks at,
 * stays as it was meanwhile. By late_mail.so, which needs UNCONFINED among the settings. */
#include "harness.h"

struct control {
    char folder[32], stop[48], stopped[64], env_stop[64];
    const char *env[3]; /* for the start of the program */
};

#define UNCONFINED "process.sandbox = off\n" /* late_mail.so renames a file */

/* Before the start. Fails the test when it cannot. */
void control_init(struct control *c);
/* Reloads these settings, as far as the first mail. */
void control_stops(struct control *c, struct world *w, const char *settings);
void control_goes_on(struct control *c);

#pragma once
/* The freeze file as it is now: whether it is there, and creating and removing it. What is done
 * with it while the program runs: freeze.h. Thread: any. */
#include "base/base.h"

#define FREEZE_REASON_MAX 200

enum freeze_state {
    FREEZE_OFF,
    FREEZE_ON,      /* the file is there */
    FREEZE_IN_DOUBT /* it cannot be looked at, which counts as frozen */
};

/* Checks whether it is frozen, and why: the first line of the file, or what prevented the
 * check. */
enum freeze_state freeze_file_look(const char *file, char why[FREEZE_REASON_MAX + 1]);

/* For the commands `freeze` and `thaw`: creates the file atomically with this reason, or
 * removes it. Returns 0 or -errno. */
int freeze_file_create(const char *file, const char *reason) MUST_CHECK;
int freeze_file_remove(const char *file) MUST_CHECK;

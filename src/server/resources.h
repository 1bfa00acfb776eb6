#pragma once
/* How much of the machine this process may use. */
#include "base/base.h"
#include "config/config.h"

/* The CPUs that affinity and the quota of the control group leave to it, at least 1. Thread:
 * any. */
unsigned resources_cpus(void);

/* Raises the limit on descriptors to what the settings can need; says so when it cannot.
 * Thread: control, before the others start. */
void resources_raise_descriptors(const struct config *c);

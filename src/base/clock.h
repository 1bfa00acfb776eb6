#pragma once
/* The time: of a clock that never steps, and of the wall. */
#include "base/base.h"

/* Milliseconds of a clock that never steps and goes on during suspend
 * (CLOCK_BOOTTIME). Every `_ms` point in time in the program is of this clock.
 * Thread: any. */
int64_t clock_ms(void);

/* The same clock in microseconds, for durations that are measured. Thread: any. */
int64_t clock_us(void);

/* Wall-clock seconds since 1970, for what people and HTTP dates need. Thread: any. */
int64_t clock_wall_s(void);

/* The same in milliseconds, for times that are stored. Thread: any. */
int64_t clock_wall_ms(void);

/* The same in nanoseconds, to tell apart what happens within one of them. Thread: any. */
int64_t clock_wall_ns(void);

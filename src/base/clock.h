#pragma once
/* The time, by a clock that is never set and by the wall clock. */
#include "base/base.h"

/* Milliseconds of a clock that is never set and keeps running during suspend
 * (CLOCK_BOOTTIME). Every point in time named `_ms` in this program is of this clock.
 * Thread: any. */
int64_t clock_ms(void);

/* The same clock in microseconds, for measuring durations. Thread: any. */
int64_t clock_us(void);

/* Wall clock, seconds since 1970, for people and for HTTP dates. Thread: any. */
int64_t clock_wall_s(void);

/* Wall clock in milliseconds, for times that are stored. Thread: any. */
int64_t clock_wall_ms(void);

/* Wall clock in nanoseconds, to order events within one millisecond. Thread: any. */
int64_t clock_wall_ns(void);

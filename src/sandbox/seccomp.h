#pragma once
/* The filter of system calls (seccomp): refuses the calls that the program never uses. It
 * cannot be undone. */
#include "base/base.h"

/* The leak detection of sanitizers traces this process from another one and reads /proc, so
 * builds with sanitizers allow that. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANDBOX_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(leak_sanitizer)
#define SANDBOX_SANITIZED 1
#endif
#endif

/* Installs the filter in all threads. `removes`: the program must be able to remove files.
 * Returns 0 or -errno (-ENOSYS: there is no list for this processor). */
int seccomp_filter(bool removes) MUST_CHECK;

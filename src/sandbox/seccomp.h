#pragma once
/* The filter of system calls (seccomp): what no part of the program ever asks of the kernel is
 * refused from then on. It cannot be taken back. */
#include "base/base.h"

/* Sanitizers look for leaks with a process of their own that traces this one, and read /proc:
 * builds with them leave that open. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANDBOX_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(leak_sanitizer)
#define SANDBOX_SANITIZED 1
#endif
#endif

/* Installs it in all threads. `removes`: the program may remove files. Returns 0 or -errno
 * (-ENOSYS: there is no list for this processor). */
int seccomp_filter(bool removes) MUST_CHECK;

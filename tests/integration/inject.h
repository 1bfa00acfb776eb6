#pragma once
/* Does what an attacker in control of the program could do: makes one of its live threads
 * execute a system call, by ptrace. Needs root, since the program is not dumpable. */
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* NULL: it is possible; otherwise why not. */
const char *inject_obstacle(void);

/* An argument: a number, or bytes that are put on the thread's stack. */
struct inject_arg {
    uint64_t number;
    const void *bytes; /* NULL: use the number */
    size_t size;
};
#define INJECT_NUMBER(n) ((struct inject_arg){ .number = (uint64_t)(n) })
#define INJECT_TEXT(text) ((struct inject_arg){ .bytes = (text), .size = strlen(text) + 1 })
#define INJECT_BYTES(p, n) ((struct inject_arg){ .bytes = (p), .size = (n) })

struct inject {
    long number;
    struct inject_arg arg[6];
};

/* Returns what the kernel returned, which may be -errno. A thread that cannot be used fails
 * the test. */
long inject(pid_t tid, const struct inject *call);

/* The threads of a process; returns how many there are. */
size_t inject_threads(pid_t pid, pid_t *tids, size_t most);

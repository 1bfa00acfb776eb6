/* The thread is stopped in its epoll_wait, made to execute the same system call instruction
 * with other registers, stopped after it, and restored. */
#include "inject.h"

#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bytes.h"
#include "unit.h"

#define STOP_MS 60000
/* Below the stack pointer: the area that a function without a stack frame may use. */
#define RED_ZONE 256

#if defined(__x86_64__)
#define INSTRUCTION_BYTES 2
#define IS_SYSCALL(code) ((code)[0] == 0x0f && (code)[1] == 0x05)
#define PC(r) ((r)->rip)
#define SP(r) ((r)->rsp)
#define RESULT(r) ((long)(r)->rax)
static void set_call(struct user_regs_struct *r, long number, const uint64_t a[6])
{
    r->rax = (unsigned long long)number;
    r->orig_rax = (unsigned long long)-1;
    r->rdi = a[0];
    r->rsi = a[1];
    r->rdx = a[2];
    r->r10 = a[3];
    r->r8 = a[4];
    r->r9 = a[5];
}
#elif defined(__aarch64__)
#define INSTRUCTION_BYTES 4
#define IS_SYSCALL(code) \
    ((code)[0] == 0x01 && (code)[1] == 0 && (code)[2] == 0 && (code)[3] == 0xd4)
#define PC(r) ((r)->pc)
#define SP(r) ((r)->sp)
#define RESULT(r) ((long)(r)->regs[0])
static void set_call(struct user_regs_struct *r, long number, const uint64_t a[6])
{
    r->regs[8] = (unsigned long long)number;
    for (size_t i = 0; i < 6; i++)
        r->regs[i] = a[i];
}
#endif

const char *inject_obstacle(void)
{
#ifndef INSTRUCTION_BYTES
    return "this architecture is not known to the test";
#else
    return geteuid() == 0 ? NULL : "only root can reach into a process that is not dumpable";
#endif
}

size_t inject_threads(pid_t pid, pid_t *tids, size_t most)
{
    char path[64];
    size_t n = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (struct dirent *entry; n < most && (entry = readdir(dir)) != NULL;)
        if (entry->d_name[0] != '.')
            tids[n++] = (pid_t)strtol(entry->d_name, NULL, 10);
    (void)closedir(dir);
    return n;
}

#ifdef INSTRUCTION_BYTES

static void await_stop(pid_t tid)
{
    int status = 0;
    pid_t rc;
    do
        rc = waitpid(tid, &status, __WALL);
    while (rc < 0 && errno == EINTR);
    if (rc != tid || !WIFSTOPPED(status))
        fail_msg("thread %d is not stopped: %s, status %x", (int)tid, strerror(errno),
                 (unsigned)status);
}

static void registers(pid_t tid, enum __ptrace_request request, struct user_regs_struct *r)
{
    struct iovec room = { .iov_base = r, .iov_len = sizeof *r };
    assert_int_equal(ptrace(request, tid, (void *)NT_PRSTATUS, &room), 0);
}

static void go_on(pid_t tid, enum __ptrace_request how)
{
    assert_int_equal(ptrace(how, tid, NULL, NULL), 0);
    await_stop(tid);
}

static void interrupt(pid_t tid)
{
    assert_int_equal(ptrace(PTRACE_INTERRUPT, tid, NULL, NULL), 0);
}

/* Stops it right after a system call instruction. If it is computing, it is made to stop
 * before its next system call: on a busy machine it might rarely be seen in one by chance. */
static void stop_in_call(pid_t tid, int memory, struct user_regs_struct *r)
{
    unsigned char code[INSTRUCTION_BYTES];
    assert_int_equal(ptrace(PTRACE_SEIZE, tid, NULL, NULL), 0);
    interrupt(tid);
    await_stop(tid);
    int64_t deadline_ms = now_ms() + STOP_MS;
    while (now_ms() < deadline_ms) {
        registers(tid, PTRACE_GETREGSET, r);
        if (pread(memory, code, sizeof code, (off_t)(PC(r) - sizeof code)) ==
                (ssize_t)sizeof code &&
            IS_SYSCALL(code))
            return;
        go_on(tid, PTRACE_SYSCALL);
        interrupt(tid);
        go_on(tid, PTRACE_CONT);
    }
    fail_msg("thread %d never waits in a system call", (int)tid);
}

long inject(pid_t tid, const struct inject *call)
{
    char path[64];
    struct user_regs_struct saved, r;
    uint64_t number[6];
    (void)snprintf(path, sizeof path, "/proc/%d/mem", (int)tid);
    int memory = open(path, O_RDWR | O_CLOEXEC);
    assert_true(memory >= 0);
    stop_in_call(tid, memory, &saved);
    r = saved;
    uint64_t at = SP(&r) - RED_ZONE;
    for (size_t i = 0; i < 6; i++) {
        const struct inject_arg *arg = &call->arg[i];
        number[i] = arg->number;
        if (arg->bytes == NULL)
            continue;
        at = (at - arg->size) & ~(uint64_t)15;
        assert_int_equal(pwrite(memory, arg->bytes, arg->size, (off_t)at), (ssize_t)arg->size);
        number[i] = at;
    }
    set_call(&r, call->number, number);
    PC(&r) -= INSTRUCTION_BYTES;
    registers(tid, PTRACE_SETREGSET, &r);
    assert_int_equal(ptrace(PTRACE_SINGLESTEP, tid, NULL, NULL), 0);
    await_stop(tid);
    registers(tid, PTRACE_GETREGSET, &r);
    long result = RESULT(&r);
    registers(tid, PTRACE_SETREGSET, &saved);
    assert_int_equal(ptrace(PTRACE_DETACH, tid, NULL, NULL), 0);
    (void)close(memory);
    return result;
}

#else

long inject(pid_t tid, const struct inject *call)
{
    (void)tid;
    (void)call;
    return -ENOSYS;
}

#endif

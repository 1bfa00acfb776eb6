/* Builds and installs the filter of system calls (seccomp-bpf): a list of what is refused.
 *
 * A list of what is allowed would be stricter, but what libc, OpenSSL, libcurl and
 * libmicrohttpd need differs between versions, and a call missing from the list would break
 * the gateway after a harmless update. So the filter refuses with EPERM every call by which
 * the process could become another program, access other processes, or change files or the
 * machine; and with ENOSYS calls that are newer than this list, which every library can
 * handle.
 *
 *     number > newest known -> ENOSYS
 *     else a binary search among the refused numbers -> EPERM, a check of an argument, or allow
 *
 * Calls that are allowed with any arguments cost next to nothing: the kernel (5.11 and
 * newer) finds them once and does not run the filter for them. */
#include "sandbox/seccomp.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

#ifdef ARCHITECTURE

/* set_mempolicy_home_node, Linux 5.17: the newest call that Debian 12 knows. */
#define NEWEST 450

enum check {
    REFUSE,     /* always */
    ABSENT,     /* always, with ENOSYS */
    IF_ANY,     /* if any bit of value[0] is set in the argument */
    IF_ALL,     /* if all of them are set */
    UNLESS_ANY, /* if none is set */
    IF_ONE_OF,  /* if the argument is one of the values */
    UNLESS_ONE_OF,
    UNLESS_NULL,   /* if the argument, a pointer, is not NULL */
    UNLESS_SOCKET, /* unless its arguments fit `routes` or `internet` */
};

struct rule {
    int number;
    enum check check;
    unsigned argument;
    uint32_t value[3];
};

#define WRITING (O_ACCMODE | O_CREAT | O_TRUNC)

/* clang-format off */
#define CALLS_EVERYWHERE(X) \
    /* become another program, or two */ \
    X(execve) X(execveat) X(setns) X(unshare) X(personality) \
    X(setuid) X(setgid) X(setreuid) X(setregid) X(setresuid) X(setresgid) X(setfsuid) X(setfsgid) \
    X(setgroups) X(capset) \
    /* reach into other processes */ \
    X(kill) X(tkill) X(rt_sigqueueinfo) X(rt_tgsigqueueinfo) X(pidfd_open) X(pidfd_getfd) \
    X(pidfd_send_signal) X(process_vm_readv) X(process_vm_writev) X(process_madvise) \
    X(process_mrelease) X(kcmp) X(migrate_pages) X(move_pages) \
    X(shmget) X(shmat) X(shmctl) X(semget) X(semctl) X(semop) X(semtimedop) X(msgget) X(msgsnd) \
    X(msgrcv) X(msgctl) X(mq_open) X(mq_unlink) \
    /* listen anew; what listens is there */ \
    X(listen) \
    /* change files */ \
    X(mkdirat) X(mknodat) X(linkat) X(symlinkat) X(renameat2) X(truncate) X(fallocate) \
    X(fchmod) X(fchmodat) X(fchown) X(fchownat) X(utimensat) \
    X(setxattr) X(lsetxattr) X(fsetxattr) X(removexattr) X(lremovexattr) X(fremovexattr) \
    X(open_by_handle_at) X(name_to_handle_at) X(fanotify_init) X(fanotify_mark) X(flock) \
    /* change the machine */ \
    X(mount) X(umount2) X(pivot_root) X(chroot) X(fsopen) X(fsconfig) X(fsmount) X(fspick) \
    X(open_tree) X(move_mount) X(mount_setattr) X(swapon) X(swapoff) X(quotactl) X(quotactl_fd) \
    X(acct) X(reboot) X(sethostname) X(setdomainname) X(settimeofday) X(clock_settime) \
    X(clock_adjtime) X(adjtimex) X(syslog) X(vhangup) X(setrlimit) X(nfsservctl) \
    X(init_module) X(finit_module) X(delete_module) X(kexec_load) \
    /* corners of the kernel with a history */ \
    X(bpf) X(perf_event_open) X(userfaultfd) X(keyctl) X(add_key) X(request_key) \
    X(io_uring_setup) X(io_uring_enter) X(io_uring_register) X(io_setup) X(io_submit) \
    X(vmsplice) X(lookup_dcookie) X(mbind) X(set_mempolicy) X(remap_file_pages)
#if defined(__x86_64__)
#define CALLS_HERE(X) \
    X(fork) X(vfork) X(uselib) X(ustat) X(sysfs) X(_sysctl) X(iopl) X(ioperm) X(modify_ldt) \
    X(create_module) X(get_kernel_syms) X(query_module) X(kexec_file_load) \
    X(creat) X(mkdir) X(rmdir) X(mknod) X(link) X(symlink) X(rename) X(renameat) X(chmod) \
    X(chown) X(lchown) X(utime) X(utimes) X(futimesat)
#else
#define CALLS_HERE(X) X(kexec_file_load) X(renameat)
#endif

#define RULE_OF(name) { __NR_##name, REFUSE, 0, { 0 } },

static const struct rule rules[] = {
    CALLS_EVERYWHERE(RULE_OF) CALLS_HERE(RULE_OF)
#ifndef SANDBOX_SANITIZED
    { __NR_ptrace, REFUSE, 0, { 0 } },
    { __NR_clone, UNLESS_ANY, 0, { CLONE_THREAD } },
    { __NR_prctl, IF_ONE_OF, 0, { PR_SET_DUMPABLE, PR_SET_MM, PR_SET_PTRACER } },
#endif
    /* the filter cannot see its flags; libc falls back to clone */
    { __NR_clone3, ABSENT, 0, { 0 } },
    { __NR_openat2, ABSENT, 0, { 0 } }, /* the same */
    { __NR_openat, IF_ANY, 2, { WRITING } },
#ifdef __NR_open
    { __NR_open, IF_ANY, 1, { WRITING } },
#endif
    { __NR_socket, UNLESS_SOCKET, 0, { 0 } },
    { __NR_tgkill, UNLESS_ONE_OF, 0, { 0 } }, /* filled in: this process, for abort() */
    { __NR_prlimit64, UNLESS_NULL, 2, { 0 } },
    /* inserts input into the terminal */
    { __NR_ioctl, IF_ONE_OF, 1, { TIOCSTI, TIOCLINUX, TIOCSETD } },
    { __NR_mmap, IF_ALL, 2, { PROT_WRITE | PROT_EXEC } },
    { __NR_mprotect, IF_ANY, 2, { PROT_EXEC } },
    { __NR_pkey_mprotect, IF_ANY, 2, { PROT_EXEC } },
};
/* clang-format on */

/* The sockets that may be made: TCP and UDP, and NETLINK_ROUTE (0), which getaddrinfo needs.
 * Landlock knows the ports of TCP alone, so nothing that falls back to it, such as Multipath
 * TCP, is left, and no raw packets. Each argument is one of three values. */
struct socket_argument {
    unsigned argument;
    uint32_t mask, value[3];
};
static const struct socket_argument routes[] = {
    { 0, UINT32_MAX, { AF_NETLINK, AF_NETLINK, AF_NETLINK } },
    { 1, 0xf, { SOCK_RAW, SOCK_DGRAM, SOCK_DGRAM } },
    { 2, UINT32_MAX, { 0, 0, 0 } },
};
static const struct socket_argument internet[] = {
    { 0, UINT32_MAX, { AF_INET, AF_INET6, AF_INET6 } },
    { 1, 0xf, { SOCK_STREAM, SOCK_DGRAM, SOCK_DGRAM } },
    { 2, UINT32_MAX, { 0, IPPROTO_TCP, IPPROTO_UDP } },
};

/* Left out if the program must remove the file of a unix socket at the end. */
static const struct rule removing[] = {
    { __NR_unlinkat, REFUSE, 0, { 0 } },
#ifdef __NR_unlink
    { __NR_unlink, REFUSE, 0, { 0 } },
#endif
};

#define RULES_MAX (ARRAY_LEN(rules) + ARRAY_LEN(removing))
#define PROGRAM_MAX (RULES_MAX * 8 + 32)

struct program {
    struct sock_filter code[PROGRAM_MAX];
    unsigned short len;
};

static void emit(struct program *p, uint16_t code, uint32_t k, uint8_t if_true,
                 uint8_t if_false)
{
    assert(p->len < PROGRAM_MAX);
    p->code[p->len++] = (struct sock_filter){ code, if_true, if_false, k };
}

static void load(struct program *p, size_t offset)
{
    emit(p, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0);
}

static void end(struct program *p, uint32_t action)
{
    emit(p, BPF_RET | BPF_K, action, 0, 0);
}

#define ALLOW SECCOMP_RET_ALLOW
#define FAIL(error) (SECCOMP_RET_ERRNO | (error))

/* Both architectures are little-endian. Flags, domains and protections are in the lower half
 * of their arguments, or the kernel ignores the upper half. */
static size_t low_half(unsigned argument)
{
    return offsetof(struct seccomp_data, args) + argument * sizeof(uint64_t);
}

/* Goes on if the value that was loaded is one of three, and ends with `other` if not. */
static void emit_one_of(struct program *p, const uint32_t value[3], uint32_t other)
{
    for (unsigned i = 0; i < 3; i++)
        emit(p, BPF_JMP | BPF_JEQ | BPF_K, value[i], (uint8_t)(3 - i), 0);
    end(p, other);
}

static void emit_arguments(struct program *p, const struct socket_argument *a, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        load(p, low_half(a[i].argument));
        emit(p, BPF_ALU | BPF_AND | BPF_K, a[i].mask, 0, 0);
        emit_one_of(p, a[i].value, FAIL(EPERM));
    }
    end(p, ALLOW);
}

static void emit_sockets(struct program *p)
{
    load(p, low_half(0));
    unsigned short jump = p->len;
    emit(p, BPF_JMP | BPF_JEQ | BPF_K, AF_NETLINK, 0, 0);
    emit_arguments(p, routes, ARRAY_LEN(routes));
    p->code[jump].jf = (uint8_t)(p->len - jump - 1);
    emit_arguments(p, internet, ARRAY_LEN(internet));
}

/* Emits the check of one call, where the search has ended. */
static void emit_check(struct program *p, const struct rule *r)
{
    switch (r->check) {
    case REFUSE:
        end(p, FAIL(EPERM));
        break;
    case ABSENT:
        end(p, FAIL(ENOSYS));
        break;
    case IF_ANY:
    case UNLESS_ANY:
        load(p, low_half(r->argument));
        emit(p, BPF_JMP | BPF_JSET | BPF_K, r->value[0], 0, 1);
        end(p, r->check == IF_ANY ? FAIL(EPERM) : ALLOW);
        end(p, r->check == IF_ANY ? ALLOW : FAIL(EPERM));
        break;
    case IF_ALL:
        load(p, low_half(r->argument));
        emit(p, BPF_ALU | BPF_AND | BPF_K, r->value[0], 0, 0);
        emit(p, BPF_JMP | BPF_JEQ | BPF_K, r->value[0], 0, 1);
        end(p, FAIL(EPERM));
        end(p, ALLOW);
        break;
    case IF_ONE_OF:
        load(p, low_half(r->argument));
        emit_one_of(p, r->value, ALLOW);
        end(p, FAIL(EPERM));
        break;
    case UNLESS_ONE_OF:
        load(p, low_half(r->argument));
        emit_one_of(p, r->value, FAIL(EPERM));
        end(p, ALLOW);
        break;
    case UNLESS_SOCKET:
        emit_sockets(p);
        break;
    case UNLESS_NULL:
        load(p, low_half(r->argument));
        emit(p, BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 2);
        load(p, low_half(r->argument) + sizeof(uint32_t));
        emit(p, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0);
        end(p, FAIL(EPERM));
        end(p, ALLOW);
        break;
    }
}

static void emit_search(struct program *p, const struct rule *r, size_t n)
{
    if (n <= 3) {
        for (size_t i = 0; i < n; i++) {
            unsigned short jump = p->len;

            emit(p, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)r[i].number, 0, 0);
            emit_check(p, &r[i]);
            p->code[jump].jf = (uint8_t)(p->len - jump - 1);
        }
        end(p, ALLOW);
        return;
    }
    size_t half = n / 2;

    emit(p, BPF_JMP | BPF_JGE | BPF_K, (uint32_t)r[half].number, 0, 1);
    unsigned short jump = p->len;
    emit(p, BPF_JMP | BPF_JA, 0, 0, 0);
    emit_search(p, r, half);
    p->code[jump].k = (uint32_t)(p->len - jump - 1);
    emit_search(p, r + half, n - half);
}

static int by_number(const void *a, const void *b)
{
    return ((const struct rule *)a)->number - ((const struct rule *)b)->number;
}

static void build(struct program *p, bool removes)
{
    struct rule all[RULES_MAX];
    size_t n = 0;

    for (size_t i = 0; i < ARRAY_LEN(rules); i++)
        all[n++] = rules[i];
    for (size_t i = 0; !removes && i < ARRAY_LEN(removing); i++)
        all[n++] = removing[i];
    for (size_t i = 0; i < n; i++) {
        struct rule *r = &all[i];

        if (r->number == __NR_tgkill)
            r->value[0] = (uint32_t)getpid();
        /* Comparing twice with the same value is simpler than counting the values. */
        for (size_t v = 1; v < ARRAY_LEN(r->value); v++)
            if (r->value[v] == 0)
                r->value[v] = r->value[0];
    }
    qsort(all, n, sizeof *all, by_number);

    load(p, offsetof(struct seccomp_data, arch));
    emit(p, BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0);
    end(p, FAIL(ENOSYS)); /* a 32-bit call */
    load(p, offsetof(struct seccomp_data, nr));
    emit(p, BPF_JMP | BPF_JGT | BPF_K, NEWEST, 0, 1);
    end(p, FAIL(ENOSYS)); /* the x32 calls too */
    emit_search(p, all, n);
}

int seccomp_filter(bool removes)
{
    struct program *p = base_alloc(sizeof *p);

    build(p, removes);
    const struct sock_fprog filter = { .len = p->len, .filter = p->code };
    /* Without SPEC_ALLOW, kernels before 5.16 would slow the process down to protect
     * programs that run foreign code. */
    long rc = syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER,
                      SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_SPEC_ALLOW, &filter);
    int err = rc < 0 ? errno : rc > 0 ? EBUSY : 0;

    free(p);
    return -err;
}

#else

int seccomp_filter(bool removes)
{
    (void)removes;
    return -ENOSYS;
}

#endif

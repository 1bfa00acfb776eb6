/* seccomp.c: the whole table of the filter. The filter program is not given to the kernel
 * but interpreted here, for every system call number and for the arguments that matter; the
 * result is compared with the test's own list. */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox/seccomp.h"
#include "unit.h"

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#define OTHER_ARCHITECTURE AUDIT_ARCH_I386
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#define OTHER_ARCHITECTURE AUDIT_ARCH_ARM
#endif

#ifdef ARCHITECTURE

#define CODE_MAX 4096
static struct sock_filter code[CODE_MAX];
static size_t code_len;
static unsigned install_flags;

/* In place of the C library's: what seccomp_filter gives to the kernel stays here. */
/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name) */
long syscall(long number, ...)
{
    va_list args;

    assert_int_equal(number, __NR_seccomp);
    va_start(args, number);
    assert_int_equal(va_arg(args, unsigned), SECCOMP_SET_MODE_FILTER);
    install_flags = va_arg(args, unsigned);
    const struct sock_fprog *filter = va_arg(args, const struct sock_fprog *);
    va_end(args);
    assert_true(filter->len <= CODE_MAX && filter->len <= BPF_MAXINSNS);
    code_len = filter->len;
    memcpy(code, filter->filter, code_len * sizeof *code);
    return 0;
}

/* What the kernel would do: runs the program for one call. */
static uint32_t run(const struct seccomp_data *call)
{
    uint32_t a = 0;

    for (size_t at = 0; at < code_len; at++) {
        const struct sock_filter *f = &code[at];

        switch (f->code) {
        case BPF_LD | BPF_W | BPF_ABS:
            assert_true(f->k % 4 == 0 && f->k + sizeof a <= sizeof *call);
            memcpy(&a, (const char *)call + f->k, sizeof a);
            break;
        case BPF_ALU | BPF_AND | BPF_K:
            a &= f->k;
            break;
        case BPF_JMP | BPF_JA:
            at += f->k;
            break;
        case BPF_JMP | BPF_JEQ | BPF_K:
            at += a == f->k ? f->jt : f->jf;
            break;
        case BPF_JMP | BPF_JGE | BPF_K:
            at += a >= f->k ? f->jt : f->jf;
            break;
        case BPF_JMP | BPF_JGT | BPF_K:
            at += a > f->k ? f->jt : f->jf;
            break;
        case BPF_JMP | BPF_JSET | BPF_K:
            at += (a & f->k) != 0 ? f->jt : f->jf;
            break;
        case BPF_RET | BPF_K:
            return f->k;
        default:
            fail_msg("an instruction that this test does not know: %#x", f->code);
        }
    }
    fail_msg("the program has no end");
    return 0;
}

#define ALLOWED SECCOMP_RET_ALLOW
#define REFUSED (SECCOMP_RET_ERRNO | EPERM)
#define ABSENT (SECCOMP_RET_ERRNO | ENOSYS)

static const char *name_of(uint32_t verdict)
{
    return verdict == ALLOWED   ? "allowed"
           : verdict == REFUSED ? "refused"
           : verdict == ABSENT  ? "absent"
                                : "something else";
}

/* Refused whatever the arguments are. */
#define N(name) { __NR_##name, #name },
/* clang-format off */
static const struct named {
    int number;
    const char *name;
} refused[] = {
    /* another program, another process, other rights */
    N(execve) N(execveat) N(setns) N(unshare) N(personality)
    N(setuid) N(setgid) N(setreuid) N(setregid) N(setresuid) N(setresgid) N(setfsuid) N(setfsgid)
    N(setgroups) N(capset)
    /* other processes */
    N(kill) N(tkill) N(rt_sigqueueinfo) N(rt_tgsigqueueinfo) N(pidfd_open) N(pidfd_getfd)
    N(pidfd_send_signal) N(process_vm_readv) N(process_vm_writev) N(process_madvise)
    N(process_mrelease) N(kcmp) N(migrate_pages) N(move_pages)
    /* what processes share */
    N(shmget) N(shmat) N(shmctl) N(semget) N(semctl) N(semop) N(semtimedop) N(msgget) N(msgsnd)
    N(msgrcv) N(msgctl) N(mq_open) N(mq_unlink)
    /* a port of its own */
    N(listen)
    /* files */
    N(mkdirat) N(mknodat) N(linkat) N(symlinkat) N(renameat2) N(renameat) N(truncate)
    N(fallocate) N(fchmod) N(fchmodat) N(fchown) N(fchownat) N(utimensat)
    N(setxattr) N(lsetxattr) N(fsetxattr) N(removexattr) N(lremovexattr) N(fremovexattr)
    N(open_by_handle_at) N(name_to_handle_at) N(fanotify_init) N(fanotify_mark) N(flock)
    /* the machine */
    N(mount) N(umount2) N(pivot_root) N(chroot) N(fsopen) N(fsconfig) N(fsmount) N(fspick)
    N(open_tree) N(move_mount) N(mount_setattr) N(swapon) N(swapoff) N(quotactl) N(quotactl_fd)
    N(acct) N(reboot) N(sethostname) N(setdomainname) N(settimeofday) N(clock_settime)
    N(clock_adjtime) N(adjtimex) N(syslog) N(vhangup) N(setrlimit) N(nfsservctl)
    N(init_module) N(finit_module) N(delete_module) N(kexec_load) N(kexec_file_load)
    /* parts of the kernel that had many faults */
    N(bpf) N(perf_event_open) N(userfaultfd) N(keyctl) N(add_key) N(request_key)
    N(io_uring_setup) N(io_uring_enter) N(io_uring_register) N(io_setup) N(io_submit)
    N(vmsplice) N(lookup_dcookie) N(mbind) N(set_mempolicy) N(remap_file_pages)
#ifdef __x86_64__
    N(fork) N(vfork) N(uselib) N(ustat) N(sysfs) N(_sysctl) N(iopl) N(ioperm) N(modify_ldt)
    N(create_module) N(get_kernel_syms) N(query_module)
    N(creat) N(mkdir) N(rmdir) N(mknod) N(link) N(symlink) N(rename) N(chmod)
    N(chown) N(lchown) N(utime) N(utimes) N(futimesat)
#endif
#ifndef SANDBOX_SANITIZED
    N(ptrace)
#endif
};
/* clang-format on */

/* As if the kernel did not have them. */
static const struct named absent[] = { N(clone3) N(openat2) };

/* Decided by an argument: see below. */
static const struct named by_argument[] = { N(openat) N(socket) N(tgkill) N(prlimit64) N(ioctl)
                                                N(mmap) N(mprotect) N(pkey_mprotect)
#ifdef __NR_open
                                                    N(open)
#endif
#ifndef SANDBOX_SANITIZED
                                                        N(clone) N(prctl)
#endif
};

/* Removing a file: refused unless a unix socket has to go at the end. */
static const struct named removing[] = { N(unlinkat)
#ifdef __NR_unlink
                                             N(unlink)
#endif
};

#define IN(list, number) is_in(list, ARRAY_LEN(list), number)

static bool is_in(const struct named *list, size_t n, int number)
{
    for (size_t i = 0; i < n; i++)
        if (list[i].number == number)
            return true;
    return false;
}

static void install(bool removes)
{
    code_len = 0;
    assert_int_equal(seccomp_filter(removes), 0);
    assert_true(code_len > 0);
    /* all threads, those that run already too */
    assert_true((install_flags & SECCOMP_FILTER_FLAG_TSYNC) != 0);
}

static uint32_t expected(int number, bool removes)
{
    if (number > 450) /* younger than the table */
        return ABSENT;
    if (IN(removing, number))
        return removes ? ALLOWED : REFUSED;
    if (IN(absent, number))
        return ABSENT;
    return IN(refused, number) ? REFUSED : ALLOWED;
}

static void every_number_is_refused_or_allowed_as_the_list_says(void **state)
{
    (void)state;
    for (int removes = 0; removes < 2; removes++) {
        install(removes == 1);
        for (int number = 0; number < 1000; number++) {
            for (int filled = 0; filled < 2; filled++) {
                struct seccomp_data call = { .nr = number, .arch = ARCHITECTURE };

                if (IN(by_argument, number))
                    continue;
                memset(call.args, filled ? 0xff : 0, sizeof call.args);
                if (run(&call) != expected(number, removes == 1))
                    fail_msg("call %d is %s and should be %s", number, name_of(run(&call)),
                             name_of(expected(number, removes == 1)));
            }
        }
    }
}

static void calls_by_another_gate_of_the_kernel_do_not_exist(void **state)
{
    (void)state;
    install(false);
    for (int number = 0; number < 1000; number++) {
        struct seccomp_data other = { .nr = number, .arch = OTHER_ARCHITECTURE };
        /* the numbers of x32, and negative ones, which a tracer leaves behind */
        struct seccomp_data x32 = { .nr = number | 0x40000000, .arch = ARCHITECTURE };
        struct seccomp_data below = { .nr = -1 - number, .arch = ARCHITECTURE };

        assert_int_equal(run(&other), ABSENT);
        assert_int_equal(run(&x32), ABSENT);
        assert_int_equal(run(&below), ABSENT);
    }
}

struct decided {
    const char *what;
    int number;
    unsigned argument;
    uint64_t value;
    uint32_t verdict;
};

static const struct decided decisions[] = {
    { "openat to read", __NR_openat, 2, O_RDONLY | O_CLOEXEC | O_NONBLOCK, ALLOWED },
    { "openat to read a folder", __NR_openat, 2, O_RDONLY | O_DIRECTORY | O_PATH, ALLOWED },
    { "openat to write", __NR_openat, 2, O_WRONLY, REFUSED },
    { "openat to read and write", __NR_openat, 2, O_RDWR | O_CLOEXEC, REFUSED },
    { "openat to make", __NR_openat, 2, O_CREAT, REFUSED },
    { "openat to empty", __NR_openat, 2, O_TRUNC, REFUSED },
#ifdef __NR_open
    { "open to read", __NR_open, 1, O_RDONLY | O_CLOEXEC, ALLOWED },
    { "open to write", __NR_open, 1, O_WRONLY, REFUSED },
    { "open to read and write", __NR_open, 1, O_RDWR, REFUSED },
    { "open to make", __NR_open, 1, O_CREAT, REFUSED },
    { "open to empty", __NR_open, 1, O_TRUNC, REFUSED },
#endif
    { "a unix socket", __NR_socket, 0, AF_UNIX, REFUSED },
    { "no family", __NR_socket, 0, AF_UNSPEC, REFUSED },
    { "a packet socket", __NR_socket, 0, AF_PACKET, REFUSED },
    { "a vsock socket", __NR_socket, 0, AF_VSOCK, REFUSED },
    { "an alg socket", __NR_socket, 0, AF_ALG, REFUSED },
    { "a signal to a process group", __NR_tgkill, 0, 0, REFUSED },
    { "a signal to init", __NR_tgkill, 0, 1, REFUSED },
    { "a limit that is read", __NR_prlimit64, 2, 0, ALLOWED },
    { "a limit that is set", __NR_prlimit64, 2, 1, REFUSED },
    { "a limit from above 4 GiB", __NR_prlimit64, 2, UINT64_C(1) << 32, REFUSED },
    { "how much can be read", __NR_ioctl, 1, FIONREAD, ALLOWED },
    { "typing into the terminal", __NR_ioctl, 1, TIOCSTI, REFUSED },
    { "pasting into the terminal", __NR_ioctl, 1, TIOCLINUX, REFUSED },
    { "another discipline of the terminal", __NR_ioctl, 1, TIOCSETD, REFUSED },
    { "memory", __NR_mmap, 2, PROT_READ | PROT_WRITE, ALLOWED },
    { "code from a file", __NR_mmap, 2, PROT_READ | PROT_EXEC, ALLOWED },
    { "code that can be written", __NR_mmap, 2, PROT_WRITE | PROT_EXEC, REFUSED },
    { "memory of every kind", __NR_mmap, 2, PROT_READ | PROT_WRITE | PROT_EXEC, REFUSED },
    { "memory made writable", __NR_mprotect, 2, PROT_READ | PROT_WRITE, ALLOWED },
    { "memory made code", __NR_mprotect, 2, PROT_READ | PROT_EXEC, REFUSED },
    { "memory with a key", __NR_pkey_mprotect, 2, PROT_READ | PROT_WRITE, ALLOWED },
    { "memory with a key made code", __NR_pkey_mprotect, 2, PROT_EXEC, REFUSED },
#ifndef SANDBOX_SANITIZED
    { "a thread", __NR_clone, 0, CLONE_THREAD | CLONE_VM | CLONE_SIGHAND, ALLOWED },
    { "a process", __NR_clone, 0, CLONE_VM | CLONE_VFORK | 17, REFUSED },
    { "a name for the thread", __NR_prctl, 0, PR_SET_NAME, ALLOWED },
    { "to be dumpable", __NR_prctl, 0, PR_SET_DUMPABLE, REFUSED },
    { "another map of the memory", __NR_prctl, 0, PR_SET_MM, REFUSED },
    { "a tracer", __NR_prctl, 0, PR_SET_PTRACER, REFUSED },
#endif
};

/* Each decision by itself: nothing but the one argument may count, or nothing else may
 * excuse. */
static void an_argument_decides_where_the_number_does_not(void **state)
{
    (void)state;
    install(false);
    for (size_t i = 0; i < ARRAY_LEN(decisions); i++) {
        const struct decided *d = &decisions[i];

        for (int filled = 0; filled < 2; filled++) {
            struct seccomp_data call = { .nr = d->number, .arch = ARCHITECTURE };

            memset(call.args, filled ? 0xff : 0, sizeof call.args);
            call.args[d->argument] = d->value;
            if (run(&call) != d->verdict)
                fail_msg("%s is %s and should be %s", d->what, name_of(run(&call)),
                         name_of(d->verdict));
        }
    }
}

/* What libcurl, getaddrinfo and libpq open, and what differs from it in one argument. */
static void a_socket_is_for_tcp_udp_or_the_routes(void **state)
{
    static const struct {
        const char *what;
        uint64_t domain, type, protocol;
        uint32_t verdict;
    } cases[] = {
        { "TCP", AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP, ALLOWED },
        { "TCP, not named", AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0, ALLOWED },
        { "UDP", AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_UDP, ALLOWED },
        { "UDP, not named", AF_INET, SOCK_DGRAM, 0, ALLOWED },
        { "getaddrinfo's netlink", AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0, ALLOWED },
        { "Multipath TCP", AF_INET, SOCK_STREAM, 262, REFUSED },
        { "Multipath TCP by IPv6", AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 262, REFUSED },
        { "SCTP", AF_INET, SOCK_STREAM, 132, REFUSED },
        { "SCTP, not named", AF_INET, SOCK_SEQPACKET, 0, REFUSED },
        { "DCCP", AF_INET, 6, 33, REFUSED },
        { "ICMP", AF_INET, SOCK_DGRAM, 1, REFUSED },
        { "every raw packet", AF_INET, SOCK_RAW, 255, REFUSED },
        { "raw TCP", AF_INET, SOCK_RAW, IPPROTO_TCP, REFUSED },
        { "raw UDP by IPv6", AF_INET6, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_UDP, REFUSED },
        { "raw, not named", AF_INET, SOCK_RAW, 0, REFUSED },
        { "netlink of IPsec", AF_NETLINK, SOCK_RAW, 6, REFUSED },
        { "netlink with UDP's number", AF_NETLINK, SOCK_DGRAM, IPPROTO_UDP, REFUSED },
        { "generic netlink", AF_NETLINK, SOCK_RAW, 16, REFUSED },
        { "the kernel's events", AF_NETLINK, SOCK_RAW, 15, REFUSED },
        { "a unix socket", AF_UNIX, SOCK_STREAM, 0, REFUSED },
    };

    (void)state;
    install(false);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct seccomp_data call = { .nr = __NR_socket,
                                           .arch = ARCHITECTURE,
                                           .args = { cases[i].domain, cases[i].type,
                                                     cases[i].protocol } };

        if (run(&call) != cases[i].verdict)
            fail_msg("%s is %s", cases[i].what, name_of(run(&call)));
    }
}

static void a_signal_may_go_to_this_process_only(void **state)
{
    (void)state;
    install(false);
    struct seccomp_data call = { .nr = __NR_tgkill, .arch = ARCHITECTURE };
    call.args[0] = (__u64)getpid();
    assert_int_equal(run(&call), ALLOWED); /* abort() */
    call.args[0] = (__u64)getppid();
    assert_int_equal(run(&call), REFUSED);
    call.args[0] = (uint64_t)getpid() + 1;
    assert_int_equal(run(&call), REFUSED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_number_is_refused_or_allowed_as_the_list_says),
        cmocka_unit_test(calls_by_another_gate_of_the_kernel_do_not_exist),
        cmocka_unit_test(an_argument_decides_where_the_number_does_not),
        cmocka_unit_test(a_socket_is_for_tcp_udp_or_the_routes),
        cmocka_unit_test(a_signal_may_go_to_this_process_only),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

int main(void)
{
    (void)printf("SKIPPED: no filter is made for this architecture\n");
    return 77;
}

#endif

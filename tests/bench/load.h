#pragma once
/* What the parts of bench-load share: a caller that keeps its connection, and the meters of the
 * program under test. */
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NO_RETURN __attribute__((noreturn))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

void die(const char *fmt, ...) PRINTF_LIKE(1, 2) NO_RETURN;
int64_t now_ns(void);

/* One request, the same for every caller: a head, and a body of that many equal bytes. */
struct request {
    char head[1024];
    size_t head_len;
    int64_t body_bytes;
};

#define IN_BYTES 262144
#define HEAD_BYTES 16384

enum caller_state { CALLER_FREE, CALLER_SENDING, CALLER_READING };

struct caller {
    int fd;
    bool wants_write;
    enum caller_state state;
    int64_t due_ns;    /* when the request was to be sent */
    int64_t sent;      /* bytes of it */
    int64_t body_left; /* of the answer; -1: its head is not whole yet */
    size_t head_len;
    int status;
    char head[HEAD_BYTES];
    struct caller *next_free;
};

/* A connection to 127.0.0.1, non-blocking; rcvbuf 0: the system's. */
int caller_connect(int port, int rcvbuf);
void caller_begin(struct caller *c, int64_t due_ns);
/* Sends what can be sent. False: the connection is broken. */
bool caller_send(struct caller *c, const struct request *r);
/* Reads what is there. 1: the answer is whole; 0: not yet; -1: broken, or not an answer. */
int caller_receive(struct caller *c);

struct meters {
    int pids[64];
    size_t count;
    volatile uint64_t *allocations; /* NULL: not counted */
};
/* CPU time of all threads of those processes, in nanoseconds. */
int64_t meters_cpu_ns(const struct meters *m);
/* A comma-separated list of process ids. */
void meters_watch(struct meters *m, const char *pids);
/* The file that count_alloc.so counts in. */
void meters_count(struct meters *m, const char *path);

/* load_hold.c: other commands than a plain load. */
struct options {
    int port, connections;
    int64_t requests, warm_up;
    double rate; /* 0: closed loop */
    struct request request;
    struct meters meters;
    bool used;
};
int load_hold(const struct options *o);
int load_slow(const struct options *o);
int load_first(int port, const struct request *r, char **command);

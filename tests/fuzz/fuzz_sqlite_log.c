/* Any bytes as SQLite's log and as what is beside it, which says how much of it was durable: it is taken
 * or refused with a reason, and what is taken stays so when more was written behind it. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ledger/sqlite_log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ACKED_BYTES 48

static char base[64], log_path[80], acked_path[80];

static void remove_files(void)
{
    (void)unlink(log_path);
    (void)unlink(acked_path);
}

static void write_file(const char *path, const uint8_t *bytes, size_t size)
{
    auto_close int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    if (fd < 0 || write(fd, bytes, size) != (ssize_t)size)
        abort();
}

static int check(struct buf *error)
{
    struct sqlite_log l;

    buf_clear(error);
    if (sqlite_log_init(&l, base, error) != 0)
        abort();
    int rc = sqlite_log_check(&l, error);

    if ((rc == 0) != (buf_unread(error) == 0))
        abort();
    sqlite_log_done(&l);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t acked = size < ACKED_BYTES ? size : ACKED_BYTES;
    struct buf error;

    if (base[0] == '\0') {
        (void)snprintf(base, sizeof base, "/tmp/fuzz_sqlite_log-%d", (int)getpid());
        (void)snprintf(log_path, sizeof log_path, "%s-wal", base);
        (void)snprintf(acked_path, sizeof acked_path, "%s-acked", base);
        (void)atexit(remove_files);
    }
    buf_init(&error, 4096);
    write_file(acked_path, data, acked);
    write_file(log_path, data + acked, size - acked);
    int rc = check(&error);

    if (rc == 0 && size - acked >= 32) { /* a log with a head */
        int fd = open(log_path, O_WRONLY | O_APPEND | O_CLOEXEC);

        if (fd < 0 || write(fd, "torn", 4) != 4)
            abort();
        (void)close(fd);
        if (check(&error) != 0)
            abort();
    }
    buf_done(&error);
    return 0;
}

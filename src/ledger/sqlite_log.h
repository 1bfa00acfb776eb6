#pragma once
/* Checks whether SQLite's write-ahead log has lost anything that was durable. SQLite reads
 * its log up to the first damaged frame and takes the rest for a write that was never
 * finished: after a flipped bit, claims that were acknowledged would silently be forgotten,
 * and their requests sent again. So a file beside the log records how many frames were
 * durable.
 *
 *     <path>-acked: the log's header (32 bytes), frames (8), checksum (8)
 *
 * It is written after each commit and not synchronised: it survives the end of the process;
 * after a power failure it may be older, and then it says too little, never too much. Format
 * of the log: https://www.sqlite.org/fileformat2.html#walformat */
#include "base/buf.h"

struct sqlite_log {
    char *path; /* of the log */
    int fd;     /* the log; -1: before sqlite_log_begin */
    int acked_fd;
};

/* Opens or creates the file beside the log of that database; the log itself is not read yet.
 * Returns 0 or -errno with a sentence in `error`; call sqlite_log_done in both cases. */
int sqlite_log_init(struct sqlite_log *l, const char *database, struct buf *error) MUST_CHECK;
/* Takes a zeroed one with fd -1. */
void sqlite_log_done(struct sqlite_log *l);

/* Whether everything that was durable is still there. Reads the log; the caller has the
 * database's lock and has not written. Returns 0, or -errno with a sentence in `error`. */
int sqlite_log_check(struct sqlite_log *l, struct buf *error) MUST_CHECK;

/* Opens the log, once it was created; later, when the first commit is recorded, the sandbox
 * would not allow it. Returns 0 or -errno with a sentence in `error`. */
int sqlite_log_begin(struct sqlite_log *l, struct buf *error) MUST_CHECK;

/* Call it before the log is emptied: records durably that nothing in it counts. Returns 0 or
 * -errno. */
int sqlite_log_forget(struct sqlite_log *l) MUST_CHECK;

/* Call it after a commit, for a log that was begun: records that so many frames are durable.
 * If it fails, less is known. */
void sqlite_log_acked(struct sqlite_log *l, uint64_t frames);

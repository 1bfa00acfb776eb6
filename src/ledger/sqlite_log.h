#pragma once
/* Finds out whether SQLite's log has lost anything that was durable. SQLite reads its log up to the
 * first frame that is damaged and takes what follows for a write that was never finished: after a
 * flipped bit claims that were acknowledged would be forgotten without a word, and their requests
 * sent again. So it is written down, in a file beside the log, how many frames were durable.
 *
 *     <path>-acked: the log's head (32 bytes), frames (8), checksum (8)
 *
 * It is written after each commit and not synchronised: it survives the end of the process; after a
 * loss of power it may be older, and says less, never too much. Format of the log:
 * https://www.sqlite.org/fileformat2.html#walformat */
#include "base/buf.h"

struct sqlite_log {
    char *path; /* of the log */
    int fd;     /* the log; -1: before sqlite_log_begin */
    int acked_fd;
};

/* Opens, or makes, the file beside the log of that database; nothing of the log is looked at yet.
 * Returns 0 or -errno with a sentence in `error`; sqlite_log_done is due in both cases. */
int sqlite_log_init(struct sqlite_log *l, const char *database, struct buf *error) MUST_CHECK;
/* Takes a zeroed one with fd -1. */
void sqlite_log_done(struct sqlite_log *l);

/* Whether all is there that was durable. Reads the log; whoever calls this has the database's lock,
 * and has not written. Returns 0, or -errno with a sentence in `error`. */
int sqlite_log_check(struct sqlite_log *l, struct buf *error) MUST_CHECK;

/* Once the log has been made: opens it, since the sandbox allows that no more when the first commit
 * is told. Returns 0 or -errno with a sentence in `error`. */
int sqlite_log_begin(struct sqlite_log *l, struct buf *error) MUST_CHECK;

/* Before the log is emptied: nothing of it counts any more, durably. Returns 0 or -errno. */
int sqlite_log_forget(struct sqlite_log *l) MUST_CHECK;

/* After a commit, of a log that was begun: so many frames of it are durable. A failure only means
 * that less is known. */
void sqlite_log_acked(struct sqlite_log *l, uint64_t frames);

#pragma once
/* Notices that files may have changed, however that is done: written in place, replaced by a
 * rename, a symbolic link on the way to them swapped (Kubernetes), a directory replaced,
 * removed and made again. Thread: control. */
#include "base/base.h"
#include "event/loop.h"

#define FILE_WATCH_FILES_MAX 64
/* Directories and names that are looked at on the way to the files. */
#define FILE_WATCH_STEPS_MAX 1024

/* A name in a directory that leads to a file. */
struct file_watch_step {
    int wd; /* inotify's number of the directory */
    char *name;
};

struct file_watch {
    struct loop *loop;
    struct loop_io events;    /* inotify; fd -1: not to be had */
    struct loop_timer settle; /* armed while changes come in */
    struct loop_timer poll;
    int64_t first_ms; /* the first of these changes */
    char *file[FILE_WATCH_FILES_MAX];
    size_t files;
    struct file_watch_step *step;
    size_t steps, steps_cap;
    bool blind, logged; /* a directory of a file cannot be watched; that has been logged */
    void (*on_change)(struct file_watch *w);
};

/* on_change comes once the files have been left alone for a moment, and now and then without a
 * cause, since network file systems tell nothing: it has to look whether anything is different.
 * Without inotify it comes every few seconds, and a line of the log says so. */
void file_watch_init(struct file_watch *w, struct loop *l,
                     void (*on_change)(struct file_watch *w));
void file_watch_done(struct file_watch *w);

/* The files to watch from now on, at most FILE_WATCH_FILES_MAX; NULLs are passed over. They
 * need not exist. One may be a directory: what comes and goes in it counts. */
void file_watch_files(struct file_watch *w, const char *const *files, size_t count);

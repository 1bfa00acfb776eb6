#pragma once
/* Notices that files may have changed, in whatever way: written in place, replaced by a
 * rename, a symbolic link on the path replaced (Kubernetes), a directory replaced, removed
 * or created again. Thread: control. */
#include "base/base.h"
#include "event/loop.h"

#define FILE_WATCH_FILES_MAX 64
/* Most directory entries that the paths of all files lead through. */
#define FILE_WATCH_STEPS_MAX 1024

/* A name in a directory, on the path to a file. */
struct file_watch_step {
    int wd; /* inotify's watch descriptor of the directory */
    char *name;
};

struct file_watch {
    struct loop *loop;
    struct loop_io events;    /* inotify; fd -1: not available */
    struct loop_timer settle; /* armed while changes arrive */
    struct loop_timer poll;
    int64_t first_ms; /* when the first of these changes was seen */
    char *file[FILE_WATCH_FILES_MAX];
    size_t files;
    struct file_watch_step *step;
    size_t steps, steps_cap;
    bool blind, logged; /* a directory of a file cannot be watched; that has been logged */
    void (*on_change)(struct file_watch *w);
};

/* on_change is called when the files have not changed for a moment after a change, and also
 * now and then without one, because network file systems report nothing. It has to check
 * whether anything is different. Without inotify it is called every few seconds, and a log
 * line says so. */
void file_watch_init(struct file_watch *w, struct loop *l,
                     void (*on_change)(struct file_watch *w));
void file_watch_done(struct file_watch *w);

/* Sets the files to watch from now on, at most FILE_WATCH_FILES_MAX; NULLs are skipped. They
 * need not exist. For a directory, every name in it counts. */
void file_watch_files(struct file_watch *w, const char *const *files, size_t count);

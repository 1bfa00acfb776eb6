#pragma once
/* Notices that files may have changed, however that is done: written in place, replaced by a
 * rename, a symbolic link on the way to them swapped (Kubernetes), a directory replaced,
 * removed and made again. Thread: control. */
#include "base/base.h"
#include "event/loop.h"

#define WATCH_FILES_MAX 4
/* Directories and names that are looked at on the way to the files. */
#define WATCH_STEPS_MAX 128

/* A name in a directory that leads to a file. */
struct watch_step {
    int wd; /* inotify's number of the directory */
    char name[256];
};

struct watch {
    struct loop *loop;
    struct loop_watch events; /* inotify; fd -1: not to be had */
    struct loop_timer settle; /* armed while changes come in */
    struct loop_timer poll;
    int64_t first_ms; /* the first of these changes */
    char *file[WATCH_FILES_MAX];
    size_t files;
    struct watch_step *step; /* WATCH_STEPS_MAX */
    size_t steps;
    bool blind, said; /* a directory of a file cannot be watched; it has been said */
    void (*on_change)(struct watch *w);
};

/* on_change comes once the files have been left alone for a moment, and now and then without a
 * cause, since network file systems tell nothing: it has to look whether anything is different.
 * Without inotify it comes every few seconds, and a line of the log says so. */
void watch_init(struct watch *w, struct loop *l, void (*on_change)(struct watch *w));
void watch_done(struct watch *w);

/* The files to watch from now on, at most WATCH_FILES_MAX; NULLs are passed over. They need not
 * exist. */
void watch_files(struct watch *w, const char *const *files, size_t count);

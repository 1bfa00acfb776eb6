/* Holding one thread of the program under test, as a debugger does. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "proxy_inside.h"
#include "unit.h"

/* 0: there is none of that name. */
static pid_t find_thread(pid_t pid, const char *name)
{
    char path[320], comm[32];
    (void)snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    pid_t found = 0;
    struct dirent *entry;
    while (found == 0 && (entry = readdir(dir)) != NULL) {
        (void)snprintf(path, sizeof path, "/proc/%d/task/%s/comm", (int)pid, entry->d_name);
        FILE *file = fopen(path, "re");
        if (file == NULL)
            continue;
        if (fgets(comm, sizeof comm, file) != NULL) {
            comm[strcspn(comm, "\n")] = '\0';
            if (strcmp(comm, name) == 0)
                found = (pid_t)strtol(entry->d_name, NULL, 10);
        }
        (void)fclose(file);
    }
    (void)closedir(dir);
    return found;
}

bool proxy_stop_thread(struct proxy *p, const char *name)
{
    pid_t tid = find_thread(p->pid, name);
    assert_true(tid > 0);
    if (ptrace(PTRACE_SEIZE, tid, NULL, NULL) != 0) {
        perror("ptrace");
        return false;
    }
    assert_int_equal(ptrace(PTRACE_INTERRUPT, tid, NULL, NULL), 0);
    assert_int_equal(waitpid(tid, NULL, __WALL), tid);
    p->stopped = tid;
    return true;
}

void proxy_resume_thread(struct proxy *p)
{
    if (p->stopped > 0)
        (void)ptrace(PTRACE_DETACH, p->stopped, NULL, NULL);
    p->stopped = 0;
}

#pragma once
/* Looks for copies of a secret in this program's own heap, freed pieces included. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "unit.h"

/* Looks through the heap for a text whose parts come from two places, so that this code
 * itself leaves no copy of it. */
static inline size_t copies_in_heap(const char *head, const char *tail)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    size_t head_len = strlen(head);
    size_t tail_len = strlen(tail);
    size_t copies = 0;
    char line[512];

    assert_non_null(maps);
    (void)setvbuf(maps, NULL, _IONBF, 0);
    while (fgets(line, sizeof line, maps) != NULL) {
        uintptr_t from;
        uintptr_t to;
        if (strstr(line, "[heap]") == NULL || sscanf(line, "%lx-%lx", &from, &to) != 2)
            continue;
        const char *end = (const char *)to - head_len - tail_len;
        for (const char *at = (const char *)from; at < end; at++)
            if (memcmp(at, head, head_len) == 0 && memcmp(at + head_len, tail, tail_len) == 0)
                copies++;
    }
    (void)fclose(maps);
    return copies;
}

/* Skips the test where the heap cannot be searched: valgrind and the sanitizers have their
 * own. */
static inline void need_heap(void)
{
    char *known = malloc(64);
    assert_non_null(known);
    (void)snprintf(known, 64, "%s%s", "known-", "copy");
    size_t seen = copies_in_heap("known-", "copy");
    free(known);
    if (seen == 0)
        skip();
}

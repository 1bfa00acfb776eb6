/* Who a connection belongs to until libmicrohttpd has started it; see handover.h. */
#include "downstream/handover.h"

#include <string.h>

#include "net/mhd_host.h"

void handovers_init(struct handovers *all, struct mhd_host *h)
{
    *all = (struct handovers){ .mhd_host = h };
}

void handovers_done(struct handovers *all)
{
    free(all->by_fd);
    *all = (struct handovers){ .count = 0 };
}

static struct handover *entry_of(const struct handovers *all, int fd)
{
    return fd >= 0 && (size_t)fd < all->count ? &all->by_fd[fd] : NULL;
}

static void make_room(struct handovers *all, int fd)
{
    size_t count = (size_t)fd + 256;

    if ((size_t)fd < all->count)
        return;
    struct handover *more = realloc(all->by_fd, count * sizeof *more);

    if (more == NULL)
        abort();
    memset(more + all->count, 0, (count - all->count) * sizeof *more);
    all->by_fd = more;
    all->count = count;
}

int handover_give(struct handovers *all, int fd, struct handover known,
                  const struct sockaddr *addr, socklen_t len)
{
    make_room(all, fd);
    all->by_fd[fd] = known;
    return mhd_host_take(all->mhd_host, fd, addr, len);
}

struct handover handover_take(struct handovers *all, int fd)
{
    struct handover *at = entry_of(all, fd), known = { .kind = HANDOVER_UNKNOWN };

    if (at != NULL) {
        known = *at;
        *at = (struct handover){ .kind = HANDOVER_UNKNOWN };
    }
    return known;
}

void handover_bridge_gone(struct handovers *all, int fd, const struct tls_bridge *t)
{
    struct handover *at = entry_of(all, fd);

    if (at != NULL && at->tls_bridge == t)
        at->tls_bridge = NULL;
}

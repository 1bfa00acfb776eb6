#pragma once
/* Runs libcurl's multi interface on a loop: its sockets, its timer, and finished transfers.
 * Also sets the options that every handle of ours has, and decides how long each address of
 * a name is tried. */
#include <curl/curl.h>

#include "base/base.h"
#include "event/loop.h"

struct curl_host_socket;

struct curl_host {
    CURLM *curl;
    struct loop *loop;
    struct loop_timer timer, next_address;
    struct curl_host_socket **sockets; /* by descriptor */
    size_t sockets_cap;
    size_t transfers;        /* in the multi; each must have left before curl_host_done */
    bool starved;            /* no descriptor was left for the last connection */
    bool names_old;          /* the next transfer resolves its name again */
    uint64_t opened, closed; /* connections so far, for the metrics */
};

/* A running transfer, embedded in its owner. The owner sets the first four members. */
struct curl_host_transfer {
    CURL *easy;
    bool connects; /* CURLOPT_CONNECT_ONLY: it keeps its connection after on_done */
    /* for all addresses together, TLS included; 0: libcurl's own timeout, and no address is
     * given up early */
    int64_t connect_timeout_ms;
    void (*on_done)(struct curl_host_transfer *t, CURLcode code);

    /* From here on written by curl_host.c only. on_done may read name_silent, reached,
     * addresses, opened and silent. A round is one try of all addresses of the name. */
    struct curl_host *host;
    bool running;
    bool name_silent; /* no name server answered in time */
    bool reached;     /* a TCP connection was made */
    int64_t started_ms, connect_until_ms;
    struct loop_timer time_over;
    bool timeout_set;               /* libcurl was given the timeout that ends it */
    struct curl_host_socket *tried; /* the sockets of its addresses */
    unsigned round;                 /* number of the present round, from 0 */
    unsigned addresses;             /* number of addresses in the round before; 0: not known */
    unsigned opened;                /* addresses tried in this round */
    unsigned silent;                /* of these, given up without an answer or refusal */
};

/* pool: how many idle connections libcurl keeps. Returns 0 or -errno. */
int curl_host_init(struct curl_host *m, struct loop *l, long pool) MUST_CHECK;
/* No transfer may be running or hold a connection: libcurl 8.14 leaks the connection of a
 * handle that is still in a multi when that is cleaned up. */
void curl_host_done(struct curl_host *m);

/* PEM text in memory; data NULL: none. */
struct curl_host_pem {
    const char *data;
    size_t len;
};

/* How connections are made; config_outbound fills it in for each of the two legs. */
struct curl_host_settings {
    struct curl_host_pem ca; /* authorities to trust; none: the system's */
    const char *trust_file;  /* a copy of the system's; NULL: the file itself */
    /* our client certificate, for a server that asks for one */
    struct curl_host_pem certificate, key;
    /* when the system's last changed, by trust_store_clock_ms; 0: never */
    int64_t trust_changed_ms;
    const char *proxy; /* "env", "none", or a URL */
    int64_t connect_timeout_ms, keepalive_ms;
    long http_version; /* CURL_HTTP_VERSION_... */
    int port;          /* of the URL, for the exceptions in NO_PROXY */
    bool lasting;      /* the strings outlive the handle, so they are not copied */
};

/* Sets what is the same for every handle: protocols, TLS, proxy, connect timeout, no
 * redirects, no netrc, no header of libcurl's own. Returns 0 or -EINVAL. */
int curl_host_setup(struct curl_host *m, CURL *easy,
                    const struct curl_host_settings *s) MUST_CHECK;

/* libcurl does not understand ports in NO_PROXY. From such a list this takes the entries
 * that apply to the port, without their ports. NULL: no entry has a port, and the list can
 * be used as it is. The caller frees the result. */
char *curl_host_no_proxy(const char *list, int port);

/* Starts a transfer; on_done is called later, never from within. Returns 0, or -ENOMEM:
 * nothing was started. */
int curl_host_add(struct curl_host *m, struct curl_host_transfer *t) MUST_CHECK;
/* The next transfer resolves its name again, ignoring libcurl's cache. This happens by
 * itself after a failed connection. */
static inline void curl_host_forget_names(struct curl_host *m)
{
    m->names_old = true;
}
/* Whether a running transfer still waits for its name to be resolved. */
static inline bool curl_host_has_no_address(const struct curl_host_transfer *t)
{
    return t->running && t->opened == 0 && t->round == 0;
}
/* Ends a running transfer without on_done. Takes one that is not running. Never call it from
 * a curl callback. */
void curl_host_remove(struct curl_host *m, struct curl_host_transfer *t);

/* From now on the owner watches the socket of a connection that was made (`connects`). */
void curl_host_release(struct curl_host *m, curl_socket_t fd);

/* If the timer is due, does its work now instead of in the next turn: a transfer that was
 * just added starts without another round of the loop. Returns whether it did anything. */
bool curl_host_turn(struct curl_host *m);

/* Call it once in main, before any thread. Returns 0, -EIO or -ENOMEM. */
int curl_host_global_init(void) MUST_CHECK;

/* The version of the loaded library, "7.88.1". */
const char *curl_host_library_version(void);

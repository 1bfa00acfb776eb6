#pragma once
/* libcurl's multi interface hosted on a loop: sockets, its timer, and the finished
 * transfers. Also what every handle of ours is set to, and how long each address of a name gets
 * when connecting. */
#include <curl/curl.h>

#include "base/base.h"
#include "event/loop.h"

struct curl_host_socket;

struct curl_host {
    CURLM *curl;
    struct loop *loop;
    struct loop_timer timer, go_on;
    struct curl_host_socket **sockets; /* by descriptor */
    size_t sockets_cap;
    size_t transfers;        /* in it; each must have left before curl_host_done */
    bool starved;            /* there was no descriptor for the last connection */
    bool names_old;          /* the next transfer asks for its name anew */
    uint64_t opened, closed; /* connections so far, for the metrics */
};

/* One running transfer; embedded in its owner, who sets what is above the line. */
struct curl_host_transfer {
    CURL *easy;
    bool connects; /* CURLOPT_CONNECT_ONLY: it goes on holding its connection after on_done */
    int64_t connect_timeout_ms; /* for all addresses together, TLS included; 0: libcurl's own,
                                   and no address is given up early */
    void (*on_done)(struct curl_host_transfer *t, CURLcode code);

    /* from here on: curl_host.c's */
    struct curl_host *host;
    bool running;
    bool name_silent; /* for on_done: no name server answered in time */
    bool reached;     /* for on_done: there was a connection by TCP */
    int64_t started_ms, connect_until_ms;
    struct loop_timer time_over;
    bool told_over;                 /* libcurl knows of it */
    struct curl_host_socket *tried; /* the sockets of its addresses */
    unsigned round;                 /* how often the addresses were gone through before */
    unsigned addresses;             /* in the round before; 0: not known */
    unsigned opened;                /* addresses tried in this round */
    unsigned silent;                /* of these, given up before they had answered in any way */
};

/* pool: how many idle connections are kept. Returns 0 or -errno. */
int curl_host_init(struct curl_host *m, struct loop *l, long pool) MUST_CHECK;
/* No transfer may be running, and none hold a connection: libcurl 8.14 forgets, and never frees,
 * the connection of a handle that is still in a multi when that is cleaned up. */
void curl_host_done(struct curl_host *m);

/* PEM text in memory; without data: none. */
struct curl_host_pem {
    const char *data;
    size_t len;
};

/* How connections are made; config_outbound fills it in for each of the two legs. */
struct curl_host_settings {
    struct curl_host_pem ca;               /* whom to trust; none: the system's authorities */
    const char *trust_file;                /* a copy of those; NULL: the file itself */
    struct curl_host_pem certificate, key; /* what is shown to a peer that asks for it */
    int64_t trust_changed_ms;              /* when those of the system last changed, by
                                              trust_store_clock_ms; 0: never */
    const char *proxy;                     /* "env", "none", or a URL */
    int64_t connect_timeout_ms, keepalive_ms;
    long http_version; /* CURL_HTTP_VERSION_... */
    int port;          /* of the URL, for the exceptions in NO_PROXY */
    bool lasting;      /* the texts outlive the handle, so that they need not be copied */
};

/* Sets what never changes on a handle: protocols, TLS, proxy, time to connect, no redirects, no
 * netrc, nothing of its own in the request. Returns 0 or -EINVAL. */
int curl_host_setup(struct curl_host *m, CURL *easy,
                    const struct curl_host_settings *s) MUST_CHECK;

/* The exceptions that hold for a port, of a list as in NO_PROXY, without their ports, which libcurl
 * does not know; NULL: none has a port, and the list is as libcurl wants it. Owns: the caller frees
 * it. */
char *curl_host_no_proxy(const char *list, int port);

/* Starts; on_done comes later, never from within. Returns 0, or -ENOMEM: nothing was started.
 */
int curl_host_add(struct curl_host *m, struct curl_host_transfer *t) MUST_CHECK;
/* The names that libcurl remembers are not to be trusted: the next transfer asks for its own
 * anew. It is so by itself after a connection that could not be made. */
static inline void curl_host_forget_names(struct curl_host *m)
{
    m->names_old = true;
}
/* Whether a running transfer still waits for the address of its name. */
static inline bool curl_host_has_no_address(const struct curl_host_transfer *t)
{
    return t->running && t->opened == 0 && t->round == 0;
}
/* Ends a running transfer without on_done. Takes one that is not running. Never from a curl
 * callback. */
void curl_host_remove(struct curl_host *m, struct curl_host_transfer *t);

/* The socket of a connection that was made (`connects`) is its owner's to watch from here. */
void curl_host_let_go(struct curl_host *m, curl_socket_t fd);

/* Does at once what the timer would do in the next turn, when it is due: a transfer that was
 * just added starts without another round of the loop. Returns whether there was anything. */
bool curl_host_turn(struct curl_host *m);

/* Once, in main, before any thread. Returns 0, -EIO or -ENOMEM. */
int curl_host_global_init(void) MUST_CHECK;

/* "7.88.1", as loaded. */
const char *curl_host_library_version(void);

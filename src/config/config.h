#pragma once
/* One snapshot of the settings: loaded, checked, then never changed, so that any
 * thread may read it without a lock. contract: "The ini file". */
#include "base/base.h"
#include "base/buf.h"
#include "base/secret.h"
#include "net/tls.h"

struct config_list {
    char **item;
    size_t count;
};

enum config_http_version { HTTP_VERSION_1_1, HTTP_VERSION_2, HTTP_VERSION_AUTO };
enum config_replay { REPLAY_ALL, REPLAY_SAFE, REPLAY_NONE };
enum config_auth_style { AUTH_STYLE_BODY, AUTH_STYLE_BASIC };
enum config_refused { REFUSED_MIRROR, REFUSED_502 };
enum config_sandbox { SANDBOX_AUTO, SANDBOX_OFF };

/* `10%` of something, or a duration. */
struct config_share {
    int64_t percent; /* 0: `ms` counts */
    int64_t ms;
};

/* What a PEM file held when the settings were loaded: a file that is being replaced is never
 * seen half done by a connection, and a new one counts from the next reload on. */
struct config_pem {
    char *data; /* NULL: no such file is set */
    size_t len;
};

/* Names are section.key of the ini file; durations end in _ms, sizes in _bytes. */
struct config {
    struct {
        struct config_list address;
        int64_t socket_mode;
        struct config_list allowed_hosts; /* lower case; the hosts of `address` are added */
        struct config_list allowed_origins;
        char *require_header_name, *require_header_value; /* NULL: none */
        int64_t max_connections;
        int64_t header_timeout_ms, idle_timeout_ms, body_timeout_ms;
        int64_t max_header_size_bytes, max_headers, max_body_size_bytes;
        char *tls_certificate, *tls_key, *tls_client_ca; /* NULL: none */
        struct tls *tls;                                 /* what is in them; NULL: none */
    } listen;
    struct {
        char *base_url; /* without trailing slash, e.g. https://api.1shotapi.dev/v0 */
        bool allow_plaintext;
        int64_t http_version;
        char *ca_file, *client_certificate, *client_key;
        struct config_pem ca, certificate, key; /* what is in them */
        char *proxy;                            /* "env", "none", or a URL */
        int64_t connect_timeout_ms, response_timeout_ms, idle_timeout_ms;
        int64_t max_connections, keepalive_ms;
        int64_t max_in_flight;
        int64_t replay, replay_limit_bytes;
        int64_t token_refused_statuses[8];
        size_t token_refused_count;
        /* taken apart from base_url */
        char *scheme; /* "https" */
        char *
            authority; /* "api.1shotapi.dev", lower case, with a port that is not the default */
        char *origin;  /* "https://api.1shotapi.dev" */
        char *base_path; /* "/v0", or "" */
    } upstream;
    struct {
        char *url;
        char *client_id, *client_id_file;
        char *client_secret_file;
        struct secret *client_secret; /* from the key, the environment or the file */
        char *scope, *audience, *resource;
        int64_t auth_style;
        struct config_share refresh_before;
        int64_t default_lifetime_ms;
        int64_t timeout_ms, wait_timeout_ms;
        int64_t retry_min_ms, retry_max_ms;
        int64_t refused_status;
        bool local_endpoint;
        char *ca_file, *proxy;
        struct config_pem ca;
    } token;
    struct {
        char *address; /* host:port, unix:/path, or "off" */
    } admin;
    struct {
        int64_t level, format; /* enum log_level, enum log_format */
        bool access;
    } log;
    struct {
        int64_t workers; /* 0: auto */
        int64_t drain_delay_ms, drain_timeout_ms;
        int64_t sandbox;
    } process;

    char *file; /* the path it came from, NULL: environment only */
    _Atomic int refs;
};

/* The variables ONESHOT_PROXY_<SECTION>_<KEY> as they were at start. They win over the file
 * at each load; what is secret among them lives in struct secret. */
struct config_env;

/* Copies the variables that are ours out of an `environ` style array (NULL: none), overwrites
 * the values that may be secret in place, and removes these variables from the array, so that
 * neither /proc nor a child shows them. Thread: control, before others start. Owns: the caller
 * frees with config_env_free, which takes NULL. */
struct config_env *config_env_take(char **environment) MUST_CHECK;
void config_env_free(struct config_env *env);

/* Reads the file (may be NULL), then the environment (may be NULL), fills in the defaults,
 * reads the `_file`s, and checks everything. All errors are found, not only the first: each is
 * one line "FILE:LINE: section.key: what is wrong; what is allowed" (or VARIABLE for FILE:LINE)
 * appended to `errors`; warnings likewise to `warnings`, they do not fail. No line holds a
 * secret. An empty value means "none" for keys that have no default, and is an error elsewhere.
 * Returns the snapshot with one reference, or NULL when there were errors. Thread: control. */
struct config *config_load(const char *file, const struct config_env *env, struct buf *errors,
                           struct buf *warnings) MUST_CHECK;

/* Only admin.address, for one who asks a running proxy: no `_file` is read, and what is wrong
 * elsewhere does not matter. Returns NULL with lines in `errors` when the file cannot be read
 * or the key is wrong. Owns: the caller frees. Thread: control. */
char *config_admin_address(const char *file, const struct config_env *env,
                           struct buf *errors) MUST_CHECK;

/* Every file that these settings name, the one they came from included; the port of every TCP
 * connection that they lead to, those of proxies in the environment included where these count.
 * One may come twice. Thread: any. */
void config_each_file(const struct config *c, void (*visit)(const char *path, void *arg),
                      void *arg);
void config_each_port(const struct config *c, void (*visit)(int port, void *arg), void *arg);

/* The port of an outbound proxy's URL, curl's default when it names none; -1: it is no URL. Its
 * host, without brackets, into `host` (NULL: not wanted). */
int config_proxy_port(const char *text, char host[256]);
/* Host and port of an http or https URL that was accepted. */
int config_url_port(const char *text, char host[256]);

/* "host:port", "[v6]:port" or "unix:/path", taken apart. */
struct config_address {
    char host[256];        /* lower case, no brackets; empty: a unix socket */
    bool v6;               /* host is an IPv6 address */
    int port;              /* -1: a unix socket */
    const char *unix_path; /* points into the text; NULL: not a unix socket */
};

/* Whether `text` is such an address; every listen.address and admin.address (but "off") is. */
bool config_address_split(const char *text, struct config_address *out) MUST_CHECK;

struct config *config_ref(struct config *c);
/* Takes NULL. Secrets are wiped with the last reference. */
void config_unref(struct config *c);

/* The effective settings as an ini file, each key, secrets as ******. */
int config_print(const struct config *c, struct buf *out) MUST_CHECK;

/* conf/oneshot-proxy.ini: every key with its default and its help, commented out. */
int config_print_reference(struct buf *out) MUST_CHECK;

/* The README's table of keys, as Markdown. */
int config_print_markdown(struct buf *out) MUST_CHECK;

/* oneshot-proxy.ini(5), as roff. */
int config_print_man(struct buf *out) MUST_CHECK;

/* The keys ("section.key, section.key") that differ between a and b; of these, those that take
 * effect only after a restart. They append nothing when there are none. */
int config_changes(const struct config *a, const struct config *b, struct buf *out) MUST_CHECK;
int config_needs_restart(const struct config *a, const struct config *b,
                         struct buf *out) MUST_CHECK;

struct config_reload_report {
    struct buf errors, warnings; /* as of config_load */
    struct buf restart;          /* keys that differ and wait for a restart */
    struct buf changed;          /* keys that differ and apply */
};
void config_reload_report_init(struct config_reload_report *r);
void config_reload_report_done(struct config_reload_report *r);

/* As config_load, of running's own file, for a program that runs with these settings: keys that
 * take effect only after a restart keep the values they have there. Returns NULL when anything
 * in the file is wrong. Thread: control. */
struct config *config_reload(const struct config *running, const struct config_env *env,
                             struct config_reload_report *report) MUST_CHECK;

/* Reads a secret or id from a file of its own: at most 64 KiB, one trailing line end is
 * dropped. Returns NULL and the reason ("PATH: why", no line end) in `errors`. */
struct secret *config_read_secret_file(const char *path, struct buf *errors) MUST_CHECK;

/* The client id and secret to use for the next fetch: from the `_file`s as they are now,
 * else as loaded. Returns 0; or -errno with the reason in `errors`, the outputs then hold
 * what was loaded before. Owns: the caller frees both. */
int config_credentials(const struct config *c, char **id, struct secret **secret,
                       struct buf *errors) MUST_CHECK;

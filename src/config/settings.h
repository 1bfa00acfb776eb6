#pragma once
/* The settings as the program uses them: one struct with a member for each key of the ini
 * file. Made by config_load and never changed afterwards, so that any thread may read it
 * without a lock. */
#include "base/base.h"
#include "base/secret.h"
#include "net/tls.h"
#include "rights/rules.h"

struct config_key;

struct config_list {
    char **item;
    size_t count;
};

/* A set of HTTP statuses. */
struct config_statuses {
    int64_t item[8];
    size_t count;
};

enum config_http_version { HTTP_VERSION_1_1, HTTP_VERSION_2, HTTP_VERSION_AUTO };
enum config_replay { REPLAY_ALL, REPLAY_SAFE, REPLAY_NONE };
enum config_auth_style { AUTH_STYLE_BODY, AUTH_STYLE_BASIC };
enum config_refused { REFUSED_MIRROR, REFUSED_502 };
enum config_sandbox { SANDBOX_AUTO, SANDBOX_OFF };
/* Which unsafe requests a ledger setting applies to. */
enum config_which { WHICH_NONE, WHICH_MONEY, WHICH_UNSAFE };

/* A percentage of something, `10%`, or a duration. */
struct config_share {
    int64_t percent; /* 0: `ms` counts */
    int64_t ms;
};

/* What a PEM file contained when it was last read and found good, so that a connection never
 * uses a file that is half written. */
struct config_pem {
    char *data; /* NULL: no such file is set */
    size_t len;
};

/* The certificate files, see config/certificates.h. */
enum config_certificates {
    CERTIFICATES_LISTEN,
    CERTIFICATES_CLIENT_CA,
    CERTIFICATES_UPSTREAM_CA,
    CERTIFICATES_UPSTREAM,
    CERTIFICATES_TOKEN_CA,
    /* for the ledger's database; its client library reads the file itself */
    CERTIFICATES_STORE_CA,
    CERTIFICATES_COUNT
};

/* When each certificate of a file expires, in seconds since 1970, in order. */
struct config_ends {
    int64_t *at_s;
    size_t count; /* 0: no such file is set */
};

#define CONFIG_NAMED_MAX 32

/* A section [caller NAME]. */
struct config_caller {
    char *name; /* NULL: this place is free */
    struct config_list address, certificate;
    int64_t uid, gid;  /* -1: not set */
    char *secret_file; /* NULL: none */
    struct config_list allow, deny;
    int64_t mode; /* enum config_mode; -1: as callers.mode */
    struct config_list rate;
    int64_t max_in_flight; /* -1: not set */
};

enum config_mode { MODE_ENFORCE, MODE_OBSERVE };

/* Members are named like section.key of the ini file; durations end in _ms, sizes in _bytes. */
struct config {
    struct {
        struct config_list address;
        int64_t socket_mode;
        struct config_list allowed_hosts; /* lower case; the hosts of `address` are added */
        /* The numeric addresses that are really listened on, as in a Host field: also
         * allowed. Not read from the file, but filled in once they are known. */
        struct config_list bound_hosts;
        struct config_list allowed_origins;
        char *require_header_name, *require_header_value; /* NULL: none */
        int64_t max_connections;
        int64_t header_timeout_ms, idle_timeout_ms, body_timeout_ms, send_timeout_ms;
        int64_t max_header_size_bytes, max_target_size_bytes, max_headers, max_body_size_bytes;
        char *tls_certificate, *tls_key, *tls_client_ca; /* NULL: none */
        struct tls *tls;                                 /* made from these files; NULL: none */
    } listen;
    struct {
        char *base_url; /* without trailing slash, e.g. https://api.1shotapi.dev/v0 */
        bool allow_plaintext;
        int64_t http_version;
        char *ca_file, *client_certificate, *client_key;
        struct config_pem ca, certificate, key; /* content of the PEM files */
        char *proxy;                            /* "env", "none", or a URL */
        int64_t connect_timeout_ms, response_timeout_ms, idle_timeout_ms;
        int64_t max_connections, keepalive_ms, max_connection_age_ms;
        int64_t max_in_flight;
        int64_t replay, replay_limit_bytes;
        struct config_statuses token_refused;
        /* derived from base_url */
        char *scheme;    /* "https" */
        char *authority; /* "api.1shotapi.dev", lower case, without a default port */
        char *origin;    /* "https://api.1shotapi.dev" */
        char *base_path; /* "/v0", or "" */
    } upstream;
    struct {
        char *url;
        char *client_id, *client_id_file;
        char *client_secret_file;
        struct secret *client_secret;      /* from the key, the environment or the file */
        char *scope, *audience, *resource; /* NULL: not sent */
        char *extra; /* further form fields, form-encoded: "a=1&b=2"; NULL: none */
        int64_t auth_style;
        struct config_share refresh_before;
        int64_t default_lifetime_ms;
        int64_t timeout_ms, wait_timeout_ms;
        int64_t retry_min_ms, retry_max_ms;
        int64_t refused_status;
        bool local_endpoint;
        char *ca_file, *proxy;
        struct config_pem ca;
        /* For messages: the key that set the value. It may be in another section if the
         * value is derived ("upstream.base_url" for the url). Literals. */
        const char *url_key, *client_id_key, *client_secret_key, *ca_key, *proxy_key;
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
    struct {
        int64_t table;                           /* enum class_table */
        struct config_list added[CLASS_UNKNOWN]; /* classes.read to classes.money */
        bool repeat_simulate;
    } classes;

    struct {
        char *file; /* NULL: none */
        struct config_list classes;
    } freeze;

    struct {
        char *store; /* NULL: there is no ledger */
        char *store_password_file, *store_ca_file;
        int64_t store_timeout_ms;
        struct config_list keys;
        char *body_key_prefix;
        int64_t require_key, journal; /* enum config_which */
        bool store_requests, forward_key;
        struct config_statuses release_statuses;
        int64_t max_request_bytes, max_answer_bytes;
        int64_t keep_answers_ms, keep_keys_ms;
        /* derived from keys */
        bool key_in_header;
        const char *key_pointer; /* JSON pointer to the key in a body; NULL: not in a body */
        struct classes classes;  /* which requests are money, with classes.table = off */
    } ledger;

    struct {
        int64_t mode; /* enum config_mode */
        char *header;
    } callers;

    struct config_caller caller[CONFIG_NAMED_MAX];
    size_t caller_count;
    struct config_key *named; /* the keys of all named sections, see config_key_at */
    size_t named_count;
    /* The names of the callers that have addresses of their own (caller.address), in the order
     * in which these were opened at the start; a reload keeps the list. Item i has the number
     * i + 1 (listener.owner) and bit i of caller_facts.listener. */
    struct config_list owners;
    bool has_owners; /* the list was made, even if it is empty */
    bool kept;       /* a reload left the keys that need a restart at their old values */

    struct rules
        /* made from classes, callers and freeze; NULL: requests are not distinguished */
        *rules;

    struct config_ends ends[CERTIFICATES_COUNT];
    struct {
        struct trust_store *store; /* copy that is trusted; NULL: the file itself */
        unsigned char digest[32];  /* of the system's trust store; zeros: there is none */
        int64_t
            changed_ms; /* when it was last seen to change, by trust_store_clock_ms; 0: never */
    } trust;

    char *file; /* path of the file; NULL: environment only */
    /* If not NULL, these settings differ from `base` only in the certificates, and
     * everything else belongs to it (config_renew). Holds one reference. */
    struct config *base;
    _Atomic int refs; /* the last member */
};

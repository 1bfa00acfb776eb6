/* The table of settings. Finds a key by its name, or guesses which one was intended.
 * docs/configuration.md, the man page, conf/oneshot-proxy.ini and the "allowed" part of
 * error messages are made from it. */
#include "config/schema.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* The section of keys that belong to sections with a name, [caller NAME]. */
static const char named_section[] = "caller";

#define AT(section, name, field) 0, #section, #name, offsetof(struct config, section.field)
#define SAME(section, name) AT(section, name, name)
#define NAMED(field) 0, named_section, #field, offsetof(struct config_caller, field)
#define HOUR 3600000
#define DAY (24 * (int64_t)HOUR)
#define KIB 1024
#define MIB (1024 * (int64_t)KIB)
#define GIB (1024 * MIB)
#define TEXT_MAX 8192

/* section and key (and field), type, default, min, max, when a change applies, words, help */
/* clang-format off */
const struct config_key config_keys[] = {
    { SAME(listen, address), TYPE_LIST, "127.0.0.1:8080", 1, 64, RESTART, NULL, "Where callers reach the proxy: host:port, [v6]:port or unix:/path; several, by commas; a name is listened on by all its addresses; port 0 takes a free one. Sockets that systemd passes under the name listen take its place." },
    { SAME(listen, socket_mode), TYPE_MODE, "0600", 0, 0777, RESTART, NULL, "Permissions of a unix socket, in octal." },
    { SAME(listen, allowed_hosts), TYPE_LIST, "localhost, 127.0.0.1, [::1]", 1, 256, RELOAD, NULL, "Host headers that are accepted, besides the hosts in address and the numeric addresses that are listened on: name (with any port), name:port or [v6]; a guard against DNS rebinding; * allows all." },
    { SAME(listen, allowed_origins), TYPE_LIST, NULL, 0, 256, RELOAD, NULL, "Origins of web pages that may use the proxy, such as https://app.example; a request with any other Origin is refused; * allows all." },
    { AT(listen, require_header, require_header_name), TYPE_HEADER, NULL, 0, TEXT_MAX, RELOAD, NULL, "A header, as \"Name: value\", that every request must carry; it is not forwarded and its value is kept secret." },
    { SAME(listen, max_connections), TYPE_COUNT, "4096", 1, 1000000, RESTART, NULL, "Open caller connections; those above it get a 503 and are closed." },
    { AT(listen, header_timeout, header_timeout_ms), TYPE_DURATION, "10s", 1, HOUR, RELOAD, NULL, "Time for a whole request head, else 408." },
    { AT(listen, idle_timeout, idle_timeout_ms), TYPE_DURATION, "120s", 1, DAY, RESTART, NULL, "How long a caller's connection may stay open between requests." },
    { AT(listen, body_timeout, body_timeout_ms), TYPE_DURATION, "30s", 1, DAY, RELOAD, NULL, "Longest silence inside a request body, else 408." },
    { AT(listen, send_timeout, send_timeout_ms), TYPE_DURATION, "60s", 1, DAY, RELOAD, NULL, "How long a caller may take no byte of its answer; then its connection is reset." },
    { AT(listen, max_header_size, max_header_size_bytes), TYPE_SIZE, "32k", KIB, 256 * KIB, RESTART, NULL, "Largest request head, else 431." },
    { AT(listen, max_target_size, max_target_size_bytes), TYPE_SIZE, "16k", KIB, 256 * KIB, RELOAD, NULL, "Longest request target (path and query), else 414; it must fit max_header_size too." },
    { SAME(listen, max_headers), TYPE_COUNT, "100", 1, 1000, RESTART, NULL, "Most header fields in a request, else 431." },
    { AT(listen, max_body_size, max_body_size_bytes), TYPE_SIZE, "0", 0, 1024 * GIB, RELOAD, NULL, "Largest request body, else 413; 0 is no limit." },
    { SAME(listen, tls_certificate), TYPE_PATH, NULL, 0, TEXT_MAX, RELOAD, NULL, "PEM file with the certificate chain for TLS on the TCP addresses; needs tls_key." },
    { SAME(listen, tls_key), TYPE_KEY_FILE, NULL, 0, TEXT_MAX, RELOAD, NULL, "PEM file with the private key of tls_certificate." },
    { SAME(listen, tls_client_ca), TYPE_PATH, NULL, 0, TEXT_MAX, RELOAD, NULL, "PEM file with the authorities whose client certificates callers must show (mutual TLS)." },

    { SAME(upstream, base_url), TYPE_URL, "https://api.1shotapi.dev/v0", 1, 2048, RELOAD, NULL, "The API behind the proxy, with its base path; production is https://api.1shotapi.com/v0." },
    { SAME(upstream, allow_plaintext), TYPE_BOOL, "no", 0, 1, RELOAD, NULL, "Allow http:// URLs that leave this machine; token and secret then travel unprotected." },
    { SAME(upstream, http_version), TYPE_WORD, "1.1", 0, 2, RELOAD, "1.1 2 auto", "HTTP version to the upstream; auto is HTTP/2 where offered; 1.1 has the plainest semantics for calls that must not happen twice." },
    { SAME(upstream, ca_file), TYPE_PATH, NULL, 0, TEXT_MAX, RELOAD, NULL, "PEM file with the authorities to trust instead of the system's." },
    { SAME(upstream, client_certificate), TYPE_PATH, NULL, 0, TEXT_MAX, RELOAD, NULL, "PEM file with a client certificate to show to the upstream, and to the token endpoint." },
    { SAME(upstream, client_key), TYPE_KEY_FILE, NULL, 0, TEXT_MAX, RELOAD, NULL, "PEM file with the private key of client_certificate, when it is not in the same file." },
    { SAME(upstream, proxy), TYPE_PROXY, "env", 1, TEXT_MAX, RELOAD, NULL, "Outbound proxy: env (HTTPS_PROXY, NO_PROXY), none, or a URL; credentials in the URL are percent-encoded, and kept secret." },
    { AT(upstream, connect_timeout, connect_timeout_ms), TYPE_DURATION, "5s", 1, HOUR, RELOAD, NULL, "Time to connect, TLS included, else 504; to the token endpoint, too." },
    { AT(upstream, response_timeout, response_timeout_ms), TYPE_DURATION, "180s", 1, DAY, RELOAD, NULL, "Time to the head of an answer, else 504; each interim answer starts it again." },
    { AT(upstream, idle_timeout, idle_timeout_ms), TYPE_DURATION, "60s", 1, DAY, RELOAD, NULL, "Longest silence inside the body of an answer." },
    { SAME(upstream, max_connections), TYPE_COUNT, "256", 1, 65536, RESTART, NULL, "Connections to the upstream, of the whole process. Above it requests wait for one, first come first served, up to connect_timeout. With HTTP/2 each worker needs one of its own: with fewer than process.workers they take turns." },
    { AT(upstream, keepalive, keepalive_ms), TYPE_DURATION, "30s", 1000, HOUR, RELOAD, NULL, "Longest idle age at which a connection is used again; keep it below the upstream's own idle timeout." },
    { AT(upstream, max_connection_age, max_connection_age_ms), TYPE_DURATION, "10m", 1000, DAY, RELOAD, NULL, "A connection that is older, give or take a tenth, is not used again, so that a name that moves to another address is followed." },
    { SAME(upstream, max_in_flight), TYPE_COUNT, "1024", 1, 1000000, RELOAD, NULL, "Requests under way; those above it get a 503 at once." },
    { SAME(upstream, replay), TYPE_WORD, "all", 0, 2, RELOAD, "all safe none", "Methods that are repeated once with a new token after a 401; safe is GET, HEAD and OPTIONS." },
    { AT(upstream, replay_limit, replay_limit_bytes), TYPE_SIZE, "256k", 0, 64 * MIB, RELOAD, NULL, "Largest request body that is kept for such a repeat." },
    { AT(upstream, token_refused_statuses, token_refused), TYPE_STATUSES, "401", 400, 499, RELOAD, NULL, "Upstream statuses that mean \"this token is dead\"; not 407." },

    { SAME(token, url), TYPE_URL, "{base_url}/token", 1, 2048, RELOAD, NULL, "The token endpoint; {base_url} stands for upstream.base_url." },
    { SAME(token, client_id), TYPE_STRING, NULL, 1, TEXT_MAX, RELOAD, NULL, "The client id (the API key); required, here or in client_id_file." },
    { SAME(token, client_id_file), TYPE_PATH, NULL, 1, TEXT_MAX, RELOAD, NULL, "A file that holds the client id; read again when it changes." },
    { SAME(token, client_secret), TYPE_SECRET, NULL, 1, 65536, RELOAD, NULL, "The client secret; required, here or in client_secret_file; every character counts, quotes too." },
    { SAME(token, client_secret_file), TYPE_KEY_FILE, NULL, 1, TEXT_MAX, RELOAD, NULL, "A file that holds the client secret; read again when it changes and when the token endpoint refuses." },
    { SAME(token, scope), TYPE_STRING, NULL, 0, TEXT_MAX, RELOAD, NULL, "Scope to ask for; sent only when set." },
    { SAME(token, audience), TYPE_STRING, NULL, 0, TEXT_MAX, RELOAD, NULL, "Audience to ask for; sent only when set." },
    { SAME(token, resource), TYPE_STRING, NULL, 0, TEXT_MAX, RELOAD, NULL, "Resource to ask for (RFC 8707); sent only when set." },
    { SAME(token, extra), TYPE_FORM, NULL, 0, TEXT_MAX, RELOAD, NULL, "Further form fields for the token request, form-encoded, such as resource=a&resource=b; their values are kept secret." },
    { SAME(token, auth_style), TYPE_WORD, "body", 0, 1, RELOAD, "body basic", "How the credentials are sent: as form fields in the body, or by HTTP Basic." },
    { SAME(token, refresh_before), TYPE_SHARE, "10%", 1, 90, RELOAD, NULL, "How long before its end a token is renewed: a share of its life, or a duration." },
    { AT(token, default_lifetime, default_lifetime_ms), TYPE_DURATION, "5m", 1000, DAY, RELOAD, NULL, "Life of a token whose expires_in is absent or makes no sense." },
    { AT(token, timeout, timeout_ms), TYPE_DURATION, "10s", 1, HOUR, RELOAD, NULL, "Time for one token fetch, as a whole." },
    { AT(token, wait_timeout, wait_timeout_ms), TYPE_DURATION, "4s", 1, HOUR, RELOAD, NULL, "How long a request waits for a token, else 504." },
    { AT(token, retry_min, retry_min_ms), TYPE_DURATION, "1s", 1, HOUR, RELOAD, NULL, "Shortest pause after a failed fetch; the first lasts up to twice that." },
    { AT(token, retry_max, retry_max_ms), TYPE_DURATION, "15s", 1, DAY, RELOAD, NULL, "Longest pause between fetches; only a Retry-After may ask for more, up to a minute." },
    { SAME(token, refused_status), TYPE_WORD, "mirror", 0, 1, RELOAD, "mirror 502", "What callers get when the token endpoint says 401 or 403: the same, or 502." },
    { SAME(token, local_endpoint), TYPE_BOOL, "yes", 0, 1, RELOAD, NULL, "Answer the callers' own POST /token with a placeholder, so that unchanged SDKs work." },
    { SAME(token, ca_file), TYPE_PATH, NULL, 0, TEXT_MAX, RELOAD, NULL, "As upstream.ca_file, for the token endpoint; the default is upstream's." },
    { SAME(token, proxy), TYPE_PROXY, NULL, 0, TEXT_MAX, RELOAD, NULL, "As upstream.proxy, for the token endpoint; the default is upstream's." },

    { SAME(admin, address), TYPE_STRING, "127.0.0.1:9090", 1, TEXT_MAX, RESTART, NULL, "Where health, metrics and the status page are served: host:port, [v6]:port, unix:/path, or off. Sockets that systemd passes under the name admin take its place." },

    { SAME(log, level), TYPE_WORD, "info", 0, 3, RELOAD, "error warn info debug", "What is logged: this level and those more severe." },
    { SAME(log, format), TYPE_WORD, "logfmt", 0, 1, RELOAD, "logfmt json", "How it is written." },
    { SAME(log, access), TYPE_BOOL, "yes", 0, 1, RELOAD, NULL, "One line per request." },

    { SAME(process, workers), TYPE_COUNT, "auto", 1, 256, RESTART, "auto", "Worker threads; auto is one per CPU that this process may use." },
    { AT(process, drain_delay, drain_delay_ms), TYPE_DURATION, "0s", 0, HOUR, RELOAD, NULL, "After SIGTERM, how long to go on accepting while already not ready; a part of drain_timeout." },
    { AT(process, drain_timeout, drain_timeout_ms), TYPE_DURATION, "30s", 0, HOUR, RELOAD, NULL, "After SIGTERM, the latest end." },
    { SAME(process, sandbox), TYPE_WORD, "auto", 0, 1, RESTART, "auto off", "After start, give up everything but reading the program's own files and connecting out, where the kernel can do that." },

    { SAME(classes, table), TYPE_WORD, "off", 0, 2, RELOAD, "off 1shot methods", "How requests are told apart by what they can do: by the operations of the 1Shot API, or by their methods for any other upstream; off: not at all." },
    { AT(classes, read, added[CLASS_READ]), TYPE_LIST, NULL, 0, 64, RELOAD, NULL, "Operations that only look, as METHOD /path with {uuid}, {n} or {} for one open segment, added to the table; a built-in operation may be made stricter by it, never laxer." },
    { AT(classes, simulate, added[CLASS_SIMULATE]), TYPE_LIST, NULL, 0, 64, RELOAD, NULL, "As read, for operations that compute something and change nothing." },
    { AT(classes, create, added[CLASS_CREATE]), TYPE_LIST, NULL, 0, 64, RELOAD, NULL, "As read, for operations that make an object or a key." },
    { AT(classes, change, added[CLASS_CHANGE]), TYPE_LIST, NULL, 0, 64, RELOAD, NULL, "As read, for operations that alter or remove objects." },
    { AT(classes, sign, added[CLASS_SIGN]), TYPE_LIST, NULL, 0, 64, RELOAD, NULL, "As read, for operations that make a signature." },
    { AT(classes, money, added[CLASS_MONEY]), TYPE_LIST, NULL, 0, 64, RELOAD, NULL, "As read, for operations that pay or write on chain." },
    { SAME(classes, repeat_simulate), TYPE_BOOL, "no", 0, 1, RELOAD, NULL, "Repeat a built-in simulate operation on a new connection when a pooled one turned out to be dead, as a read is; its body has to fit upstream.replay_limit." },

    { SAME(freeze, file), TYPE_STRING, NULL, 0, TEXT_MAX, RELOAD, NULL, "While this file is there requests of the classes below are refused, whoever makes them; its first line is the reason. When its directory cannot be looked at they are refused, too. Needs classes.table." },
    { SAME(freeze, classes), TYPE_LIST, "sign, money", 1, 8, RELOAD, NULL, "Classes that freeze.file stops; money has to be among them, and covers what is in no class." },

    { SAME(ledger, store), TYPE_STRING, NULL, 0, TEXT_MAX, RESTART, NULL, "Where requests that carry a key are recorded, so that a caller's retry is answered from there and never carried out twice: sqlite:/path for one process, or postgresql://user@host/database for several. Nothing is ever made there but by oneshot-proxy ledger init. Without it there is no ledger." },
    { SAME(ledger, store_password_file), TYPE_KEY_FILE, NULL, 0, TEXT_MAX, RESTART, NULL, "A file that holds the password for PostgreSQL; read again at each new connection." },
    { SAME(ledger, store_ca_file), TYPE_PATH, NULL, 0, TEXT_MAX, RESTART, NULL, "PEM file with the authorities to trust for PostgreSQL instead of the system's." },
    { AT(ledger, store_timeout, store_timeout_ms), TYPE_DURATION, "2s", 10, 60000, RESTART, NULL, "Longest wait for a record to be durable, else 503; nothing is sent then." },
    { SAME(ledger, keys), TYPE_LIST, "header", 1, 2, RESTART, NULL, "Where a request's key may stand: header (Idempotency-Key), and one body:/pointer, a JSON pointer such as body:/memo into the bodies of requests of class money." },
    { SAME(ledger, body_key_prefix), TYPE_STRING, "idem:", 1, 64, RELOAD, NULL, "Only a text in a body that begins so is a key, which ends at the first blank." },
    { SAME(ledger, require_key), TYPE_WORD, "no", 0, 2, RELOAD, "no money unsafe", "Requests without a key that are refused: those of class money, or all but GET, HEAD and OPTIONS." },
    { SAME(ledger, journal), TYPE_WORD, "no", 0, 2, RELOAD, "no money unsafe", "Requests without a key that are recorded as well before anything of them is sent; their retries are new requests." },
    { SAME(ledger, store_requests), TYPE_BOOL, "no", 0, 1, RELOAD, NULL, "Keep the bodies of requests too; else only a hash." },
    { SAME(ledger, forward_key), TYPE_BOOL, "yes", 0, 1, RELOAD, NULL, "Pass Idempotency-Key on to the upstream." },
    { SAME(ledger, release_statuses), TYPE_STATUSES, "401, 429", 400, 503, RELOAD, NULL, "Answers that prove that nothing was carried out: the key is free again. 4xx but 407, 408 and 409, and 503." },
    { AT(ledger, max_request, max_request_bytes), TYPE_SIZE, "256k", KIB, 16 * MIB, RELOAD, NULL, "Largest body of a request with a key, else 413." },
    { AT(ledger, max_answer, max_answer_bytes), TYPE_SIZE, "256k", 0, 16 * MIB, RELOAD, NULL, "Largest body of an answer that is kept for retries." },
    { AT(ledger, keep_answers, keep_answers_ms), TYPE_DURATION, "30d", HOUR, 3650 * DAY, RELOAD, NULL, "How long answers are kept; a later retry is told that there was one." },
    { AT(ledger, keep_keys, keep_keys_ms), TYPE_DURATION, "400d", HOUR, 3650 * DAY, RELOAD, NULL, "How long keys are kept; a later retry is a new request. What is in flight or unknown is kept until it no longer is." },

    { SAME(callers, header), TYPE_STRING, "X-Caller-Key", 1, 64, RELOAD, NULL, "The header field by which a caller may show its secret; it is never forwarded, nor is one that differs from it in - and _ only." },
    { SAME(callers, mode), TYPE_WORD, "enforce", 0, 1, RELOAD, "enforce observe", "Whether what a caller may not do is refused, or goes on and is only reported; also of those that nobody recognised." },

    { NAMED(address), TYPE_LIST, NULL, 0, 16, RESTART, NULL, "Addresses of this caller alone, written as listen.address and added to those; whoever comes by them and is not this caller is refused." },
    { NAMED(uid), TYPE_COUNT, NULL, 0, 4294967294, RELOAD, NULL, "The user that calls by a unix socket, as a number." },
    { NAMED(gid), TYPE_COUNT, NULL, 0, 4294967294, RELOAD, NULL, "Its primary group, as a number." },
    { NAMED(certificate), TYPE_LIST, NULL, 0, 16, RELOAD, NULL, "Names of its client certificate, any of which will do: uri:spiffe://... (the only URI in it), dns:NAME, or subject:... as in RFC 4514; needs listen.tls_client_ca." },
    { NAMED(secret_file), TYPE_KEY_FILE, NULL, 0, TEXT_MAX, RELOAD, NULL, "A file with the secret that this caller shows with each request, in callers.header or as Authorization: Bearer; 32 to 256 characters, such as openssl rand -hex 32 makes. While it is changed a second line may hold the other one. Read again when it changes. An SDK whose client secret it is gets it as its token from the local POST /token." },
    { NAMED(allow), TYPE_LIST, NULL, 0, 71, RELOAD, NULL, "What it may do: class words (read, simulate, create, change, sign, money, unknown, all) and patterns such as POST /methods/{uuid}/execute; whatever is not listed is refused." },
    { NAMED(deny), TYPE_LIST, NULL, 0, 71, RELOAD, NULL, "What it may not do although allow says so." },
    { NAMED(mode), TYPE_WORD, NULL, 0, 1, RELOAD, "enforce observe", "As callers.mode, which counts where this is not set." },
    { NAMED(rate), TYPE_LIST, NULL, 0, CLASS_UNKNOWN, RELOAD, NULL, "Limits by class, as CLASS N/DURATION: money 6/1m lets through six at once and then one each ten seconds; more get a 429. What is in no class counts as money. N is at most a million, the duration whole seconds from 1s to 24h." },
    { NAMED(max_in_flight), TYPE_COUNT, NULL, 1, 1000000, RELOAD, NULL, "Requests of it under way, those that wait for a token or a connection included; more get a 429." },
};
/* clang-format on */

const size_t config_key_count = ARRAY_LEN(config_keys);
_Static_assert(ARRAY_LEN(config_keys) <= CONFIG_KEYS_MAX, "CONFIG_KEYS_MAX is too small");

const struct config_key *config_find(const char *section, const char *name)
{
    for (size_t i = 0; i < config_key_count; i++) {
        if (strcmp(config_keys[i].section, section) == 0 &&
            strcmp(config_keys[i].name, name) == 0)
            return &config_keys[i];
    }
    return NULL;
}

const struct config_section config_sections[] = {
    { .name = "listen" },
    { .name = "upstream" },
    { .name = "token" },
    { .name = "admin" },
    { .name = "log" },
    { .name = "process" },
    { .name = "classes" },
    { .name = "freeze" },
    { .name = "ledger" },
    { .name = "callers" },
    { .name = named_section, .named = true },
};

/* How many keys belong to no named section. Those of named sections come last in the table. */
size_t config_single_count(void)
{
    size_t n = config_key_count;

    while (n > 0 && config_keys[n - 1].section == named_section)
        n--;
    return n;
}

size_t config_keys_of(const struct config *c)
{
    return config_single_count() + c->named_count;
}

const struct config_key *config_key_at(const struct config *c, size_t i)
{
    size_t single = config_single_count();

    return i < single ? &config_keys[i] : &c->named[i - single];
}

const struct config_key *config_find_named(const struct config *c, const char *section,
                                           const char *name)
{
    for (size_t i = 0; i < c->named_count; i++)
        if (strcmp(c->named[i].section, section) == 0 && strcmp(c->named[i].name, name) == 0)
            return &c->named[i];
    return NULL;
}

bool config_name_is_good(const char *name)
{
    size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-");

    return name[0] >= 'a' && name[0] <= 'z' && name[len] == '\0' && len <= CALLER_NAME_MAX;
}

/* Adds the caller, and for each key of named sections a copy that leads to its field. */
bool config_add_named(struct config *c, const char *name)
{
    size_t single = config_single_count(), each = config_key_count - single;
    struct config_caller *caller = &c->caller[c->caller_count];

    for (size_t i = 0; i < c->caller_count; i++)
        if (strcmp(c->caller[i].name, name) == 0)
            return true;
    if (c->caller_count == CONFIG_NAMED_MAX)
        return false;
    struct config_key *more = realloc(c->named, (c->named_count + each) * sizeof *more);
    char *section = NULL;

    if (more == NULL || asprintf(&section, "caller %s", name) < 0)
        abort();
    c->named = more;
    caller->name = section + strlen("caller ");
    caller->uid = caller->gid = caller->mode = caller->max_in_flight = -1;
    c->caller_count++;
    for (size_t i = 0; i < each; i++) {
        struct config_key *key = &c->named[c->named_count++];

        *key = config_keys[single + i];
        key->section = section;
        key->offset += (size_t)((const char *)caller - (const char *)c);
        key->instance = c->caller_count;
    }
    return true;
}

void config_free_named(struct config *c)
{
    for (size_t i = 0; i < c->caller_count; i++)
        free(c->caller[i].name - strlen("caller "));
    free(c->named);
}

size_t config_key_place(const struct config_key *key)
{
    size_t single = config_single_count(), each = config_key_count - single;

    if (key->instance == 0)
        return (size_t)(key - config_keys);
    for (size_t i = single; i < config_key_count; i++)
        if (strcmp(config_keys[i].name, key->name) == 0)
            return CONFIG_KEYS_MAX + (key->instance - 1) * each + i - single;
    abort();
}

const size_t config_section_count = ARRAY_LEN(config_sections);

const struct config_section *config_section_find(const char *header, const char **name)
{
    size_t len = strcspn(header, " ");

    *name = header + len + strspn(header + len, " ");
    if (header[len] != '\0' && **name == '\0')
        return NULL; /* nothing but blanks */
    for (size_t i = 0; i < config_section_count; i++)
        if (strlen(config_sections[i].name) == len &&
            memcmp(config_sections[i].name, header, len) == 0)
            return &config_sections[i];
    return NULL;
}

const char *config_section_title(const char *section, char out[CONFIG_TITLE_MAX])
{
    const char *name;
    const struct config_section *s = config_section_find(section, &name);

    (void)snprintf(out, CONFIG_TITLE_MAX, "[%s%s]", section,
                   s != NULL && s->named ? " NAME" : "");
    return out;
}

void config_variable(const struct config_key *key, char out[CONFIG_ENV_NAME_MAX])
{
    (void)snprintf(out, CONFIG_ENV_NAME_MAX, CONFIG_ENV_PREFIX "%s_%s", key->section,
                   key->name);
    for (char *p = out; *p != '\0'; p++)
        *p = *p == ' ' || *p == '-' ? '_' : (char)toupper((unsigned char)*p);
}

const struct config_key *config_find_variable(const char *variable)
{
    for (size_t i = 0; i < config_key_count; i++) {
        char name[CONFIG_ENV_NAME_MAX];

        config_variable(&config_keys[i], name);
        if (strcmp(name, variable) == 0 && i < config_single_count())
            return &config_keys[i];
    }
    return NULL;
}

/* Appends ", text" to what is in `out`. */
static void append(char *out, size_t size, const char *text)
{
    size_t used = strlen(out);

    (void)snprintf(out + used, size - used, "%s%s", used == 0 ? "" : ", ", text);
}

static void name_sections(char *out, size_t size)
{
    char title[CONFIG_TITLE_MAX];

    out[0] = '\0';
    for (size_t i = 0; i < config_section_count; i++)
        append(out, size, config_section_title(config_sections[i].name, title));
}

static void name_keys(const char *section, char *out, size_t size)
{
    out[0] = '\0';
    for (size_t i = 0; i < config_key_count; i++)
        if (strcmp(config_keys[i].section, section) == 0)
            append(out, size, config_keys[i].name);
}

#define NAME_MAX_COMPARED 64

/* The edit distance: how many letters must be inserted, dropped, changed or swapped with
 * their neighbour to get from a to b, ignoring case. */
static size_t distance(const char *a, const char *b)
{
    size_t row[3][NAME_MAX_COMPARED + 1] = { { 0 } };
    size_t a_len = strlen(a), b_len = strlen(b);

    if (a_len > NAME_MAX_COMPARED || b_len > NAME_MAX_COMPARED)
        return SIZE_MAX;
    for (size_t j = 0; j <= b_len; j++)
        row[0][j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        size_t *now = row[i % 3], *last = row[(i + 2) % 3], *older = row[(i + 1) % 3];

        now[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            int x = tolower((unsigned char)a[i - 1]), y = tolower((unsigned char)b[j - 1]);
            size_t best = last[j - 1] + (x != y);

            if (last[j] + 1 < best)
                best = last[j] + 1;
            if (now[j - 1] + 1 < best)
                best = now[j - 1] + 1;
            if (i > 1 && j > 1 && x == tolower((unsigned char)b[j - 2]) &&
                tolower((unsigned char)a[i - 2]) == y && older[j - 2] + 1 < best)
                best = older[j - 2] + 1;
            now[j] = best;
        }
    }
    return row[a_len % 3][b_len];
}

/* Whether the distance is so small that `given` may be a misspelling of `known`. */
static bool is_slip(const char *given, size_t changes)
{
    size_t len = strlen(given);

    return changes < len && changes <= (len < 6 ? 2 : len / 3);
}

/* What a setting is called in other programs, or an abbreviation. */
static const struct config_key *other_name(const char *section, const char *name)
{
    static const struct {
        const char *name, *means;
    } names[] = {
        { "port", "address" },         { "host", "address" },
        { "bind", "address" },         { "listen", "address" },
        { "cert", "tls_certificate" }, { "key", "tls_key" },
        { "url", "base_url" },         { "secret", "client_secret" },
        { "id", "client_id" },         { "secret_file", "client_secret_file" },
        { "threads", "workers" },
    };

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcasecmp(names[i].name, name) == 0 &&
            config_find(section, names[i].means) != NULL)
            return config_find(section, names[i].means);
    return NULL;
}

/* The key that was probably intended: in the same section by another name, misspelt or
 * abbreviated; or by that name in another section. NULL: none. */
static const struct config_key *meant(const char *section, const char *name)
{
    const struct config_key *best = NULL, *begun = NULL, *elsewhere = NULL;
    size_t least = SIZE_MAX, len = strlen(name);

    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        size_t changes = distance(name, key->name);
        bool here = strcmp(key->section, section) == 0;

        if (here && changes < least) {
            least = changes;
            best = key;
        }
        if (here && begun == NULL && len >= 3 && strncasecmp(key->name, name, len) == 0)
            begun = key;
        if (!here && changes == 0 && elsewhere == NULL)
            elsewhere = key;
    }
    if (best != NULL && least <= 1 && is_slip(name, least))
        return best;
    if (other_name(section, name) != NULL)
        return other_name(section, name);
    if (elsewhere != NULL)
        return elsewhere;
    if (begun != NULL)
        return begun;
    return best != NULL && is_slip(name, least) ? best : NULL;
}

static void list_keys(const char *section, char *out, size_t size)
{
    char names[768];

    name_keys(section, names, sizeof names);
    (void)snprintf(out, size, "[%s] has %s", section, names);
}

void config_suggest_section(const char *section, char *out, size_t size)
{
    const char *best = NULL;
    size_t least = SIZE_MAX;
    char names[256];

    for (size_t i = 0; i < config_section_count; i++) {
        size_t changes = distance(section, config_sections[i].name);

        if (changes < least) {
            least = changes;
            best = config_sections[i].name;
        }
    }
    name_sections(names, sizeof names);
    if (best != NULL && is_slip(section, least))
        (void)snprintf(out, size, "did you mean [%s]?", best);
    else
        (void)snprintf(out, size, "there are %s", names);
}

void config_suggest_key(const char *section, const char *name, char *out, size_t size)
{
    const struct config_key *key = meant(section, name);

    if (key == NULL)
        list_keys(section, out, size);
    else if (strcmp(key->section, section) == 0)
        (void)snprintf(out, size, "did you mean %s?", key->name);
    else
        (void)snprintf(out, size, "did you mean %s of [%s]?", key->name, key->section);
}

void config_suggest_variable(const char *variable, char *out, size_t size)
{
    char best[CONFIG_ENV_NAME_MAX] = "", section[16], name[NAME_MAX_COMPARED + 1];
    size_t least = SIZE_MAX;
    const char *given = variable + strlen(CONFIG_ENV_PREFIX);
    size_t section_len = strcspn(given, "_");

    for (size_t i = 0; i < config_key_count; i++) {
        char known[CONFIG_ENV_NAME_MAX];

        config_variable(&config_keys[i], known);
        size_t changes = distance(given, known + strlen(CONFIG_ENV_PREFIX));
        if (changes < least) {
            least = changes;
            (void)snprintf(best, sizeof best, "%s", known);
        }
    }
    (void)snprintf(section, sizeof section, "%.*s", (int)section_len, given);
    (void)snprintf(name, sizeof name, "%s",
                   given[section_len] == '_' ? given + section_len + 1 : "");
    for (char *p = section; *p != '\0'; p++)
        *p = (char)tolower((unsigned char)*p);

    const char *rest;
    bool known_section = config_section_find(section, &rest) != NULL;
    const struct config_key *key = known_section && *name != '\0' ? meant(section, name) : NULL;

    if (key != NULL)
        config_variable(key, best);
    if (key != NULL || is_slip(given, least))
        (void)snprintf(out, size, "did you mean %s?", best);
    else if (known_section)
        list_keys(section, out, size);
    else
        (void)snprintf(out, size, "variables are named " CONFIG_ENV_PREFIX "<SECTION>_<KEY>");
}

/* Certificates, keys and authorities. They are read in groups, and a group is taken as a
 * whole or not at all:
 *
 *     listen.tls_certificate + tls_key           listen.tls_client_ca
 *     upstream.client_certificate + client_key   upstream.ca_file    token.ca_file
 *     the system's trust store                   ledger.store_ca_file
 *
 * At the start and on SIGHUP a faulty group is an error of the settings. While the program
 * runs, it keeps what it had: whoever replaces a certificate and its key replaces one after
 * the other. */
#include "config/certificates.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/clock.h"
#include "config/files.h"
#include "config/value.h"
#include "net/trust_store.h"

#define KEY(section, name) config_find(#section, #name)
#define PEM_FILE_MAX (4 << 20)

struct loading {
    struct config *config;
    struct config_report *report;
};

/* --- expiry --- */

static void set_ends(struct config *c, enum config_certificates which, int64_t *at_s,
                     size_t count)
{
    free(c->ends[which].at_s);
    c->ends[which] = (struct config_ends){ .at_s = at_s, .count = count };
}

/* Reads when the certificates end. False: there is none, or one cannot be read; that was
 * reported. */
static bool read_ends(struct loading *k, const struct config_key *key, const char *path,
                      const struct config_pem *pem, struct config_ends *out)
{
    const char *why = NULL;

    out->count = tls_certificate_ends(pem->data, pem->len, &out->at_s, &why);
    if (out->count == 0)
        config_fail(k->report, key, "%s: %s", path, why);
    return out->count > 0;
}

/* --- inbound TLS --- */

static const struct config_key *tls_key(enum tls_part part)
{
    switch (part) {
    case TLS_CERTIFICATE:
        return KEY(listen, tls_certificate);
    case TLS_KEY:
        return KEY(listen, tls_key);
    default:
        return KEY(listen, tls_client_ca);
    }
}

static const char *tls_path(const struct config *c, enum tls_part part)
{
    switch (part) {
    case TLS_CERTIFICATE:
        return c->listen.tls_certificate;
    case TLS_KEY:
        return c->listen.tls_key;
    default:
        return c->listen.tls_client_ca;
    }
}

static void check_tls_pairs(struct loading *k)
{
    const struct config *c = k->config;

    if (c->listen.tls_certificate != NULL && c->listen.tls_key == NULL)
        config_fail(k->report, KEY(listen, tls_certificate), "needs listen.tls_key as well");
    if (c->listen.tls_key != NULL && c->listen.tls_certificate == NULL)
        config_fail(k->report, KEY(listen, tls_key), "needs listen.tls_certificate as well");
    if (c->listen.tls_client_ca != NULL && c->listen.tls_certificate == NULL)
        config_fail(k->report, KEY(listen, tls_client_ca),
                    "needs listen.tls_certificate and listen.tls_key as well");
}

/* TLS settings need a TCP address. */
static void check_tls_use(struct loading *k)
{
    const struct config_list *list = &k->config->listen.address;

    if (k->config->listen.tls_certificate == NULL)
        return;
    for (size_t i = 0; i < list->count; i++)
        if (strncmp(list->item[i], "unix:", 5) != 0)
            return;
    config_warn(k->report, KEY(listen, tls_certificate),
                "is not used: there is no host:port in listen.address, and a unix socket is "
                "guarded by its listen.socket_mode");
}

static void say_tls(void *arg, enum tls_part part, bool fatal, const char *what)
{
    struct loading *k = arg;
    const char *path = tls_path(k->config, part);

    if (fatal)
        config_fail(k->report, tls_key(part), "%s %s", path, what);
    else
        config_warn(k->report, tls_key(part), "%s %s", path, what);
}

/* Reads these parts; the others stay as they are. */
static void load_tls(struct loading *k, enum tls_part first, enum tls_part last,
                     enum config_certificates which)
{
    struct config *c = k->config;
    struct tls_options o = { .say = say_tls, .arg = k, .from = c->listen.tls };
    struct config_pem text[TLS_PARTS] = { { .data = NULL } };
    struct tls *new_tls = NULL;
    bool sound = true;

    for (enum tls_part part = first; part <= last && tls_path(c, part) != NULL; part++) {
        char why[256] = "";

        sound &= config_sound(k->report, tls_key(part));
        if (!sound)
            break;
        text[part].data =
            config_file_read(tls_path(c, part), PEM_FILE_MAX, &text[part].len, why, sizeof why);
        o.part[part].text = text[part].data;
        o.part[part].len = text[part].len;
        if (text[part].data == NULL)
            config_fail(k->report, tls_key(part), "%s: %s", tls_path(c, part), why);
        sound &= text[part].data != NULL;
    }
    if (sound && text[first].data != NULL)
        new_tls = tls_new(&o);
    if (new_tls != NULL) {
        const char *why;
        int64_t *ends = NULL;
        size_t count = tls_certificate_ends(text[first].data, text[first].len, &ends, &why);

        set_ends(c, which, ends, count);
        tls_unref(c->listen.tls);
        c->listen.tls = new_tls;
    }
    for (enum tls_part part = first; part <= last; part++)
        config_pem_clear(&text[part]);
}

static void load_listen(struct loading *k)
{
    if (k->config->listen.tls_certificate != NULL && k->config->listen.tls_key != NULL)
        load_tls(k, TLS_CERTIFICATE, TLS_KEY, CERTIFICATES_LISTEN);
}

static void load_client_ca(struct loading *k)
{
    if (k->config->listen.tls_certificate != NULL)
        load_tls(k, TLS_CLIENT_CA, TLS_CLIENT_CA, CERTIFICATES_CLIENT_CA);
}

/* --- outbound --- */

/* False: no file is set, or it is faulty, which was reported. */
static bool read_pem(struct loading *k, const struct config_key *key, const char *path,
                     enum config_pem_kind kind, struct config_pem *out)
{
    char why[512];

    if (path == NULL || !config_sound(k->report, key))
        return false;
    if (config_pem_read(path, kind, out, why, sizeof why) == 0)
        return true;
    config_fail(k->report, key, "%s", why);
    return false;
}

static void replace_pem(struct config_pem *old, struct config_pem *with)
{
    config_pem_clear(old);
    *old = *with;
    *with = (struct config_pem){ .data = NULL };
}

static void load_authorities(struct loading *k, const struct config_key *key, const char *path,
                             struct config_pem *into, enum config_certificates which)
{
    struct config_pem pem = { .data = NULL };
    struct config_ends ends = { .count = 0 };

    if (read_pem(k, key, path, PEM_CERTIFICATES, &pem) &&
        read_ends(k, key, path, &pem, &ends)) {
        replace_pem(into, &pem);
        set_ends(k->config, which, ends.at_s, ends.count);
    }
    config_pem_clear(&pem);
}

static void load_upstream_ca(struct loading *k)
{
    load_authorities(k, KEY(upstream, ca_file), k->config->upstream.ca_file,
                     &k->config->upstream.ca, CERTIFICATES_UPSTREAM_CA);
}

/* Whether upstream.ca_file is used for the token endpoint, too. */
static bool shares_ca(const struct config *c)
{
    return base_same_text(c->token.ca_key, "upstream.ca_file");
}

static void load_token_ca(struct loading *k)
{
    struct config *c = k->config;

    if (!shares_ca(c)) {
        load_authorities(k, KEY(token, ca_file), c->token.ca_file, &c->token.ca,
                         CERTIFICATES_TOKEN_CA);
        return;
    }
    config_pem_clear(&c->token.ca);
    c->token.ca = config_pem_copy(&c->upstream.ca);
}

static void check_end(struct loading *k, const struct config_key *key, const char *path,
                      const struct config_ends *ends)
{
    char date[32] = "";
    time_t end_s = (time_t)ends->at_s[0];
    struct tm tm;

    if (ends->at_s[0] > clock_wall_s())
        return;
    if (gmtime_r(&end_s, &tm) != NULL)
        (void)strftime(date, sizeof date, "%Y-%m-%d %H:%M UTC", &tm);
    config_warn(k->report, key, "%s holds a certificate that has expired, on %s", path, date);
}

static void load_upstream_pair(struct loading *k)
{
    struct config *c = k->config;
    const struct config_key *certificate_key = KEY(upstream, client_certificate);
    const struct config_key *key_key =
        c->upstream.client_key != NULL ? KEY(upstream, client_key) : certificate_key;
    const char *path = c->upstream.client_certificate;
    const char *key_path = c->upstream.client_key != NULL ? c->upstream.client_key : path;
    struct config_pem certificate = { .data = NULL }, key = { .data = NULL };
    struct config_ends ends = { .count = 0 };
    const char *why = NULL;

    if (path == NULL)
        return;
    bool good = read_pem(k, certificate_key, path, PEM_CERTIFICATES, &certificate) &&
                read_pem(k, key_key, key_path, PEM_KEY, &key) &&
                read_ends(k, certificate_key, path, &certificate, &ends);

    if (good && !tls_is_pair(certificate.data, certificate.len, key.data, key.len, &why)) {
        config_fail(k->report, key_key, "%s %s in upstream.client_certificate", key_path, why);
        good = false;
    }
    if (good) {
        check_end(k, certificate_key, path, &ends);
        replace_pem(&c->upstream.certificate, &certificate);
        replace_pem(&c->upstream.key, &key);
        set_ends(c, CERTIFICATES_UPSTREAM, ends.at_s, ends.count);
    } else {
        free(ends.at_s);
    }
    config_pem_clear(&certificate);
    config_pem_clear(&key);
}

/* --- the system's trust store --- */

bool config_trust_differs(const struct config *a, const struct config *b)
{
    return memcmp(a->trust.digest, b->trust.digest, sizeof a->trust.digest) != 0;
}

void config_trust_since(struct config *c, const struct config *running)
{
    if (c->trust.store == NULL && running->trust.store != NULL) {
        c->trust = running->trust;
        (void)trust_store_ref(c->trust.store);
        return;
    }
    c->trust.changed_ms =
        config_trust_differs(c, running) ? trust_store_clock_ms() : running->trust.changed_ms;
}

/* What the trust store is, as a digest; zeros: it does not exist. A directory counts as
 * changed when a file in it is added or removed. OpenSSL looks into it for each new
 * connection, so this matters only for those that are open. */
static void identify(const char *path, unsigned char digest[32])
{
    struct stat st;

    memset(digest, 0, 32);
    if (stat(path, &st) != 0)
        return;
    const struct {
        uint64_t device, inode;
        int64_t size, seconds, nanoseconds;
    } about = { st.st_dev, st.st_ino, st.st_size, st.st_mtim.tv_sec, st.st_mtim.tv_nsec };

    tls_digest((const char *)&about, sizeof about, digest);
}

static bool needs_trust(const struct config *c)
{
    return (c->upstream.ca.data == NULL && base_same_text(c->upstream.scheme, "https")) ||
           (c->token.ca.data == NULL && c->token.url != NULL &&
            strncmp(c->token.url, "https:", 6) == 0);
}

/* Parsing every certificate of a store with 150 authorities takes 50 ms, so it is done only
 * if there is a good store that would be kept instead. */
static bool is_good_store(const char *text, size_t len, bool has_other, const char **wrong)
{
    int64_t *ends = NULL;

    if (!has_other)
        return tls_is_certificates(text, len, wrong);
    bool good = tls_certificate_ends(text, len, &ends, wrong) > 0;

    free(ends);
    return good;
}

/* Copies the file. Returns what is wrong with it, or NULL. */
static const char *copy_trust(struct config *c, const char *file, char *why, size_t why_size)
{
    size_t len = 0;
    const char *wrong = why;
    char *text = config_file_read(file, PEM_FILE_MAX, &len, why, why_size);

    if (text != NULL && is_good_store(text, len, c->trust.store != NULL, &wrong)) {
        trust_store_unref(c->trust.store);
        c->trust.store = trust_store_new(text, len);
        wrong = NULL;
    }
    config_file_free(text, len);
    return wrong;
}

/* Looks at the store as it is now. A faulty file does not count as a change: at the start it
 * is only reported, later the copy of the last good one stays in use. */
static void load_trust(struct loading *k)
{
    static const unsigned char none[32];
    unsigned char digest[32], *was = k->config->trust.digest;
    bool first = memcmp(was, none, sizeof none) == 0;
    const char *file, *directory, *wrong = NULL;
    char why[256] = "";

    trust_store_find(&file, &directory);
    if ((file == NULL && directory == NULL) || !needs_trust(k->config))
        return;
    identify(file != NULL ? file : directory, digest);
    if (memcmp(digest, was, sizeof digest) == 0 && !first)
        return;
    if (file != NULL) /* only a changed file is parsed, since that takes time */
        wrong = copy_trust(k->config, file, why, sizeof why);
    if (wrong != NULL && first)
        config_warn(k->report, KEY(upstream, ca_file),
                    "is not set, and the system's trust store, %s, %s", file, wrong);
    else if (wrong != NULL)
        config_fail(k->report, KEY(upstream, ca_file),
                    "is not set, and the system's trust store, %s, %s", file, wrong);
    if (wrong == NULL || first)
        memcpy(was, digest, sizeof digest);
}

/* --- the authorities of the ledger's database --- */

/* Only its expiry is kept: the database's client library reads the file for each connection. */
static void load_store_ca(struct loading *k)
{
    const struct config_key *key = KEY(ledger, store_ca_file);
    const char *path = k->config->ledger.store == NULL ? NULL : k->config->ledger.store_ca_file;
    struct config_pem pem = { .data = NULL };
    struct config_ends ends = { .count = 0 };

    if (read_pem(k, key, path, PEM_CERTIFICATES, &pem) && read_ends(k, key, path, &pem, &ends))
        set_ends(k->config, CERTIFICATES_STORE_CA, ends.at_s, ends.count);
    config_pem_clear(&pem);
}

/* --- all of them --- */

static void (*const groups[])(struct loading *k) = { load_listen,      load_client_ca,
                                                     load_upstream_ca, load_upstream_pair,
                                                     load_token_ca,    load_trust,
                                                     load_store_ca };

void config_load_certificates(struct config *c, struct config_report *report)
{
    struct loading k = { .config = c, .report = report };

    for (size_t i = 0; i < ARRAY_LEN(groups); i++)
        groups[i](&k);
}

void config_check_certificates(struct config *c, struct config_report *report)
{
    struct loading k = { .config = c, .report = report };

    if (c->upstream.client_key != NULL && c->upstream.client_certificate == NULL)
        config_fail(report, KEY(upstream, client_key),
                    "needs upstream.client_certificate as well");
    check_tls_pairs(&k);
    check_tls_use(&k);
    c->token.ca_key = c->token.ca_file != NULL ? "token.ca_file" : "upstream.ca_file";
    if (c->token.ca_file == NULL &&
        c->upstream.ca_file != NULL) /* used for both; reported once */
        config_string_set(&c->token.ca_file, "%s", c->upstream.ca_file);
    config_load_certificates(c, report);
}

static bool ends_differ(const struct config_ends *a, const struct config_ends *b)
{
    return a->count != b->count ||
           (a->count > 0 && memcmp(a->at_s, b->at_s, sizeof *a->at_s * a->count) != 0);
}

bool config_contents_differ(const struct config *a, const struct config *b,
                            const struct config_key *key)
{
    for (enum tls_part part = 0; part < TLS_PARTS; part++)
        if (key == tls_key(part))
            return tls_differs(a->listen.tls, b->listen.tls, part);
    if (key == KEY(upstream, ca_file))
        return config_pem_differs(&a->upstream.ca, &b->upstream.ca);
    if (key == KEY(token, ca_file))
        return !(shares_ca(a) && shares_ca(b)) &&
               config_pem_differs(&a->token.ca, &b->token.ca);
    if (key == KEY(ledger, store_ca_file))
        return ends_differ(&a->ends[CERTIFICATES_STORE_CA], &b->ends[CERTIFICATES_STORE_CA]);
    if (key == KEY(upstream, client_certificate))
        return config_pem_differs(&a->upstream.certificate, &b->upstream.certificate);
    return key == KEY(upstream, client_key) &&
           config_pem_differs(&a->upstream.key, &b->upstream.key);
}

static void copy_ends(struct config_ends *ends)
{
    int64_t *copy;

    if (ends->count == 0)
        return;
    copy = base_alloc(sizeof *copy * ends->count);
    memcpy(copy, ends->at_s, sizeof *copy * ends->count);
    ends->at_s = copy;
}

void config_own_certificates(struct config *c)
{
    if (c->listen.tls != NULL)
        (void)tls_ref(c->listen.tls);
    c->upstream.ca = config_pem_copy(&c->upstream.ca);
    c->upstream.certificate = config_pem_copy(&c->upstream.certificate);
    c->upstream.key = config_pem_copy(&c->upstream.key);
    c->token.ca = config_pem_copy(&c->token.ca);
    (void)trust_store_ref(c->trust.store);
    for (size_t i = 0; i < CERTIFICATES_COUNT; i++)
        copy_ends(&c->ends[i]);
}

void config_clear_certificates(struct config *c)
{
    config_pem_clear(&c->upstream.ca);
    config_pem_clear(&c->upstream.certificate);
    config_pem_clear(&c->upstream.key);
    config_pem_clear(&c->token.ca);
    tls_unref(c->listen.tls);
    trust_store_unref(c->trust.store);
    for (size_t i = 0; i < CERTIFICATES_COUNT; i++)
        set_ends(c, (enum config_certificates)i, NULL, 0);
}

/* --- what the log and the metrics report --- */

static int64_t first_end(const struct config_ends *ends)
{
    int64_t first = ends->at_s[0];

    for (size_t i = 1; i < ends->count; i++)
        first = base_min(first, ends->at_s[i]);
    return first;
}

static int64_t first_good_end(const struct config_ends *ends, int64_t now_s)
{
    int64_t first = 0, last = ends->at_s[0];

    for (size_t i = 0; i < ends->count; i++) {
        last = base_max(last, ends->at_s[i]);
        if (ends->at_s[i] > now_s && (first == 0 || ends->at_s[i] < first))
            first = ends->at_s[i];
    }
    return first != 0 ? first : last;
}

size_t config_certificates(const struct config *c, int64_t now_s,
                           struct config_certificate out[CERTIFICATES_COUNT])
{
    const struct {
        const char *key, *path;
        bool authorities;
    } all[CERTIFICATES_COUNT] = {
        [CERTIFICATES_LISTEN] = { "listen.tls_certificate", c->listen.tls_certificate, false },
        [CERTIFICATES_CLIENT_CA] = { "listen.tls_client_ca", c->listen.tls_client_ca, true },
        [CERTIFICATES_UPSTREAM_CA] = { "upstream.ca_file", c->upstream.ca_file, true },
        [CERTIFICATES_UPSTREAM] = { "upstream.client_certificate",
                                    c->upstream.client_certificate, false },
        [CERTIFICATES_TOKEN_CA] = { "token.ca_file", c->token.ca_file, true },
        [CERTIFICATES_STORE_CA] = { "ledger.store_ca_file", c->ledger.store_ca_file, true },
    };
    size_t count = 0;

    for (size_t i = 0; i < CERTIFICATES_COUNT; i++) {
        bool told = c->ends[i].count == 0;

        for (size_t j = 0; j < count && !told; j++)
            told = strcmp(out[j].path, all[i].path) == 0;
        if (!told)
            out[count++] = (struct config_certificate){
                .key = all[i].key,
                .path = all[i].path,
                .end_s = all[i].authorities ? first_good_end(&c->ends[i], now_s)
                                            : first_end(&c->ends[i]),
            };
    }
    return count;
}

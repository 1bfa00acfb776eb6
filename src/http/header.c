/* Decides which header fields go on to the other side, and reads the few whose values mean
 * something to the proxy.
 *
 *     what the caller sent ----> without what was meant for ----> plus what we are responsible
 *                                us (hop-by-hop, nominated        for (Via, X-Request-Id,
 *                                by Connection, credentials)      Authorization)
 *
 * The order matters: if ours were added first, `Connection: authorization` would remove the
 * token.
 */
#include "http/header.h"

#include <string.h>

#include "base/ascii.h"
#include "http/host.h"

struct name {
    const char *text;
    size_t len;
};
#define NAME(literal)               \
    {                               \
        literal, sizeof literal - 1 \
    }

/* For the next hop only (RFC 9110 section 7.6.1, and older names that are still in use). */
static const struct name hop_by_hop[] = {
    NAME("connection"), NAME("keep-alive"),     NAME("proxy-connection"),
    NAME("te"),         NAME("trailer"),        NAME("transfer-encoding"),
    NAME("upgrade"),    NAME("http2-settings"), NAME("proxy-authorization"),
};

/* Set by us, never taken from the caller. */
static const struct name own[] = { NAME("authorization"), NAME("host"), NAME("expect") };

/* Takes the next element from the front of a comma-separated list; false at the end. */
static bool next_element(const char **list, size_t *len, const char **element, size_t *n)
{
    while (*len > 0) {
        const char *comma = memchr(*list, ',', *len);
        size_t taken = comma != NULL ? (size_t)(comma - *list) : *len;

        *element = *list;
        *n = taken;
        taken += comma != NULL ? 1 : 0;
        *list += taken;
        *len -= taken;
        ascii_trim(element, n);
        if (*n > 0)
            return true;
    }
    return false;
}

bool header_has_token(const char *list, size_t len, const char *lower_token)
{
    const char *element = NULL;
    size_t n = 0;

    while (next_element(&list, &len, &element, &n))
        if (ascii_equal_str(element, n, lower_token))
            return true;
    return false;
}

/* Whether names are equal ignoring case; with `twins` also ignoring the difference between
 * `_` and `-`, since many servers treat these as the same (CGI variables). */
static bool same_name(const char *a, size_t a_len, const char *b, size_t b_len, bool twins)
{
    if (a_len != b_len)
        return false;
    for (size_t i = 0; i < a_len; i++) {
        char x = ascii_lower(a[i]), y = ascii_lower(b[i]);

        if (x != y && !(twins && (x == '_' || x == '-') && (y == '_' || y == '-')))
            return false;
    }
    return true;
}

static bool is_among(const struct header_field *f, const struct name *names, size_t count,
                     bool twins)
{
    for (size_t i = 0; i < count; i++)
        if (names[i].len == f->name_len &&
            same_name(f->name, f->name_len, names[i].text, names[i].len, twins))
            return true;
    return false;
}

/* The index of the first Connection field; `count`: there is none, as in most heads. */
static size_t first_connection(const struct header_field *fields, size_t count)
{
    size_t i = 0;

    while (i < count && !header_is(&fields[i], "connection"))
        i++;
    return i;
}

/* Whether a Connection field, at `first` or later, names this field. */
static bool is_nominated(const struct header_field *f, const struct header_field *all,
                         size_t first, size_t count, bool twins)
{
    for (size_t i = first; i < count; i++) {
        if (!header_is(&all[i], "connection"))
            continue;
        const char *list = all[i].value, *element = NULL;
        size_t len = all[i].value_len, n = 0;
        while (next_element(&list, &len, &element, &n))
            if (same_name(f->name, f->name_len, element, n, twins))
                return true;
    }
    return false;
}

/* --- to the upstream ----------------------------------------------------------------- */

static bool write_field(struct buf *out, const char *name, size_t name_len, const char *value,
                        size_t value_len)
{
    ascii_trim(&value, &value_len);
    assert(ascii_is_token(name, name_len) && ascii_is_field_text(value, value_len));

    char *at = buf_reserve(out, name_len + value_len + 4);

    if (at == NULL)
        return false;
    memcpy(at, name, name_len);
    memcpy(at + name_len, ": ", 2);
    if (value_len > 0)
        memcpy(at + name_len + 2, value, value_len);
    memcpy(at + name_len + 2 + value_len, "\r\n", 2);
    buf_commit(out, name_len + value_len + 4);
    return true;
}

static bool write_own(struct buf *out, const char *name, const char *value)
{
    return write_field(out, name, strlen(name), value, strlen(value));
}

static bool write_line(struct buf *out, const char *line)
{
    return buf_add_str(out, line) == 0 && buf_add(out, "\r\n", 2) == 0;
}

static bool is_zero(const struct header_field *f)
{
    const char *value = f->value;
    size_t len = f->value_len;

    ascii_trim(&value, &len);
    return ascii_number(value, len) == 0;
}

/* Whether a field with this name must not be forwarded, even for the least careful server:
 * `_` is read as `-`, and an underscore at the end is ignored. */
static bool is_dropped(const struct header_field *f)
{
    struct header_field bare = *f;

    while (bare.name_len > 0 && bare.name[bare.name_len - 1] == '_')
        bare.name_len--;
    return is_among(&bare, hop_by_hop, ARRAY_LEN(hop_by_hop), true) ||
           is_among(&bare, own, ARRAY_LEN(own), true);
}

/* The same for a name from the settings; NULL: not set. */
static bool is_named(const struct header_field *f, const char *name)
{
    size_t len = f->name_len, wanted = name == NULL ? 0 : strlen(name);

    if (name == NULL || len < wanted)
        return false;
    while (len > wanted && f->name[len - 1] == '_')
        len--;
    return same_name(f->name, len, name, wanted, true);
}

static bool may_pass(const struct header_forward *in, const struct header_field *f,
                     size_t connection)
{
    if (is_dropped(f))
        return false;
    /* For a request with a body, ours is written instead. */
    if (header_is(f, "content-length"))
        return in->body_bytes == 0 && is_zero(f);
    if (is_named(f, in->require_name) || is_named(f, in->secret_name))
        return false;
    if ((in->identity && header_is(f, "accept-encoding")) ||
        (in->drop_key && header_is(f, "idempotency-key")))
        return false;
    return !is_nominated(f, in->fields, connection, in->count, true);
}

/* Writes the caller's fields that may be forwarded; *has_request_id: X-Request-Id was one of
 * them. */
static bool write_passing(struct buf *out, const struct header_forward *in,
                          bool *has_request_id)
{
    size_t connection = first_connection(in->fields, in->count);

    for (size_t i = 0; i < in->count; i++) {
        const struct header_field *f = &in->fields[i];

        if (!may_pass(in, f, connection))
            continue;
        if (header_is(f, "x-request-id")) {
            if (*has_request_id)
                continue; /* it is not clear which of them the upstream would use */
            *has_request_id = true;
        }
        if (!write_field(out, f->name, f->name_len, f->value, f->value_len))
            return false;
    }
    return true;
}

/* Writes how the body is delimited (RFC 9112 section 6). */
static bool write_framing(struct buf *out, int64_t body_bytes)
{
    if (body_bytes > 0)
        return buf_addf(out, "Content-Length: %lld\r\n", (long long)body_bytes) == 0;
    return body_bytes == 0 || write_line(out, "Transfer-Encoding: chunked");
}

bool header_write(struct buf *out, const struct header_forward *in)
{
    bool has_request_id = false;

    return write_own(out, "Host", in->host) && write_passing(out, in, &has_request_id) &&
           (!in->identity || write_line(out, "Accept-Encoding: identity")) &&
           write_line(out, "Via: 1.1 " HEADER_PSEUDONYM) &&
           (in->request_id == NULL || has_request_id ||
            write_own(out, "X-Request-Id", in->request_id)) &&
           write_line(out, in->authorization) && write_framing(out, in->body_bytes) &&
           write_line(out, "");
}

/* --- back to the caller -------------------------------------------------------------- */

size_t header_filter_response(struct header_field *fields, size_t count)
{
    size_t left = 0;
    size_t connection = first_connection(fields, count);

    /* Two passes: the Connection fields must stay until every field has been compared with
     * them. */
    for (size_t i = 0; i < count && connection < count; i++)
        if (!header_is(&fields[i], "connection") &&
            is_nominated(&fields[i], fields, connection, count, false))
            fields[i].name_len = 0; /* mark it: no field has an empty name */
    for (size_t i = 0; i < count; i++) {
        if (fields[i].name_len == 0 || header_is(&fields[i], "content-length") ||
            is_among(&fields[i], hop_by_hop, ARRAY_LEN(hop_by_hop), false))
            continue;
        fields[left++] = fields[i];
    }
    return left;
}

/* --- values that the proxy reads: Via, Keep-Alive, X-Request-Id, Location ----------------- */

/* The end of the Via element that begins at s: its comma, or the end. A comma inside a
 * comment "(...)" does not count (RFC 9110 section 5.6.5). */
static size_t via_element(const char *s, size_t n)
{
    size_t depth = 0, i = 0;

    for (; i < n; i++) {
        if (s[i] == '\\' && depth > 0)
            i++;
        else if (s[i] == '(')
            depth++;
        else if (s[i] == ')' && depth > 0)
            depth--;
        else if (s[i] == ',' && depth == 0)
            break;
    }
    return i < n ? i : n;
}

/* protocol RWS received-by [ RWS comment ]: whether received-by is our pseudonym, with or
 * without a port. */
static bool element_is_ours(const char *s, size_t n)
{
    ascii_trim(&s, &n);
    while (n > 0 && !ascii_is_blank(*s)) {
        s++;
        n--;
    }
    ascii_trim(&s, &n);
    size_t end = 0;
    while (end < n && !ascii_is_blank(s[end]) && s[end] != ':')
        end++;
    return ascii_equal_str(s, end, HEADER_PSEUDONYM);
}

bool header_via_is_ours(const struct header_field *fields, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!header_is(&fields[i], "via"))
            continue;
        const char *s = fields[i].value;
        size_t n = fields[i].value_len;
        while (n > 0) {
            size_t taken = via_element(s, n);
            if (element_is_ours(s, taken))
                return true;
            taken += taken < n ? 1 : 0;
            s += taken;
            n -= taken;
        }
    }
    return false;
}

/* Whether it consists of lower-case hexadecimal digits that are not all zero. */
static bool is_id(const char *s, size_t n)
{
    bool zero = true;

    for (size_t i = 0; i < n; i++) {
        if (!ascii_is_digit(s[i]) && (s[i] < 'a' || s[i] > 'f'))
            return false;
        zero = zero && s[i] == '0';
    }
    return !zero;
}

const char *header_trace_id(const char *s, size_t len)
{
    enum {
        VERSION = 2,
        SPAN = 16,
        FLAGS = 2,
        TRACE_AT = VERSION + 1,
        SPAN_AT = TRACE_AT + HEADER_TRACE_ID_BYTES + 1,
        FLAGS_AT = SPAN_AT + SPAN + 1,
        ALL = FLAGS_AT + FLAGS
    };

    ascii_trim(&s, &len);
    if (len < ALL || s[VERSION] != '-' || s[SPAN_AT - 1] != '-' || s[FLAGS_AT - 1] != '-')
        return NULL;
    bool first = s[0] == '0' && s[1] == '0';

    /* Later versions may add something at the end. */
    if ((first && len != ALL) || (len > ALL && s[ALL] != '-') || (s[0] == 'f' && s[1] == 'f') ||
        (!first && !is_id(s, VERSION)) || !is_id(s + TRACE_AT, HEADER_TRACE_ID_BYTES) ||
        !is_id(s + SPAN_AT, SPAN) || !ascii_is_hex(s[FLAGS_AT]) ||
        !ascii_is_hex(s[FLAGS_AT + 1]))
        return NULL;
    return s + TRACE_AT;
}

int64_t header_keep_alive_s(const char *value, size_t len)
{
    static const char name[] = "timeout";
    const char *element = NULL;
    size_t n = 0;

    while (next_element(&value, &len, &element, &n)) {
        const char *equals = memchr(element, '=', n);

        if (equals == NULL)
            continue;
        const char *key = element, *number = equals + 1;
        size_t key_len = (size_t)(equals - element), number_len = n - key_len - 1;

        ascii_trim(&key, &key_len);
        ascii_trim(&number, &number_len);
        if (number_len >= 2 && number[0] == '"' && number[number_len - 1] == '"') {
            number++;
            number_len -= 2;
        }
        if (ascii_equal_str(key, key_len, name))
            return ascii_number(number, number_len);
    }
    return -1;
}

bool header_request_id_ok(const char *value, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!ascii_is_visible(value[i]))
            return false;
    return len >= 1 && len <= 128;
}

/* The length of "scheme:" at the front; 0: there is none. */
static size_t scheme_len(const char *s)
{
    size_t n = 0;

    if (!ascii_is_alpha(s[0]))
        return 0;
    while (ascii_is_alpha(s[n]) || ascii_is_digit(s[n]) ||
           (s[n] != '\0' && strchr("+-.", s[n])))
        n++;
    return s[n] == ':' ? n : 0;
}

static int port_or_default(const struct host *h, const char *scheme, size_t len)
{
    if (h->port >= 0)
        return h->port;
    return ascii_equal_str(scheme, len, "https") ? 443 : 80;
}

/* Whether two ports are the same when the schemes may differ: both are the default, or both
 * are written and equal. */
static bool same_port(const struct host *here, const struct host *there, const char *scheme,
                      size_t len, bool same_scheme)
{
    int ours = port_or_default(here, scheme, len);

    if (same_scheme)
        return ours == port_or_default(there, scheme, len);
    return there->port == ours || (ours == 443 && (there->port < 0 || there->port == 80));
}

const char *header_local_location(const char *value, const char *origin)
{
    size_t scheme = scheme_len(origin), own_scheme = scheme_len(value);
    assert(scheme > 0);
    const char *authority = origin + scheme + 3, *theirs = value;

    if (own_scheme > 0) {
        /* http:// for an https upstream: its server does not know of the TLS in front of it. */
        if (!ascii_equal(value, own_scheme, origin, scheme) &&
            !(ascii_equal_str(value, own_scheme, "http") &&
              ascii_equal_str(origin, scheme, "https")))
            return NULL;
        theirs += own_scheme + 1;
    }
    if (strncmp(theirs, "//", 2) != 0)
        return NULL;
    theirs += 2;

    struct host here, there;
    size_t len = strcspn(theirs, "/?#");
    if (!host_split(authority, strlen(authority), &here) || !host_split(theirs, len, &there) ||
        !ascii_equal(here.name, here.name_len, there.name, there.name_len) ||
        !same_port(&here, &there, origin, scheme, own_scheme == scheme || own_scheme == 0))
        return NULL;

    const char *path = theirs + len;
    if (*path == '\0')
        return "/";
    if (*path != '/' || strpbrk(path, "\\\t") != NULL)
        return NULL;
    while (path[1] == '/')
        path++;
    return path;
}

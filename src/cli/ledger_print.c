/* Prints entries of the ledger: as a table, one JSON object per line, or ids; and a single
 * entry with how to find out its outcome. */
#include "cli/ledger_print.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/clock.h"
#include "cli/curl_command.h"
#include "config/command_line.h"

#define TEXT_MAX 65536
#define TIME_BYTES 32
/* By how much the clock of the API may be behind ours. */
#define CLOCKS_DIFFER_MS 600000

bool ledger_format_find(const char *name, enum ledger_format *out)
{
    static const char *const names[] = { "table", "json", "ids" };

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcmp(names[i], name) == 0) {
            *out = (enum ledger_format)i;
            return true;
        }
    return false;
}

/* "2026-11-28T20:00:00Z" */
static const char *time_text(int64_t ms, char out[TIME_BYTES])
{
    time_t s = (time_t)(ms / 1000);
    struct tm tm;

    if (ms == 0 || gmtime_r(&s, &tm) == NULL ||
        strftime(out, TIME_BYTES, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        (void)snprintf(out, TIME_BYTES, "-");
    return out;
}

/* Appends printable ASCII, and \xNN for any other byte. */
static void add_plain(struct buf *out, const char *bytes, size_t len)
{
    int rc = 0;

    for (size_t i = 0; i < len && rc == 0; i++) {
        unsigned char ch = (unsigned char)bytes[i];

        rc =
            ch >= 0x20 && ch < 0x7f ? buf_add(out, &bytes[i], 1) : buf_addf(out, "\\x%02x", ch);
    }
}

static void add_text(struct buf *out, const char *text)
{
    add_plain(out, text == NULL ? "-" : text, text == NULL ? 1 : strlen(text));
}

/* Each byte that is not ASCII becomes the character with that number: stored text need not
 * be UTF-8, but JSON must be. */
static void add_json(struct buf *out, const char *text)
{
    int rc = buf_add_str(out, "\"");

    for (const char *p = text; *p != '\0' && rc == 0; p++) {
        unsigned char ch = (unsigned char)*p;

        if (ch == '"' || ch == '\\')
            rc = buf_addf(out, "\\%c", ch);
        else if (ch >= 0x20 && ch < 0x7f)
            rc = buf_add(out, p, 1);
        else
            rc = buf_addf(out, "\\u%04x", ch);
    }
    if (rc == 0)
        rc = buf_add_str(out, "\"");
    (void)rc; /* cut at 64 KiB */
}

static void add_member(struct buf *out, const char *name, const char *value)
{
    if (value == NULL)
        return;
    (void)buf_addf(out, ",\"%s\":", name);
    add_json(out, value);
}

static void add_time_member(struct buf *out, const char *name, int64_t ms)
{
    char text[TIME_BYTES];

    if (ms != 0)
        add_member(out, name, time_text(ms, text));
}

static void add_object(struct buf *out, const struct ledger_entry *e)
{
    (void)buf_addf(out, "{\"id\":\"%s\",\"state\":\"%s\"", e->id, ledger_state_name(e->state));
    if (e->status != 0)
        (void)buf_addf(out, ",\"status\":%d", e->status);
    add_time_member(out, "first_seen", e->claimed_ms);
    add_time_member(out, "lease_until", e->lease_ms);
    add_time_member(out, "ended", e->ended_ms);
    add_member(out, "caller", e->scope[0] == '\0' ? NULL : e->scope);
    add_member(out, "key", e->key);
    add_member(out, "method", e->method);
    add_member(out, "path", e->path);
    add_member(out, "request_id", e->request_id);
    add_member(out, "cause", e->cause[0] == '\0' ? NULL : e->cause);
    add_member(out, "resolved_by", e->resolved_by);
    add_member(out, "note", e->note);
    (void)buf_addf(out, "}");
}

static void add_row(struct buf *out, const struct ledger_entry *e)
{
    char seen[TIME_BYTES], status[16] = "-";

    if (e->status != 0)
        (void)snprintf(status, sizeof status, "%d", e->status);
    (void)buf_addf(out, "%-36s  %-9s  %-6s  %-20s  ", e->id, ledger_state_name(e->state),
                   status, time_text(e->claimed_ms, seen));
    add_text(out, e->scope[0] == '\0' ? NULL : e->scope);
    (void)buf_addf(out, "  ");
    add_text(out, e->cause[0] == '\0' ? NULL : e->cause);
    (void)buf_addf(out, "  ");
    add_text(out, e->method);
    (void)buf_addf(out, " ");
    add_text(out, e->path);
}

bool ledger_print_entry(void *arg, const struct ledger_entry *e)
{
    struct ledger_printer *p = arg;
    struct buf line;

    buf_init(&line, TEXT_MAX);
    switch (p->format) {
    case LEDGER_TABLE:
        if (p->count == 0)
            (void)buf_addf(&line, "%-36s  %-9s  %-6s  %-20s  CALLER  CAUSE  REQUEST\n", "ID",
                           "STATE", "STATUS", "FIRST SEEN");
        add_row(&line, e);
        break;
    case LEDGER_JSON:
        add_object(&line, e);
        break;
    case LEDGER_IDS:
        (void)buf_addf(&line, "%s", e->id);
        break;
    }
    p->count++;
    p->failed |= puts(buf_text(&line)) < 0;
    buf_done(&line);
    return !p->failed;
}

bool ledger_print_end(struct ledger_printer *p)
{
    if (p->format == LEDGER_TABLE && p->count == 0)
        p->failed |= puts("none") < 0;
    return !p->failed;
}

/* --- one entry --- */

static void add_line(struct buf *out, const char *name, const char *value)
{
    if (value == NULL || *value == '\0')
        return;
    (void)buf_addf(out, "%-12s ", name);
    add_text(out, value);
    (void)buf_addf(out, "\n");
}

static void add_time_line(struct buf *out, const char *name, int64_t ms)
{
    char text[TIME_BYTES];

    if (ms != 0)
        add_line(out, name, time_text(ms, text));
}

static void add_fields(struct buf *out, const struct ledger_entry *e)
{
    add_line(out, "id", e->id);
    add_line(out, "state", ledger_state_name(e->state));
    add_line(out, "cause", e->cause);
    if (e->status != 0)
        (void)buf_addf(out, "%-12s %d\n", "status", e->status);
    add_time_line(out, "first seen", e->claimed_ms);
    add_time_line(out, "lease until", e->lease_ms);
    add_time_line(out, "ended", e->ended_ms);
    add_line(out, "caller", e->scope);
    add_line(out, "key", e->key);
    (void)buf_addf(out, "%-12s ", "request");
    add_text(out, e->method);
    (void)buf_addf(out, " ");
    add_text(out, e->path);
    (void)buf_addf(out, "\n");
    add_line(out, "request id", e->request_id);
    add_line(out, "resolved by", e->resolved_by);
    add_line(out, "note", e->note);
}

/* Prints a body, in a limited number of lines. */
static void add_body(struct buf *out, const char *name, const struct ledger_bytes *b)
{
    const size_t most = 4096;

    if (b->data == NULL)
        return;
    (void)buf_addf(out, "%-12s %zu bytes%s\n", name, b->len,
                   b->len > most ? ", of which the first:"
                   : b->len > 0  ? ":"
                                 : "");
    add_plain(out, b->data, b->len < most ? b->len : most);
    if (b->len > 0)
        (void)buf_addf(out, "\n");
}

static void add_head(struct buf *out, const char *head)
{
    for (const char *p = head; p != NULL && *p != '\0';) {
        size_t len = strcspn(p, "\r\n");

        (void)buf_addf(out, "%-12s ", "field");
        add_plain(out, p, len);
        (void)buf_addf(out, "\n");
        p += len;
        p += strspn(p, "\r\n");
    }
}

/* Appends text encoded as a value in a query. */
static void add_encoded(struct buf *out, const char *text)
{
    int rc = 0;

    for (const char *p = text; *p != '\0' && rc == 0; p++)
        rc = strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~", *p) !=
                     NULL
                 ? buf_add(out, p, 1)
                 : buf_addf(out, "%%%02X", (unsigned char)*p);
}

/* Whether a memo in the API's list may hold the key. */
static bool may_be_memo(const struct config *c, const struct ledger_entry *e)
{
    return e->key != NULL && c->ledger.key_pointer != NULL &&
           strcmp(c->ledger.key_pointer, "/memo") == 0;
}

/* Appends the command that looks for the transaction at the API; by_memo: among those alone
 * whose memo is the key. */
static void add_search(struct buf *out, const struct config *c, const struct ledger_entry *e,
                       bool by_memo)
{
    (void)buf_addf(out, "  ");
    curl_command_begin(out, c);
    (void)buf_addf(out, "/business/BUSINESS_ID/transactions?");
    if (by_memo) {
        (void)buf_addf(out, "memo=");
        add_encoded(out, c->ledger.body_key_prefix);
        add_encoded(out, e->key);
        (void)buf_addf(out, "&");
    }
    (void)buf_addf(out, "createdAfter=%" PRId64 "&page=1\"\n\n", /* seconds, as the API wants */
                   (e->claimed_ms - CLOCKS_DIFFER_MS) / 1000);
}

static void add_resolve(struct buf *out, const struct config *c, const char *id, const char *as)
{
    (void)buf_addf(out, "  oneshot-proxy ledger resolve %s %s --note \"...\"", id, as);
    command_line_add_config(out, c->file);
    (void)buf_addf(out, "\n");
}

/* How to find out what became of it. Only the search by time shows everything: a key may
 * have stood in the header, and nobody knows whether the API finds a part of a memo. */
static void add_way(struct buf *out, const struct config *c, const struct ledger_entry *e)
{
    (void)buf_addf(out,
                   "\nWhether it was carried out is not known, and nothing is sent again by "
                   "itself. Ask\nthe upstream, for the business that the request was made "
                   "for, and read every page\n(page=2 and so on, until you have seen "
                   "totalResults transactions):\n\n");
    add_search(out, c, e, false);
    if (may_be_memo(c, e)) {
        (void)buf_addf(out, "If the key was in the body, this may find it sooner; finding "
                            "nothing, it proves nothing:\n\n");
        add_search(out, c, e, true);
    }
    if (curl_command_needs_more(c))
        (void)buf_addf(out,
                       "Add what this proxy wants of its callers: --cacert, --cert and --key, "
                       "or a field with -H.\n\n");
    (void)buf_addf(out,
                   "Compare operation, address, amount, memo and time. If it is there, it was "
                   "carried out.\nOnly the first search, read to its end, can show that it is "
                   "not there, and only of what\nthe API lists as a transaction: a wallet or a "
                   "signature is none, and whether an x402\nsettlement is, its support knows. "
                   "The upstream may also be at it still: look again some\nminutes later. Then "
                   "tell the ledger what you know:\n\n");
    add_resolve(out, c, e->id, "executed");
    add_resolve(out, c, e->id, "not-executed");
    (void)buf_addf(out, "\nAfter not-executed a retry with its key is sent.\n");
}

bool ledger_print_whole(const struct config *c, const struct ledger_entry *e)
{
    struct buf out;

    buf_init(&out, 8 * TEXT_MAX);
    add_fields(&out, e);
    add_body(&out, "request body", &e->request_body);
    add_head(&out, e->answer_head);
    add_body(&out, "answer", &e->answer_body);
    if (e->state == LEDGER_UNKNOWN)
        add_way(&out, c, e);
    bool good = fputs(buf_text(&out), stdout) >= 0;

    buf_done(&out);
    return good;
}

/* The ledger's store in a PostgreSQL database, for several replicas of the proxy at once.
 *
 *     outcomes   BEGIN, settings, UPDATE each, COMMIT                     of entries in flight
 *     late ones  BEGIN, settings, SELECT FOR UPDATE + UPDATE each, COMMIT of other entries
 *     claims     BEGIN, settings, INSERT each, COMMIT
 *     looks      BEGIN, settings, SELECT each, COMMIT   also for claims that were not made
 *     touch      BEGIN, settings, UPDATE each, COMMIT   only for claims made again
 *
 * Each line is one flight: all of it is sent, then the results are read. The unique index
 * ensures that two replicas cannot both claim a key: of two INSERTs one waits for the end of
 * the other and then changes nothing. Claims are sorted, so that two batches never wait for
 * each other.
 *
 * When is a claim durable? When COMMIT was answered without a WARNING: a warning is all that
 * PostgreSQL sends when a synchronous standby did not confirm. If the answer to COMMIT does
 * not come, the claim may or may not be there (STORE_UNCLEAR). Made again, it finds itself;
 * but that it can be seen proves nothing about the standby, so it is updated once more
 * (touch), and that commit counts.
 *
 * When claims follow, the commit of the outcomes does not wait for the disk: PostgreSQL's
 * log is sequential, so the commit of the claims makes them durable too. They are reported
 * only after that. */
#include "ledger/store_postgresql.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "ledger/postgresql.h"

#define LIST_MS 60000 /* for the operator's command */
#define INIT_MS 30000
/* At the start: enough to find out what is wrong with a server, without a long wait for one
 * that is not there: requests without a key are served without it. */
#define OPEN_MS 5000

struct store {
    struct pg pg;
    char *instance;
    char store_id[64]; /* "": not known yet */
    bool other_store;  /* the URL led to another store: final */
    int64_t
        /* entries claimed before this have no answers any more; 0: not known */
        answers_pruned_ms;
};

/* The server's clock, in milliseconds: the clocks of replicas may differ. */
#define NOW "floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint"

/* The bodies follow the columns of an entry, in the order of read_entry. */
#define COLUMNS                                                                            \
    "id, state, scope, idem_key, fingerprint, cause, method, path, request_id, instance, " \
    "claimed_ms, lease_ms, ended_ms, status, answer_head, resolved_by, note"

/* Settings of each transaction. A client that vanishes in the middle must not hold a key for
 * the hours that the server's TCP takes to notice it. */
#define SETTINGS                                          \
    "SELECT set_config('synchronous_commit', $1, true), " \
    "set_config('idle_in_transaction_session_timeout', $2, true)"

/* --- text and bytes ----------------------------------------------------------------------- */

/* PostgreSQL's text is UTF-8, while an answer's fields may be any bytes: each byte is stored
 * as the character with its number (ISO 8859-1), and converted back. The caller frees the
 * result. */
static char *text_of_bytes(const char *bytes)
{
    size_t len = strlen(bytes), n = 0;
    char *text = base_alloc(2 * len + 1);

    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)bytes[i];

        if (c >= 0x80)
            text[n++] = (char)(0xc0 | c >> 6);
        text[n++] = (char)(c >= 0x80 ? 0x80 | (c & 0x3f) : c);
    }
    return text;
}

static void bytes_of_text(char *text)
{
    size_t n = 0;

    for (size_t i = 0; text != NULL && text[i] != '\0'; i++) {
        unsigned char c = (unsigned char)text[i];

        if (c >= 0xc2 && c <= 0xc3 && text[i + 1] != '\0')
            c = (unsigned char)((c & 3) << 6 | (text[++i] & 0x3f));
        text[n++] = (char)c;
    }
    if (text != NULL)
        text[n] = '\0';
}

static void add_bytes(struct pg_params *a, const struct ledger_bytes *b)
{
    /* An empty body is not NULL. */
    pg_add_bytes(a, b == NULL || b->data == NULL ? NULL : b->data,
                 b == NULL || b->data == NULL ? 0 : b->len);
}

static struct ledger_bytes read_bytes(const PGresult *r, int row, int column)
{
    struct ledger_bytes b = { .data = NULL };

    if (libpq.PQgetisnull(r, row, column))
        return b;
    b.len = (size_t)libpq.PQgetlength(r, row, column);
    b.data = base_alloc(b.len + 1);
    memcpy(b.data, libpq.PQgetvalue(r, row, column), b.len);
    return b;
}

/* Reads a row of COLUMNS, without the bodies. */
static void read_entry(const PGresult *r, int row, struct ledger_entry *e)
{
    *e = (struct ledger_entry){ .state = (enum ledger_state)pg_int(r, row, 1) };
    (void)snprintf(e->id, sizeof e->id, "%s", libpq.PQgetvalue(r, row, 0));
    e->scope = pg_text(r, row, 2);
    e->key = pg_text(r, row, 3);
    e->has_fingerprint = libpq.PQgetlength(r, row, 4) == LEDGER_FINGERPRINT_BYTES;
    if (e->has_fingerprint)
        memcpy(e->fingerprint, libpq.PQgetvalue(r, row, 4), LEDGER_FINGERPRINT_BYTES);
    e->cause = pg_text(r, row, 5);
    e->method = pg_text(r, row, 6);
    e->path = pg_text(r, row, 7);
    e->request_id = pg_text(r, row, 8);
    e->instance = pg_text(r, row, 9);
    e->claimed_ms = pg_int(r, row, 10);
    e->lease_ms = pg_int(r, row, 11);
    e->ended_ms = pg_int(r, row, 12);
    e->status = (int)pg_int(r, row, 13);
    e->answer_head = pg_text(r, row, 14);
    bytes_of_text(e->answer_head);
    e->resolved_by = pg_text(r, row, 15);
    e->note = pg_text(r, row, 16);
}

#define BODY_COLUMN 17 /* the first column after COLUMNS, if any */

/* --- the connection ----------------------------------------------------------------------- */

/* Asks the server about itself; an error says what is wrong with it. */
static bool is_safe_server(struct pg *p)
{
    static const char sql[] = "SELECT pg_is_in_recovery(), current_setting('fsync') = 'on', "
                              "current_setting('full_page_writes') = 'on', "
                              "current_setting('server_encoding') IN ('UTF8', 'SQL_ASCII'), "
                              "current_setting('transaction_read_only') = 'on'";
    PGresult *r = pg_query(p, sql, NULL);
    bool good = false;

    if (r == NULL || libpq.PQntuples(r) != 1)
        pg_say(p, "PostgreSQL did not tell its settings");
    else if (pg_int(r, 0, 0) != 0)
        pg_say(p, "this PostgreSQL is a standby (in recovery), which takes no claims");
    else if (pg_int(r, 0, 1) == 0)
        pg_say(p, "this PostgreSQL has fsync = off: it forgets claims when the power fails");
    else if (pg_int(r, 0, 2) == 0)
        pg_say(p, "this PostgreSQL has full_page_writes = off: a power failure may ruin it");
    else if (pg_int(r, 0, 3) == 0)
        pg_say(p, "the database is not encoded in UTF8");
    else if (pg_int(r, 0, 4) != 0)
        pg_say(p, "this PostgreSQL is read-only for this user");
    else
        good = true;
    libpq.PQclear(r);
    return good;
}

static const char missing[] = "the database holds no ledger; `oneshot-proxy ledger init` makes "
                              "one";

static bool is_same_store(struct store *s, const char *id)
{
    if (s->store_id[0] == '\0')
        (void)snprintf(s->store_id, sizeof s->store_id, "%s", id);
    s->other_store = strcmp(s->store_id, id) != 0;
    if (s->other_store)
        pg_say(&s->pg,
               "the database holds another ledger than before (store_id): what was claimed "
               "is not in it");
    return !s->other_store;
}

static bool is_our_ledger(struct store *s, bool *final)
{
    static const char sql[] = "SELECT version, store_id FROM ledger_meta";
    struct pg *p = &s->pg;
    PGresult *there = pg_query(p, "SELECT to_regclass('ledger_meta') IS NOT NULL", NULL);
    bool good = there != NULL && pg_int(there, 0, 0) != 0;

    *final = there != NULL && !good;
    if (*final)
        pg_say(p, "%s", missing);
    libpq.PQclear(there);
    if (!good)
        return false;

    PGresult *r = pg_query(p, sql, NULL);
    good = r != NULL && libpq.PQntuples(r) == 1 && pg_int(r, 0, 0) == STORE_VERSION;
    *final = r != NULL && !good;
    if (*final)
        pg_say(p, "the ledger in the database is not of version %d", STORE_VERSION);
    if (good)
        good = is_same_store(s, libpq.PQgetvalue(r, 0, 1));
    *final = *final || s->other_store;
    libpq.PQclear(r);
    return good;
}

static bool is_good(struct pg *p, void *arg, bool *final)
{
    return is_safe_server(p) && is_our_ledger(arg, final);
}

/* Whether the ledger could be made on this server. */
static bool is_good_server(struct pg *p, void *arg, bool *final)
{
    (void)arg;
    (void) final;
    return is_safe_server(p);
}

static enum store_result be_connected(struct store *s)
{
    if (s->pg.conn != NULL)
        return STORE_OK;
    if (s->other_store) {
        pg_say(&s->pg,
               "the database held another ledger than before; only a restart ends this");
        return STORE_BROKEN;
    }
    int rc = pg_connect(&s->pg, is_good, s);
    if (rc == 0)
        return STORE_OK;
    return s->other_store ? STORE_BROKEN : rc == -EPERM ? STORE_REFUSED : STORE_LOST;
}

/* Every call begins with this. */
static enum store_result begin_call(struct store *s, int64_t ms, struct buf *error)
{
    s->pg.error = error;
    pg_within(&s->pg, ms);
    enum store_result result = be_connected(s);
    /* Only the first call can be refused for good; later the store may be unavailable for a
     * while. */
    return result == STORE_REFUSED ? STORE_LOST : result;
}

/* The result of a failed call: the connection was lost, or the server reported an error. */
static enum store_result failed(const struct store *s)
{
    return s->pg.conn == NULL ? STORE_LOST : STORE_BUSY;
}

static void free_store(struct store *s)
{
    pg_done(&s->pg);
    free(s->instance);
    free(s);
}

static char *copy_or_null(const char *text)
{
    char *copy = text == NULL ? NULL : strdup(text);

    if (text != NULL && copy == NULL)
        abort();
    return copy;
}

static struct store *new_store(const struct store_options *o, struct buf *error)
{
    if (libpq_load(error) != 0)
        return NULL;
    struct store *s = base_alloc(sizeof *s);
    const char *wrong = config_store_url_split(o->url, &s->pg.url);

    s->pg.error = error;
    s->pg.ca_file = copy_or_null(o->ca_file);
    s->pg.password_file = copy_or_null(o->password_file);
    s->pg.timeout_ms = o->timeout_ms;
    s->pg.hurry_fd = o->hurry_fd > 0 ? o->hurry_fd : -1;
    s->instance = copy_or_null(o->instance);
    pg_forget_environment();
    if (wrong == NULL)
        return s;
    pg_say(&s->pg, "ledger.store %s", wrong);
    free_store(s);
    return NULL;
}

/* If the server cannot be reached, the store connects later. */
static enum store_result open_store(struct store **out, const struct store_options *o,
                                    struct buf *error)
{
    struct store *s = new_store(o, error);

    *out = NULL;
    if (s == NULL)
        return STORE_REFUSED;
    pg_within(&s->pg, base_max(OPEN_MS, o->timeout_ms));
    enum store_result result = be_connected(s);
    if (result == STORE_OK || result == STORE_LOST)
        *out = s;
    else
        free_store(s);
    return result;
}

static void close_store(struct store *s)
{
    if (s != NULL)
        free_store(s);
}

/* --- transactions ------------------------------------------------------------------------- */

static bool send_begin(struct pg *p, bool wait_for_disk)
{
    struct pg_params a = { .count = 0 };

    pg_add_text(&a, wait_for_disk ? "on" : "off");
    pg_add_int(&a, base_max(p->timeout_ms, 1000));
    p->warned = false;
    return pg_send(p, "BEGIN ISOLATION LEVEL READ COMMITTED", NULL) && pg_send(p, SETTINGS, &a);
}

static bool send_commit(struct pg *p)
{
    return pg_send(p, "COMMIT", NULL) && pg_sync(p);
}

/* The result of a flight. */
enum flight {
    FLIGHT_DONE,   /* committed, durable */
    FLIGHT_FAILED, /* the server is certain that nothing was written */
    FLIGHT_UNCLEAR /* not known, or not durable */
};

/* State while the results of a flight are read. */
struct reading {
    struct pg *pg;
    bool failed;   /* a statement failed, so the server skips the rest */
    bool definite; /* ... and reported that itself */
    bool raced;    /* ... since an entry of that id was written meanwhile */
};

/* The next result; NULL: the flight has failed. */
static PGresult *next(struct reading *f)
{
    PGresult *r = f->pg->conn == NULL ? NULL : pg_result(f->pg);

    if (r == NULL || pg_is_good(f->pg, r))
        return r;
    if (!f->failed) {
        f->definite = pg_is_definite(r);
        f->raced = pg_is_unique_violation(r);
    }
    f->failed = true;
    libpq.PQclear(r);
    return NULL;
}

static void skip(struct reading *f)
{
    libpq.PQclear(next(f));
}

/* Sends COMMIT behind a transaction that was `sent` so far, and reads up to its first own statement,
 * past BEGIN and the settings. False: not all of it could be sent. */
static bool begin_reading(struct pg *p, bool sent, struct reading *f)
{
    if (!sent || !send_commit(p))
        return false;
    *f = (struct reading){ .pg = p };
    skip(f);
    skip(f);
    return true;
}

/* Ends the transaction that a failed flight has left open. */
static void roll_back(struct pg *p)
{
    if (p->conn != NULL)
        libpq.PQclear(pg_query(p, "ROLLBACK", NULL));
}

/* Reads the results of COMMIT and of the synchronisation after it. */
static enum flight read_commit(struct reading *f)
{
    struct pg *p = f->pg;
    PGresult *commit = next(f);
    /* A transaction that has failed answers COMMIT with "ROLLBACK". */
    bool committed = commit != NULL && strcmp(libpq.PQcmdStatus(commit), "COMMIT") == 0;
    PGresult *sync = p->conn == NULL ? NULL : pg_result(p);
    bool synced = sync != NULL && libpq.PQresultStatus(sync) == PGRES_PIPELINE_SYNC;

    libpq.PQclear(commit);
    libpq.PQclear(sync);
    if (committed && synced && !p->warned)
        return FLIGHT_DONE;
    if (!synced || committed) {
        pg_disconnect(p);
        return FLIGHT_UNCLEAR;
    }
    if (libpq.PQtransactionStatus(p->conn) != PQTRANS_IDLE)
        roll_back(p);
    return commit != NULL || f->definite ? FLIGHT_FAILED : FLIGHT_UNCLEAR;
}

/* --- outcomes ----------------------------------------------------------------------------- */

/* Of an entry in flight; `late`: of any that is open. */
static bool send_outcome(struct pg *p, const struct store_outcome *o, bool late)
{
#define OUTCOME                                                                         \
    "UPDATE ledger_entry SET state = $2::smallint, cause = $3, status = $4::smallint, " \
    "answer_head = $5, answer_body = $6::bytea, fingerprint = coalesce($7::bytea, "     \
    "fingerprint), ended_ms = " NOW " WHERE id = $1 AND resolved_by IS NULL AND state IN "
    static const char usual[] = OUTCOME "(0)", any[] = OUTCOME "(0, 2)";
    struct pg_params a = { .count = 0 };
    auto_free char *head = o->head == NULL ? NULL : text_of_bytes(o->head);

    pg_add_text(&a, o->id);
    pg_add_int(&a, o->state);
    pg_add_text(&a, o->cause);
    if (o->status == 0)
        pg_add_text(&a, NULL);
    else
        pg_add_int(&a, o->status);
    pg_add_text(&a, head);
    add_bytes(&a, o->body);
    pg_add_bytes(&a, o->fingerprint, o->fingerprint == NULL ? 0 : LEDGER_FINGERPRINT_BYTES);
    return pg_send(p, late ? any : usual, &a);
}

static bool send_state(struct pg *p, const struct store_outcome *o)
{
    struct pg_params id = { .count = 0 };

    pg_add_text(&id, o->id);
    return pg_send(p,
                   "SELECT state, resolved_by IS NOT NULL FROM ledger_entry WHERE id = $1 "
                   "FOR UPDATE",
                   &id);
}

/* Of an INSERT or UPDATE. libpq does not alter what it is given, and says otherwise. */
static bool changed_one(const PGresult *r)
{
    return strcmp(libpq.PQcmdTuples((PGresult *)(uintptr_t)r), "1") == 0;
}

/* `was`: the state before, and whether it was resolved; `now`: the result of the UPDATE. */
static enum store_written written(const struct store_outcome *o, const PGresult *was,
                                  const PGresult *now)
{
    if (libpq.PQntuples(was) == 0)
        return STORE_GONE;

    enum ledger_state state = (enum ledger_state)pg_int(was, 0, 0);

    if (pg_int(was, 0, 1) != 0)
        return store_decided(o->state, state);
    if (state == o->state)
        return STORE_WRITTEN_ALREADY;
    if (!changed_one(now))
        return STORE_GONE;
    return state == LEDGER_UNKNOWN ? STORE_WRITTEN_LATE : STORE_WRITTEN;
}

/* Writes the outcomes of entries in flight, which is nearly all of them, and leaves the others. */
static enum flight write_usual(struct pg *p, const struct store_batch *b, bool wait_for_disk)
{
    bool sent = send_begin(p, wait_for_disk);

    for (size_t i = 0; i < b->outcomes && sent; i++)
        sent = send_outcome(p, b->outcome[i], false);
    struct reading f;

    if (!begin_reading(p, sent, &f))
        return FLIGHT_UNCLEAR;
    for (size_t i = 0; i < b->outcomes; i++) {
        PGresult *r = next(&f);

        if (r != NULL && changed_one(r))
            b->outcome[i]->result = STORE_WRITTEN;
        libpq.PQclear(r);
    }
    return read_commit(&f);
}

static enum flight write_late(struct pg *p, struct store_outcome *const *outcome, size_t n,
                              bool wait_for_disk)
{
    bool sent = send_begin(p, wait_for_disk);

    for (size_t i = 0; i < n && sent; i++)
        sent = send_state(p, outcome[i]) && send_outcome(p, outcome[i], true);
    struct reading f;

    if (!begin_reading(p, sent, &f))
        return FLIGHT_UNCLEAR;
    for (size_t i = 0; i < n; i++) {
        PGresult *was = next(&f), *now = next(&f);

        if (was != NULL && now != NULL)
            outcome[i]->result = written(outcome[i], was, now);
        libpq.PQclear(was);
        libpq.PQclear(now);
    }
    return read_commit(&f);
}

/* The transactions of the outcomes; their results are valid once these are durable. */
static enum flight write_outcomes(struct pg *p, const struct store_batch *b, bool wait_for_disk)
{
    struct store_outcome **late = base_alloc((b->outcomes + 1) * sizeof(void *));
    enum flight flight = write_usual(p, b, wait_for_disk);
    size_t n = 0;

    for (size_t i = 0; i < b->outcomes; i++)
        if (b->outcome[i]->result == STORE_NOT_WRITTEN)
            late[n++] = b->outcome[i];
    if (flight == FLIGHT_DONE && n > 0)
        flight = write_late(p, late, n, wait_for_disk);
    free(late);
    return flight;
}

static void forget_outcomes(const struct store_batch *b)
{
    for (size_t i = 0; i < b->outcomes; i++)
        b->outcome[i]->result = STORE_NOT_WRITTEN;
}

/* --- claims ------------------------------------------------------------------------------- */

static bool is_look(const struct store_claim *c)
{
    return c->id[0] == '\0';
}

static bool only_looks(const struct store_batch *b)
{
    for (size_t i = 0; i < b->claims; i++)
        if (!is_look(b->claim[i]))
            return false;
    return true;
}

static bool send_insert(const struct store *s, struct pg *p, const struct store_claim *c)
{
    /* An entry with this id may exist already, with its key released. */
#define INSERT                                                                              \
    "INSERT INTO ledger_entry (id, scope, idem_key, fingerprint, state, method, path, "     \
    "request_id, request_body, instance, claimed_ms, lease_ms) SELECT $1::text, $2::text, " \
    "$3::text, $4::bytea, 0, $5::text, $6::text, $7::text, $8::bytea, $9::text, clock.ms, " \
    "clock.ms + $10::bigint FROM (SELECT " NOW                                              \
    " AS ms) AS clock WHERE NOT EXISTS (SELECT 1 FROM ledger_entry WHERE id = $1::text) "   \
    "ON CONFLICT "
    /* The index is named so that the statement fails if it is missing. */
    static const char keyed[] = INSERT "(scope, idem_key) WHERE idem_key IS NOT NULL AND "
                                       "state <> 3 DO NOTHING";
    static const char journal[] = INSERT "DO NOTHING";
    struct pg_params a = { .count = 0 };
    auto_free char *path = text_of_bytes(c->path), *request_id = text_of_bytes(c->request_id);

    pg_add_text(&a, c->id);
    pg_add_text(&a, c->scope);
    pg_add_text(&a, c->key);
    pg_add_bytes(&a, c->fingerprint, c->fingerprint == NULL ? 0 : LEDGER_FINGERPRINT_BYTES);
    pg_add_text(&a, c->method);
    pg_add_text(&a, path);
    pg_add_text(&a, request_id);
    add_bytes(&a, c->request_body);
    pg_add_text(&a, s->instance);
    pg_add_int(&a, c->lease_ms);
    return pg_send(p, c->key == NULL ? journal : keyed, &a);
}

static bool send_look(struct pg *p, const struct store_claim *c)
{
    struct pg_params a = { .count = 0 };

    if (c->key == NULL) {
        pg_add_text(&a, c->id);
        return pg_send(p, "SELECT " COLUMNS ", answer_body FROM ledger_entry WHERE id = $1",
                       &a);
    }
    pg_add_text(&a, c->scope);
    pg_add_text(&a, c->key);
    return pg_send(p,
                   "SELECT " COLUMNS ", answer_body FROM ledger_entry "
                   "WHERE scope = $1 AND idem_key = $2 AND state <> 3",
                   &a);
}

static int by_key(const void *a, const void *b)
{
    const struct store_claim *x = *(struct store_claim *const *)a;
    const struct store_claim *y = *(struct store_claim *const *)b;
    int order = strcmp(x->scope, y->scope);

    return order != 0 ? order : strcmp(x->key ?: "", y->key ?: "");
}

static void read_found(struct store_claim *c, const PGresult *r)
{
    if (libpq.PQntuples(r) == 0) {
        c->result = STORE_ABSENT;
        return;
    }
    c->result = STORE_FOUND;
    read_entry(r, 0, &c->found);
    c->found.answer_body = read_bytes(r, 0, BODY_COLUMN);
}

/* Discards the results that were read when the commit did not succeed. */
static void forget_claims(struct store_claim **claim, size_t n, enum flight how)
{
    for (size_t i = 0; i < n; i++) {
        ledger_entry_done(&claim[i]->found);
        claim[i]->result =
            how == FLIGHT_UNCLEAR && !is_look(claim[i]) ? STORE_UNCLEAR : STORE_NOT_DONE;
    }
}

/* Makes the claims whose key is free, and the outcomes before them durable. `raced`: it failed since
 * an entry with the id of a claim was written meanwhile. */
static enum flight write_claims(struct store *s, struct store_claim **claim, size_t n,
                                bool outcomes, bool *raced)
{
    struct pg *p = &s->pg;
    bool sent = send_begin(p, true);

    /* A commit that has written nothing does not wait for the disk; this makes it wait. */
    if (sent && outcomes)
        sent = pg_send(p, "SELECT pg_logical_emit_message(true, 'oneshot-proxy', '')", NULL);
    for (size_t i = 0; i < n && sent; i++)
        sent = is_look(claim[i]) || send_insert(s, p, claim[i]);
    struct reading f;

    if (!begin_reading(p, sent, &f))
        return FLIGHT_UNCLEAR;
    if (outcomes)
        skip(&f);
    for (size_t i = 0; i < n; i++) {
        PGresult *r = is_look(claim[i]) ? NULL : next(&f);

        claim[i]->result = r != NULL && changed_one(r) ? STORE_CLAIMED : STORE_NOT_DONE;
        libpq.PQclear(r);
    }
    *raced = f.raced;
    return read_commit(&f);
}

/* Reads the entry under each of these keys. */
static enum flight look(struct pg *p, struct store_claim **claim, size_t n)
{
    bool sent = send_begin(p, false);

    for (size_t i = 0; i < n && sent; i++)
        sent = send_look(p, claim[i]);
    struct reading f;

    if (!begin_reading(p, sent, &f))
        return FLIGHT_UNCLEAR;
    for (size_t i = 0; i < n; i++) {
        PGresult *r = next(&f);

        if (r != NULL)
            read_found(claim[i], r);
        libpq.PQclear(r);
    }
    return read_commit(&f);
}

/* Found with its own id: claimed by a batch whose commit was not answered. */
static bool is_own(const struct store_claim *c)
{
    return c->result == STORE_FOUND && !is_look(c) && strcmp(c->found.id, c->id) == 0 &&
           c->found.state == LEDGER_IN_FLIGHT;
}

/* Updates claims that were found, so that a commit of ours covers them. */
static enum flight touch(struct pg *p, struct store_claim **own, size_t n)
{
    bool sent = send_begin(p, true);

    for (size_t i = 0; i < n && sent; i++) {
        struct pg_params a = { .count = 0 };

        pg_add_text(&a, own[i]->id);
        sent = pg_send(p,
                       "UPDATE ledger_entry SET instance = instance WHERE id = $1 AND "
                       "state = 0",
                       &a);
    }
    struct reading f;

    if (!begin_reading(p, sent, &f))
        return FLIGHT_UNCLEAR;
    for (size_t i = 0; i < n; i++) {
        PGresult *r = next(&f);
        bool still = r != NULL && changed_one(r);

        ledger_entry_done(&own[i]->found);
        own[i]->result = still ? STORE_CLAIMED : STORE_ABSENT;
        libpq.PQclear(r);
    }
    return read_commit(&f);
}

/* Moves those for which `is` holds to the front. Returns how many they are. */
static size_t pick(struct store_claim **claim, size_t n,
                   bool (*is)(const struct store_claim *c))
{
    size_t picked = 0;

    for (size_t i = 0; i < n; i++)
        if (is(claim[i])) {
            struct store_claim *c = claim[i];

            claim[i] = claim[picked];
            claim[picked++] = c;
        }
    return picked;
}

static bool is_not_made(const struct store_claim *c)
{
    return c->result != STORE_CLAIMED;
}

/* For looks, and for claims that were not made: reads what is there, an entry of another request or
 * this claim, made before. */
static enum flight find_others(struct pg *p, struct store_claim **claim, size_t n)
{
    size_t others = pick(claim, n, is_not_made), own = 0;
    enum flight flight = others == 0 ? FLIGHT_DONE : look(p, claim, others);

    if (flight != FLIGHT_DONE) {
        forget_claims(claim, others, FLIGHT_UNCLEAR); /* they may be there from before */
        return flight;
    }
    own = pick(claim, others, is_own);
    if (own > 0)
        flight = touch(p, claim, own);
    if (flight != FLIGHT_DONE)
        forget_claims(claim, own, FLIGHT_UNCLEAR); /* they exist */
    return flight;
}

/* Makes all claims of a batch in order; its commit makes the outcomes before it durable. */
static enum flight make_claims(struct store *s, const struct store_batch *b, bool outcomes)
{
    struct store_claim **claim = base_alloc((b->claims + 1) * sizeof(void *));
    enum flight flight = FLIGHT_DONE;
    bool raced = false, all_well = buf_unread(s->pg.error) == 0;

    memcpy(claim, b->claim, b->claims * sizeof(void *));
    qsort(claim, b->claims, sizeof(void *), by_key);
    if (outcomes || !only_looks(b))
        flight = write_claims(s, claim, b->claims, outcomes, &raced);
    /* A claim was made again while the server still worked on its first try, whose connection was
     * given up. That try has been committed by now, so it is found this time. */
    if (flight == FLIGHT_FAILED && raced) {
        if (all_well)
            buf_clear(s->pg.error);
        flight = write_claims(s, claim, b->claims, outcomes, &raced);
    }
    if (flight != FLIGHT_DONE) {
        forget_claims(claim, b->claims, flight);
        forget_outcomes(b);
    } else {
        flight = find_others(&s->pg, claim, b->claims);
    }
    free(claim);
    return flight;
}

static enum store_result batch(struct store *s, const struct store_batch *b, struct buf *error)
{
    enum store_result result = begin_call(s, s->pg.timeout_ms, error);
    enum flight flight = FLIGHT_DONE;

    forget_outcomes(b);
    for (size_t i = 0; i < b->claims; i++)
        b->claim[i]->result = STORE_NOT_DONE;
    if (result != STORE_OK)
        return result;
    if (b->outcomes > 0)
        flight = write_outcomes(&s->pg, b, b->claims == 0);
    bool written = flight == FLIGHT_DONE;
    if (!written)
        forget_outcomes(b);
    /* Outcomes that the server refuses must not prevent claims. */
    if (b->claims > 0 && s->pg.conn != NULL)
        flight = make_claims(s, b, b->outcomes > 0 && written);
    return written && flight == FLIGHT_DONE ? STORE_OK : failed(s);
}

/* --- the rest ----------------------------------------------------------------------------- */

/* Runs one statement in a durable transaction of its own. NULL: it is not durable; p->error
 * says why. */
static PGresult *write_one(struct pg *p, const char *sql, const struct pg_params *a)
{
    struct reading f;

    if (!begin_reading(p, send_begin(p, true) && pg_send(p, sql, a), &f))
        return NULL;
    PGresult *r = next(&f);
    if (read_commit(&f) == FLIGHT_DONE)
        return r;
    libpq.PQclear(r);
    return NULL;
}

static uint64_t rows_changed(PGresult *r)
{
    return (uint64_t)strtoull(libpq.PQcmdTuples(r), NULL, 10);
}

/* Rows locked by another transaction are left for the next time, so that nobody waits. */
static bool expire(struct pg *p, bool all, uint64_t *count)
{
    static const char sql[] =
        "UPDATE ledger_entry SET state = 2, cause = 'owner-lost' WHERE state = 0 AND id IN "
        "(SELECT id FROM ledger_entry WHERE state IN (0, 2) AND "
        "state = 0 AND ($1::boolean OR lease_ms < " NOW ") FOR UPDATE SKIP LOCKED)";
    struct pg_params a = { .count = 0 };

    pg_add_text(&a, all ? "t" : "f");
    PGresult *r = write_one(p, sql, &a);
    if (r == NULL)
        return false;
    *count = rows_changed(r);
    libpq.PQclear(r);
    return true;
}

static enum store_result orphans(struct store *s, enum store_lost_owners which, int64_t now_ms,
                                 struct store_census *out, struct buf *error)
{
    /* Ids begin with the time: the index finds the newest. */
    static const char sql[] =
        "SELECT count(*) FILTER (WHERE state = 0), count(*) FILTER (WHERE state = 2), "
        "min(claimed_ms) FILTER (WHERE state = 2), "
        "(SELECT claimed_ms FROM ledger_entry ORDER BY id DESC LIMIT 1), "
        "pg_total_relation_size('ledger_entry') FROM ledger_entry WHERE state IN (0, 2)";
    enum store_result result = begin_call(s, s->pg.timeout_ms, error);

    (void)now_ms; /* the server's clock is used */
    *out = (struct store_census){ .orphans = 0 };
    if (result != STORE_OK)
        return result;
    if (which != STORE_COUNT_ONLY && !expire(&s->pg, which == STORE_ALL, &out->orphans))
        return failed(s);
    PGresult *r = pg_query(&s->pg, sql, NULL);
    if (r == NULL)
        return failed(s);
    out->in_flight = (uint64_t)pg_int(r, 0, 0);
    out->unknown = (uint64_t)pg_int(r, 0, 1);
    out->unknown_oldest_ms = pg_int(r, 0, 2);
    out->newest_ms = pg_int(r, 0, 3);
    out->bytes = (uint64_t)pg_int(r, 0, 4);
    libpq.PQclear(r);
    return STORE_OK;
}

/* Ids begin with the wall clock's time in hexadecimal (RFC 9562 section 5.7). */
static void id_at(int64_t ms, char out[LEDGER_ID_BYTES])
{
    uint64_t n = (uint64_t)base_max(ms, 0);

    (void)snprintf(out, LEDGER_ID_BYTES, "%08llx-%04llx", (unsigned long long)(n >> 16),
                   (unsigned long long)(n & 0xffff));
}

/* Runs an UPDATE or DELETE of rows between two times, up to a number of rows. False: it
 * failed. */
static bool prune_rows(struct pg *p, const char *sql, int64_t from_ms, int64_t before_ms,
                       struct store_prune *out)
{
    char from[LEDGER_ID_BYTES], before[LEDGER_ID_BYTES];
    struct pg_params a = { .count = 0 };

    id_at(from_ms, from);
    id_at(before_ms, before);
    pg_add_text(&a, from);
    pg_add_text(&a, before);
    pg_add_int(&a, before_ms);
    pg_add_int(&a, (int64_t)out->at_most);
    PGresult *r = write_one(p, sql, &a);
    if (r == NULL)
        return false;
    uint64_t changed = rows_changed(r);
    libpq.PQclear(r);
    out->pruned += changed;
    out->more = out->more || changed >= out->at_most;
    return true;
}

static enum store_result prune(struct store *s, struct store_prune *p, struct buf *error)
{
#define OLD_ROWS                                                               \
    "WHERE id IN (SELECT id FROM ledger_entry WHERE id >= $1 AND id < $2 AND " \
    "claimed_ms < $3::bigint AND state IN (1, 3)"
#define AT_MOST " ORDER BY id LIMIT $4::bigint FOR UPDATE SKIP LOCKED) AND state IN (1, 3)"
    static const char keys[] = "DELETE FROM ledger_entry " OLD_ROWS AT_MOST;
    static const char answers[] =
        "UPDATE ledger_entry SET answer_head = NULL, answer_body = NULL, request_body = "
        "NULL " OLD_ROWS " AND (answer_head IS NOT NULL OR answer_body IS NOT NULL OR "
        "request_body IS NOT NULL)" AT_MOST;
    enum store_result result = begin_call(s, s->pg.timeout_ms, error);

    p->more = false;
    p->pruned = 0;
    if (result != STORE_OK)
        return result;
    if (!prune_rows(&s->pg, keys, 0, p->keys_before_ms, p) ||
        !prune_rows(&s->pg, answers, s->answers_pruned_ms, p->answers_before_ms, p))
        return failed(s);
    /* Rows that were skipped because of locks are found after the next start. */
    if (!p->more)
        s->answers_pruned_ms = base_max(p->answers_before_ms, s->answers_pruned_ms);
    return STORE_OK;
}

static void list_params(struct pg_params *a, const struct store_list *what)
{
    pg_add_int(a, what->states == 0 ? ~0U >> 1 : what->states);
    pg_add_int(a, what->since_ms);
    pg_add_text(a, what->caller);
    pg_add_text(a, what->id);
    if (what->at_most == 0)
        pg_add_text(a, NULL);
    else
        pg_add_int(a, (int64_t)what->at_most);
    pg_add_text(a, what->after);
}

/* Reads the rows one by one. */
static enum store_result read_list(struct store *s, const struct store_list *what)
{
    struct pg *p = &s->pg;
    PGresult *r = NULL;
    bool broken = false;

    while ((r = pg_row(p, &broken)) != NULL) {
        struct ledger_entry e;

        read_entry(r, 0, &e);
        if (what->id != NULL) {
            e.answer_body = read_bytes(r, 0, BODY_COLUMN);
            e.request_body = read_bytes(r, 0, BODY_COLUMN + 1);
        }
        libpq.PQclear(r);
        bool more = what->on_entry(what->arg, &e);
        ledger_entry_done(&e);
        if (!more) {
            pg_disconnect(p); /* discards the rest of the rows */
            return STORE_OK;
        }
        pg_within(p, LIST_MS);
    }
    return broken ? failed(s) : STORE_OK;
}

static enum store_result list(struct store *s, const struct store_list *what, struct buf *error)
{
#define LIST_FROM                                                                            \
    " FROM ledger_entry WHERE (1 << state) & $1::integer <> 0 AND claimed_ms >= $2::bigint " \
    "AND ($3::text IS NULL OR scope = $3) AND ($4::text IS NULL OR id = $4) "                \
    "AND ($6::text IS NULL OR id > $6) "                                                     \
    "ORDER BY id LIMIT $5::bigint"
    enum store_result result = begin_call(s, LIST_MS, error);
    struct pg_params a = { .count = 0 };

    if (result != STORE_OK)
        return result;
    list_params(&a, what);
    if (!pg_send_rows(&s->pg,
                      what->id != NULL ? "SELECT " COLUMNS
                                         ", answer_body, request_body" LIST_FROM
                                       : "SELECT " COLUMNS LIST_FROM,
                      &a))
        return failed(s);
    return read_list(s, what);
}

/* Whether an operator may resolve an entry in this state. */
static enum store_resolved may_resolve(const struct store_resolve *r, int64_t now_ms)
{
    const struct ledger_entry *e = &r->entry;

    if (e->state != LEDGER_UNKNOWN && e->state != LEDGER_IN_FLIGHT)
        return STORE_NOT_OPEN;
    if (e->state == LEDGER_IN_FLIGHT && e->lease_ms >= now_ms && !r->force)
        return STORE_IN_FLIGHT;
    if (!r->executed && !r->force && now_ms < e->lease_ms + STORE_RESOLVE_AFTER_MS)
        return STORE_TOO_EARLY;
    return STORE_RESOLVED;
}

static bool write_resolution(struct pg *p, const struct store_resolve *r)
{
    static const char sql[] =
        "UPDATE ledger_entry SET state = $2::smallint, cause = $3, "
        "status = $4::smallint, answer_head = $5, answer_body = $6::bytea, "
        "resolved_by = $7, note = $8, ended_ms = " NOW " WHERE id = $1";
    struct pg_params a = { .count = 0 };
    auto_free char *head = r->head == NULL ? NULL : text_of_bytes(r->head);

    pg_add_text(&a, r->id);
    pg_add_int(&a, r->executed ? LEDGER_ANSWERED : LEDGER_RELEASED);
    pg_add_text(&a, r->executed ? "resolved-executed" : "resolved-not-executed");
    if (r->status == 0)
        pg_add_text(&a, NULL);
    else
        pg_add_int(&a, r->status);
    pg_add_text(&a, head);
    add_bytes(&a, r->body);
    pg_add_text(&a, r->by);
    pg_add_text(&a, r->note);
    PGresult *done = pg_query(p, sql, &a);
    libpq.PQclear(done);
    return done != NULL;
}

/* Runs inside a transaction. */
static bool decide(struct pg *p, struct store_resolve *r)
{
    struct pg_params a = { .count = 0 };

    pg_add_text(&a, r->id);
    PGresult *found = pg_query(
        p, "SELECT " COLUMNS ", " NOW " FROM ledger_entry WHERE id = $1 FOR UPDATE", &a);
    if (found == NULL)
        return false;
    r->result = STORE_NO_SUCH;
    if (libpq.PQntuples(found) == 1) {
        read_entry(found, 0, &r->entry);
        r->result = may_resolve(r, pg_int(found, 0, BODY_COLUMN));
    }
    libpq.PQclear(found);
    return r->result != STORE_RESOLVED || write_resolution(p, r);
}

static enum store_result resolve(struct store *s, struct store_resolve *r, struct buf *error)
{
    struct pg *p = &s->pg;
    enum store_result result = begin_call(s, base_max(s->pg.timeout_ms, INIT_MS), error);

    if (result != STORE_OK)
        return result;
    if (!send_begin(p, true) || !pg_sync(p))
        return failed(s);

    struct reading f = { .pg = p };

    skip(&f);
    skip(&f);
    libpq.PQclear(p->conn == NULL ? NULL : pg_result(p));
    if (!f.failed && p->conn != NULL && decide(p, r) && send_commit(p) &&
        read_commit(&f) == FLIGHT_DONE)
        return STORE_OK;
    ledger_entry_done(&r->entry);
    roll_back(p);
    return failed(s);
}

/* The tables; an SQLite store has the same. */
static const char *const tables[] = {
    ("CREATE TABLE ledger_meta (one INTEGER PRIMARY KEY CHECK (one = 1), version INTEGER NOT "
     "NULL, "
     "store_id TEXT NOT NULL, created_ms BIGINT NOT NULL)"),
    ("CREATE TABLE ledger_entry (id TEXT NOT NULL PRIMARY KEY, scope TEXT NOT NULL, idem_key "
     "TEXT, "
     "fingerprint BYTEA, state SMALLINT NOT NULL CHECK (state BETWEEN 0 AND 3), "
     "cause TEXT NOT NULL DEFAULT '', method TEXT NOT NULL, path TEXT NOT NULL, "
     "request_id TEXT NOT NULL, request_body BYTEA, instance TEXT NOT NULL, "
     "claimed_ms BIGINT NOT NULL, lease_ms BIGINT NOT NULL, ended_ms BIGINT, status SMALLINT, "
     "answer_head TEXT, answer_body BYTEA, resolved_by TEXT, note TEXT)"),
    ("CREATE UNIQUE INDEX ledger_key ON ledger_entry (scope, idem_key) "
     "WHERE idem_key IS NOT NULL AND state <> 3"),
    ("CREATE INDEX ledger_open ON ledger_entry (state, lease_ms) WHERE state IN (0, 2)"),
};

static bool make_tables(struct pg *p)
{
    char id[LEDGER_ID_BYTES];
    struct pg_params a = { .count = 0 };
    bool sent = send_begin(p, true);

    ledger_id_new(id);
    pg_add_int(&a, STORE_VERSION);
    pg_add_text(&a, id);
    for (size_t i = 0; i < ARRAY_LEN(tables) && sent; i++)
        sent = pg_send(p, tables[i], NULL);
    if (!sent ||
        !pg_send(p, "INSERT INTO ledger_meta VALUES (1, $1::integer, $2::text, " NOW ")", &a) ||
        !send_commit(p))
        return false;

    struct reading f = { .pg = p };

    for (size_t i = 0; i < ARRAY_LEN(tables) + 3; i++)
        skip(&f);
    return read_commit(&f) == FLIGHT_DONE;
}

static enum store_result init(const struct store_options *o, struct buf *error)
{
    struct store *s = new_store(o, error);
    enum store_result result = STORE_REFUSED;

    if (s == NULL)
        return result;
    pg_within(&s->pg, INIT_MS);
    if (pg_connect(&s->pg, is_good_server, NULL) != 0) {
        result = STORE_LOST;
    } else {
        PGresult *there =
            pg_query(&s->pg, "SELECT to_regclass('ledger_meta') IS NOT NULL", NULL);

        if (there != NULL && pg_int(there, 0, 0) != 0)
            pg_say(&s->pg, "the database holds a ledger already, which is left as it is");
        else if (there != NULL && make_tables(&s->pg))
            result = STORE_OK;
        libpq.PQclear(there);
    }
    free_store(s);
    return result;
}

static enum store_result check(struct store *s, struct buf *error)
{
    /* Reads every row and body, and checks the index: one that is not unique or not valid
     * would let a key in twice. */
    static const char sql[] =
        "SELECT (SELECT count(*) FROM (SELECT 1 FROM ledger_entry WHERE idem_key IS NOT NULL "
        "AND "
        "state <> 3 GROUP BY scope, idem_key HAVING count(*) > 1) twice), "
        "(SELECT count(*) FROM pg_index WHERE indexrelid = to_regclass('ledger_key') AND "
        "indisunique AND indisvalid), "
        "(SELECT coalesce(sum(length(md5(answer_body)) + length(md5(request_body))), "
        "0)::bigint "
        "FROM ledger_entry)";
    enum store_result result = begin_call(s, LIST_MS, error);

    if (result != STORE_OK)
        return result;
    PGresult *r = pg_query(&s->pg, sql, NULL);
    if (r == NULL)
        return failed(s);
    if (pg_int(r, 0, 0) != 0)
        pg_say(&s->pg, "%lld keys are there twice", (long long)pg_int(r, 0, 0));
    else if (pg_int(r, 0, 1) != 1)
        pg_say(&s->pg, "the unique index ledger_key is missing or not valid");
    else
        result = STORE_OK;
    libpq.PQclear(r);
    return result == STORE_OK && buf_unread(error) == 0 ? STORE_OK : STORE_BROKEN;
}

/* With the role's and the server's own settings, which are as safe as those of a batch
 * unless somebody has changed them. */
static enum store_result time_commit(struct store *s, struct buf *error)
{
    enum store_result result = begin_call(s, s->pg.timeout_ms, error);

    if (result != STORE_OK)
        return result;
    PGresult *r = pg_query(&s->pg, "UPDATE ledger_meta SET created_ms = created_ms", NULL);

    if (r == NULL)
        return failed(s);
    libpq.PQclear(r);
    return STORE_OK;
}

static void weaknesses(struct store *s, void (*on_weakness)(void *arg, const char *text),
                       void *arg)
{
    struct buf error;

    buf_init(&error, 1024);
    PGresult *r =
        begin_call(s, s->pg.timeout_ms, &error) == STORE_OK
            ? pg_query(&s->pg, "SELECT current_setting('synchronous_standby_names') = ''", NULL)
            : NULL;
    if (r != NULL && pg_int(r, 0, 0) != 0)
        on_weakness(arg,
                    "PostgreSQL has no synchronous standby (synchronous_standby_names is "
                    "empty): when another server takes over, the last claims are forgotten");
    libpq.PQclear(r);
    buf_done(&error);
    s->pg.error = NULL;
}

const struct store_type store_postgresql = {
    .scheme = "postgresql",
    .exclusive = false,
    .open = open_store,
    .close = close_store,
    .batch = batch,
    .orphans = orphans,
    .prune = prune,
    .list = list,
    .resolve = resolve,
    .init = init,
    .check = check,
    .touch = time_commit,
    .weaknesses = weaknesses,
};

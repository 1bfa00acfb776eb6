/* Keeps the ledger in an SQLite file, for exactly one process.
 *
 *   open:  checks of file, directory and file system -> lock -> version -> WAL -> checkpoint
 *   batch: BEGIN IMMEDIATE, outcomes, claims, COMMIT (one fsync of the log)
 *   idle:  checkpoint, when the log has grown and nobody waits for a commit
 *
 * locking_mode=EXCLUSIVE is set before the first access. So the index of the log is in this
 * process's memory (there is no shared memory file), and a second process is locked out. All
 * files are opened, and the log is created, in open: later nothing is opened for writing and
 * nothing removed, so that the sandbox can forbid both. After an I/O error nothing is tried
 * again: it is not known what a failed fsync has left on the disk (the kernel may report the
 * error once and forget it). */
#include "ledger/store_sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <sqlite3ext.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "ledger/library.h"
#include "ledger/sqlite_log.h"

/* How often to check whether the other process has released the file. */
#define LOCK_LOOK_MS 100
/* Number of pages in the log from which on it is written back. */
#define CHECKPOINT_PAGES 1000
/* Larger files are not checked completely at each start; `oneshot-proxy ledger check` does
 * that. */
#define CHECK_BYTES_MAX (256 << 20)

#define ENTRY_COLUMNS                                                                      \
    "id, state, scope, idem_key, fingerprint, cause, method, path, request_id, instance, " \
    "claimed_ms, lease_ms, ended_ms, status, answer_head, resolved_by, note, answer_body"
/* The bodies of answer and request follow the columns. */
#define WITH_BODIES ENTRY_COLUMNS ", request_body"
#define WITHOUT_BODIES                                                                     \
    "id, state, scope, idem_key, fingerprint, cause, method, path, request_id, instance, " \
    "claimed_ms, lease_ms, ended_ms, status, answer_head, resolved_by, note, NULL, NULL"

/* A commit that must write: SQLite does not write a page that stays the same, so this
 * changes the last bit of a millisecond. */
#define TOUCH "UPDATE ledger_meta SET created_ms = created_ms + 1 - 2 * (created_ms % 2)"

#define END_ENTRY                                                                  \
    "UPDATE ledger_entry SET state = ?2, cause = ?3, ended_ms = ?4, status = ?5, " \
    "answer_head = ?6, answer_body = ?7, fingerprint = coalesce(?8, fingerprint) " \
    "WHERE id = ?1 AND "

/* The doubled conditions let SQLite use the partial indexes. */
#define STATEMENTS(X)                                                                          \
    X(BEGIN_WRITE, "BEGIN IMMEDIATE")                                                          \
    X(BEGIN_READ, "BEGIN")                                                                     \
    X(COMMIT, "COMMIT")                                                                        \
    X(ROLLBACK, "ROLLBACK")                                                                    \
    X(CLAIM,                                                                                   \
      "INSERT INTO ledger_entry (id, scope, idem_key, fingerprint, state, method, "            \
      "path, request_id, request_body, instance, claimed_ms, lease_ms) VALUES (?1, ?2, "       \
      "?3, ?4, 0, ?5, ?6, ?7, ?8, ?9, ?10, ?11) ON CONFLICT DO NOTHING")                       \
    X(FIND, "SELECT " ENTRY_COLUMNS ", NULL FROM ledger_entry WHERE scope = ?1 AND "           \
            "idem_key = ?2 AND idem_key IS NOT NULL AND state <> 3")                           \
    X(STATE, "SELECT state, resolved_by FROM ledger_entry WHERE id = ?1")                      \
    X(END, END_ENTRY "state = 0 AND resolved_by IS NULL")                                      \
    X(END_LATE, END_ENTRY "state = 2 AND resolved_by IS NULL")                                 \
    X(ORPHANS_EXPIRED, "UPDATE ledger_entry SET state = 2, cause = 'owner-lost' WHERE state "  \
                       "IN (0, 2) AND state = 0 AND lease_ms < ?1")                            \
    X(ORPHANS_ALL, "UPDATE ledger_entry SET state = 2, cause = 'owner-lost' WHERE state IN "   \
                   "(0, 2) AND state = 0")                                                     \
    X(OPEN_ONES, "SELECT state, count(*), min(claimed_ms) FROM ledger_entry WHERE state IN "   \
                 "(0, 2) GROUP BY state")                                                      \
    X(NEWEST, "SELECT claimed_ms FROM ledger_entry ORDER BY id DESC LIMIT 1")                  \
    X(TOUCH, TOUCH)                                                                            \
    X(PAGES, "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()")     \
    X(PRUNE_UNTIL, "SELECT count(*), max(id) FROM (SELECT id FROM ledger_entry WHERE id > ?1 " \
                   "AND id < ?2 ORDER BY id LIMIT ?3)")                                        \
    X(PRUNE_ANSWERS, "UPDATE ledger_entry SET answer_head = NULL, answer_body = NULL, "        \
                     "request_body = NULL WHERE id > ?1 AND id <= ?2 AND state IN (1, 3) AND " \
                     "claimed_ms < ?3 AND (answer_head IS NOT NULL OR answer_body IS NOT "     \
                     "NULL OR request_body IS NOT NULL)")                                      \
    X(PRUNE_KEYS, "DELETE FROM ledger_entry WHERE id > ?1 AND id <= ?2 AND state IN (1, 3) "   \
                  "AND claimed_ms < ?3")                                                       \
    X(RESOLVE, "UPDATE ledger_entry SET state = ?2, cause = ?3, ended_ms = ?4, status = ?5, "  \
               "answer_head = ?6, answer_body = ?7, resolved_by = ?8, note = ?9 WHERE id = "   \
               "?1 AND state IN (0, 2) AND resolved_by IS NULL")                               \
    X(ONE, "SELECT " WITH_BODIES " FROM ledger_entry WHERE id = ?1")

#define STATEMENT_ID(id, text) SQL_##id,
enum { STATEMENTS(STATEMENT_ID) SQL_COUNT };
#define STATEMENT_TEXT(id, text) text,
static const char *const statements[SQL_COUNT] = { STATEMENTS(STATEMENT_TEXT) };

static const char schema[] =
    "CREATE TABLE ledger_meta (one INTEGER PRIMARY KEY CHECK (one = 1), version INTEGER NOT "
    "NULL, store_id TEXT NOT NULL, created_ms BIGINT NOT NULL);"
    "CREATE TABLE ledger_entry ("
    "id TEXT NOT NULL PRIMARY KEY,"
    "scope TEXT NOT NULL,"
    "idem_key TEXT,"
    "fingerprint BYTEA,"
    "state SMALLINT NOT NULL CHECK (state BETWEEN 0 AND 3),"
    "cause TEXT NOT NULL DEFAULT '',"
    "method TEXT NOT NULL, path TEXT NOT NULL, request_id TEXT NOT NULL, request_body BYTEA,"
    "instance TEXT NOT NULL,"
    "claimed_ms BIGINT NOT NULL, lease_ms BIGINT NOT NULL, ended_ms BIGINT,"
    "status SMALLINT, answer_head TEXT, answer_body BYTEA, resolved_by TEXT, note TEXT);"
    "CREATE UNIQUE INDEX ledger_key ON ledger_entry (scope, idem_key) WHERE idem_key IS NOT "
    "NULL AND state <> 3;"
    "CREATE INDEX ledger_open ON ledger_entry (state, lease_ms) WHERE state IN (0, 2);";

/* --- the library -------------------------------------------------------------------------- */

#ifdef LEDGER_LINKED

static enum store_result load_library(struct buf *error)
{
    (void)error;
    return STORE_OK;
}

#else

/* The names of SQLite's functions are macros (sqlite3ext.h) that use this table, which
 * SQLite gives to its extensions. */
static const sqlite3_api_routines *sqlite3_api;

/* An extension gets the table when a connection is opened. */
static int take_table(sqlite3 *db, const char **error, const sqlite3_api_routines *table)
{
    (void)db;
    (void)error;
    sqlite3_api = table;
    return SQLITE_OK;
}

#define SQLITE_OLDEST 3035000

static enum store_result load_library(struct buf *error)
{
    static sqlite3_api_routines sqlite; /* these four functions of it */
    static const struct library_function functions[] = {
        { "sqlite3_auto_extension", &sqlite.auto_extension },
        { "sqlite3_reset_auto_extension", &sqlite.reset_auto_extension },
        { "sqlite3_open_v2", &sqlite.open_v2 },
        { "sqlite3_close", &sqlite.close },
    };
    static const char package[] = "libsqlite3-0";
    sqlite3 *db = NULL;

    if (sqlite3_api != NULL)
        return STORE_OK;
    if (library_load("libsqlite3.so.0", package, functions, ARRAY_LEN(functions), error) != 0)
        return STORE_REFUSED;
    (void)sqlite.auto_extension((void (*)(void))take_table);
    (void)sqlite.open_v2(":memory:", &db, SQLITE_OPEN_READWRITE, NULL);
    (void)sqlite.close(db);
    sqlite.reset_auto_extension();
    if (sqlite3_api != NULL && sqlite3_libversion_number() >= SQLITE_OLDEST)
        return STORE_OK;
    (void)buf_addf(error,
                   "SQLite is too old, or was built without extensions: install a newer %s",
                   package);
    return STORE_REFUSED;
}

#endif

struct store {
    sqlite3 *db;
    sqlite3_stmt *statement[SQL_COUNT];
    struct sqlite_log log;
    char *instance;
    bool is_open;
    bool broken;
    bool is_full;                       /* the last write found no space */
    int log_pages;                      /* as of the last commit */
    char pruned_until[LEDGER_ID_BYTES]; /* entries up to this one were examined ... */
    int64_t pruned_day;                 /* ... on that day */
};

/* --- errors ------------------------------------------------------------------------------- */

static enum store_result result_of(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return STORE_OK;
    case SQLITE_FULL:
    case SQLITE_READONLY:
    case SQLITE_NOMEM:
        return STORE_BUSY;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return STORE_HELD;
    default:
        return STORE_BROKEN;
    }
}

/* Reports SQLite's last error, with the system's error if there is one. */
static enum store_result failed(struct store *s, int rc, struct buf *error)
{
    enum store_result result = result_of(rc);
    int os_error = sqlite3_system_errno(s->db);

    (void)buf_addf(error, "%s (%d%s%s)", sqlite3_errmsg(s->db), sqlite3_extended_errcode(s->db),
                   os_error == 0 ? "" : ", ", os_error == 0 ? "" : strerrordesc_np(os_error));
    if (result == STORE_HELD)
        result = STORE_BUSY;
    s->broken |= result == STORE_BROKEN;
    s->is_full |= result == STORE_BUSY;
    return result;
}

static enum store_result refuse(struct buf *error, const char *fmt, ...) PRINTF_LIKE(2, 3);
static enum store_result refuse(struct buf *error, const char *fmt, ...)
{
    char text[1024];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    (void)!buf_add_str(error, text);
    return STORE_REFUSED;
}

/* --- statements --------------------------------------------------------------------------- */

static void bind_text(sqlite3_stmt *q, int i, const char *text)
{
    if (text != NULL)
        (void)sqlite3_bind_text(q, i, text, -1, SQLITE_STATIC);
    else
        (void)sqlite3_bind_null(q, i);
}

/* An empty blob is not NULL. */
static void bind_bytes(sqlite3_stmt *q, int i, const struct ledger_bytes *b)
{
    if (b != NULL && b->data != NULL)
        (void)sqlite3_bind_blob64(q, i, b->data, b->len, SQLITE_STATIC);
    else
        (void)sqlite3_bind_null(q, i);
}

static void bind_fingerprint(sqlite3_stmt *q, int i, const unsigned char *fingerprint)
{
    if (fingerprint != NULL)
        (void)sqlite3_bind_blob(q, i, fingerprint, LEDGER_FINGERPRINT_BYTES, SQLITE_STATIC);
    else
        (void)sqlite3_bind_null(q, i);
}

/* 0 is stored as NULL. */
static void bind_number(sqlite3_stmt *q, int i, int64_t value)
{
    if (value != 0)
        (void)sqlite3_bind_int64(q, i, value);
    else
        (void)sqlite3_bind_null(q, i);
}

/* Runs a statement that returns no rows. */
static int run(struct store *s, int which)
{
    sqlite3_stmt *q = s->statement[which];
    int rc = sqlite3_step(q);

    (void)sqlite3_reset(q);
    (void)sqlite3_clear_bindings(q);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static char *column_text(sqlite3_stmt *q, int i)
{
    const char *text = (const char *)sqlite3_column_text(q, i);
    char *copy = text == NULL ? NULL : strdup(text);

    if (text != NULL && copy == NULL)
        abort();
    return copy;
}

static char *column_text_or_empty(sqlite3_stmt *q, int i)
{
    char *text = column_text(q, i);

    return text != NULL ? text : base_alloc(1);
}

static struct ledger_bytes column_bytes(sqlite3_stmt *q, int i)
{
    struct ledger_bytes b = { .data = NULL };

    if (sqlite3_column_type(q, i) == SQLITE_NULL)
        return b;
    const void *bytes = sqlite3_column_blob(q, i);

    b.len = (size_t)sqlite3_column_bytes(q, i);
    b.data = base_alloc(b.len + 1);
    if (b.len > 0)
        memcpy(b.data, bytes, b.len);
    return b;
}

/* Reads a row of WITH_BODIES. False: it is invalid, which only damage can explain. */
static bool read_entry(sqlite3_stmt *q, struct ledger_entry *e)
{
    int64_t state = sqlite3_column_int64(q, 1);
    const char *id = (const char *)sqlite3_column_text(q, 0);

    *e = (struct ledger_entry){ .state = (enum ledger_state)state };
    if (id == NULL || !ledger_id_valid(id) || state < 0 || state >= LEDGER_STATES)
        return false;
    memcpy(e->id, id, LEDGER_ID_BYTES);
    e->scope = column_text_or_empty(q, 2);
    e->key = column_text(q, 3);
    if (sqlite3_column_bytes(q, 4) == LEDGER_FINGERPRINT_BYTES) {
        e->has_fingerprint = true;
        memcpy(e->fingerprint, sqlite3_column_blob(q, 4), LEDGER_FINGERPRINT_BYTES);
    }
    e->cause = column_text_or_empty(q, 5);
    e->method = column_text_or_empty(q, 6);
    e->path = column_text_or_empty(q, 7);
    e->request_id = column_text_or_empty(q, 8);
    e->instance = column_text_or_empty(q, 9);
    e->claimed_ms = sqlite3_column_int64(q, 10);
    e->lease_ms = sqlite3_column_int64(q, 11);
    e->ended_ms = sqlite3_column_int64(q, 12);
    e->status = sqlite3_column_int(q, 13);
    e->answer_head = column_text(q, 14);
    e->resolved_by = column_text(q, 15);
    e->note = column_text(q, 16);
    e->answer_body = column_bytes(q, 17);
    e->request_body = column_bytes(q, 18);
    return true;
}

/* Reads the one row that `which` returns. SQLITE_ROW, SQLITE_DONE (none) or an error. */
static int read_one(struct store *s, int which, struct ledger_entry *e)
{
    sqlite3_stmt *q = s->statement[which];
    int rc = sqlite3_step(q);

    if (rc == SQLITE_ROW && !read_entry(q, e)) {
        ledger_entry_done(e);
        rc = SQLITE_CORRUPT;
    }
    (void)sqlite3_reset(q);
    (void)sqlite3_clear_bindings(q);
    return rc;
}

/* --- open --------------------------------------------------------------------------------- */

static const char *path_of(const struct store_options *o)
{
    return o->url + strlen("sqlite:");
}

/* File systems whose locks or fsync are not good enough for SQLite. */
static const char *unfit(unsigned long type)
{
    static const struct {
        unsigned long type;
        const char *name;
    } names[] = { { 0x6969, "NFS" },       { 0x517b, "SMB" },      { 0xff534d42, "SMB" },
                  { 0xfe534d42, "SMB" },   { 0x01021997, "9p" },   { 0x65735546, "FUSE" },
                  { 0x01021994, "tmpfs" }, { 0x858458f6, "ramfs" } };

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (names[i].type == type)
            return names[i].name;
    return NULL;
}

/* Nobody else may be able to replace the file, and it must be on a disk. */
static enum store_result check_directory(const char *path, struct buf *error)
{
    auto_free char *copy = strdup(path);
    struct stat st;
    struct statfs fs;

    if (copy == NULL)
        abort();
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): of a copy, and it is the only thread */
    const char *directory = dirname(copy);

    if (stat(directory, &st) != 0 || statfs(directory, &fs) != 0)
        return refuse(error, "%s: %s", directory, strerrordesc_np(errno));
    if (!S_ISDIR(st.st_mode))
        return refuse(error, "%s is not a directory", directory);
    if ((st.st_uid != geteuid() && st.st_uid != 0) || (st.st_mode & 0022) != 0)
        return refuse(
            error,
            "%s may be written to by others (owner %u, mode %04o): whoever can put "
            "another file there can have payments made twice; it has to belong to this "
            "user or root, with mode 0755 at most",
            directory, (unsigned)st.st_uid, (unsigned)(st.st_mode & 07777));
    const char *name = unfit((unsigned long)fs.f_type & 0xffffffff);

    if (name != NULL)
        return refuse(
            error,
            "%s is on %s, which does not keep what SQLite relies on; use a local file "
            "system, or PostgreSQL",
            directory, name);
    return STORE_OK;
}

static enum store_result check_file(const char *path, struct buf *error)
{
    struct stat st;

    if (lstat(path, &st) != 0)
        return refuse(error, "%s: %s%s", path, strerrordesc_np(errno),
                      errno == ENOENT
                          ? "; it is never made by itself, since an empty ledger "
                            "forgets what was sent: is its volume mounted? A new one "
                            "is made by oneshot-proxy ledger init"
                          : "");
    if (!S_ISREG(st.st_mode))
        return refuse(error, "%s is not a regular file", path);
    if (st.st_uid != geteuid())
        return refuse(error,
                      "%s belongs to uid %u, and this is uid %u: run it as that user "
                      "(docs/ledger.md tells how for a systemd unit)",
                      path, (unsigned)st.st_uid, (unsigned)geteuid());
    if ((st.st_mode & 0077) != 0)
        return refuse(error, "%s is open to others (mode %04o); it has to have mode 0600", path,
                      (unsigned)(st.st_mode & 07777));
    if (access(path, R_OK | W_OK) != 0)
        return refuse(error, "%s: %s", path, strerrordesc_np(errno));
    return check_directory(path, error);
}

static int on_row_is_ok(void *arg, int columns, char **value, char **name)
{
    (void)name;
    if (columns > 0 && value[0] != NULL && strcmp(value[0], "ok") != 0)
        (void)buf_addf(arg, "%s%s", buf_unread(arg) > 0 ? "; " : "", value[0]);
    return 0;
}

static int check_all(struct store *s, struct buf *damage)
{
    return sqlite3_exec(s->db, "PRAGMA integrity_check(10)", on_row_is_ok, damage, NULL);
}

static int on_commit(void *arg, sqlite3 *db, const char *name, int pages)
{
    struct store *s = arg;

    (void)db;
    (void)name;
    s->log_pages = pages;
    return SQLITE_OK;
}

/* Settings before the first access; some of them read the file. */
static const char settings[] = "PRAGMA locking_mode = EXCLUSIVE; PRAGMA temp_store = MEMORY;"
                               "PRAGMA mmap_size = 0; PRAGMA trusted_schema = OFF;"
                               "PRAGMA cell_size_check = ON; PRAGMA secure_delete = ON;"
                               "PRAGMA synchronous = FULL;";

/* Takes the lock and reads the version. SQLITE_BUSY: another process has it. */
static int first_access(struct store *s, int64_t *version)
{
    sqlite3_stmt *q = NULL;
    int rc = sqlite3_exec(s->db, settings, NULL, NULL, NULL);

    if (rc == SQLITE_OK)
        rc = sqlite3_prepare_v2(s->db, "SELECT version FROM ledger_meta", -1, &q, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(q);
    if (rc == SQLITE_ROW)
        *version = sqlite3_column_int64(q, 0);
    (void)sqlite3_finalize(q);
    return rc;
}

static enum store_result wait_for_lock(struct store *s, const struct store_options *o,
                                       struct buf *error)
{
    const struct timespec pause = { .tv_nsec = LOCK_LOOK_MS * 1000000L };
    int64_t until_ms = clock_ms() + o->wait_ms, version = 0;
    bool told = false;
    int rc;

    while (rc = first_access(s, &version), (rc & 0xff) == SQLITE_BUSY) {
        if (clock_ms() >= until_ms) {
            (void)buf_addf(error, "%s is in use by another process%s", path_of(o),
                           o->by_command ? "" : ": an SQLite ledger belongs to exactly one");
            return STORE_HELD;
        }
        if (!told && !o->by_command)
            log_warn("ledger_waiting", log_str("file", path_of(o)),
                     log_int("timeout_ms", o->wait_ms),
                     log_str("detail", "another process has it"));
        told = true;
        log_flush();
        (void)nanosleep(&pause, NULL);
    }
    if (rc == SQLITE_ROW && version == STORE_VERSION)
        return STORE_OK;
    if (rc == SQLITE_ROW)
        return refuse(error, "%s is a ledger of version %" PRId64 ", and this program knows %d",
                      path_of(o), version, STORE_VERSION);
    if (rc == SQLITE_DONE || rc == SQLITE_ERROR || (rc & 0xff) == SQLITE_NOTADB)
        return refuse(error, "%s is not a ledger", path_of(o));
    return failed(s, rc, error);
}

static int on_mode(void *arg, int columns, char **value, char **name)
{
    (void)name;
    *(bool *)arg = columns == 1 && value[0] != NULL && strcmp(value[0], "wal") == 0;
    return 0;
}

/* Writes the whole log back to the database. */
static enum store_result empty_log(struct store *s, struct buf *error)
{
    if (sqlite_log_forget(&s->log) != 0)
        return refuse(error, "what was durable cannot be written down: %s",
                      strerrordesc_np(errno));
    int rc = sqlite3_wal_checkpoint_v2(s->db, "main", SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);

    s->log_pages = 0;
    return rc == SQLITE_OK ? STORE_OK : failed(s, rc, error);
}

/* Has the log created, written and synchronised once, including its directory entry. */
static enum store_result begin_log(struct store *s, struct buf *error)
{
    bool is_wal = false;
    int rc = sqlite3_exec(s->db, "PRAGMA journal_mode = WAL", on_mode, &is_wal, NULL);

    if (rc == SQLITE_OK && !is_wal)
        return refuse(error, "the log of %s cannot be written ahead (WAL)",
                      sqlite3_db_filename(s->db, "main"));
    (void)sqlite3_wal_autocheckpoint(s->db, 0);
    (void)sqlite3_wal_hook(s->db, on_commit, s);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(s->db, TOUCH, NULL, NULL, NULL);
    if (rc != SQLITE_OK)
        return failed(s, rc, error);
    return sqlite_log_begin(&s->log, error) == 0 ? empty_log(s, error) : STORE_REFUSED;
}

static int64_t file_bytes(struct store *s)
{
    struct stat st;

    return stat(sqlite3_db_filename(s->db, "main"), &st) == 0 ? (int64_t)st.st_size : 0;
}

/* Damage in an index could hide a key, and its request would be sent again. */
static enum store_result check_small(struct store *s, struct buf *error)
{
    struct buf damage;
    enum store_result result = STORE_OK;

    if (file_bytes(s) > CHECK_BYTES_MAX)
        return STORE_OK;
    buf_init(&damage, 2048);
    int rc = check_all(s, &damage);

    if (rc != SQLITE_OK)
        result = failed(s, rc, error);
    else if (buf_unread(&damage) > 0)
        result = refuse(error, "%s is damaged: %s", sqlite3_db_filename(s->db, "main"),
                        buf_text(&damage));
    buf_done(&damage);
    return result;
}

static enum store_result prepare(struct store *s, struct buf *error)
{
    for (size_t i = 0; i < SQL_COUNT; i++) {
        int rc = sqlite3_prepare_v3(s->db, statements[i], -1, SQLITE_PREPARE_PERSISTENT,
                                    &s->statement[i], NULL);
        if ((rc & 0xff) == SQLITE_ERROR)
            return refuse(error, "%s is not a ledger: %s", sqlite3_db_filename(s->db, "main"),
                          sqlite3_errmsg(s->db));
        if (rc != SQLITE_OK)
            return failed(s, rc, error);
    }
    return STORE_OK;
}

static void close_store(struct store *s)
{
    if (s == NULL)
        return;
    for (size_t i = 0; i < SQL_COUNT; i++)
        (void)sqlite3_finalize(s->statement[i]);
    /* The log stays and is emptied: the sandbox no longer allows removing it. */
    if (s->is_open && !s->broken) {
        struct buf error;

        buf_init(&error, 1024);
        (void)empty_log(s, &error);
        buf_done(&error);
    }
    (void)sqlite3_close(s->db);
    sqlite_log_done(&s->log);
    free(s->instance);
    free(s);
}

/* Closing the connection must change nothing by itself: a damaged log stays as it is, and
 * the log is not removed, which may be forbidden. */
static enum store_result connect(struct store *s, const char *path, struct buf *error)
{
    int keep = 1;
    int rc = sqlite3_open_v2(path, &s->db,
                             SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX |
                                 SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_EXRESCODE,
                             NULL);

    if (s->db == NULL)
        return refuse(error, "%s: %s", path, sqlite3_errstr(rc));
    if (rc == SQLITE_OK)
        rc = sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_file_control(s->db, "main", SQLITE_FCNTL_PERSIST_WAL, &keep);
    return rc == SQLITE_OK ? STORE_OK : failed(s, rc, error);
}

/* When told to refuse a symbolic link for the file, SQLite refuses one anywhere in the path;
 * and systemd's state directory of a DynamicUser is behind one. So the directory is resolved
 * here. The caller frees the result. */
static char *followed(const char *path)
{
    auto_free char *copy = strdup(path);
    const char *slash = strrchr(path, '/'), *name = slash == NULL ? path : slash + 1;
    char *whole = NULL;

    if (copy == NULL)
        abort();
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): of a copy, and it is the only thread */
    const char *directory = dirname(copy);
    auto_free char *real = realpath(directory, NULL);

    /* If it does not exist any more, opening the file reports that. */
    if (asprintf(&whole, "%s/%s", real == NULL ? directory : real, name) < 0)
        abort();
    return whole;
}

static enum store_result open_store(struct store **out, const struct store_options *o,
                                    struct buf *error)
{
    enum store_result result = load_library(error);

    *out = NULL;
    if (result == STORE_OK)
        result = check_file(path_of(o), error);
    if (result != STORE_OK)
        return result;
    struct store *s = base_alloc(sizeof *s);
    auto_free char *path = followed(path_of(o));

    s->instance = strdup(o->instance);
    if (s->instance == NULL)
        abort();
    s->log = (struct sqlite_log){ .fd = -1, .acked_fd = -1 };
    if (sqlite_log_init(&s->log, path, error) != 0)
        result = STORE_REFUSED;
    if (result == STORE_OK)
        result = connect(s, path, error);
    if (result == STORE_OK)
        result = wait_for_lock(s, o, error);
    if (result == STORE_OK && sqlite_log_check(&s->log, error) != 0)
        result = STORE_REFUSED;
    if (result == STORE_OK)
        result = begin_log(s, error);
    if (result == STORE_OK)
        result = check_small(s, error);
    if (result == STORE_OK)
        result = prepare(s, error);
    s->is_open = result == STORE_OK;
    if (s->is_open)
        *out = s;
    else
        close_store(s);
    return result;
}

/* --- batch -------------------------------------------------------------------------------- */

static int end_entry(struct store *s, int which, const struct store_outcome *o, int64_t now_ms)
{
    sqlite3_stmt *q = s->statement[which];

    bind_text(q, 1, o->id);
    (void)sqlite3_bind_int(q, 2, (int)o->state);
    bind_text(q, 3, o->cause);
    (void)sqlite3_bind_int64(q, 4, now_ms);
    bind_number(q, 5, o->status);
    bind_text(q, 6, o->head);
    bind_bytes(q, 7, o->body);
    bind_fingerprint(q, 8, o->fingerprint);
    return run(s, which);
}

/* Writes the outcome of an entry that is not in flight. */
static int write_late(struct store *s, struct store_outcome *o, int64_t now_ms,
                      enum store_written *result)
{
    sqlite3_stmt *q = s->statement[SQL_STATE];

    bind_text(q, 1, o->id);
    int rc = sqlite3_step(q);
    enum ledger_state state = (enum ledger_state)sqlite3_column_int(q, 0);
    bool resolved = rc == SQLITE_ROW && sqlite3_column_type(q, 1) != SQLITE_NULL;

    (void)sqlite3_reset(q);
    if (rc != SQLITE_ROW) {
        *result = STORE_GONE;
        return rc == SQLITE_DONE ? SQLITE_OK : rc;
    }
    *result = resolved                  ? store_decided(o->state, state)
              : state == o->state       ? STORE_WRITTEN_ALREADY
              : state == LEDGER_UNKNOWN ? STORE_WRITTEN_LATE
                                        : STORE_GONE;
    return *result == STORE_WRITTEN_LATE ? end_entry(s, SQL_END_LATE, o, now_ms) : SQLITE_OK;
}

static int write_outcome(struct store *s, struct store_outcome *o, int64_t now_ms,
                         enum store_written *result)
{
    int rc = end_entry(s, SQL_END, o, now_ms);

    if (rc == SQLITE_OK && sqlite3_changes(s->db) == 0)
        return write_late(s, o, now_ms, result);
    *result = STORE_WRITTEN;
    return rc;
}

/* Looks up the entry with the key. */
static int find(struct store *s, struct store_claim *c, enum store_claimed *result)
{
    sqlite3_stmt *q = s->statement[SQL_FIND];

    *result = STORE_ABSENT;
    if (c->key == NULL)
        return SQLITE_OK;
    bind_text(q, 1, c->scope);
    bind_text(q, 2, c->key);
    int rc = read_one(s, SQL_FIND, &c->found);

    if (rc == SQLITE_ROW && strcmp(c->found.id, c->id) == 0 &&
        c->found.state == LEDGER_IN_FLIGHT) {
        ledger_entry_done(&c->found);
        *result = STORE_CLAIMED;
    } else if (rc == SQLITE_ROW) {
        *result = STORE_FOUND;
    }
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int make_claim(struct store *s, struct store_claim *c, int64_t now_ms,
                      enum store_claimed *result)
{
    sqlite3_stmt *q = s->statement[SQL_CLAIM];

    if (c->id[0] == '\0')
        return find(s, c, result);
    bind_text(q, 1, c->id);
    bind_text(q, 2, c->scope);
    bind_text(q, 3, c->key);
    bind_fingerprint(q, 4, c->fingerprint);
    bind_text(q, 5, c->method);
    bind_text(q, 6, c->path);
    bind_text(q, 7, c->request_id);
    bind_bytes(q, 8, c->request_body);
    bind_text(q, 9, s->instance);
    (void)sqlite3_bind_int64(q, 10, now_ms);
    (void)sqlite3_bind_int64(q, 11, now_ms + c->lease_ms);
    int rc = run(s, SQL_CLAIM);

    *result = STORE_CLAIMED;
    return rc == SQLITE_OK && sqlite3_changes(s->db) == 0 ? find(s, c, result) : rc;
}

static bool only_looks(const struct store_batch *b)
{
    for (size_t i = 0; i < b->claims; i++)
        if (b->claim[i]->id[0] != '\0')
            return false;
    return b->outcomes == 0;
}

static void forget(const struct store_batch *b)
{
    for (size_t i = 0; i < b->outcomes; i++)
        b->outcome[i]->result = STORE_NOT_WRITTEN;
    for (size_t i = 0; i < b->claims; i++) {
        b->claim[i]->result = STORE_NOT_DONE;
        ledger_entry_done(&b->claim[i]->found);
    }
}

/* Call it after an error; SQLite rolls back by itself in some cases. */
static void roll_back(struct store *s)
{
    if (sqlite3_get_autocommit(s->db) == 0)
        (void)run(s, SQL_ROLLBACK);
}

static enum store_result is_broken(struct buf *error)
{
    (void)!buf_add_str(error, "it failed before, and is not used again until the next start");
    return STORE_BROKEN;
}

static enum store_result batch(struct store *s, const struct store_batch *b, struct buf *error)
{
    forget(b);
    if (s->broken)
        return is_broken(error);
    int rc = run(s, only_looks(b) ? SQL_BEGIN_READ : SQL_BEGIN_WRITE);

    for (size_t i = 0; i < b->outcomes && rc == SQLITE_OK; i++)
        rc = write_outcome(s, b->outcome[i], b->now_ms, &b->outcome[i]->result);
    for (size_t i = 0; i < b->claims && rc == SQLITE_OK; i++)
        rc = make_claim(s, b->claim[i], b->now_ms, &b->claim[i]->result);
    if (rc == SQLITE_OK)
        rc = run(s, SQL_COMMIT);
    if (rc == SQLITE_OK) {
        bool wrote = !only_looks(b);

        s->is_full &= !wrote;
        if (wrote)
            sqlite_log_acked(&s->log, (uint64_t)s->log_pages);
        return STORE_OK;
    }
    enum store_result result = failed(s, rc, error);

    forget(b);
    roll_back(s);
    return result;
}

static enum store_result idle(struct store *s, struct buf *error)
{
    if (s->broken || s->log_pages < CHECKPOINT_PAGES)
        return STORE_OK;
    int rc = sqlite3_wal_checkpoint_v2(s->db, "main", SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);

    s->log_pages = 0; /* if it did not help: again after as many pages */
    return rc == SQLITE_OK ? STORE_OK : failed(s, rc, error);
}

/* --- orphans ------------------------------------------------------------------------------ */

static int number(struct store *s, int which, int64_t *out)
{
    sqlite3_stmt *q = s->statement[which];
    int rc = sqlite3_step(q);

    *out = rc == SQLITE_ROW ? sqlite3_column_int64(q, 0) : 0;
    (void)sqlite3_reset(q);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int count_open(struct store *s, struct store_census *out)
{
    sqlite3_stmt *q = s->statement[SQL_OPEN_ONES];
    int rc;

    while (rc = sqlite3_step(q), rc == SQLITE_ROW) {
        if (sqlite3_column_int(q, 0) == LEDGER_IN_FLIGHT) {
            out->in_flight = (uint64_t)sqlite3_column_int64(q, 1);
        } else {
            out->unknown = (uint64_t)sqlite3_column_int64(q, 1);
            out->unknown_oldest_ms = sqlite3_column_int64(q, 2);
        }
    }
    (void)sqlite3_reset(q);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static enum store_result orphans(struct store *s, enum store_lost_owners which, int64_t now_ms,
                                 struct store_census *out, struct buf *error)
{
    int64_t bytes = 0;
    int rc = SQLITE_OK;

    *out = (struct store_census){ .orphans = 0 };
    if (s->broken)
        return is_broken(error);
    if (s->is_full) /* tests whether writing is possible again */
        rc = run(s, SQL_TOUCH);
    s->is_full &= rc != SQLITE_OK;
    if (rc == SQLITE_OK && which == STORE_EXPIRED) {
        (void)sqlite3_bind_int64(s->statement[SQL_ORPHANS_EXPIRED], 1, now_ms);
        rc = run(s, SQL_ORPHANS_EXPIRED);
    } else if (rc == SQLITE_OK && which == STORE_ALL) {
        rc = run(s, SQL_ORPHANS_ALL);
    }
    if (rc == SQLITE_OK && which != STORE_COUNT_ONLY)
        out->orphans = (uint64_t)sqlite3_changes(s->db);
    if (rc == SQLITE_OK)
        rc = count_open(s, out);
    if (rc == SQLITE_OK)
        rc = number(s, SQL_NEWEST, &out->newest_ms);
    if (rc == SQLITE_OK)
        rc = number(s, SQL_PAGES, &bytes);
    out->bytes = (uint64_t)bytes;
    return rc == SQLITE_OK ? STORE_OK : failed(s, rc, error);
}

/* --- prune -------------------------------------------------------------------------------- */

/* The first id of that millisecond: ids begin with the time. */
static void first_id(int64_t ms, char out[LEDGER_ID_BYTES])
{
    (void)snprintf(out, LEDGER_ID_BYTES, "%08" PRIx64 "-%04" PRIx64 "-0000-0000-000000000000",
                   (uint64_t)ms >> 16 & 0xffffffff, (uint64_t)ms & 0xffff);
}

/* The id of the last among the next at_most entries after `from` that are old enough; "" if
 * there is none. */
static int next_part(struct store *s, const struct store_prune *p, char until[LEDGER_ID_BYTES],
                     bool *more)
{
    sqlite3_stmt *q = s->statement[SQL_PRUNE_UNTIL];
    char bound[LEDGER_ID_BYTES];

    first_id(base_max(p->answers_before_ms, p->keys_before_ms), bound);
    bind_text(q, 1, s->pruned_until);
    bind_text(q, 2, bound);
    (void)sqlite3_bind_int64(q, 3, (int64_t)p->at_most);
    int rc = sqlite3_step(q);
    const char *last = rc == SQLITE_ROW ? (const char *)sqlite3_column_text(q, 1) : NULL;

    *more = rc == SQLITE_ROW && sqlite3_column_int64(q, 0) == (int64_t)p->at_most;
    (void)snprintf(until, LEDGER_ID_BYTES, "%s", last == NULL ? "" : last);
    (void)sqlite3_reset(q);
    (void)sqlite3_clear_bindings(q);
    return rc == SQLITE_ROW ? SQLITE_OK : rc;
}

static int prune_part(struct store *s, int which, const char *until, int64_t before_ms)
{
    sqlite3_stmt *q = s->statement[which];

    bind_text(q, 1, s->pruned_until);
    bind_text(q, 2, until);
    (void)sqlite3_bind_int64(q, 3, before_ms);
    return run(s, which);
}

/* Goes through the entries by age, continuing where it stopped last time, and once a day
 * from the start. */
static enum store_result prune(struct store *s, struct store_prune *p, struct buf *error)
{
    const int64_t day = base_max(p->answers_before_ms, p->keys_before_ms) / 86400000;
    char until[LEDGER_ID_BYTES];

    p->more = false;
    p->pruned = 0;
    if (s->broken)
        return is_broken(error);
    if (s->pruned_day != day)
        s->pruned_until[0] = '\0';
    s->pruned_day = day;
    int rc = run(s, SQL_BEGIN_WRITE);

    if (rc == SQLITE_OK)
        rc = next_part(s, p, until, &p->more);
    if (rc == SQLITE_OK && until[0] != '\0') {
        rc = prune_part(s, SQL_PRUNE_KEYS, until, p->keys_before_ms);
        p->pruned = (uint64_t)sqlite3_changes(s->db);
        if (rc == SQLITE_OK)
            rc = prune_part(s, SQL_PRUNE_ANSWERS, until, p->answers_before_ms);
        p->pruned += (uint64_t)sqlite3_changes(s->db);
    }
    if (rc == SQLITE_OK)
        rc = run(s, SQL_COMMIT);
    if (rc == SQLITE_OK) {
        if (until[0] != '\0')
            memcpy(s->pruned_until, until, sizeof until);
        return STORE_OK;
    }
    enum store_result result = failed(s, rc, error);

    roll_back(s);
    return result;
}

/* --- for the operator --------------------------------------------------------------------- */

static sqlite3_stmt *prepare_list(struct store *s, const struct store_list *what, int *rc)
{
    sqlite3_stmt *q = NULL;
    struct buf text;

    buf_init(&text, 4096);
    (void)buf_addf(&text, "SELECT %s FROM ledger_entry WHERE id > ?1",
                   what->id != NULL ? WITH_BODIES : WITHOUT_BODIES);
    if (what->id != NULL)
        (void)!buf_add_str(&text, " AND id = ?2");
    if (what->caller != NULL)
        (void)!buf_add_str(&text, " AND scope = ?3");
    if (what->since_ms > 0)
        (void)!buf_add_str(&text, " AND claimed_ms >= ?4");
    if (what->states != 0)
        (void)!buf_add_str(&text, " AND (?5 >> state) & 1 = 1");
    if ((what->states & ~(1U << LEDGER_IN_FLIGHT | 1U << LEDGER_UNKNOWN)) == 0 &&
        what->states != 0)
        (void)!buf_add_str(&text, " AND state IN (0, 2)");
    (void)!buf_add_str(&text, " ORDER BY id LIMIT ?6");
    *rc = sqlite3_prepare_v2(s->db, buf_text(&text), -1, &q, NULL);
    buf_done(&text);
    if (*rc != SQLITE_OK)
        return NULL;
    bind_text(q, 1, what->after == NULL ? "" : what->after);
    bind_text(q, 2, what->id);
    bind_text(q, 3, what->caller);
    (void)sqlite3_bind_int64(q, 4, what->since_ms);
    (void)sqlite3_bind_int64(q, 5, what->states);
    (void)sqlite3_bind_int64(q, 6, what->at_most == 0 ? -1 : (int64_t)what->at_most);
    return q;
}

static enum store_result list(struct store *s, const struct store_list *what, struct buf *error)
{
    bool go_on = true;
    int rc;

    if (s->broken)
        return is_broken(error);
    sqlite3_stmt *q = prepare_list(s, what, &rc);

    while (q != NULL && go_on && (rc = sqlite3_step(q)) == SQLITE_ROW) {
        struct ledger_entry e;

        bool is_sound = read_entry(q, &e);

        go_on = is_sound && what->on_entry(what->arg, &e);
        ledger_entry_done(&e);
        if (!is_sound) {
            rc = SQLITE_CORRUPT;
            break;
        }
    }
    enum store_result result = rc == SQLITE_OK || rc == SQLITE_ROW || rc == SQLITE_DONE
                                   ? STORE_OK
                                   : failed(s, rc, error);

    (void)sqlite3_finalize(q);
    return result;
}

static enum store_resolved may_resolve(const struct ledger_entry *e,
                                       const struct store_resolve *r)
{
    if (e->state == LEDGER_ANSWERED || e->state == LEDGER_RELEASED)
        return STORE_NOT_OPEN;
    if (e->state == LEDGER_IN_FLIGHT && (r->owned || r->now_ms < e->lease_ms) && !r->force)
        return STORE_IN_FLIGHT;
    if (!r->executed && r->now_ms < e->lease_ms + STORE_RESOLVE_AFTER_MS && !r->force)
        return STORE_TOO_EARLY;
    return STORE_RESOLVED;
}

static int write_resolved(struct store *s, const struct store_resolve *r)
{
    sqlite3_stmt *q = s->statement[SQL_RESOLVE];

    bind_text(q, 1, r->id);
    (void)sqlite3_bind_int(q, 2, r->executed ? LEDGER_ANSWERED : LEDGER_RELEASED);
    bind_text(q, 3, r->executed ? "resolved-executed" : "resolved-not-executed");
    (void)sqlite3_bind_int64(q, 4, r->now_ms);
    bind_number(q, 5, r->executed ? r->status : 0);
    bind_text(q, 6, r->executed ? r->head : NULL);
    bind_bytes(q, 7, r->executed ? r->body : NULL);
    bind_text(q, 8, r->by);
    bind_text(q, 9, r->note);
    return run(s, SQL_RESOLVE);
}

static enum store_result resolve(struct store *s, struct store_resolve *r, struct buf *error)
{
    r->result = STORE_NO_SUCH;
    r->entry = (struct ledger_entry){ .key = NULL };
    if (s->broken)
        return is_broken(error);
    int rc = run(s, SQL_BEGIN_WRITE);

    if (rc == SQLITE_OK) {
        bind_text(s->statement[SQL_ONE], 1, r->id);
        rc = read_one(s, SQL_ONE, &r->entry);
    }
    if (rc == SQLITE_ROW) {
        r->result = may_resolve(&r->entry, r);
        rc = r->result == STORE_RESOLVED ? write_resolved(s, r) : SQLITE_OK;
    }
    if (rc == SQLITE_OK || rc == SQLITE_DONE)
        rc = run(s, SQL_COMMIT);
    if (rc == SQLITE_OK)
        return STORE_OK;
    enum store_result result = failed(s, rc, error);

    roll_back(s);
    ledger_entry_done(&r->entry);
    return result;
}

static enum store_result touch(struct store *s, struct buf *error)
{
    int rc = run(s, SQL_TOUCH);

    return rc == SQLITE_OK ? STORE_OK : failed(s, rc, error);
}

static enum store_result check(struct store *s, struct buf *error)
{
    struct buf damage;

    buf_init(&damage, 4096);
    int rc = check_all(s, &damage);
    enum store_result result = rc == SQLITE_OK ? STORE_OK : failed(s, rc, error);

    if (result == STORE_OK && buf_unread(&damage) > 0) {
        (void)buf_addf(error, "%s is damaged: %s", sqlite3_db_filename(s->db, "main"),
                       buf_text(&damage));
        result = STORE_BROKEN;
    }
    buf_done(&damage);
    return result;
}

/* --- init --------------------------------------------------------------------------------- */

static int fill(sqlite3 *db)
{
    char id[LEDGER_ID_BYTES], text[256];

    ledger_id_new(id);
    (void)snprintf(text, sizeof text,
                   "INSERT INTO ledger_meta VALUES (1, %d, '%s', %" PRId64 ")", STORE_VERSION,
                   id, clock_wall_ms());
    int rc = sqlite3_exec(db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; BEGIN",
                          NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(db, schema, NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(db, text, NULL, NULL, NULL);
    return rc == SQLITE_OK ? sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) : rc;
}

/* Creates the tables in the empty file. */
static enum store_result build(const char *path, struct buf *error)
{
    sqlite3 *db = NULL;
    int rc = sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL);

    if (rc == SQLITE_OK)
        rc = fill(db);
    if (rc != SQLITE_OK)
        (void)buf_addf(error, "%s: %s", path, db == NULL ? "no memory" : sqlite3_errmsg(db));
    if (sqlite3_close(db) != SQLITE_OK && rc == SQLITE_OK)
        rc = SQLITE_ERROR;
    return rc == SQLITE_OK ? STORE_OK : STORE_BROKEN;
}

/* Makes the directory entry durable. */
static int sync_directory(const char *path)
{
    auto_free char *copy = strdup(path);

    if (copy == NULL)
        abort();
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): likewise */
    auto_close int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return fd >= 0 && fsync(fd) == 0 ? 0 : -errno;
}

/* Created under another name first, so that there is never half a store. */
static enum store_result init(const struct store_options *o, struct buf *error)
{
    const char *path = path_of(o);
    auto_free char *made = NULL;
    enum store_result result = load_library(error);

    if (result == STORE_OK)
        result = check_directory(path, error);
    if (result != STORE_OK)
        return result;
    if (access(path, F_OK) == 0)
        return refuse(error, "%s is there already, and is left as it is", path);
    if (asprintf(&made, "%s.init", path) < 0)
        abort();
    (void)unlink(made);
    int fd = open(made, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    if (fd < 0)
        return refuse(error, "%s: %s", made, strerrordesc_np(errno));
    (void)close(fd);
    result = build(made, error);
    if (result == STORE_OK && (link(made, path) != 0 || sync_directory(path) != 0))
        result = refuse(error, "%s: %s", path, strerrordesc_np(errno));
    (void)unlink(made);
    return result;
}

const struct store_type store_sqlite = { .scheme = "sqlite",
                                         .exclusive = true,
                                         .open = open_store,
                                         .close = close_store,
                                         .batch = batch,
                                         .idle = idle,
                                         .orphans = orphans,
                                         .prune = prune,
                                         .list = list,
                                         .resolve = resolve,
                                         .init = init,
                                         .touch = touch,
                                         .check = check };

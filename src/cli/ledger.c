/* The command line of `oneshot-proxy ledger`.
 *
 *   init                           creates the store
 *   list, show, resolve, check     ask the proxy that uses the store, by the socket beside it;
 *                                  or open the store, if no proxy runs or it is in PostgreSQL
 *
 * Exit codes: 0 done, 1 not done, 2 wrong command line. */
#include "cli/ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "cli/ledger_print.h"
#include "cli/ledger_way.h"
#include "config/config.h"
#include "config/files.h"
#include "ledger/stores.h"

enum { EXIT_USAGE = 2 };

#define MESSAGES_MAX (1 << 20)
#define BODY_MAX (16 << 20)

/* The command line as read. */
struct invocation {
    const char *file; /* --config */
    const char *state, *since, *caller, *format, *note, *status, *body;
    bool force;
    struct config *config;
    char **word; /* arguments after the verb */
    int words;
};

/* Options in addition to --config. */
enum {
    OPTION_CONFIG = 1 << 0,
    OPTION_STATE = 1 << 1,
    OPTION_SINCE = 1 << 2,
    OPTION_CALLER = 1 << 3,
    OPTION_FORMAT = 1 << 4,
    OPTION_NOTE = 1 << 5,
    OPTION_STATUS = 1 << 6,
    OPTION_BODY = 1 << 7,
    OPTION_FORCE = 1 << 8,
    OPTION_HELP = 1 << 9
};

struct verb {
    const char *name;
    int words_min, words_max;
    int options;
    int (*run)(struct invocation *in);
};

static int usage_error(const char *what, const char *which)
{
    (void)fprintf(stderr, "oneshot-proxy ledger: %s%s; see oneshot-proxy ledger --help\n", what,
                  which);
    return EXIT_USAGE;
}

static int not_done(const char *what)
{
    (void)fprintf(stderr, "oneshot-proxy ledger: %s\n", what);
    return EXIT_FAILURE;
}

static int flushed(bool good)
{
    return fflush(stdout) == 0 && good ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* --- access to the ledger --- */

/* Returns whether it succeeded; if not, the reason was printed. */
static bool open_way(struct ledger_way *w, const struct config *c)
{
    struct buf error;

    buf_init(&error, MESSAGES_MAX);
    bool good = ledger_way_open(w, c, &error);

    if (!good)
        (void)not_done(buf_text(&error));
    buf_done(&error);
    return good;
}

static bool list_by(struct ledger_way *w, const struct store_list *what)
{
    struct buf error;

    buf_init(&error, MESSAGES_MAX);
    enum store_result r = w->store != NULL ? w->type->list(w->store, what, &error)
                                           : control_client_list(&w->control, what, &error);

    if (r != STORE_OK)
        (void)not_done(buf_text(&error));
    buf_done(&error);
    return r == STORE_OK;
}

static bool resolve_by(struct ledger_way *w, struct store_resolve *what)
{
    struct buf error;

    buf_init(&error, MESSAGES_MAX);
    enum store_result r = w->store != NULL ? w->type->resolve(w->store, what, &error)
                                           : control_client_resolve(&w->control, what, &error);

    if (r != STORE_OK)
        (void)not_done(buf_text(&error));
    buf_done(&error);
    return r == STORE_OK;
}

/* --- init, check --- */

static int run_init(struct invocation *in)
{
    const struct store_options o = ledger_way_options(in->config);
    int code = EXIT_FAILURE;
    struct buf error;

    buf_init(&error, MESSAGES_MAX);
    if (store_type_of(o.url)->init(&o, &error) != STORE_OK)
        (void)not_done(buf_text(&error));
    else
        code = flushed(printf("%s: made, and empty\n", o.url) >= 0);
    buf_done(&error);
    return code;
}

static void print_weakness(void *arg, const char *text)
{
    (void)arg;
    (void)printf("weak: %s\n", text);
}

static int check_store(struct ledger_way *w, struct buf *error)
{
    struct store_census census = { .orphans = 0 };

    if (w->type->check(w->store, error) != STORE_OK ||
        w->type->orphans(w->store, STORE_COUNT_ONLY, clock_wall_ms(), &census, error) !=
            STORE_OK)
        return not_done(buf_text(error));
    if (w->type->weaknesses != NULL)
        w->type->weaknesses(w->store, print_weakness, NULL);
    return flushed(printf("sound\nin flight: %llu\nunknown: %llu\nbytes: %llu\n",
                          (unsigned long long)census.in_flight,
                          (unsigned long long)census.unknown,
                          (unsigned long long)census.bytes) >= 0);
}

/* Reads the whole store, which is possible only while no proxy uses it: it would have to
 * wait. */
static int run_check(struct invocation *in)
{
    auto_way struct ledger_way w = { .type = NULL };
    struct buf text, error;
    int code = EXIT_FAILURE;

    if (!open_way(&w, in->config))
        return EXIT_FAILURE;
    buf_init(&text, MESSAGES_MAX);
    buf_init(&error, MESSAGES_MAX);
    if (w.store != NULL)
        code = check_store(&w, &error);
    else if (control_client_status(&w.control, &text, &error) != STORE_OK)
        code = not_done(buf_text(&error));
    else
        code = flushed(printf("%sa proxy has it; the whole of it can be read only when none "
                              "does\n",
                              buf_text(&text)) >= 0 &&
                       strstr(buf_text(&text), ", down") == NULL);
    buf_done(&text);
    buf_done(&error);
    return code;
}

/* --- list, show --- */

/* "2h", "3d", or "2026-11-28", "2026-11-28T20:00:00Z", in UTC. */
static bool read_since(const char *text, int64_t *out)
{
    static const struct {
        char unit;
        int64_t ms;
    } units[] = { { 's', 1000 }, { 'm', 60000 }, { 'h', 3600000 }, { 'd', 86400000 } };
    char *end = NULL;
    struct tm tm = { .tm_year = 0 };

    errno = 0;
    int64_t n = strtoll(text, &end, 10);

    for (size_t i = 0; i < ARRAY_LEN(units); i++)
        if (errno == 0 && end != text && n >= 0 && n < 100000 && end[0] == units[i].unit &&
            end[1] == '\0') {
            *out = clock_wall_ms() - n * units[i].ms;
            return true;
        }
    const char *rest = strptime(text, "%Y-%m-%d", &tm);

    if (rest != NULL && *rest == 'T')
        rest = strptime(rest, "T%H:%M:%SZ", &tm);
    if (rest == NULL || *rest != '\0')
        return false;
    *out = (int64_t)timegm(&tm) * 1000;
    return true;
}

static bool read_states(const char *text, unsigned *out)
{
    for (const char *p = text;; p += strcspn(p, ",") + 1) {
        char name[16];
        size_t len = strcspn(p, ",");

        (void)snprintf(name, sizeof name, "%.*s", (int)len, p);
        int state = ledger_state_find(name);

        if (state < 0)
            return false;
        *out |= 1U << state;
        if (p[len] == '\0')
            return true;
    }
}

static int run_list(struct invocation *in)
{
    struct ledger_printer printer = { .format = LEDGER_TABLE };
    struct store_list what = { .caller = in->caller,
                               .on_entry = ledger_print_entry,
                               .arg = &printer };
    auto_way struct ledger_way w = { .type = NULL };

    if (in->state != NULL && !read_states(in->state, &what.states))
        return usage_error("--state takes in_flight, answered, unknown or released, not ",
                           in->state);
    if (in->since != NULL && !read_since(in->since, &what.since_ms))
        return usage_error("--since takes 90s, 5m, 2h, 3d, 2026-01-31 or "
                           "2026-01-31T12:00:00Z, not ",
                           in->since);
    if (in->format != NULL && !ledger_format_find(in->format, &printer.format))
        return usage_error("--format takes table, json or ids, not ", in->format);
    if (!open_way(&w, in->config) || !list_by(&w, &what))
        return EXIT_FAILURE;
    return flushed(ledger_print_end(&printer));
}

struct one {
    const struct config *config;
    bool found, good;
};

static bool show_entry(void *arg, const struct ledger_entry *e)
{
    struct one *one = arg;

    one->found = true;
    one->good = ledger_print_whole(one->config, e);
    return false;
}

static int run_show(struct invocation *in)
{
    struct one one = { .config = in->config };
    auto_way struct ledger_way w = { .type = NULL };
    const char *id = in->word[0];

    if (!ledger_id_valid(id))
        return usage_error("this is not the id of an entry: ", id);
    if (!open_way(&w, in->config) ||
        !list_by(&w, &(struct store_list){ .id = id, .on_entry = show_entry, .arg = &one }))
        return EXIT_FAILURE;
    return one.found ? flushed(one.good) : not_done("there is no entry of this id");
}

/* --- resolve --- */

/* A replay needs a Content-Type; JSON is recognised by its first character. */
static const char *head_of(const struct ledger_bytes *body)
{
    size_t i = 0;

    while (i < body->len && strchr(" \t\r\n", body->data[i]) != NULL)
        i++;
    return i < body->len && (body->data[i] == '{' || body->data[i] == '[')
               ? "Content-Type: application/json\r\n"
               : "Content-Type: text/plain\r\n";
}

static int say_resolved(const struct store_resolve *r)
{
    char text[256];

    switch (r->result) {
    case STORE_RESOLVED:
        return printf("%s: %s\n", r->id,
                      r->executed ? "answered; a retry gets that, and is not executed"
                                  : "released; a retry with its key is a new request") < 0
                   ? EXIT_FAILURE
                   : EXIT_SUCCESS;
    case STORE_NO_SUCH:
        (void)snprintf(text, sizeof text, "%s: there is no entry of this id", r->id);
        break;
    case STORE_NOT_OPEN:
        (void)snprintf(text, sizeof text, "%s: it is %s already, and stays so", r->id,
                       ledger_state_name(r->entry.state));
        break;
    case STORE_IN_FLIGHT:
        (void)snprintf(text, sizeof text,
                       "%s: whoever sent it may still be at it; wait until it is unknown",
                       r->id);
        break;
    case STORE_TOO_EARLY:
        (void)snprintf(
            text, sizeof text,
            "%s: too early: a process that was frozen could still send it; in %lld s, "
            "or with --force when you know that it cannot",
            r->id,
            (long long)(base_max(0, r->entry.lease_ms + STORE_RESOLVE_AFTER_MS - r->now_ms) +
                        999) /
                1000);
        break;
    }
    return not_done(text);
}

static int resolve_all(struct invocation *in, struct ledger_way *w, struct store_resolve what)
{
    int code = EXIT_SUCCESS;
    char by[32];

    (void)snprintf(by, sizeof by, "uid %u", (unsigned)getuid());
    what.by = by;
    what.now_ms = clock_wall_ms();
    for (int i = 0; i < in->words - 1; i++) {
        what.id = in->word[i];
        if (!resolve_by(w, &what) || say_resolved(&what) != EXIT_SUCCESS)
            code = EXIT_FAILURE;
        ledger_entry_done(&what.entry);
    }
    return code;
}

/* Returns 0, or an exit code. */
static int read_resolve(const struct invocation *in, struct store_resolve *r)
{
    const char *as = in->word[in->words - 1];
    char *end = NULL;

    r->executed = strcmp(as, "executed") == 0;
    if (!r->executed && strcmp(as, "not-executed") != 0)
        return usage_error("after the ids, write executed or not-executed, not ", as);
    for (int i = 0; i < in->words - 1; i++)
        if (!ledger_id_valid(in->word[i]))
            return usage_error("this is not the id of an entry: ", in->word[i]);
    if (in->note == NULL || *in->note == '\0')
        return usage_error("--note is needed: how do you know?", "");
    if ((in->status == NULL) != (in->body == NULL) || (in->status != NULL && !r->executed))
        return usage_error("--status and --body go together, with executed", "");
    if (in->status != NULL) {
        long status = strtol(in->status, &end, 10);

        if (*end != '\0' || status < 200 || status > 599)
            return usage_error("--status takes 200 to 599, not ", in->status);
        r->status = (int)status;
    }
    return 0;
}

static int run_resolve(struct invocation *in)
{
    auto_way struct ledger_way w = { .type = NULL };
    struct store_resolve r = { .note = in->note, .force = in->force };
    struct ledger_bytes body = { .data = NULL };
    char why[512];
    int code = read_resolve(in, &r);

    if (code != 0)
        return code;
    if (in->body != NULL) {
        body.data = config_file_read(in->body, BODY_MAX, &body.len, why, sizeof why);
        if (body.data == NULL)
            return not_done(why);
        r.head = head_of(&body);
    }
    r.body = &body;
    code = open_way(&w, in->config) ? flushed(resolve_all(in, &w, r) == EXIT_SUCCESS)
                                    : EXIT_FAILURE;
    if (body.data != NULL)
        config_file_free(body.data, body.len);
    return code;
}

/* --- the command line --- */

static int run_help(void)
{
    return flushed(
        fputs("usage: oneshot-proxy ledger COMMAND [--config FILE]\n"
              "\n"
              "  init               make the store that ledger.store names, empty\n"
              "  list               entries, oldest first; --state STATE[,STATE] (in_flight,\n"
              "                     answered, unknown, released), --since 2h or a date, "
              "--caller\n"
              "                     NAME, --format table, json (an object a line) or ids\n"
              "  show ID            all of one entry, and how to find out what became of it\n"
              "  resolve ID... executed --note TEXT [--status N --body FILE]\n"
              "                     it was carried out: a retry gets FILE, or is told so\n"
              "  resolve ID... not-executed --note TEXT [--force]\n"
              "                     it was not: its key is free, and a retry is sent\n"
              "  check              read all of the store, and tell what is wrong with it\n"
              "\n"
              "With an SQLite store this asks the proxy that has it; run it as the proxy's\n"
              "user. Exit codes: 0 done, 1 not done, 2 wrong command line.\n",
              stdout) >= 0);
}

static const struct verb verbs[] = {
    { "init", 0, 0, 0, run_init },
    { "list", 0, 0, OPTION_STATE | OPTION_SINCE | OPTION_CALLER | OPTION_FORMAT, run_list },
    { "show", 1, 1, 0, run_show },
    { "resolve", 2, 1000, OPTION_NOTE | OPTION_STATUS | OPTION_BODY | OPTION_FORCE,
      run_resolve },
    { "check", 0, 0, 0, run_check },
};

static const struct option options[] = { { "config", required_argument, NULL, OPTION_CONFIG },
                                         { "state", required_argument, NULL, OPTION_STATE },
                                         { "since", required_argument, NULL, OPTION_SINCE },
                                         { "caller", required_argument, NULL, OPTION_CALLER },
                                         { "format", required_argument, NULL, OPTION_FORMAT },
                                         { "note", required_argument, NULL, OPTION_NOTE },
                                         { "status", required_argument, NULL, OPTION_STATUS },
                                         { "body", required_argument, NULL, OPTION_BODY },
                                         { "force", no_argument, NULL, OPTION_FORCE },
                                         { "help", no_argument, NULL, OPTION_HELP },
                                         { NULL, 0, NULL, 0 } };

static const struct verb *verb_of(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
        if (strcmp(verbs[i].name, name) == 0)
            return &verbs[i];
    return NULL;
}

static void print_message(void *arg, bool is_error, const char *line)
{
    (void)arg;
    if (is_error)
        (void)fprintf(stderr, "%s\n", line);
}

static int run_with_settings(const struct verb *verb, struct invocation *in,
                             const struct config_env *env)
{
    struct config_report report;
    int code = EXIT_FAILURE;

    config_report_init(&report);
    in->config = config_load_ledger(in->file, env, &report);
    if (in->config == NULL)
        config_report_each(&report, print_message, NULL);
    else
        code = verb->run(in);
    config_unref(in->config);
    config_report_done(&report);
    return code;
}

static void take_option(struct invocation *in, int option)
{
    const struct {
        int option;
        const char **field;
    } fields[] = {
        { OPTION_CONFIG, &in->file },   { OPTION_STATE, &in->state },
        { OPTION_SINCE, &in->since },   { OPTION_CALLER, &in->caller },
        { OPTION_FORMAT, &in->format }, { OPTION_NOTE, &in->note },
        { OPTION_STATUS, &in->status }, { OPTION_BODY, &in->body },
    };

    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        if (fields[i].option == option)
            *fields[i].field = optarg;
    in->force |= option == OPTION_FORCE;
}

int ledger_command(int argc, char **argv, const struct config_env *env)
{
    struct invocation in = { .file = NULL };
    int option, given = 0;

    /* NOLINTNEXTLINE(concurrency-mt-unsafe): there is one thread */
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == '?')
            return EXIT_USAGE; /* getopt_long has printed why */
        if ((given & option) != 0)
            return usage_error("an option is there twice", "");
        given |= option;
        take_option(&in, option);
    }
    optind++; /* the argument "ledger" */
    if ((given & OPTION_HELP) != 0 || (optind < argc && strcmp(argv[optind], "help") == 0))
        return run_help();
    const struct verb *verb = optind < argc ? verb_of(argv[optind]) : NULL;

    if (verb == NULL)
        return usage_error(optind < argc ? "unknown command " : "a command is missing",
                           optind < argc ? argv[optind] : "");
    if ((given & ~(verb->options | OPTION_CONFIG)) != 0)
        return usage_error("an option does not go with ", verb->name);
    in.word = argv + optind + 1;
    in.words = argc - optind - 1;
    if (in.words < verb->words_min || in.words > verb->words_max)
        return usage_error("too few or too many words behind ", verb->name);
    return run_with_settings(verb, &in, env);
}

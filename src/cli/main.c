/* Reads the command line: what to do, and with which settings.
 *
 *     arguments -> one of `commands` -> settings -> its run() -> exit code
 *                                       (file and environment, or those of a systemd unit)
 *
 * Exit codes: 0 success, 1 configuration or runtime failure, 2 wrong command line; for
 * explain also 3, the request would be refused. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "admin/prometheus.h"
#include "base/ascii.h"
#include "base/log.h"
#include "base/secret.h"
#include "cli/doctor.h"
#include "cli/explain.h"
#include "cli/healthcheck.h"
#include "cli/ledger.h"
#include "cli/unit.h"
#include "config/config.h"
#include "config/docs.h"
#include "net/leg_error.h"
#include "net/library_alloc.h"
#include "rights/freeze_file.h"
#include "server/resources.h"
#include "server/server.h"

enum { EXIT_USAGE = 2 };

#define MESSAGES_MAX (1 << 20)

struct invocation {
    const char *file;
    const char *unit_name; /* --unit; NULL: not given */
    const char *reason;    /* of freeze; NULL: not given */
    struct explain_options explain;
    bool explains; /* an option was given that only explain has */
    struct unit unit;
    struct config_env *env;
    struct config *config; /* only if the command needs settings */
    struct config_report report;
};

struct command {
    const char *name;
    unsigned how; /* how it is written */
    bool needs_config;
    bool takes_unit; /* can be used with --unit */
    int (*run)(struct invocation *in);
};
enum { AS_OPTION = 1, AS_WORD = 2 }; /* --name, name */

/* Reports an error of stdout: a full disk or a closed pipe must not look like success. */
static int print(const char *text)
{
    return fputs(text, stdout) >= 0 && fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int print_done(int rc, struct buf *out)
{
    int code = EXIT_FAILURE;

    if (rc == 0)
        code = print(buf_text(out));
    buf_done(out);
    return code;
}

static int print_generated(int (*generate)(struct buf *out))
{
    struct buf out;

    buf_init(&out, MESSAGES_MAX);
    return print_done(generate(&out), &out);
}

static int run_reference(struct invocation *in)
{
    (void)in;
    return print_generated(config_print_reference);
}

static int run_markdown(struct invocation *in)
{
    (void)in;
    return print_generated(config_print_markdown);
}

static int run_man(struct invocation *in)
{
    (void)in;
    return print_generated(config_print_man);
}

/* Prints what is wrong or doubtful in the settings to stderr. */
static void print_report(const struct config_report *report)
{
    struct buf text;

    buf_init(&text, MESSAGES_MAX);
    (void)!config_report_print(report, &text);
    (void)fputs(buf_text(&text), stderr);
    buf_done(&text);
}

static int run_print_config(struct invocation *in)
{
    struct buf out;

    print_report(&in->report);
    buf_init(&out, MESSAGES_MAX);
    return print_done(config_print(in->config, &out), &out);
}

static int run_check(struct invocation *in)
{
    print_report(&in->report);
    if (printf("%s: ok\n", in->file != NULL ? in->file : "configuration") < 0)
        return EXIT_FAILURE;
    return print("");
}

static int run_metrics(struct invocation *in)
{
    (void)in;
    return print_generated(prometheus_print_markdown);
}

static int run_legs(struct invocation *in)
{
    (void)in;
    return print_generated(leg_error_print_markdown);
}

static int run_healthcheck(struct invocation *in)
{
    struct buf line;
    bool ready = false;

    buf_init(&line, MESSAGES_MAX);
    auto_free char *address = config_admin_address(in->file, in->env, &in->report);

    if (address == NULL)
        print_report(&in->report);
    else
        ready = healthcheck_ask(address, &line);
    if (address != NULL && (buf_add_str(&line, "\n") != 0 || print(buf_text(&line)) != 0))
        ready = false;
    buf_done(&line);
    return ready ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int run_doctor(struct invocation *in)
{
    return doctor_run(in->file, in->env) ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* The path of the freeze file, or NULL and all messages were printed. Other errors in the
 * settings do not matter, since freezing is for emergencies. */
static char *freeze_file(struct invocation *in)
{
    char *file = config_freeze_file(in->file, in->env, &in->report);

    if (file == NULL)
        print_report(&in->report);
    return file;
}

static int freeze_done_with(const char *file, int err, const char *what, const char *failed)
{
    if (err == 0)
        return printf("%s: %s\n", file, what) < 0 ? EXIT_FAILURE : print("");
    (void)fprintf(stderr, "oneshot-proxy: %s cannot be %s: %s\n", file, failed,
                  strerrordesc_np(-err));
    return EXIT_FAILURE;
}

static int run_freeze(struct invocation *in)
{
    auto_free char *file = freeze_file(in);

    return file == NULL
               ? EXIT_FAILURE
               : freeze_done_with(file, freeze_file_create(file, in->reason),
                                  "frozen; within a second every running proxy that "
                                  "watches this file refuses what freeze.classes names",
                                  "written");
}

static int run_thaw(struct invocation *in)
{
    auto_free char *file = freeze_file(in);
    int err = file == NULL ? 0 : freeze_file_remove(file);

    if (file == NULL)
        return EXIT_FAILURE;
    if (err == -ENOENT)
        return printf("%s: was not frozen\n", file) < 0 ? EXIT_FAILURE : print("");
    return freeze_done_with(file, err, "thawed", "removed");
}

static int run_explain(struct invocation *in)
{
    struct buf out, error;
    int code = EXIT_FAILURE;

    buf_init(&out, MESSAGES_MAX);
    buf_init(&error, MESSAGES_MAX);
    in->config = config_load_rules(in->file, in->env, &in->report);
    if (in->config == NULL)
        print_report(&in->report);
    else
        code = explain(in->config, &in->report, &in->explain, &out, &error);
    if (buf_unread(&error) > 0)
        (void)fprintf(stderr, "oneshot-proxy: %s\n", buf_text(&error));
    if (print(buf_text(&out)) != EXIT_SUCCESS && code == EXIT_SUCCESS)
        code = EXIT_FAILURE;
    buf_done(&out);
    buf_done(&error);
    return code;
}

static int run_version(struct invocation *in)
{
    (void)in;
    return print("oneshot-proxy " PROXY_VERSION "\n");
}

static int run_help(struct invocation *in)
{
    (void)in;
    return print(
        "oneshot-proxy: an authenticating gateway for the 1Shot API\n"
        "\n"
        "usage: oneshot-proxy [COMMAND] [--config FILE | --unit [NAME]]\n"
        "\n"
        "Without a command it runs in the foreground and logs to stderr. Settings come from\n"
        "FILE and from variables ONESHOT_PROXY_<SECTION>_<KEY>, which win; with the client id\n"
        "and secret in variables no FILE is needed.\n"
        "\n"
        "  doctor             try it for real, step by step: DNS, TCP, TLS, token, one "
        "request;\n"
        "                     exits 0 when all is well\n"
        "  healthcheck        ask the /readyz of the proxy that runs with these settings; "
        "exits 0\n"
        "                     when it is ready\n"
        "  freeze \"REASON\"    create freeze.file: requests that sign or may move money are\n"
        "                     refused\n"
        "  thaw               remove it\n"
        "  ledger COMMAND     the ledger: init, list, show, resolve, check; see ledger --help\n"
        "  explain METHOD TARGET\n"
        "                     say what would be decided about a request, and why, for\n"
        "                     --caller NAME, or for whoever shows --address ADDRESS, --uid N,\n"
        "                     --gid N, --certificate FILE; -H \"Name: value\" adds a field.\n"
        "                     Without METHOD: every operation for that caller. With\n"
        "                     --expect FILE: whether lines CALLER METHOD TARGET sent|refused\n"
        "                     are so. Exits 0 when it would be sent, 3 when refused\n"
        "  --check            say what is wrong with the settings, or \"ok\"\n"
        "  --print-config     the settings in force, as an ini file, secrets hidden\n"
        "  --print-reference  every setting with its default and what it does, as an ini file\n"
        "  --print-markdown   the same as a Markdown table\n"
        "  --print-man        the same as a man page\n"
        "  --print-metrics    every metric of /metrics, as a Markdown table\n"
        "  --version          the version; also -V\n"
        "  --help             this text; also -h\n"
        "\n"
        "With --unit, doctor, healthcheck, explain, --check and --print-config use the "
        "settings\n"
        "that the systemd unit NAME gives its service: the file, the environment and the\n"
        "credentials. Without NAME it is the unit oneshot-proxy.\n"
        "\n"
        "Exit codes: 0 fine, 1 configuration or runtime failure, 2 wrong command line; of\n"
        "explain also 3, the request would be refused or something is not as expected.\n");
}

/* Warnings become log lines, since stderr contains the log from now on. */
static void log_warning(void *arg, bool is_error, const char *line)
{
    (void)arg;
    (void)is_error; /* with errors it does not start */
    log_warn("config_warning", log_str("detail", line));
}

static int run_serve(struct invocation *in)
{
    struct config *c = STEAL(in->config);

    log_setup((enum log_level)c->log.level, (enum log_format)c->log.format);
    config_report_each(&in->report, log_warning, NULL);
    return server_run(c, in->env);
}

static const struct command serve = { "", 0, true, false, run_serve };

static const struct command commands[] = {
    { "check", AS_OPTION, true, true, run_check },
    { "print-config", AS_OPTION, true, true, run_print_config },
    { "print-reference", AS_OPTION, false, false, run_reference },
    { "print-markdown", AS_OPTION, false, false, run_markdown },
    { "print-man", AS_OPTION, false, false, run_man },
    { "print-metrics", AS_OPTION, false, false, run_metrics },
    { "print-legs", AS_OPTION, false, false, run_legs },
    { "doctor", AS_WORD, false, true, run_doctor },
    { "healthcheck", AS_WORD, false, true, run_healthcheck },
    { "explain", AS_WORD, false, true, run_explain },
    { "freeze", AS_WORD, false, false, run_freeze },
    { "thaw", AS_WORD, false, false, run_thaw },
    { "version", AS_OPTION | AS_WORD, false, false, run_version },
    { "help", AS_OPTION | AS_WORD, false, false, run_help },
};

static int usage_error(const char *what, const char *which)
{
    (void)fprintf(stderr, "oneshot-proxy: %s%s; see oneshot-proxy --help\n", what, which);
    return EXIT_USAGE;
}

/* Return values of getopt_long for options with a value; commands start at 1000. */
enum {
    OPTION_CONFIG = 'c',
    OPTION_UNIT = 'u',
    OPTION_CALLER = 256,
    OPTION_ADDRESS,
    OPTION_USER,
    OPTION_GROUP,
    OPTION_CERTIFICATE,
    OPTION_EXPECT,
    OPTION_COMMAND = 1000
};

static const struct option explain_options[] = {
    { "caller", required_argument, NULL, OPTION_CALLER },
    { "address", required_argument, NULL, OPTION_ADDRESS },
    { "uid", required_argument, NULL, OPTION_USER },
    { "gid", required_argument, NULL, OPTION_GROUP },
    { "certificate", required_argument, NULL, OPTION_CERTIFICATE },
    { "expect", required_argument, NULL, OPTION_EXPECT },
};
#define OPTIONS_MAX (ARRAY_LEN(commands) + ARRAY_LEN(explain_options) + 3)

static const char default_unit[] = "oneshot-proxy";

static void option_table(struct option options[OPTIONS_MAX])
{
    size_t n = 0;

    options[n++] = (struct option){ "config", required_argument, NULL, OPTION_CONFIG };
    options[n++] = (struct option){ "unit", optional_argument, NULL, OPTION_UNIT };
    for (size_t i = 0; i < ARRAY_LEN(explain_options); i++)
        options[n++] = explain_options[i];
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if ((commands[i].how & AS_OPTION) != 0)
            options[n++] =
                (struct option){ commands[i].name, no_argument, NULL, OPTION_COMMAND + (int)i };
    }
    options[n] = (struct option){ NULL, 0, NULL, 0 };
}

static const struct command *sub_command(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if ((commands[i].how & AS_WORD) != 0 && strcmp(commands[i].name, name) == 0)
            return &commands[i];
    }
    return NULL;
}

/* The command that an option stands for; NULL: none. */
static const struct command *command_of(int option)
{
    if (option == 'h')
        return sub_command("help");
    if (option == 'V')
        return sub_command("version");
    return option >= OPTION_COMMAND ? &commands[option - OPTION_COMMAND] : NULL;
}

/* Commands that only print something are run at once, whatever else is on the command line. */
static bool only_tells(const struct command *c)
{
    return c->run == run_help || c->run == run_version;
}

/* Reads the number of a user or group into *out. */
static bool read_number(const char *text, int64_t *out)
{
    *out = text == NULL ? -1 : ascii_number(text, strlen(text));
    return *out >= 0 && *out < UINT32_MAX;
}

/* Reads an option of explain. Returns 0, EXIT_USAGE, or -1: it is not one. */
static int read_explain_option(struct invocation *in, int option, char *value)
{
    struct explain_options *o = &in->explain;

    in->explains = true;
    switch (option) {
    case OPTION_CALLER:
        o->caller = value;
        return 0;
    case OPTION_ADDRESS:
        o->address = value;
        return 0;
    case OPTION_CERTIFICATE:
        o->certificate = value;
        return 0;
    case OPTION_EXPECT:
        o->expect = value;
        return 0;
    case OPTION_USER:
    case OPTION_GROUP:
        return read_number(value, option == OPTION_USER ? &o->uid : &o->gid)
                   ? 0
                   : usage_error("not the number of a user or group: ", value);
    case 'H':
        if (o->field_count == EXPLAIN_FIELDS_MAX)
            return usage_error("too many -H", "");
        o->field[o->field_count++] = value;
        return 0;
    default:
        in->explains = false;
        return -1;
    }
}

/* Checks the arguments and options of explain. */
static int check_explain(const struct invocation *in)
{
    const struct explain_options *o = &in->explain;
    bool shows = o->address != NULL || o->certificate != NULL || o->uid >= 0 || o->gid >= 0;

    if (o->method != NULL && o->target == NULL)
        return usage_error("explain needs a TARGET behind METHOD, such as ",
                           "explain --caller payroll POST /x402/settle");
    if (o->caller != NULL && shows)
        return usage_error("--caller takes the place of --address, --uid, --gid and "
                           "--certificate",
                           "");
    if (o->expect != NULL && (o->method != NULL || o->caller != NULL || shows))
        return usage_error("--expect goes alone: its lines name callers and requests", "");
    return 0;
}

/* Takes an argument of explain: METHOD, TARGET. False: it has both already. */
static bool take_explain_word(struct invocation *in, const char *word)
{
    const char **place = in->explain.method == NULL ? &in->explain.method : &in->explain.target;

    if (*place != NULL)
        return false;
    *place = word;
    return true;
}

/* Whether the next of the `left` arguments is the name of the unit. In explain's words it
 * stands before METHOD and TARGET, which come both or not at all. */
static bool is_unit_name(const struct invocation *in, const struct command *chosen, int left)
{
    bool explains = chosen != NULL && chosen->run == run_explain;

    return in->unit_name == default_unit &&
           (!explains || (in->explain.method == NULL && left % 2 != 0));
}

/* Reads the arguments after the options: a command, and the name of a unit. */
static int read_words(int count, char **words, struct invocation *in,
                      const struct command **chosen)
{
    for (int i = 0; i < count; i++) {
        const struct command *sub = sub_command(words[i]);

        if (sub == NULL && is_unit_name(in, *chosen, count - i)) {
            in->unit_name = words[i];
            continue;
        }
        if (sub == NULL && *chosen != NULL && (*chosen)->run == run_freeze &&
            in->reason == NULL) {
            in->reason = words[i];
            continue;
        }
        if (sub == NULL && *chosen != NULL && (*chosen)->run == run_explain &&
            take_explain_word(in, words[i]))
            continue;
        if (sub == NULL)
            return usage_error("unknown argument ", words[i]);
        if (only_tells(sub)) {
            *chosen = sub;
            return 0;
        }
        if (*chosen != NULL)
            return usage_error("more than one command: ", words[i]);
        *chosen = sub;
    }
    if (*chosen != NULL && (*chosen)->run == run_freeze &&
        (in->reason == NULL || in->reason[strspn(in->reason, " ")] == '\0'))
        return usage_error("freeze needs a reason for those who are refused, such as ",
                           "freeze --config FILE \"incident 7, call 555\"");
    if (*chosen != NULL && (*chosen)->run == run_explain)
        return check_explain(in);
    return in->explains ? usage_error("--caller, --address, --uid, --gid, --certificate, "
                                      "--expect and -H go with explain",
                                      "")
                        : 0;
}

/* Returns 0 with the command, or EXIT_USAGE. */
static int read_arguments(int argc, char **argv, struct invocation *in,
                          const struct command **command)
{
    struct option options[OPTIONS_MAX];
    const struct command *chosen = NULL;
    int option;

    option_table(options);
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): there is one thread yet */
    while ((option = getopt_long(argc, argv, "hVH:", options, NULL)) != -1) {
        const struct command *named = command_of(option);
        bool explained = in->explains;
        int code = read_explain_option(in, option, optarg);

        in->explains |= explained;
        if (code > 0)
            return code;
        if (code == 0)
            continue;
        if (option == OPTION_CONFIG && in->file != NULL)
            return usage_error("--config is there twice", "");
        if (option == OPTION_CONFIG)
            in->file = optarg;
        else if (option == OPTION_UNIT)
            in->unit_name = optarg != NULL ? optarg : default_unit;
        else if (named == NULL)
            return EXIT_USAGE; /* getopt_long has printed why */
        else if (only_tells(named)) {
            *command = named;
            return 0;
        } else if (chosen != NULL)
            return usage_error("more than one command: --", named->name);
        else
            chosen = named;
    }
    int code = read_words(argc - optind, argv + optind, in, &chosen);

    *command = chosen != NULL ? chosen : &serve;
    if (code != 0 || only_tells(*command) || in->unit_name == NULL)
        return code;
    if (in->file != NULL)
        return usage_error("--unit takes the place of --config", "");
    if (!(*command)->takes_unit)
        return usage_error(
            "--unit goes with doctor, healthcheck, explain, --check and --print-config", "");
    return 0;
}

/* Uses the settings and the environment of the unit instead of ours. */
static int use_unit(struct invocation *in)
{
    struct buf error;

    buf_init(&error, MESSAGES_MAX);
    int err = unit_read(in->unit_name, &in->unit, &error);

    if (err != 0)
        (void)fputs(buf_text(&error), stderr);
    buf_done(&error);
    if (err != 0)
        return EXIT_FAILURE;
    in->file = in->unit.config;
    config_env_free(in->env);
    /* Our variables are removed from the array; the unit still owns the strings. */
    char *environment[UNIT_VARIABLES_MAX + 1];

    memcpy(environment, in->unit.variable, sizeof environment);
    in->env = config_env_take(environment);
    (void)clearenv(); /* NOLINT(concurrency-mt-unsafe): no threads yet */
    for (char **v = environment; *v != NULL; v++)
        (void)putenv(*v); /* NOLINT(concurrency-mt-unsafe) */
    /* from these variables, too */
    secret_protect_process();
    return 0;
}

static int run(const struct command *command, struct invocation *in)
{
    int code = EXIT_FAILURE;

    config_report_init(&in->report);
    if (command->needs_config)
        in->config = config_load(in->file, in->env, &in->report);
    if (in->config != NULL)
        resources_check(in->config, resources_workers(in->config), &in->report);
    if (command->needs_config && in->config == NULL)
        print_report(&in->report);
    else
        code = command->run(in);
    config_unref(in->config);
    config_report_done(&in->report);
    return code;
}

/* Whether the argument is an option whose value is the next argument. */
static bool takes_next(const char *argument)
{
    bool takes = strcmp(argument, "--config") == 0 || strcmp(argument, "-H") == 0;

    for (size_t i = 0; i < ARRAY_LEN(explain_options) && !takes; i++)
        takes = strncmp(argument, "--", 2) == 0 &&
                strcmp(argument + 2, explain_options[i].name) == 0;
    return takes;
}

/* The index of the first argument that is neither an option nor an option's value. */
static int first_word(int argc, char **argv)
{
    int i = 1;

    while (i < argc && argv[i][0] == '-')
        i += takes_next(argv[i]) ? 2 : 1;
    return i;
}

/* `ledger` has arguments and options of its own. */
static bool is_ledger(int argc, char **argv)
{
    int i = first_word(argc, argv);

    return i < argc && strcmp(argv[i], "ledger") == 0;
}

int main(int argc, char **argv)
{
    struct invocation in = { .explain = { .uid = -1, .gid = -1 } };
    const struct command *command = NULL;

    secret_protect_process();
    library_alloc_init();
    in.env = config_env_take(environ);

    if (is_ledger(argc, argv)) {
        int code = ledger_command(argc, argv, in.env);

        config_env_free(in.env);
        return code;
    }
    int code = read_arguments(argc, argv, &in, &command);
    if (code == 0 && in.unit_name != NULL && command->takes_unit)
        code = use_unit(&in);
    if (code == 0)
        code = run(command, &in);
    config_env_free(in.env);
    if (in.unit.variables > 0)
        (void)clearenv(); /* NOLINT(concurrency-mt-unsafe): it points into the unit's text */
    unit_done(&in.unit);
    return code;
}

/* The command line: what is to be done, and with which settings.
 *
 *     arguments -> one of `commands` -> settings -> its run() -> exit code
 *
 * Exit codes: 0 fine, 1 configuration or runtime failure, 2 wrong command line. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "admin/prometheus.h"
#include "base/log.h"
#include "base/secret.h"
#include "cli/doctor.h"
#include "cli/healthcheck.h"
#include "config/config.h"
#include "config/docs.h"
#include "server/server.h"

enum { EXIT_USAGE = 2 };

#define MESSAGES_MAX (1 << 20)

struct invocation {
    const char *file;
    struct config_env *env;
    struct config *config; /* only where the command needs settings */
    struct config_report report;
};

struct command {
    const char *name;
    bool is_option; /* --name, else a sub-command */
    bool needs_config;
    int (*run)(struct invocation *in);
};

/* Ends with what stdout made of it: a full disk or a closed pipe must not look like success. */
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

/* What is wrong or doubtful about the settings, to stderr. */
static void tell(const struct config_report *report)
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

    tell(&in->report);
    buf_init(&out, MESSAGES_MAX);
    return print_done(config_print(in->config, &out), &out);
}

static int run_check(struct invocation *in)
{
    tell(&in->report);
    if (printf("%s: ok\n", in->file != NULL ? in->file : "configuration") < 0)
        return EXIT_FAILURE;
    return print("");
}

static int run_metrics(struct invocation *in)
{
    (void)in;
    return print_generated(prometheus_print_markdown);
}

static int run_healthcheck(struct invocation *in)
{
    struct buf line;
    bool ready = false;

    buf_init(&line, MESSAGES_MAX);
    auto_free char *address = config_admin_address(in->file, in->env, &in->report);

    if (address == NULL)
        tell(&in->report);
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
        "usage: oneshot-proxy [COMMAND] [--config FILE]\n"
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
        "  --check            say what is wrong with the settings, or \"ok\"\n"
        "  --print-config     the settings in force, as an ini file, secrets hidden\n"
        "  --print-reference  every setting with its default and what it does, as an ini file\n"
        "  --print-markdown   the same as a Markdown table\n"
        "  --print-man        the same as a man page\n"
        "  --print-metrics    every metric of /metrics, as a Markdown table\n"
        "  --version, --help\n"
        "\n"
        "Exit codes: 0 fine, 1 configuration or runtime failure, 2 wrong command line.\n");
}

/* Warnings become log lines, since that is what stderr holds from now on. */
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

static const struct command serve = { "", false, true, run_serve };

static const struct command commands[] = {
    { "check", true, true, run_check },
    { "print-config", true, true, run_print_config },
    { "print-reference", true, false, run_reference },
    { "print-markdown", true, false, run_markdown },
    { "print-man", true, false, run_man },
    { "print-metrics", true, false, run_metrics },
    { "doctor", false, false, run_doctor },
    { "healthcheck", false, false, run_healthcheck },
    { "version", true, false, run_version },
    { "help", true, false, run_help },
};

static int usage_error(const char *what, const char *which)
{
    (void)fprintf(stderr, "oneshot-proxy: %s%s; see oneshot-proxy --help\n", what, which);
    return EXIT_USAGE;
}

/* The value getopt_long gives for --config; the commands are 1000 and up. */
enum { OPTION_CONFIG = 'c', OPTION_COMMAND = 1000 };

static void option_table(struct option options[ARRAY_LEN(commands) + 2])
{
    size_t n = 0;

    options[n++] = (struct option){ "config", required_argument, NULL, OPTION_CONFIG };
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (commands[i].is_option)
            options[n++] =
                (struct option){ commands[i].name, no_argument, NULL, OPTION_COMMAND + (int)i };
    }
    options[n] = (struct option){ NULL, 0, NULL, 0 };
}

static const struct command *sub_command(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (!commands[i].is_option && strcmp(commands[i].name, name) == 0)
            return &commands[i];
    }
    return NULL;
}

/* Returns 0 with the command, or EXIT_USAGE. */
static int read_arguments(int argc, char **argv, struct invocation *in,
                          const struct command **command)
{
    struct option options[ARRAY_LEN(commands) + 2];
    const struct command *chosen = NULL;
    int option;

    option_table(options);
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): there is one thread yet */
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == OPTION_CONFIG && in->file != NULL)
            return usage_error("--config is there twice", "");
        if (option == OPTION_CONFIG) {
            in->file = optarg;
            continue;
        }
        if (option < OPTION_COMMAND)
            return EXIT_USAGE; /* getopt_long has said why */
        if (chosen != NULL)
            return usage_error("more than one command: --",
                               commands[option - OPTION_COMMAND].name);
        chosen = &commands[option - OPTION_COMMAND];
    }
    for (int i = optind; i < argc; i++) {
        const struct command *sub = sub_command(argv[i]);

        if (sub == NULL)
            return usage_error("unknown argument ", argv[i]);
        if (chosen != NULL)
            return usage_error("more than one command: ", argv[i]);
        chosen = sub;
    }
    *command = chosen != NULL ? chosen : &serve;
    return 0;
}

static int run(const struct command *command, struct invocation *in)
{
    int code = EXIT_FAILURE;

    config_report_init(&in->report);
    if (command->needs_config)
        in->config = config_load(in->file, in->env, &in->report);
    if (command->needs_config && in->config == NULL)
        tell(&in->report);
    else
        code = command->run(in);
    config_unref(in->config);
    config_report_done(&in->report);
    return code;
}

int main(int argc, char **argv)
{
    struct invocation in = { .file = NULL };
    const struct command *command = NULL;

    secret_protect_process();
    in.env = config_env_take(environ);

    int code = read_arguments(argc, argv, &in, &command);
    if (code == 0)
        code = run(command, &in);
    config_env_free(in.env);
    return code;
}

/* Reads what stands behind `oneshot-proxy ledger`, and does it.
 *
 *   init                                makes the store
 *   list, show, resolve, check          open the store
 *
 * Exit codes: 0 done, 1 not done, 2 wrong command line. */
#include "cli/ledger.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "config/config.h"
#include "ledger/stores.h"

enum { EXIT_USAGE = 2 };

#define MESSAGES_MAX (1 << 20)

/* What was asked for. */
struct invocation {
    const char *file; /* --config */
    struct config *config;
    char **word; /* behind the verb */
    int words;
};

struct verb {
    const char *name;
    int words_min, words_max;
    int (*run)(struct invocation *in);
};

static int usage_error(const char *what, const char *which)
{
    (void)fprintf(stderr, "oneshot-proxy ledger: %s%s; see oneshot-proxy ledger --help\n", what,
                  which);
    return EXIT_USAGE;
}

static int not_done(struct buf *error)
{
    (void)fprintf(stderr, "oneshot-proxy ledger: %s\n", buf_text(error));
    buf_done(error);
    return EXIT_FAILURE;
}

static struct store_options options_of(const struct config *c)
{
    return (struct store_options){ .url = c->ledger.store,
                                   .ca_file = c->ledger.store_ca_file,
                                   .password_file = c->ledger.store_password_file,
                                   .instance = "command",
                                   .timeout_ms = c->ledger.store_timeout_ms,
                                   .by_command = true };
}

static int run_init(struct invocation *in)
{
    const struct store_options o = options_of(in->config);
    struct buf error;

    buf_init(&error, MESSAGES_MAX);
    if (store_type_of(o.url)->init(&o, &error) != STORE_OK)
        return not_done(&error);
    buf_done(&error);
    return printf("%s: made, and empty\n", o.url) < 0 || fflush(stdout) != 0 ? EXIT_FAILURE
                                                                             : EXIT_SUCCESS;
}

static const struct verb verbs[] = {
    { "init", 0, 0, run_init },
};

static const struct verb *verb_of(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
        if (strcmp(verbs[i].name, name) == 0)
            return &verbs[i];
    return NULL;
}

static void tell(void *arg, bool is_error, const char *line)
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
        config_report_each(&report, tell, NULL);
    else
        code = verb->run(in);
    config_unref(in->config);
    config_report_done(&report);
    return code;
}

int ledger_command(int argc, char **argv, const struct config_env *env)
{
    static const struct option options[] = { { "config", required_argument, NULL, 'c' },
                                             { NULL, 0, NULL, 0 } };
    struct invocation in = { .file = NULL };
    int option;

    optind = 0;
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): there is one thread */
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
        if (option == 'c')
            in.file = optarg;
        else
            return EXIT_USAGE;
    optind++; /* the word "ledger" */
    const struct verb *verb = optind < argc ? verb_of(argv[optind]) : NULL;

    if (verb == NULL)
        return usage_error(optind < argc ? "unknown command " : "what is to be done?",
                           optind < argc ? argv[optind] : "");
    in.word = argv + optind + 1;
    in.words = argc - optind - 1;
    if (in.words < verb->words_min || in.words > verb->words_max)
        return usage_error("wrong number of words behind ", verb->name);
    return run_with_settings(verb, &in, env);
}

/* oneshot-origin: a stand-in for the 1Shot API, for tests and for demonstration.
 * It checks credentials and tokens as the real one does, and answers with made-up data. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server.h"

enum { EXIT_USAGE = 2, LIFETIME_MAX_S = 366 * 86400 };

static const char help[] =
    "Usage: oneshot-origin --client-id ID --client-secret SECRET [options]\n"
    "A stand-in for the 1Shot API: https://HOST:PORT/v0\n"
    "\n"
    "  --listen HOST:PORT          where to listen (127.0.0.1:0: any free port)\n"
    "  --tls-cert FILE             PEM certificate; without it plain HTTP is spoken\n"
    "  --tls-key FILE              its PEM key\n"
    "  --client-id ID              the credentials that get a token\n"
    "  --client-secret SECRET\n"
    "  --forbidden-client-id ID    one that is refused with 403\n"
    "  --token-lifetime SECONDS    3600\n"
    "  --token-fail STATUS         answer every token request with this status\n"
    "  --admin HOST:PORT           plain HTTP: GET / counts token fetches, requests,\n"
    "                              executions; POST /revoke makes all tokens invalid\n"
    "  --log                       one line per request on stderr\n"
    "  --help\n"
    "\n"
    "It prints 'oneshot-origin admin URL', then, ready, 'oneshot-origin ready URL'.\n"
    "SIGTERM ends it.\n";

struct options {
    struct server_settings server;
    const char *certificate_file, *key_file;
};

static bool number_in(const char *text, long low, long high, long *value)
{
    char *end;

    errno = 0;
    *value = strtol(text, &end, 10);
    return !errno && end != text && !*end && *value >= low && *value <= high;
}

/* Returns -1 to go on, else the exit code. */
static int take_option(struct options *options, int option, const char *value)
{
    struct token_settings *token = &options->server.token;
    long number;

    switch (option) {
    case 'l':
        options->server.listen = value;
        return -1;
    case 'c':
        options->certificate_file = value;
        return -1;
    case 'k':
        options->key_file = value;
        return -1;
    case 'i':
        token->client_id = value;
        return -1;
    case 's':
        token->client_secret = value;
        return -1;
    case 'f':
        token->forbidden_id = value;
        return -1;
    case 'a':
        options->server.admin = value;
        return -1;
    case 'v':
        options->server.log = true;
        return -1;
    case 't':
        if (!number_in(value, 0, LIFETIME_MAX_S, &number))
            break;
        token->lifetime_s = number;
        return -1;
    case 'x':
        if (!number_in(value, 400, 599, &number))
            break;
        token->fail_status = (unsigned)number;
        return -1;
    case 'h':
        fputs(help, stdout);
        return EXIT_SUCCESS;
    default:
        return EXIT_USAGE; /* getopt has said why */
    }
    fprintf(stderr, "oneshot-origin: '%s' is not a number that fits here\n", value);
    return EXIT_USAGE;
}

static int parse_options(int argc, char **argv, struct options *options)
{
    static const struct option known[] = {
        { "listen", required_argument, NULL, 'l' },
        { "tls-cert", required_argument, NULL, 'c' },
        { "tls-key", required_argument, NULL, 'k' },
        { "client-id", required_argument, NULL, 'i' },
        { "client-secret", required_argument, NULL, 's' },
        { "forbidden-client-id", required_argument, NULL, 'f' },
        { "token-lifetime", required_argument, NULL, 't' },
        { "token-fail", required_argument, NULL, 'x' },
        { "admin", required_argument, NULL, 'a' },
        { "log", no_argument, NULL, 'v' },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    int option;

    // NOLINTNEXTLINE(concurrency-mt-unsafe): no other thread is there yet
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        int code = take_option(options, option, optarg);

        if (code >= 0)
            return code;
    }
    if (optind < argc) {
        fprintf(stderr, "oneshot-origin: unexpected argument '%s'\n", argv[optind]);
        return EXIT_USAGE;
    }
    if (!options->server.token.client_id || !options->server.token.client_secret) {
        fprintf(stderr, "oneshot-origin: --client-id and --client-secret are required\n");
        return EXIT_USAGE;
    }
    if (!options->certificate_file != !options->key_file) {
        fprintf(stderr, "oneshot-origin: --tls-cert and --tls-key go together\n");
        return EXIT_USAGE;
    }
    return -1;
}

/* Returns the file's text, or NULL after a line on stderr. */
static char *read_file(const char *path)
{
    enum { FILE_MAX_BYTES = 256 << 10 };
    FILE *file = fopen(path, "re");
    char *text = calloc(1, FILE_MAX_BYTES + 1);

    if (!text)
        abort();
    if (file && fread(text, 1, FILE_MAX_BYTES, file) > 0 && !ferror(file)) {
        fclose(file);
        return text;
    }
    fprintf(stderr, "oneshot-origin: cannot read %s: %s\n", path,
            file ? "it is empty" : "no such file, or no permission");
    if (file)
        fclose(file);
    free(text);
    return NULL;
}

static int serve(const struct server_settings *settings)
{
    struct server *server;
    sigset_t ending;
    int signal_number;

    /* Blocked before the threads start, so that only sigwait() sees them. */
    sigemptyset(&ending);
    sigaddset(&ending, SIGTERM);
    sigaddset(&ending, SIGINT);
    pthread_sigmask(SIG_BLOCK, &ending, NULL);
    signal(SIGPIPE, SIG_IGN);

    server = server_start(settings);
    if (!server)
        return EXIT_FAILURE;
    if (settings->admin)
        printf("oneshot-origin admin http://%s/\n", server_admin_address(server));
    printf("oneshot-origin ready %s://%s/v0\n", settings->certificate ? "https" : "http",
           server_address(server));
    fflush(stdout);
    sigwait(&ending, &signal_number);
    server_stop(server);
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    struct options options = {
        .server = { .listen = "127.0.0.1:0", .token = { .lifetime_s = 3600 } },
    };
    char *certificate = NULL, *key = NULL;
    int code = parse_options(argc, argv, &options);

    if (code >= 0)
        return code;
    if (options.certificate_file) {
        certificate = read_file(options.certificate_file);
        key = read_file(options.key_file);
        options.server.certificate = certificate;
        options.server.key = key;
    }
    if (options.certificate_file && !(certificate && key))
        code = EXIT_FAILURE;
    else
        code = serve(&options.server);
    free(certificate);
    free(key);
    return code;
}

/* libmicrohttpd around the API: collects a request's body, asks who may, answers.
 * The API has one thread, so its state needs no lock; the admin listener has another and
 * touches nothing but the counters and the token epoch, which are atomic. */
#include "server.h"

#include <microhttpd.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "api.h"
#include "listener.h"

#define BASE_PATH "/v0"

enum { BODY_MAX_BYTES = 4 << 20, IDLE_TIMEOUT_S = 120, CONNECTIONS_MAX = 4096 };

struct server {
    struct MHD_Daemon *api, *admin;
    char address[LISTENER_ADDRESS_SIZE], admin_address[LISTENER_ADDRESS_SIZE];
    bool log;
    struct store *store;
    struct token_issuer *issuer;
    atomic_ullong token_fetches; /* requests to the token endpoint, whatever the answer */
    atomic_ullong requests;      /* all others */
    atomic_ullong unauthorized;  /* those of them without a valid token */
    atomic_ullong executions;    /* accepted calls that move money */
};

struct exchange {
    char *body;
    size_t length;
    bool too_large;
};

static enum MHD_Result send_reply(struct MHD_Connection *connection, struct reply reply)
{
    const char *text = NULL;
    struct MHD_Response *response;
    enum MHD_Result result;

    if (reply.json)
        text = json_object_to_json_string_ext(reply.json, JSON_C_TO_STRING_PLAIN |
                                                              JSON_C_TO_STRING_NOSLASHESCAPE);
    response = MHD_create_response_from_buffer(text ? strlen(text) : 0, (void *)text,
                                               MHD_RESPMEM_MUST_COPY);
    json_object_put(reply.json);
    if (!response)
        return MHD_NO;
    if (text)
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE,
                                "application/json; charset=utf-8");
    result = MHD_queue_response(connection, reply.status, response);
    MHD_destroy_response(response);
    return result;
}

static const char *query_get(void *connection, const char *name)
{
    return MHD_lookup_connection_value(connection, MHD_GET_ARGUMENT_KIND, name);
}

static const char *header_get(struct MHD_Connection *connection, const char *name)
{
    return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
}

static enum MHD_Result count_authorization(void *count, enum MHD_ValueKind kind,
                                           const char *name, const char *value)
{
    (void)kind;
    (void)value;
    *(unsigned *)count += strcasecmp(name, MHD_HTTP_HEADER_AUTHORIZATION) == 0;
    return MHD_YES;
}

static bool has_one_authorization(struct MHD_Connection *connection)
{
    unsigned count = 0;

    MHD_get_connection_values(connection, MHD_HEADER_KIND, count_authorization, &count);
    return count == 1;
}

/* Returns an object, empty where no body was sent; NULL when it is no JSON object. */
static struct json_object *parse_body(const struct exchange *exchange)
{
    struct json_tokener *tokener;
    struct json_object *json;

    if (exchange->length == 0)
        return json_object_new_object();
    tokener = json_tokener_new();
    if (!tokener)
        abort();
#if JSON_C_VERSION_NUM < (18 << 8) /* a strict 0.18 refuses all characters outside ASCII */
    json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
#else
    json_tokener_set_flags(tokener, JSON_TOKENER_VALIDATE_UTF8);
#endif
    json = json_tokener_parse_ex(tokener, exchange->body, (int)exchange->length);
    if (json_tokener_get_error(tokener) != json_tokener_success ||
        !json_object_is_type(json, json_type_object)) {
        json_object_put(json);
        json = NULL;
    }
    json_tokener_free(tokener);
    return json;
}

static struct reply answer_token(struct server *server, struct MHD_Connection *connection,
                                 const struct exchange *exchange)
{
    const char *form = exchange->body ? exchange->body : "";

    atomic_fetch_add(&server->token_fetches, 1);
    if (strlen(form) != exchange->length)
        return reply_invalid("The body has a NUL in it");
    return token_request(server->issuer, header_get(connection, MHD_HTTP_HEADER_CONTENT_TYPE),
                         header_get(connection, MHD_HTTP_HEADER_AUTHORIZATION), form);
}

static struct reply answer_api(struct server *server, struct MHD_Connection *connection,
                               const char *method, const char *path,
                               const struct exchange *exchange)
{
    struct call call = { .store = server->store, .query = query_get, .query_ctx = connection };
    struct reply reply;
    bool executed;

    atomic_fetch_add(&server->requests, 1);
    if (!has_one_authorization(connection) ||
        !token_accepts(server->issuer, header_get(connection, MHD_HTTP_HEADER_AUTHORIZATION))) {
        atomic_fetch_add(&server->unauthorized, 1);
        return reply_status(401);
    }
    if (strncmp(path, BASE_PATH "/", sizeof(BASE_PATH)) != 0)
        return reply_not_found("Endpoint");
    call.body = parse_body(exchange);
    if (!call.body)
        return reply_invalid("The body is not a JSON object");
    reply = api_handle(&call, method, path + sizeof(BASE_PATH) - 1, &executed);
    json_object_put(call.body);
    if (executed)
        atomic_fetch_add(&server->executions, 1);
    return reply;
}

/* Bytes that could forge a log line are shown as '?'. */
static void log_request(const char *method, const char *path, unsigned status)
{
    char shown[512];
    size_t i = 0;

    for (; path[i] && i < sizeof(shown) - 1; i++)
        shown[i] = (char)(path[i] > ' ' && path[i] < 0x7f ? path[i] : '?');
    shown[i] = '\0';
    fprintf(stderr, "%.16s %s %u\n", method, shown, status);
}

static void collect(struct exchange *exchange, const char *data, size_t length)
{
    char *grown;

    if (exchange->too_large || exchange->length + length > BODY_MAX_BYTES) {
        exchange->too_large = true;
        return;
    }
    grown = realloc(exchange->body, exchange->length + length + 1);
    if (!grown)
        abort();
    memcpy(grown + exchange->length, data, length);
    exchange->body = grown;
    exchange->length += length;
    exchange->body[exchange->length] = '\0';
}

/* Called first with the head alone, then with pieces of the body, last with none. Answering
 * only in the last call keeps the connection open for the next request. */
// NOLINTNEXTLINE(readability-function-size): the signature is the library's
static enum MHD_Result on_api(void *arg, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *data,
                              size_t *length, void **state)
{
    struct server *server = arg;
    struct exchange *exchange = *state;
    struct reply reply;

    (void)version;
    if (!exchange) {
        *state = calloc(1, sizeof(*exchange));
        return *state ? MHD_YES : MHD_NO;
    }
    if (*length) {
        collect(exchange, data, *length);
        *length = 0;
        return MHD_YES;
    }
    if (exchange->too_large)
        reply = reply_status(413);
    else if (strcmp(url, BASE_PATH "/token") == 0 && strcmp(method, "POST") == 0)
        reply = answer_token(server, connection, exchange);
    else
        reply = answer_api(server, connection, method, url, exchange);
    if (server->log)
        log_request(method, url, reply.status);
    return send_reply(connection, reply);
}

static void on_completed(void *arg, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode code)
{
    struct exchange *exchange = *state;

    (void)arg;
    (void)connection;
    (void)code;
    if (exchange)
        free(exchange->body);
    free(exchange);
    *state = NULL;
}

static void add_count(struct json_object *json, const char *name, const atomic_ullong *count)
{
    json_object_object_add(json, name, json_object_new_uint64(atomic_load(count)));
}

/* GET / tells the counters; POST /revoke makes all tokens invalid. */
// NOLINTNEXTLINE(readability-function-size)
static enum MHD_Result on_admin(void *arg, struct MHD_Connection *connection, const char *url,
                                const char *method, const char *version, const char *data,
                                size_t *length, void **state)
{
    struct server *server = arg;
    struct json_object *json;

    (void)version;
    (void)data;
    if (!*state) {
        *state = server; /* only to tell the first call from the next */
        return MHD_YES;
    }
    if (*length) {
        *length = 0;
        return MHD_YES;
    }
    if (strcmp(method, "POST") == 0 && strcmp(url, "/revoke") == 0)
        token_revoke_all(server->issuer);
    else if (strcmp(method, "GET") != 0 || strcmp(url, "/") != 0)
        return send_reply(connection, reply_not_found("Endpoint"));
    json = json_object_new_object();
    add_count(json, "token_fetches", &server->token_fetches);
    add_count(json, "requests", &server->requests);
    add_count(json, "unauthorized", &server->unauthorized);
    add_count(json, "executions", &server->executions);
    return send_reply(connection, reply_ok(json));
}

static struct MHD_Daemon *start_api(struct server *server, int fd,
                                    const struct server_settings *settings)
{
    unsigned flags = MHD_USE_AUTO | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_ERROR_LOG;
    struct MHD_OptionItem options[] = {
        { MHD_OPTION_LISTEN_SOCKET, fd, NULL },
        { MHD_OPTION_CONNECTION_TIMEOUT, IDLE_TIMEOUT_S, NULL },
        { MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX, NULL },
        { MHD_OPTION_CONNECTION_MEMORY_LIMIT, 64 << 10, NULL },
        { MHD_OPTION_END, 0, NULL }, /* with TLS these three are the key, */
        { MHD_OPTION_END, 0, NULL }, /* the certificate, */
        { MHD_OPTION_END, 0, NULL }, /* and the end */
    };

    if (settings->certificate) {
        flags |= MHD_USE_TLS;
        options[4] =
            (struct MHD_OptionItem){ MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)settings->key };
        options[5] = (struct MHD_OptionItem){ MHD_OPTION_HTTPS_MEM_CERT, 0,
                                              (void *)settings->certificate };
    }
    return MHD_start_daemon(flags, 0, NULL, NULL, on_api, server, MHD_OPTION_NOTIFY_COMPLETED,
                            on_completed, NULL, MHD_OPTION_ARRAY, options, MHD_OPTION_END);
}

static bool listen_all(struct server *server, const struct server_settings *settings)
{
    int fd = listener_open(settings->listen, server->address);

    if (fd < 0)
        return false;
    server->api = start_api(server, fd, settings);
    if (!server->api) {
        fprintf(stderr,
                "oneshot-origin: cannot start the server; are key and certificate right?\n");
        close(fd);
        return false;
    }
    if (!settings->admin)
        return true;
    fd = listener_open(settings->admin, server->admin_address);
    if (fd < 0)
        return false;
    server->admin =
        MHD_start_daemon(MHD_USE_AUTO | MHD_USE_INTERNAL_POLLING_THREAD, 0, NULL, NULL,
                         on_admin, server, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_END);
    if (!server->admin) {
        fprintf(stderr, "oneshot-origin: cannot start the admin listener\n");
        close(fd);
    }
    return server->admin != NULL;
}

struct server *server_start(const struct server_settings *settings)
{
    struct server *server = calloc(1, sizeof(*server));

    if (!server)
        abort();
    server->log = settings->log;
    server->store = store_new(settings->token.client_id);
    server->issuer = token_issuer_new(&settings->token);
    if (listen_all(server, settings))
        return server;
    server_stop(server);
    return NULL;
}

void server_stop(struct server *server)
{
    if (!server)
        return;
    if (server->admin)
        MHD_stop_daemon(server->admin);
    if (server->api)
        MHD_stop_daemon(server->api);
    token_issuer_free(server->issuer);
    store_free(server->store);
    free(server);
}

const char *server_address(const struct server *server)
{
    return server->address;
}

const char *server_admin_address(const struct server *server)
{
    return server->admin_address;
}

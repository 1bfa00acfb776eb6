#pragma once
/* libmicrohttpd's callbacks: a connection, the head of a request, its body, its end. */
#include "downstream/conn.h"
#include "net/mhd_host.h"

/* The argument of all of them: the struct downstream. */
void handler_on_connection(void *arg, struct MHD_Connection *c, void **socket_context,
                           enum MHD_ConnectionNotificationCode code);
void *handler_on_target(void *arg, const char *target, struct MHD_Connection *c);
enum MHD_Result handler_on_request(void *arg, struct MHD_Connection *c, const char *url,
                                   const char *method, const char *version, const char *data,
                                   size_t *data_size, void **req);
void handler_on_completed(void *arg, struct MHD_Connection *c, void **req,
                          enum MHD_RequestTerminationCode code);

/* A head does not fit libmicrohttpd's memory, and it is about to answer by itself: first
 * refuses requests that are beyond the limits. */
void handler_on_own_answer(void *arg, unsigned status);

/* What connections call. */
extern const struct conn_user handler_conn_user;

#pragma once
/* libmicrohttpd's callbacks for a request: its head, its body, its end. */
#include "net/mhd_host.h"

struct conn;

enum MHD_Result handler_on_request(void *arg, struct MHD_Connection *c, const char *url,
                                   const char *method, const char *version, const char *data,
                                   size_t *data_size, void **req);
void *handler_on_target(void *arg, const char *target, struct MHD_Connection *c);
void handler_on_completed(void *arg, struct MHD_Connection *c, void **req,
                          enum MHD_RequestTerminationCode code);

/* The connection ends and its request was never said to be over: libmicrohttpd 1.0 forgets that
 * where it answers a broken body itself. */
void handler_on_lost(struct conn *c);

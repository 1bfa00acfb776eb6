#pragma once
/* The curl command by which an operator on this machine reaches the proxy that runs with
 * these settings, as its callers do: the proxy adds the token, so the operator needs none. */
#include "base/buf.h"
#include "config/config.h"

/* Appends the command up to the path, `curl -sS "http://127.0.0.1:8080`; add a path and the
 * closing quote. By the first TCP address, or a unix socket if there is none; with a Host
 * that the proxy accepts. "PORT" stands for a port that is not in the settings. Uses
 * [listen] only, which may be unchecked. */
void curl_command_begin(struct buf *out, const struct config *c);

/* Whether the proxy asks something of its callers that the command lacks: a certificate, a
 * secret, a field. Its own certificate may need an authority, too. */
bool curl_command_needs_more(const struct config *c);

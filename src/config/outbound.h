#pragma once
/* How the program makes its own connections with these settings. */
#include "config/settings.h"
#include "net/curl_host.h"
#include "net/leg_error.h"

/* The variables from which libcurl takes a proxy, in its order, and for which URLs. */
struct config_proxy_variable {
    const char *name;
    bool for_https, for_http;
};
#define CONFIG_PROXY_VARIABLES 5
extern const struct config_proxy_variable config_proxy_variables[CONFIG_PROXY_VARIABLES];

/* The name of the variable from which libcurl takes the proxy for an https or http URL, and
 * its value, which may contain credentials. NULL: none is set. NO_PROXY is not looked at. */
const char *config_proxy_variable(bool https, const char **value);
/* Whether NO_PROXY names hosts that are connected to without a proxy. */
bool config_has_proxy_exceptions(void);

/* For curl_host_setup; it points into c. */
struct curl_host_settings config_outbound(const struct config *c, enum leg leg);

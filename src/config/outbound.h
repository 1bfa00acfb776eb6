#pragma once
/* How the program's own connections are made by these settings. */
#include "config/settings.h"
#include "net/curl_host.h"

/* The two sides that are connected to. */
enum config_leg { LEG_UPSTREAM, LEG_TOKEN };

/* The variables that libcurl takes a proxy from, in its order, and for which URLs. */
struct config_proxy_variable {
    const char *name;
    bool for_https, for_http;
};
#define CONFIG_PROXY_VARIABLES 5
extern const struct config_proxy_variable config_proxy_variables[CONFIG_PROXY_VARIABLES];

/* For curl_host_setup; it points into c. */
struct curl_host_settings config_outbound(const struct config *c, enum config_leg leg);

#pragma once
/* How the program's own connections are made by these settings. */
#include "config/settings.h"
#include "net/curl_host.h"

/* The two sides that are connected to. */
enum config_leg { LEG_UPSTREAM, LEG_TOKEN };

/* For curl_host_setup; it points into c. */
struct curl_host_settings config_outbound(const struct config *c, enum config_leg leg);

#pragma once
/* An exchange that is libcurl's, since HTTP/2 may be spoken. See upstream/exchange.h. */
#include "upstream/exchange.h"

extern const struct exchange_client curl_client;

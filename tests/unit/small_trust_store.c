/* Linked into the tests of the configuration in place of libcurl's function: makes a file with one
 * authority the system's trust store. Each load of a configuration reads the whole store, and the
 * real one has some 150 authorities. The test of config/certificates reads the real one. */
#include <curl/curl.h>

#include "certs.h"

curl_version_info_data *curl_version_info(CURLversion age)
{
    static curl_version_info_data about;

    about = (curl_version_info_data){ .age = age, .cainfo = certs_ca_file() };
    return &about;
}

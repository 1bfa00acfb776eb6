/* trust_store.so: preloaded into the program, makes the file that TRUST_STORE names the
 * system's trust store: the one that libcurl says it was built with. */
#include <curl/curl.h>
#include <dlfcn.h>
#include <stdlib.h>

curl_version_info_data *curl_version_info(CURLversion age)
{
    static curl_version_info_data about;
    curl_version_info_data *(*real)(CURLversion) =
        (__typeof__(real))dlsym(RTLD_NEXT, "curl_version_info");

    about = *real(age);
    about.cainfo = getenv("TRUST_STORE");
    return &about;
}

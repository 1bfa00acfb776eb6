/* names.so: preloaded into the program if a test needs a name that can be resolved.
 * "localhost" is then 127.0.0.1, whatever /etc/hosts says and even without that file;
 * "gateway.test" is 127.0.0.5. */
#include <dlfcn.h>
#include <netdb.h>
#include <string.h>

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name) */
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **found)
{
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **) =
        (__typeof__(real))dlsym(RTLD_NEXT, "getaddrinfo");

    if (node != NULL && strcmp(node, "localhost") == 0)
        node = "127.0.0.1";
    if (node != NULL && strcmp(node, "gateway.test") == 0)
        node = "127.0.0.5";
    return real(node, service, hints, found);
}

/* names.so: preloaded into the program where a test needs a name that the system can resolve.
 * "localhost" is 127.0.0.1 then, whatever /etc/hosts says, and in a system that has no such file;
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

#pragma once
/* Requests by three callers, and what happens to each: one table for all tests of rights.
 *
 *     r  allow = read, simulate
 *     p  allow = read, POST /methods/U/execute
 *     o  allow = read, simulate, create, change, sign, money
 *        deny = POST /wallets/{uuid}/transfer */
#include <stdio.h>

#define U "6f1c0de0-aaaa-4bbb-8ccc-dddddddddddd"
#define U_UPPER "6F1C0DE0-AAAA-4BBB-8CCC-DDDDDDDDDDDD"
#define V "7f1c0de0-aaaa-4bbb-8ccc-dddddddddddd"

struct corpus_row {
    /* class NULL: refused before, or answered by the proxy */
    const char *method, *target, *class;
    const char *sent;  /* '+' or '-' for r, p and o; or a status for all */
    const char *field; /* a header field; NULL: none */
};

static const struct corpus_row corpus[] = {
    { "GET", "/chains", "read", "+++", NULL },
    { "GET", "/v0/chains?page=2", "read", "+++", NULL },
    { "GET", "//chains", "read", "+++", NULL },
    { "GET", "http://localhost/v0/chains", "read", "+++", NULL },
    { "HEAD", "/transactions/" U, "read", "+++", NULL },
    { "OPTIONS", "/methods/" U "/execute", "read", "+++", NULL },
    { "GET", "/wallets/" U "/signature/erc3009?amount=1", "sign", "--+", NULL },
    { "HEAD", "/wallets/" U "/signature/permit2", "sign", "--+", NULL },
    { "POST", "/methods/" U "/read", "simulate", "+-+", NULL },
    { "POST", "/methods/" U "/read?x=/methods/" U "/execute", "simulate", "+-+", NULL },
    { "POST", "/methods/" U "/execute", "money", "-++", NULL },
    { "POST", "/methods/" U_UPPER "/execute", "money", "-++", NULL },
    { "POST", "/methods/" V "/execute", "money", "--+", NULL },
    { "POST", "/methods/executeBatch", "money", "--+", NULL },
    { "PUT", "/wallets/" U "/authorizePermit2", "money", "--+", NULL },
    { "PUT", "/webhooks/endpoints/" U "/rotate", "create", "--+", NULL },
    { "PUT", "/methods/" U, "change", "--+", NULL },
    { "POST", "/methods/" U "/execute/", "unknown", "---", NULL },
    { "POST", "/methods//" U "/execute", "unknown", "---", NULL },
    { "POST", "/methods/" U "/Execute", "unknown", "---", NULL },
    { "POST", "/methods/" U "/%65xecute", "unknown", "---", NULL },
    { "POST", "/methods/" U "/execute;v=1", "unknown", "---", NULL },
    { "POST", "/methods;a/" U "/execute", "unknown", "---", NULL },
    { "POST", "/methods/" U ":execute", "unknown", "---", NULL },
    { "POST", "/methods/" U "/read", "unknown", "---", "X-HTTP-Method-Override: PUT" },
    { "POST", "/chains", "unknown", "---", "X_HTTP_Method: GET" },
    { "GET", "/methods/" U "?%5fmethod=DELETE", "unknown", "---", NULL },
    { "OPTIONS", "/methods/" U "/execute?_method[0]=POST", "unknown", "---", NULL },
    { "OPTIONS", "/x402/settle?%5B_method%5D=POST", "unknown", "---", NULL },
    { "GET", "/chains", "unknown", "---", "X-Original-URL: /x402/settle" },
    { "POST", "/methods/" U "/read", "unknown", "---",
      "Content-Type: application/x-www-form-urlencoded" },
    { "post", "/methods/" U "/execute", "unknown", "---", NULL },
    { "GET", "/methods/" U "/execute", "unknown", "---", NULL },
    { "PATCH", "/methods/" U, "unknown", "---", NULL },
    { "POST", "/methods/EXECUTEBATCH", "unknown", "---", NULL },
    { "POST", "/wallets/" U "/transfer", "money", "---", NULL },
    { "POST", "/wallets/" U "/transfer/", "unknown", "---", NULL },
    { "POST", "/v0/v0/wallets/" U "/transfer", "unknown", "---", NULL },
    { "POST", "/v0x/wallets/" U "/transfer", "unknown", "---", NULL },
    { "POST", "/wallets/" U "/transfer%20", "unknown", "---", NULL },
    { "POST", "/token", NULL, "200", NULL },
    { "POST", "/v0/token", NULL, "200", NULL },
    { "POST", "/token?x=1", NULL, "200", NULL },
    { "POST", "/token/", "unknown", "---", NULL },
    { "POST", "/v0//token", "unknown", "---", NULL },
    { "GET", "/token", "unknown", "---", NULL },
    { "GET", "/chains/0x14a34/fees", "unknown", "---", NULL },
    { "GET", "/%63hains", "unknown", "---", NULL },
    { "POST", "/methods/" U "%2Fexecute", NULL, "400", NULL },
    { "POST", "/methods/" V "/../" U "/execute", NULL, "400", NULL },
    { "POST", "/methods/" U "/execute%00", NULL, "400", NULL },
    { "POST", "/methods\\" U "\\execute", NULL, "400", NULL },
    { "TRACE", "/chains", NULL, "405", NULL },
    { "CONNECT", "x:443", NULL, "405", NULL },
};
#define CORPUS_ROWS (sizeof corpus / sizeof *corpus)

static const char *const corpus_callers[] = { "r", "p", "o" };

#define CORPUS_RIGHTS_R "allow = read, simulate\n"
#define CORPUS_RIGHTS_P "allow = read, POST /methods/" U "/execute\n"
#define CORPUS_RIGHTS_O                                     \
    "allow = read, simulate, create, change, sign, money\n" \
    "deny = POST /wallets/{uuid}/transfer\n"

/* The three as sections of the settings, each identified by its own socket in `dir`. */
static inline void corpus_sections(char *out, size_t size, const char *dir)
{
    (void)snprintf(out, size,
                   "[caller r]\naddress = unix:%s/r\n" CORPUS_RIGHTS_R
                   "[caller p]\naddress = unix:%s/p\n" CORPUS_RIGHTS_P
                   "[caller o]\naddress = unix:%s/o\n" CORPUS_RIGHTS_O,
                   dir, dir, dir);
}

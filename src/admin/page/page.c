/* The frame of the status page: head, style, script, and the sections between them.
 *
 *   header    name, version, time of this copy
 *   main      freeze, health, refused reload, facts, token, traffic, ledger, failures, totals,
 *             callers, classes, certificates, settings
 *             (the script fetches the page again and replaces this part)
 *   footer    the other paths of the admin listener
 *
 * page.css and page.js are beside this file; the build turns them into page_assets.h. */
#include "admin/page/page.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "admin/page/failures.h"
#include "admin/page/ledger.h"
#include "admin/page/rights.h"
#include "admin/page/sections.h"
#include "page_assets.h"

/* The hash for the policy: base64 of the SHA-256 of the text between the tags. */
static void hash(const char *text, unsigned char out[45])
{
    unsigned char digest[32];

    if (EVP_Digest(text, strlen(text), digest, NULL, EVP_sha256(), NULL) != 1)
        abort();
    (void)EVP_EncodeBlock(out, digest, sizeof digest);
}

const char *page_policy(void)
{
    static char policy[400];
    unsigned char style[45], script[45];

    if (policy[0] != '\0')
        return policy;
    hash(page_style, style);
    hash(page_script, script);
    (void)snprintf(policy, sizeof policy,
                   "default-src 'none'; style-src 'sha256-%s'; script-src 'sha256-%s'; "
                   "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
                   "frame-ancestors 'none'",
                   (const char *)style, (const char *)script);
    return policy;
}

/* The colour of the dot in the browser tab shows the health. */
static const char *icon_colour(enum health_level level)
{
    return level == HEALTH_GOOD ? "1a9f5b" : level == HEALTH_WARN ? "d39a1e" : "d8392f";
}

static void head(struct html *o, const struct content *c)
{
    html_put(o, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                "<meta name=\"referrer\" content=\"no-referrer\">\n"
                "<noscript><meta http-equiv=\"refresh\" content=\"15\"></noscript>\n<title>");
    html_text(o, c->health->headline);
    html_put(o, " &middot; oneshot-proxy</title>\n");
    html_putf(
        o,
        "<link rel=\"icon\" href=\"data:image/svg+xml,%%3Csvg xmlns='http://www.w3.org/2000/"
        "svg' viewBox='0 0 16 16'%%3E%%3Ccircle cx='8' cy='8' r='7' fill='%%23%s'/%%3E%%3C/"
        "svg%%3E\">\n<style>",
        icon_colour(c->health->level));
    html_put(o, page_style);
    html_put(o, "</style>\n</head>\n");
}

static void header(struct html *o, const struct content *c)
{
    html_put(o, "<body>\n<header><h1>oneshot-proxy <span class=\"soft\">");
    html_text(o, c->status->version);
    html_put(o, "</span></h1><p class=\"soft small\">as of ");
    html_time(o, c->status->now_wall_s, 0);
    html_put(o, " UTC; <span id=\"how\">renewed every 15 s</span> &middot; "
                "<a href=\"\">load again</a></p></header>\n"
                "<p id=\"spoken\" class=\"hidden\" role=\"status\"></p>\n"
                "<p id=\"stale\" role=\"alert\" hidden></p>\n");
}

int page_render(const struct content *c, struct buf *out)
{
    struct html o = { .buf = out };

    head(&o, c);
    header(&o, c);
    html_put(&o, "<main>\n");
    rights_freeze(&o, c->status);
    sections_health(&o, c);
    sections_reload(&o, c);
    sections_facts(&o, c);
    sections_token(&o, c);
    sections_traffic(&o, c);
    ledger_section(&o, c->status);
    failures_list(&o, c);
    failures_totals(&o, c);
    rights_callers(&o, c->status);
    rights_classes(&o, c->status);
    sections_certificates(&o, c);
    sections_settings(&o, c);
    html_put(&o, "</main>\n<footer><span>For machines: <a href=\"healthz\">/healthz</a>, "
                 "<a href=\"readyz\">/readyz</a>, <a href=\"metrics\">/metrics</a></span>"
                 "<span>Times are UTC.</span></footer>\n");
    html_put(&o, "<script>");
    html_put(&o, page_script);
    html_put(&o, "</script>\n</body>\n</html>\n");
    return o.err;
}

/* The frame of the status page: head, style, script, and the sections between them.
 *
 *   header    what this is, and of when
 *   main      verdict, facts, token, traffic, failures, totals, settings: what the script
 * renews footer    the other paths of the admin listener
 *
 * The style and the script are files of their own beside this one; the build turns them into
 * page_assets.h. */
#include "admin/page/page.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "admin/page/sections.h"
#include "page_assets.h"

/* As a policy names it: the base64 of the SHA-256 of the text between the tags. */
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

/* A dot in the tab, in the colour of the verdict. */
static const char *icon_colour(enum health_level level)
{
    return level == HEALTH_GOOD ? "1a9f5b" : level == HEALTH_WARN ? "d39a1e" : "d8392f";
}

static void head(struct page_out *o, const struct page *p)
{
    page_put(o, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                "<meta name=\"referrer\" content=\"no-referrer\">\n"
                "<noscript><meta http-equiv=\"refresh\" content=\"15\"></noscript>\n<title>");
    page_text(o, p->verdict->headline);
    page_put(o, " &middot; oneshot-proxy</title>\n");
    page_putf(
        o,
        "<link rel=\"icon\" href=\"data:image/svg+xml,%%3Csvg xmlns='http://www.w3.org/2000/"
        "svg' viewBox='0 0 16 16'%%3E%%3Ccircle cx='8' cy='8' r='7' fill='%%23%s'/%%3E%%3C/"
        "svg%%3E\">\n<style>",
        icon_colour(p->verdict->level));
    page_put(o, page_style);
    page_put(o, "</style>\n</head>\n");
}

static void header(struct page_out *o, const struct page *p)
{
    page_put(o, "<body>\n<header><h1>oneshot-proxy <span class=\"soft\">");
    page_text(o, p->status->version);
    page_put(o, "</span></h1><p class=\"soft small\">as of ");
    page_time(o, p->status->now_wall_s, 0);
    page_put(o, " UTC; <span id=\"how\">renewed every 15 s</span> &middot; "
                "<a href=\"\">load again</a></p></header>\n"
                "<p id=\"spoken\" class=\"hidden\" role=\"status\"></p>\n"
                "<p id=\"stale\" role=\"alert\" hidden></p>\n");
}

int page_render(const struct page *p, struct buf *out)
{
    struct page_out o = { .buf = out };

    head(&o, p);
    header(&o, p);
    page_put(&o, "<main>\n");
    page_part_verdict(&o, p);
    page_part_facts(&o, p);
    page_part_token(&o, p);
    page_part_traffic(&o, p);
    page_part_failures(&o, p);
    page_part_totals(&o, p);
    page_part_config(&o, p);
    page_put(&o, "</main>\n<footer><span>For machines: <a href=\"healthz\">/healthz</a>, "
                 "<a href=\"readyz\">/readyz</a>, <a href=\"metrics\">/metrics</a></span>"
                 "<span>Times are UTC.</span></footer>\n");
    page_put(&o, "<script>");
    page_put(&o, page_script);
    page_put(&o, "</script>\n</body>\n</html>\n");
    return o.err;
}

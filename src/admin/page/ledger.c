/* The line about the ledger. */
#include "admin/page/ledger.h"

#include "config/command_line.h"
#include "ledger/claim_result.h"

static void state(struct html *o, const struct status *s)
{
    const struct ledger_status *l = &s->ledger;

    html_text(o, l->kind);
    if (l->up) {
        html_put(o, ", up, claims ");
        html_latency(o, (double)l->claim_us);
        return;
    }
    html_put(o, ", <strong>down</strong> for ");
    html_span(o, s->now_ms - l->down_ms);
    html_put(o, ": ");
    html_text(o, l->why != NULL ? l->why : "nothing is known");
    html_put(o, "; what would be recorded is refused");
}

/* The command that lists what is unknown. */
static void list_command(struct html *o, const struct config *c)
{
    struct buf option;

    buf_init(&option, 4096);
    command_line_add_config(&option, c->file);
    html_put(o, " (<code>oneshot-proxy ledger list --state unknown");
    html_text(o, buf_text(&option));
    html_put(o, "</code>)");
    buf_done(&option);
}

/* Entries that somebody should look at. */
static void open_entries(struct html *o, const struct status *s)
{
    const struct ledger_status *l = &s->ledger;

    if (l->outcomes_waiting > 0) {
        html_put(o, "; ");
        html_count(o, l->outcomes_waiting, "oneshot_proxy_ledger_outcomes_waiting");
        html_put(o, " outcomes wait to be written");
    }
    if (l->unknown == 0)
        return;
    html_put(o, "; <strong>");
    html_count(o, l->unknown, NULL);
    html_put(o, l->unknown == 1 ? " outcome unknown</strong> for "
                                : " outcomes unknown</strong>, the oldest for ");
    html_span(o, (s->now_wall_s - l->unknown_oldest_ms / 1000) * 1000);
    list_command(o, s->config);
}

void ledger_section(struct html *o, const struct status *s)
{
    const struct ledger_status *l = &s->ledger;

    if (!l->on)
        return;
    html_putf(o,
              "<section id=\"ledger\" class=\"%s\" aria-labelledby=\"ledger-h\">"
              "<h2 id=\"ledger-h\">Ledger</h2><p>",
              !l->up           ? "bad"
              : l->unknown > 0 ? "warn"
                               : "good");
    state(o, s);
    html_put(o, "; since the start ");
    html_count(o, s->sum.ledger[CLAIM_RESULT_CLAIMED], NULL);
    html_put(o, " claimed, ");
    html_count(o, s->sum.ledger[CLAIM_RESULT_REPLAYED], NULL);
    html_put(o, " replayed");
    open_entries(o, s);
    html_put(o, ".</p></section>\n");
}

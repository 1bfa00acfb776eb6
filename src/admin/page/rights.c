/* The section about request classes: what the requests could do, and how they ended. */
#include "admin/page/rights.h"

#include <stdio.h>

#include "rights/classes.h"

/* Answers of this class in which the status begins with that digit (0: none). */
static uint64_t class_answers(const struct metrics_sum *sum, int class, size_t status_class)
{
    uint64_t n = 0;

    for (size_t stage = 0; stage <= STAGE_COUNT; stage++)
        n += sum->class_results[class][status_class][stage];
    return n;
}

static void number(struct html *o, uint64_t n, const char *metric)
{
    html_putf(o, "<td class=\"number%s\">", n == 0 ? " zero" : "");
    html_count(o, n, metric);
    html_put(o, "</td>");
}

static void class_row(struct html *o, const struct metrics_sum *sum, int class)
{
    const char *name = class_name((enum request_class) class);
    char metric[96];

    html_putf(o, "<tr><th scope=\"row\">%s</th>", name);
    for (size_t status_class = 2; status_class <= 6; status_class++)
        number(o, class_answers(sum, class, status_class % 6), NULL);
    (void)snprintf(metric, sizeof metric, "oneshot_proxy_outcome_unknown_total{class=\"%s\"}",
                   name);
    number(o, sum->outcome_unknown[class], metric);
    html_put(o, "</tr>\n");
}

void rights_classes(struct html *o, const struct status *s)
{
    if (s->config->rules == NULL)
        return;
    html_put(o, "<section id=\"classes\" aria-labelledby=\"classes-h\"><h2 id=\"classes-h\">"
                "By what they can do</h2><div class=\"scroll\" role=\"region\" tabindex=\"0\" "
                "id=\"by-class\" aria-labelledby=\"classes-h\"><table><thead><tr>"
                "<th scope=\"col\">class</th>"
                "<th scope=\"col\" class=\"number\">2xx</th>"
                "<th scope=\"col\" class=\"number\">3xx</th>"
                "<th scope=\"col\" class=\"number\">4xx</th>"
                "<th scope=\"col\" class=\"number\">5xx</th>"
                "<th scope=\"col\" class=\"number\">none</th>"
                "<th scope=\"col\" class=\"number\">outcome unknown</th>"
                "</tr></thead><tbody>\n");
    for (int class = 0; class < CLASS_COUNT; class ++)
        class_row(o, &s->sum, class);
    html_put(o, "</tbody></table></div></section>\n");
}

void rights_freeze(struct html *o, const struct status *s)
{
    if (s->freeze == NULL || !s->freeze->is_frozen)
        return;
    html_put(o, "<section id=\"frozen\" class=\"bad\" aria-labelledby=\"frozen-h\">"
                "<h2 id=\"frozen-h\">Frozen</h2><p>");
    html_text(o, s->freeze->reason);
    html_put(o, "</p><p>Refused since ");
    html_time(o, s->freeze->since_s, s->now_wall_s);
    html_put(o, " UTC (");
    html_ago(o, (s->now_wall_s - s->freeze->since_s) * 1000);
    html_put(o, "), until <code>");
    html_text(o, s->freeze->file);
    html_put(o, "</code> is gone: ");
    for (size_t i = 0; i < s->config->freeze.classes.count; i++) {
        html_put(o, i == 0 ? "" : ", ");
        html_text(o, s->config->freeze.classes.item[i]);
    }
    html_put(o, ", and what is in no class.</p></section>\n");
}

static uint64_t decided(struct caller_counts *counts, enum rules_outcome what)
{
    uint64_t n = 0;

    for (int class = 0; class < CLASS_COUNT; class ++)
        n += atomic_load_explicit(&counts->requests[class][what], memory_order_relaxed);
    return n;
}

static void caller_row(struct html *o, const char *name, struct caller_counts *counts)
{
    html_put(o, "<tr><th scope=\"row\">");
    html_text(o, name);
    html_put(o, "</th>");
    for (int class = 0; class < CLASS_COUNT; class ++)
        number(o,
               atomic_load_explicit(&counts->requests[class][DECISION_ALLOWED],
                                    memory_order_relaxed),
               NULL);
    number(o, decided(counts, DECISION_DENIED), NULL);
    number(o, decided(counts, DECISION_FROZEN), NULL);
    html_put(o, "</tr>\n");
}

void rights_callers(struct html *o, const struct status *s)
{
    const struct rules *rules = s->config->rules;

    if (rules == NULL || !rules->has_callers)
        return;
    html_put(o, "<section id=\"callers\" aria-labelledby=\"callers-h\"><h2 id=\"callers-h\">"
                "By caller</h2><div class=\"scroll\" role=\"region\" tabindex=\"0\" "
                "id=\"by-caller\" aria-labelledby=\"callers-h\"><table><thead><tr>"
                "<th scope=\"col\">caller</th>");
    for (int class = 0; class < CLASS_COUNT; class ++)
        html_putf(o, "<th scope=\"col\" class=\"number\">%s</th>",
                  class_name((enum request_class) class));
    html_put(o, "<th scope=\"col\" class=\"number\">refused</th>"
                "<th scope=\"col\" class=\"number\">frozen</th></tr></thead><tbody>\n");
    for (size_t i = 0; i < rules->callers.count; i++)
        caller_row(o, rules->callers.caller[i].name, rules->callers.caller[i].counts);
    caller_row(o, "(nobody recognised)", rules->nobody);
    html_put(o, "</tbody></table></div></section>\n");
}

/* The sections about callers and request classes: what requests could do, and how they
 * ended. */
#include "admin/page/rights.h"

#include <stdio.h>
#include <string.h>

#include "rights/classes.h"

/* Number of answers in this class whose status begins with that digit (0: no answer). */
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
    html_put(o, s->freeze->in_doubt ? "</code> can be looked at and is not there: "
                                    : "</code> is gone: ");
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

static uint64_t would_be_refused(struct caller_counts *counts)
{
    return decided(counts, DECISION_WOULD_DENY) + decided(counts, DECISION_WOULD_LIMIT);
}

#define NOBODY "(nobody recognised)"

/* Calls back for each caller, and at the end for unknown callers (NULL). */
static void each_caller(struct html *o, const struct status *s,
                        void (*write)(struct html *o, const struct status *s,
                                      const struct caller *c))
{
    const struct rules *rules = s->config->rules;

    for (size_t i = 0; i < rules->callers.count; i++)
        write(o, s, &rules->callers.caller[i]);
    write(o, s, NULL);
}

static void head_of_row(struct html *o, const struct caller *c)
{
    html_put(o, "<tr><th scope=\"row\">");
    html_text(o, c == NULL ? NOBODY : c->name);
    html_put(o, "</th>");
}

static void counts_row(struct html *o, const struct status *s, const struct caller *c)
{
    struct caller_counts *counts = c == NULL ? s->config->rules->nobody : c->counts;

    head_of_row(o, c);
    for (int class = 0; class < CLASS_COUNT; class ++)
        number(o,
               atomic_load_explicit(&counts->requests[class][DECISION_ALLOWED],
                                    memory_order_relaxed),
               NULL);
    number(o, decided(counts, DECISION_DENIED), NULL);
    number(o, decided(counts, DECISION_LIMITED), NULL);
    number(o, decided(counts, DECISION_FROZEN), NULL);
    number(o, would_be_refused(counts), NULL);
    number(o, (uint64_t)atomic_load_explicit(&counts->in_flight, memory_order_relaxed), NULL);
    html_put(o, "</tr>\n");
}

/* The operation: its pattern, or its class if it has none. */
static void put_operation(struct html *o, const struct rules *rules,
                          const struct rules_refusal *f)
{
    const struct class_pattern *p = classes_pattern(&rules->classes, f->operation);

    html_put(o, "<td>");
    if (p != NULL) {
        html_put(o, "<code>");
        html_textn(o, p->pattern.text, p->pattern.text_len);
        html_putf(o, "</code> (%s)", class_name(f->class));
    } else if (f->class == CLASS_UNKNOWN) {
        html_put(o, "no operation that is known");
    } else {
        html_putf(o, "%s", class_name(f->class));
    }
    html_put(o, "</td>");
}

/* Why it was refused, and what to change if it should be allowed. */
static void put_remedy(struct html *o, const struct rules *rules, const struct caller *c,
                       const struct rules_refusal *f)
{
    const struct class_pattern *p = classes_pattern(&rules->classes, f->operation);

    html_put(o, "<td>");
    if (f->outcome == DECISION_LIMITED || f->outcome == DECISION_WOULD_LIMIT) {
        html_put(o, "a limit of its section is reached");
    } else if (c == NULL) {
        html_text(o, caller_unknown_name(f->why));
    } else if (f->by_deny) {
        html_put(o, "an entry of <code>deny</code> matches");
    } else if (p == NULL && f->class == CLASS_UNKNOWN) {
        html_put(o, "if the API has it, add its pattern to <code>[classes]</code> and to "
                    "<code>allow</code>");
    } else {
        html_put(o, "to permit it, add <code>");
        if (p != NULL)
            html_textn(o, p->pattern.text, p->pattern.text_len);
        else
            html_put(o, class_name(f->class));
        html_putf(o, "</code> to <code>allow</code> in <code>[caller %s]</code>", c->name);
    }
    html_put(o, "</td>");
}

static void refusal_row(struct html *o, const struct status *s, const struct caller *c)
{
    const struct rules *rules = s->config->rules;
    const struct rules_refusal f = rules_last_refusal(rules, c);

    if (f.at_s == 0)
        return;
    head_of_row(o, c);
    html_when(o, (s->now_wall_s - f.at_s) * 1000, f.at_s, s->now_wall_s);
    put_operation(o, rules, &f);
    put_remedy(o, rules, c, &f);
    html_put(o, "</tr>\n");
}

static bool anything_refused(const struct rules *rules)
{
    bool any = rules_last_refusal(rules, NULL).at_s != 0;

    for (size_t i = 0; i < rules->callers.count; i++)
        any |= rules_last_refusal(rules, &rules->callers.caller[i]).at_s != 0;
    return any;
}

/* One entry of the list. */
static void put_entry(struct html *o, const char *text, size_t len, size_t *entries)
{
    html_put(o, (*entries)++ == 0 ? " " : ", ");
    html_textn(o, text, len);
}

/* The setting that would allow exactly what the caller has done. */
static void observed_row(struct html *o, const struct status *s, const struct caller *c)
{
    const struct rules *rules = s->config->rules;
    const struct class_pattern *p;
    size_t entries = 0;

    if (!rules_observes(rules, c))
        return;
    head_of_row(o, c);
    number(o, would_be_refused(c == NULL ? rules->nobody : c->counts), NULL);
    html_put(o, "<td><code>allow =");
    for (size_t i = 0; (p = classes_pattern(&rules->classes, i)) != NULL; i++)
        if (rules_has_seen(rules, c, i))
            put_entry(o, p->pattern.text, p->pattern.text_len, &entries);
    for (int class = 0; class < CLASS_UNKNOWN; class ++)
        if (rules_has_seen_class(rules, c, (enum request_class) class))
            put_entry(o, class_name((enum request_class) class),
                      strlen(class_name((enum request_class) class)), &entries);
    html_put(o, "</code>");
    if (rules_has_seen_class(rules, c, CLASS_UNKNOWN))
        html_put(o, " and requests that are no operation that is known");
    html_put(o, "</td></tr>\n");
}

/* Begins a table in the callers' section. */
static void open_table(struct html *o, const char *id, const char *title)
{
    html_putf(o,
              "<h3 id=\"%s-h\">%s</h3><div class=\"scroll\" role=\"region\" tabindex=\"0\" "
              "id=\"%s\" aria-labelledby=\"%s-h\"><table><thead><tr>"
              "<th scope=\"col\">caller</th>",
              id, title, id, id);
}

static void close_table(struct html *o)
{
    html_put(o, "</tbody></table></div>\n");
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
                "<th scope=\"col\" class=\"number\">limited</th>"
                "<th scope=\"col\" class=\"number\">frozen</th>"
                "<th scope=\"col\" class=\"number\">would be refused</th>"
                "<th scope=\"col\" class=\"number\">in flight</th></tr></thead><tbody>\n");
    each_caller(o, s, counts_row);
    close_table(o);
    if (anything_refused(rules)) {
        open_table(o, "refused-last", "Refused last");
        html_put(o, "<th scope=\"col\">when</th>"
                    "<th scope=\"col\">what</th><th scope=\"col\">why</th>"
                    "</tr></thead><tbody>\n");
        each_caller(o, s, refusal_row);
        close_table(o);
    }
    if (rules_observing(rules) > 0) {
        open_table(o, "observed", "Only observed: nothing is refused to them");
        html_put(o, "<th scope=\"col\" class=\"number\">would be refused</th>"
                    "<th scope=\"col\">a line that lets it do what it did</th>"
                    "</tr></thead><tbody>\n");
        each_caller(o, s, observed_row);
        close_table(o);
    }
    html_put(o, "</section>\n");
}

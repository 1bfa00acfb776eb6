/* The limits of callers; see limits.h. */
#include "rights/limits.h"

#include <string.h>

#include "base/clock.h"
#include "base/limit.h"

#define SECOND_US 1000000

bool limits_enter(const struct caller *c, struct limits_refusal *why)
{
    if (limit_take(&c->counts->in_flight, c->max_in_flight > 0 ? c->max_in_flight : INT64_MAX))
        return true;
    *why =
        (struct limits_refusal){ .name = "in-flight", .quota = c->max_in_flight, .again_s = 1 };
    return false;
}

void limits_leave(const struct caller *c)
{
    limit_give(&c->counts->in_flight);
}

bool limits_charge(const struct caller *c, enum request_class class, struct limits_refusal *why)
{
    enum request_class bucket = class == CLASS_UNKNOWN ? CLASS_MONEY : class;
    const struct rate *rate = &c->rate[bucket];

    if (rate->n == 0)
        return true;

    int64_t now_us = clock_us();

    if (rate_take(&c->counts->rate[bucket], rate, now_us))
        return true;

    struct rate_level level = rate_look(&c->counts->rate[bucket], rate, now_us);

    *why = (struct limits_refusal){
        .name = class_name(bucket),
        .quota = rate->n,
        .window_s = rate->duration_us / SECOND_US,
        .again_s = base_max(1, (level.again_us + SECOND_US - 1) / SECOND_US),
    };
    return false;
}

void limits_take_over(const struct rules *now, const struct rules *was)
{
    int64_t now_us = clock_us();

    if (now == NULL || was == NULL)
        return;
    for (size_t i = 0; i < now->callers.count; i++)
        for (size_t j = 0; j < was->callers.count; j++) {
            const struct caller *mine = &now->callers.caller[i], *old = &was->callers.caller[j];

            for (int class = 0; class < CLASS_UNKNOWN && mine->counts == old->counts; class ++)
                rate_change(&mine->counts->rate[class], &old->rate[class], &mine->rate[class],
                            now_us);
        }
}

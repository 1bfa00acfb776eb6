/* Turns failures into the answer that a caller gets. */
#include "http/problem.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <time.h>

#include "http/header.h"

/* Adds what a refusal was about, in addition to the members of every problem. */
static int add_about(struct json_object *o, const struct failure_about *about)
{
    if (about->class == NULL)
        return 0;
    if (about->caller[0] != '\0' &&
        json_object_object_add(o, "caller", json_object_new_string(about->caller)) != 0)
        return -1;
    return json_object_object_add(o, "class", json_object_new_string(about->class)) |
           json_object_object_add(o, "operation", json_object_new_string(about->operation));
}

/* Adds the ledger's entry that is the reason. */
static int add_entry(struct json_object *o, const struct failure_entry *entry)
{
    char seen[32];
    struct tm utc;
    time_t at = (time_t)entry->first_seen_s;

    if (entry->id[0] == '\0')
        return 0;
    struct json_object *e = json_object_new_object();
    int err = json_object_object_add(o, "ledger", e);

    if (err != 0) {
        json_object_put(e);
        return err;
    }
    if (gmtime_r(&at, &utc) == NULL ||
        strftime(seen, sizeof seen, "%Y-%m-%dT%H:%M:%SZ", &utc) == 0)
        seen[0] = '\0';
    return json_object_object_add(e, "id", json_object_new_string(entry->id)) |
           json_object_object_add(e, "state", json_object_new_string(entry->state)) |
           json_object_object_add(e, "first_seen", json_object_new_string(seen)) |
           json_object_object_add(
               e, "status", entry->status == 0 ? NULL : json_object_new_int(entry->status));
}

/* "payroll-money" */
static void limit_name(const struct failure_about *about, char *out, size_t size)
{
    (void)snprintf(out, size, "%s-%s", about->caller, about->limit.name);
}

/* Adds "violated-policies" (draft-ietf-httpapi-ratelimit-headers). */
static int add_limit(struct json_object *o, const struct failure_about *about)
{
    char name[64];

    if (about->limit.name == NULL)
        return 0;
    struct json_object *names = json_object_new_array();

    limit_name(about, name, sizeof name);
    return json_object_array_add(names, json_object_new_string(name)) |
           json_object_object_add(o, "violated-policies", names);
}

int problem_body(const struct failure *f, const char *trace_id, struct buf *out)
{
    const struct failure_info *info = failure_info(f->kind);
    struct json_object *o = json_object_new_object();
    char type[64];
    int err = 0;

    if (o == NULL) /* json-c would abort the program when memory runs out later */
        return -ENOMEM;
    (void)snprintf(type, sizeof type, "urn:oneshot-proxy:%s", info->slug);
    const struct {
        const char *key;
        struct json_object *value;
    } members[] = {
        { "type", json_object_new_string(type) },
        { "title", json_object_new_string(info->title) },
        { "status", json_object_new_int(failure_status(f)) },
        { "detail", json_object_new_string(f->detail[0] != '\0' ? f->detail : info->title) },
        { "stage", json_object_new_string(failure_stage_name(info->stage)) },
        { "message", json_object_new_string(f->detail[0] != '\0' ? f->detail : info->title) },
        { "retryable", json_object_new_boolean(failure_retryable(f)) },
        { "data", NULL },
    };

    for (size_t i = 0; i < ARRAY_LEN(members); i++)
        err |= json_object_object_add(o, members[i].key, members[i].value);
    err |= add_about(o, &f->about);
    err |= add_entry(o, &f->entry);
    err |= add_limit(o, &f->about);
    if (err == 0 && trace_id != NULL)
        err = json_object_object_add(o, "trace_id", json_object_new_string(trace_id));
    if (err == 0)
        err = buf_add_str(out, json_object_to_json_string_ext(
                                   o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
    json_object_put(o);
    return err == 0 ? 0 : -ENOMEM;
}

int problem_proxy_status(const struct failure *f, int received_status, struct buf *out)
{
    if (f == NULL)
        return buf_addf(out, HEADER_PSEUDONYM "; received-status=%d", received_status);
    int err = buf_addf(out, HEADER_PSEUDONYM "; error=%s",
                       f->error != NULL ? f->error : failure_info(f->kind)->error);

    if (err == 0 && f->about.class != NULL)
        err = buf_addf(out, "; details=\"%s\"", failure_info(f->kind)->title);
    if (err == 0 && f->received_status != 0)
        err = buf_addf(out, "; received-status=%d", f->received_status);
    return err;
}

int problem_limit_policy(const struct failure *f, struct buf *out)
{
    const struct failure_limit *limit = &f->about.limit;
    char name[64];

    limit_name(&f->about, name, sizeof name);
    if (limit->window_s == 0)
        return buf_addf(out, "\"%s\";q=%lld;qu=\"concurrent-requests\"", name,
                        (long long)limit->quota);
    return buf_addf(out, "\"%s\";q=%lld;w=%lld", name, (long long)limit->quota,
                    (long long)limit->window_s);
}

int problem_limit_state(const struct failure *f, struct buf *out)
{
    char name[64];

    limit_name(&f->about, name, sizeof name);
    if (f->about.limit.window_s == 0)
        return buf_addf(out, "\"%s\";r=0", name);
    return buf_addf(out, "\"%s\";r=0;t=%d", name, f->retry_after_s);
}

/* Checks a request's head as strictly as RFC 9110 and 9112 demand, which the libraries do not.
 *
 * What libmicrohttpd leaves in its receive buffer, and what is checked in it (| is one NUL):
 *
 *     GET|/v0/chains|HTTP/1.1||Host|  localhost||Accept|text||||
 *        1          1        2     1+          2       1     2 2   <- allowed gaps
 *
 * A line feed without carriage return leaves a gap of 1 byte where 2 are expected. A second
 * space, or a NUL inside a string, makes a gap longer. A folded field is stored at a place
 * outside this order.
 */
#include "http/request_check.h"

#include <string.h>

#include "base/ascii.h"
#include "http/host.h"

static struct request_check_result refuse(enum failure_kind kind, const char *why)
{
    return (struct request_check_result){ .kind = kind, .why = why };
}

static const struct request_check_result fine = { .kind = FAIL_NONE };

/* Addresses as numbers: a folded field is in another object, and subtracting pointers into
 * different objects is undefined. */
static uintptr_t address(const char *p)
{
    return (uintptr_t)p;
}

static bool accounted(const struct request_check_head *head, size_t target_len)
{
    const char *target = head->target_in_place != NULL ? head->target_in_place : head->target;
    uintptr_t end = address(head->method) + head->head_bytes;
    uintptr_t at = address(head->method) + strlen(head->method) + 1;

    if (address(target) != at)
        return false;
    at += target_len + 1;
    if (address(head->version) != at)
        return false;
    at += strlen(head->version) + 2;
    for (size_t i = 0; i < head->count; i++) {
        const struct header_field *f = &head->fields[i];
        uintptr_t value = address(f->value);

        if (address(f->name) != at || value <= at + f->name_len || value >= end)
            return false;
        at = value + f->value_len + 2;
    }
    return at + 2 == end;
}

struct request_check_result request_check_limits(const struct request_check_head *head)
{
    size_t target_len = strlen(head->target);

    if (target_len > head->max_target_bytes)
        return refuse(FAIL_TARGET_TOO_LONG,
                      "the request target is longer than listen.max_target_size");
    if (head->head_bytes > head->max_head_bytes && target_len > head->max_head_bytes / 2)
        return refuse(FAIL_TARGET_TOO_LONG, "the target does not fit listen.max_header_size");
    if (head->head_bytes > head->max_head_bytes)
        return refuse(FAIL_HEAD_TOO_LARGE, "the head is larger than listen.max_header_size");
    if (head->count > head->max_fields)
        return refuse(FAIL_HEAD_TOO_LARGE, "there are more fields than listen.max_headers");
    return fine;
}

static struct request_check_result check_version(const char *v)
{
    if (strcmp(v, "HTTP/1.1") == 0 || strcmp(v, "HTTP/1.0") == 0)
        return fine;
    if (strlen(v) == 8 && strncmp(v, "HTTP/", 5) == 0 && ascii_is_digit(v[5]) && v[6] == '.' &&
        ascii_is_digit(v[7]))
        return refuse(FAIL_VERSION_UNKNOWN, "only HTTP/1.0 and HTTP/1.1 are spoken here");
    return refuse(FAIL_BAD_REQUEST, "the request line has no HTTP version");
}

static struct request_check_result check_request_line(const struct request_check_head *head,
                                                      size_t target_len)
{
    size_t method_len = strlen(head->method);

    if (method_len > REQUEST_METHOD_MAX || !ascii_is_token(head->method, method_len))
        return refuse(FAIL_BAD_REQUEST, "the method is not a token of at most 32 bytes");
    if (target_len == 0)
        return refuse(FAIL_BAD_REQUEST, "the request target is empty");
    for (size_t i = 0; i < target_len; i++)
        if (!ascii_is_visible(head->target[i]))
            return refuse(FAIL_BAD_TARGET,
                          "the request target holds a byte that is not visible ASCII");
    return check_version(head->version);
}

/* What the fields say about the message as a whole, collected in one pass. */
struct framing {
    const struct header_field *length, *coding, *host;
    size_t lengths, codings, hosts;
    bool expectation_unknown;
};

static void note_field(struct framing *seen, const struct header_field *f)
{
    const char *value = f->value;
    size_t len = f->value_len;

    if (header_is(f, "host")) {
        seen->host = f;
        seen->hosts++;
    } else if (header_is(f, "content-length")) {
        seen->length = f;
        seen->lengths++;
    } else if (header_is(f, "transfer-encoding")) {
        seen->coding = f;
        seen->codings++;
    } else if (header_is(f, "expect")) {
        ascii_trim(&value, &len);
        if (!ascii_equal_str(value, len, "100-continue"))
            seen->expectation_unknown = true;
    }
}

static struct request_check_result check_host(const struct framing *seen)
{
    if (seen->hosts == 0)
        return refuse(FAIL_BAD_REQUEST, "there is no Host field");
    if (seen->hosts > 1)
        return refuse(FAIL_BAD_REQUEST, "there is more than one Host field");

    const char *host = seen->host->value;
    size_t len = seen->host->value_len;
    ascii_trim(&host, &len);
    if (!host_split(host, len, NULL))
        return refuse(FAIL_BAD_REQUEST, "the Host field is not a host and a port");
    return fine;
}

static struct request_check_result check_coding(const struct framing *seen, const char *version)
{
    const struct header_field *coding = seen->coding;

    if (seen->lengths > 0)
        return refuse(FAIL_BAD_REQUEST,
                      "there are both a Content-Length and a Transfer-Encoding");
    if (strcmp(version, "HTTP/1.0") == 0)
        return refuse(FAIL_BAD_REQUEST, "HTTP/1.0 has no Transfer-Encoding");
    if (seen->codings > 1)
        return refuse(FAIL_BAD_REQUEST, "there is more than one Transfer-Encoding field");
    if (coding->value_len > 0 && ascii_is_blank(coding->value[coding->value_len - 1]))
        return refuse(FAIL_BAD_REQUEST, "there is a blank behind the Transfer-Encoding");
    if (!ascii_equal_str(coding->value, coding->value_len, "chunked"))
        return refuse(FAIL_CODING_UNKNOWN, "the only Transfer-Encoding known is chunked");
    return (struct request_check_result){ .kind = FAIL_NONE, .body_bytes = -1 };
}

static struct request_check_result check_body(const struct framing *seen,
                                              const struct request_check_head *head)
{
    if (seen->codings > 0)
        return check_coding(seen, head->version);
    if (seen->lengths == 0)
        return fine;
    if (seen->lengths > 1)
        return refuse(FAIL_BAD_REQUEST, "there is more than one Content-Length field");

    int64_t bytes = ascii_number(seen->length->value, seen->length->value_len);
    if (bytes < 0)
        return refuse(FAIL_BAD_REQUEST, "the Content-Length is not a number");
    if (head->max_body_bytes > 0 && bytes > head->max_body_bytes)
        return (struct request_check_result){ .kind = FAIL_BODY_TOO_LARGE,
                                              .why = "the body is larger than "
                                                     "listen.max_body_size",
                                              .body_bytes = bytes };
    return (struct request_check_result){ .kind = FAIL_NONE, .body_bytes = bytes };
}

static struct request_check_result check_fields(const struct request_check_head *head)
{
    struct framing seen = { 0 };

    for (size_t i = 0; i < head->count; i++) {
        const struct header_field *f = &head->fields[i];

        if (!ascii_is_token(f->name, f->name_len))
            return refuse(FAIL_BAD_REQUEST, "a field name is empty or holds a forbidden byte");
        if (!ascii_is_field_text(f->value, f->value_len))
            return refuse(FAIL_BAD_REQUEST, "a field value holds a control character");
        note_field(&seen, f);
    }

    struct request_check_result host = check_host(&seen);
    if (host.kind != FAIL_NONE)
        return host;
    struct request_check_result body = check_body(&seen, head);
    if (body.kind != FAIL_NONE)
        return body;
    if (seen.expectation_unknown)
        return refuse(FAIL_EXPECTATION, "the only expectation known is 100-continue");
    return body;
}

struct request_check_result request_check(const struct request_check_head *head)
{
    size_t target_len = strlen(head->target);

    struct request_check_result limits = request_check_limits(head);
    if (limits.kind != FAIL_NONE)
        return limits;
    if (head->account && !accounted(head, target_len))
        return refuse(FAIL_BAD_REQUEST,
                      "the head has a bare line end, a folded field, a NUL or "
                      "a blank too many");
    struct request_check_result line = check_request_line(head, target_len);
    if (line.kind != FAIL_NONE)
        return line;
    return check_fields(head);
}

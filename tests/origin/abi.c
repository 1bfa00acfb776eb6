/* Encoding of static parameters. A dynamic one (string, bytes, array, struct) becomes a
 * word of zeros, and the selector of a function that is not listed is made up: nobody
 * sends this data to a chain. */
#include "abi.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store.h"

enum { WORD_BYTES = 32 };

static const struct {
    const char *function;
    uint32_t selector;
} selectors[] = {
    { "transfer", 0xa9059cbb },
    { "balanceOf", 0x70a08231 },
    { "deposit", 0xd0e30db0 },
    { "approve", 0x095ea7b3 },
};

static uint32_t selector(const char *function)
{
    uint32_t hash = 2166136261u; /* FNV-1a */

    for (size_t i = 0; i < sizeof(selectors) / sizeof(selectors[0]); i++) {
        if (strcmp(selectors[i].function, function) == 0)
            return selectors[i].selector;
    }
    for (; *function; function++)
        hash = (hash ^ (unsigned char)*function) * 16777619u;
    return hash;
}

/* word = word * base + digit, as a 256-bit number. */
static void word_push(unsigned char word[WORD_BYTES], unsigned base, unsigned digit)
{
    unsigned carry = digit;

    for (size_t i = WORD_BYTES; i-- > 0;) {
        carry += word[i] * base;
        word[i] = (unsigned char)(carry & 0xff);
        carry >>= 8;
    }
}

static void word_parse(unsigned char word[WORD_BYTES], const char *text)
{
    static const char digits[] = "0123456789abcdef";
    unsigned base = 10;

    if (strncmp(text, "0x", 2) == 0) {
        base = 16;
        text += 2;
    }
    for (; *text; text++) {
        const char *digit = strchr(digits, *text | 0x20);

        if (!digit || (unsigned)(digit - digits) >= base)
            return;
        word_push(word, base, (unsigned)(digit - digits));
    }
}

static void encode_param(FILE *out, const struct json_object *input, struct json_object *value)
{
    unsigned char word[WORD_BYTES] = { 0 };
    const char *type = store_text(input, "type");

    if (json_object_is_type(value, json_type_boolean))
        word[WORD_BYTES - 1] = json_object_get_boolean(value) ? 1 : 0;
    else if (type && value && strchr("aiu", *type)) /* address, int, uint */
        word_parse(word, json_object_get_string(value));
    for (size_t i = 0; i < WORD_BYTES; i++)
        fprintf(out, "%02x", word[i]);
}

char *abi_encode(const struct json_object *method, const struct json_object *params)
{
    struct json_object *inputs = json_object_object_get(method, "inputs");
    size_t count = json_object_array_length(inputs);
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);

    if (!out)
        abort();
    fprintf(out, "0x%08x", selector(store_text(method, "functionName")));
    for (size_t i = 0; i < count; i++) {
        const struct json_object *input = json_object_array_get_idx(inputs, i);
        struct json_object *value = json_object_object_get(input, "value");

        if (!value)
            value = json_object_object_get(params, store_text(input, "name"));
        encode_param(out, input, value);
    }
    if (fclose(out) != 0)
        abort();
    return text;
}

static struct json_object *value_of(const struct json_object *output)
{
    struct json_object *is_array = json_object_object_get(output, "isArray");
    const char *type = store_text(output, "type");

    if (json_object_get_boolean(is_array))
        return json_object_new_array();
    if (!type || strcmp(type, "struct") == 0)
        return json_object_new_object();
    if (strcmp(type, "bool") == 0)
        return json_object_new_boolean(true);
    if (strcmp(type, "address") == 0)
        return json_object_new_string("0x4200000000000000000000000000000000000006");
    if (strcmp(type, "bytes") == 0)
        return json_object_new_string("0xc0ffee");
    if (strcmp(type, "string") == 0)
        return json_object_new_string("Wrapped Ether");
    return json_object_new_string("1250000000000000000"); /* a number, as text */
}

struct json_object *abi_result(const struct json_object *method)
{
    struct json_object *outputs = json_object_object_get(method, "outputs");
    size_t count = json_object_array_length(outputs);
    struct json_object *values;

    if (count == 1)
        return value_of(json_object_array_get_idx(outputs, 0));
    values = json_object_new_object();
    for (size_t i = 0; i < count; i++) {
        const struct json_object *output = json_object_array_get_idx(outputs, i);

        json_object_object_add(values, store_text(output, "name"), value_of(output));
    }
    return values;
}

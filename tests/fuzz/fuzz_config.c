/* Any text as a configuration file: it loads or is refused with a reason, and what loads can be
 * printed, and what was printed loads again and prints the same. */
#include <string.h>

#include "config/ini.h"

#define TEXT_MAX (1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf errors, warnings, first, second;

    buf_init(&errors, TEXT_MAX);
    buf_init(&warnings, TEXT_MAX);
    buf_init(&first, TEXT_MAX);
    buf_init(&second, TEXT_MAX);

    struct config *c = config_load_text("fuzz", (const char *)data, size, &errors, &warnings);
    if (c == NULL) {
        assert(buf_unread(&errors) > 0);
    } else {
        assert(buf_unread(&errors) == 0);
        int rc = config_print(c, &first);
        assert(rc == 0);

        struct config *again = config_load_text("printed", buf_text(&first), buf_unread(&first),
                                                &errors, &warnings);
        assert(again != NULL);
        rc = config_print(again, &second);
        assert(rc == 0);
        assert(strcmp(buf_text(&first), buf_text(&second)) == 0);
        config_unref(again);
    }
    config_unref(c);
    buf_done(&errors);
    buf_done(&warnings);
    buf_done(&first);
    buf_done(&second);
    return 0;
}

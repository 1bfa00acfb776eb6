/* Any text as a configuration file: it loads or is refused with a reason, and what loads can be
 * printed, and what was printed loads again and prints the same. */
#include <errno.h>
#include <string.h>

#include "config/config.h"
#include "config/docs.h"

#define TEXT_MAX (1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config_report report, reread;
    struct buf messages, first, second;

    config_report_init(&report);
    config_report_init(&reread);
    buf_init(&messages, TEXT_MAX);
    buf_init(&first, TEXT_MAX);
    buf_init(&second, TEXT_MAX);

    struct config *c = config_load_text("fuzz", (const char *)data, size, &report);
    int told = config_report_print(&report, &messages);
    assert(told == 0 || told == -EMSGSIZE);
    if (c == NULL) {
        assert(report.errors > 0);
    } else {
        assert(report.errors == 0);
        int rc = config_print(c, &first);
        assert(rc == 0);

        struct config *again =
            config_load_text("printed", buf_text(&first), buf_unread(&first), &reread);
        assert(again != NULL);
        rc = config_print(again, &second);
        assert(rc == 0);
        assert(strcmp(buf_text(&first), buf_text(&second)) == 0);
        config_unref(again);
    }
    config_unref(c);
    config_report_done(&report);
    config_report_done(&reread);
    buf_done(&messages);
    buf_done(&first);
    buf_done(&second);
    return 0;
}

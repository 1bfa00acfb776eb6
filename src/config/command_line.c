/* Writes words for a shell, see command_line.h. */
#include "config/command_line.h"

#include <string.h>

void command_line_add_word(struct buf *out, const char *text)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/._-+:,@%=";

    if (*text != '\0' && text[strspn(text, plain)] == '\0') {
        (void)buf_addf(out, "%s", text);
        return;
    }
    (void)buf_addf(out, "'");
    for (const char *p = text; *p != '\0'; p++)
        if (*p == '\'')
            (void)buf_addf(out, "'\\''");
        else
            (void)buf_addf(out, "%c", *p);
    (void)buf_addf(out, "'");
}

void command_line_add_config(struct buf *out, const char *file)
{
    if (file == NULL)
        return;
    (void)buf_addf(out, " --config ");
    command_line_add_word(out, file);
}

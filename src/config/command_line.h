#pragma once
/* Parts of the command lines that people are told to run, as one types them into a shell. */
#include "base/buf.h"

/* Appends one word, in single quotes if it needs them. */
void command_line_add_word(struct buf *out, const char *text);

/* Appends " --config FILE", so that the command reads the settings that this program read.
 * NULL, settings from variables only: nothing. */
void command_line_add_config(struct buf *out, const char *file);

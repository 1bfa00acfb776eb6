#pragma once
/* The client id and secret: the last ones that could be read. Thread: control. */
#include "base/base.h"
#include "base/secret.h"
#include "config/config.h"

struct credentials {
    char *id;
    struct secret *secret;
    bool unreadable; /* the files were, when last looked at; it has been said */
};

void credentials_done(struct credentials *k);

/* Takes them over from settings that were just loaded. Returns whether they are others than
 * before. */
bool credentials_load(struct credentials *k, const struct config *c);

/* Looks at the files, if that is where they come from. A file that is missing, empty or
 * otherwise not fit changes nothing: the old ones are kept, and one line of the log says so.
 * Returns whether they are others than before. */
bool credentials_reread(struct credentials *k, const struct config *c);

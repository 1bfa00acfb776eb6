#pragma once
/* The client id and secret, as they could last be read. Thread: control. */
#include "base/base.h"
#include "base/secret.h"
#include "config/config.h"

struct credentials {
    char *id;
    struct secret *secret;
    bool unreadable; /* the files could not be read last time, which was logged */
};

void credentials_done(struct credentials *k);

/* Takes id and secret from settings that were just loaded. Returns whether they differ from
 * before. */
bool credentials_load(struct credentials *k, const struct config *c);

/* Reads the files again, if the credentials come from files. If one is missing, empty or
 * otherwise unusable, the old credentials are kept and one line is logged. Returns whether
 * they differ from before. */
bool credentials_reread(struct credentials *k, const struct config *c);

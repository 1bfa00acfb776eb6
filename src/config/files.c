/* Reads files: always the whole file, up to a limit, never a pipe or a device. The memory is
 * wiped when it is freed. */
#include "config/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "config/value.h"

#define PEM_FILE_MAX (4 << 20)
#define SECRET_MAX (64 << 10)
/* An error number that no file operation gives; it stands for "hidden by the sandbox". */
#define HIDDEN ENOTUNIQ

/* Landlock does not affect access(): if that allows what open() was refused, it is this
 * process's own sandbox that forbids it. */
static int why_not_opened(const char *path, int error)
{
    bool permitted = error == EACCES && faccessat(AT_FDCWD, path, R_OK, AT_EACCESS) == 0;

    return permitted ? HIDDEN : error;
}

/* Opens a regular file; returns the descriptor or -errno. O_NONBLOCK, because opening a pipe
 * must not block the program. */
static int open_regular(const char *path, unsigned *mode)
{
    struct stat st;
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    if (fd < 0)
        return -why_not_opened(path, errno);
    if (fstat(fd, &st) != 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return S_ISDIR(st.st_mode) ? -EISDIR : -ENOTSUP;
    *mode = st.st_mode & 07777;
    return base_take_fd(&fd);
}

int config_file_mode(const char *path, unsigned *mode)
{
    auto_close int fd = open_regular(path, mode);

    return fd < 0 ? fd : 0;
}

const char *config_file_reason(int error)
{
    const char *text = error == ENOTSUP ? "it is not a regular file" : strerrordesc_np(error);

    if (error == HIDDEN)
        return "it is not among the files that the sandbox lets this process read since its "
               "start; restart to use it";
    return text != NULL ? text : "unknown error";
}

/* Moves a text into larger memory, and wipes where it was. */
static char *enlarge(char *text, size_t len, size_t room)
{
    char *larger = base_alloc(room);

    memcpy(larger, text, len);
    config_file_free(text, len);
    return larger;
}

/* Takes no more memory than the file needs, and one byte to see its end. Only one that grows
 * meanwhile, or has no size as in /proc, gets all that is allowed. */
static char *read_all(int fd, size_t most, size_t *len, int *error)
{
    struct stat st;
    bool sized = fstat(fd, &st) == 0 && st.st_size >= 0 && (uintmax_t)st.st_size < most;
    size_t room = sized ? (size_t)st.st_size + 1 : most + 1;
    char *text = base_alloc(room + 1);
    ssize_t n = 1;

    *len = 0;
    while (n != 0 && *len <= most) {
        if (*len == room) {
            room = most + 1;
            text = enlarge(text, *len, room + 1);
        }
        n = read(fd, text + *len, room - *len);
        if (n < 0 && errno != EINTR) {
            *error = errno;
            config_file_free(text, *len);
            return NULL;
        }
        *len += n > 0 ? (size_t)n : 0;
    }
    text[*len] = '\0';
    return text;
}

char *config_file_read(const char *path, size_t most, size_t *len, char *why, size_t why_size)
{
    unsigned mode;
    auto_close int fd = open_regular(path, &mode);
    int error = fd < 0 ? -fd : 0;
    char *text = fd < 0 ? NULL : read_all(fd, most, len, &error);

    if (text == NULL) {
        (void)snprintf(why, why_size, "cannot be read: %s", config_file_reason(error));
        return NULL;
    }
    if (*len > most) {
        (void)snprintf(why, why_size, "is too large; at most %zu bytes", most);
        config_file_free(text, *len);
        return NULL;
    }
    return text;
}

void config_file_free(char *text, size_t len)
{
    if (text != NULL)
        secret_wipe(text, len);
    free(text);
}

struct secret *config_read_secret_file(const char *path, struct buf *errors)
{
    char why[256] = "";
    size_t len = 0;
    struct secret *s = NULL;
    /* room for a newline, which does not count */
    char *text = config_file_read(path, SECRET_MAX + 2, &len, why, sizeof why);
    size_t n = len;

    if (n > 0 && text != NULL && text[n - 1] == '\n')
        n -= n > 1 && text[n - 2] == '\r' ? 2 : 1;
    if (text != NULL && n == 0)
        (void)snprintf(why, sizeof why, "is empty");
    else if (text != NULL && config_credential_fault(text, n, why, sizeof why))
        s = NULL;
    else if (text != NULL && (s = secret_new(text, n)) == NULL)
        (void)snprintf(why, sizeof why, "is too large; at most 64 KiB");
    config_file_free(text, len);
    if (s == NULL && buf_addf(errors, "%s: %s", path, why) != 0)
        return NULL;
    return s;
}

int config_credentials(const struct config *c, char **id, struct secret **secret,
                       struct buf *errors)
{
    struct secret *new_id = NULL, *new_secret = NULL;
    int rc = 0;

    if (c->token.client_id_file != NULL)
        new_id = config_read_secret_file(c->token.client_id_file, errors);
    if (c->token.client_secret_file != NULL)
        new_secret = config_read_secret_file(c->token.client_secret_file, errors);
    if ((c->token.client_id_file != NULL && new_id == NULL) ||
        (c->token.client_secret_file != NULL && new_secret == NULL)) {
        /* use both or neither: a new id with an old secret would be refused */
        secret_free(new_id);
        secret_free(new_secret);
        new_id = new_secret = NULL;
        rc = -EIO;
    }
    *id = strdup(new_id != NULL ? secret_text(new_id) : c->token.client_id);
    secret_free(new_id);
    *secret = new_secret != NULL ? new_secret
                                 : secret_new(secret_text(c->token.client_secret),
                                              secret_len(c->token.client_secret));
    if (*id == NULL || *secret == NULL)
        abort();
    return rc;
}

/* What is wrong with the text, or NULL. */
static const char *fault(const char *text, enum config_pem_kind kind)
{
    if (strstr(text, "-----BEGIN ENCRYPTED PRIVATE KEY-----") != NULL ||
        strstr(text, "Proc-Type: 4,ENCRYPTED") != NULL)
        return "holds an encrypted key, and there is nobody to ask for the passphrase; "
               "allowed: a key without one";
    if (kind == PEM_CERTIFICATES && strstr(text, "CERTIFICATE-----") == NULL)
        return "holds no certificate; allowed: PEM, -----BEGIN CERTIFICATE-----";
    if (kind == PEM_KEY && strstr(text, "PRIVATE KEY-----") == NULL)
        return "holds no private key; allowed: PEM, -----BEGIN PRIVATE KEY-----";
    return NULL;
}

int config_pem_read(const char *path, enum config_pem_kind kind, struct config_pem *out,
                    char *why, size_t why_size)
{
    char reason[256];
    struct config_pem pem = { .data = NULL };

    pem.data = config_file_read(path, PEM_FILE_MAX, &pem.len, reason, sizeof reason);
    const char *wrong = pem.data == NULL ? reason : fault(pem.data, kind);

    if (wrong != NULL) {
        (void)snprintf(why, why_size, "%s: %s", path, wrong);
        config_pem_clear(&pem);
        return -EINVAL;
    }
    config_pem_clear(out);
    *out = pem;
    return 0;
}

struct config_pem config_pem_copy(const struct config_pem *pem)
{
    struct config_pem copy = { .len = pem->len };

    if (pem->data == NULL)
        return copy;
    copy.data = base_alloc(pem->len + 1);
    memcpy(copy.data, pem->data, pem->len);
    return copy;
}

bool config_pem_differs(const struct config_pem *a, const struct config_pem *b)
{
    return a->data != NULL && b->data != NULL &&
           (a->len != b->len || memcmp(a->data, b->data, a->len) != 0);
}

void config_pem_clear(struct config_pem *pem)
{
    config_file_free(pem->data, pem->len);
    *pem = (struct config_pem){ .data = NULL };
}

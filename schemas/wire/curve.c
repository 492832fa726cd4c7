#include "schemas/wire/curve.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <zmq.h>

#include "schemas/wire/curve_priv.h"

#define FILE_BYTES_MAX 4096
#define NAME_BYTES_MAX 64u
#define CREDENTIAL "millrace.key"

static const char cannot_read[] = "A key file cannot be used.";
static const char cannot_write[] = "The key was not written.";

/* ---- the page --------------------------------------------------------------------------------- */

/* A page of its own, so that locking and leaving out of core dumps touch nothing else. Neither
 * is a reason not to go on: a small limit of locked memory is common. */
static struct mr_curve *
page_new(struct mr_err *err)
{
    void *page = mmap(NULL, sizeof(struct mr_curve), PROT_READ | PROT_WRITE,
        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (page == MAP_FAILED) {
        (void)mr_err_set(
            err, MR_NO_MEMORY, cannot_read, "No memory.", "Free some memory.");
        return NULL;
    }
    (void)mlock(page, sizeof(struct mr_curve));
    (void)madvise(page, sizeof(struct mr_curve), MADV_DONTDUMP);
    (void)madvise(page, sizeof(struct mr_curve), MADV_WIPEONFORK);
    return page;
}

void
mr_curve_destroy(struct mr_curve **curve)
{
    if (!*curve)
        return;
    explicit_bzero(*curve, sizeof **curve);
    (void)munmap(*curve, sizeof **curve);
    *curve = NULL;
}

const char *
mr_curve_public(const struct mr_curve *curve)
{
    return curve->public_key;
}

enum mr_status
mr_curve_new(struct mr_curve **out, struct mr_err *err)
{
    *out = page_new(err);
    if (!*out)
        return MR_NO_MEMORY;
    if (zmq_curve_keypair((*out)->public_key, (*out)->secret_key) == 0)
        return MR_OK;
    mr_curve_destroy(out);
    return mr_err_set(err, MR_INTERNAL, "No key can be made.",
        "This libzmq was built without CURVE.", "Install one that was built with it.");
}

/* ---- Z85 -------------------------------------------------------------------------------------- */

bool
mr_curve_is_public(const char *text)
{
    uint8_t bytes[32];

    return strlen(text) == MR_CURVE_TEXT && zmq_z85_decode(bytes, text) != NULL;
}

/* ---- writing ---------------------------------------------------------------------------------- */

static bool
is_name(const char *name)
{
    size_t n = strlen(name);

    if (n == 0 || n > NAME_BYTES_MAX || !isalnum((unsigned char)name[0]))
        return false;
    for (const char *c = name; *c; c++)
        if (!isalnum((unsigned char)*c) && !strchr("._-", *c))
            return false;
    return true;
}

enum mr_status
mr_curve_check_name(const char *name, struct mr_err *err)
{
    if (is_name(name))
        return MR_OK;
    return mr_err_setf(err, MR_BAD_ARGUMENT, cannot_write,
        "Use 1 to 64 letters, digits, `.`, `_` and `-`, a letter or digit first.",
        "\"%.80s\" cannot be the name of a key.", name);
}

enum mr_status
mr_curve_print(const struct mr_curve *curve, FILE *out)
{
    int n = fprintf(out, "\n[key]\npublic-key = \"%s\"\nsecret-key = \"%s\"\n",
        curve->public_key, curve->secret_key);

    return n > 0 ? MR_OK : MR_DENIED;
}

static enum mr_status
write_failed(const char *path, struct mr_err *err)
{
    if (errno == EEXIST)
        return mr_err_setf(err, MR_CONFLICT, cannot_write,
            "Choose another name or folder; a key is never written over.",
            "%s is there already.", path);
    return mr_err_setf(err, MR_DENIED, cannot_write,
        "Choose a folder that this user may write.", "%s: %s.", path, strerror(errno));
}

/* The whole file, on disk, or none. */
static enum mr_status
write_file(const char *path, mode_t mode, const char *text, struct mr_err *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    size_t n = strlen(text);
    bool is_good;

    if (fd < 0)
        return write_failed(path, err);
    errno = ENOSPC;
    /* The mode is what was asked for, whatever the mask says. */
    is_good = fchmod(fd, mode) == 0 && write(fd, text, n) == (ssize_t)n && fsync(fd) == 0;
    is_good = close(fd) == 0 && is_good;
    if (is_good)
        return MR_OK;
    (void)write_failed(path, err);
    (void)unlink(path);
    return MR_DENIED;
}

static enum mr_status
write_pair(const struct mr_curve *curve, const char *name, const char *key_path,
    const char *pub_path, struct mr_err *err)
{
    char text[FILE_BYTES_MAX];
    enum mr_status status;

    (void)snprintf(text, sizeof text,
        "# Key of \"%s\" for millrace. Whoever has this file is %s: show it to nobody.\n"
        "public-key = \"%s\"\n"
        "secret-key = \"%s\"\n",
        name, name, curve->public_key, curve->secret_key);
    status = write_file(key_path, 0600, text, err);
    explicit_bzero(text, sizeof text);
    if (status)
        return status;
    (void)snprintf(text, sizeof text,
        "# Public key of \"%s\" for millrace. It is no secret.\n"
        "public-key = \"%s\"\n",
        name, curve->public_key);
    status = write_file(pub_path, 0644, text, err);
    if (status)
        (void)unlink(key_path);
    return status;
}

enum mr_status
mr_curve_write(
    const struct mr_curve *curve, const char *dir, const char *name, struct mr_err *err)
{
    char key_path[PATH_MAX], pub_path[PATH_MAX];

    if (mr_curve_check_name(name, err))
        return MR_BAD_ARGUMENT;
    if (snprintf(key_path, sizeof key_path, "%s/%s.key", dir, name) >= PATH_MAX ||
        snprintf(pub_path, sizeof pub_path, "%s/%s.pub", dir, name) >= PATH_MAX)
        return mr_err_set(err, MR_BAD_ARGUMENT, cannot_write,
            "The folder's path is too long.", "Choose another folder.");
    if (access(pub_path, F_OK) == 0) {
        errno = EEXIST;
        return write_failed(pub_path, err);
    }
    return write_pair(curve, name, key_path, pub_path, err);
}

/* ---- reading ---------------------------------------------------------------------------------- */

struct file {
    int fd;
    bool is_exposed; /* group or others may read it */
    char text[FILE_BYTES_MAX + 1];
    char public_key[MR_CURVE_ROOM], secret_key[MR_CURVE_ROOM];
};

/* systemd grants the service's user its credentials by a list of rights, the mask of which shows
 * as the group's bits. The folder is closed to everybody else. */
static mode_t
exposing_bits(const char *path)
{
    const char *dir = getenv("CREDENTIALS_DIRECTORY");
    size_t n = dir ? strlen(dir) : 0;

    if (n > 0 && strncmp(path, dir, n) == 0 && path[n] == '/' &&
        !strchr(path + n + 1, '/'))
        return S_IRWXO;
    return S_IRWXG | S_IRWXO;
}

static enum mr_status
open_file(struct file *file, const char *path, struct mr_err *err)
{
    struct stat about;

    /* Without O_NONBLOCK a pipe of that name would hold us up for ever. */
    file->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (file->fd < 0 || fstat(file->fd, &about) != 0)
        return mr_err_setf(err, errno == ENOENT ? MR_NOT_FOUND : MR_DENIED, cannot_read,
            "Give the path of a file that `millrace key new NAME` has written.",
            "%s: %s.", path, strerror(errno));
    file->is_exposed = (about.st_mode & exposing_bits(path)) != 0;
    if (S_ISREG(about.st_mode) && about.st_size <= FILE_BYTES_MAX)
        return MR_OK;
    return mr_err_setf(err, MR_BAD_SETTING, cannot_read,
        "Give the path of a file that `millrace key new NAME` has written.",
        "%s is no file, or a large one.", path);
}

/* NAME = "40 characters"; false: something else. */
static bool
take_value(const char *line, const char *name, char out[MR_CURVE_ROOM])
{
    size_t n = strlen(name);
    const char *value = line + n + strspn(line + n, " \t=");

    if (strncmp(line, name, n) != 0 || value == line + n || *value != '"' ||
        strlen(value) < MR_CURVE_ROOM + 1 || value[MR_CURVE_ROOM] != '"' ||
        value[MR_CURVE_ROOM + 1 + strspn(value + MR_CURVE_ROOM + 1, " \t\r")] || out[0])
        return false;
    memcpy(out, value + 1, MR_CURVE_TEXT);
    out[MR_CURVE_TEXT] = '\0';
    return mr_curve_is_public(out);
}

static enum mr_status
parse(struct file *file, const char *path, struct mr_err *err)
{
    char *rest = file->text;
    char *line;
    int number = 0;
    bool is_ours = true; /* outside the sections of a settings file */

    while ((line = strsep(&rest, "\n"))) {
        number++;
        line += strspn(line, " \t\r");
        if (*line == '[')
            is_ours = strncmp(line, "[key]", strlen("[key]")) == 0;
        if (!*line || *line == '#' || *line == '[' || !is_ours ||
            take_value(line, "public-key", file->public_key) ||
            take_value(line, "secret-key", file->secret_key))
            continue;
        return mr_err_setf(err, MR_BAD_SETTING, cannot_read,
            "Give a file that `millrace key new NAME` has written.",
            "Line %d of %s is not a key: public-key = \"40 characters of Z85\".", number,
            path);
    }
    if (file->public_key[0])
        return MR_OK;
    return mr_err_setf(err, MR_BAD_SETTING, cannot_read,
        "Give a file that `millrace key new NAME` has written.",
        "There is no public-key in %s.", path);
}

static enum mr_status
check_exposure(const struct file *file, const char *path, struct mr_err *err)
{
    if (!file->secret_key[0] || !file->is_exposed)
        return MR_OK;
    return mr_err_setf(err, MR_DENIED, cannot_read,
        "`chmod 600` it; if others may have read it meanwhile, make a new key and revoke "
        "this one.",
        "%s holds a secret, and others than its owner may read it.", path);
}

static enum mr_status
read_file(struct file *file, const char *path, struct mr_err *err)
{
    enum mr_status status = open_file(file, path, err);
    ssize_t n = status ? -1 : read(file->fd, file->text, FILE_BYTES_MAX);

    if (status)
        return status;
    if (n < 0)
        return mr_err_setf(err, MR_DENIED, cannot_read, "Look at the file.", "%s: %s.",
            path, strerror(errno));
    file->text[n] = '\0';
    status = parse(file, path, err);
    return status ? status : check_exposure(file, path, err);
}

/* It holds a secret for a moment, so it is wiped whatever came of it. */
static void
close_file(struct file *file)
{
    if (file->fd >= 0)
        (void)close(file->fd);
    explicit_bzero(file, sizeof *file);
}

static enum mr_status
take_pair(
    struct mr_curve *curve, const struct file *file, const char *path, struct mr_err *err)
{
    char derived[MR_CURVE_ROOM];

    if (!file->secret_key[0])
        return mr_err_setf(err, MR_BAD_SETTING, cannot_read,
            "Give the NAME.key, not the NAME.pub.", "There is no secret in %s.", path);
    if (zmq_curve_public(derived, file->secret_key) != 0 ||
        strcmp(derived, file->public_key) != 0)
        return mr_err_setf(err, MR_BAD_SETTING, cannot_read,
            "Make a new one with `millrace key new NAME`.",
            "The two keys in %s do not belong together.", path);
    memcpy(curve->public_key, file->public_key, MR_CURVE_ROOM);
    memcpy(curve->secret_key, file->secret_key, MR_CURVE_ROOM);
    return MR_OK;
}

enum mr_status
mr_curve_read(struct mr_curve **out, const char *path, struct mr_err *err)
{
    struct file file = {.fd = -1};
    struct mr_curve *curve = page_new(err);
    enum mr_status status;

    *out = NULL;
    if (!curve)
        return MR_NO_MEMORY;
    status = read_file(&file, path, err);
    if (status == MR_OK)
        status = take_pair(curve, &file, path, err);
    close_file(&file);
    if (status)
        mr_curve_destroy(&curve);
    *out = curve;
    return status;
}

enum mr_status
mr_curve_read_public(const char *path, char out[MR_CURVE_ROOM], struct mr_err *err)
{
    struct file file = {.fd = -1};
    enum mr_status status = read_file(&file, path, err);

    memcpy(out, file.public_key, MR_CURVE_ROOM);
    if (status)
        out[0] = '\0';
    close_file(&file);
    return status;
}

enum mr_status
mr_curve_load(struct mr_curve **out, const char *key_file, struct mr_err *err)
{
    const char *dir = getenv("CREDENTIALS_DIRECTORY");
    char path[PATH_MAX];

    *out = NULL;
    if (key_file && *key_file)
        return mr_curve_read(out, key_file, err);
    if (!dir || !*dir || snprintf(path, sizeof path, "%s/" CREDENTIAL, dir) >= PATH_MAX ||
        access(path, F_OK) != 0)
        return MR_OK;
    return mr_curve_read(out, path, err);
}

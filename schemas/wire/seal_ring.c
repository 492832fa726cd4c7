#include "schemas/wire/seal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sodium.h>

#include "schemas/wire/seal_priv.h"

#define FILE_BYTES_MAX 16384u
#define CREDENTIAL "millrace.seal"
#define LINE_BYTES (MR_SEAL_ID_TEXT + 2 * MR_SEAL_SECRET_BYTES + 1)
#define WHAT_READ "The keyring cannot be used."
#define WHAT_WRITE "The keyring was not written."

static const char head[] =
    "# millrace: keys that seal payloads, \"ID SECRET\" a line. The first one seals, all "
    "of\n"
    "# them open. Whoever has this file reads every payload: mode 0600, no copies.\n";

enum mr_status
mr_seal_ring_new(struct mr_seal_ring **out)
{
    *out = NULL;
    if (sodium_init() < 0)
        return MR_INTERNAL;
    *out = sodium_malloc(sizeof **out);
    if (!*out)
        return MR_NO_MEMORY;
    memset(*out, 0, sizeof **out);
    return MR_OK;
}

void
mr_seal_ring_destroy(struct mr_seal_ring **ring)
{
    sodium_free(*ring); /* wipes it; NULL is fine */
    *ring = NULL;
}

uint32_t
mr_seal_ring_count(const struct mr_seal_ring *ring)
{
    return ring->count;
}

char *
mr_seal_ring_id(
    const struct mr_seal_ring *ring, uint32_t index, char out[MR_SEAL_ID_TEXT])
{
    MR_ASSERT(index < ring->count);
    return mr_seal_hex(ring->keys[index].id, MR_SEAL_ID_BYTES, out);
}

enum mr_status
mr_seal_ring_add(struct mr_seal_ring *ring)
{
    struct mr_seal_key *key = &ring->keys[ring->count];

    if (ring->count == MR_SEAL_KEYS_MAX)
        return MR_LIMIT;
    randombytes_buf(key->secret, sizeof key->secret);
    mr_seal_derive(key);
    ring->count++;
    return MR_OK;
}

enum mr_status
mr_seal_ring_raise(struct mr_seal_ring *ring, uint32_t index)
{
    struct mr_seal_key key;

    if (index >= ring->count)
        return MR_NOT_FOUND;
    key = ring->keys[index];
    memmove(&ring->keys[1], &ring->keys[0], index * sizeof key);
    ring->keys[0] = key;
    sodium_memzero(&key, sizeof key);
    return MR_OK;
}

enum mr_status
mr_seal_ring_drop(struct mr_seal_ring *ring, uint32_t index)
{
    if (index >= ring->count)
        return MR_NOT_FOUND;
    ring->count--;
    memmove(&ring->keys[index], &ring->keys[index + 1],
        (ring->count - index) * sizeof ring->keys[0]);
    sodium_memzero(&ring->keys[ring->count], sizeof ring->keys[0]);
    return MR_OK;
}

/* ---- text -------------------------------------------------------------------------------------- */

/* Exactly so many bytes in hexadecimal digits. */
static bool
take_hex(const char *text, size_t digits, uint8_t *out, size_t bytes)
{
    const char *end;
    size_t n;

    return digits == 2 * bytes &&
           sodium_hex2bin(out, bytes, text, digits, NULL, &n, &end) == 0 && n == bytes &&
           end == text + digits;
}

/* NULL, or what is wrong with the line. */
static const char *
take_line(struct mr_seal_ring *ring, const char *line, size_t n)
{
    uint8_t id[MR_SEAL_ID_BYTES];
    const char *blank = memchr(line, ' ', n);
    size_t id_n = blank ? (size_t)(blank - line) : 0;
    struct mr_seal_key *key = &ring->keys[ring->count];

    if (n == 0 || line[0] == '#')
        return NULL;
    if (ring->count == MR_SEAL_KEYS_MAX)
        return "there are more than 16 keys";
    if (!blank || !take_hex(line, id_n, id, sizeof id) ||
        !take_hex(blank + 1, n - id_n - 1, key->secret, sizeof key->secret))
        return "it is not a key: 16 hexadecimal digits, a blank, 64 hexadecimal digits";
    mr_seal_derive(key);
    if (memcmp(key->id, id, sizeof id) != 0)
        return "the id is not that of the key behind it: one of them was changed";
    for (uint32_t i = 0; i < ring->count; i++)
        if (memcmp(ring->keys[i].id, id, sizeof id) == 0)
            return "the key stands there twice";
    ring->count++;
    return NULL;
}

enum mr_status
mr_seal_ring_parse(
    struct mr_span text, const char *name, struct mr_seal_ring **out, struct mr_err *err)
{
    const char *at = (const char *)text.p, *end = at + text.n;
    enum mr_status status = mr_seal_ring_new(out);
    const char *flaw = NULL;
    unsigned number = 0;

    if (status)
        return mr_err_set(err, status, WHAT_READ, "There is no memory for keys.", NULL);
    for (; at < end && !flaw; number++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        size_t n = (size_t)((stop ? stop : end) - at);

        flaw = take_line(*out, at, n);
        at += n + 1;
    }
    if (!flaw && (*out)->count > 0)
        return MR_OK;
    mr_seal_ring_destroy(out);
    if (!flaw)
        return mr_err_setf(err, MR_BAD_SETTING, WHAT_READ,
            "Make one with \"millrace seal new FILE\".", "%s: there is no key in it.",
            name);
    return mr_err_setf(err, MR_BAD_SETTING, WHAT_READ,
        "Take the file from where it was made; keys are not to be edited by hand.",
        "%s, line %u: %s.", name, number, flaw);
}

/* ---- file -------------------------------------------------------------------------------------- */

static bool
is_credential(const char *path)
{
    const char *folder = getenv("CREDENTIALS_DIRECTORY");
    size_t n = folder ? strlen(folder) : 0;

    return n && strncmp(path, folder, n) == 0 && path[n] == '/';
}

/* Before a byte of it is read. */
static enum mr_status
check_file(int fd, const char *path, struct mr_err *err)
{
    mode_t wide = is_credential(path) ? 0037 : 0077;
    struct stat about;

    if (fstat(fd, &about) != 0 || !S_ISREG(about.st_mode))
        return mr_err_setf(err, MR_BAD_SETTING, WHAT_READ, "Name a file.",
            "%s is no regular file.", path);
    if (about.st_uid != geteuid() && about.st_uid != 0 && geteuid() != 0)
        return mr_err_setf(err, MR_BAD_SETTING, WHAT_READ,
            "Make it belong to the user who runs this.",
            "%s belongs to another user, who could change it.", path);
    if (about.st_mode & wide)
        return mr_err_setf(err, MR_BAD_SETTING, WHAT_READ,
            "chmod 600 it; if others could have read it, rotate its keys.",
            "%s has mode %04o: others may read or change it.", path,
            (unsigned)(about.st_mode & 07777));
    return MR_OK;
}

static enum mr_status
read_all(int fd, char *room, size_t *n)
{
    ssize_t got = 1;

    *n = 0;
    while (got > 0 && *n < FILE_BYTES_MAX) {
        got = read(fd, room + *n, FILE_BYTES_MAX - *n);
        if (got < 0 && errno != EINTR)
            return MR_NOT_FOUND;
        *n += got > 0 ? (size_t)got : 0;
        got = got < 0 ? 1 : got;
    }
    return *n < FILE_BYTES_MAX ? MR_OK : MR_TOO_BIG;
}

enum mr_status
mr_seal_ring_read(const char *path, struct mr_seal_ring **out, struct mr_err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    enum mr_status status;
    char *room;
    size_t n;

    *out = NULL;
    if (fd < 0)
        return mr_err_setf(err, MR_BAD_SETTING, WHAT_READ,
            "Check its name and who may read it; \"millrace seal new FILE\" makes one.",
            "%s: %s.", path, strerror(errno));
    status = check_file(fd, path, err);
    room = status == MR_OK && sodium_init() >= 0 ? sodium_malloc(FILE_BYTES_MAX) : NULL;
    if (status == MR_OK && !room)
        status = mr_err_set(
            err, MR_NO_MEMORY, WHAT_READ, "There is no memory for keys.", NULL);
    if (status == MR_OK && read_all(fd, room, &n))
        status = mr_err_setf(err, MR_BAD_SETTING, WHAT_READ, "Name a keyring.",
            "%s cannot be read, or is too large for one.", path);
    if (status == MR_OK)
        status = mr_seal_ring_parse(mr_span(room, n), path, out, err);
    sodium_free(room);
    (void)close(fd);
    return status;
}

const char *
mr_seal_ring_path(const char *given, char *room, size_t room_bytes)
{
    const char *folder = getenv("CREDENTIALS_DIRECTORY");
    int n;

    if (given && given[0])
        return given;
    if (!folder || !folder[0])
        return NULL;
    n = snprintf(room, room_bytes, "%s/%s", folder, CREDENTIAL);
    /* One that is there and cannot be read is an error to be told, not a reason to seal nothing. */
    return n > 0 && (size_t)n < room_bytes && access(room, F_OK) == 0 ? room : NULL;
}

static size_t
print_ring(const struct mr_seal_ring *ring, char *out)
{
    size_t n = sizeof head - 1;

    memcpy(out, head, n);
    for (uint32_t i = 0; i < ring->count; i++) {
        (void)mr_seal_hex(ring->keys[i].id, MR_SEAL_ID_BYTES, out + n);
        n += MR_SEAL_ID_TEXT - 1;
        out[n++] = ' ';
        (void)mr_seal_hex(ring->keys[i].secret, MR_SEAL_SECRET_BYTES, out + n);
        n += (size_t)2 * MR_SEAL_SECRET_BYTES;
        out[n++] = '\n';
    }
    return n;
}

_Static_assert(sizeof head + MR_SEAL_KEYS_MAX * LINE_BYTES < FILE_BYTES_MAX,
    "what is written can be read");

static bool
write_all(int fd, const char *text, size_t n)
{
    for (size_t at = 0; at < n;) {
        ssize_t did = write(fd, text + at, n - at);

        if (did < 0 && errno != EINTR)
            return false;
        at += did > 0 ? (size_t)did : 0;
    }
    return fsync(fd) == 0;
}

enum mr_status
mr_seal_ring_write(
    const struct mr_seal_ring *ring, const char *path, bool is_new, struct mr_err *err)
{
    char *text = sodium_malloc(FILE_BYTES_MAX);
    char beside[4096];
    bool is_written = false;
    int fd = -1, n = snprintf(beside, sizeof beside, "%s%s", path, is_new ? "" : ".new");

    if (text && n > 0 && n < (int)sizeof beside)
        fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0) {
        is_written = write_all(fd, text, print_ring(ring, text));
        is_written =
            close(fd) == 0 && is_written && (is_new || rename(beside, path) == 0);
        n = errno;
        if (!is_written)
            (void)unlink(beside);
        errno = n;
    }
    n = errno;
    sodium_free(text);
    if (is_written)
        return MR_OK;
    return mr_err_setf(err, n == EEXIST ? MR_CONFLICT : MR_DENIED, WHAT_WRITE,
        n == EEXIST && is_new ? "Keys that are in use would be lost: choose another name."
                              : "Check the folder, and that nobody else writes it now.",
        "%s: %s.", beside, strerror(n));
}

#include "client/batch_state.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "schemas/base/clock.h"
#include "schemas/base/hash.h"

#define FORMAT "millrace batch 1\nid %s\ndigest %016" PRIx64 "%016" PRIx64 "\n"
#define TEXT_MAX 256

/* Fixed keys: the same input has to give the same digest tomorrow. */
static const struct mr_hash_key key_a = {UINT64_C(0x6d696c6c72616365), UINT64_C(1)};
static const struct mr_hash_key key_b = {UINT64_C(0x6d696c6c72616365), UINT64_C(2)};

void
mr_batch_state_digest(struct mr_batch_digest *digest, struct mr_span line)
{
    struct mr_batch_digest state = {mr_hash(key_a, line), mr_hash(key_b, line)};
    uint64_t chain_a[2] = {digest->a, state.a};
    uint64_t chain_b[2] = {digest->b, state.b};

    digest->a = mr_hash(key_a, mr_span(chain_a, sizeof chain_a));
    digest->b = mr_hash(key_b, mr_span(chain_b, sizeof chain_b));
}

static enum mr_status
refuse(struct mr_err *err, enum mr_status status, const char *path, const char *why)
{
    return mr_err_setf(err, status, "The batch was not begun.",
        "Say --state FILE for another place, or --again to submit everything anew as new "
        "jobs.",
        "%s: %s.", path, why);
}

static enum mr_status
read_state(const char *path, FILE *file, const struct mr_batch_digest *digest,
    struct mr_uuid *id, struct mr_err *err)
{
    char text[TEXT_MAX] = "";
    char wanted[TEXT_MAX];
    char id_text[MR_UUID_TEXT_MAX] = "";
    size_t n = fread(text, 1, sizeof text - 1, file);

    text[n] = '\0';
    if (sscanf(text, "millrace batch 1\nid %36s", id_text) != 1 ||
        mr_uuid_parse(mr_span_str(id_text), id) || !mr_uuid_is_v7(*id))
        return refuse(err, MR_MALFORMED, path, "it is not the state of a batch");
    (void)snprintf(wanted, sizeof wanted, FORMAT, id_text, digest->a, digest->b);
    if (strcmp(text, wanted) != 0)
        return refuse(err, MR_CONFLICT, path,
            "the input has changed since this batch was begun, so that lines and jobs "
            "would "
            "no longer belong together");
    return MR_OK;
}

static bool
write_all(int fd, const char *text)
{
    size_t n = strlen(text);

    return write(fd, text, n) == (ssize_t)n && fsync(fd) == 0;
}

/* Complete or not there at all, whenever we are killed. */
static enum mr_status
write_state(const char *path, const struct mr_batch_digest *digest, struct mr_uuid id,
    struct mr_err *err)
{
    char id_text[MR_UUID_TEXT_MAX];
    char text[TEXT_MAX];
    char fresh[PATH_MAX];
    bool is_good;
    int fd;

    if (snprintf(fresh, sizeof fresh, "%s.XXXXXX", path) >= (int)sizeof fresh)
        return refuse(err, MR_DENIED, path, "the name is too long");
    fd = mkostemp(fresh, O_CLOEXEC);
    if (fd < 0)
        return refuse(err, MR_DENIED, path, strerror(errno));
    (void)snprintf(
        text, sizeof text, FORMAT, mr_uuid_format(id, id_text), digest->a, digest->b);
    is_good = write_all(fd, text);
    is_good = close(fd) == 0 && is_good;
    if (is_good && rename(fresh, path) == 0)
        return MR_OK;
    (void)refuse(err, MR_DENIED, path, strerror(errno));
    (void)unlink(fresh);
    return MR_DENIED;
}

enum mr_status
mr_batch_state_open(const char *path, const struct mr_batch_digest *digest,
    struct mr_uuid *id, bool *was_begun, struct mr_err *err)
{
    FILE *file = fopen(path, "re");
    enum mr_status status;

    *was_begun = file != NULL;
    if (file) {
        status = read_state(path, file, digest, id, err);
        fclose(file);
        return status;
    }
    if (errno != ENOENT)
        return refuse(err, MR_DENIED, path, strerror(errno));
    *id = mr_uuid_new(mr_clock_now().wall_us);
    return write_state(path, digest, *id, err);
}

struct mr_uuid
mr_batch_state_job(struct mr_uuid batch, uint64_t number)
{
    return mr_uuid_derive(batch, mr_span_str("batch line"), number);
}

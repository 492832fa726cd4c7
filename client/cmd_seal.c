#include "client/cli.h"

#include <stdlib.h>
#include <string.h>

#include "schemas/wire/seal.h"

/*
 * Keyrings. A secret is never printed: `show` says ids. A key is rotated in three steps, each of which
 * is carried to all workers and clients before the next: add, rotate, drop.
 */

/* The place of --key, or of the last one; its number if there is none such. */
static uint32_t
place_of(const struct mr_cli *cli, const struct mr_seal_ring *ring)
{
    const char *wanted = mr_cli_option(cli, "key");
    uint32_t count = mr_seal_ring_count(ring), at = 0;
    char id[MR_SEAL_ID_TEXT];

    if (!wanted)
        return count - 1;
    while (at < count && strcmp(mr_seal_ring_id(ring, at, id), wanted) != 0)
        at++;
    return at;
}

static enum mr_status
no_such_key(const struct mr_cli *cli, struct mr_err *err)
{
    return mr_err_setf(err, MR_NOT_FOUND, "The keyring was not changed.",
        "\"millrace seal show FILE\" lists its keys.", "There is no key \"%.40s\" in it.",
        mr_cli_option(cli, "key"));
}

static enum mr_status
add_key(struct mr_cli *cli, struct mr_seal_ring *ring, struct mr_err *err)
{
    (void)cli;
    if (mr_seal_ring_add(ring) == MR_OK)
        return MR_OK;
    return mr_err_set(err, MR_LIMIT, "The keyring was not changed.",
        "There are 16 keys in it.", "Drop those that nothing is sealed with any more.");
}

static enum mr_status
rotate(struct mr_cli *cli, struct mr_seal_ring *ring, struct mr_err *err)
{
    uint32_t at = place_of(cli, ring);

    if (at == 0)
        return mr_err_set(err, MR_BAD_ARGUMENT, "The keyring was not changed.",
            mr_seal_ring_count(ring) == 1 ? "There is one key in it."
                                          : "That key is the first one already.",
            "Add a key and carry the file to all workers and clients first: millrace "
            "seal "
            "add FILE.");
    return mr_seal_ring_raise(ring, at) ? no_such_key(cli, err) : MR_OK;
}

static enum mr_status
drop_key(struct mr_cli *cli, struct mr_seal_ring *ring, struct mr_err *err)
{
    uint32_t at = place_of(cli, ring);

    if (at == 0)
        return mr_err_set(err, MR_BAD_ARGUMENT, "The keyring was not changed.",
            "Its first key is the one that seals.",
            "Put another one first: millrace seal rotate FILE.");
    return mr_seal_ring_drop(ring, at) ? no_such_key(cli, err) : MR_OK;
}

static enum mr_status
look(struct mr_cli *cli, struct mr_seal_ring *ring, struct mr_err *err)
{
    (void)cli;
    (void)ring;
    (void)err;
    return MR_OK;
}

static const struct verb {
    const char *name;
    enum mr_status (*change)(
        struct mr_cli *cli, struct mr_seal_ring *ring, struct mr_err *err);
    bool makes, writes;
} verbs[] = {
    {"new", add_key, true, true},
    {"add", add_key, false, true},
    {"rotate", rotate, false, true},
    {"drop", drop_key, false, true},
    {"show", look, false, false},
};

static const struct verb *
find_verb(const char *word, struct mr_err *err)
{
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
        if (strcmp(verbs[i].name, word) == 0)
            return &verbs[i];
    (void)mr_err_setf(err, MR_BAD_ARGUMENT,
        "There is no such thing to do with a keyring.",
        "Write new, add, rotate, drop or show before the file.", "\"%.100s\" is unknown.",
        word);
    return NULL;
}

static void
print(struct mr_cli *cli, const struct mr_seal_ring *ring)
{
    static const char *const columns[] = {"key", "does", NULL};
    json_t *rows = json_array();
    char id[MR_SEAL_ID_TEXT];

    for (uint32_t i = 0; i < mr_seal_ring_count(ring); i++)
        (void)json_array_append_new(
            rows, json_pack("{s:s,s:s}", "key", mr_seal_ring_id(ring, i, id), "does",
                      i == 0 ? "seals, opens" : "opens"));
    mr_cli_print_rows(cli, rows, columns);
}

int
mr_cmd_seal(struct mr_cli *cli)
{
    const char *path = cli->words[1];
    struct mr_seal_ring *ring = NULL;
    struct mr_err err = {.status = MR_OK};
    const struct verb *verb = find_verb(cli->words[0], &err);
    enum mr_status status = verb ? MR_OK : err.status;

    if (!status)
        status =
            verb->makes ? mr_seal_ring_new(&ring) : mr_seal_ring_read(path, &ring, &err);
    if (status && !err.status)
        (void)mr_err_set(&err, status, "The keyring was not made.",
            "There is no memory for keys.", NULL);
    if (!status)
        status = verb->change(cli, ring, &err);
    if (!status && verb->writes)
        status = mr_seal_ring_write(ring, path, verb->makes, &err);
    if (!status)
        print(cli, ring);
    mr_seal_ring_destroy(&ring);
    return status ? mr_cli_fail(cli, &err) : MR_CLI_OK;
}

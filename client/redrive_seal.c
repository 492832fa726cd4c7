#include "client/redrive_seal.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "client/json.h"
#include "schemas/wire/limits.h"

#define WHAT "The job was not redriven."
#define KEYS_MAX 128

/* What `show` says of it; the spans point into `reply`. */
struct shown {
    void *reply;
    struct mr_span kind, payload;
};

enum mr_status
mr_redrive_seal_ring(
    const struct mr_cli *cli, struct mr_seal_ring **out, struct mr_err *err)
{
    char room[PATH_MAX];
    const char *path = mr_seal_ring_path(cli->settings.seal_file, room, sizeof room);

    *out = NULL;
    return path ? mr_seal_ring_read(path, out, err) : MR_OK;
}

static enum mr_status
said(struct mr_err *err, int code, const struct millrace_error *error)
{
    return mr_err_set(err, (enum mr_status)code, WHAT, error->why, error->todo);
}

static enum mr_status
read_reply(struct mr_span bytes, struct shown *shown)
{
    struct mr_rd rd = mr_rd_open(bytes);
    uint32_t pairs;

    if (mr_pack_scan(bytes, MR_DEPTH_MAX) || mr_rd_peek(&rd) != MR_PACK_MAP)
        return MR_NO_JOB;
    pairs = mr_rd_map(&rd, KEYS_MAX);
    for (uint32_t i = 0; i < pairs; i++) {
        struct mr_span key = mr_rd_str(&rd, MR_NAME_BYTES_MAX);

        if (mr_span_is(key, "kind"))
            shown->kind = mr_rd_str(&rd, MR_NAME_BYTES_MAX);
        else if (mr_span_is(key, "payload"))
            shown->payload =
                mr_rd_skip_nil(&rd) ? MR_SPAN_NONE : mr_rd_bin(&rd, MR_PAYLOAD_BYTES_MAX);
        else
            mr_rd_skip(&rd);
    }
    return rd.status;
}

static enum mr_status
ask_for_it(struct mr_cli *cli, const struct millrace_id *id, struct shown *shown,
    struct mr_err *err)
{
    struct millrace_pack args = {.n = 0};
    struct millrace_error error = {.code = 0};
    size_t n = 0;
    int code;

    millrace_pack_map(&args, 1);
    millrace_pack_str(&args, "id");
    millrace_pack_bin(&args, id->b, sizeof id->b);
    code = args.code ? args.code
                     : millrace_call(cli->mr, "show", args.bytes, args.n, 0,
                           &shown->reply, &n, &error);
    millrace_pack_free(&args);
    if (code)
        return said(err, code, &error);
    if (read_reply(mr_span(shown->reply, n), shown))
        return mr_err_set(err, MR_NO_JOB, WHAT, "The broker does not show it.", NULL);
    return MR_OK;
}

static enum mr_status
cannot_open(enum mr_status status, struct mr_span payload, struct mr_err *err)
{
    char key[MR_SEAL_ID_TEXT];

    (void)mr_seal_key_of(payload, key);
    if (status == MR_NOT_FOUND)
        return mr_err_setf(err, status, WHAT,
            "Give a keyring that has the key, with --seal-file.",
            "Its payload is sealed with key %s, which is not in the keyring.", key);
    return mr_err_set(err, status, WHAT,
        "Its payload does not open: it was sealed for another job, or changed.",
        "Submit it anew from where it came: millrace submit --redrive-of ID.");
}

/* The payload of `id`, sealed for the new one, into `out`. */
static enum mr_status
seal_anew(const struct mr_seal_ring *ring, const struct millrace_id *id,
    const struct millrace_id *as, const struct shown *shown, uint8_t *out, size_t *out_n,
    struct mr_err *err)
{
    struct mr_seal_job old = {.kind = shown->kind}, fresh = {.kind = shown->kind};
    size_t n = shown->payload.n;
    uint8_t *copy = malloc(n ? n : 1);
    struct mr_span plain;
    enum mr_status status;

    if (!copy)
        return mr_err_set(err, MR_NO_MEMORY, WHAT, "No memory.", NULL);
    if (n)
        memcpy(copy, shown->payload.p, n);
    memcpy(old.id.b, id->b, sizeof old.id.b);
    memcpy(fresh.id.b, as->b, sizeof fresh.id.b);
    status = mr_seal_open(ring, &old, copy, n, &plain);
    if (status)
        status = cannot_open(status, shown->payload, err);
    else if (mr_seal(ring, 0, &fresh, plain, out))
        status = mr_err_set(err, MR_TOO_BIG, WHAT, "Its payload is too large.", NULL);
    *out_n = mr_seal_bytes(plain.n);
    mr_seal_wipe(copy, n);
    free(copy);
    return status;
}

static enum mr_status
redrive_as(struct mr_cli *cli, const struct millrace_id *id, const struct millrace_id *as,
    struct mr_span payload, json_t **verdict, struct mr_err *err)
{
    struct millrace_pack args = {.n = 0};
    struct millrace_error error = {.code = 0};
    void *reply = NULL;
    json_t *rows;
    size_t n = 0;
    int code;

    millrace_pack_map(&args, 3);
    millrace_pack_str(&args, "ids");
    millrace_pack_array(&args, 1);
    millrace_pack_bin(&args, id->b, sizeof id->b);
    millrace_pack_str(&args, "as");
    millrace_pack_bin(&args, as->b, sizeof as->b);
    millrace_pack_str(&args, "payload");
    millrace_pack_bin(&args, payload.p, payload.n);
    code = args.code ? args.code
                     : millrace_call(
                           cli->mr, "redrive", args.bytes, args.n, 0, &reply, &n, &error);
    millrace_pack_free(&args);
    if (code)
        return said(err, code, &error);
    rows = mr_json_unpack_reply(mr_span(reply, n));
    *verdict = json_incref(json_array_get(rows, 0));
    json_decref(rows);
    free(reply);
    return *verdict ? MR_OK
                    : mr_err_set(err, MR_MALFORMED, "The broker's reply cannot be read.",
                          NULL, "Are broker and command of the same version?");
}

enum mr_status
mr_redrive_seal_one(struct mr_cli *cli, const struct mr_seal_ring *ring,
    const struct millrace_id *id, json_t **verdict, struct mr_err *err)
{
    struct millrace_id as = millrace_id_new();
    struct shown shown = {.reply = NULL};
    enum mr_status status = ask_for_it(cli, id, &shown, err);
    uint8_t *sealed = malloc(MR_PAYLOAD_BYTES_MAX);
    size_t n = 0;

    *verdict = NULL;
    if (!status && !sealed)
        status = mr_err_set(err, MR_NO_MEMORY, WHAT, "No memory.", NULL);
    if (!status)
        status = seal_anew(ring, id, &as, &shown, sealed, &n, err);
    if (!status)
        status = redrive_as(cli, id, &as, mr_span(sealed, n), verdict, err);
    free(sealed);
    free(shown.reply);
    return status;
}

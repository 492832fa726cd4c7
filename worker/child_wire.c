#include "worker/child_wire.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define HEAD_BYTES (sizeof(uint32_t) + sizeof(uint64_t))
#define READ_BYTES 65536u
#define KEPT_BYTES_MAX 262144u
#define DEPTH_MAX 3
#define TEXT_BYTES_MAX 65536u /* of a setting */

/* ---- frames ---------------------------------------------------------------------------------- */

size_t
mr_frame_open(struct mr_wr *wr, uint64_t key, enum mr_child_word word, uint32_t fields)
{
    uint8_t head[HEAD_BYTES] = {0};
    size_t mark = wr->n;

    memcpy(head + sizeof(uint32_t), &key, sizeof key);
    mr_wr_raw(wr, mr_span(head, sizeof head));
    mr_wr_array(wr, fields + 1);
    mr_wr_uint(wr, word);
    return mark;
}

void
mr_frame_close(struct mr_wr *wr, size_t mark)
{
    uint32_t bytes = (uint32_t)(wr->n - mark - HEAD_BYTES);

    if (wr->status == MR_OK)
        memcpy(wr->p + mark, &bytes, sizeof bytes);
}

static bool
make_room(struct mr_frames *frames)
{
    size_t room = frames->room ? frames->room : READ_BYTES;
    uint8_t *bytes;

    if (frames->at) {
        memmove(frames->bytes, frames->bytes + frames->at, frames->n - frames->at);
        frames->n -= frames->at;
        frames->at = 0;
    }
    if (frames->n == 0 &&
        frames->room > KEPT_BYTES_MAX) { /* one large frame was enough */
        free(frames->bytes);
        frames->bytes = NULL;
        room = READ_BYTES;
    }
    while (room - frames->n < READ_BYTES / 2)
        room *= 2;
    if (frames->bytes && room == frames->room)
        return true;
    bytes = realloc(frames->bytes, room);
    if (!bytes)
        return false;
    frames->bytes = bytes;
    frames->room = room;
    return true;
}

bool
mr_frames_read(struct mr_frames *frames, int fd)
{
    for (;;) {
        ssize_t n;

        /* A frame may be so large, and no more is ever waited for. */
        if (frames->n - frames->at > HEAD_BYTES + MR_FRAME_BYTES_MAX)
            return true;
        if (!make_room(frames))
            return false;
        n = recv(fd, frames->bytes + frames->n, frames->room - frames->n, MSG_DONTWAIT);
        if (n > 0)
            frames->n += (size_t)n;
        else if (n == 0)
            return !(frames->is_hung_up = true);
        else if (errno != EINTR)
            return errno == EAGAIN || errno == EWOULDBLOCK;
    }
}

enum mr_status
mr_frames_next(struct mr_frames *frames, enum mr_child_word *word, struct mr_rd *rd)
{
    size_t left = frames->n - frames->at;
    const uint8_t *p;
    struct mr_span body;
    uint32_t bytes;
    uint64_t key;

    if (left < HEAD_BYTES)
        return MR_NOT_FOUND;
    p = frames->bytes + frames->at;
    memcpy(&bytes, p, sizeof bytes);
    memcpy(&key, p + sizeof bytes, sizeof key);
    if (!frames->key)
        frames->key = key;
    if (key != frames->key || bytes > MR_FRAME_BYTES_MAX)
        return MR_MALFORMED;
    if (left - HEAD_BYTES < bytes)
        return MR_NOT_FOUND;
    frames->at += HEAD_BYTES + bytes;
    body = mr_span(p + HEAD_BYTES, bytes);
    if (mr_pack_scan(body, DEPTH_MAX))
        return MR_MALFORMED;
    *rd = mr_rd_open(body);
    if (mr_rd_array(rd, UINT16_MAX) == 0)
        return MR_MALFORMED;
    *word = (enum mr_child_word)mr_rd_uint(rd, MR_CHILD_LAST);
    return rd->status ? MR_MALFORMED : MR_OK;
}

/* ---- START ----------------------------------------------------------------------------------- */

static uint32_t
count_rows(void)
{
    uint32_t n = 0;

    while (mr_settings_rows[n].name)
        n++;
    return n;
}

static void
put_bytes(struct mr_wr *wr, const char *text)
{
    mr_wr_bin(wr, mr_span_str(text)); /* bin: a path need not be UTF-8 */
}

static void
put_setting(
    struct mr_wr *wr, const struct mr_conf_row *row, const struct mr_settings *settings)
{
    const char *at = (const char *)settings + row->offset;

    if (row->type == MR_CONF_INT)
        mr_wr_int(wr, *(const int64_t *)(const void *)at);
    else if (row->type == MR_CONF_BOOL)
        mr_wr_bool(wr, *(const bool *)(const void *)at);
    else
        put_bytes(wr, *(const char *const *)(const void *)at);
}

void
mr_child_put_start(struct mr_wr *wr, uint64_t key, const struct mr_child_start *start)
{
    size_t mark = mr_frame_open(wr, key, MR_CHILD_START, 6);

    mr_wr_uint(wr, start->number);
    put_bytes(wr, start->db_name);
    mr_wr_bin(wr, start->worker);
    put_bytes(wr, start->loads);
    mr_wr_array(wr, count_rows());
    for (const struct mr_conf_row *row = mr_settings_rows; row->name; row++)
        put_setting(wr, row, &start->settings);
    mr_wr_bool(wr, start->seals);
    mr_frame_close(wr, mark);
}

static const char *
get_text(struct mr_rd *rd, struct mr_arena *arena)
{
    const char *text = mr_arena_str(arena, mr_rd_bin(rd, TEXT_BYTES_MAX));

    if (!text && !rd->status)
        rd->status = MR_NO_MEMORY;
    return text ? text : "";
}

static void
get_setting(struct mr_rd *rd, struct mr_arena *arena, const struct mr_conf_row *row,
    struct mr_settings *settings)
{
    char *at = (char *)settings + row->offset;

    if (row->type == MR_CONF_INT)
        *(int64_t *)(void *)at = mr_rd_int(rd);
    else if (row->type == MR_CONF_BOOL)
        *(bool *)(void *)at = mr_rd_bool(rd);
    else
        *(const char **)(void *)at = get_text(rd, arena);
}

enum mr_status
mr_child_get_start(struct mr_rd *rd, struct mr_arena *arena, struct mr_child_start *out)
{
    out->number = (uint32_t)mr_rd_uint(rd, UINT32_MAX);
    out->db_name = get_text(rd, arena);
    out->worker = mr_span_str(get_text(rd, arena));
    out->loads = get_text(rd, arena);
    if (mr_rd_array(rd, UINT16_MAX) != count_rows())
        return MR_MALFORMED;
    for (const struct mr_conf_row *row = mr_settings_rows; row->name; row++)
        get_setting(rd, arena, row, &out->settings);
    out->seals = mr_rd_bool(rd);
    return rd->status;
}

/* ---- ATTEMPT and OUTCOME ----------------------------------------------------------------------- */

void
mr_child_put_attempt(
    struct mr_wr *wr, uint64_t key, const struct mr_attempt *attempt, uint32_t memory_mib)
{
    size_t mark = mr_frame_open(wr, key, MR_CHILD_ATTEMPT, 10);

    mr_wr_uint(wr, attempt->serial);
    mr_wr_bin(wr, mr_span(attempt->id.b, sizeof attempt->id.b));
    mr_wr_uint(wr, attempt->number);
    put_bytes(wr, attempt->kind->name);
    mr_wr_bin(wr, attempt->payload);
    mr_wr_bin(wr, attempt->queue);
    mr_wr_bin(wr, attempt->trace);
    mr_wr_uint(wr, attempt->timeout_ms);
    mr_wr_uint(wr, (uint64_t)atomic_load(&attempt->stop));
    mr_wr_uint(wr, memory_mib);
    mr_frame_close(wr, mark);
}

enum mr_status
mr_child_get_attempt(struct mr_rd *rd, struct mr_job_sent *sent, uint64_t *serial,
    enum mr_stop *stop, uint32_t *memory_mib)
{
    struct mr_span id;

    *serial = mr_rd_uint(rd, UINT64_MAX);
    id = mr_rd_bin(rd, sizeof sent->id.b);
    sent->attempt = (uint32_t)mr_rd_uint(rd, UINT32_MAX);
    sent->kind = mr_rd_bin(rd, MR_NAME_BYTES_MAX);
    sent->payload = mr_rd_bin(rd, MR_FRAME_BYTES_MAX);
    sent->queue = mr_rd_bin(rd, MR_FRAME_BYTES_MAX);
    sent->trace = mr_rd_bin(rd, MR_FRAME_BYTES_MAX);
    sent->timeout_ms = (uint32_t)mr_rd_uint(rd, UINT32_MAX);
    *stop = (enum mr_stop)mr_rd_uint(rd, MR_STOP_DRAIN);
    *memory_mib = (uint32_t)mr_rd_uint(rd, UINT32_MAX);
    if (rd->status || id.n != sizeof sent->id.b)
        return MR_MALFORMED;
    memcpy(sent->id.b, id.p, id.n);
    return MR_OK;
}

void
mr_child_put_outcome(struct mr_wr *wr, uint64_t key, const struct mr_attempt *attempt,
    enum mr_run_end end, bool is_spent)
{
    size_t mark = mr_frame_open(wr, key, MR_CHILD_OUTCOME, 11);
    const struct mr_done *done = &attempt->done;

    mr_wr_uint(wr, attempt->serial);
    mr_wr_bool(wr, end == MR_RUN_TO_STORE);
    mr_wr_uint(wr, done->report);
    mr_wr_uint(wr, done->outcome);
    mr_wr_bin(wr, end == MR_RUN_TO_STORE ? MR_SPAN_NONE : done->text);
    mr_wr_bin(wr, mr_wr_span(&attempt->body));
    mr_wr_int(wr, done->started_at_us);
    mr_wr_int(wr, done->finished_at_us);
    mr_wr_uint(wr, done->retry_after_ms);
    mr_wr_bool(wr, attempt->rings);
    mr_wr_bool(wr, is_spent);
    mr_frame_close(wr, mark);
}

enum mr_status
mr_child_get_outcome(struct mr_rd *rd, struct mr_attempt *attempt, struct mr_span worker,
    enum mr_run_end *end, bool *is_spent)
{
    uint64_t serial = mr_rd_uint(rd, UINT64_MAX);
    bool is_to_store = mr_rd_bool(rd);
    enum mr_report report = (enum mr_report)mr_rd_uint(rd, MR_REPORT_LAST);
    enum mr_outcome outcome = (enum mr_outcome)mr_rd_uint(rd, MR_OUT_EXPIRED);
    struct mr_span text = mr_rd_bin(rd, MR_ERROR_BYTES_MAX);
    struct mr_span body = mr_rd_bin(rd, MR_RESULT_BYTES_MAX);
    struct mr_done *done = &attempt->done;

    done->started_at_us =
        (int64_t)mr_rd_uint(rd, INT64_MAX); /* their difference is taken */
    done->finished_at_us = (int64_t)mr_rd_uint(rd, INT64_MAX);
    done->retry_after_ms = (uint32_t)mr_rd_uint(rd, UINT32_MAX);
    attempt->rings = mr_rd_bool(rd);
    *is_spent = mr_rd_bool(rd);
    if (rd->status || serial != attempt->serial || (!is_to_store && !report) ||
        (report == MR_WAS_FINISHED && !outcome) ||
        (body.n && mr_pack_scan(body, MR_PAYLOAD_DEPTH_MAX - 1)))
        return MR_MALFORMED;
    mr_wr_reset(&attempt->body);
    mr_wr_raw(&attempt->body, body);
    if (attempt->body.status)
        return attempt->body.status;
    *end = is_to_store ? MR_RUN_TO_STORE : MR_RUN_OVER;
    if (is_to_store) {
        mr_run_fill_finish(attempt, worker);
        return MR_OK;
    }
    mr_attempt_report(attempt, report, text);
    done->outcome = report == MR_WAS_FINISHED ? outcome : (enum mr_outcome)0;
    return MR_OK;
}

/* ---- SEAL -------------------------------------------------------------------------------------- */

void
mr_child_put_seal(
    struct mr_wr *wr, uint64_t key, uint64_t serial, const struct mr_seal_ask *ask)
{
    size_t mark = mr_frame_open(wr, key, MR_CHILD_SEAL, 4);

    mr_wr_uint(wr, serial);
    mr_wr_bin(wr, ask->label);
    mr_wr_bin(wr, ask->kind);
    mr_wr_bin(wr, ask->plain);
    mr_frame_close(wr, mark);
}

enum mr_status
mr_child_get_seal(struct mr_rd *rd, uint64_t *serial, struct mr_seal_ask *ask)
{
    *serial = mr_rd_uint(rd, UINT64_MAX);
    ask->label = mr_rd_bin(rd, MR_FRAME_BYTES_MAX);
    ask->kind = mr_rd_bin(rd, MR_NAME_BYTES_MAX);
    ask->plain = mr_rd_bin(rd, MR_PAYLOAD_BYTES_MAX);
    return rd->status;
}

/* ---- the others -------------------------------------------------------------------------------- */

void
mr_child_put_words(
    struct mr_wr *wr, uint64_t key, enum mr_child_word word, uint64_t a, uint64_t b)
{
    size_t mark = mr_frame_open(wr, key, word, 2);

    mr_wr_uint(wr, a);
    mr_wr_uint(wr, b);
    mr_frame_close(wr, mark);
}

void
mr_child_put_text(struct mr_wr *wr, uint64_t key, enum mr_child_word word, uint64_t a,
    uint64_t b, struct mr_span text)
{
    size_t mark = mr_frame_open(wr, key, word, 3);

    mr_wr_uint(wr, a);
    mr_wr_uint(wr, b);
    mr_wr_bin(wr, text);
    mr_frame_close(wr, mark);
}

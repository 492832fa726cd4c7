#include "tests/chaos/check_priv.h"

#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "client/millrace.h"
#include "tests/chaos/history.h"

#define CHUNK_BYTES ((size_t)1 << 20)
#define LINE_BYTES_MAX 4096

static const char tables[] =
    "create temp table seen (seq bigint generated always as identity, client int not "
    "null,"
    " at bigint not null, op text not null, phase text not null, id uuid not null,"
    " kind text, digest text, code text, outcome text, attempt int, said text,"
    " invoked bigint) on commit drop";

static const char *const more_tables[] = {
    "create temp table begun (at bigint not null, pid int not null, what text not null,"
    " id uuid not null, attempt int not null, kind text not null) on commit drop",
    "create temp table fault (at bigint not null, fault text not null, phase text not "
    "null,"
    " detail text) on commit drop",
    "create temp table counter (name text not null, value bigint not null) on commit "
    "drop",
    "create temp table told (id uuid primary key, digest text, body_digest text,"
    " source int, target int, cents bigint, depth int, wanted bigint, got bigint)"
    " on commit drop"};

/* ---- files ----------------------------------------------------------------------------------- */

/* Rows of a file: how they are told apart from damage, and how they go into their table. */
struct form {
    const char *pattern; /* of the file's name */
    const char *insert;  /* $1: lines */
    bool (*is_line)(struct mr_span line);
    bool is_needed;
};

static bool
is_history(struct mr_span line)
{
    struct mr_history_line ignored;

    return mr_history_parse(line, &ignored) == MR_OK;
}

static size_t
count_fields(struct mr_span line)
{
    size_t fields = line.n > 0;

    for (size_t i = 0; i < line.n; i++)
        fields += line.p[i] == ' ' || line.p[i] == '\t';
    return fields;
}

static bool
is_begun(struct mr_span line)
{
    return count_fields(line) == 6;
}

static bool
is_fault(struct mr_span line)
{
    return count_fields(line) >= 3;
}

static bool
is_counter(struct mr_span line)
{
    return count_fields(line) == 2;
}

#define LINES " from string_to_table($1, E'\\n') with ordinality l (line, n)"

static const struct form forms[] = {
    {"history-*.log",
        "insert into seen (at, client, op, phase, id, kind, digest, code, outcome, "
        "attempt,"
        " said) select f[1]::bigint, f[2]::int, f[3], f[4], f[5]::uuid, f[6], f[7], f[8],"
        " f[9], f[10]::int, f[11] from (select n, string_to_array(line, E'\\t', '-') as "
        "f" LINES " where line <> '') s order by n",
        is_history, true},
    {"starts-*.log",
        "insert into begun select f[1]::bigint, f[2]::int, f[3], f[4]::uuid, f[5]::int, "
        "f[6]"
        " from (select n, string_to_array(translate(line, E'\\t', ' '), ' ') as f" LINES
        " where line <> '') s order by n",
        is_begun, true},
    {"faults.log",
        "insert into fault select f[1]::bigint, f[2], f[3], array_to_string(f[4:], ' ')"
        " from (select n, string_to_array(translate(line, E'\\t', ' '), ' ') as f" LINES
        " where line <> '') s order by n",
        is_fault, true},
    {"counters.log",
        "insert into counter select f[1], f[2]::bigint"
        " from (select n, string_to_array(translate(line, E'\\t', ' '), ' ') as f" LINES
        " where line <> '') s order by n",
        is_counter, false},
};

struct reading {
    struct mr_pg *pg;
    const struct form *form;
    const char *path;
    struct mr_err *err;
    char *chunk; /* whole lines, terminated */
    size_t n;
};

static enum mr_status
flush(struct reading *reading)
{
    const char *params[] = {reading->chunk};

    if (reading->n == 0)
        return MR_OK;
    reading->chunk[reading->n] = '\0';
    reading->n = 0;
    return mr_pg_run(reading->pg, reading->form->insert, 1, params, NULL, reading->err);
}

static enum mr_status
take_line(struct reading *reading, const char *line, size_t n)
{
    enum mr_status status = MR_OK;

    if (n > LINE_BYTES_MAX || memchr(line, '\0', n) ||
        !reading->form->is_line(mr_span(line, n)))
        return mr_err_setf(reading->err, MR_MALFORMED, "cannot read a file of the run",
            "See tests/chaos/README.md for its form.", "%.200s: no such line: %.100s",
            reading->path, line);
    if (reading->n + n + 2 > CHUNK_BYTES)
        status = flush(reading);
    memcpy(reading->chunk + reading->n, line, n);
    reading->chunk[reading->n + n] = '\n';
    reading->n += n + 1;
    return status;
}

/* A last line without its end was torn when its writer was killed: it is not one. */
static enum mr_status
read_lines(struct reading *reading, FILE *file)
{
    enum mr_status status = MR_OK;
    char *line = NULL;
    size_t room = 0;
    ssize_t n;

    while (!status && (n = getline(&line, &room, file)) > 0 && line[n - 1] == '\n') {
        line[n - 1] = '\0';
        if (n > 1)
            status = take_line(reading, line, (size_t)n - 1);
    }
    free(line);
    return status ? status : flush(reading);
}

static enum mr_status
read_file(struct reading *reading)
{
    FILE *file = fopen(reading->path, "r");
    enum mr_status status;

    if (!file)
        return mr_err_setf(reading->err, MR_NOT_FOUND, "cannot read a file of the run",
            NULL, "%.200s: %s", reading->path, strerror(errno));
    status = read_lines(reading, file);
    fclose(file);
    return status;
}

static enum mr_status
read_form(struct reading *reading, const char *folder, struct dirent **names, int count)
{
    enum mr_status status = MR_OK;
    bool is_there = false;
    char path[512];

    for (int i = 0; i < count && !status; i++) {
        if (fnmatch(reading->form->pattern, names[i]->d_name, 0) != 0)
            continue;
        is_there = true;
        (void)snprintf(path, sizeof path, "%.200s/%.200s", folder, names[i]->d_name);
        reading->path = path;
        status = read_file(reading);
    }
    if (!status && !is_there && reading->form->is_needed)
        return mr_err_setf(reading->err, MR_NOT_FOUND, "this is not the folder of a run",
            "Give the folder that the driver wrote to.", "%.200s has no %s", folder,
            reading->form->pattern);
    return status;
}

/* The line that began a call is the last one of its like before the answer. */
static const char pair_sql[] =
    "update seen s set invoked = p.invoked from (select seq, max(seq) filter"
    " (where phase = 'invoke') over (partition by client, op, id order by seq) as invoked"
    " from seen) p where p.seq = s.seq";

/* A poison job that began and did not end took its worker with it. */
static const char crash_sql[] =
    "create temp table crash on commit drop as select pid, min(at) as at from begun b"
    " where what = 'S' and kind = 'chaos.poison' and not exists (select from begun e"
    " where e.what = 'E' and e.id = b.id and e.attempt = b.attempt and e.pid = b.pid)"
    " group by pid";

enum mr_status
mr_chaos_load(struct mr_pg *pg, const char *folder, struct mr_err *err)
{
    struct reading reading = {.pg = pg, .err = err, .chunk = malloc(CHUNK_BYTES)};
    struct dirent **names = NULL;
    int count = scandir(folder, &names, NULL, alphasort);
    enum mr_status status = mr_pg_run(pg, tables, 0, NULL, NULL, err);

    for (size_t i = 0; i < sizeof more_tables / sizeof more_tables[0] && !status; i++)
        status = mr_pg_run(pg, more_tables[i], 0, NULL, NULL, err);
    if (!status && (!reading.chunk || count < 0))
        status = mr_err_setf(err, MR_NOT_FOUND, "cannot read the folder of the run", NULL,
            "%.200s: %s", folder, strerror(errno));
    for (size_t i = 0; i < sizeof forms / sizeof forms[0] && !status; i++) {
        reading.form = &forms[i];
        status = read_form(&reading, folder, names, count);
    }
    if (!status)
        status = mr_pg_run(pg, pair_sql, 0, NULL, NULL, err);
    if (!status)
        status = mr_pg_run(pg, crash_sql, 0, NULL, NULL, err);
    for (int i = 0; i < count; i++)
        free(names[i]);
    free(names);
    free(reading.chunk);
    return status;
}

/* ---- payloads and bodies ------------------------------------------------------------------------ */

/* x := x * A + C, n times, modulo 2^64; n is halved instead of counted down, because the handler
 * does it the long way. */
static uint64_t
jump(uint64_t x, uint64_t n)
{
    uint64_t a = UINT64_C(6364136223846793005), c = UINT64_C(1442695040888963407);

    for (; n; n >>= 1) {
        if (n & 1)
            x = x * a + c;
        c += c * a;
        a *= a;
    }
    return x;
}

struct bytes {
    unsigned char *p;
    size_t n, room;
};

static unsigned char
nibble(char c)
{
    return (unsigned char)(c <= '9' ? c - '0' : c - 'a' + 10);
}

/* Of PostgreSQL's "\x..."; false without memory. */
static bool
unhex(const char *text, struct bytes *out)
{
    size_t n = text ? (strlen(text) - 2) / 2 : 0;

    if (n > out->room) {
        unsigned char *p = realloc(out->p, n);

        if (!p)
            return false;
        out->p = p;
        out->room = n;
    }
    out->n = n;
    for (size_t i = 0; i < n; i++)
        out->p[i] =
            (unsigned char)(nibble(text[2 + 2 * i]) << 4 | nibble(text[3 + 2 * i]));
    return true;
}

static const char *
number(const struct bytes *bytes, const char *key, char out[24])
{
    int64_t value;

    if (!millrace_get_int(bytes->p, bytes->n, key, &value))
        return "-";
    (void)snprintf(out, 24, "%" PRId64, value);
    return out;
}

static const char *
digest(const struct bytes *bytes, char out[24])
{
    if (bytes->n == 0)
        return "-";
    (void)snprintf(out, 24, "%016" PRIx64, mr_history_digest(bytes->p, bytes->n));
    return out;
}

/* What a success has to answer. */
static const char *
wanted(const char *kind, const struct bytes *payload, char out[24])
{
    int64_t seed, n;

    if (strcmp(kind, "chaos.transfer") == 0 || strcmp(kind, "chaos.slow") == 0)
        return number(payload, "cents", out);
    if (strcmp(kind, "chaos.calc") != 0 ||
        !millrace_get_int(payload->p, payload->n, "seed", &seed) ||
        !millrace_get_int(payload->p, payload->n, "n", &n) || n < 0)
        return "-";
    (void)snprintf(
        out, 24, "%" PRId64, (int64_t)(jump((uint64_t)seed, (uint64_t)n) >> 1));
    return out;
}

/* One msgpack integer, as a result is. */
static const char *
answer(const struct bytes *body, char out[24])
{
    /* {"v": body}: then the client library's reader does it. */
    unsigned char map[16] = {0x81, 0xa1, 'v'};
    int64_t value;

    if (body->n == 0 || body->n > sizeof map - 3)
        return "-";
    memcpy(map + 3, body->p, body->n);
    if (!millrace_get_int(map, body->n + 3, "v", &value))
        return "-";
    (void)snprintf(out, 24, "%" PRId64, value);
    return out;
}

static const char tell_sql[] =
    "insert into told select f[1]::uuid, f[2], f[3], f[4]::int, f[5]::int, f[6]::bigint,"
    " f[7]::int, f[8]::bigint, f[9]::bigint from (select string_to_array(line, ' ', '-')"
    " as f" LINES " where line <> '') s";

static enum mr_status
tell_rows(struct mr_pg *pg, const struct pg_result *jobs, char *chunk, struct mr_err *err)
{
    struct bytes payload = {0}, body = {0};
    enum mr_status status = MR_OK;
    const char *params[] = {chunk};
    size_t n = 0;
    char t[8][24];

    for (int i = 0; i < mr_pg_rows(jobs) && !status; i++) {
        const char *kind = mr_pg_text(jobs, i, 1);

        if (!unhex(mr_pg_text(jobs, i, 2), &payload) ||
            !unhex(mr_pg_text(jobs, i, 3), &body))
            return mr_err_set(err, MR_NO_MEMORY, "cannot read the jobs", NULL, NULL);
        n += (size_t)snprintf(chunk + n, CHUNK_BYTES - n, "%s %s %s %s %s %s %s %s %s\n",
            mr_pg_text(jobs, i, 0), digest(&payload, t[0]), digest(&body, t[1]),
            number(&payload, "from", t[2]), number(&payload, "to", t[3]),
            number(&payload, "cents", t[4]), number(&payload, "depth", t[5]),
            wanted(kind, &payload, t[6]), answer(&body, t[7]));
        if (n + 512 < CHUNK_BYTES && i + 1 < mr_pg_rows(jobs))
            continue;
        status = mr_pg_run(pg, tell_sql, 1, params, NULL, err);
        n = 0;
    }
    free(payload.p);
    free(body.p);
    return status;
}

enum mr_status
mr_chaos_tell(struct mr_pg *pg, struct mr_err *err)
{
    char *chunk = malloc(CHUNK_BYTES);
    struct pg_result *jobs = NULL;
    enum mr_status status;

    if (!chunk)
        return mr_err_set(err, MR_NO_MEMORY, "cannot read the jobs", NULL, NULL);
    status = mr_pg_run(pg,
        "select j.id, j.kind, j.payload, r.body from millrace.job j"
        " left join millrace.result r on r.id = j.id",
        0, NULL, &jobs, err);
    if (!status)
        status = tell_rows(pg, jobs, chunk, err);
    mr_pg_free_result(&jobs);
    free(chunk);
    return status;
}

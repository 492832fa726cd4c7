/*
 * millrace.h: submit jobs to a millrace broker and learn what became of them.
 *
 *     struct millrace_error error;
 *     struct millrace_result result;
 *     struct millrace *mr = millrace_open(NULL, &error);
 *     struct millrace_job job;
 *     millrace_job_init(&job, "test.noop");
 *     int code = millrace_run(mr, &job, 10000, &result, &error);
 *
 * A handle has one thread of its own that talks to the broker; every function may be called
 * from any thread at any time, except where it says otherwise. Jobs that several threads
 * submit at the same moment travel in one message and become durable in one commit. There is
 * no global state and no signal is touched (the thread has all of them blocked). A handle
 * does not survive fork().
 *
 * Codes: 0 is success; others are numbers of enum millrace_code, the same as on the wire.
 * `error` may be NULL everywhere; it is filled only on failure.
 *
 * Timeouts are in milliseconds: MILLRACE_FOREVER for no limit, 0 for the handle's default.
 * Times are microseconds since 1970-01-01 UTC. Names are at most 64 bytes of printable ASCII
 * without spaces. Arguments and results are msgpack, at most 1 MiB; the broker does not look
 * into them, and with a keyring (seal_file) nobody but the worker that runs the job can.
 */
#ifndef MILLRACE_H
#define MILLRACE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MILLRACE_API __attribute__((visibility("default")))
#define MILLRACE_FOREVER (-1)

enum millrace_code {
    MILLRACE_OK = 0,

    /* The same call may succeed later. The library repeats submits by itself until their
     * deadline, so these come out only when it is over or a local limit is reached. */
    MILLRACE_BUSY = 101,
    MILLRACE_STORE_DOWN = 102,
    MILLRACE_STORE_FULL = 103,
    MILLRACE_STARTING = 104,
    MILLRACE_TIMEOUT = 105,     /* sent, not answered: outcome unknown, the same id may be
                                   submitted again */
    MILLRACE_UNREACHABLE = 106, /* never sent: no broker answered */
    MILLRACE_DRAINING = 203,

    /* A mistake of the caller. */
    MILLRACE_MALFORMED = 301,
    MILLRACE_TOO_BIG = 302,
    MILLRACE_BAD_ID = 303,
    MILLRACE_DENIED = 304,
    MILLRACE_WRONG_VERSION = 305, /* protocol or schema */
    MILLRACE_NO_METHOD = 306,
    MILLRACE_BAD_ARGUMENT = 308,
    MILLRACE_BAD_SETTING = 309, /* a file that the options name cannot be used */
    MILLRACE_NO_KIND = 310,
    MILLRACE_NOT_FOUND = 311,

    /* About one job. KNOWN and FINISHED are good news: it was durable before. */
    MILLRACE_KNOWN = 401,
    MILLRACE_CONFLICT = 402, /* the id belongs to another job */
    MILLRACE_FINISHED = 403,
    MILLRACE_EXPIRED = 404,
    MILLRACE_LIMIT = 405,
    MILLRACE_NO_JOB = 407,
    MILLRACE_CANCELLED = 408,

    MILLRACE_INTERNAL = 900,
    MILLRACE_NO_MEMORY = 901
};

/* "BUSY"; "UNKNOWN" for a number that is none. Static storage. */
MILLRACE_API const char *millrace_code_name(int code);
/* One sentence: what it means and what to do. Static storage. */
MILLRACE_API const char *millrace_strerror(int code);
/* 1 if the same call may succeed later, else 0. */
MILLRACE_API int millrace_is_retryable(int code);
/* "0.1.0"; static storage. */
MILLRACE_API const char *millrace_version(void);

/* What to tell a person: three sentences, terminated. */
struct millrace_error {
    int code;
    char what[160]; /* what happened */
    char why[512];
    char todo[256]; /* what to do */
};

/* ---- The handle ------------------------------------------------------------------------- */

struct millrace;

struct millrace_options {
    const char *endpoints;    /* "tcp://host:port[,tcp://...]", tried in turn; NULL: the
                                   variable MILLRACE_ENDPOINT, else tcp://127.0.0.1:7654 */
    const char *name;         /* shown to operators; NULL: host:pid */
    int default_timeout_ms;   /* what 0 means in calls; 0: 30,000 */
    uint32_t outstanding_max; /* started and not taken with millrace_poll; 0: 65,536 */
    /* A keyring (`millrace seal new FILE`, mode 0600): the arguments of every job that this handle
     * submits are sealed with its first key before they leave the process, bound to the job's id and
     * kind. 55 bytes more count against the 1 MiB. The same job seals to the same bytes, also with an
     * older key of the ring, so that submitting again stays safe while keys are rotated. Results and
     * errors are not sealed. For jobs that are not to be sealed open another handle. NULL: the
     * variable MILLRACE_SEAL_FILE, else millrace.seal in $CREDENTIALS_DIRECTORY if it is there, else
     * nothing is sealed; "": nothing is sealed. */
    const char *seal_file;

    /* Who we are: the file that `millrace key new NAME` wrote, which only we may read. NULL: the
     * variable MILLRACE_KEY_FILE, else millrace.key in $CREDENTIALS_DIRECTORY, else no key. With
     * a key every tcp:// endpoint is spoken to with CURVE, without one in plain text, which
     * is refused for other hosts than this one. */
    const char *key_file;
    /* Who the broker is: its .pub file, or the 40 characters in it; NULL: MILLRACE_SERVER_KEY.
     * Goes with a key of ours, and only with one. */
    const char *server_key;
    int is_insecure; /* 1: plain text to other hosts all the same; 0: MILLRACE_INSECURE=yes */
};

/* Connects in the background: this does not wait for a broker. `options` may be NULL; nothing
 * in it is kept. NULL and `error` on failure (BAD_ARGUMENT, NO_MEMORY; about keys BAD_SETTING,
 * DENIED, NOT_FOUND). */
MILLRACE_API struct millrace *millrace_open(
    const struct millrace_options *options, struct millrace_error *error);

/* Wait until a broker has welcomed us. UNREACHABLE, DENIED (it does not know our key, or one of
 * us speaks plain text and the other does not), WRONG_VERSION. */
MILLRACE_API int millrace_ready(
    struct millrace *mr, int timeout_ms, struct millrace_error *error);

/* Frees everything, completions that nobody took included. What was started and is not yet
 * acknowledged may or may not be stored. Not while another thread is in a call. NULL is fine. */
MILLRACE_API void millrace_close(struct millrace *mr);

/* ---- Jobs --------------------------------------------------------------------------------- */

/* UUID version 7; chosen before sending, it makes submitting again safe. */
struct millrace_id {
    unsigned char b[16];
};

#define MILLRACE_ID_TEXT 37

/* A new one, also after fork(). Ids of one millisecond are in no order. */
MILLRACE_API struct millrace_id millrace_id_new(void);
/* 36 characters with hyphens. 0 or BAD_ID. */
MILLRACE_API int millrace_id_parse(const char *text, struct millrace_id *out);
/* Returns `out`. */
MILLRACE_API char *millrace_id_format(
    const struct millrace_id *id, char out[MILLRACE_ID_TEXT]);

#define MILLRACE_NO_JITTER 255u /* where 0 means the default */

/* Set it up with millrace_job_init, then change what you need. 0 or NULL in a field means the
 * default. All pointers are borrowed for the duration of the call that is given the job. */
struct millrace_job {
    struct millrace_id id;
    const char *kind;
    const char *queue; /* NULL: "default" */
    const void *args;  /* msgpack; NULL: nil */
    size_t args_bytes;
    int priority;          /* 0 to 9, 9 first; millrace_job_init sets 4 */
    const char *lane;      /* jobs of one queue, lane and priority start in order */
    int64_t run_at_us;     /* not before; or: */
    uint32_t delay_ms;     /* not earlier than this after it was accepted */
    int64_t expires_at_us; /* not started later than this */
    uint32_t timeout_ms;   /* of one attempt */
    uint32_t attempts_max;
    /* After the n-th failure it waits base * (factor / 100)^(n - 1), at most the cap, then
     * jitter percent of that more or less by chance. 0 in any: what the kind says. */
    uint32_t backoff_base_ms, backoff_cap_ms;
    uint32_t backoff_factor_percent; /* 100 to 1000; 200: doubled each time */
    uint32_t backoff_jitter_percent; /* 1 to 100, or MILLRACE_NO_JITTER */
    const char *trace;               /* at most 128 bytes, handed through */
    struct millrace_id
        redrive_of; /* a dead job, in place of which this is; zeros: none */
};

/* A fresh id, priority 4, everything else default. `kind` is borrowed. */
MILLRACE_API void millrace_job_init(struct millrace_job *job, const char *kind);

enum millrace_outcome {
    MILLRACE_SUCCEEDED = 1,
    MILLRACE_FAILED = 2,
    MILLRACE_WAS_CANCELLED = 3,
    MILLRACE_HAS_EXPIRED = 4
};

/* "succeeded", "failed", ...; static storage. */
MILLRACE_API const char *millrace_outcome_name(int outcome);

/* Of a finished job. Owned by the caller: millrace_result_free. */
struct millrace_result {
    struct millrace_id id;
    int outcome; /* enum millrace_outcome; 0: not finished */
    uint32_t attempt;
    void *body; /* msgpack; NULL if there is none */
    size_t body_bytes;
    char *text; /* the error of a failed job, terminated; NULL if there is none */
};

/* Frees what it points to and zeroes it. NULL is fine. */
MILLRACE_API void millrace_result_free(struct millrace_result *result);

/* ---- Blocking calls ----------------------------------------------------------------------- */

/* Returns when the job is durable: 0, KNOWN and FINISHED all mean that it is. Repeated by
 * itself after BUSY, a lost connection and the like, until the deadline. */
MILLRACE_API int millrace_submit(struct millrace *mr, const struct millrace_job *job,
    int timeout_ms, struct millrace_error *error);

/* Many at once; codes[i] is the verdict on jobs[i]. Returns 0 if all are durable, otherwise
 * the first code of another kind. Any count; ids must differ. */
MILLRACE_API int millrace_submit_many(struct millrace *mr,
    const struct millrace_job *jobs, size_t count, int *codes, int timeout_ms,
    struct millrace_error *error);

/* Submit and wait for the end. 0 when the job is finished, however it ended: see
 * result->outcome. TIMEOUT: it goes on without us. */
MILLRACE_API int millrace_run(struct millrace *mr, const struct millrace_job *job,
    int timeout_ms, struct millrace_result *result, struct millrace_error *error);

/* Wait for the end of a job that anybody submitted. 0, TIMEOUT (it goes on), NO_JOB. */
MILLRACE_API int millrace_wait(struct millrace *mr, const struct millrace_id *id,
    int timeout_ms, struct millrace_result *result, struct millrace_error *error);

/* The first of several to end; *index says which. At most 4,096 ids. */
MILLRACE_API int millrace_wait_any(struct millrace *mr, const struct millrace_id *ids,
    size_t count, int timeout_ms, size_t *index, struct millrace_result *result,
    struct millrace_error *error);

/* The result as it is now: 0 if finished, KNOWN if not yet, NO_JOB. */
MILLRACE_API int millrace_fetch(struct millrace *mr, const struct millrace_id *id,
    int timeout_ms, struct millrace_result *result, struct millrace_error *error);

/* 0: it is cancelled; FINISHED: too late, its result stands; NO_JOB. A running job is asked to
 * stop. */
MILLRACE_API int millrace_cancel(struct millrace *mr, const struct millrace_id *id,
    int timeout_ms, struct millrace_error *error);

/* Anything else the broker can be asked (see the protocol page): `args` is a msgpack map (NULL:
 * empty). The reply is one msgpack value, to be freed with free(). */
MILLRACE_API int millrace_call(struct millrace *mr, const char *method, const void *args,
    size_t args_bytes, int timeout_ms, void **reply, size_t *reply_bytes,
    struct millrace_error *error);

/* ---- Without blocking --------------------------------------------------------------------- */

/* Each start gives exactly one completion. `tag` comes back in it. */
#define MILLRACE_UNTIL_DURABLE 0u  /* completes when the job is durable (or refused) */
#define MILLRACE_UNTIL_FINISHED 1u /* completes when the job has ended (or was refused) */

/* 0: started. BUSY: outstanding_max is reached, take completions first. BAD_ARGUMENT, TOO_BIG:
 * refused at once, no completion will come. */
MILLRACE_API int millrace_submit_start(struct millrace *mr,
    const struct millrace_job *job, unsigned until, int timeout_ms, void *tag,
    struct millrace_error *error);

MILLRACE_API int millrace_wait_start(struct millrace *mr, const struct millrace_id *id,
    int timeout_ms, void *tag, struct millrace_error *error);

struct millrace_completion {
    void *tag;
    int code; /* as the blocking call would return it */
    struct millrace_result
        result; /* id always; the rest when the job has ended. To be freed. */
    struct millrace_error error; /* when code is a failure */
};

/* Readable when there may be completions; for poll(2). Belongs to the handle. */
MILLRACE_API int millrace_fd(const struct millrace *mr);

/* Take one: 1 if there was one, 0 if there is none now. One thread at a time. */
MILLRACE_API int millrace_poll(struct millrace *mr, struct millrace_completion *out);

/* Take one, waiting for it at most timeout_ms. One thread at a time. */
MILLRACE_API int millrace_finish(
    struct millrace *mr, int timeout_ms, struct millrace_completion *out);

/* ---- A little msgpack, for those who have no library for it ---------------------------------- */

/* Zero it, append, give bytes and n as arguments, then millrace_pack_free. */
struct millrace_pack {
    unsigned char *bytes;
    size_t n, room;
    int code; /* of the first failure (NO_MEMORY, TOO_BIG); later calls do nothing */
};

MILLRACE_API void millrace_pack_map(struct millrace_pack *pack, uint32_t pairs);
MILLRACE_API void millrace_pack_array(struct millrace_pack *pack, uint32_t items);
MILLRACE_API void millrace_pack_str(struct millrace_pack *pack, const char *text);
MILLRACE_API void millrace_pack_bin(
    struct millrace_pack *pack, const void *bytes, size_t n);
MILLRACE_API void millrace_pack_int(struct millrace_pack *pack, int64_t value);
MILLRACE_API void millrace_pack_double(struct millrace_pack *pack, double value);
MILLRACE_API void millrace_pack_bool(struct millrace_pack *pack, int value);
MILLRACE_API void millrace_pack_nil(struct millrace_pack *pack);
MILLRACE_API void millrace_pack_free(struct millrace_pack *pack);

/* The value of a key of a msgpack map: 1 if it is there and of that type, else 0. The text is
 * not terminated and borrows from `body`. */
MILLRACE_API int millrace_get_int(
    const void *body, size_t bytes, const char *key, int64_t *out);
MILLRACE_API int millrace_get_str(
    const void *body, size_t bytes, const char *key, const char **text, size_t *n);

#ifdef __cplusplus
}
#endif

#endif

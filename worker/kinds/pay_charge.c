#include "worker/kinds/args.h"
#include "worker/kinds/kinds.h"
#include "worker/kinds/ride_step.h"

#include <curl/curl.h>

#include <stdio.h>
#include <string.h>

/*
 * Money moves outside our database, so this step may be repeated after the provider has charged:
 * its reply was lost, or the worker died before it could commit. The ride's id is the key by which
 * the provider recognizes the repeat. No row is locked while the provider is asked.
 */

enum {
    ATTEMPTS_MAX = 40,
    BACKOFF_BASE_MS = 50,
    BACKOFF_CAP_MS = 1000,
    CONNECT_MS = 2000,
    ANSWER_MS = 5000,
    QUOTE_SNOOZE_MS = 20,
    BODY_BYTES = 1024,
    CHARGE_BYTES = 64,
};

/* Read-only once prepared. */
static char url[512];
static bool is_without_key, is_local;

static bool
prepare(const struct millrace_host *host, char *why, size_t why_bytes)
{
    const char *base = millrace_host_setting(host, "pay_url");
    const char *without_key = millrace_host_setting(host, "pay_without_key");
    int n;

    if (!base || !*base) {
        snprintf(why, why_bytes,
            "there is no payment provider: set `pay_url`, such as http://127.0.0.1:8080");
        return false;
    }
    n = snprintf(url, sizeof url, "%s/charges", base);
    if (n < 0 || (size_t)n >= sizeof url) {
        snprintf(why, why_bytes, "`pay_url` is too long: give at most 500 characters");
        return false;
    }
    is_local = strncmp(base, "http://127.", 11) == 0 ||
               strncmp(base, "http://localhost", 16) == 0;
    is_without_key = without_key && (strcmp(without_key, "yes") == 0 ||
                                        strcmp(without_key, "true") == 0 ||
                                        strcmp(without_key, "1") == 0);
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        snprintf(why, why_bytes, "libcurl does not start: check its installation");
        return false;
    }
    return true;
}

static void
dispose(void)
{
    curl_global_cleanup();
}

struct reply {
    char body[BODY_BYTES];
    size_t n;
    long http;
    char error[CURL_ERROR_SIZE];
};

static size_t
on_body(char *bytes, size_t one, size_t n, void *context)
{
    struct reply *reply = context;

    if (n * one >= sizeof reply->body - reply->n)
        return 0;
    memcpy(reply->body + reply->n, bytes, n * one);
    reply->n += n * one;
    reply->body[reply->n] = '\0';
    return n * one;
}

static int
on_progress(
    void *job, curl_off_t down_all, curl_off_t down, curl_off_t up_all, curl_off_t up)
{
    (void)down_all, (void)down, (void)up_all, (void)up;
    return millrace_is_cancelled(job);
}

static CURLcode
perform(struct millrace_job *job, CURL *curl, struct curl_slist *headers,
    const char *request, struct reply *reply)
{
    CURLcode code;

    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    /* The environment's proxy cannot reach our own host. */
    if (is_local)
        curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)ANSWER_MS);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, reply->error);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, reply);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, job);
    code = curl_easy_perform(curl);
    if (code == CURLE_OK)
        code = curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &reply->http);
    if (code != CURLE_OK && reply->error[0] == '\0')
        snprintf(reply->error, sizeof reply->error, "%s", curl_easy_strerror(code));
    return code;
}

static CURLcode
ask_provider(
    struct millrace_job *job, const char *ride, int64_t cents, struct reply *reply)
{
    struct curl_slist *headers =
        curl_slist_append(NULL, "Content-Type: application/json");
    CURL *curl = curl_easy_init();
    CURLcode code = CURLE_OUT_OF_MEMORY;
    char request[128], key[64];

    snprintf(request, sizeof request, "{\"amount\":%lld,\"ride\":\"%s\"}",
        (long long)cents, ride);
    snprintf(key, sizeof key, "Idempotency-Key: %s", ride);
    if (headers && !is_without_key) {
        struct curl_slist *longer = curl_slist_append(headers, key);

        if (!longer)
            curl_slist_free_all(headers);
        headers = longer;
    }
    if (curl && headers)
        code = perform(job, curl, headers, request, reply);
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    return code;
}

/* {"id":"ch_..."...} -> ch_... */
static bool
charge_id(const char *body, char id[CHARGE_BYTES])
{
    static const char start[] = "{\"id\":\"";
    size_t n;

    if (strncmp(body, start, sizeof start - 1) != 0)
        return false;
    body += sizeof start - 1;
    n = strspn(body, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-");
    if (n == 0 || n >= CHARGE_BYTES || body[n] != '"')
        return false;
    memcpy(id, body, n);
    id[n] = '\0';
    return true;
}

/* True with the charge's id, or an answer for the job. */
static bool
charge(struct millrace_job *job, const char *ride, int64_t cents, char id[CHARGE_BYTES],
    enum millrace_answer *answer)
{
    struct reply reply = {.n = 0};
    CURLcode code = ask_provider(job, ride, cents, &reply);

    if (code != CURLE_OK)
        *answer =
            millrace_fail(job, "no reply from the payment provider (%s)", reply.error);
    else if (reply.http >= 400 && reply.http < 500 && reply.http != 408 &&
             reply.http != 429)
        *answer = millrace_fail_for_good(job,
            "the payment provider refuses: status %ld, %.200s", reply.http, reply.body);
    else if (reply.http != 200 && reply.http != 201)
        *answer = millrace_fail(job, "the payment provider says status %ld", reply.http);
    else if (!charge_id(reply.body, id))
        *answer = millrace_fail(job, "the payment provider's reply makes no sense");
    else
        return true;
    return false;
}

enum { COL_STATE, COL_OUTCOME, COL_CENTS, COL_TARIFF };

static struct millrace_rows *
read_ride(struct millrace_job *job, const char *ride, const char *fare)
{
    static const char sql[] =
        "select r.state, q.outcome, (q.j->>'cents')::bigint, q.j->>'tariff'"
        " from ride.ride r left join lateral (select outcome,"
        " millrace.msgpack_to_jsonb(body) as j from millrace.result where id = $2::uuid) "
        "q"
        " on true where r.id = $1::uuid";
    const char *params[] = {ride, fare};

    return millrace_sql(job, sql, 2, params);
}

/* The ride is charged; NULL: the statement failed, no row: somebody was quicker, else how much
 * longer the simulated drive takes. */
static struct millrace_rows *
settle(struct millrace_job *job, const char *ride, const char *cents, const char *tariff,
    const char *charge)
{
    static const char sql[] =
        "update ride.ride set state = 'charged', fare_cents = $2, tariff = $3,"
        " charge_id = $4 where id = $1::uuid and state = 'matched'"
        " returning greatest(0, (pickup_ms + route_ms) / speed - (extract(epoch from"
        " clock_timestamp() - matched_at) * 1000)::bigint)";
    const char *params[] = {ride, cents, tariff, charge};

    return millrace_sql(job, sql, 4, params);
}

static enum millrace_answer
pay(struct millrace_job *job, const char *ride, const struct millrace_rows *rows)
{
    const char *cents = millrace_rows_text(rows, 0, COL_CENTS);
    char id[CHARGE_BYTES], finish[MR_RIDE_ID_TEXT];
    enum millrace_answer answer;
    struct millrace_rows *settled;
    int64_t left_ms;

    if (!charge(job, ride, millrace_rows_int(rows, 0, COL_CENTS), id, &answer))
        return answer;
    settled = settle(job, ride, cents, millrace_rows_text(rows, 0, COL_TARIFF), id);
    if (!settled)
        return millrace_sql_failed(job);
    if (millrace_rows_count(settled) != 1)
        return millrace_fail(job, "another attempt has moved the ride on");
    left_ms = millrace_rows_int(settled, 0, 0);
    if (left_ms > UINT32_MAX)
        return millrace_fail_for_good(job, "a drive of %lld ms", (long long)left_ms);
    if (!mr_ride_step_follow(
            job, "ride.finish", ride, NULL, NULL, (uint32_t)left_ms, finish) ||
        !mr_ride_step_record(job, ride, "charged", finish, NULL))
        return millrace_sql_failed(job);
    millrace_put_map(job, 2);
    millrace_put_str(job, "charge");
    millrace_put_str(job, id);
    millrace_put_str(job, "cents");
    millrace_put_int(job, millrace_rows_int(rows, 0, COL_CENTS));
    return MILLRACE_SUCCEEDED;
}

static enum millrace_answer
run(struct millrace_job *job)
{
    struct millrace_rows *rows;
    const char *ride, *fare;

    if (!mr_args_id(job, "ride", &ride) || !mr_args_id(job, "fare", &fare))
        return MILLRACE_FAILED_FOR_GOOD;
    rows = read_ride(job, ride, fare);
    if (!rows)
        return millrace_sql_failed(job);
    if (millrace_rows_count(rows) == 0)
        return millrace_fail_for_good(job, "there is no ride %s", ride);
    if (strcmp(millrace_rows_text(rows, 0, COL_STATE), "matched") != 0)
        return millrace_fail_for_good(job, "ride %s is %s, not matched", ride,
            millrace_rows_text(rows, 0, COL_STATE));
    if (!millrace_rows_text(rows, 0, COL_OUTCOME))
        return millrace_snooze(job, QUOTE_SNOOZE_MS);
    if (!millrace_rows_text(rows, 0, COL_CENTS) ||
        !millrace_rows_text(rows, 0, COL_TARIFF))
        return millrace_fail_for_good(job, "the quote %s did not succeed", fare);
    return pay(job, ride, rows);
}

const struct millrace_kind mr_kind_pay_charge = {
    .name = "pay.charge",
    .help = "{\"ride\":id,\"fare\":id of fare.quote} -> {charge,cents}; asks the "
            "provider, once a ride",
    .run = run,
    .is_transactional = true,
    .timeout_ms = 20000,
    .attempts_max = ATTEMPTS_MAX,
    .backoff_base_ms = BACKOFF_BASE_MS,
    .backoff_cap_ms = BACKOFF_CAP_MS,
    .prepare = prepare,
    .dispose = dispose,
};

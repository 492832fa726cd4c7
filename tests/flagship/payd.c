/*
 * The payment provider's stand-in: a process of its own that speaks real HTTP and misbehaves on
 * purpose, from a seed. POST /charges {"amount":cents,"ride":"id"} with an Idempotency-Key:
 * the same key again gets the same charge, another amount under it is refused (409). Without a key
 * every call charges. Some calls fail before charging (503), of some the reply is lost after
 * charging (the connection is closed). Each charge is one line of the log, on disk before
 * the reply:  charge id, key or "-", ride, cents, separated by tabs.
 *
 * One thread serves everything (libmicrohttpd's); main waits for a signal.
 */
#include <jansson.h>
#include <microhttpd.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <search.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BODY_MAX = 4096, NAME_MAX_BYTES = 64, CHARGES_MAX = 1000000, EXIT_USAGE = 64 };

struct charge {
    char key[NAME_MAX_BYTES];
    char id[NAME_MAX_BYTES];
    int64_t cents;
};

struct provider {
    const char *port_file, *log_file;
    uint64_t seed, fail_permille, lose_permille;
    int log;
    uint64_t calls, charges;
    void *by_key; /* tsearch tree of struct charge */
};

/* A request while its body arrives. */
struct call {
    char body[BODY_MAX];
    size_t n;
    bool is_too_long;
};

/* splitmix64 of the call's number: the same seed gives the same fate to the n-th call. */
static uint64_t
permille_of(uint64_t seed, uint64_t n)
{
    uint64_t z = seed + (n + 1) * UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (z ^ (z >> 31)) % 1000;
}

static int
by_key(const void *a, const void *b)
{
    return strcmp(((const struct charge *)a)->key, ((const struct charge *)b)->key);
}

static enum MHD_Result
reply(struct MHD_Connection *connection, unsigned status, const char *text)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(
        strlen(text), (void *)(uintptr_t)text, MHD_RESPMEM_MUST_COPY);
    enum MHD_Result result = MHD_NO;

    if (response) {
        MHD_add_response_header(response, "Content-Type", "application/json");
        result = MHD_queue_response(connection, status, response);
        MHD_destroy_response(response);
    }
    return result;
}

static enum MHD_Result
reply_charge(struct MHD_Connection *connection, const char *id, int64_t cents)
{
    char text[160];

    snprintf(text, sizeof text, "{\"id\":\"%s\",\"amount\":%" PRId64 "}\n", id, cents);
    return reply(connection, MHD_HTTP_OK, text);
}

/* On disk, or the process ends: a charge that is not in the log must never be reported. */
static void
log_charge(struct provider *p, const struct charge *charge, const char *ride)
{
    char line[4 * NAME_MAX_BYTES];
    int n = snprintf(line, sizeof line, "%s\t%s\t%s\t%" PRId64 "\n", charge->id,
        charge->key[0] ? charge->key : "-", ride, charge->cents);

    if (write(p->log, line, (size_t)n) != n || fdatasync(p->log) != 0) {
        perror("millrace-payd: the log cannot be written");
        _exit(EXIT_FAILURE);
    }
}

static struct charge *
make_charge(struct provider *p, const char *key, const char *ride, int64_t cents)
{
    struct charge *charge = calloc(1, sizeof *charge);

    if (!charge || p->charges >= CHARGES_MAX) {
        free(charge);
        return NULL;
    }
    snprintf(charge->key, sizeof charge->key, "%s", key);
    snprintf(charge->id, sizeof charge->id, "ch_%016" PRIx64, ++p->charges);
    charge->cents = cents;
    log_charge(p, charge, ride);
    return charge;
}

static bool
is_name(const char *text)
{
    size_t n = strlen(text);

    return n > 0 && n < NAME_MAX_BYTES &&
           strspn(text,
               "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == n;
}

static enum MHD_Result
charge_once(struct provider *p, struct MHD_Connection *connection, const char *key,
    const char *ride, int64_t cents)
{
    struct charge wanted = {.cents = cents};
    struct charge **known = NULL, *charge;
    uint64_t fate = permille_of(p->seed, p->calls++);
    enum MHD_Result result;

    if (fate < p->fail_permille)
        return reply(
            connection, MHD_HTTP_SERVICE_UNAVAILABLE, "{\"error\":\"try again\"}\n");
    snprintf(wanted.key, sizeof wanted.key, "%s", key);
    if (*key)
        known = tfind(&wanted, &p->by_key, by_key);
    if (known && (*known)->cents != cents)
        return reply(connection, MHD_HTTP_CONFLICT,
            "{\"error\":\"this key was used for another amount\"}\n");
    charge = known ? *known : make_charge(p, key, ride, cents);
    if (!charge || (*key && !known && !tsearch(charge, &p->by_key, by_key)))
        return reply(
            connection, MHD_HTTP_INTERNAL_SERVER_ERROR, "{\"error\":\"full\"}\n");
    result = fate < p->fail_permille + p->lose_permille
                 ? MHD_NO /* closes the connection: charged, and nobody hears of it */
                 : reply_charge(connection, charge->id, charge->cents);
    if (!*key)
        free(charge);
    return result;
}

static enum MHD_Result
on_charge(struct provider *p, struct MHD_Connection *connection, const struct call *call)
{
    const char *key =
        MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Idempotency-Key");
    json_t *body = json_loadb(call->body, call->n, JSON_REJECT_DUPLICATES, NULL);
    enum MHD_Result result;
    json_int_t cents;
    const char *ride;

    if (call->is_too_long ||
        json_unpack(body, "{sI,ss!}", "amount", &cents, "ride", &ride) || cents <= 0 ||
        !is_name(ride))
        result = reply(connection, MHD_HTTP_BAD_REQUEST,
            "{\"error\":\"want {amount: cents above 0, ride: id}\"}\n");
    else if (key && !is_name(key))
        result = reply(connection, MHD_HTTP_BAD_REQUEST, "{\"error\":\"not a key\"}\n");
    else
        result = charge_once(p, connection, key ? key : "", ride, cents);
    json_decref(body);
    return result;
}

static enum MHD_Result
on_request(void *context, struct MHD_Connection *connection, const char *url,
    const char *method, const char *version, const char *data, size_t *data_bytes,
    void **state)
{
    struct call *call = *state;

    (void)version;
    if (!call) {
        *state = calloc(1, sizeof *call);
        return *state ? MHD_YES : MHD_NO;
    }
    if (*data_bytes > 0) {
        if (*data_bytes <= sizeof call->body - call->n) {
            memcpy(call->body + call->n, data, *data_bytes);
            call->n += *data_bytes;
        } else {
            call->is_too_long = true;
        }
        *data_bytes = 0;
        return MHD_YES;
    }
    if (strcmp(url, "/charges") != 0)
        return reply(connection, MHD_HTTP_NOT_FOUND, "{\"error\":\"POST /charges\"}\n");
    if (strcmp(method, "POST") != 0)
        return reply(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "{\"error\":\"POST\"}\n");
    return on_charge(context, connection, call);
}

static void
on_completed(void *context, struct MHD_Connection *connection, void **state,
    enum MHD_RequestTerminationCode code)
{
    (void)context, (void)connection, (void)code;
    free(*state);
    *state = NULL;
}

/* Written whole under another name first: a reader never sees half of it. */
static bool
write_port(const char *path, unsigned port)
{
    char temporary[4096];
    FILE *file;
    bool is_good;

    snprintf(temporary, sizeof temporary, "%s.new", path);
    file = fopen(temporary, "w");
    if (!file)
        return false;
    is_good = fprintf(file, "%u\n", port) > 0;
    return fclose(file) == 0 && is_good && rename(temporary, path) == 0;
}

static struct MHD_Daemon *
start(struct provider *p)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const union MHD_DaemonInfo *info;
    struct MHD_Daemon *daemon;

    p->log = open(p->log_file, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0644);
    if (p->log < 0) {
        fprintf(stderr,
            "millrace-payd: cannot make the log %s: %s. Give a name that is free.\n",
            p->log_file, strerror(errno));
        return NULL;
    }
    daemon = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD, 0, NULL, NULL, on_request,
        p, MHD_OPTION_SOCK_ADDR, &address, MHD_OPTION_CONNECTION_LIMIT, 256u,
        MHD_OPTION_CONNECTION_TIMEOUT, 30u, MHD_OPTION_NOTIFY_COMPLETED, on_completed,
        NULL, MHD_OPTION_END);
    info = daemon ? MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT) : NULL;
    if (info && write_port(p->port_file, info->port))
        return daemon;
    fprintf(stderr, "millrace-payd: cannot listen on 127.0.0.1 or write %s: %s.\n",
        p->port_file, strerror(errno));
    if (daemon)
        MHD_stop_daemon(daemon);
    return NULL;
}

static bool
number(const char *text, uint64_t max, uint64_t *out)
{
    char *end;

    errno = 0;
    *out = strtoull(text, &end, 10);
    return errno == 0 && end != text && *end == '\0' && text[0] != '-' && *out <= max;
}

static bool
read_options(int argc, char **argv, struct provider *p)
{
    static const struct option options[] = {{"port-file", required_argument, NULL, 'p'},
        {"log", required_argument, NULL, 'l'}, {"seed", required_argument, NULL, 's'},
        {"fail-permille", required_argument, NULL, 'f'},
        {"lose-permille", required_argument, NULL, 'o'}, {NULL, 0, NULL, 0}};
    bool is_good = true;

    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c == 'p')
            p->port_file = optarg;
        else if (c == 'l')
            p->log_file = optarg;
        else if (c == 's')
            is_good = is_good && number(optarg, UINT64_MAX, &p->seed);
        else if (c == 'f')
            is_good = is_good && number(optarg, 1000, &p->fail_permille);
        else if (c == 'o')
            is_good = is_good && number(optarg, 1000, &p->lose_permille);
        else
            is_good = false;
    }
    return is_good && p->port_file && p->log_file && optind == argc;
}

int
main(int argc, char **argv)
{
    struct provider provider = {
        .seed = 1, .fail_permille = 100, .lose_permille = 30, .log = -1};
    struct MHD_Daemon *daemon;
    sigset_t signals;
    int which;

    if (!read_options(argc, argv, &provider)) {
        fprintf(stderr, "usage: millrace-payd --port-file FILE --log FILE [--seed N]"
                        " [--fail-permille 100] [--lose-permille 30]\n");
        return EXIT_USAGE;
    }
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    daemon = start(&provider);
    if (!daemon)
        return EXIT_FAILURE;
    sigwait(&signals, &which);
    MHD_stop_daemon(daemon);
    tdestroy(provider.by_key, free);
    close(provider.log);
    return EXIT_SUCCESS;
}

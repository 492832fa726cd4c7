/*
 * The attacker: raw ZMTP against a real broker, with workers and a front end that do nothing wrong.
 * One broker for all rows; prints a table of them. `make attack` runs it alone.
 *
 * Each row: the named refusal came, its counter moved, a known front end has a job done, and the
 * broker is the same process with about the memory and the descriptors it had.
 */
#include "tests/attacker/attack.h"

#include "schemas/wire/curve.h"

#include <sodium.h>
#include <zmq.h>

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define DESCRIPTORS_MORE 8
#define FILES_WANTED 8192
#define KEY_TEXT 41

struct target target;
static char folder[] = "/tmp/millrace-attack-XXXXXX";
static pid_t broker_pid;

/* ---- what the broker has -------------------------------------------------------------------------- */

int64_t
attack_resident(void)
{
    char path[64];
    long long size, pages = 0;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%d/statm", (int)broker_pid);
    file = fopen(path, "re");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fscanf(file, "%lld %lld", &size, &pages), 2);
    fclose(file);
    return pages * sysconf(_SC_PAGESIZE);
}

int
attack_descriptors(void)
{
    char path[64];
    DIR *dir;
    int n = 0;

    snprintf(path, sizeof path, "/proc/%d/fd", (int)broker_pid);
    dir = opendir(path);
    ck_assert_ptr_nonnull(dir);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n - 2;
}

/* What was refused for want of each right, all together. */
static int64_t
sum_refused(struct mr_rd rd)
{
    int64_t sum = 0;

    for (uint32_t rights = mr_rd_array(&rd, 64); rights; rights--) {
        for (uint32_t pairs = mr_rd_map(&rd, 8); pairs; pairs--) {
            if (mr_span_is(mr_rd_str(&rd, 64), "refused"))
                sum += (int64_t)mr_rd_uint(&rd, INT64_MAX);
            else
                mr_rd_skip(&rd);
        }
    }
    return sum;
}

static int64_t
refused_rights(void)
{
    struct millrace_error error;
    void *reply = NULL;
    size_t n = 0;
    int code =
        millrace_call(target.mr, "stats", NULL, 0, RIG_WAIT_MS, &reply, &n, &error);
    struct mr_rd rd = mr_rd_open(mr_span(reply, n));
    int64_t sum = -1;

    ck_assert_msg(code == 0, "%s: %s", millrace_code_name(code), error.why);
    for (uint32_t pairs = mr_rd_map(&rd, 1024); pairs && sum < 0; pairs--) {
        if (mr_span_is(mr_rd_str(&rd, 64), "refused_rights"))
            sum = sum_refused(rd);
        else
            mr_rd_skip(&rd);
    }
    free(reply);
    return sum;
}

int64_t
attack_stat(const char *name)
{
    return strcmp(name, "refused_rights") == 0 ? refused_rights()
                                               : rig_stat(target.mr, name);
}

void
attack_still_serves(void)
{
    rig_expect(
        target.mr, rig_submit(target.mr, "test.noop", NULL, 0), MILLRACE_SUCCEEDED);
}

/* ---- who is who ------------------------------------------------------------------------------------ */

void
attack_login(struct zmtp *z, enum who who, const char *endpoint)
{
    zmtp_login_as(z, endpoint, &target.keys[who]);
}

void
attack_join(struct zmtp *z, enum who who, enum mr_role role, const char *kind)
{
    attack_login(z, who, role == MR_ROLE_WORKER ? target.back : target.front);
    zmtp_join(z, role, kind);
}

static const char *
path_of(const char *name, const char *end)
{
    static char paths[4][128];
    static unsigned next;
    char *path = paths[next++ % 4];

    snprintf(path, sizeof paths[0], "%s/%s.%s", folder, name, end);
    return path;
}

static const char *
make_key(const char *name)
{
    static char text[KEY_TEXT];
    struct mr_curve *curve = NULL;
    struct mr_err err = {0};

    ck_ok(mr_curve_new(&curve, &err), err);
    ck_ok(mr_curve_write(curve, folder, name, &err), err);
    snprintf(text, sizeof text, "%s", mr_curve_public(curve));
    mr_curve_destroy(&curve);
    return text;
}

static void
run_sql(const char *sql)
{
    struct pg_result *result = NULL;
    struct mr_err err = {0};

    ck_ok(mr_pg_run(target.rig.pg, sql, 0, NULL, &result, &err), err);
    mr_pg_free_result(&result);
}

static void
add_principal(const char *name, const char *key, const char *role, const char *kind)
{
    char sql[512];

    snprintf(sql, sizeof sql,
        "select millrace.principal_add('%s', '%s', '%s', '*', '%s')", name, key, role,
        kind);
    run_sql(sql);
}

/* A key that we use ourselves, as the principal has it. */
static void
add_ours(enum who who, const char *name, const char *role, const char *kind)
{
    char text[KEY_TEXT];

    crypto_box_keypair(target.keys[who].public, target.keys[who].secret);
    if (!name)
        return;
    ck_assert_ptr_nonnull(zmq_z85_encode(text, target.keys[who].public, ZMTP_KEY_BYTES));
    add_principal(name, text, role, kind);
}

static void
make_keys(void)
{
    char server[KEY_TEXT];

    snprintf(server, sizeof server, "%s", make_key("broker"));
    add_principal("known", make_key("known"), "front-end", "*");
    run_sql("select millrace.principal_grant_put('known', 'auditor', false, null, null, "
            "null)");
    add_principal("mill", make_key("mill"), "worker", "*");
    add_ours(FRONT, "front", "front-end", "*");
    add_ours(WORKER, "worker", "worker", "attack.*");
    add_ours(VICTIM, "victim", "front-end", "*");
    add_ours(OTHER_WORKER, "other", "worker", "attack.*");
    add_ours(RETIRED, "retired", "front-end", "*");
    add_ours(NOBODY, NULL, NULL, NULL);
    for (int i = 0; i < WHO_COUNT; i++)
        ck_assert_ptr_nonnull(zmq_z85_decode(target.keys[i].server, server));
}

/* ---- the target ------------------------------------------------------------------------------------ */

static void
raise_file_limit(void)
{
    struct rlimit limit;

    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    if (limit.rlim_cur >= FILES_WANTED)
        return;
    limit.rlim_cur = FILES_WANTED < limit.rlim_max ? FILES_WANTED : limit.rlim_max;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static struct millrace *
open_known(void)
{
    struct millrace_options options = {.endpoints = target.rig.front,
        .name = "known",
        .key_file = path_of("known", "key"),
        .server_key = path_of("broker", "pub")};
    struct millrace_error error;
    struct millrace *mr = millrace_open(&options, &error);

    ck_assert_msg(mr != NULL, "%s", error.why);
    return mr;
}

void
attack_newcomer_is_served(void)
{
    struct millrace *mr = open_known();

    rig_expect(mr, rig_submit(mr, "test.noop", NULL, 0), MILLRACE_SUCCEEDED);
    millrace_close(mr);
}

/* Counters when that began. */
static int64_t begun[64];

static void
begin_all(void)
{
    for (const struct attack *attack = attacks_of_strangers; attack->name; attack++) {
        begun[attack - attacks_of_strangers] = attack_stat(attack->counter);
        if (attack->begin)
            attack->begin();
    }
}

static void
set_up(void)
{
    raise_file_limit();
    ck_assert_ptr_nonnull(mkdtemp(folder));
    rig_open(&target.rig);
    make_keys();
    rig_broker(&target.rig,
        (const char *const[]){"--key-file", path_of("broker", "key"), "--unknown-kinds",
            "accept", "--storing-max", "200000", "--unfinished-mib-max", "64", NULL});
    broker_pid = target.rig.broker.pid;
    target.front = target.rig.front;
    target.back = target.rig.back;
    rig_worker(&target.rig, 0, 2,
        (const char *const[]){"--key-file", path_of("mill", "key"), "--server-key",
            path_of("broker", "pub"), NULL});
    target.mr = open_known();
    for (int i = 0; i < 20; i++)
        attack_still_serves();
    begin_all();
    printf("%-46s %-28s %-26s %s\n", "attack", "refusal", "counter", "memory");
}

static void
tear_down(void)
{
    static const char *const names[] = {"broker", "known", "mill"};

    millrace_close(target.mr);
    rig_close(&target.rig);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        (void)unlink(path_of(names[i], "key"));
        (void)unlink(path_of(names[i], "pub"));
    }
    (void)rmdir(folder);
}

/* ---- a row ----------------------------------------------------------------------------------------- */

static void
wait_counter(const struct attack *attack, int64_t wanted)
{
    int64_t until_ms = rig_now_ms() + RIG_WAIT_MS, now;

    while ((now = attack_stat(attack->counter)) < wanted) {
        ck_assert_msg(rig_now_ms() < until_ms, "%s: %s stays at %lld, not %lld",
            attack->name, attack->counter, (long long)now, (long long)wanted);
        rig_breathe();
    }
}

static void
wait_descriptors(const struct attack *attack, int most)
{
    int64_t until_ms = rig_now_ms() + RIG_WAIT_MS;

    while (attack_descriptors() > most) {
        ck_assert_msg(rig_now_ms() < until_ms,
            "%s: the broker keeps %d descriptors, not %d", attack->name,
            attack_descriptors(), most);
        rig_breathe();
    }
}

static void
run(const struct attack *attack)
{
    int64_t counted = attack->begin ? begun[attack - attacks_of_strangers]
                                    : attack_stat(attack->counter);
    int64_t resident = attack_resident(), moved;
    int descriptors = attack_descriptors();
    int64_t most = attack->growth_mib ? attack->growth_mib : GROWTH_MIB, grown;

    moved = attack->run();
    wait_counter(attack, counted + moved);
    wait_descriptors(attack, descriptors + DESCRIPTORS_MORE);
    ck_assert_msg(
        mr_proc_is_alive(&target.rig.broker), "%s: the broker ended", attack->name);
    ck_assert_int_eq(target.rig.broker.pid, broker_pid);
    attack_still_serves();
    grown = attack_resident() - resident;
    printf("%-46s %-28s %-18s %+7lld %+6lld KiB\n", attack->name, attack->refusal,
        attack->counter, (long long)(attack_stat(attack->counter) - counted),
        (long long)(grown / 1024));
    fflush(stdout);
    ck_assert_msg(grown <= most << 20, "%s: memory grew by %lld KiB, more than %lld MiB",
        attack->name, (long long)(grown / 1024), (long long)most);
}

START_TEST(strangers)
{
    run(&attacks_of_strangers[_i]);
}
END_TEST

START_TEST(insiders)
{
    run(&attacks_of_insiders[_i]);
}
END_TEST

START_TEST(on_ids)
{
    run(&attacks_on_ids[_i]);
}
END_TEST

START_TEST(the_mute)
{
    attack_of_the_mute();
}
END_TEST

static int
count_of(const struct attack *attacks)
{
    int n = 0;

    while (attacks[n].name)
        n++;
    return n;
}

int
main(void)
{
    Suite *suite = suite_create("attacker");
    TCase *tcase = tcase_create("attacker");

    /* All rows against one broker, so in this process. */
    (void)setenv("CK_FORK", "no", 1);
    tcase_add_unchecked_fixture(tcase, set_up, tear_down);
    tcase_add_loop_test(tcase, strangers, 0, count_of(attacks_of_strangers));
    tcase_add_loop_test(tcase, insiders, 0, count_of(attacks_of_insiders));
    tcase_add_loop_test(tcase, on_ids, 0, count_of(attacks_on_ids));
    suite_add_tcase(suite, tcase);
    tcase = tcase_create("mute");
    tcase_add_test(tcase, the_mute);
    suite_add_tcase(suite, tcase);
    return pg_fixture_run(suite, NULL);
}

/*
 * The disk under PostgreSQL is full: that of its tables (it says so, and goes on), or that of its
 * WAL (it panics). Meanwhile submits are refused, results wait in the worker, nothing false is
 * acknowledged; with room again everything goes on by itself. The one thing that is done from
 * outside: a PostgreSQL that has ended after its panic is started, as systemd would.
 */
#include "client/cluster.h"
#include "schemas/sql/migrate.h"
#include "tests/support/pg_fixture.h"
#include "tests/support/rig.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OF_TABLES, OF_WAL, DISKS };

#define RESULTS_WAITING 30
#define RESULT_KIB 900
#define ACCEPTED_MAX 300
#define TRY_MS 1000
/* Another one after each panic, whether it could be logged or not. */
#define CHECKPOINTER                                                                     \
    "select pid from pg_stat_activity where backend_type = 'checkpointer'"

static const struct {
    const char *size, *cluster, *wal; /* in which folder each of them is */
    const char *const settings[8];
} disks[DISKS] = {
    /* No checkpoint comes in between: it would panic, too. */
    [OF_TABLES] = {"size=160m", "disk/cluster", "wal",
        {"autovacuum=off", "shared_buffers=16MB", "max_wal_size=1GB",
            "checkpoint_timeout=1h", NULL}},
    [OF_WAL] = {"size=64m", "cluster", "disk/wal",
        {"autovacuum=off", "max_wal_size=32MB", "min_wal_size=32MB", NULL}},
};

static struct rig rig;
static struct mr_cluster *cluster;
static struct millrace *mr;
static struct millrace_id accepted[ACCEPTED_MAX];
static int accepted_count;
static char folder[64], disk[96], filler[128];

static void
shell(const char *line, const char *first, const char *second)
{
    const char *const argv[] = {"/bin/sh", "-c", line, first, second, NULL};
    struct mr_proc_spec spec = {.argv = argv};
    struct mr_err err = {0};

    ck_ok(mr_proc_run(&spec, RIG_WAIT_MS, &err), err);
}

/* A disk of its own, which ends with this process and its children, however they end; false where
 * that is not allowed. */
static bool
mount_disk(const char *size)
{
    snprintf(folder, sizeof folder, "/tmp/millrace-disk-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(disk, sizeof disk, "%s/disk", folder);
    snprintf(filler, sizeof filler, "%s/filler", disk);
    ck_assert_int_eq(mkdir(disk, 0755), 0);
    if (unshare(CLONE_NEWNS) != 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("none", disk, "tmpfs", 0, size) != 0) {
        fprintf(stderr, "no disk of its own can be mounted here: full disks left out\n");
        shell("rm -r \"$0\"", folder, NULL);
        return false;
    }
    /* For PostgreSQL's user. */
    ck_assert_int_eq(chmod(folder, 01777), 0);
    ck_assert_int_eq(chmod(disk, 01777), 0);
    return true;
}

static void
start_cluster(int which)
{
    char dir[128], wal[128];
    struct mr_cluster_options options = {
        .dir = dir, .is_dir_required = true, .settings = disks[which].settings};
    struct mr_err err = {0};
    int applied = 0;

    snprintf(dir, sizeof dir, "%s/%s", folder, disks[which].cluster);
    snprintf(wal, sizeof wal, "%s/%s", folder, disks[which].wal);
    ck_ok(mr_cluster_start(&cluster, &options, &err), err);
    mr_cluster_halt(cluster, SIGINT);
    shell("mv \"$0/pg/pg_wal\" \"$1\" && ln -s \"$1\" \"$0/pg/pg_wal\"", dir, wal);
    ck_ok(mr_cluster_resume(cluster, &err), err);
    rig_open_on(&rig, mr_cluster_conninfo(cluster));
    ck_ok(mr_migrate(rig.pg, "millrace", &applied, &err), err);
}

static void
clear_away(void)
{
    millrace_close(mr);
    mr = NULL;
    rig_close(&rig);
    mr_cluster_stop(&cluster);
    ck_assert_int_eq(umount(disk), 0);
    shell("rm -r \"$0\"", folder, NULL);
}

static void
fill_disk(void)
{
    static const char zeros[65536];
    FILE *file = fopen(filler, "we");

    ck_assert_ptr_nonnull(file);
    setbuf(file, NULL);
    while (fwrite(zeros, 1, sizeof zeros, file) == sizeof zeros)
        ;
    fclose(file);
}

static void
await_word(const char *word)
{
    int64_t until = rig_now_ms() + RIG_WAIT_MS;
    char line[256] = "";

    while (!line[0]) {
        mr_proc_last_line(rig.output, word, line, sizeof line);
        ck_assert_msg(rig_now_ms() < until, "nobody says %s", word);
        rig_breathe();
    }
}

static int
submit_large(int timeout_ms)
{
    static uint8_t payload[512 * 1024];
    struct millrace_job job;
    int code;

    /* Such that PostgreSQL cannot compress it. */
    ck_assert_int_eq(getrandom(payload + 5, 256, 0), 256);
    for (size_t i = 5 + 256; i < sizeof payload; i++)
        payload[i] = (uint8_t)(payload[i - 256] * 167 + payload[i - 1]);
    memcpy(payload, "\xc6\x00\x07\xff\xfb", 5); /* bin of the rest */
    millrace_job_init(&job, "test.noop");
    job.args = payload;
    job.args_bytes = sizeof payload;
    code = millrace_submit(mr, &job, timeout_ms, NULL);
    if (code == MILLRACE_OK) {
        ck_assert_int_lt(accepted_count, ACCEPTED_MAX);
        accepted[accepted_count++] = job.id;
    }
    return code;
}

/* Those that are under way when it happens hear nothing; from then on it is said. */
static void
submit_until_refused(void)
{
    int code, silent = 0;

    while ((code = submit_large(TRY_MS)) == MILLRACE_OK || code == MILLRACE_TIMEOUT)
        ck_assert_int_lt(silent += code == MILLRACE_TIMEOUT, 20);
    ck_assert_msg(code == MILLRACE_STORE_FULL || code == MILLRACE_STORE_DOWN, "%s",
        millrace_code_name(code));
}

static bool
has_panicked(void)
{
    FILE *log = fopen(mr_cluster_log_path(cluster), "re");
    char line[1024];
    bool has = false;

    ck_assert_ptr_nonnull(log);
    while (!has && fgets(line, sizeof line, log))
        has = strstr(line, "PANIC:") != NULL;
    fclose(log);
    return has;
}

/* Until something is accepted; whoever looks after PostgreSQL does so. */
static void
come_back(int which)
{
    int64_t until = rig_now_ms() + RIG_WAIT_MS;
    struct mr_err err = {0};

    while (submit_large(TRY_MS) != MILLRACE_OK) {
        ck_assert_msg(rig_now_ms() < until, "nothing is accepted with room again");
        if (mr_cluster_is_alive(cluster))
            continue;
        ck_assert_int_eq(which, OF_WAL);
        ck_assert(has_panicked());
        ck_ok(mr_cluster_resume(cluster, &err), err);
    }
    mr_pg_close(&rig.pg);
    ck_ok(mr_pg_open(&rig.pg, rig.conninfo, "rig", &err), err);
}

static void
judge(const struct millrace_id results[RESULTS_WAITING])
{
    char sql[160], id[MILLRACE_ID_TEXT];

    for (int i = 0; i < RESULTS_WAITING; i++)
        rig_expect(mr, results[i], MILLRACE_SUCCEEDED);
    for (int i = 0; i < accepted_count; i++) {
        rig_expect(mr, accepted[i], MILLRACE_SUCCEEDED);
        (void)millrace_id_format(&accepted[i], id);
        snprintf(
            sql, sizeof sql, "select count(*) from millrace.job where id = '%s'", id);
        ck_assert_int_eq(rig_int(&rig, sql), 1);
    }
    rig_wait_int(&rig,
        "select count(*) from millrace.job left join millrace.result using (id) where "
        "outcome is distinct from 1",
        0);
    ck_assert_int_eq(
        rig_int(&rig, "select count(*) from millrace.result where attempt <> 1"), 0);
    ck_assert_int_eq(rig_int(&rig, "select count(*) from millrace.attempt"), 0);
    ck_assert(mr_proc_is_alive(&rig.broker));
    ck_assert(mr_proc_is_alive(&rig.workers[0]));
}

START_TEST(a_full_disk)
{
    const char *const load[] = {"--load", rig_program("tests/loadable/large.so"), NULL};
    struct millrace_id results[RESULTS_WAITING];
    int64_t checkpointer;

    accepted_count = 0;
    if (!mount_disk(disks[_i].size))
        return;
    start_cluster(_i);
    rig_broker(&rig, (const char *const[]){"--unknown-kinds", "accept", NULL});
    mr = rig_client(&rig);
    /* Its kinds are stored before: they are no rows that the full disk refuses. */
    rig_worker(&rig, 0, 2, load);
    rig_wait_int(&rig, "select count(*) from millrace.kind where name = 'large.fill'", 1);
    mr_proc_stop(&rig.workers[0], SIGTERM, RIG_WAIT_MS);
    for (int i = 0; i < RESULTS_WAITING; i++)
        results[i] = rig_submit(mr, "large.fill", "kib", RESULT_KIB);
    ck_assert_int_eq(submit_large(RIG_WAIT_MS), MILLRACE_OK);
    checkpointer = rig_int(&rig, CHECKPOINTER);
    fill_disk();
    rig_worker(&rig, 0, 2, load);
    await_word("results_kept");
    submit_until_refused();
    ck_assert(mr_proc_is_alive(&rig.broker));
    ck_assert(mr_proc_is_alive(&rig.workers[0]));
    ck_assert_int_eq(has_panicked(), _i == OF_WAL);
    ck_assert_int_eq(unlink(filler), 0);
    come_back(_i);
    judge(results);
    ck_assert_int_eq(rig_int(&rig, CHECKPOINTER) == checkpointer, _i == OF_TABLES);
    ck_assert_int_eq(has_panicked(), _i == OF_WAL);
    clear_away();
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("disk");
    TCase *tcase = tcase_create("disk");
    SRunner *runner;
    int failed;

    tcase_set_timeout(tcase, 200);
    tcase_add_loop_test(tcase, a_full_disk, 0, DISKS);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}

/* Kinds that are offered, and the settings around them. */
#include "worker/registry.h"

#include <check.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schemas/wire/limits.h"
#include "worker/settings.h"

static struct mr_registry *registry;
static struct mr_err err;
static int disposed;

static enum millrace_answer
run(struct millrace_job *job)
{
    (void)job;
    return MILLRACE_SUCCEEDED;
}

static bool
want_map(const struct millrace_host *host, char *why, size_t why_bytes)
{
    snprintf(why, why_bytes, "no map");
    return millrace_host_setting(host, "map") != NULL;
}

static void
dispose(void)
{
    disposed++;
}

static const struct millrace_kind first = {.name = "m.first", .run = run};
static const struct millrace_kind second = {.name = "a.second",
    .run = run,
    .is_transactional = true,
    .running_max = 3,
    .timeout_ms = 40,
    .attempts_max = 5,
    .backoff_base_ms = 6,
    .backoff_cap_ms = 7,
    .backoff_factor_percent = 150,
    .backoff_jitter_percent = MILLRACE_NO_JITTER,
    .dispose = dispose};
static const struct millrace_kind on_map = {
    .name = "z.map", .run = run, .prepare = want_map, .dispose = dispose};
static const struct millrace_kind *const all[] = {&first, &second, &on_map, NULL};

static void
set_up(void)
{
    memset(&err, 0, sizeof err);
    disposed = 0;
    ck_assert_int_eq(mr_registry_new(&registry), MR_OK);
}

static void
tear_down(void)
{
    mr_registry_destroy(&registry);
}

static void
ck_refused(const struct millrace_kind *kind, const char *why)
{
    const struct millrace_kind *const table[] = {kind, NULL};

    ck_assert_int_eq(mr_registry_add(registry, table, "here", &err), MR_BAD_SETTING);
    ck_assert_str_eq(err.why, why);
    ck_assert_str_ne(err.todo, "");
}

START_TEST(groups_that_cannot_be)
{
    static const struct millrace_kind most = {
        .name = "a", .run = run, .is_transactional = true, .group_max = 256};
    static const struct millrace_kind least = {.name = "c", .run = run, .group_max = 1};
    const struct millrace_kind *const good[] = {&most, &least, NULL};
    struct millrace_kind kind = most;

    ck_assert_int_eq(mr_registry_add(registry, good, "here", &err), MR_OK);
    kind.name = "b";
    kind.group_max = 257;
    ck_refused(&kind, "here: b has a group_max of 257.");
    kind.group_max = 2;
    kind.running_max = 1;
    ck_refused(&kind, "here: b has a group_max of 2.");
    kind.running_max = 0;
    kind.is_isolated = true;
    ck_refused(&kind, "here: b has a group_max of 2.");
    kind.is_isolated = false;
    kind.is_transactional = false;
    ck_refused(&kind, "here: b has a group_max of 2.");
}
END_TEST

START_TEST(kinds_are_found_by_name)
{
    struct mr_offer offers[3];
    uint32_t index = 9;

    ck_assert_int_eq(mr_registry_add(registry, all, "here", &err), MR_OK);
    ck_assert_uint_eq(mr_registry_count(registry), 3);
    ck_assert_ptr_eq(mr_registry_find(registry, mr_span_str("m.first"), &index), &first);
    ck_assert_uint_eq(index, 1);
    ck_assert_ptr_eq(mr_registry_at(registry, 0), &second);
    ck_assert_ptr_null(mr_registry_find(registry, mr_span_str("m.firs"), NULL));
    ck_assert_ptr_null(mr_registry_find(registry, mr_span_str("m.first2"), NULL));
    ck_assert_ptr_null(mr_registry_find(registry, MR_SPAN_NONE, NULL));
    mr_registry_offers(registry, offers);
    ck_assert(mr_span_is(offers[0].kind, "a.second"));
    ck_assert(offers[0].is_transactional && offers[0].running_max == 3 &&
              offers[0].timeout_ms == 40 && offers[0].attempts_max == 5 &&
              offers[0].backoff_base_ms == 6 && offers[0].backoff_cap_ms == 7 &&
              offers[0].backoff_factor_percent == 150 &&
              offers[0].backoff_jitter == MR_JITTER_NONE);
    ck_assert(mr_span_is(offers[2].kind, "z.map"));
}
END_TEST

START_TEST(wrong_kinds_are_refused)
{
    char long_name[MR_NAME_BYTES_MAX + 2];
    struct millrace_kind kind = {.name = long_name, .run = run};

    ck_assert_int_eq(mr_registry_add(registry, all, "here", &err), MR_OK);
    memset(long_name, 'x', sizeof long_name);
    long_name[MR_NAME_BYTES_MAX] = '\0';
    ck_assert_int_eq(mr_registry_add(registry,
                         (const struct millrace_kind *[]){&kind, NULL}, "", &err),
        MR_OK);
    ck_refused(
        &(struct millrace_kind){.name = "", .run = run}, "here: \"\" is not a name.");
    ck_refused(&(struct millrace_kind){.run = run}, "here: \"\" is not a name.");
    ck_refused(&(struct millrace_kind){.name = "a b", .run = run},
        "here: \"a b\" is not a name.");
    ck_refused(&(struct millrace_kind){.name = "n.run"}, "here: n.run has no handler.");
    ck_refused(&first, "here: m.first is there already (here).");
    ck_assert_uint_eq(mr_registry_count(registry), 4);
}
END_TEST

START_TEST(there_is_a_limit)
{
    static char names[MR_KINDS_PER_WORKER_MAX + 1][8];
    static struct millrace_kind many[MR_KINDS_PER_WORKER_MAX + 1];

    for (uint32_t i = 0; i <= MR_KINDS_PER_WORKER_MAX; i++) {
        snprintf(names[i], sizeof names[i], "k.%03u", MR_KINDS_PER_WORKER_MAX - i);
        many[i] = (struct millrace_kind){.name = names[i], .run = run};
        if (i < MR_KINDS_PER_WORKER_MAX)
            ck_assert_int_eq(
                mr_registry_add(
                    registry, (const struct millrace_kind *[]){&many[i], NULL}, "", &err),
                MR_OK);
    }
    ck_refused(&many[MR_KINDS_PER_WORKER_MAX],
        "here: k.000 would be one more than the 256 kinds that one worker may offer.");
    for (uint32_t i = 0; i < MR_KINDS_PER_WORKER_MAX; i++)
        ck_assert_ptr_eq(
            mr_registry_find(registry, mr_span_str(names[i]), NULL), &many[i]);
}
END_TEST

START_TEST(a_kind_that_cannot_be_prepared_is_not_offered)
{
    struct mr_settings settings = {.map = ""};
    struct millrace_host host = {.settings = &settings};

    ck_assert_int_eq(mr_registry_add(registry, all, "here", &err), MR_OK);
    mr_registry_prepare(registry, &host);
    ck_assert_uint_eq(mr_registry_count(registry), 2);
    ck_assert_ptr_null(mr_registry_find(registry, mr_span_str("z.map"), NULL));
    mr_registry_destroy(&registry);
    ck_assert_int_eq(disposed, 1);
    set_up();
    settings.map = "some.xml";
    ck_assert_int_eq(mr_registry_add(registry, all, "here", &err), MR_OK);
    mr_registry_prepare(registry, &host);
    ck_assert_uint_eq(mr_registry_count(registry), 3);
    mr_registry_destroy(&registry);
    ck_assert_int_eq(disposed, 2);
}
END_TEST

START_TEST(files_that_are_no_kinds)
{
    ck_assert_int_eq(mr_registry_load(registry, "bare.so", &err), MR_BAD_SETTING);
    ck_assert_str_eq(err.why, "bare.so: the name has no slash.");
    ck_assert_int_eq(mr_registry_load(registry, "./no/such.so", &err), MR_BAD_SETTING);
    ck_assert_ptr_nonnull(strstr(err.why, "No such file"));
    ck_assert_int_eq(mr_registry_load(registry, "./Makefile", &err), MR_BAD_SETTING);
    ck_assert_int_eq(mr_registry_load(registry, "/proc/self/exe", &err), MR_BAD_SETTING);
    ck_assert_uint_eq(mr_registry_count(registry), 0);
}
END_TEST

START_TEST(lists_by_commas)
{
    const char *rest = " a, bb,,ccccc , d";
    char out[5];

    ck_assert(mr_settings_next(&rest, out, sizeof out));
    ck_assert_str_eq(out, "a");
    ck_assert(mr_settings_next(&rest, out, sizeof out));
    ck_assert_str_eq(out, "bb");
    ck_assert(mr_settings_next(&rest, out, sizeof out));
    ck_assert_str_eq(out, ""); /* too long */
    ck_assert(mr_settings_next(&rest, out, sizeof out));
    ck_assert_str_eq(out, "d");
    ck_assert(!mr_settings_next(&rest, out, sizeof out));
}
END_TEST

START_TEST(the_flag_load_may_be_repeated)
{
    char *once[] = {"w", "--load", "a.so"};
    char *twice[] = {"w", "--load", "a.so", "--threads", "2", "--load=b.so", "--load"};
    char *text = mr_settings_all_loads(7, twice);

    ck_assert_ptr_null(mr_settings_all_loads(3, once));
    ck_assert_ptr_nonnull(text);
    ck_assert_str_eq(text, "a.so,b.so");
    free(text);
}
END_TEST

START_TEST(handlers_see_some_settings_only)
{
    struct mr_settings settings = {
        .map = "m.xml", .pay_url = "", .database = "host=secret"};
    struct millrace_host host = {.settings = &settings};

    ck_assert_str_eq(millrace_host_setting(&host, "map"), "m.xml");
    ck_assert_ptr_null(millrace_host_setting(&host, "pay_url"));
    ck_assert_ptr_null(millrace_host_setting(&host, "database"));
    ck_assert_ptr_null(millrace_host_setting(&host, "no_such"));
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("worker/registry");
    TCase *tcase = tcase_create("registry");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, groups_that_cannot_be);
    tcase_add_test(tcase, kinds_are_found_by_name);
    tcase_add_test(tcase, wrong_kinds_are_refused);
    tcase_add_test(tcase, there_is_a_limit);
    tcase_add_test(tcase, a_kind_that_cannot_be_prepared_is_not_offered);
    tcase_add_test(tcase, files_that_are_no_kinds);
    tcase_add_test(tcase, lists_by_commas);
    tcase_add_test(tcase, the_flag_load_may_be_repeated);
    tcase_add_test(tcase, handlers_see_some_settings_only);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}

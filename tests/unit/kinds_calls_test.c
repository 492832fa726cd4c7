/*
 * The built-in kinds through the worker's own way of running an attempt, without a database: what
 * calculations answer, and what wrong arguments get. Routes of the grid by hand: a1b1 is
 * 100.00 m at 13.89 m/s, 7,199 ms; b1c1 is 103.37 m, 7,442 ms.
 */
#include "schemas/wire/body.h"
#include "schemas/wire/pack.h"
#include "worker/kinds/kinds.h"
#include "worker/road/fare.h"
#include "worker/run.h"

#include <check.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct millrace_host {
    const char *map, *pay_url;
};

const char *
millrace_host_setting(const struct millrace_host *host, const char *name)
{
    return strcmp(name, "map") == 0       ? host->map
           : strcmp(name, "pay_url") == 0 ? host->pay_url
                                          : NULL;
}

static struct millrace_job *job;
static struct mr_attempt *attempt;
static uint64_t serial;

static const struct millrace_kind *
kind_of(const char *name)
{
    for (int i = 0; mr_kinds_builtin[i]; i++) {
        if (strcmp(mr_kinds_builtin[i]->name, name) == 0)
            return mr_kinds_builtin[i];
    }
    ck_abort_msg("there is no kind %s", name);
    return NULL;
}

static void
set_up(void)
{
    struct millrace_host host = {.map = "tests/flagship/grid.net.xml"};
    struct mr_run_conf conf = {.worker = mr_span_str("test")};
    char why[512];

    ck_assert_int_eq(mr_run_new(&job, &conf), MR_OK);
    attempt = mr_attempt_new();
    ck_assert_ptr_nonnull(attempt);
    ck_assert_msg(kind_of("route.plan")->prepare(&host, why, sizeof why), "%s", why);
}

static void
tear_down(void)
{
    kind_of("route.plan")->dispose();
    mr_attempt_destroy(&attempt);
    mr_run_destroy(&job);
}

/* One value: i5, sTEXT, b1, n, or [a|b|c] as strings. */
static void
put_value(struct mr_wr *wr, char *text)
{
    char *rest = NULL;
    uint32_t count = 0;
    size_t mark;

    if (*text == 'i') {
        mr_wr_int(wr, strtoll(text + 1, NULL, 10));
    } else if (*text == 's') {
        mr_wr_cstr(wr, text + 1);
    } else if (*text == 'b') {
        mr_wr_bool(wr, text[1] == '1');
    } else if (*text == 'n') {
        mr_wr_nil(wr);
    } else {
        mark = mr_wr_array_open(wr);
        for (char *p = strtok_r(text + 1, "|]", &rest); p;
             p = strtok_r(NULL, "|]", &rest)) {
            mr_wr_cstr(wr, p);
            count++;
        }
        mr_wr_close(wr, mark, count);
    }
}

/* "key=value,key=value" */
static enum mr_run_end
run_attempt(const char *kind, const char *args, uint32_t number)
{
    struct mr_job_sent sent = {.attempt = number, .kind = mr_span_str(kind)};
    char text[512], *rest = NULL;
    enum mr_run_end end;
    uint32_t pairs = 0;
    struct mr_wr wr;
    size_t mark;

    snprintf(text, sizeof text, "%s", args);
    ck_assert_int_eq(
        mr_uuid_parse(mr_span_str("01900000-0000-7000-8000-000000000001"), &sent.id),
        MR_OK);
    mr_wr_init(&wr, 65536);
    mark = mr_wr_map_open(&wr);
    for (char *p = strtok_r(text, ",", &rest); p;
         p = strtok_r(NULL, ",", &rest), pairs++) {
        char *value = strchr(p, '=');

        *value++ = '\0';
        mr_wr_cstr(&wr, p);
        put_value(&wr, value);
    }
    mr_wr_close(&wr, mark, pairs);
    sent.payload = mr_wr_span(&wr);
    mr_attempt_reset(attempt);
    ck_assert_int_eq(mr_attempt_set(attempt, &sent, kind_of(kind), ++serial), MR_OK);
    end = mr_run_attempt(job, attempt);
    mr_wr_fini(&wr);
    return end;
}

/* The result's bytes; it has to succeed. */
static struct mr_span
succeed(const char *kind, const char *args)
{
    enum mr_run_end end = run_attempt(kind, args, 1);

    ck_assert_msg(end == MR_RUN_TO_STORE, "%s %s: %.*s", kind, args,
        (int)attempt->done.text.n, (const char *)attempt->done.text.p);
    return mr_wr_span(&attempt->body);
}

static int64_t
number(struct mr_span body, const char *key)
{
    struct mr_body *tree;
    int64_t v;

    ck_assert_int_eq(mr_body_new(&tree), MR_OK);
    ck_assert_int_eq(mr_body_decode(tree, body), MR_OK);
    ck_assert_msg(mr_body_int(tree, key, &v), "%s", key);
    mr_body_destroy(&tree);
    return v;
}

START_TEST(table)
{
    const char *before = "";

    for (int i = 0; mr_kinds_builtin[i]; i++) {
        const struct millrace_kind *kind = mr_kinds_builtin[i];

        ck_assert_msg(strcmp(before, kind->name) < 0, "%s", kind->name);
        ck_assert_ptr_nonnull(kind->help);
        ck_assert(kind->run != NULL);
        ck_assert(!kind->prepare == !kind->dispose);
        before = kind->name;
    }
}
END_TEST

START_TEST(plan)
{
    struct mr_span body = succeed("route.plan", "from=sa1b1,to=sb1c1");
    struct mr_body *tree;
    struct mr_span edge;
    uint32_t count;

    ck_assert_int_eq(number(body, "ms"), 7199 + 7442);
    ck_assert_int_eq(number(body, "cm"), 10000 + 10337);
    ck_assert_int_eq(mr_body_new(&tree), MR_OK);
    ck_assert_int_eq(mr_body_decode(tree, body), MR_OK);
    ck_assert(mr_body_array(tree, "edges", &count));
    ck_assert_uint_eq(count, 2);
    ck_assert(mr_body_array_str(tree, "edges", 1, &edge));
    ck_assert(mr_span_is(edge, "b1c1"));
    mr_body_destroy(&tree);
    ck_assert_int_eq(
        number(succeed("route.plan", "from=sa1b1,to=sa1b1,class=staxi"), "ms"), 7199);
}
END_TEST

/* d4c4 is closed to buses, open to others. */
START_TEST(a_closed_end_is_nil)
{
    struct mr_span body = succeed("route.plan", "from=sa1b1,to=sd4c4");

    ck_assert_uint_eq(body.n, 1);
    ck_assert_uint_eq(body.p[0], 0xc0);
    body = succeed("route.plan", "from=sa1b1,to=sd4c4,class=spassenger");
    ck_assert_int_gt(number(body, "ms"), 0);
}
END_TEST

START_TEST(matrix)
{
    struct mr_span body = succeed("route.matrix", "from=[a1b1|b1c1],to=[b1c1|d4c4]");
    struct mr_rd rd = mr_rd_open(body);

    ck_assert_uint_eq(mr_rd_map(&rd, 2), 2);
    for (int k = 0; k < 2; k++) {
        ck_assert(mr_span_is(mr_rd_str(&rd, 2), k == 0 ? "ms" : "cm"));
        ck_assert_uint_eq(mr_rd_array(&rd, 2), 2);
        ck_assert_uint_eq(mr_rd_array(&rd, 2), 2);
        ck_assert_int_eq(mr_rd_int(&rd), k == 0 ? 14641 : 20337);
        ck_assert(mr_rd_skip_nil(&rd));
        ck_assert_uint_eq(mr_rd_array(&rd, 2), 2);
        ck_assert_int_eq(mr_rd_int(&rd), k == 0 ? 7442 : 10337);
        ck_assert(mr_rd_skip_nil(&rd));
    }
    ck_assert_int_eq(rd.status, MR_OK);
    ck_assert_int_eq(mr_rd_peek(&rd), MR_PACK_END);
}
END_TEST

START_TEST(quote)
{
    ck_assert_int_eq(number(succeed("fare.quote", "metres=i1020"), "cents"), 716);
    ck_assert_int_eq(number(succeed("fare.quote", "cm=i102049"), "cents"), 716);
    ck_assert_int_eq(number(succeed("fare.quote", "cm=i300050"), "metres"), 3001);
    ck_assert_int_eq(
        number(succeed("fare.quote", "metres=i0,passengers=i5,bulky=i1"), "extras"), 600);
}
END_TEST

START_TEST(block_of_ep)
{
    struct mr_span body = succeed("calc.ep", "m=i16,k=i0,blocks=i1");

    ck_assert_int_gt(number(body, "pairs"), 51000); /* pi / 4 of 65,536 is 51,472 */
    ck_assert_int_lt(number(body, "pairs"), 52000);
}
END_TEST

START_TEST(failing_on_purpose)
{
    ck_assert_int_eq(run_attempt("test.fail", "times=i2", 2), MR_RUN_OVER);
    ck_assert_int_eq(attempt->done.report, MR_DID_FAIL);
    ck_assert_int_eq(run_attempt("test.fail", "times=i2", 3), MR_RUN_TO_STORE);
    ck_assert_int_eq(run_attempt("test.fail", "for_good=b1", 1), MR_RUN_OVER);
    ck_assert_int_eq(attempt->done.report, MR_DID_FAIL_FOR_GOOD);
    ck_assert_int_eq(run_attempt("test.fail", "retry_after_ms=i1500", 1), MR_RUN_OVER);
    ck_assert_int_eq(attempt->done.report, MR_DID_FAIL);
    ck_assert_uint_eq(attempt->done.retry_after_ms, 1500);
    succeed("test.noop", "");
    succeed("test.sleep", "ms=i1");
    succeed("test.spin", "ms=i1");
    succeed("test.hang", "ms=i1");
}
END_TEST

/* Not tried again, and told why. */
static const struct {
    const char *kind, *args, *why;
} wrong[] = {
    {"route.plan", "", "\"from\""},
    {"route.plan", "from=sa1b1", "\"to\""},
    {"route.plan", "from=i1,to=sa1b1", "\"from\""},
    {"route.plan", "from=s,to=sa1b1", "\"from\""},
    {"route.plan", "from=snowhere,to=sa1b1", "no edge \"nowhere\""},
    {"route.plan", "from=sa1b1,to=sa1b1,class=srocket", "no class \"rocket\""},
    {"route.plan", "from=sa1b1,to=sa1b1,class=i3", "\"class\""},
    {"route.matrix", "from=[a1b1]", "\"to\""},
    {"route.matrix", "from=[],to=[a1b1]", "\"from\""},
    {"route.matrix", "from=sa1b1,to=[a1b1]", "\"from\""},
    {"route.matrix", "from=[a1b1],to=[a1b1|zz]", "no edge \"zz\""},
    {"route.matrix", "from=[a1b1],to=[a1b1],class=srocket", "no class"},
    {"fare.quote", "", "either"},
    {"fare.quote", "metres=i1,cm=i1", "either"},
    {"fare.quote", "metres=i-1", "metres"},
    {"fare.quote", "metres=s1", "\"metres\""},
    {"fare.quote", "cm=i-1", "\"cm\""},
    {"fare.quote", "metres=i1,tariff=smoon", "tariff"},
    {"fare.quote", "metres=i1,passengers=i9", "passengers"},
    {"calc.ep", "m=i0", "\"m\""},
    {"calc.ep", "m=i41", "\"m\""},
    {"calc.ep", "k=i256", "\"k\""},
    {"calc.ep", "blocks=i3", "power of two"},
    {"calc.ep", "m=i4,blocks=i32", "power of two"},
    {"calc.ep", "m=i40,blocks=i1", "power of two"},
    {"calc.ep_run", "blocks=i2000", "\"blocks\""},
    {"calc.ep_sum", "", "\"blocks\""},
    {"calc.ep_sum", "blocks=[x]", "not an id"},
    {"ride.request", "key=sk,from=sa1b1,to=sa1b1", "\"rider\""},
    {"ride.request", "rider=sr,from=sa1b1,to=sa1b1", "\"key\""},
    {"ride.request", "rider=sr,key=sk,from=sa1b1,to=snowhere", "no edge"},
    {"ride.request", "rider=sr,key=sk,from=sa1b1,to=sa1b1,speed=i0", "\"speed\""},
    {"ride.request", "rider=sr,key=sk,from=sa1b1,to=sa1b1,class=srocket", "no class"},
    {"ride.match", "ride=sx,route=sy", "\"ride\""},
    {"ride.match", "ride=s01900000-0000-7000-8000-000000000001", "\"route\""},
    {"pay.charge", "ride=i1", "\"ride\""},
    {"ride.finish", "", "\"ride\""},
    {"ride.finish", "ride=s01900000-0000-7000-8000-00000000000g", "\"ride\""},
    {"test.sleep", "ms=i-1", "\"ms\""},
    {"test.spin", "ms=sx", "\"ms\""},
    {"test.fail", "for_good=i1", "\"for_good\""},
    {"test.crash", "how=sgently", "\"how\""},
};

START_TEST(wrong_arguments)
{
    struct mr_span text;

    ck_assert_int_eq(run_attempt(wrong[_i].kind, wrong[_i].args, 1), MR_RUN_OVER);
    ck_assert_msg(attempt->done.report == MR_DID_FAIL_FOR_GOOD, "%s %s: %d",
        wrong[_i].kind, wrong[_i].args, (int)attempt->done.report);
    text = attempt->done.text;
    ck_assert_msg(memmem(text.p, text.n, wrong[_i].why, strlen(wrong[_i].why)) != NULL,
        "%s %s: %.*s", wrong[_i].kind, wrong[_i].args, (int)text.n, (const char *)text.p);
}
END_TEST

START_TEST(wrong_settings)
{
    struct millrace_host none = {.map = NULL}, bad = {.map = "Makefile", .pay_url = ""};
    char why[512];

    kind_of("route.plan")->dispose();
    ck_assert(!kind_of("route.plan")->prepare(&none, why, sizeof why));
    ck_assert_ptr_nonnull(strstr(why, "map"));
    ck_assert(!kind_of("ride.match")->prepare(&bad, why, sizeof why));
    ck_assert_ptr_nonnull(strstr(why, "Makefile"));
    ck_assert_ptr_nonnull(strstr(why, "line 1"));
    ck_assert(!kind_of("pay.charge")->prepare(&none, why, sizeof why));
    ck_assert_ptr_nonnull(strstr(why, "pay_url"));
    ck_assert(!kind_of("pay.charge")->prepare(&bad, why, sizeof why));
    bad.map = "tests/flagship/grid.net.xml";
    ck_assert(kind_of("route.plan")->prepare(&bad, why, sizeof why));
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("kinds/calls");
    TCase *tcase = tcase_create("calls");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, table);
    tcase_add_test(tcase, plan);
    tcase_add_test(tcase, a_closed_end_is_nil);
    tcase_add_test(tcase, matrix);
    tcase_add_test(tcase, quote);
    tcase_add_test(tcase, block_of_ep);
    tcase_add_test(tcase, failing_on_purpose);
    tcase_add_loop_test(tcase, wrong_arguments, 0, sizeof wrong / sizeof wrong[0]);
    tcase_add_test(tcase, wrong_settings);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}

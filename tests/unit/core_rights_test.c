/*
 * Who may do what, against a second implementation of the rules that is as slow and as plain as
 * they are written (broker/core/rights.h), and against cases made by hand.
 */
#include "broker/core/rights.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

#define NAMES 12
#define GRANTS_MAX 12
#define PRINCIPALS 5

static struct mr_rights *rights;

static void
setup(void)
{
    ck_assert_int_eq(mr_rights_new(&rights, (struct mr_hash_key){1, 2}), MR_OK);
}

static void
teardown(void)
{
    mr_rights_destroy(&rights);
}

static void
add_principal(uint32_t number, const char *name, bool is_revoked)
{
    ck_assert_int_eq(
        mr_rights_add(rights, &(struct mr_rights_row){.type = MR_ROW_PRINCIPAL,
                                  .principal = number,
                                  .text = mr_span_str(name),
                                  .is_revoked = is_revoked}),
        MR_OK);
}

static void
add_key(uint32_t number, const char *key, bool is_revoked)
{
    ck_assert_int_eq(mr_rights_add(rights, &(struct mr_rights_row){.type = MR_ROW_KEY,
                                               .principal = number,
                                               .text = mr_span_str(key),
                                               .is_revoked = is_revoked}),
        MR_OK);
}

static void
add_grant(uint32_t number, const char *word, bool is_denied, const char *queue,
    const char *kind, bool is_any)
{
    ck_assert_int_eq(mr_rights_add(rights, &(struct mr_rights_row){.type = MR_ROW_GRANT,
                                               .principal = number,
                                               .text = mr_span_str(word),
                                               .queue = mr_span_str(queue),
                                               .kind = mr_span_str(kind),
                                               .is_denied = is_denied,
                                               .is_any = is_any}),
        MR_OK);
}

static void
seal(void)
{
    ck_assert_int_eq(mr_rights_seal(rights), MR_OK);
}

static enum mr_scope
may(uint32_t number, enum mr_right right, const char *queue, const char *kind)
{
    return mr_rights_may(rights, number, right, mr_span_str(queue), mr_span_str(kind));
}

/* ---- patterns ------------------------------------------------------------------------------------ */

static const struct {
    const char *pattern, *name;
    bool matches;
} patterns[] = {
    {"*", "a", true},
    {"*", "", true},
    {"*", "*", true},
    {"ride.*", "ride.match", true},
    {"ride.*", "ride.", true},
    {"ride.*", "ride", false},
    {"ride.*", "rides.match", false},
    {"ride.*", "Ride.match", false},
    {"ride.*", "a.ride.match", false},
    {"ride.*", "ride.match.more", true},
    {"ride.*", "ride.*", true},
    {"ride", "ride", true},
    {"ride", "ride.match", false},
    {"ride", "rid", false},
    {"a", "*", false},
    {"a*", "a", true},
    {"a*", "", false},
};

START_TEST(what_a_pattern_matches)
{
    ck_assert_msg(mr_rights_matches(mr_span_str(patterns[_i].pattern),
                      mr_span_str(patterns[_i].name)) == patterns[_i].matches,
        "%s and %s", patterns[_i].pattern, patterns[_i].name);
}
END_TEST

/* ---- roles: by hand from the issue --------------------------------------------------------------- */

#define NO MR_SCOPE_NO
#define OWN MR_SCOPE_OWN
#define ANY MR_SCOPE_ANY
static const struct {
    const char *role;
    enum mr_scope submit, run, watch, fetch, cancel, operate, administer;
} roles[] = {
    {"front-end", ANY, NO, OWN, OWN, OWN, NO, NO},
    {"worker", NO, ANY, NO, NO, NO, NO, NO},
    {"operator", NO, NO, ANY, ANY, ANY, ANY, NO},
    {"auditor", NO, NO, ANY, ANY, NO, NO, NO},
    {"administrator", NO, NO, NO, NO, NO, NO, ANY},
};

START_TEST(what_roles_are_short_for)
{
    enum mr_scope got[MR_RIGHTS];

    add_principal(1, "p", false);
    add_grant(1, roles[_i].role, false, "*", "*", false);
    seal();
    for (int right = 0; right < MR_RIGHTS; right++)
        got[right] = may(1, (enum mr_right)right, "q", "k");
    ck_assert_int_eq(got[MR_RIGHT_SUBMIT], roles[_i].submit);
    ck_assert_int_eq(got[MR_RIGHT_RUN], roles[_i].run);
    ck_assert_int_eq(got[MR_RIGHT_WATCH], roles[_i].watch);
    ck_assert_int_eq(got[MR_RIGHT_FETCH], roles[_i].fetch);
    ck_assert_int_eq(got[MR_RIGHT_CANCEL], roles[_i].cancel);
    ck_assert_int_eq(got[MR_RIGHT_OPERATE], roles[_i].operate);
    ck_assert_int_eq(got[MR_RIGHT_ADMINISTER], roles[_i].administer);
}
END_TEST

START_TEST(what_is_not_granted_is_refused)
{
    add_principal(1, "p", false);
    add_principal(2, "q", true);
    add_grant(2, "front-end", false, "*", "*", false);
    seal();
    for (int right = 0; right < MR_RIGHTS; right++) {
        for (uint32_t number = 0; number < 6; number++)
            ck_assert_int_eq(may(number, (enum mr_right)right, "q", "k"), NO);
    }
}
END_TEST

START_TEST(deny_wins)
{
    add_principal(1, "p", false);
    add_grant(1, "submit", false, "*", "*", false);
    add_grant(1, "submit", true, "night", "pay.*", false);
    add_grant(1, "submit", false, "night", "pay.charge", false);
    add_grant(1, "front-end", true, "locked", "*", false);
    seal();
    ck_assert_int_eq(may(1, MR_RIGHT_SUBMIT, "night", "pay.charge"), NO);
    ck_assert_int_eq(may(1, MR_RIGHT_SUBMIT, "night", "pay"), ANY);
    ck_assert_int_eq(may(1, MR_RIGHT_SUBMIT, "nights", "pay.charge"), ANY);
    ck_assert_int_eq(may(1, MR_RIGHT_SUBMIT, "locked", "a"), NO);
}
END_TEST

/* ---- who ------------------------------------------------------------------------------------------ */

#define KEY_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define KEY_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define KEY_C "cccccccccccccccccccccccccccccccccccccccc"
#define KEY_D "dddddddddddddddddddddddddddddddddddddddd"

START_TEST(who_is_behind_a_user_id)
{
    uint32_t cursor = 0, count = 0;
    struct mr_span key;

    add_principal(1, "local", false);
    add_principal(2, "anyone", true);
    add_principal(3, "app", false);
    add_principal(4, "gone", true);
    add_key(3, KEY_A, false);
    add_key(3, KEY_B, true);
    add_key(3, KEY_C, false);
    add_key(4, KEY_D, false);
    seal();
    ck_assert_uint_eq(mr_rights_who(rights, mr_span_str("local")), 1);
    ck_assert_uint_eq(mr_rights_who(rights, mr_span_str("anyone")), 0);
    ck_assert_uint_eq(mr_rights_who(rights, mr_span_str("app")), 0); /* a name, no key */
    ck_assert_uint_eq(mr_rights_who(rights, mr_span_str(KEY_A)), 3);
    ck_assert_uint_eq(mr_rights_who(rights, mr_span_str(KEY_B)), 0);
    ck_assert_uint_eq(mr_rights_who(rights, mr_span_str(KEY_C)), 3);
    ck_assert_uint_eq(mr_rights_who(rights, mr_span_str(KEY_D)), 0);
    ck_assert_uint_eq(mr_rights_who(rights, mr_span(KEY_A, 39)), 0);
    ck_assert_uint_eq(mr_rights_who(rights, MR_SPAN_NONE), 0);
    while (mr_rights_next_key(rights, &cursor, &key)) {
        ck_assert(mr_span_is(key, KEY_A) || mr_span_is(key, KEY_C));
        count++;
    }
    ck_assert_uint_eq(count, 2);
    ck_assert(mr_span_is(mr_rights_name(rights, 3), "app"));
    ck_assert_uint_eq(mr_rights_number(rights, mr_span_str("gone")), 4);
    ck_assert_uint_eq(mr_rights_number(rights, mr_span_str("nobody")), 0);
}
END_TEST

static enum mr_status
add(struct mr_rights_row row)
{
    return mr_rights_add(rights, &row);
}

START_TEST(rows_that_cannot_be)
{
    struct mr_span name = mr_span_str("p"), star = mr_span_str("*");

    add_principal(1, "p", false);
    ck_assert_int_eq(
        add((struct mr_rights_row){.principal = 0, .text = name}), MR_BAD_ARGUMENT);
    ck_assert_int_eq(
        add((struct mr_rights_row){.principal = MR_PRINCIPALS_MAX + 1, .text = name}),
        MR_BAD_ARGUMENT);
    ck_assert_int_eq(add((struct mr_rights_row){.principal = 1, .text = name}),
        MR_BAD_ARGUMENT); /* twice */
    ck_assert_int_eq(add((struct mr_rights_row){.principal = 2}), MR_BAD_ARGUMENT);
    ck_assert_int_eq(
        add((struct mr_rights_row){
            .type = MR_ROW_KEY, .principal = 1, .text = mr_span_str("short")}),
        MR_BAD_ARGUMENT);
    ck_assert_int_eq(add((struct mr_rights_row){
                         .type = MR_ROW_KEY, .principal = 2, .text = mr_span_str(KEY_A)}),
        MR_BAD_ARGUMENT);
    ck_assert_int_eq(add((struct mr_rights_row){.type = MR_ROW_GRANT,
                         .principal = 1,
                         .text = mr_span_str("king"),
                         .queue = star,
                         .kind = star}),
        MR_BAD_ARGUMENT);
    ck_assert_int_eq(add((struct mr_rights_row){.type = MR_ROW_GRANT,
                         .principal = 1,
                         .text = mr_span_str("run"),
                         .kind = star}),
        MR_BAD_ARGUMENT);
    add_key(1, KEY_A, false);
    add_key(1, KEY_A, false);
    ck_assert_int_eq(mr_rights_seal(rights), MR_BAD_ARGUMENT);
}
END_TEST

/* ---- words ----------------------------------------------------------------------------------------- */

static const char *
say(uint32_t number, enum mr_right right, const char *queue, const char *kind)
{
    static char text[MR_RIGHTS_TEXT_BYTES];

    return mr_rights_say(
        rights, number, right, mr_span_str(queue), mr_span_str(kind), text);
}

START_TEST(the_missing_right_is_named)
{
    add_principal(1, "app1", false);
    add_principal(2, "gone", true);
    add_grant(1, "submit", false, "day", "*", false);
    add_grant(1, "fetch", false, "*", "*", false);
    add_grant(1, "fetch", true, "x*", "*", false);
    seal();
    ck_assert_str_eq(say(1, MR_RIGHT_SUBMIT, "night", "pay.charge"),
        "principal `app1` may not submit kind `pay.charge` to queue `night`: it lacks "
        "the "
        "right `submit` there");
    ck_assert_str_eq(say(1, MR_RIGHT_ADMINISTER, "", ""),
        "principal `app1` may not administer: it lacks the right `administer`");
    ck_assert_str_eq(say(1, MR_RIGHT_FETCH, "xy", "k"),
        "principal `app1` may not see jobs of kind `k` of queue `xy`: the right `fetch` "
        "is "
        "denied to it there");
    ck_assert_ptr_nonnull(
        strstr(say(2, MR_RIGHT_RUN, "", "k"), "this key opens nothing"));
    ck_assert_ptr_nonnull(
        strstr(say(0, MR_RIGHT_RUN, "", "k"), "this key opens nothing"));
}
END_TEST

/* ---- the model --------------------------------------------------------------------------------------- */

static const char *const names[NAMES] = {"a", "ab", "abc", "b", "ba", "night", "nights",
    "ride.match", "ride.", "ride", "pay.charge", "*"};
static const char *const globs[] = {
    "*", "a*", "ab*", "abc", "b", "night", "night*", "ride.*", "ride", "pay.*", "a"};
static const char *const words[] = {"front-end", "worker", "operator", "auditor",
    "administrator", "submit", "run", "watch", "fetch", "cancel", "operate",
    "administer"};
#define GLOBS (sizeof globs / sizeof *globs)
#define WORDS (sizeof words / sizeof *words)

struct said {
    int principal, word;
    const char *queue, *kind;
    bool is_denied, is_any;
};

static uint64_t dice = 88172645463325252u;

static unsigned throw(unsigned sides)
{
    dice ^= dice << 13;
    dice ^= dice >> 7;
    dice ^= dice << 17;
    return (unsigned)(dice >> 33) % sides;
}

/* Character by character; a star at the end takes the rest. */
static bool
model_matches(const char *pattern, const char *name)
{
    for (; *pattern; pattern++, name++) {
        if (pattern[0] == '*' && pattern[1] == '\0')
            return true;
        if (*pattern != *name)
            return false;
    }
    return *name == '\0';
}

static int
model_word(int word, int right, bool is_any)
{
    static const int table[5][MR_RIGHTS] = {{2, 0, 1, 1, 1, 0, 0}, {0, 2, 0, 0, 0, 0, 0},
        {0, 0, 2, 2, 2, 2, 0}, {0, 0, 2, 2, 0, 0, 0}, {0, 0, 0, 0, 0, 0, 2}};

    if (word < 5)
        return table[word][right];
    if (word - 5 != right)
        return 0;
    return (right == 2 || right == 3 || right == 4) && !is_any ? 1 : 2;
}

static int
model_may(const struct said *said, int count, int principal, int right, const char *queue,
    const char *kind)
{
    int best = 0;

    for (int i = 0; i < count; i++) {
        int scope = model_word(said[i].word, right, said[i].is_any);

        if (said[i].principal != principal || !scope ||
            !model_matches(said[i].queue, queue) || !model_matches(said[i].kind, kind))
            continue;
        if (said[i].is_denied)
            return 0;
        best = scope > best ? scope : best;
    }
    return best;
}

static void
say_something(struct said *said)
{
    *said = (struct said){.principal = 1 + (int) throw(PRINCIPALS - 1),
        .word = (int) throw(WORDS),
        .queue = globs[throw(4) ? throw(GLOBS) : 0],
        .kind = globs[throw(4) ? throw(GLOBS) : 0],
        .is_denied = throw(4) == 0};
    said->is_any = !said->is_denied && throw(2);
    add_grant((uint32_t)said->principal, words[said->word], said->is_denied, said->queue,
        said->kind, said->is_any);
}

/* What is said of many at once has to fit each of them; the names are those there are. */
static void
compare_over(const struct said *said, int count, int principal, int right,
    const char *queue, const char *kind)
{
    struct mr_scope_range range = mr_rights_over(rights, (uint32_t)principal,
        (enum mr_right)right, mr_span_str(queue), mr_span_str(kind));

    for (int i = 0; i < NAMES * NAMES; i++) {
        const char *q = queue ? queue : names[i / NAMES];
        const char *k = kind ? kind : names[i % NAMES];
        int scope = model_may(said, count, principal, right, q, k);

        ck_assert_msg((int)range.least <= scope && scope <= (int)range.most,
            "principal %d right %d queue %s kind %s: %d is not in %d to %d", principal,
            right, q, k, scope, range.least, range.most);
    }
}

START_TEST(as_the_model_says)
{
    for (int world = 0; world < 100; world++) {
        struct said said[GRANTS_MAX];
        int count = 1 + (int) throw(GRANTS_MAX);

        teardown();
        setup();
        for (uint32_t i = 1; i < PRINCIPALS; i++) {
            char name[16];

            (void)snprintf(name, sizeof name, "p%u", i);
            add_principal(i, name, false);
        }
        for (int i = 0; i < count; i++)
            say_something(&said[i]);
        seal();
        for (int i = 0; i < 100; i++) {
            int principal = 1 + (int) throw(PRINCIPALS - 1);
            int right = (int) throw(MR_RIGHTS);
            const char *queue = names[throw(NAMES)], *kind = names[throw(NAMES)];
            int got = (int)may((uint32_t)principal, (enum mr_right)right, queue, kind);

            ck_assert_msg(got == model_may(said, count, principal, right, queue, kind),
                "world %d principal %d right %d queue %s kind %s: %d", world, principal,
                right, queue, kind, got);
            if (i % 10 == 0)
                compare_over(said, count, principal, right, throw(2) ? queue : NULL,
                    throw(2) ? kind : NULL);
        }
    }
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("rights");
    TCase *cases = tcase_create("all");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(cases, setup, teardown);
    tcase_add_loop_test(
        cases, what_a_pattern_matches, 0, (int)(sizeof patterns / sizeof *patterns));
    tcase_add_loop_test(
        cases, what_roles_are_short_for, 0, (int)(sizeof roles / sizeof *roles));
    tcase_add_test(cases, what_is_not_granted_is_refused);
    tcase_add_test(cases, deny_wins);
    tcase_add_test(cases, who_is_behind_a_user_id);
    tcase_add_test(cases, rows_that_cannot_be);
    tcase_add_test(cases, the_missing_right_is_named);
    tcase_add_test(cases, as_the_model_says);
    suite_add_tcase(suite, cases);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}

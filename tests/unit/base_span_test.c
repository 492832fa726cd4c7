/* Cutting text: RFC 3629's lengths, by hand. */
#include "schemas/base/span.h"

#include <check.h>

static void
ck_cut(const char *text, size_t max, size_t wanted)
{
    struct mr_span cut = mr_span_cut(mr_span_str(text), max);

    ck_assert_msg(
        cut.n == wanted, "%s at %zu gives %zu, not %zu", text, max, cut.n, wanted);
}

START_TEST(whole_characters_stay)
{
    ck_cut("", 5, 0);
    ck_cut("abc", 5, 3);
    ck_cut("abc", 3, 3);
    ck_cut("abc", 2, 2);
    ck_cut("abc", 0, 0);
    ck_assert_uint_eq(mr_span_cut(MR_SPAN_NONE, 5).n, 0);
}
END_TEST

/* U+00E4, U+20AC and U+1F600 have 2, 3 and 4 bytes. */
START_TEST(characters_are_not_cut)
{
    static const char *const wide[] = {"a\xc3\xa4", "a\xe2\x82\xac", "a\xf0\x9f\x98\x80"};

    for (size_t i = 0; i < 3; i++) {
        size_t whole = i + 3;

        ck_cut(wide[i], whole, whole);
        ck_cut(wide[i], whole + 9, whole);
        for (size_t max = 1; max < whole; max++)
            ck_cut(wide[i], max, 1);
    }
    ck_cut("\xc3\xa4\xc3\xa4", 3, 2);
    ck_cut("\xc3\xa4", 1, 0);
}
END_TEST

/* Bytes that are no text come out as they are, without reading before them. */
START_TEST(what_is_no_text_is_not_judged)
{
    ck_cut("\x80\x80\x80\x80\x80\x80", 5, 5);
    ck_cut("\x80\x80", 2, 2);
    ck_cut("a\x80", 2, 2);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("base/span");
    TCase *tcase = tcase_create("cut");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(tcase, whole_characters_stay);
    tcase_add_test(tcase, characters_are_not_cut);
    tcase_add_test(tcase, what_is_no_text_is_not_judged);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}

/* Expected bytes are by hand from the msgpack specification; base64 from RFC 4648, section 10. */
#include "client/json.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct mr_err err;

static struct mr_wr
packed(const char *text)
{
    struct mr_wr wr;
    json_t *value;

    mr_wr_init(&wr, 1 << 20);
    ck_assert_msg(mr_json_parse(mr_span_str(text), "the text", &value, &err) == MR_OK,
        "%s", err.why);
    ck_assert_int_eq(mr_json_pack(value, &wr, &err), MR_OK);
    json_decref(value);
    return wr;
}

static void
packs_as(const char *text, const char *bytes, size_t n)
{
    struct mr_wr wr = packed(text);

    ck_assert_msg(mr_span_eq(mr_wr_span(&wr), mr_span(bytes, n)), "%s", text);
    mr_wr_fini(&wr);
}

START_TEST(json_to_bytes)
{
    packs_as("null", "\xc0", 1);
    packs_as("true", "\xc3", 1);
    packs_as("[false,1,-1]", "\x93\xc2\x01\xff", 4);
    packs_as("{\"a\":\"\"}",
        "\x81\xa1"
        "a\xa0",
        4);
    packs_as("9223372036854775807", "\xcf\x7f\xff\xff\xff\xff\xff\xff\xff", 9);
    packs_as("-9223372036854775808", "\xd3\x80\x00\x00\x00\x00\x00\x00\x00", 9);
    packs_as("1.5", "\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00", 9);
    packs_as("\"\\u00e9\"", "\xa2\xc3\xa9", 3);
    packs_as("{\"$bin\":\"Zm9vYmFy\"}",
        "\xc4\x06"
        "foobar",
        8);
    /* Only a map of that one key is bytes. */
    packs_as("{\"$bin\":1}", "\x81\xa4$bin\x01", 7);
}
END_TEST

/* RFC 4648's vectors, there and back. */
START_TEST(base64)
{
    static const char *const vectors[][2] = {{"", ""}, {"f", "Zg=="}, {"fo", "Zm8="},
        {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}, {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"}};

    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        char text[64];
        struct mr_wr wr;
        json_t *back;

        snprintf(text, sizeof text, "{\"$bin\":\"%s\"}", vectors[i][1]);
        wr = packed(text);
        ck_assert_uint_eq(wr.p[1], strlen(vectors[i][0]));
        ck_assert_mem_eq(wr.p + 2, vectors[i][0], strlen(vectors[i][0]));
        back = mr_json_unpack(mr_wr_span(&wr));
        ck_assert_str_eq(json_string_value(json_object_get(back, "$bin")), vectors[i][1]);
        json_decref(back);
        mr_wr_fini(&wr);
    }
}
END_TEST

START_TEST(bad_base64_is_refused)
{
    static const char *const bad[] = {"Z", "Zg", "Zg=", "=",
        "====", "Zh==", "Zm9=", "Z===", "Zm9v!", "Zm 9v", "Zg==Zg=="};

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[64];
        struct mr_wr wr;
        json_t *value;

        snprintf(text, sizeof text, "{\"$bin\":\"%s\"}", bad[i]);
        ck_assert_int_eq(mr_json_parse(mr_span_str(text), "x", &value, &err), MR_OK);
        mr_wr_init(&wr, 100);
        ck_assert_msg(mr_json_pack(value, &wr, &err) == MR_MALFORMED, "%s", bad[i]);
        mr_wr_fini(&wr);
        json_decref(value);
    }
}
END_TEST

START_TEST(bad_json_is_refused_with_its_place)
{
    static const struct {
        const char *text, *place;
    } bad[] = {
        {"", "line 1"},
        {"{", "line 1"},
        {"{\"a\":1,}", "line 1, column 8"},
        {"[1,\n 2,\n x]", "line 3, column 2"},
        {"{\"a\":1,\"a\":2}", "duplicate"},
        {"9223372036854775808", "too big"},
        {"1e999", "real number overflow"},
        {"\"\xff\"", "decode byte 0xff"},
        {"{} {}", "end of file expected"},
        {"'a'", "line 1, column 1"},
        {"nul", "line 1"},
    };

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        json_t *value;

        ck_assert_int_eq(
            mr_json_parse(mr_span_str(bad[i].text), "jobs", &value, &err), MR_MALFORMED);
        ck_assert_ptr_null(value);
        ck_assert_msg(
            strstr(err.why, bad[i].place) != NULL, "%s: %s", bad[i].text, err.why);
        ck_assert_ptr_nonnull(strstr(err.why, "jobs"));
    }
}
END_TEST

START_TEST(depth_has_a_limit)
{
    char text[200];
    json_t *value;

    memset(text, '[', 32);
    memset(text + 32, ']', 32);
    ck_assert_int_eq(mr_json_parse(mr_span(text, 64), "x", &value, &err), MR_OK);
    json_decref(value);
    memset(text, '[', 33);
    memset(text + 33, ']', 33);
    ck_assert_int_eq(mr_json_parse(mr_span(text, 66), "x", &value, &err), MR_MALFORMED);
}
END_TEST

/* As deep as a payload may be, with bytes in the middle: what is shown of it can be sent again. */
START_TEST(bytes_are_no_level)
{
    uint8_t deepest[32 + 3];
    struct mr_wr again;
    json_t *shown;
    char *text;

    memset(deepest, 0x91, 32); /* arrays of one element */
    memcpy(deepest + 32, "\xc4\x01x", 3);
    shown = mr_json_unpack(mr_span(deepest, sizeof deepest));
    text = json_dumps(shown, JSON_COMPACT);
    again = packed(text);
    ck_assert(mr_span_eq(mr_wr_span(&again), mr_span(deepest, sizeof deepest)));
    mr_wr_fini(&again);
    json_decref(shown);
    free(text);
}
END_TEST

START_TEST(size_has_a_limit)
{
    struct mr_wr wr;
    json_t *value = json_string("0123456789");

    mr_wr_init(&wr, 5);
    ck_assert_int_eq(mr_json_pack(value, &wr, &err), MR_TOO_BIG);
    mr_wr_fini(&wr);
    json_decref(value);
}
END_TEST

static void
shows_as(const char *bytes, size_t n, const char *wanted, bool is_reply)
{
    json_t *value = is_reply ? mr_json_unpack_reply(mr_span(bytes, n))
                             : mr_json_unpack(mr_span(bytes, n));
    char *text;

    ck_assert_ptr_nonnull(value);
    text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    ck_assert_str_eq(text, wanted);
    free(text);
    json_decref(value);
}

/* {"payload": <the first of schemas/wire/vectors/seal>}, and a body that is broken off. */
START_TEST(sealed_payloads_show_their_key)
{
    static const char sealed[] =
        "\x81\xa7payload\xc4\x34\xc7\x31\x53\x01\x70\x96\xce\x09\xa3\xcc\xc0\x2f\x61\xe0"
        "\xb0"
        "\x6a\x6a\xcc\xf9\xe8\x0a\x53\x7f\xc4\x3a\xa9\xab\xcd\x37\xf3\xaf\x9b\x4b\x8c\x38"
        "\x37\x5d\x25\x13\xf0\xe3\x46\xaa\x03\x84\x2e\xa7\xd5\x81\x88\x17\x25";

    shows_as(sealed, sizeof sealed - 1, "{\"payload\":{\"sealed\":\"7096ce09a3ccc02f\"}}",
        true);
    shows_as("\x81\xa7payload\xc4\x03\xc7\x31\x53", 14,
        "{\"payload\":{\"$bin\":\"xzFT\"}}", true);
}
END_TEST

START_TEST(bytes_to_json)
{
    shows_as("\xc0", 1, "null", false);
    shows_as("\x93\xc2\x01\xff", 4, "[false,1,-1]", false);
    shows_as("\x82\x01\x02\xa1"
             "a\x90",
        6, "{\"1\":2,\"a\":[]}", false);
    shows_as(
        "\xcf\xff\xff\xff\xff\xff\xff\xff\xff", 9, "\"18446744073709551615\"", false);
    shows_as("\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", 9, "\"NaN\"", false);
    shows_as("\xcb\xff\xf0\x00\x00\x00\x00\x00\x00", 9, "\"-Infinity\"", false);
    shows_as("\xc4\x01\x66", 3, "{\"$bin\":\"Zg==\"}", false);
}
END_TEST

START_TEST(replies_are_made_readable)
{
    shows_as(
        "\x81\xa2id\xc4\x10\x01\x98\xc0\xde\x00\x00\x70\x00\x80\x00\x00\x00\x00\x00\x00"
        "\x01",
        22, "{\"id\":\"0198c0de-0000-7000-8000-000000000001\"}", true);
    shows_as("\x81\xa7payload\xc4\x03\x92\x01\x02", 14, "{\"payload\":[1,2]}", true);
    shows_as("\x81\xa4"
             "body\xc4\x00",
        8, "{\"body\":null}", true);
    /* What is no msgpack is shown as what it is. */
    shows_as("\x81\xa4"
             "body\xc4\x02\x92\x01",
        10, "{\"body\":{\"$bin\":\"kgE=\"}}", true);
    shows_as("\x81\xa2id\xc4\x01\x01", 7, "{\"id\":{\"$bin\":\"AQ==\"}}", true);
}
END_TEST

START_TEST(bad_bytes_are_refused)
{
    ck_assert_ptr_null(mr_json_unpack(MR_SPAN_NONE));
    ck_assert_ptr_null(mr_json_unpack(mr_span("\xc1", 1)));
    ck_assert_ptr_null(mr_json_unpack(mr_span("\x92\x01", 2)));
    ck_assert_ptr_null(mr_json_unpack(mr_span("\x01\x01", 2)));
    ck_assert_ptr_null(mr_json_unpack(mr_span("\xa1\xff", 2)));
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("client_json");
    TCase *cases = tcase_create("all");
    SRunner *runner;
    int failed;

    tcase_add_test(cases, json_to_bytes);
    tcase_add_test(cases, base64);
    tcase_add_test(cases, bad_base64_is_refused);
    tcase_add_test(cases, bad_json_is_refused_with_its_place);
    tcase_add_test(cases, bytes_are_no_level);
    tcase_add_test(cases, depth_has_a_limit);
    tcase_add_test(cases, size_has_a_limit);
    tcase_add_test(cases, bytes_to_json);
    tcase_add_test(cases, sealed_payloads_show_their_key);
    tcase_add_test(cases, replies_are_made_readable);
    tcase_add_test(cases, bad_bytes_are_refused);
    suite_add_tcase(suite, cases);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}

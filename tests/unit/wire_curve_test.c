/*
 * Keys and their files: wrong ones first. And which endpoints stay on this host.
 */
#include "schemas/wire/curve.h"

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

static char folder[64];
static char path[256];
static struct mr_err err;

/* The pair of RFC 26's libzmq man page (zmq_curve), which is published and nobody's. */
#define PUBLISHED_PUBLIC "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID"
#define PUBLISHED_SECRET "D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs"

static void
set_up(void)
{
    (void)snprintf(folder, sizeof folder, "/tmp/millrace-keys-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    err = (struct mr_err){.status = MR_OK};
    (void)unsetenv("CREDENTIALS_DIRECTORY");
}

static void
tear_down(void)
{
    char line[128];

    (void)snprintf(line, sizeof line, "rm -r '%s'", folder);
    ck_assert_int_eq(system(line), 0);
}

static const char *
in_folder(const char *name)
{
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void
put(const char *name, mode_t mode, const char *text)
{
    int fd = open(in_folder(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    ck_assert_int_eq(fchmod(fd, mode), 0);
    close(fd);
}

static mode_t
mode_of(const char *name)
{
    struct stat about;

    ck_assert_int_eq(stat(in_folder(name), &about), 0);
    return about.st_mode & 07777;
}

static void
slurp(const char *name, char *out, size_t room)
{
    FILE *file = fopen(in_folder(name), "re");
    size_t n;

    ck_assert_ptr_nonnull(file);
    n = fread(out, 1, room - 1, file);
    out[n] = '\0';
    fclose(file);
}

static void
make(const char *name)
{
    struct mr_curve *curve;

    ck_assert_int_eq(mr_curve_new(&curve, &err), MR_OK);
    ck_assert_msg(
        mr_curve_write(curve, folder, name, &err) == MR_OK, "%s %s", err.what, err.why);
    mr_curve_destroy(&curve);
    ck_assert_ptr_null(curve);
}

static void
refuse(const char *name, enum mr_status status, const char *why)
{
    struct mr_curve *curve;

    ck_assert_int_eq(mr_curve_read(&curve, in_folder(name), &err), status);
    ck_assert_ptr_null(curve);
    ck_assert_msg(strstr(err.why, why), "%s", err.why);
    ck_assert(err.what[0] && err.todo[0]);
    /* Nothing of what was in the file. */
    ck_assert_ptr_null(strstr(err.why, PUBLISHED_SECRET));
}

/* ---- files ------------------------------------------------------------------------------------ */

START_TEST(a_pair_comes_back)
{
    struct mr_curve *curve;
    char public_key[MR_CURVE_ROOM], from_key[MR_CURVE_ROOM], text[4096];
    mode_t mask = umask(0);

    make("w1");
    (void)umask(mask);
    ck_assert_uint_eq(mode_of("w1.key"), 0600);
    ck_assert_uint_eq(mode_of("w1.pub"), 0644);
    ck_assert_int_eq(mr_curve_read(&curve, in_folder("w1.key"), &err), MR_OK);
    ck_assert_int_eq(mr_curve_read_public(in_folder("w1.pub"), public_key, &err), MR_OK);
    ck_assert_int_eq(mr_curve_read_public(in_folder("w1.key"), from_key, &err), MR_OK);
    ck_assert_str_eq(mr_curve_public(curve), public_key);
    ck_assert_str_eq(public_key, from_key);
    ck_assert(mr_curve_is_public(public_key));
    slurp("w1.pub", text, sizeof text);
    ck_assert_ptr_nonnull(strstr(text, public_key));
    ck_assert_ptr_null(strstr(text, "secret-key"));
    mr_curve_destroy(&curve);
}
END_TEST

START_TEST(nothing_is_written_over)
{
    struct mr_curve *curve;
    char before[4096], after[4096];

    make("w1");
    slurp("w1.key", before, sizeof before);
    ck_assert_int_eq(mr_curve_new(&curve, &err), MR_OK);
    ck_assert_int_eq(mr_curve_write(curve, folder, "w1", &err), MR_CONFLICT);
    /* One half of it is enough. */
    ck_assert_int_eq(unlink(in_folder("w1.pub")), 0);
    ck_assert_int_eq(mr_curve_write(curve, folder, "w1", &err), MR_CONFLICT);
    slurp("w1.key", after, sizeof after);
    ck_assert_str_eq(before, after);
    put("w2.pub", 0644, "old\n");
    ck_assert_int_eq(mr_curve_write(curve, folder, "w2", &err), MR_CONFLICT);
    ck_assert_int_ne(access(in_folder("w2.key"), F_OK), 0);
    /* Nor through a link. */
    ck_assert_int_eq(symlink("elsewhere", in_folder("w3.key")), 0);
    ck_assert_int_eq(mr_curve_write(curve, folder, "w3", &err), MR_CONFLICT);
    ck_assert_int_ne(access(in_folder("elsewhere"), F_OK), 0);
    mr_curve_destroy(&curve);
}
END_TEST

START_TEST(names_stay_in_the_folder)
{
    static const char *const wrong[] = {"", "..", ".x", "-x", "a/b", "../x", "a b", "a\n",
        "\xc3\xa4", "a123456789a123456789a123456789a123456789a123456789a123456789a1234"};
    struct mr_curve *curve;

    ck_assert_int_eq(mr_curve_new(&curve, &err), MR_OK);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        ck_assert_int_eq(mr_curve_write(curve, folder, wrong[i], &err), MR_BAD_ARGUMENT);
    ck_assert_int_eq(mr_curve_write(curve, "/nonexistent/folder", "x", &err), MR_DENIED);
    ck_assert_int_eq(mr_curve_write(curve, folder, "Web-1.a_b", &err), MR_OK);
    mr_curve_destroy(&curve);
}
END_TEST

START_TEST(who_else_may_read_it)
{
    static const mode_t exposed[] = {0640, 0604, 0620, 0601, 0644, 0660, 0610};
    char public_key[MR_CURVE_ROOM];
    struct mr_curve *curve;

    make("w1");
    for (size_t i = 0; i < sizeof exposed / sizeof *exposed; i++) {
        ck_assert_int_eq(chmod(in_folder("w1.key"), exposed[i]), 0);
        refuse("w1.key", MR_DENIED, "others than its owner");
        ck_assert_int_eq(
            mr_curve_read_public(in_folder("w1.key"), public_key, &err), MR_DENIED);
    }
    ck_assert_int_eq(chmod(in_folder("w1.key"), 0400), 0);
    ck_assert_int_eq(mr_curve_read(&curve, in_folder("w1.key"), &err), MR_OK);
    mr_curve_destroy(&curve);
}
END_TEST

START_TEST(wrong_files)
{
    char large[8192];

    refuse("none.key", MR_NOT_FOUND, "No such file");
    refuse("", MR_BAD_SETTING, "is no file");
    put("empty.key", 0600, "");
    refuse("empty.key", MR_BAD_SETTING, "no public-key");
    put("pub.key", 0600, "public-key = \"" PUBLISHED_PUBLIC "\"\n");
    refuse("pub.key", MR_BAD_SETTING, "no secret");
    put("half.key", 0600, "secret-key = \"" PUBLISHED_SECRET "\"\n");
    refuse("half.key", MR_BAD_SETTING, "no public-key");
    put("short.key", 0600, "public-key = \"Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hI\"\n");
    refuse("short.key", MR_BAD_SETTING, "Line 1");
    put("long.key", 0600,
        "# x\npublic-key = \"Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hIDx\"\n");
    refuse("long.key", MR_BAD_SETTING, "Line 2");
    put("chars.key", 0600, "public-key = \"Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{h,D\"\n");
    refuse("chars.key", MR_BAD_SETTING, "Line 1");
    put("other.key", 0600,
        "public-key = \"" PUBLISHED_PUBLIC "\"\nsecret-key = \"" PUBLISHED_SECRET
        "\" more\n");
    refuse("other.key", MR_BAD_SETTING, "Line 2");
    put("twice.key", 0600,
        "public-key = \"" PUBLISHED_PUBLIC "\"\npublic-key = \"" PUBLISHED_PUBLIC
        "\"\nsecret-key = \"" PUBLISHED_SECRET "\"\n");
    refuse("twice.key", MR_BAD_SETTING, "Line 2");
    memset(large, '#', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    put("large.key", 0600, large);
    refuse("large.key", MR_BAD_SETTING, "large one");
    ck_assert_int_eq(mkfifo(in_folder("pipe.key"), 0600), 0);
    refuse("pipe.key", MR_BAD_SETTING, "is no file");
}
END_TEST

/* The published pair belongs together; with another public half it does not. */
START_TEST(the_halves_belong_together)
{
    struct mr_curve *curve;

    put("p.key", 0600,
        "public-key = \"" PUBLISHED_PUBLIC "\"\r\n\n  secret-key\t=\"" PUBLISHED_SECRET
        "\"  \n");
    ck_assert_msg(
        mr_curve_read(&curve, in_folder("p.key"), &err) == MR_OK, "%s", err.why);
    ck_assert_str_eq(mr_curve_public(curve), PUBLISHED_PUBLIC);
    mr_curve_destroy(&curve);
    put("q.key", 0600,
        "public-key = \"" PUBLISHED_SECRET "\"\nsecret-key = \"" PUBLISHED_SECRET "\"\n");
    refuse("q.key", MR_BAD_SETTING, "do not belong together");
}
END_TEST

/* ---- settings ----------------------------------------------------------------------------------- */

START_TEST(credentials_of_systemd)
{
    struct mr_curve *curve;

    ck_assert_int_eq(mr_curve_load(&curve, "", &err), MR_OK);
    ck_assert_ptr_null(curve);
    ck_assert_int_eq(setenv("CREDENTIALS_DIRECTORY", folder, 1), 0);
    ck_assert_int_eq(mr_curve_load(&curve, "", &err), MR_OK);
    ck_assert_ptr_null(curve);
    make("millrace");
    ck_assert_int_eq(mr_curve_load(&curve, NULL, &err), MR_OK);
    ck_assert_ptr_nonnull(curve);
    mr_curve_destroy(&curve);
    /* There the group's bits are the mask of a list of rights. */
    ck_assert_int_eq(chmod(in_folder("millrace.key"), 0440), 0);
    ck_assert_int_eq(mr_curve_load(&curve, "", &err), MR_OK);
    mr_curve_destroy(&curve);
    ck_assert_int_eq(chmod(in_folder("millrace.key"), 0444), 0);
    ck_assert_int_eq(mr_curve_load(&curve, "", &err), MR_DENIED);
    /* What is set goes first, right or wrong. */
    ck_assert_int_eq(mr_curve_load(&curve, in_folder("none"), &err), MR_NOT_FOUND);
}
END_TEST

START_TEST(both_keys_or_none)
{
    struct mr_curve_peer peer;
    char key[256];

    make("w1");
    make("broker");
    (void)snprintf(key, sizeof key, "%s", in_folder("w1.key"));
    ck_assert_int_eq(mr_curve_peer_load(&peer, "", "", false, &err), MR_OK);
    ck_assert_ptr_null(peer.own);
    ck_assert_int_eq(mr_curve_peer_load(&peer, key, "", false, &err), MR_BAD_SETTING);
    ck_assert_ptr_nonnull(strstr(err.todo, "server_key"));
    ck_assert_int_eq(
        mr_curve_peer_load(&peer, "", PUBLISHED_PUBLIC, false, &err), MR_BAD_SETTING);
    ck_assert_ptr_nonnull(strstr(err.todo, "key_file"));
    ck_assert_int_eq(
        mr_curve_peer_load(&peer, key, "not a key", false, &err), MR_BAD_SETTING);
    ck_assert_ptr_null(peer.own);
    ck_assert_int_eq(
        mr_curve_peer_load(&peer, key, in_folder("none.pub"), false, &err), MR_NOT_FOUND);
    ck_assert_int_eq(
        mr_curve_peer_load(&peer, key, in_folder("broker.pub"), false, &err), MR_OK);
    ck_assert(mr_curve_is_public(peer.server));
    mr_curve_peer_fini(&peer);
    ck_assert_int_eq(
        mr_curve_peer_load(&peer, key, PUBLISHED_PUBLIC, false, &err), MR_OK);
    ck_assert_str_eq(peer.server, PUBLISHED_PUBLIC);
    mr_curve_peer_fini(&peer);
    mr_curve_peer_fini(&peer);
}
END_TEST

START_TEST(what_stays_on_this_host)
{
    static const char *const here[] = {"ipc:///run/x", "ipc://@x", "tcp://127.0.0.1:1",
        "tcp://127.255.1.2:*", "tcp://localhost:7", "tcp://[::1]:7", "tcp://::1:7",
        "tcp://10.0.0.1:0;127.0.0.1:7"};
    static const char *const away[] = {"tcp://0.0.0.0:1", "tcp://*:1", "tcp://10.0.0.1:1",
        "tcp://127.example.org:1", "tcp://localhost.example.org:1", "tcp://[::]:1",
        "tcp://[::ffff:10.0.0.1]:1", "tcp://128.0.0.1:1", "tcp://127.0.0.1:0;10.0.0.1:7",
        "tcp://lo:1", "tcp://1270.0.1:1", "tcp://", "tcp://:1", "udp://127.0.0.1:1", ""};
    struct mr_curve_peer peer = {.own = NULL};

    for (size_t i = 0; i < sizeof here / sizeof *here; i++) {
        ck_assert_msg(mr_curve_is_local(here[i]), "%s", here[i]);
        ck_assert_int_eq(mr_curve_peer_check(&peer, here[i], &err), MR_OK);
    }
    for (size_t i = 0; i < sizeof away / sizeof *away; i++) {
        ck_assert_msg(!mr_curve_is_local(away[i]), "%s", away[i]);
        ck_assert_int_eq(mr_curve_peer_check(&peer, away[i], &err), MR_BAD_SETTING);
        ck_assert(err.what[0] && err.why[0] && err.todo[0]);
    }
    peer.is_insecure = true;
    ck_assert_int_eq(mr_curve_peer_check(&peer, away[0], &err), MR_OK);
}
END_TEST

int
main(void)
{
    Suite *suite = suite_create("wire: curve");
    TCase *tcase = tcase_create("curve");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, a_pair_comes_back);
    tcase_add_test(tcase, nothing_is_written_over);
    tcase_add_test(tcase, names_stay_in_the_folder);
    tcase_add_test(tcase, who_else_may_read_it);
    tcase_add_test(tcase, wrong_files);
    tcase_add_test(tcase, the_halves_belong_together);
    tcase_add_test(tcase, credentials_of_systemd);
    tcase_add_test(tcase, both_keys_or_none);
    tcase_add_test(tcase, what_stays_on_this_host);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}

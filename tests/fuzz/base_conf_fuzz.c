/*
 * Any bytes as a settings file: refused with a reason in three parts, or taken; and what was
 * taken is within the table's limits and can be shown.
 */
#include "tests/fuzz/fuzz.h"

#include "schemas/base/conf.h"

const char *const fuzz_seeds[] = {NULL};

struct values {
    const char *database, *level, *password;
    int64_t workers, offset;
    bool is_open;
};

static const struct mr_conf_row rows[] = {
    {"database", MR_CONF_STRING, offsetof(struct values, database), "dbname=millrace", 0,
        0, NULL, "where the rows are", false},
    {"password", MR_CONF_STRING, offsetof(struct values, password), NULL, 0, 0, NULL,
        "a secret", true},
    {"log_level", MR_CONF_CHOICE, offsetof(struct values, level), "info", 0, 0,
        "error|warn|info|debug", "what is logged", false},
    {"workers_max", MR_CONF_INT, offsetof(struct values, workers), "16", 1, 4096, NULL,
        "how many", false},
    {"offset_ms", MR_CONF_INT, offsetof(struct values, offset), "0", -1000, INT64_MAX,
        NULL, "how far", false},
    {"insecure", MR_CONF_BOOL, offsetof(struct values, is_open), "false", 0, 0, NULL,
        "who may come", false},
    {NULL, MR_CONF_STRING, 0, NULL, 0, 0, NULL, NULL, false},
};

static void
look_at(const struct values *values)
{
    static const char *const levels[] = {"error", "warn", "info", "debug"};
    unsigned is_level = 0;

    MR_ASSERT(values->database && values->password && values->level);
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
        is_level += strcmp(values->level, levels[i]) == 0;
    MR_ASSERT(is_level == 1);
    MR_ASSERT(values->workers >= 1 && values->workers <= 4096 && values->offset >= -1000);
}

/* A secret is never shown. */
static void
show(const struct mr_conf *conf, const struct values *values)
{
    char *text = NULL;
    size_t n;
    FILE *out = open_memstream(&text, &n);

    MR_ASSERT(out);
    mr_conf_show(conf, out, true);
    mr_conf_print_sample(conf, out);
    MR_ASSERT(fclose(out) == 0);
    MR_ASSERT(!values->password[0] || strstr(text, "password = ***"));
    free(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    char config[] = "--config", program[] = "fuzz", path[64];
    char *argv[] = {program, config, path, NULL};
    struct values values = {.workers = 0};
    struct mr_conf *conf;
    struct mr_err err = {.status = MR_OK};
    int argi = 1;

    (void)snprintf(path, sizeof path, "%s", fuzz_file(0, mr_span(bytes, n)));
    MR_ASSERT(mr_conf_new(&conf, "broker", rows, &values) == MR_OK);
    enum mr_status status = mr_conf_load(conf, 3, argv, &argi, &err);
    MR_ASSERT(status == MR_OK || status == MR_BAD_SETTING);
    MR_ASSERT(argi == 3);
    if (status == MR_OK) {
        look_at(&values);
        show(conf, &values);
    } else {
        MR_ASSERT(err.status == status && err.what[0] && err.why[0] && err.todo[0]);
    }
    mr_conf_destroy(&conf);
    return 0;
}

#include "client/cli.h"

#include <string.h>

#include "schemas/base/clock.h"

enum mr_status
mr_cli_filter_text(
    const struct mr_cli *cli, const char *name, json_t *args, struct mr_err *err)
{
    const char *text = mr_cli_option(cli, name);

    if (!text || json_object_set_new(args, name, json_string(text)) == 0)
        return MR_OK;
    return mr_err_setf(err, MR_MALFORMED, "An option cannot be sent.", NULL,
        "--%s is not valid UTF-8.", name);
}

enum mr_status
mr_cli_filter_time(const struct mr_cli *cli, const char *name, const char *key,
    json_t *args, struct mr_err *err)
{
    const char *text = mr_cli_option(cli, name);
    enum mr_status status;
    int64_t us;

    if (!text)
        return MR_OK;
    status = mr_cli_parse_time(text, mr_clock_now().wall_us, &us, err);
    if (!status && json_object_set_new(args, key, json_integer(us)) != 0)
        status = mr_err_set(err, MR_NO_MEMORY, "The filter was not made.", NULL, NULL);
    return status;
}

enum mr_status
mr_cli_filter_word(const struct mr_cli *cli, const char *name, const char *const *words,
    size_t count, json_t *args, struct mr_err *err)
{
    const char *text = mr_cli_option(cli, name);
    const char *near;
    char what[64], todo[160];
    size_t n = 0;

    if (!text)
        return MR_OK;
    for (size_t i = 0; i < count; i++)
        if (strcmp(text, words[i]) == 0)
            return mr_cli_filter_text(cli, name, args, err);
    near = mr_nearest(text, words, count);
    if (near)
        (void)snprintf(todo, sizeof todo, "Did you mean \"%s\"?", near);
    for (size_t i = 0; !near && i < count && n < sizeof todo; i++)
        n += (size_t)snprintf(todo + n, sizeof todo - n, "%s%s%s", i ? ", " : "One of ",
            words[i], i + 1 == count ? "." : "");
    (void)snprintf(what, sizeof what, "There is no such %s.", name);
    return mr_err_setf(err, MR_BAD_ARGUMENT, what, todo, "\"%.100s\" is unknown.", text);
}

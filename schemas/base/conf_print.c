#include "schemas/base/conf.h"

#include <inttypes.h>
#include <string.h>

#include "schemas/base/conf_priv.h"

static void
print_value(const struct mr_conf *conf, const struct mr_conf_row *row, FILE *out)
{
    const void *at = (const char *)conf->values + row->offset;
    const char *text;

    switch (row->type) {
    case MR_CONF_INT:
        fprintf(out, "%" PRId64, *(const int64_t *)at);
        return;
    case MR_CONF_BOOL:
        fputs(*(const bool *)at ? "true" : "false", out);
        return;
    case MR_CONF_STRING:
    case MR_CONF_CHOICE:
        break;
    }
    text = *(const char *const *)at;
    if (!text)
        return;
    /* A secret that is not set is no secret. */
    fputs(row->is_secret && *text ? "***" : text, out);
}

void
mr_conf_show(const struct mr_conf *conf, FILE *out, bool with_origin)
{
    for (size_t i = 0; i < conf->count; i++) {
        const char *origin = conf->origins[i] ? conf->origins[i] : "default";

        fprintf(out, "%s = ", conf->rows[i].name);
        print_value(conf, &conf->rows[i], out);
        if (with_origin)
            fprintf(out, "  # %s", origin);
        fputc('\n', out);
    }
}

/* "1 to 64", "a|b", "true|false" or nothing, in brackets. */
static void
print_range(const struct mr_conf_row *row, FILE *out)
{
    if (row->type == MR_CONF_INT)
        fprintf(out, " (%" PRId64 " to %" PRId64 ")", row->min, row->max);
    if (row->type == MR_CONF_CHOICE)
        fprintf(out, " (%s)", row->choices);
    if (row->type == MR_CONF_BOOL)
        fputs(" (true|false)", out);
}

void
mr_conf_print_sample(const struct mr_conf *conf, FILE *out)
{
    fprintf(out, "[%s]\n", conf->section);
    for (size_t i = 0; i < conf->count; i++) {
        const struct mr_conf_row *row = &conf->rows[i];

        fprintf(out, "\n# %s", row->help);
        print_range(row, out);
        fprintf(out, "\n# %s = %s\n", row->name, row->initial ? row->initial : "");
    }
}

void
mr_conf_print_help(const struct mr_conf *conf, FILE *out)
{
    static const char *const words[] = {
        [MR_CONF_STRING] = " TEXT",
        [MR_CONF_INT] = " N",
        [MR_CONF_BOOL] = "",
        [MR_CONF_CHOICE] = " WORD",
    };
    char flag[MR_CONF_NAME_MAX + sizeof "--"];
    char env[MR_CONF_NAME_MAX + sizeof "MILLRACE_"];

    fputs("  --config FILE\n      settings file; else MILLRACE_CONFIG, else "
          "./millrace.ini\n",
        out);
    for (size_t i = 0; i < conf->count; i++) {
        const struct mr_conf_row *row = &conf->rows[i];

        fprintf(out, "  %s%s\n      %s", mr_conf_flag_name(row, flag), words[row->type],
            row->help);
        print_range(row, out);
        if (row->initial)
            fprintf(out, " [%s]", row->initial);
        fprintf(out, "; %s\n", mr_conf_env_name(row, env));
    }
}

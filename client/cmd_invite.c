#include "client/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "schemas/wire/curve.h"

/*
 * All that somebody on another host needs, in one file: where the broker is, its public key, and a key
 * of their own, which is registered here. The file is a settings file and a key file at once.
 */

struct invitation {
    const char *name, *role, *at;
    char path[PATH_MAX];
    char server[MR_CURVE_ROOM];
    struct mr_curve *key;
};

static bool
is_worker(const struct invitation *invitation)
{
    return strcmp(invitation->role, "worker") == 0;
}

/* Whoever is invited has to know the broker: as we do. */
static enum mr_status
find_server(const struct mr_cli *cli, struct invitation *invitation, struct mr_err *err)
{
    struct mr_curve_peer peer;
    enum mr_status status = mr_curve_peer_load(
        &peer, cli->settings.key_file, cli->settings.server_key, false, err);

    if (status)
        return status;
    memcpy(invitation->server, peer.server, MR_CURVE_ROOM);
    mr_curve_peer_fini(&peer);
    if (invitation->server[0])
        return MR_OK;
    return mr_err_set(err, MR_BAD_SETTING, "Nobody was invited.",
        "No public key of the broker is set: it has none, or we do not know it.",
        "Set `key_file` and `server_key`; `millrace dev` does so in its folder.");
}

static enum mr_status
read_words(const struct mr_cli *cli, struct invitation *invitation, struct mr_err *err)
{
    const char *role = mr_cli_option(cli, "role");

    invitation->name = cli->words[0];
    invitation->role = role ? role : "worker";
    invitation->at = mr_cli_option(cli, "at");
    (void)snprintf(
        invitation->path, sizeof invitation->path, "%s.join", invitation->name);
    if (!invitation->at || strncmp(invitation->at, "tcp://", strlen("tcp://")) != 0)
        return mr_err_setf(err, MR_BAD_ARGUMENT, "Nobody was invited.",
            "For a worker it is an endpoint of `back`, else one of `front`.",
            "Say where the broker is as seen from there: --at tcp://HOST:PORT.");
    return find_server(cli, invitation, err);
}

static enum mr_status
write_failed(const struct invitation *invitation, struct mr_err *err)
{
    return mr_err_setf(err, errno == EEXIST ? MR_CONFLICT : MR_DENIED,
        "Nobody was invited.", "Remove it, or call from another folder.", "%.200s: %s.",
        invitation->path, strerror(errno));
}

/* Its secret is written once, by the file that reads such. */
static enum mr_status
write_file(
    const struct mr_cli *cli, const struct invitation *invitation, struct mr_err *err)
{
    int fd = open(
        invitation->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
    char buffer[BUFSIZ];
    bool is_good;

    if (!file) {
        enum mr_status status = write_failed(invitation, err);

        if (fd >= 0)
            (void)close(fd);
        return status;
    }
    (void)setvbuf(file, buffer, _IOFBF, sizeof buffer);
    fprintf(file,
        "# Invitation of \"%s\" (%s). Whoever has this file is %s: carry it by a safe "
        "way "
        "(scp), then\n"
        "#     %s --config %s\n"
        "[%s]\nendpoint = %s\nserver_key = %s\nkey_file = %s\n",
        invitation->name, invitation->role, invitation->name,
        is_worker(invitation) ? "millrace-worker" : "millrace jobs", invitation->path,
        is_worker(invitation) ? "worker" : "client", invitation->at, invitation->server,
        invitation->path);
    if (is_worker(invitation) && cli->settings.database[0])
        fprintf(file, "database = %s\n", cli->settings.database);
    is_good = mr_curve_print(invitation->key, file) == MR_OK && fflush(file) == 0 &&
              fsync(fd) == 0;
    is_good = fclose(file) == 0 && is_good;
    explicit_bzero(buffer, sizeof buffer);
    return is_good ? MR_OK : write_failed(invitation, err);
}

static int
print(struct mr_cli *cli, const struct invitation *invitation)
{
    const char *program = is_worker(invitation) ? "millrace-worker" : "millrace jobs";
    bool is_socket = strstr(cli->settings.database, "host=/") != NULL;

    if (cli->is_json) {
        mr_cli_print_json(cli, json_pack("{s:s,s:s,s:s,s:s}", "name", invitation->name,
                                   "role", invitation->role, "file", invitation->path,
                                   "public_key", mr_curve_public(invitation->key)));
        return MR_CLI_OK;
    }
    fprintf(cli->out,
        "%s is a principal with the role %s. Carry %s there by a safe way (scp), then:\n"
        "    %s --config %s\n",
        invitation->name, invitation->role, invitation->path, program, invitation->path);
    if (is_worker(invitation) && is_socket)
        fprintf(cli->out,
            "`database` in it is a socket of this host: from another one, put in what "
            "leads to PostgreSQL there.\n");
    return MR_CLI_OK;
}

static int
enroll(struct mr_cli *cli, const struct invitation *invitation)
{
    int exit_code = MR_CLI_OK;
    json_t *reply = mr_cli_call(cli, "principal_add",
        json_pack("{s:s,s:s,s:s}", "name", invitation->name, "key",
            mr_curve_public(invitation->key), "role", invitation->role),
        &exit_code);

    if (!reply)
        return exit_code;
    json_decref(reply);
    return print(cli, invitation);
}

int
mr_cmd_invite(struct mr_cli *cli)
{
    struct invitation invitation = {.key = NULL};
    struct mr_err err;
    enum mr_status status = read_words(cli, &invitation, &err);
    int code;

    if (status == MR_OK)
        status = mr_curve_check_name(invitation.name, &err);
    if (status == MR_OK)
        status = mr_curve_new(&invitation.key, &err);
    if (status == MR_OK)
        status = mr_cli_connect(cli, &err);
    if (status == MR_OK)
        status = write_file(cli, &invitation, &err);
    code = status ? mr_cli_fail(cli, &err) : enroll(cli, &invitation);
    if (status == MR_OK && code != MR_CLI_OK)
        (void)unlink(invitation.path);
    mr_curve_destroy(&invitation.key);
    return code;
}

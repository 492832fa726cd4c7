#include "client/proc.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "schemas/base/clock.h"

#define ENV_MAX 1024     /* variables of a child */
#define LOOK_AGAIN_MS 10 /* where the kernel gives us nothing to poll */
#define TAIL_BYTES 4096

extern char **environ;

/* ---- Start ------------------------------------------------------------------------------ */

static bool
is_same_name(const char *a, const char *b)
{
    size_t n = strcspn(a, "=");

    return strncmp(a, b, n) == 0 && b[n] == '=';
}

/* Our environment with `extra` on top; pointers are borrowed. */
static void
merge_env(const char *const *extra, const char **out)
{
    size_t n = 0;

    for (size_t i = 0; extra && extra[i] && n < ENV_MAX; i++)
        if (strchr(extra[i], '='))
            out[n++] = extra[i];
    for (char **old = environ; *old && n < ENV_MAX; old++) {
        bool is_over = false;

        for (size_t i = 0; extra && extra[i] && !is_over; i++)
            is_over = is_same_name(extra[i], *old);
        if (!is_over)
            out[n++] = *old;
    }
    out[n] = NULL;
}

/* Between fork and exec only async-signal-safe calls: other threads' locks may be held. */
static void
reset_signals(void)
{
    struct sigaction normal = {.sa_handler = SIG_DFL};
    sigset_t none;

    for (int i = 1; i < NSIG; i++)
        (void)sigaction(i, &normal, NULL);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static bool
become(const struct mr_proc_spec *spec, pid_t parent)
{
    int signal_number = spec->death_signal ? spec->death_signal : SIGKILL;

    if (setpgid(0, 0) != 0)
        return false;
    if (spec->has_user && (setgroups(1, &spec->gid) != 0 || setgid(spec->gid) != 0 ||
                              setuid(spec->uid) != 0))
        return false;
    /* After setuid, which clears it. */
    if (prctl(PR_SET_PDEATHSIG, signal_number) != 0)
        return false;
    if (getppid() != parent)
        _exit(127); /* we came too late: nobody is left to tell */
    return !spec->directory || chdir(spec->directory) == 0;
}

struct launch {
    const struct mr_proc_spec *spec;
    const char *const *env;
    pid_t parent;
    int out_fd; /* -1: keep ours */
    int null_fd;
    int told_fd; /* errno of a failure goes here; closed by exec */
};

_Noreturn static void
run_child(const struct launch *launch)
{
    const struct mr_proc_spec *spec = launch->spec;
    int cause;

    reset_signals();
    if (dup2(launch->null_fd, STDIN_FILENO) >= 0 &&
        (launch->out_fd < 0 || (dup2(launch->out_fd, STDOUT_FILENO) >= 0 &&
                                   dup2(launch->out_fd, STDERR_FILENO) >= 0)) &&
        become(spec, launch->parent))
        (void)execvpe(
            spec->argv[0], (char *const *)spec->argv, (char *const *)launch->env);
    cause = errno;
    (void)!write(launch->told_fd, &cause, sizeof cause);
    _exit(127);
}

static enum mr_status
cannot_start(const char *program, int cause, struct mr_err *err)
{
    enum mr_status status = cause == ENOENT                     ? MR_NOT_FOUND
                            : cause == EACCES || cause == EPERM ? MR_DENIED
                                                                : MR_INTERNAL;

    return mr_err_setf(err, status, "A program could not be started.",
        "See that it is installed and may be executed.", "%s: %s.", program,
        strerror(cause));
}

/* The child's errno, or 0 once exec has closed the pipe. */
static int
hear(int fd)
{
    int cause = 0;
    ssize_t n;

    do
        n = read(fd, &cause, sizeof cause);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)sizeof cause ? cause : 0;
}

static void
close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static enum mr_status
launch_it(
    struct mr_proc *proc, struct launch *launch, int pipe_fds[2], struct mr_err *err)
{
    const char *program = launch->spec->argv[0];
    pid_t pid;
    int cause;

    if (launch->null_fd < 0 || (launch->spec->output && launch->out_fd < 0) ||
        pipe2(pipe_fds, O_CLOEXEC) != 0)
        return cannot_start(program, errno, err);
    launch->told_fd = pipe_fds[1];
    launch->parent = getpid();
    pid = fork();
    if (pid < 0)
        return cannot_start(program, errno, err);
    if (pid == 0)
        run_child(launch);
    close_fd(&pipe_fds[1]);
    cause = hear(pipe_fds[0]);
    if (cause) {
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            continue;
        return cannot_start(program, cause, err);
    }
    *proc = (struct mr_proc){.pid = pid, .pidfd = pidfd_open(pid, 0)};
    return MR_OK;
}

enum mr_status
mr_proc_start(struct mr_proc *proc, const struct mr_proc_spec *spec, struct mr_err *err)
{
    const char **env = calloc(ENV_MAX + 1, sizeof *env);
    int pipe_fds[2] = {-1, -1};
    struct launch launch = {.spec = spec, .env = env, .out_fd = -1, .null_fd = -1};
    enum mr_status status;

    *proc = (struct mr_proc){.pidfd = -1};
    if (!env)
        return mr_err_set(
            err, MR_NO_MEMORY, "A program could not be started.", "No memory.", NULL);
    merge_env(spec->env, env);
    launch.null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (spec->output)
        launch.out_fd =
            open(spec->output, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    status = launch_it(proc, &launch, pipe_fds, err);
    close_fd(&pipe_fds[0]);
    close_fd(&pipe_fds[1]);
    close_fd(&launch.out_fd);
    close_fd(&launch.null_fd);
    free(env);
    return status;
}

/* ---- Wait and stop ------------------------------------------------------------------------ */

static int64_t
now_ms(void)
{
    return mr_clock_now().mono_us / 1000;
}

static bool
reap(struct mr_proc *proc)
{
    pid_t pid;

    if (proc->pid <= 0 || proc->is_done)
        return true;
    do
        pid = waitpid(proc->pid, &proc->wait_status, WNOHANG);
    while (pid < 0 && errno == EINTR);
    /* ECHILD: somebody else reaped it; it is gone all the same. */
    proc->is_done = pid == proc->pid || (pid < 0 && errno == ECHILD);
    if (proc->is_done)
        close_fd(&proc->pidfd);
    return proc->is_done;
}

bool
mr_proc_wait(struct mr_proc *proc, int timeout_ms)
{
    int64_t end_ms = now_ms() + timeout_ms;

    while (!reap(proc)) {
        struct pollfd poller = {.fd = proc->pidfd, .events = POLLIN};
        int64_t left_ms = timeout_ms < 0 ? -1 : end_ms - now_ms();

        if (timeout_ms >= 0 && left_ms <= 0)
            return false;
        if (proc->pidfd < 0 && (left_ms < 0 || left_ms > LOOK_AGAIN_MS))
            left_ms = LOOK_AGAIN_MS;
        (void)poll(&poller, proc->pidfd >= 0, (int)left_ms);
    }
    return true;
}

bool
mr_proc_is_alive(struct mr_proc *proc)
{
    return !reap(proc);
}

void
mr_proc_signal(struct mr_proc *proc, int signal_number)
{
    if (!reap(proc))
        (void)kill(proc->pid, signal_number);
}

void
mr_proc_signal_group(struct mr_proc *proc, int signal_number)
{
    if (!reap(proc))
        (void)kill(-proc->pid, signal_number);
}

bool
mr_proc_stop(struct mr_proc *proc, int signal_number, int grace_ms)
{
    /* Whoever is killed cannot end its own children. */
    if (signal_number == SIGKILL)
        mr_proc_signal_group(proc, SIGKILL);
    else
        mr_proc_signal(proc, signal_number);
    if (mr_proc_wait(proc, grace_ms))
        return true;
    mr_proc_signal_group(proc, SIGKILL);
    (void)mr_proc_wait(proc, -1);
    return false;
}

int
mr_proc_exit_code(const struct mr_proc *proc)
{
    if (!proc->is_done)
        return -1;
    return WIFSIGNALED(proc->wait_status) ? 128 + WTERMSIG(proc->wait_status)
                                          : WEXITSTATUS(proc->wait_status);
}

enum mr_status
mr_proc_run(const struct mr_proc_spec *spec, int timeout_ms, struct mr_err *err)
{
    struct mr_proc proc = {0};
    char line[256];
    enum mr_status status = mr_proc_start(&proc, spec, err);

    if (status)
        return status;
    if (!mr_proc_wait(&proc, timeout_ms)) {
        (void)mr_proc_stop(&proc, SIGKILL, 0);
        return mr_err_setf(err, MR_TIMEOUT, "A program took too long and was stopped.",
            NULL, "%s did not end within %d ms.", spec->argv[0], timeout_ms);
    }
    if (mr_proc_exit_code(&proc) == 0)
        return MR_OK;
    mr_proc_last_line(spec->output, "FATAL:", line, sizeof line);
    if (!line[0])
        mr_proc_last_line(spec->output, "rror:", line, sizeof line);
    if (!line[0])
        mr_proc_last_line(spec->output, NULL, line, sizeof line);
    return mr_err_setf(err, MR_INTERNAL, "A program failed.", NULL,
        "%s ended with code %d%s%s", spec->argv[0], mr_proc_exit_code(&proc),
        line[0] ? ": " : ".", line);
}

/* ---- Files and places ------------------------------------------------------------------- */

enum mr_status
mr_proc_wait_file(
    struct mr_proc *proc, const char *path, int timeout_ms, struct mr_err *err)
{
    int64_t end_ms = now_ms() + timeout_ms;
    struct stat facts;

    while (stat(path, &facts) != 0 || facts.st_size == 0) {
        if (proc && !mr_proc_is_alive(proc))
            return mr_err_setf(err, MR_INTERNAL, "A program ended while starting.",
                "Its log says why.", "Exit code %d.", mr_proc_exit_code(proc));
        if (now_ms() >= end_ms)
            return mr_err_setf(err, MR_TIMEOUT, "A program did not become ready in time.",
                "Its log may say why.", "%s was not written within %d ms.", path,
                timeout_ms);
        (void)poll(NULL, 0, LOOK_AGAIN_MS);
    }
    return MR_OK;
}

static bool
find_in_path(const char *name, char *out, size_t room)
{
    const char *path = getenv("PATH");

    while (path && *path) {
        size_t n = strcspn(path, ":");

        if (n && (size_t)snprintf(out, room, "%.*s/%s", (int)n, path, name) < room &&
            access(out, X_OK) == 0)
            return true;
        path += n + (path[n] == ':');
    }
    return false;
}

static bool
is_beside(const char *end, const char *path, const char *name, char *out, size_t room)
{
    return end &&
           (size_t)snprintf(out, room, "%.*s/%s", (int)(end - path), path, name) < room &&
           access(out, X_OK) == 0;
}

enum mr_status
mr_proc_find(const char *name, char *out, size_t room, struct mr_err *err)
{
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);

    self[n > 0 ? n : 0] = '\0';
    /* Beside us; and for test programs, which lie in folders below, beside those. */
    if (is_beside(strrchr(self, '/'), self, name, out, room) ||
        is_beside(strstr(self, "/tests/"), self, name, out, room))
        return MR_OK;
    if (find_in_path(name, out, room))
        return MR_OK;
    return mr_err_setf(err, MR_NOT_FOUND, "A program of millrace was not found.",
        "Build it with make, or add its folder to PATH.",
        "%s is neither beside the running program nor in PATH.", name);
}

uint16_t
mr_proc_free_port(void)
{
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    uint16_t port = 0;

    if (fd < 0)
        return 0;
    if (bind(fd, (struct sockaddr *)&at, sizeof at) == 0 &&
        getsockname(fd, (struct sockaddr *)&at, &n) == 0)
        port = ntohs(at.sin_port);
    close(fd);
    return port;
}

void
mr_proc_last_line(const char *path, const char *word, char *out, size_t room)
{
    char tail[TAIL_BYTES + 1];
    FILE *file = path ? fopen(path, "re") : NULL;
    char *rest = tail;
    char *line;
    size_t n;

    out[0] = '\0';
    if (!file)
        return;
    if (fseek(file, -TAIL_BYTES, SEEK_END) != 0)
        rewind(file);
    n = fread(tail, 1, TAIL_BYTES, file);
    fclose(file);
    tail[n] = '\0';
    while ((line = strsep(&rest, "\n")))
        if (word ? strstr(line, word) != NULL : line[0] != '\0')
            (void)snprintf(out, room, "%s", line);
}

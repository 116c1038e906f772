/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "calls.h"
#include "workers.h"

static const char *own_path; /* not /proc/self/exe, which is valgrind under valgrind */
static char blob_path[128];

/* ---- in a worker ------------------------------------------------------------------- */

_Noreturn static void work(const struct task *task, const char *blob_file, unsigned count)
{
    static uint8_t blob[8192];
    weft_session_t *own;
    weft_file_t *file;
    FILE *in = fopen(blob_file, "r");
    size_t length = in ? fread(blob, 1, sizeof blob, in) : 0;
    must(weft_connect(NULL, &own));
    must(weft_file_import(own, blob, length, &file));
    task->run(file, count);
    must(weft_file_close(file));
    weft_disconnect(own);
    exit(0);
}

void workers_main(int argc, char **argv, const struct task *tasks)
{
    own_path = argv[0];
    if (argc == 5 && strcmp(argv[1], "worker") == 0) {
        while (tasks->name && strcmp(argv[2], tasks->name) != 0)
            tasks++;
        assert_non_null(tasks->name);
        work(tasks, argv[3], (unsigned)strtoul(argv[4], NULL, 10));
    }
    if (argc == 2)
        cmocka_set_test_filter(argv[1]);
}

/* ---- in the test ------------------------------------------------------------------- */

void workers_export(weft_file_t *file, const char *dir)
{
    uint8_t blob[8192];
    ssize_t length = weft_file_export(file, blob, sizeof blob);
    ok(length);
    assert_true((size_t)length <= sizeof blob);
    snprintf(blob_path, sizeof blob_path, "%s/blob", dir);
    FILE *out = fopen(blob_path, "w");
    assert_int_equal(fwrite(blob, 1, (size_t)length, out), length);
    fclose(out);
}

struct worker worker_start(const char *task, unsigned count)
{
    struct worker worker;
    int ends[2];
    char number[16];
    snprintf(number, sizeof number, "%u", count);
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    worker.pid = fork();
    assert_true(worker.pid >= 0);
    if (worker.pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(ends[1], STDOUT_FILENO);
        execl(own_path, own_path, "worker", task, blob_path, number, (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    worker.out = fdopen(ends[0], "r");
    return worker;
}

void worker_expect(struct worker *worker, const char *line)
{
    char said[256] = "";
    assert_non_null(fgets(said, sizeof said, worker->out));
    said[strcspn(said, "\n")] = '\0';
    assert_string_equal(said, line);
}

void worker_end(struct worker *worker)
{
    int status;
    fclose(worker->out);
    assert_int_equal(waitpid(worker->pid, &status, 0), worker->pid);
    assert_int_equal(status, 0);
}

void worker_kill(struct worker *worker)
{
    int status;
    assert_int_equal(kill(worker->pid, SIGKILL), 0);
    assert_int_equal(waitpid(worker->pid, &status, 0), worker->pid);
    fclose(worker->out);
}

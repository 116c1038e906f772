/* SPDX-License-Identifier: Apache-2.0 */
/* weft-fsck: looks at all that a target's chunk store has on disk, and tells what is wrong. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "chunks/store_chunks.h"
#include "conf.h"
#include "err.h"
#include "store.h"
#include "target.h"

enum { EXIT_WHOLE = 0, EXIT_FAULTS = 1, EXIT_NOT_CHECKED = 2 };

static void help(void)
{
    printf("Usage: weft-fsck [OPTION...] TARGET\n"
           "Checks the chunk store of a target, by its id, while its server is stopped: the\n"
           "structure, which blocks are in use, and every checksum. Changes nothing.\n\n"
           "  -c, --config FILE   the cluster's configuration (default: $WEFT_CONF, else %s)\n"
           "  -m, --metadata      do not read the data, only what describes it\n"
           "  -h, --help          show this\n"
           "  -V, --version       show the version\n\n"
           "Exit code: 0 when all is whole, 1 when something is not, 2 when it could not be checked.\n",
           WEFT_CONF_DEFAULT);
}

static void report(void *arg, const char *text)
{
    printf("target %" PRIu32 ": %s\n", *(const uint32_t *)arg, text);
}

static const struct conf_target *find(const struct conf *conf, uint32_t id, uint32_t *shards)
{
    for (uint32_t i = 0; i < conf->storage_count; i++) {
        *shards = conf->storage[i].shards;
        for (uint32_t k = 0; k < conf->storage[i].target_count; k++)
            if (conf->storage[i].targets[k].id == id)
                return &conf->storage[i].targets[k];
    }
    return NULL;
}

static int check_shard(struct target *target, uint32_t shard, bool read_data)
{
    struct cs_check_result result;
    int error = store_chunks_check(target, shard, read_data, report, &target->id, &result);
    if (error)
        return error;
    printf("target %" PRIu32 " shard %" PRIu32 ": %" PRIu64 " objects, %" PRIu64 " blocks, %" PRIu64
           " faults",
           target->id, shard, result.objects, result.blocks, result.faults);
    if (result.damaged)
        printf(", %" PRIu64 " blocks damaged", result.damaged);
    if (result.logged)
        printf("; the log has %" PRIu64 " later changes, which the server's next start looks at",
               result.logged);
    printf("\n");
    return result.faults ? 1 : 0;
}

/* 0, 1 when there are faults, or a negative errno. */
static int check_target(const struct conf_target *conf, uint32_t shards, bool read_data)
{
    struct target target;
    char path[4200];
    int worst = 0;
    snprintf(path, sizeof path, "%s/target", conf->dir);
    /* Opening it would make one. */
    if (access(path, R_OK))
        return err_sys("target %" PRIu32 ": %s", conf->id, path);
    int error = target_open(conf, shards, &store_chunks, &target);
    if (error)
        return error;
    if (target.store_type != &store_chunks)
        error = err_set(-ENOTSUP, "target %" PRIu32 " has the store \"%s\", which keeps no checksums",
                        conf->id, target.store_type->name);
    for (uint32_t shard = 0; !error && shard < shards; shard++) {
        int result = check_shard(&target, shard, read_data);
        if (result < 0) {
            /* A shard that can't be opened at all is the worst fault; the others are looked at. */
            report(&target.id, err_text());
            result = 1;
        }
        worst = result ? result : worst;
    }
    target_close(&target);
    return error ? error : worst;
}

static int run(const char *file, const char *text, bool read_data)
{
    struct conf *conf;
    uint32_t shards = 0;
    char *end;
    errno = 0;
    const unsigned long id = strtoul(text, &end, 10);
    if (*end || end == text || errno || id > UINT32_MAX)
        return err_set(-EINVAL, "\"%s\" is no target's id", text);
    int result = conf_load(file, &conf);
    if (result)
        return result;
    const struct conf_target *target = find(conf, (uint32_t)id, &shards);
    result = target ? check_target(target, shards, read_data)
                    : err_set(-ENOENT, "%s has no target %lu", conf->file, id);
    conf_free(conf);
    return result;
}

int main(int argc, char **argv)
{
    static const struct option list[] = {
        {"config", required_argument, NULL, 'c'},
        {"metadata", no_argument, NULL, 'm'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},
        {0},
    };
    const char *file = NULL;
    bool read_data = true;
    int letter;
    while ((letter = getopt_long(argc, argv, "c:mhV", list, NULL)) >= 0) {
        if (letter == 'c')
            file = optarg;
        else if (letter == 'm')
            read_data = false;
        else if (letter == 'h')
            return help(), 0;
        else if (letter == 'V')
            return printf("weft-fsck (Weft) %s\n", WEFT_VERSION), 0;
        else
            return EXIT_NOT_CHECKED;
    }
    if (optind + 1 != argc) {
        fprintf(stderr, "weft-fsck: name one target. Try weft-fsck --help\n");
        return EXIT_NOT_CHECKED;
    }
    int result = run(file, argv[optind], read_data);
    if (result < 0) {
        fprintf(stderr, "weft-fsck: %s\n", err_text());
        return EXIT_NOT_CHECKED;
    }
    return result ? EXIT_FAULTS : EXIT_WHOLE;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* weft-fsck: looks at all that a target's chunk store has on disk, tells what is wrong, and repairs what can
 * be. */
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

/* As fsck(8). */
enum { EXIT_WHOLE = 0, EXIT_REPAIRED = 1, EXIT_FAULTS = 4, EXIT_NOT_CHECKED = 8 };

struct options {
    const char *file; /* the configuration */
    bool metadata_only, repair, dry_run, drop_lost;
};

static void help(void)
{
    printf("Usage: weft-fsck [OPTION...] TARGET\n"
           "Checks the chunk store of a target, by its id, while its server is stopped: the\n"
           "structure, which blocks are in use, and every checksum. Changes nothing without\n"
           "--repair.\n\n"
           "  -c, --config FILE   the cluster's configuration (default: $WEFT_CONF, else %s)\n"
           "  -m, --metadata      do not read the data, only what describes it\n"
           "  -r, --repair        make right what follows from the rest of the metadata\n"
           "  -n, --dry-run       with --repair: only tell what it would do; write nothing\n"
           "  -D, --drop-lost     with --repair: give up what can't be found or served any\n"
           "                      more, and reads as zeros from then on: see weft-fsck(8)\n"
           "  -h, --help          show this\n"
           "  -V, --version       show the version\n\n"
           "Exit code: 0 when all is whole, 1 when all is whole after a repair, 4 when faults are left,\n"
           "8 when the target could not be checked or repaired.\n",
           WEFT_CONF_DEFAULT);
}

static void report(void *arg, const char *text)
{
    printf("target %" PRIu32 ": %s\n", *(const uint32_t *)arg, text);
}

static void summary(const struct target *target, uint32_t shard, const struct store_chunks_checked *checked,
                    const struct options *options)
{
    const struct cs_check_result *check = &checked->check;
    const struct cs_repair_result *repair = &checked->repair;
    printf("target %" PRIu32 " shard %" PRIu32 ": %" PRIu64 " objects, %" PRIu64 " blocks, %" PRIu64
           " faults",
           target->id, shard, check->objects, check->blocks, check->faults);
    if (check->damaged)
        printf(", %" PRIu64 " blocks damaged", check->damaged);
    if (checked->supers_bad)
        printf("; %u of %d superblocks can't be used: the next commits write them anew", checked->supers_bad,
               CS_SUPER_SLOTS);
    if (repair->repaired)
        printf("; %" PRIu64 " repaired", repair->repaired);
    if (repair->dropped)
        printf("; %" PRIu64 " dropped", repair->dropped);
    if (repair->replayed)
        printf("; %" PRIu64 " changes taken from the log", repair->replayed);
    if (check->logged)
        printf("; the log has %" PRIu64 " later changes, which the server's next start looks at",
               check->logged);
    printf("%s\n", options->dry_run ? "; tried in memory, nothing was written" : "");
}

/* An exit code, or a negative errno. */
static int check_shard(struct target *target, uint32_t shard, const struct options *options)
{
    const struct store_chunks_checking checking = {.read_data = !options->metadata_only,
                                                   .repair = options->repair,
                                                   .write = !options->dry_run,
                                                   .drop_lost = options->drop_lost,
                                                   .report = report,
                                                   .arg = &target->id};
    struct store_chunks_checked checked;
    int error = store_chunks_check(target, shard, &checking, &checked);
    if (error)
        return error;
    summary(target, shard, &checked, options);
    if (checked.check.faults || checked.repair.left)
        return EXIT_FAULTS;
    return checked.repair.repaired || checked.repair.dropped ? EXIT_REPAIRED : EXIT_WHOLE;
}

/* An exit code, or a negative errno. */
static int check_target(const struct conf_target *conf, uint32_t shards, const struct options *options)
{
    struct target target;
    char path[4200];
    int worst = 0;
    snprintf(path, sizeof path, "%s/target", conf->dir);
    /* Opening it would make one. */
    if (!conf->is_disk && access(path, R_OK))
        return err_sys("target %" PRIu32 ": %s", conf->id, path);
    int error = target_open(conf, shards, &store_chunks, &target);
    if (error)
        return error;
    if (target.store_type != &store_chunks)
        error = err_set(-ENOTSUP, "target %" PRIu32 " has the store \"%s\", which keeps no checksums",
                        conf->id, target.store_type->name);
    for (uint32_t shard = 0; !error && shard < shards; shard++) {
        int result = check_shard(&target, shard, options);
        if (result < 0) {
            /* A shard that can't be opened at all is the worst fault; the others are looked at. */
            report(&target.id, err_text());
            result = options->repair ? EXIT_NOT_CHECKED : EXIT_FAULTS;
        }
        worst = result > worst ? result : worst;
    }
    target_close(&target);
    return error ? error : worst;
}

/* An exit code, or a negative errno. */
static int run(const char *text, const struct options *options)
{
    struct conf *conf;
    const struct conf_target *target;
    uint32_t id, shards;
    int result = conf_target_id(text, &id);
    if (!result)
        result = conf_load(options->file, &conf);
    if (result)
        return result;
    result = conf_target_by_id(conf, id, &shards, &target);
    if (!result)
        result = check_target(target, shards, options);
    conf_free(conf);
    return result;
}

static int usage(const char *text)
{
    fprintf(stderr, "weft-fsck: %s. Try weft-fsck --help\n", text);
    return EXIT_NOT_CHECKED;
}

/* An exit code when there is nothing more to do, else -1. */
static int read_options(int argc, char **argv, struct options *options)
{
    static const struct option list[] = {
        {"config", required_argument, NULL, 'c'}, {"metadata", no_argument, NULL, 'm'},
        {"repair", no_argument, NULL, 'r'},       {"dry-run", no_argument, NULL, 'n'},
        {"drop-lost", no_argument, NULL, 'D'},    {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},      {0},
    };
    int letter;
    while ((letter = getopt_long(argc, argv, "c:mrnDhV", list, NULL)) >= 0) {
        if (letter == 'c')
            options->file = optarg;
        else if (letter == 'm')
            options->metadata_only = true;
        else if (letter == 'r')
            options->repair = true;
        else if (letter == 'n')
            options->dry_run = true;
        else if (letter == 'D')
            options->drop_lost = true;
        else if (letter == 'h')
            return help(), EXIT_WHOLE;
        else if (letter == 'V')
            return printf("weft-fsck (Weft) %s\n", WEFT_VERSION), EXIT_WHOLE;
        else
            return EXIT_NOT_CHECKED;
    }
    if ((options->dry_run || options->drop_lost) && !options->repair)
        return usage("--dry-run and --drop-lost go with --repair");
    return optind + 1 == argc ? -1 : usage("name one target");
}

int main(int argc, char **argv)
{
    struct options options = {0};
    int result = read_options(argc, argv, &options);
    if (result >= 0)
        return result;
    result = run(argv[optind], &options);
    if (result < 0) {
        fprintf(stderr, "weft-fsck: %s\n", err_text());
        return EXIT_NOT_CHECKED;
    }
    return result;
}

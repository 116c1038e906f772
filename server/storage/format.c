/* SPDX-License-Identifier: Apache-2.0 */
/* weft-format: makes a disk into an empty target. Nothing else ever does. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "conf.h"
#include "err.h"
#include "log.h"
#include "target.h"

enum { EXIT_DONE = 0, EXIT_REFUSED = 1, EXIT_USAGE = 2 };

struct options {
    const char *file; /* the configuration */
    uint64_t size;
    bool force;
};

static void help(void)
{
    printf("Usage: weft-format [OPTION...] TARGET\n"
           "Makes the disk of a target, by the target's id, into an empty one. It is the disk that\n"
           "the configuration names as \"disk\": a block device, or a file that stands for one. A disk\n"
           "that holds anything is left alone, and what it holds is told.\n\n"
           "  -c, --config FILE   the cluster's configuration (default: $WEFT_CONF, else %s)\n"
           "  -s, --size SIZE     make a file of that size first, which stands for a disk\n"
           "  -f, --force         take the disk, whatever it holds: that is lost\n"
           "  -h, --help          show this\n"
           "  -V, --version       show the version\n\n"
           "Exit code: 0 when it is a target now, 1 when it is not, 2 for wrong options.\n",
           WEFT_CONF_DEFAULT);
}

static int format(const struct conf *conf, uint32_t id, const struct options *options)
{
    uint32_t shards;
    const struct conf_target *target;
    int error = conf_target_by_id(conf, id, &shards, &target);
    if (error)
        return error;
    if (!target->is_disk)
        return err_set(-EINVAL,
                       "target %" PRIu32
                       " is in the directory %s, which needs no formatting: its server makes it "
                       "when it starts",
                       id, target->dir);
    error = target_format(target, shards, options->size, options->force);
    if (!error)
        printf("%s is target %" PRIu32 " now, empty, for %" PRIu32 " shard%s\n", target->dir, id, shards,
               shards == 1 ? "" : "s");
    return error;
}

static int run(const char *text, const struct options *options)
{
    struct conf *conf;
    uint32_t id;
    int error = conf_target_id(text, &id);
    if (!error)
        error = conf_load(options->file, &conf);
    if (error)
        return error;
    error = format(conf, id, options);
    conf_free(conf);
    return error;
}

static int usage(const char *text)
{
    fprintf(stderr, "weft-format: %s. Try weft-format --help\n", text);
    return EXIT_USAGE;
}

/* An exit code when there is nothing more to do, else -1. */
static int read_options(int argc, char **argv, struct options *options)
{
    static const struct option list[] = {
        {"config", required_argument, NULL, 'c'}, {"size", required_argument, NULL, 's'},
        {"force", no_argument, NULL, 'f'},        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},      {0},
    };
    int letter;
    while ((letter = getopt_long(argc, argv, "c:s:fhV", list, NULL)) >= 0) {
        if (letter == 'c')
            options->file = optarg;
        else if (letter == 's' && (conf_parse_size(optarg, &options->size) || options->size == 0))
            return usage("--size wants a size, as 10G");
        else if (letter == 'f')
            options->force = true;
        else if (letter == 'h')
            return help(), EXIT_DONE;
        else if (letter == 'V')
            return printf("weft-format (Weft) %s\n", WEFT_VERSION), EXIT_DONE;
        else if (letter != 's')
            return EXIT_USAGE;
    }
    return optind + 1 == argc ? -1 : usage("name one target");
}

int main(int argc, char **argv)
{
    struct options options = {0};
    log_init("weft-format", LOG_LEVEL_WARN);
    int result = read_options(argc, argv, &options);
    if (result >= 0)
        return result;
    if (run(argv[optind], &options)) {
        fprintf(stderr, "weft-format: %s\n", err_text());
        return EXIT_REFUSED;
    }
    return EXIT_DONE;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weft verify: reads every byte of files and trees, and tells of what can't be read. What damage is, the
 * storage servers know: a read of a block that fails its checksum is an error, and never wrong bytes.
 */
#include "transfer.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* How much is read at once, and how small the pieces are by which a damaged place is narrowed down. */
enum { READ_BYTES = 4 << 20, STEP_BYTES = 64 << 10, BLOCK_BYTES = 4096 };

struct verify {
    struct tool *tool;
    struct progress *progress;
    uint8_t *buffer;
    uint64_t files, bytes, ranges, bytes_bad;
    uint64_t unread; /* files and directories of which nobody knows, for other reasons than damage */
};

/* A run of bytes of a file that can't be read, while it is being found. */
struct range {
    uint64_t begin, end;
    char text[512]; /* what the library said first */
};

static void tell_range(struct verify *verify, const char *path, struct range *range)
{
    if (range->begin == range->end)
        return;
    tool_complain(verify->tool, "weft:%s: bytes %" PRIu64 " to %" PRIu64 " are damaged: %s", path,
                  range->begin, range->end - 1, range->text);
    verify->ranges++;
    verify->bytes_bad += range->end - range->begin;
    range->begin = range->end = 0;
}

static void add_range(struct verify *verify, const char *path, struct range *range, uint64_t offset,
                      uint64_t length, int error)
{
    if (range->begin != range->end && range->end != offset)
        tell_range(verify, path, range);
    if (range->begin == range->end) {
        range->begin = offset;
        snprintf(range->text, sizeof range->text, "%s", tool_library_text(error));
    }
    range->end = offset + length;
}

/* Reads a piece; what fails in it is looked at in smaller ones. 0, or an error that is no damage. */
static int verify_piece(struct verify *verify, weft_file_t *file, const char *path, struct range *range,
                        uint64_t offset, uint64_t length)
{
    ssize_t result = weft_file_read(file, verify->buffer, length, offset);
    if (result >= 0) {
        verify->bytes += (uint64_t)result; /* less, when the file has become shorter meanwhile */
        return 0;
    }
    if (result != -EIO)
        return (int)result;
    if (length <= BLOCK_BYTES) {
        add_range(verify, path, range, offset, length, (int)result);
        return 0;
    }
    const uint64_t step = length > STEP_BYTES ? STEP_BYTES : BLOCK_BYTES;
    int error = 0;
    for (uint64_t end = offset + length; offset < end && !error; offset += step)
        error = verify_piece(verify, file, path, range, offset, end - offset < step ? end - offset : step);
    return error;
}

static int verify_bytes(struct verify *verify, weft_file_t *file, const char *path)
{
    struct range range = {0};
    struct weft_attr attr;
    int error = weft_file_stat(file, &attr);
    for (uint64_t offset = 0; !error && offset < attr.size && !tool_interrupted(); offset += READ_BYTES) {
        const uint64_t length = attr.size - offset < READ_BYTES ? attr.size - offset : READ_BYTES;
        error = verify_piece(verify, file, path, &range, offset, length);
        progress_add(verify->progress, length);
    }
    tell_range(verify, path, &range);
    return error;
}

static void tell_unread(struct verify *verify, const struct place *place, int error)
{
    place_complain(verify->tool, place, error);
    verify->unread++;
}

static void verify_file(struct verify *verify, const struct place *place)
{
    weft_file_t *file;
    progress_label(verify->progress, place->path);
    int error = weft_file_open(verify->tool->session, place->path, O_RDONLY, 0, NULL, &file);
    if (!error) {
        error = verify_bytes(verify, file, place->path);
        int closed = weft_file_close(file);
        error = error ? error : closed;
    }
    if (error)
        tell_unread(verify, place, error);
    else
        verify->files++;
}

/* Links are not followed, but for one that is named itself; what has no bytes is passed over. */
static void verify_entry(struct verify *verify, const struct place *place, bool follow)
{
    struct weft_attr attr;
    struct place_list *list;
    const char *name;
    int error = place_stat(verify->tool, place, follow, &attr);
    if (!error && S_ISREG(attr.mode))
        verify_file(verify, place);
    if (error || !S_ISDIR(attr.mode)) {
        if (error)
            tell_unread(verify, place, error);
        return;
    }
    error = place_list_open(verify->tool, place, &list);
    if (error) {
        tell_unread(verify, place, error);
        return;
    }
    while (!tool_interrupted() && (error = place_list_next(list, &name)) > 0) {
        struct place child;
        error = place_join(place, name, &child);
        if (error)
            break;
        verify_entry(verify, &child, false);
        place_free(&child);
    }
    if (error < 0)
        tell_unread(verify, place, error);
    place_list_close(list);
}

static void tell_sum(const struct verify *verify)
{
    char bytes[FORMAT_BYTES], bad[FORMAT_BYTES];
    printf("%" PRIu64 " file%s, %s read: ", verify->files, verify->files == 1 ? "" : "s",
           format_bytes(bytes, verify->bytes));
    if (verify->ranges)
        printf("%" PRIu64 " damaged range%s, %s", verify->ranges, verify->ranges == 1 ? "" : "s",
               format_bytes(bad, verify->bytes_bad));
    else
        printf("no damage");
    if (verify->unread)
        printf("; %" PRIu64 " could not be read", verify->unread);
    putchar('\n');
}

static void run_verify(struct verify *verify, int count, char **arguments, bool quiet)
{
    struct tool *tool = verify->tool;
    struct place *places = calloc((size_t)count, sizeof *places);
    const bool show = !quiet && isatty(STDERR_FILENO); /* a sum costs a walk through all of it */
    uint64_t total = 0;
    int known = 0;
    while (places && known < count && place_from(tool, &places[known], arguments[known]) == 0) {
        total += show ? transfer_bytes(tool, &places[known], true) : 0;
        known++;
    }
    if (!places)
        tool_complain(tool, "no memory");
    verify->progress = progress_new(tool, total, quiet);
    for (int i = 0; i < known && known == count && !tool_interrupted(); i++)
        verify_entry(verify, &places[i], true);
    progress_free(verify->progress);
    if (tool_interrupted())
        tool_complain(tool, "interrupted");
    else if (known == count && !quiet)
        tell_sum(verify);
    for (int i = 0; i < known; i++)
        place_free(&places[i]);
    free(places);
}

int cmd_verify(struct tool *tool, int argc, char **argv)
{
    struct verify verify = {.tool = tool};
    bool quiet = false;
    const struct option_spec options[] = {
        {"quiet", 'q', OPTION_FLAG, NULL, &quiet, "tell of damage only"},
        OPTION_CONF(tool),
        {0},
    };
    int first;
    int status =
        options_parse(tool, argc, argv, options,
                      "Reads every byte of files and directories, and tells of the ranges that the\n"
                      "storage servers know to be damaged. The exit status is 1 when there are any, and\n"
                      "when anything could not be read for another reason.",
                      &first);
    if (status >= 0)
        return status;
    if (first == argc)
        return tool_usage_error(tool, "which file?");
    for (int i = first; i < argc; i++)
        if (!place_cluster_path(tool, argv[i]))
            return tool->status;
    tool_catch_interrupts();
    verify.buffer = malloc(READ_BYTES);
    if (!verify.buffer)
        tool_complain(tool, "no memory");
    else if (tool_session(tool))
        run_verify(&verify, argc - first, argv + first, quiet);
    free(verify.buffer);
    tool_finish_output(tool);
    return tool->status;
}

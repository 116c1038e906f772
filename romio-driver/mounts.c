/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mounts.c: files that are named by a path on a mount of Weft, not by the prefix.
 *
 * Rank 0 looks where the path leads, and whether it can get there past the kernel. The others say whether
 * they see a mount of the same cluster. All go past the kernel, or none: then MPI opens the file as it opens
 * any other. Nobody but rank 0 asks the mount or the metadata server for anything.
 *
 * ROMIO chooses a driver in one function and opens the file in another; what was agreed on waits in between,
 * for the thread that makes both calls.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driver.h"

/* What rank 0 tells the others. */
struct offer {
    int is_made;
    char cluster[WEFT_CLUSTER_BYTES];
    char path[sizeof((struct weft_mounted *)NULL)->path];
};

static _Thread_local struct {
    char given[DRIVER_PATH_BYTES];  /* as the caller of MPI named the file; "": nothing was agreed on */
    char inside[DRIVER_PATH_BYTES]; /* with the prefix */
} agreed;

/* A driver that the user named is taken, and no other. */
static bool is_forced(void)
{
    const char *forced = getenv("ROMIO_FSTYPE_FORCE");
    return forced != NULL && forced[0] != '\0';
}

static void make_offer(const char *path, struct offer *offer)
{
    weft_session_t *session;
    struct weft_mounted mounted;
    if (!weft_mounted_find(AT_FDCWD, path, 0, &mounted) || mounted.is_cached)
        return;
    if (session_get_mounted(&mounted, &session) < 0 || weft_mounted_reach(session, &mounted, O_RDWR) < 0)
        return;
    offer->is_made = 1;
    memcpy(offer->cluster, mounted.cluster, sizeof offer->cluster);
    memcpy(offer->path, mounted.path, sizeof offer->path);
}

/* Sends nothing. */
static bool can_follow(const struct offer *offer)
{
    weft_session_t *session;
    struct weft_mounted mounted;
    return weft_mounted_of(offer->cluster, &mounted) && session_get_mounted(&mounted, &session) == 0;
}

bool mounts_agree(MPI_Comm comm, const char *path)
{
    struct offer offer = {0};
    int rank, ranks, mine, all;
    agreed.given[0] = '\0';
    if (path == NULL || is_forced())
        return false;
    MPI_Comm_rank(comm, &rank);
    MPI_Comm_size(comm, &ranks);
    if (rank == 0)
        make_offer(path, &offer);
    if (ranks > 1)
        MPI_Bcast(&offer, sizeof offer, MPI_BYTE, 0, comm);
    if (!offer.is_made)
        return false;
    mine = all = rank == 0 || can_follow(&offer);
    if (ranks > 1)
        MPI_Allreduce(&mine, &all, 1, MPI_INT, MPI_MIN, comm);
    if (!all)
        return false;
    snprintf(agreed.given, sizeof agreed.given, "%s", path);
    snprintf(agreed.inside, sizeof agreed.inside, WEFT_PATH_PREFIX "%s", offer.path);
    return true;
}

const char *mounts_inside(const char *given)
{
    return agreed.given[0] != '\0' && strcmp(agreed.given, given) == 0 ? agreed.inside : given;
}

void mounts_keep(const char *inside)
{
    if (inside == NULL || strcmp(agreed.inside, inside) != 0)
        agreed.given[0] = '\0';
}

void mounts_take(ADIO_File fd)
{
    if (agreed.given[0] == '\0')
        return;
    driver_file(fd)->mounted = ADIOI_Strdup(agreed.given);
    /* It is opened by it, and deleted, when that was asked for at its close. */
    ADIOI_Free(fd->filename);
    fd->filename = ADIOI_Strdup(agreed.inside + strlen(WEFT_PATH_PREFIX));
    agreed.given[0] = '\0';
}

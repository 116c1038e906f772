/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scenarios_replicas.c: stories of groups with several members (docs/replication.md). Each file has one
 * group: one server leads it, and another one has what it has. Where a story depends on a moment, a message
 * is waited for, and what befalls the cluster then has its place whatever the seed makes of all delays.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "cluster.h"
#include "scenarios_internal.h"
#include "sim.h"
#include "wire.h"

enum { BYTES = 512, CHUNK = 4096, LONG_BYTES = 16 * CHUNK };

/* ---- a group ----------------------------------------------------------------------------- */

void prepare_three(void)
{
    cluster.storage_count = 3;
    cluster.replicas = 2;
    cluster.client_count = cluster.shards = cluster.targets = 1;
    cluster.moves = false;
}

void prepare_replicas(void)
{
    prepare_three();
    cluster.storage_count = 2;
}

void prepare_fetched(void)
{
    prepare_replicas();
    weather.eager_max = 0;
}

/* Three that all have everything, and fetch what is written. */
void prepare_whole(void)
{
    prepare_fetched();
    cluster.storage_count = cluster.replicas = 3;
}

/* What the client of a scenario has. */
struct group {
    weft_session_t *session;
    weft_file_t *file;
    const char *path;
    struct server_slot *leader, *other; /* when the file was made */
};

static struct server_slot *slot_of(const char *name)
{
    for (unsigned i = 0; i < cluster.storage_count; i++)
        if (strcmp(cluster.storage[i].name, name) == 0)
            return &cluster.storage[i];
    sim_fail("there is no storage server %s", name);
}

static struct server_slot *any_but(const struct server_slot *slot)
{
    return &cluster.storage[slot == &cluster.storage[0]];
}

/* Makes a file; of three servers `other` need not be in its group. */
static void group_begin(struct group *group, const char *path)
{
    static const struct weft_layout striped = {.chunk_size = CHUNK, .stripe_count = 1};
    struct weft_location location;
    *group = (struct group){.session = connect_client(), .path = path};
    must(weft_file_open(group->session, path, O_RDWR | O_CREAT | O_EXCL, 0600, &striped, &group->file), 0);
    must(weft_file_locate(group->file, 0, 1, &location, 1), 1);
    group->leader = slot_of(location.server);
    group->other = any_but(group->leader);
}

static void group_end(struct group *group)
{
    must(weft_file_close(group->file), 0);
    weft_disconnect(group->session);
}

static void put(weft_file_t *file, char letter, size_t length, uint64_t offset)
{
    char *bytes = malloc(length);
    if (!bytes)
        abort();
    memset(bytes, letter, length);
    must(weft_file_write(file, bytes, length, offset), (int64_t)length);
    free(bytes);
}

/* All members of all groups have everything. */
static void wait_for_all(weft_session_t *session)
{
    struct weft_statfs now;
    for (unsigned i = 0; i < 300; i++) {
        fiber_sleep(100 * SIM_MS);
        if (cluster_is_ready() && weft_statfs(session, &now) == 0 && now.groups_lacking == 0 &&
            now.groups_syncing == 0)
            return;
    }
    sim_fail("members of groups still lack something");
}

static void wait_for(const bool *what)
{
    while (!*what)
        fiber_sleep(SIM_MS);
}

/* ---- reading from a certain member ------------------------------------------------------- */

/* What another client reads. On the host of a storage server it reads from that one, when that is current. */
static struct peek {
    const char *path;
    size_t length;
    char letter; /* of which all of it is; '?': it is not */
    bool has_ended;
} peek;

static char letter_of(const char *bytes, size_t length)
{
    for (size_t i = 1; i < length; i++)
        if (bytes[i] != bytes[0])
            return '?';
    return bytes[0];
}

static void *peek_main(void *unused)
{
    weft_session_t *session = connect_client();
    weft_file_t *file;
    char *bytes = malloc(peek.length);
    (void)unused;
    must(weft_file_open(session, peek.path, O_RDONLY, 0, NULL, &file), 0);
    must(weft_file_read(file, bytes, peek.length, 0), (int64_t)peek.length);
    peek.letter = letter_of(bytes, peek.length);
    must(weft_file_close(file), 0);
    weft_disconnect(session);
    free(bytes);
    peek.has_ended = true;
    return NULL;
}

static char letter_on(const struct server_slot *slot, const char *path, size_t length)
{
    peek = (struct peek){.path = path, .length = length};
    cluster_client_start_on(1, slot->host, peek_main);
    wait_for(&peek.has_ended);
    return peek.letter;
}

static void must_have(const struct server_slot *slot, const char *path, size_t length, char wanted)
{
    const char found = letter_on(slot, path, length);
    if (found != wanted)
        sim_fail("on the host of %s %d is read, not %d", slot->name, found, wanted);
}

/* ---- what befalls it --------------------------------------------------------------------- */

/* What the course of a scenario has come to. */
static struct {
    struct group group;
    struct server_slot *member; /* the other one of the file's group, of three servers */
    bool has_begun;             /* the message that was waited for is on its way */
    bool go, is_there;
    size_t length; /* of what is written by another client */
} story;

static void story_begin(const char *path)
{
    memset(&story, 0, sizeof story);
    group_begin(&story.group, path);
}

static void note_begun(void *unused)
{
    (void)unused;
    story.has_begun = true;
}

static void crash(struct server_slot *slot, uint64_t away_ns)
{
    cluster_server_end(slot, SERVER_CRASHES, away_ns);
}

/* Somebody's sim_at(), since nobody can end himself. */
static void crash_soon(void *slot)
{
    crash(slot, 10 * SIM_MS);
}

/* ---- a member knows a newer map than its leader ------------------------------------------ */

static void found_member(void *slot)
{
    if (!story.member)
        story.member = slot;
}

/* Who of three servers is in the file's group as well: a write shows it. */
static struct server_slot *find_member(void)
{
    for (unsigned i = 0; i < cluster.storage_count; i++) {
        struct server_slot *slot = &cluster.storage[i];
        if (slot != story.group.leader)
            weather_watch(&(struct weather_watch){.from = story.group.leader->host,
                                                  .to = slot->host,
                                                  .operation = WIRE_OP_copy,
                                                  .then = found_member,
                                                  .arg = slot});
    }
    put(story.group.file, 'a', BYTES, 0);
    while (!story.member)
        fiber_sleep(SIM_MS);
    return story.member;
}

/* The leader hears nothing of the metadata server for a while, and something happens to the third one. */
static void make_map_newer(void *third)
{
    story.has_begun = true;
    weather_part(story.group.leader->host, cluster.metadata.host, sim_now() + SIM_S);
    crash(third, 10 * SIM_MS);
}

/* A member has been given all that it has missed, and the leader does not know yet. Then another group of
 * the member's changes, so that it refuses what its leader gives it under the older map. It is not answered
 * before the member has it. */
void *run_older_map(void *unused)
{
    struct group *group = &story.group;
    (void)unused;
    story_begin("/f");
    struct server_slot *member = find_member(), *third = cluster.storage;
    while (third == member || third == group->leader)
        third++;
    weather_watch(&(struct weather_watch){.from = member->host,
                                          .to = group->leader->host,
                                          .operation = WIRE_OP_copy_settle,
                                          .is_reply = true,
                                          .hold_ns = 1200 * SIM_MS,
                                          .then = make_map_newer,
                                          .arg = third});
    sim_at(sim_now(), crash_soon, member);
    wait_for(&story.has_begun);
    fiber_sleep(600 * SIM_MS);
    put(group->file, 'b', BYTES, 0);
    wait_for_all(group->session);
    must_have(member, group->path, BYTES, 'b');
    group_end(group);
    return NULL;
}

/* ---- the leader has said that a member has everything ------------------------------------ */

static uint64_t deaf_until_ns;

/* No answer to such a request of the leader's comes from the metadata server before that. */
static void keep_deaf(void *operation)
{
    if (sim_now() < deaf_until_ns)
        weather_watch(&(struct weather_watch){.from = cluster.metadata.host,
                                              .to = story.group.leader->host,
                                              .operation = (unsigned)(uintptr_t)operation,
                                              .is_reply = true,
                                              .hold_ns = deaf_until_ns - sim_now(),
                                              .then = keep_deaf,
                                              .arg = operation});
}

/* The leader has just told the metadata server, which goes on hearing it, and does not hear that it was
 * heard; for longer than a copy may take. */
static void part_leader(void *unused)
{
    (void)unused;
    story.has_begun = true;
    deaf_until_ns = sim_now() + 2600 * SIM_MS;
    keep_deaf((void *)(uintptr_t)WIRE_OP_heartbeat);
    keep_deaf((void *)(uintptr_t)WIRE_OP_group_report);
    weather_part(story.group.leader->host, story.group.other->host, deaf_until_ns);
}

/* The member is current by now, though the leader's map says that it is being brought up to date. What it
 * can't be given is not answered as long as it may be read from. */
void *run_promise(void *unused)
{
    struct group *group = &story.group;
    (void)unused;
    story_begin("/f");
    put(group->file, 'a', BYTES, 0);
    weather_watch(&(struct weather_watch){.from = group->leader->host,
                                          .to = cluster.metadata.host,
                                          .operation = WIRE_OP_group_report,
                                          .then = part_leader});
    sim_at(sim_now(), crash_soon, group->other);
    wait_for(&story.has_begun);
    put(group->file, 'b', BYTES, 0);
    must_have(group->other, group->path, BYTES, 'b');
    fiber_sleep(2 * SIM_S); /* the leader hears again */
    group_end(group);
    return NULL;
}

/* ---- who asks for a whole file knows a newer map ----------------------------------------- */

static void kill_leader(void *unused)
{
    (void)unused;
    cluster_server_end(story.group.leader, SERVER_KILLED, 10 * SIM_S);
}

/* The client knows that the other server leads; that one does not know it yet, and has nothing of the file by
 * its own map. It does not answer that it is done. */
void *run_newer_map(void *unused)
{
    struct group *group = &story.group;
    (void)unused;
    story_begin("/f");
    put(group->file, 'a', BYTES, 0);
    sim_at(sim_now(), kill_leader, NULL);
    fiber_sleep(1600 * SIM_MS);
    weather_part(group->other->host, cluster.metadata.host, sim_now() + 1500 * SIM_MS);
    fiber_sleep(400 * SIM_MS);
    must(weft_file_punch(group->file, 0, BYTES), 0);
    must_have(group->other, group->path, BYTES, 0);
    group_end(group);
    return NULL;
}

/* ---- a removal comes while a member is brought up to date -------------------------------- */

/* A removal is answered with a commit, and this makes one on both servers. */
static void commit(weft_file_t *file)
{
    put(file, 'a', BYTES, 0);
    must(weft_file_sync(file), 0);
}

/* The file is removed while it is compared with what the member has, and the leader hears of that when the
 * member has got it, but before the map says so. It does not stay there. */
void *run_overtaken(void *unused)
{
    struct group *group = &story.group, another;
    (void)unused;
    story_begin("/f");
    group_begin(&another, "/g");
    put(group->file, 'a', BYTES, 0);
    must(weft_file_close(group->file), 0);
    weather_watch(&(struct weather_watch){.from = group->leader->host,
                                          .to = group->other->host,
                                          .operation = WIRE_OP_copy_digest,
                                          .hold_ns = 300 * SIM_MS,
                                          .then = note_begun});
    weather_watch(&(struct weather_watch){.from = cluster.metadata.host,
                                          .to = group->leader->host,
                                          .operation = WIRE_OP_object_remove,
                                          .hold_ns = 600 * SIM_MS});
    weather_watch(&(struct weather_watch){.from = group->other->host,
                                          .to = group->leader->host,
                                          .operation = WIRE_OP_copy_settle,
                                          .is_reply = true,
                                          .hold_ns = SIM_S});
    sim_at(sim_now(), crash_soon, group->other);
    wait_for(&story.has_begun);
    must(weft_unlink(group->session, group->path), 0);
    fiber_sleep(100 * SIM_MS);
    commit(another.file);
    fiber_sleep(SIM_S);
    commit(another.file);
    group_end(&another);
    must(weft_unlink(group->session, "/g"), 0);
    fiber_sleep(20 * SIM_S);
    weft_disconnect(group->session);
    return NULL;
}

/* ---- a leader is killed while it gives something to others ------------------------------- */

static void kill_with_writer(void *unused)
{
    (void)unused;
    cluster_client_kill(2);
    cluster_server_end(story.group.leader, SERVER_KILLED, 10 * SIM_MS);
}

/* What the leader is giving to the other one stays with it until it is killed, and who asked for it, too. */
static void leave_copy(void *unused)
{
    (void)unused;
    story.has_begun = true;
    weather_part(story.group.leader->host, story.group.other->host, sim_now() + SIM_S);
    sim_at(sim_now() + 100 * SIM_MS, kill_with_writer, NULL);
}

static void *write_main(void *unused)
{
    weft_file_t *file;
    (void)unused;
    must(weft_file_open(connect_client(), story.group.path, O_RDWR, 0, NULL, &file), 0);
    put(file, 'b', story.length, 0);
    sim_fail("a write was answered that the other server does not have");
}

/* Nobody asks for the change again, and it is there with one of them only. Then both have it, or neither. */
void *run_unclean(void *unused)
{
    struct group *group = &story.group;
    (void)unused;
    story_begin("/f");
    put(group->file, 'a', BYTES, 0);
    story.length = BYTES;
    weather_watch(&(struct weather_watch){.from = group->leader->host,
                                          .to = group->other->host,
                                          .operation = WIRE_OP_copy,
                                          .then = leave_copy});
    cluster_client_start_on(2, cluster.clients[0]->host + 2, write_main);
    wait_for(&story.has_begun);
    fiber_sleep(2 * SIM_S);
    wait_for_all(group->session);
    const char here = letter_on(group->leader, group->path, BYTES);
    must_have(group->other, group->path, BYTES, here);
    group_end(group);
    return NULL;
}

/* ---- a server is cut off for longer than its lease --------------------------------------- */

/* On the host that is cut off. What it is told has the change that was answered, or is an error. */
static void *read_cut_off(void *unused)
{
    weft_session_t *session = connect_client();
    weft_file_t *file;
    char bytes[BYTES];
    (void)unused;
    must(weft_file_open(session, story.group.path, O_RDONLY, 0, NULL, &file), 0);
    must(weft_file_read(file, bytes, BYTES, 0), BYTES);
    story.is_there = true;
    wait_for(&story.go);
    if (weft_file_read(file, bytes, BYTES, 0) == BYTES && letter_of(bytes, BYTES) != 'b')
        sim_fail("an old read was answered by a server that was cut off");
    (void)weft_file_close(file);
    weft_disconnect(session);
    story.is_there = false;
    return NULL;
}

/* The server is cut off before the read, and its disk takes `disk_ns` for that. */
static void cut_off(const char *path, bool leader, uint64_t disk_ns)
{
    struct group *group = &story.group;
    story_begin(path);
    const struct server_slot *slot = leader ? group->leader : group->other;
    put(group->file, 'a', BYTES, 0);
    cluster_client_start_on(1, slot->host, read_cut_off);
    wait_for(&story.is_there);
    weather_partition(slot->host, sim_now() + 3500 * SIM_MS);
    put(group->file, 'b', BYTES, 0);
    if (disk_ns) {
        /* The reader does not hear that others have gone on, so it does not ask them. */
        weather_watch(&(struct weather_watch){.from = cluster.metadata.host,
                                              .to = slot->host,
                                              .operation = WIRE_OP_map_get,
                                              .is_reply = true,
                                              .hold_ns = 5 * SIM_S});
        disks_hold_read(slot->host, disk_ns);
    }
    story.go = true;
    while (story.is_there)
        fiber_sleep(SIM_MS);
    wait_for_all(group->session);
    must_have(slot, path, BYTES, 'b');
    group_end(group);
}

void *run_cut_off(void *unused)
{
    (void)unused;
    cut_off("/f", false, 0);
    cut_off("/g", true, 0);
    return NULL;
}

/* What was read while others went on is not answered when the server has a lease again. */
void *run_read_moved(void *unused)
{
    (void)unused;
    cut_off("/f", false, 2500 * SIM_MS);
    cut_off("/g", true, 2500 * SIM_MS);
    return NULL;
}

/* ---- hosts crash ------------------------------------------------------------------------- */

static void crash_both(void *unused)
{
    (void)unused;
    crash(story.group.leader, 10 * SIM_MS);
    crash(story.group.other, 800 * SIM_MS);
}

/* A host that crashed gets what it lost from the other one. When both crash, who comes back last leads: what
 * was synced is there. */
void *run_replica_lost(void *unused)
{
    struct group *group = &story.group;
    (void)unused;
    story_begin("/f");
    put(group->file, 'a', LONG_BYTES, 0);
    sim_at(sim_now(), crash_soon, group->other);
    fiber_sleep(SIM_S);
    wait_for_all(group->session);
    must_have(group->other, group->path, LONG_BYTES, 'a');
    put(group->file, 'b', LONG_BYTES, 0);
    must(weft_file_sync(group->file), 0);
    sim_at(sim_now(), crash_both, NULL);
    fiber_sleep(2 * SIM_S);
    wait_for_all(group->session);
    must_have(group->other, group->path, LONG_BYTES, 'b');
    must_have(group->leader, group->path, LONG_BYTES, 'b');
    group_end(group);
    return NULL;
}

/* ---- another server leads before a request's turn comes ---------------------------------- */

/* The leader is cut off from the other servers for so long that another one leads, and the client does not
 * hear of it. */
static void depose_leader(void *unused)
{
    const uint64_t until_ns = sim_now() + 2800 * SIM_MS;
    const unsigned leader = story.group.leader->host;
    (void)unused;
    weather_part(leader, story.group.other->host, until_ns);
    weather_part(leader, cluster.metadata.host, until_ns);
    weather_part(cluster.clients[0]->host, cluster.metadata.host, until_ns + 500 * SIM_MS);
}

/* By a session of its own: the other one hears with its answer that nobody is there any more. */
static void *punch_first(void *unused)
{
    weft_session_t *session = connect_client();
    weft_file_t *file;
    (void)unused;
    must(weft_file_open(session, story.group.path, O_RDWR, 0, NULL, &file), 0);
    story.is_there = true;
    wait_for(&story.has_begun);
    must(weft_file_punch(file, 0, BYTES), 0);
    must(weft_file_close(file), 0);
    weft_disconnect(session);
    return NULL;
}

/* What waits in the line of one that leads no more has not been done. */
void *run_line_moved(void *unused)
{
    struct group *group = &story.group;
    pthread_t thread;
    (void)unused;
    story_begin("/f");
    put(group->file, 'a', BYTES, 0);
    put(group->file, 'a', BYTES, CHUNK);
    pthread_create(&thread, NULL, punch_first, NULL);
    wait_for(&story.is_there);
    depose_leader(NULL);
    weather_watch(&(struct weather_watch){.from = group->leader->host,
                                          .to = group->other->host,
                                          .operation = WIRE_OP_copy,
                                          .then = note_begun});
    put(group->file, 'b', BYTES, CHUNK);
    pthread_join(thread, NULL);
    wait_for_all(group->session);
    must_have(group->other, group->path, BYTES, 0);
    group_end(group);
    return NULL;
}

/* The leader has a write's header when it is cut off, and fetches the rest when another one leads. */
static void depose_fetching(void *unused)
{
    depose_leader(unused);
    weather_part(cluster.clients[0]->host, story.group.leader->host, sim_now() + 3200 * SIM_MS);
}

void *run_fetch_moved(void *unused)
{
    struct group *group = &story.group;
    (void)unused;
    story_begin("/f");
    put(group->file, 'a', BYTES, 0);
    weather_watch(&(struct weather_watch){.from = cluster.clients[0]->host,
                                          .to = group->leader->host,
                                          .operation = WIRE_OP_write,
                                          .then = depose_fetching});
    put(group->file, 'b', BYTES, 0);
    must_have(group->other, group->path, BYTES, 'b');
    wait_for_all(group->session);
    must_have(group->leader, group->path, BYTES, 'b');
    must_have(group->other, group->path, BYTES, 'b');
    group_end(group);
    return NULL;
}

/* ---- a member's disk is stuck ------------------------------------------------------------ */

/* The leader gives up what the member does not make, and goes on; the file's bytes become what they were, so
 * that the member, whose disk can be read, lacks nothing. What was given up is not made after that. */
void *run_late_copy(void *unused)
{
    struct group *group = &story.group;
    (void)unused;
    story_begin("/f");
    put(group->file, 'a', LONG_BYTES, 0);
    disks_hold_write(group->other->host, 8 * SIM_S);
    put(group->file, 'b', LONG_BYTES, 0);
    put(group->file, 'a', LONG_BYTES, 0);
    fiber_sleep(10 * SIM_S);
    wait_for_all(group->session);
    must_have(group->other, group->path, LONG_BYTES, 'a');
    group_end(group);
    return NULL;
}

static void kill_soon(void *unused)
{
    (void)unused;
    story.has_begun = true;
    sim_at(sim_now() + 100 * SIM_MS, kill_with_writer, NULL);
}

/* The leader is killed when one of two others has got a change, and its disk is stuck. */
static void late_change(const char *path, unsigned nth)
{
    struct group *group = &story.group;
    const struct server_slot *others[2];
    unsigned count = 0;
    story_begin(path);
    for (unsigned i = 0; i < cluster.storage_count; i++)
        if (&cluster.storage[i] != group->leader)
            others[count++] = &cluster.storage[i];
    put(group->file, 'a', LONG_BYTES, 0);
    story.length = LONG_BYTES;
    disks_hold_write(others[nth]->host, 8 * SIM_S);
    weather_part(group->leader->host, others[!nth]->host, sim_now() + SIM_S);
    weather_watch(&(struct weather_watch){
        .from = group->leader->host, .to = others[nth]->host, .operation = WIRE_OP_copy, .then = kill_soon});
    cluster_client_start_on(2, cluster.clients[0]->host + 2, write_main);
    wait_for(&story.has_begun);
    fiber_sleep(10 * SIM_S);
    wait_for_all(group->session);
    const char here = letter_on(group->leader, path, LONG_BYTES);
    must_have(others[0], path, LONG_BYTES, here);
    must_have(others[1], path, LONG_BYTES, here);
    group_end(group);
}

/* One of them leads then. It compares the others with what it has: with the change, as it is to be made there
 * still. */
void *run_late_change(void *unused)
{
    (void)unused;
    late_change("/f", 0);
    late_change("/g", 1);
    return NULL;
}

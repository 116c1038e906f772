/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One real weft-storaged. What must survive: requests that lie about
 * capability, place, length or map; a kill -9 after a sync; a metadata server that
 * forgets it, or goes away; more readers than there are buffers.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "err.h"
#include "storaged_peer.h"

static struct peer peer;

static int setup(void **state)
{
    (void)state;
    peer_open(&peer, "memory_bytes = \"8M\";");
    peer_start(&peer);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    peer_close(&peer);
    return 0;
}

static void fill(uint8_t *data, size_t length, unsigned seed)
{
    for (size_t i = 0; i < length; i++)
        data[i] = (uint8_t)(layout_hash(seed * UINT64_C(1000003) + i) >> 7);
}

/* What a reader must find: zeros for what lies on the other server. */
static void blank_elsewhere(uint8_t *data, size_t length, uint64_t offset)
{
    for (size_t i = 0; i < length; i++)
        if (peer_is_elsewhere(offset + i))
            data[i] = 0;
}

/* ---- membership --------------------------------------------------------- */

static void test_registers(void **state)
{
    char line[LIMITS_ADDRESS_MAX + 16];
    (void)state;
    assert_int_equal(peer.registrations, 1);
    assert_int_equal(peer.registered_target_count, 2);
    assert_int_equal(peer.registered_targets[0], 0);
    assert_int_equal(peer.registered_targets[1], 1);
    assert_true(peer.registered_total >= peer.registered_free && peer.registered_free > 0);
    /* Both are folders of one file system, and of one weft.conf says what it counts for. */
    assert_int_equal(peer.registered_capacities[0], peer.registered_total / 2);
    assert_int_equal(peer.registered_capacities[1], UINT64_C(8) << 40);
    snprintf(line, sizeof line, "ready %s\n", peer.map->servers[0].addresses[0]);
    assert_string_equal(peer.ready, line);
    assert_string_not_equal(peer.map->servers[0].addresses[0], peer.map->servers[0].addresses[1]);
    peer_idle(&peer, 500);
    assert_in_range(peer.heartbeats, 2, 8);
}

static void test_registers_again_when_forgotten(void **state)
{
    (void)state;
    peer.forget = true;
    peer_idle(&peer, 500);
    assert_int_equal(peer.registrations, 2);
}

static void test_refused_registration_ends_the_server(void **state)
{
    char text[4096];
    (void)state;
    assert_int_equal(peer_signal(&peer, SIGTERM), 0);
    peer.register_status = -EEXIST;
    int status = peer_run(&peer, text, sizeof text);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 1);
    assert_non_null(strstr(text, "does not let this server in"));
    assert_non_null(strstr(text, "target 0 is served by another server"));
}

/* The metadata server came back with another cluster's directory. */
static void test_another_cluster_is_left(void **state)
{
    int status = 0;
    (void)state;
    peer.forget = true;
    peer.map->version++;
    memset(peer.map->cluster, 0xc2, sizeof peer.map->cluster);
    for (unsigned i = 0; i < 300 && waitpid(peer.pid, &status, WNOHANG) == 0; i++)
        peer_idle(&peer, 10);
    peer.pid = 0;
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 1);
}

static void test_other_cluster_is_refused(void **state)
{
    char text[4096];
    (void)state;
    assert_int_equal(peer_signal(&peer, SIGTERM), 0);
    memset(peer.map->cluster, 0xc2, sizeof peer.map->cluster);
    int status = peer_run(&peer, text, sizeof text);
    assert_int_equal(WEXITSTATUS(status), 1);
    assert_non_null(strstr(text, "belongs to another cluster"));
}

static void test_an_empty_directory_for_a_known_target_is_refused(void **state)
{
    char text[4096], command[512];
    (void)state;
    assert_int_equal(peer_signal(&peer, SIGTERM), 0);
    snprintf(command, sizeof command, "mv '%s/s0/t1' '%s/unmounted'", peer.dir, peer.dir);
    assert_int_equal(system(command), 0);
    int status = peer_run(&peer, text, sizeof text);
    assert_int_equal(WEXITSTATUS(status), 1);
    assert_non_null(strstr(text, "target 1: "));
    assert_non_null(strstr(text, "is its file system mounted?"));
    snprintf(command, sizeof command, "rm -r '%s/s0/t1' && mv '%s/unmounted' '%s/s0/t1'", peer.dir, peer.dir,
             peer.dir);
    assert_int_equal(system(command), 0);
    peer_start(&peer);
}

/* ---- bytes -------------------------------------------------------------- */

static void test_write_then_read(void **state)
{
    enum { LENGTH = 20 * PEER_CHUNK + 777 };
    static uint8_t data[LENGTH], back[LENGTH];
    uint64_t end;
    (void)state;
    fill(data, LENGTH, 1);
    assert_int_equal(peer_write(&peer, 5, 1000, data, LENGTH), 0);
    assert_int_equal(peer_read(&peer, 5, 1000, back, LENGTH), 0);
    blank_elsewhere(data, LENGTH, 1000);
    assert_memory_equal(data, back, LENGTH);
    /* Another file is another file. */
    memset(data, 0, LENGTH);
    assert_int_equal(peer_read(&peer, 6, 1000, back, LENGTH), 0);
    assert_memory_equal(data, back, LENGTH);
    assert_int_equal(peer_end(&peer, 6, &end), 0);
    assert_int_equal(end, 0);
}

static void test_end_is_exact(void **state)
{
    uint8_t byte = 1;
    uint64_t end,
        offsets[] = {0, 1, PEER_CHUNK - 1, 7 * PEER_CHUNK + 5, 1000 * (uint64_t)PEER_CHUNK, 123456789012};
    (void)state;
    for (unsigned i = 0; i < sizeof offsets / sizeof *offsets; i++) {
        uint64_t at = offsets[i];
        while (peer_is_elsewhere(at))
            at += PEER_CHUNK;
        assert_int_equal(peer_write(&peer, 5, at, &byte, 1), 0);
        assert_int_equal(peer_end(&peer, 5, &end), 0);
        assert_int_equal(end, at + 1);
    }
}

static struct answer answer;
static uint8_t body[LIMITS_BODY_MAX];
static uint8_t payload[LIMITS_IO_BYTES_MAX + 65536];

static int io(unsigned operation, const struct wire_capability *capability, uint64_t version,
              const struct wire_extent *extents, uint32_t count, uint32_t shard, size_t payload_length)
{
    size_t length = peer_encode_io(operation, capability, version, extents, count, body, sizeof body);
    memset(&answer, 0, sizeof answer);
    answer.payload = payload;
    answer.payload_size = sizeof payload;
    peer_call(&peer, peer.to_shard[shard], operation, body, length, payload, payload_length, &answer);
    return answer.status;
}

static void test_many_extents_in_one_request(void **state)
{
    enum { COUNT = LIMITS_EXTENTS_MAX, PIECE = 100 };
    static struct wire_extent extents[COUNT];
    static uint8_t data[COUNT * PIECE];
    struct wire_capability capability = peer_capability(&peer, 9, WIRE_ACCESS_READ | WIRE_ACCESS_WRITE);
    uint64_t at = peer_chunk_on(&peer, 0, 0, 0), used = 0;
    (void)state;
    /* Every other 100 bytes of each chunk, 20 pieces a chunk. */
    for (uint32_t i = 0; i < COUNT; i++) {
        if (used == 20) {
            at = peer_chunk_on(&peer, 0, 0, at + PEER_CHUNK);
            used = 0;
        }
        extents[i] = (struct wire_extent){.offset = at + 200 * used++, .length = PIECE, .target = 0};
    }
    fill(data, sizeof data, 3);
    memcpy(payload, data, sizeof data);
    assert_int_equal(io(WIRE_OP_write, &capability, peer.map->version, extents, COUNT, 0, sizeof data), 0);
    memset(payload, 0, sizeof data);
    assert_int_equal(io(WIRE_OP_read, &capability, peer.map->version, extents, COUNT, 0, 0), 0);
    assert_int_equal(answer.payload_length, sizeof data);
    assert_memory_equal(payload, data, sizeof data);
    assert_int_equal(peer_counter(&peer, "extents_written"), COUNT);
    assert_int_equal(peer_counter(&peer, "bytes_read"), sizeof data);
}

static void test_adjacent_extents_are_one_access(void **state)
{
    struct wire_capability capability = peer_capability(&peer, 9, WIRE_ACCESS_READ | WIRE_ACCESS_WRITE);
    uint64_t first = peer_chunk_on(&peer, 1, 1, 0), second = peer_chunk_on(&peer, 1, 1, first + PEER_CHUNK);
    struct wire_extent extents[] = {{first, PEER_CHUNK, 1}, {second, 10, 1}};
    (void)state;
    fill(payload, PEER_CHUNK + 10, 4);
    assert_int_equal(io(WIRE_OP_write, &capability, peer.map->version, extents, 2, 1, PEER_CHUNK + 10), 0);
    assert_int_equal(peer_counter(&peer, "store_writes"), 1);
    assert_int_equal(io(WIRE_OP_read, &capability, peer.map->version, extents, 2, 1, 0), 0);
    assert_int_equal(peer_counter(&peer, "store_reads"), 1);
}

/* What is not there does not cross the wire, and is told for each extent. */
static void test_short_reads_tell_what_is_present(void **state)
{
    struct wire_capability capability = peer_capability(&peer, 9, WIRE_ACCESS_READ | WIRE_ACCESS_WRITE);
    uint64_t first = peer_chunk_on(&peer, 0, 0, 0), second = peer_chunk_on(&peer, 0, 0, first + PEER_CHUNK),
             other = peer_chunk_on(&peer, 1, 0, 0);
    struct wire_extent written[] = {{first, PEER_CHUNK, 0}, {second, 10, 0}, {other, 100, 1}};
    struct wire_extent wanted[] = {{first + 4000, 96, 0},
                                   {second, 50, 0},
                                   {second + 50, 60, 0},
                                   {other + 60, 100, 1},
                                   {other + 3000, 5, 1}};
    const uint32_t present[] = {96, 10, 0, 40, 0};
    static uint8_t data[PEER_CHUNK + 110];
    struct wire_read_reply reply;
    (void)state;
    fill(data, sizeof data, 5);
    memcpy(payload, data, sizeof data);
    assert_int_equal(io(WIRE_OP_write, &capability, peer.map->version, written, 3, 0, sizeof data), 0);
    memset(payload, 0, sizeof data);
    assert_int_equal(io(WIRE_OP_read, &capability, peer.map->version, wanted, 5, 0, 0), 0);
    assert_int_equal(wire_decode_read_reply(answer.body, answer.body_length, &reply), 0);
    assert_int_equal(reply.present.count, 5);
    struct wire_reader reader = wire_list_reader(&reply.present);
    for (unsigned i = 0; i < 5; i++) {
        struct wire_number number;
        wire_get_number(&reader, &number);
        assert_int_equal(number.value, present[i]);
    }
    assert_int_equal(answer.payload_length, 146);
    assert_memory_equal(payload, data + 4000, 106);
    assert_memory_equal(payload + 106, data + PEER_CHUNK + 10 + 60, 40);
}

/* ---- requests that lie -------------------------------------------------- */

static void test_wrong_requests_are_refused(void **state)
{
    struct wire_capability both = peer_capability(&peer, 9, WIRE_ACCESS_READ | WIRE_ACCESS_WRITE);
    struct wire_capability reader = peer_capability(&peer, 9, WIRE_ACCESS_READ);
    struct wire_capability forged = both, grown = reader;
    uint64_t at = peer_chunk_on(&peer, 0, 0, 0), version = peer.map->version;
    struct wire_extent good = {at, 100, 0};
    (void)state;
    forged.ino = 10;
    grown.access = WIRE_ACCESS_READ | WIRE_ACCESS_WRITE;
    assert_int_equal(io(WIRE_OP_write, &both, version, &good, 1, 0, 100), 0);
    assert_int_equal(io(WIRE_OP_write, &forged, version, &good, 1, 0, 100), -EACCES);
    assert_int_equal(io(WIRE_OP_write, &reader, version, &good, 1, 0, 100), -EACCES);
    assert_int_equal(io(WIRE_OP_write, &grown, version, &good, 1, 0, 100), -EACCES);
    assert_int_equal(io(WIRE_OP_write, &both, version, &good, 1, 0, 99), -EBADMSG);
    assert_int_equal(io(WIRE_OP_write, &both, version, &good, 1, 0, 101), -EBADMSG);
    assert_int_equal(io(WIRE_OP_read, &both, version, &good, 1, 0, 100), -EBADMSG);
    assert_int_equal(io(WIRE_OP_read, &both, version, &good, 1, 1, 0), -EINVAL); /* the other shard */

    struct wire_extent crosses = {at + 4000, 97, 0}, other_target = {at, 100, 1}, unknown = {at, 100, 99};
    struct wire_extent empty = {at, 0, 0}, beyond = {INT64_MAX - 50, 100, 0};
    assert_int_equal(io(WIRE_OP_read, &both, version, &crosses, 1, 0, 0), -EINVAL);
    assert_int_equal(io(WIRE_OP_read, &both, version, &other_target, 1, 0, 0), -EINVAL);
    assert_int_equal(io(WIRE_OP_read, &both, version, &unknown, 1, 0, 0), -EINVAL);
    assert_int_equal(io(WIRE_OP_read, &both, version, &empty, 1, 0, 0), -EINVAL);
    assert_int_equal(io(WIRE_OP_read, &both, version, &beyond, 1, 0, 0), -EINVAL);

    static struct wire_extent many[1025];
    for (unsigned i = 0; i < 1025; i++)
        many[i] = (struct wire_extent){at, PEER_CHUNK, 0};
    assert_int_equal(io(WIRE_OP_read, &both, version, many, 1025, 0, 0), -EMSGSIZE);
    assert_int_equal(io(WIRE_OP_read, &both, version, many, 1024, 0, 0), 0);
    assert_int_equal(peer_counter(&peer, "requests_refused"), 13);
}

static void test_nonsense_bodies_are_refused(void **state)
{
    const unsigned operations[] = {
        WIRE_OP_write,           WIRE_OP_read,         WIRE_OP_sync, WIRE_OP_object_stat,
        WIRE_OP_object_truncate, WIRE_OP_object_remove};
    (void)state;
    for (unsigned i = 0; i < sizeof operations / sizeof *operations; i++) {
        for (size_t length = 0; length < 300; length += 13) {
            fill(body, length, i + (unsigned)length);
            memset(&answer, 0, sizeof answer);
            peer_call(&peer, peer.manager_to_shard[0], operations[i], body, length, NULL, 0, &answer);
            assert_true(answer.status == -EBADMSG || answer.status == -EACCES);
        }
    }
    peer_call(&peer, peer.to_shard[0], WIRE_OP_mkdir, body, 10, NULL, 0, &answer);
    assert_int_equal(answer.status, -EOPNOTSUPP);
    peer_call(&peer, peer.to_shard[0], 4711, body, 10, NULL, 0, &answer);
    assert_int_equal(answer.status, -EOPNOTSUPP);
}

/* ---- truncate and remove ------------------------------------------------ */

/* Asks both shards, as an ordinary client or as the metadata server. */
static int truncate_all(struct rpc_connection **connections, uint64_t ino, uint64_t size, bool grow_only)
{
    int status = 0;
    for (uint32_t k = 0; k < PEER_SHARDS && !status; k++)
        status = peer_truncate(&peer, connections[k], ino, size, grow_only);
    return status;
}

static int remove_all(struct rpc_connection **connections, uint64_t ino)
{
    int status = 0;
    for (uint32_t k = 0; k < PEER_SHARDS && !status; k++)
        status = peer_remove(&peer, connections[k], ino);
    return status;
}

static void test_truncate(void **state)
{
    enum { LENGTH = 12 * PEER_CHUNK };
    static uint8_t data[LENGTH], back[LENGTH];
    uint64_t end, sizes[] = {9 * PEER_CHUNK + 5, 9 * PEER_CHUNK, 3 * PEER_CHUNK + 1, 0};
    (void)state;
    fill(data, LENGTH, 6);
    assert_int_equal(peer_write(&peer, 5, 0, data, LENGTH), 0);
    assert_int_equal(truncate_all(peer.to_shard, 5, 0, false), -EACCES);
    for (unsigned i = 0; i < 4; i++) {
        uint64_t size = sizes[i];
        assert_int_equal(truncate_all(peer.manager_to_shard, 5, size, false), 0);
        assert_int_equal(peer_end(&peer, 5, &end), 0);
        /* The last byte may lie on the other server. */
        assert_true(end <= size);
        if (size && !peer_is_elsewhere(size - 1))
            assert_int_equal(end, size);
        /* Longer again, the old bytes must not come back. */
        assert_int_equal(truncate_all(peer.manager_to_shard, 5, LENGTH, true), 0);
        memset(data + size, 0, LENGTH - size);
        blank_elsewhere(data, LENGTH, 0);
        assert_int_equal(peer_read(&peer, 5, 0, back, LENGTH), 0);
        assert_memory_equal(data, back, LENGTH);
        /* Growing only does not cut. */
        assert_int_equal(truncate_all(peer.manager_to_shard, 5, 1, true), 0);
        assert_int_equal(peer_read(&peer, 5, 0, back, LENGTH), 0);
        assert_memory_equal(data, back, LENGTH);
    }
}

/* The same to each shard: a range of any length, by who may write. */
static int punch_all(const struct wire_capability *capability, uint64_t offset, uint64_t length)
{
    answer.status = 0;
    for (uint32_t k = 0; k < PEER_SHARDS && !answer.status; k++) {
        struct wire_object_punch punch = {
            .capability = *capability, .map_version = peer.map->version, .offset = offset, .length = length};
        ssize_t size = wire_encode_object_punch(body, sizeof body, &punch);
        assert_true(size > 0);
        memset(&answer, 0, sizeof answer);
        peer_call(&peer, peer.to_shard[k], WIRE_OP_object_punch, body, (size_t)size, NULL, 0, &answer);
    }
    return answer.status;
}

/* The least of the shards' answers, and whether the one who gave it has found it. */
static uint64_t seek_all(uint64_t ino, uint64_t offset, bool hole)
{
    uint64_t least = UINT64_MAX;
    for (uint32_t k = 0; k < PEER_SHARDS; k++) {
        struct wire_object_seek_reply reply;
        struct wire_object_seek seek = {.capability = peer_capability(&peer, ino, 0),
                                        .map_version = peer.map->version,
                                        .offset = offset,
                                        .hole = hole};
        ssize_t size = wire_encode_object_seek(body, sizeof body, &seek);
        assert_true(size > 0);
        memset(&answer, 0, sizeof answer);
        peer_call(&peer, peer.to_shard[k], WIRE_OP_object_seek, body, (size_t)size, NULL, 0, &answer);
        assert_int_equal(answer.status, 0);
        assert_int_equal(wire_decode_object_seek_reply(answer.body, answer.body_length, &reply), 0);
        assert_true(reply.offset >= offset && reply.found);
        least = reply.offset < least ? reply.offset : least;
    }
    return least;
}

static void test_holes(void **state)
{
    enum { LENGTH = 12 * PEER_CHUNK };
    static uint8_t data[LENGTH], back[LENGTH];
    (void)state;
    fill(data, LENGTH, 8);
    assert_int_equal(peer_write(&peer, 5, 0, data, LENGTH), 0);
    struct wire_capability reader = peer_capability(&peer, 5, WIRE_ACCESS_READ);
    struct wire_capability writer = peer_capability(&peer, 5, WIRE_ACCESS_WRITE);
    struct wire_capability forged = writer;
    forged.ino = 6;
    assert_int_equal(punch_all(&reader, 0, LENGTH), -EACCES);
    assert_int_equal(punch_all(&forged, 0, LENGTH), -EACCES);
    assert_int_equal(punch_all(&writer, 5, INT64_MAX), -EINVAL);
    blank_elsewhere(data, LENGTH, 0);
    assert_int_equal(peer_read(&peer, 5, 0, back, LENGTH), 0);
    assert_memory_equal(data, back, LENGTH);
    uint64_t first = 0, chunk = 3 * PEER_CHUNK;
    while (peer_is_elsewhere(first))
        first += PEER_CHUNK;
    while (peer_is_elsewhere(chunk))
        chunk += PEER_CHUNK;
    assert_int_equal(seek_all(5, 0, false), first);
    assert_int_equal(punch_all(&writer, chunk, PEER_CHUNK), 0);
    memset(data + chunk, 0, PEER_CHUNK);
    assert_int_equal(peer_read(&peer, 5, 0, back, LENGTH), 0);
    assert_memory_equal(data, back, LENGTH);
    if (!peer_keeps_files()) {
        assert_int_equal(seek_all(5, 0, true), chunk);
        assert_int_equal(seek_all(5, chunk + 7, true), chunk + 7);
        assert_true(seek_all(5, chunk, false) > chunk);
    }
    assert_int_equal(punch_all(&writer, 0, LENGTH), 0);
    assert_true(peer_keeps_files() || seek_all(5, 0, false) == UINT64_MAX);
    assert_int_equal(seek_all(5, UINT64_C(1) << 40, true) >> 40, 1);
}

static void test_remove(void **state)
{
    static uint8_t data[8 * PEER_CHUNK], back[8 * PEER_CHUNK];
    char command[256];
    uint64_t end;
    (void)state;
    fill(data, sizeof data, 7);
    assert_int_equal(peer_write(&peer, 5, 0, data, sizeof data), 0);
    assert_int_equal(peer_sync(&peer, 5), 0);
    assert_int_equal(remove_all(peer.to_shard, 5), -EACCES);
    assert_int_equal(remove_all(peer.manager_to_shard, 5), 0);
    assert_int_equal(remove_all(peer.manager_to_shard, 5), 0);
    assert_int_equal(peer_end(&peer, 5, &end), 0);
    assert_int_equal(end, 0);
    memset(data, 0, sizeof data);
    assert_int_equal(peer_read(&peer, 5, 0, back, sizeof back), 0);
    assert_memory_equal(data, back, sizeof data);
    snprintf(command, sizeof command, "test -z \"$(find %s/s0/t*/shard-* -type f)\"", peer.dir);
    if (peer_keeps_files())
        assert_int_equal(system(command), 0);
}

static int remove_list(const uint64_t *inos, uint32_t count)
{
    uint8_t list[LIMITS_REMOVES_MAX * 64];
    struct wire_writer writer = wire_writer_on(list, sizeof list);
    for (uint32_t i = 0; i < count; i++) {
        struct wire_capability capability = peer_capability(&peer, inos[i], 0);
        wire_put_capability(&writer, &capability);
    }
    struct wire_object_remove request = {.map_version = peer.map->version,
                                         .files = wire_list_of(&writer, count)};
    ssize_t length = wire_encode_object_remove(body, sizeof body, &request);
    assert_true(length > 0);
    memset(&answer, 0, sizeof answer);
    peer_call(&peer, peer.manager_to_shard[0], WIRE_OP_object_remove, body, (size_t)length, NULL, 0, &answer);
    return answer.status;
}

/* Files that are not there are removed as well; a list without any is none. */
static void test_remove_many(void **state)
{
    enum { FILES = 5 };
    const uint64_t inos[FILES] = {21, 22, 23, 24, 22};
    struct wire_object_remove_reply reply;
    uint64_t end, at = peer_chunk_on(&peer, 0, 0, 0);
    struct wire_extent extent = {at, 100, 0};
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        struct wire_capability both = peer_capability(&peer, inos[i], WIRE_ACCESS_READ | WIRE_ACCESS_WRITE);
        assert_int_equal(io(WIRE_OP_write, &both, peer.map->version, &extent, 1, 0, 100), 0);
        assert_int_equal(peer_end(&peer, inos[i], &end), 0);
        assert_int_equal(end, at + 100);
    }
    assert_int_equal(remove_list(inos, 0), -EBADMSG);
    assert_int_equal(remove_list(inos, FILES), 0);
    assert_int_equal(wire_decode_object_remove_reply(answer.body, answer.body_length, &reply), 0);
    assert_int_equal(reply.failed.count, 0);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(peer_end(&peer, inos[i], &end), 0);
        assert_int_equal(end, 0);
    }
}

/* The answer to a write that asks for it is what object_stat says afterwards; to another it is empty. */
static void test_writes_tell(void **state)
{
    struct wire_capability both = peer_capability(&peer, 31, WIRE_ACCESS_READ | WIRE_ACCESS_WRITE);
    struct wire_object_stat stat = {.capability = both, .map_version = peer.map->version};
    struct wire_object_stat_reply told, asked;
    uint64_t at = peer_chunk_on(&peer, 0, 0, 0);
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        uint8_t list[64];
        struct wire_writer writer = wire_writer_on(list, sizeof list);
        wire_put_extent(&writer, &(struct wire_extent){at, 100 + 1000 * i, 0});
        struct wire_write write = {.capability = both,
                                   .map_version = peer.map->version,
                                   .tell = i < 3,
                                   .extents = wire_list_of(&writer, 1)};
        ssize_t length = wire_encode_write(body, sizeof body, &write);
        assert_true(length > 0);
        memset(&answer, 0, sizeof answer);
        peer_call(&peer, peer.to_shard[0], WIRE_OP_write, body, (size_t)length, payload, 100 + 1000 * i,
                  &answer);
        assert_int_equal(answer.status, 0);
        if (i == 3) {
            assert_int_equal(answer.body_length, 0);
            continue;
        }
        assert_int_equal(wire_decode_object_stat_reply(answer.body, answer.body_length, &told), 0);
        length = wire_encode_object_stat(body, sizeof body, &stat);
        memset(&answer, 0, sizeof answer);
        peer_call(&peer, peer.to_shard[0], WIRE_OP_object_stat, body, (size_t)length, NULL, 0, &answer);
        assert_int_equal(answer.status, 0);
        assert_int_equal(wire_decode_object_stat_reply(answer.body, answer.body_length, &asked), 0);
        assert_int_equal(told.end, at + 100 + 1000 * i);
        assert_int_equal(told.end, asked.end);
        assert_int_equal(told.bytes, asked.bytes);
        assert_int_equal(told.mtime_ns, asked.mtime_ns);
    }
}

/* ---- maps --------------------------------------------------------------- */

static void test_older_map_is_answered_with_ours(void **state)
{
    struct wire_capability both = peer_capability(&peer, 9, WIRE_ACCESS_READ | WIRE_ACCESS_WRITE);
    uint64_t at = peer_chunk_on(&peer, 0, 0, 0), old = peer.map->version;
    struct wire_extent extent = {at, 100, 0};
    struct wire_error error;
    struct map *map;
    (void)state;
    /* A change that does not touch this server's groups is no reason to refuse. */
    peer_map_next(&peer);
    peer.map->servers[1].state = MAP_STATE_UP;
    peer_idle(&peer, 300);
    assert_int_equal(io(WIRE_OP_write, &both, old, &extent, 1, 0, 100), 0);
    /* Group 0 now has target 7 as well, which gets nothing yet. */
    peer_map_next(&peer);
    peer.map->groups[0] = (struct map_group){
        .member_count = 2, .members = {0, 2}, .states = {MAP_MEMBER_CURRENT, MAP_MEMBER_STALE}};
    peer_idle(&peer, 300);
    assert_int_equal(io(WIRE_OP_write, &both, old, &extent, 1, 0, 100), -ESTALE);
    assert_int_equal(wire_decode_error(answer.body, answer.body_length, &error), 0);
    assert_int_equal(map_decode(error.map.data, error.map.length, &map), 0);
    assert_int_equal(map->version, peer.map->version);
    map_unref(map);
    assert_int_equal(io(WIRE_OP_write, &both, peer.map->version, &extent, 1, 0, 100), 0);
    assert_int_equal(peer_counter(&peer, "requests_stale"), 1);
}

static void test_newer_map_is_waited_for(void **state)
{
    struct wire_capability both = peer_capability(&peer, 9, WIRE_ACCESS_READ | WIRE_ACCESS_WRITE);
    uint64_t at = peer_chunk_on(&peer, 0, 0, 0);
    struct wire_extent extent = {at, 100, 1};
    (void)state;
    /* The client knows already that group 0 moved to target 1. */
    peer_map_next(&peer);
    peer.map->groups[0] = (struct map_group){.member_count = 1, .members = {1}};
    assert_int_equal(io(WIRE_OP_write, &both, peer.map->version, &extent, 1, 0, 100), 0);
    /* A map that nobody has is a lie, which ends too. */
    extent.target = 0;
    assert_int_equal(io(WIRE_OP_write, &both, peer.map->version + 1000, &extent, 1, 0, 100), -EINVAL);
    assert_non_null(strstr(answer.text, "does not exist"));
}

/* ---- ends --------------------------------------------------------------- */

static void test_synced_data_survives_kill(void **state)
{
    enum { LENGTH = 16 * PEER_CHUNK };
    static uint8_t data[LENGTH], back[LENGTH];
    (void)state;
    fill(data, LENGTH, 8);
    assert_int_equal(peer_write(&peer, 5, 0, data, LENGTH), 0);
    assert_int_equal(peer_sync(&peer, 5), 0);
    assert_int_equal(peer_write(&peer, 6, 0, data, LENGTH), 0);
    int status = peer_signal(&peer, SIGKILL);
    assert_true(WIFSIGNALED(status));
    peer_start(&peer);
    blank_elsewhere(data, LENGTH, 0);
    assert_int_equal(peer_read(&peer, 5, 0, back, LENGTH), 0);
    assert_memory_equal(data, back, LENGTH);
    /* Only the process died, so what the kernel had is there, too; the chunk store finds its last commit. */
    if (!peer_keeps_files())
        return;
    assert_int_equal(peer_read(&peer, 6, 0, back, LENGTH), 0);
    assert_memory_equal(data, back, LENGTH);
}

static void test_clean_end(void **state)
{
    uint8_t byte = 1;
    (void)state;
    assert_int_equal(peer_write(&peer, 5, peer_chunk_on(&peer, 0, 0, 0), &byte, 1), 0);
    uint64_t start = rpc_now_ns();
    assert_int_equal(peer_signal(&peer, SIGTERM), 0);
    assert_true(rpc_now_ns() - start < UINT64_C(4000000000));
    /* What was dirty was synced on the way: no file has its first name any more. */
    char command[512];
    if (!peer_keeps_files()) {
        uint8_t back = 0;
        peer_start(&peer);
        assert_int_equal(peer_read(&peer, 5, peer_chunk_on(&peer, 0, 0, 0), &back, 1), 0);
        assert_int_equal(back, 1);
        return;
    }
    snprintf(command, sizeof command,
             "test -n \"$(find %s/s0 -name '*.0' -o -name '*.1' -o -name '*.2')\" && "
             "test -z \"$(find %s/s0 -name '*.new')\"",
             peer.dir, peer.dir);
    assert_int_equal(system(command), 0);
}

static unsigned stream_ended;

static void stream_done(struct rpc_call *call)
{
    (void)call;
    stream_ended++;
}

/* Requests that come while it ends are left to the server that follows. */
static void test_clean_end_under_load(void **state)
{
    enum { CALLS = 200 };
    static struct rpc_call calls[CALLS];
    struct wire_capability both = peer_capability(&peer, 9, WIRE_ACCESS_READ | WIRE_ACCESS_WRITE);
    struct wire_extent extent = {peer_chunk_on(&peer, 0, 0, 0), PEER_CHUNK, 0};
    size_t length = peer_encode_io(WIRE_OP_write, &both, peer.map->version, &extent, 1, body, sizeof body);
    struct iovec iov = {payload, PEER_CHUNK};
    (void)state;
    stream_ended = 0;
    for (unsigned i = 0; i < CALLS; i++) {
        calls[i] = (struct rpc_call){.operation = WIRE_OP_write,
                                     .body = body,
                                     .body_length = (uint32_t)length,
                                     .payload = &iov,
                                     .payload_count = 1,
                                     .deadline_ms = 5000,
                                     .done = stream_done};
        assert_int_equal(rpc_call_start(peer.to_shard[0], &calls[i]), 0);
    }
    while (stream_ended < 20)
        peer_idle(&peer, 1);
    uint64_t start = rpc_now_ns();
    assert_int_equal(peer_signal(&peer, SIGTERM), 0);
    assert_true(rpc_now_ns() - start < UINT64_C(5000000000));
    while (stream_ended < CALLS)
        peer_idle(&peer, 10);
    assert_in_range(rpc_now_ns() - start, 0, UINT64_C(8000000000));
}

static void test_second_server_is_refused(void **state)
{
    char text[4096];
    (void)state;
    int status = peer_run(&peer, text, sizeof text);
    assert_int_equal(WEXITSTATUS(status), 1);
    assert_non_null(strstr(text, "is in use by another process"));
}

/* ---- load --------------------------------------------------------------- */

static unsigned reads_done;

static void read_done(struct rpc_call *call)
{
    assert_int_equal(call->status, 0);
    assert_int_equal(call->reply_payload_length, LIMITS_IO_BYTES_MAX);
    reads_done++;
}

static void *read_place(struct rpc_call *call, const void *reply, uint32_t reply_length, uint64_t length)
{
    (void)call, (void)reply, (void)reply_length, (void)length;
    return payload;
}

/* The shard's pool has room for two payloads of this size; the rest stand in line. */
static void test_more_readers_than_buffers(void **state)
{
    enum { EXTENTS = LIMITS_IO_BYTES_MAX / PEER_CHUNK, CALLS = 12 };
    static struct wire_extent extents[EXTENTS];
    struct wire_capability both = peer_capability(&peer, 9, WIRE_ACCESS_READ | WIRE_ACCESS_WRITE);
    struct rpc_call calls[CALLS];
    uint64_t at = 0;
    (void)state;
    for (uint32_t i = 0; i < EXTENTS; i++) {
        at = peer_chunk_on(&peer, 0, 0, at);
        extents[i] = (struct wire_extent){at, PEER_CHUNK, 0};
        at += PEER_CHUNK;
    }
    fill(payload, LIMITS_IO_BYTES_MAX, 9);
    assert_int_equal(io(WIRE_OP_write, &both, peer.map->version, extents, EXTENTS, 0, LIMITS_IO_BYTES_MAX),
                     0);
    size_t length =
        peer_encode_io(WIRE_OP_read, &both, peer.map->version, extents, EXTENTS, body, sizeof body);
    reads_done = 0;
    for (unsigned i = 0; i < CALLS; i++) {
        calls[i] = (struct rpc_call){.operation = WIRE_OP_read,
                                     .body = body,
                                     .body_length = (uint32_t)length,
                                     .deadline_ms = 20000,
                                     .done = read_done,
                                     .place = read_place};
        assert_int_equal(rpc_call_start(peer.to_shard[0], &calls[i]), 0);
    }
    for (uint64_t end = rpc_now_ns() + UINT64_C(20000000000); reads_done < CALLS && rpc_now_ns() < end;)
        peer_idle(&peer, 5);
    assert_int_equal(reads_done, CALLS);
    assert_true(peer_counter(&peer, "buffer_waits") > 0);
}

static uint64_t cpu_ticks(pid_t pid)
{
    char path[64], text[1024];
    unsigned long user = 0, system = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t length = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[length] = 0;
    const char *behind = strrchr(text, ')');
    assert_int_equal(sscanf(behind, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system),
                     2);
    return user + system;
}

static void test_idle_uses_no_cpu(void **state)
{
    uint8_t byte = 1;
    (void)state;
    if (peer_is_slow())
        skip();
    assert_int_equal(peer_write(&peer, 5, peer_chunk_on(&peer, 0, 0, 0), &byte, 1), 0);
    peer_idle(&peer, 200);
    uint64_t before = cpu_ticks(peer.pid);
    peer_idle(&peer, 2000);
    /* 20 heartbeats and their answers; a loop that spins takes 200 ticks. */
    assert_in_range(cpu_ticks(peer.pid) - before, 0, 6);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_registers),
        TEST(test_registers_again_when_forgotten),
        TEST(test_refused_registration_ends_the_server),
        TEST(test_other_cluster_is_refused),
        TEST(test_another_cluster_is_left),
        TEST(test_an_empty_directory_for_a_known_target_is_refused),
        TEST(test_write_then_read),
        TEST(test_end_is_exact),
        TEST(test_many_extents_in_one_request),
        TEST(test_adjacent_extents_are_one_access),
        TEST(test_short_reads_tell_what_is_present),
        TEST(test_wrong_requests_are_refused),
        TEST(test_nonsense_bodies_are_refused),
        TEST(test_truncate),
        TEST(test_holes),
        TEST(test_remove),
        TEST(test_remove_many),
        TEST(test_writes_tell),
        TEST(test_older_map_is_answered_with_ours),
        TEST(test_newer_map_is_waited_for),
        TEST(test_synced_data_survives_kill),
        TEST(test_clean_end),
        TEST(test_clean_end_under_load),
        TEST(test_second_server_is_refused),
        TEST(test_more_readers_than_buffers),
        TEST(test_idle_uses_no_cpu),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

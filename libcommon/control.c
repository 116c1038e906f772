/* SPDX-License-Identifier: Apache-2.0 */
#include "control.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "err.h"
#include "permission.h"
#include "weft_limits.h"

enum frame_type { FRAME_HELLO = 1, FRAME_CHALLENGE, FRAME_PROOF, FRAME_WELCOME, FRAME_REFUSAL };

#define FRAME_HEADER_BYTES 5u
/* What a peer may send before it has proved anything. */
#define FRAME_UNPROVED_MAX 16384u

/* ---- addresses -------------------------------------------------------------- */

/* Splits "host:port" or "[v6]:port" and looks it up. */
static int address_resolve(const char *address, bool passive, struct addrinfo **info)
{
    char host[LIMITS_ADDRESS_MAX + 1];
    const char *colon = strrchr(address, ':');
    if (!colon || colon == address || strlen(address) > LIMITS_ADDRESS_MAX)
        return err_set(-EINVAL, "'%s' is no address; write host:port", address);
    size_t length = (size_t)(colon - address);
    const char *start = address;
    if (start[0] == '[' && start[length - 1] == ']') {
        start++;
        length -= 2;
    }
    memcpy(host, start, length);
    host[length] = 0;
    struct addrinfo hints = {
        .ai_socktype = SOCK_STREAM,
        .ai_flags = AI_NUMERICSERV | (passive ? AI_PASSIVE : 0),
    };
    int status = getaddrinfo(host, colon + 1, &hints, info);
    if (status)
        return err_set(-EHOSTUNREACH, "can't resolve '%s': %s", address, gai_strerror(status));
    return 0;
}

static void address_format(const struct sockaddr *address, socklen_t length,
                           char text[LIMITS_ADDRESS_MAX + 1])
{
    char host[NI_MAXHOST], port[NI_MAXSERV];
    if (getnameinfo(address, length, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV))
        snprintf(text, LIMITS_ADDRESS_MAX + 1, "unknown");
    else
        snprintf(text, LIMITS_ADDRESS_MAX + 1, strchr(host, ':') ? "[%.200s]:%.20s" : "%.200s:%.20s", host,
                 port);
}

int control_listen(const char *address, char bound[LIMITS_ADDRESS_MAX + 1])
{
    struct addrinfo *info;
    int error = address_resolve(address, true, &info);
    if (error)
        return error;
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        error = err_sys("making a socket for %s", address);
        goto out;
    }
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, info->ai_addr, info->ai_addrlen) || listen(fd, 1024)) {
        error = err_sys("listening on %s", address);
        close(fd);
        goto out;
    }
    struct sockaddr_storage real;
    socklen_t length = sizeof real;
    getsockname(fd, (struct sockaddr *)&real, &length);
    address_format((struct sockaddr *)&real, length, bound);
    error = fd;
out:
    freeaddrinfo(info);
    return error;
}

int control_host_identity(uint8_t host[16])
{
    /* What two processes must share to reach each other by shared memory: its names (ipc), the numbers that
     * one reads the other's memory by (pid), and the sockets by which UCX wakes a sleeper, whose names belong
     * to the network's namespace: without that, messages arrive and nobody looks. */
    static const char *const namespaces[] = {"/proc/self/ns/ipc", "/proc/self/ns/pid", "/proc/self/ns/net"};
    char text[256] = "";
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (!file)
        return err_sys("opening /proc/sys/kernel/random/boot_id");
    size_t length = fread(text, 1, 64, file);
    fclose(file);
    for (size_t i = 0; i < sizeof namespaces / sizeof namespaces[0]; i++) {
        ssize_t more = readlink(namespaces[i], text + length, 64);
        length += more > 0 ? (size_t)more : 0; /* a kernel without such has one for all */
    }
    crypto_generichash(host, 16, (const unsigned char *)text, length, NULL, 0);
    return 0;
}

/* ---- frames -------------------------------------------------------------------- */

/* Room for one frame at the end of `out`; NULL when memory is out. */
static struct wire_writer frame_begin(struct control *control, size_t size)
{
    uint8_t *grown = realloc(control->out, control->out_length + FRAME_HEADER_BYTES + size);
    if (!grown) {
        struct wire_writer none = {.bad = true};
        return none;
    }
    control->out = grown;
    return wire_writer_on(grown + control->out_length + FRAME_HEADER_BYTES, size);
}

static int frame_end(struct control *control, enum frame_type type, const struct wire_writer *writer)
{
    ssize_t length = wire_written(writer);
    if (length < 0)
        return (int)length;
    uint8_t *header = control->out + control->out_length;
    for (unsigned i = 0; i < 4; i++)
        header[i] = (uint8_t)((size_t)length >> (8 * i));
    header[4] = (uint8_t)type;
    control->out_length += FRAME_HEADER_BYTES + (size_t)length;
    return 0;
}

static int flush(struct control *control)
{
    while (control->out_sent < control->out_length) {
        ssize_t sent = send(control->fd, control->out + control->out_sent,
                            control->out_length - control->out_sent, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno == EAGAIN)
            return 0;
        if (sent < 0)
            return err_sys("sending to %s", control->peer_name);
        control->out_sent += (size_t)sent;
    }
    control->out_length = control->out_sent = 0;
    return 0;
}

/* ---- proofs -------------------------------------------------------------------------- */

/* Keyed hash over who proves, both nonces, and what was said. */
static void prove(const struct control *control, const char *who, const void *said, size_t said_length,
                  struct wire_mac *proof)
{
    crypto_generichash_state state;
    crypto_generichash_init(&state, control->key, CONF_KEY_BYTES, WIRE_MAC_BYTES);
    crypto_generichash_update(&state, (const unsigned char *)who, strlen(who));
    crypto_generichash_update(&state, control->nonce_client.bytes, WIRE_MAC_BYTES);
    crypto_generichash_update(&state, control->nonce_server.bytes, WIRE_MAC_BYTES);
    crypto_generichash_update(&state, control->hello_hash, sizeof control->hello_hash);
    if (said_length)
        crypto_generichash_update(&state, said, said_length);
    crypto_generichash_final(&state, proof->bytes, WIRE_MAC_BYTES);
}

static void hello_hash(struct control *control, const void *hello, size_t length)
{
    crypto_generichash(control->hello_hash, sizeof control->hello_hash, hello, length, NULL, 0);
}

/* Proof and welcome are proved as they are encoded, with the proof itself as zeros. */
static int proof_prove(const struct control *control, const struct wire_proof *proof, struct wire_mac *mac)
{
    struct wire_proof unproved = *proof;
    size_t size = 64 + strlen(proof->transport) + proof->address.length;
    uint8_t *buffer = malloc(size);
    if (!buffer)
        return err_set(-ENOMEM, "out of memory for a handshake");
    memset(&unproved.proof, 0, sizeof unproved.proof);
    ssize_t length = wire_encode_proof(buffer, size, &unproved);
    if (length >= 0)
        prove(control, "weft client", buffer, (size_t)length, mac);
    free(buffer);
    return length < 0 ? (int)length : 0;
}

static int welcome_prove(const struct control *control, const struct wire_welcome *welcome,
                         struct wire_mac *proof)
{
    struct wire_welcome unproved = *welcome;
    size_t size = 256 + welcome->address.length + welcome->greeting.length;
    uint8_t *buffer = malloc(size);
    if (!buffer)
        return err_set(-ENOMEM, "out of memory for a handshake");
    memset(&unproved.proof, 0, sizeof unproved.proof);
    ssize_t length = wire_encode_welcome(buffer, size, &unproved);
    if (length >= 0)
        prove(control, "weft server", buffer, (size_t)length, proof);
    free(buffer);
    return length < 0 ? (int)length : 0;
}

/* ---- the client's side ------------------------------------------------------------------ */

static int say_hello(struct control *control)
{
    const struct control_self *self = control->self;
    uint32_t groups[LIMITS_CALLER_GROUPS_MAX];
    uint8_t list[sizeof groups];
    struct permission_caller caller;
    permission_caller_take(&caller, groups);
    struct wire_writer list_writer = wire_writer_on(list, sizeof list);
    for (uint32_t i = 0; i < caller.group_count; i++)
        wire_put_group_number(&list_writer, &(struct wire_group_number){.gid = groups[i]});
    struct wire_hello hello = {
        .magic = WIRE_MAGIC,
        .version = LIMITS_PROTOCOL_VERSION,
        .fingerprint = limits_fingerprint(),
        .nonce = control->nonce_client,
        .token = control->token_in,
        .role = self->role,
        .uid = caller.uid,
        .gid = caller.gid,
        .groups = wire_list_of(&list_writer, caller.group_count),
        .name = self->name,
        .transports = self->transports,
    };
    memcpy(hello.client.bytes, self->client, WIRE_MAC_BYTES);
    memcpy(hello.host.bytes, self->host, WIRE_MAC_BYTES);
    struct wire_writer writer = frame_begin(control, 1024 + sizeof list);
    wire_put_hello(&writer, &hello);
    int error = frame_end(control, FRAME_HELLO, &writer);
    if (!error)
        hello_hash(control, writer.start, (size_t)(writer.at - writer.start));
    return error;
}

static int challenge_came(struct control *control, const uint8_t *data, size_t length)
{
    struct wire_challenge challenge;
    struct wire_proof proof;
    struct wire_reader reader = wire_reader_on(data, length);
    wire_get_challenge(&reader, &challenge);
    int error = wire_read_all(&reader, "challenge");
    if (error)
        return error;
    control->nonce_server = challenge.nonce;
    error = control->self->transport(control->self->arg, challenge.transports, &control->transport);
    if (error)
        return error;
    proof.transport = control->transport.name;
    proof.address =
        (struct wire_bytes){control->transport.address, (uint32_t)control->transport.address_length};
    error = proof_prove(control, &proof, &proof.proof);
    if (error)
        return error;
    struct wire_writer writer = frame_begin(control, 64 + proof.address.length);
    wire_put_proof(&writer, &proof);
    control->state = CONTROL_PROOF;
    return frame_end(control, FRAME_PROOF, &writer);
}

static int welcome_came(struct control *control, const uint8_t *data, size_t length)
{
    struct wire_mac proof;
    int error = wire_decode_welcome(data, length, &control->welcome);
    if (!error)
        error = welcome_prove(control, &control->welcome, &proof);
    if (error)
        return error;
    if (sodium_memcmp(proof.bytes, control->welcome.proof.bytes, WIRE_MAC_BYTES))
        return err_set(-EACCES, "%s does not know this cluster's key: is it of another cluster?",
                       control->peer_name);
    control->token_out = control->welcome.token;
    control->same_host = !memcmp(control->welcome.host.bytes, control->self->host, WIRE_MAC_BYTES);
    control->state = CONTROL_OPEN;
    return 0;
}

static int refusal_came(struct control *control, const uint8_t *data, size_t length)
{
    struct wire_refusal refusal;
    int error = wire_decode_refusal(data, length, &refusal);
    if (error)
        return error;
    error = err_from_wire((int)refusal.status);
    return err_set(error ? error : -EPROTO, "%s refused the connection: %s", control->peer_name,
                   refusal.text);
}

/* Whether a list of names has one of another list. */
bool control_transports_meet(const char *names, const char *others)
{
    while (*names) {
        size_t length = strcspn(names, ",");
        for (const char *other = others; *other;) {
            size_t other_length = strcspn(other, ",");
            if (length == other_length && !strncmp(names, other, length))
                return true;
            other += other_length + (other[other_length] == ',');
        }
        names += length + (names[length] == ',');
    }
    return false;
}

/* ---- the server's side ----------------------------------------------------------------------- */

static int refuse(struct control *control, int error)
{
    struct wire_refusal refusal = {.status = (uint32_t)-error, .text = err_text()};
    struct wire_writer writer = frame_begin(control, 64 + LIMITS_ERROR_TEXT_MAX);
    wire_put_refusal(&writer, &refusal);
    if (!frame_end(control, FRAME_REFUSAL, &writer))
        flush(control);
    return error;
}

static int hello_check(struct control *control)
{
    const struct wire_hello *hello = &control->hello;
    if (hello->magic != WIRE_MAGIC)
        return err_set(-EPROTO, "the peer does not speak Weft's protocol");
    if (hello->version != LIMITS_PROTOCOL_VERSION || hello->fingerprint != limits_fingerprint())
        return err_set(-EPROTO,
                       "the peer speaks protocol %u (limits %016llx), this server %u (%016llx): "
                       "install the same version of Weft on both",
                       hello->version, (unsigned long long)hello->fingerprint, LIMITS_PROTOCOL_VERSION,
                       (unsigned long long)limits_fingerprint());
    if (!control_transports_meet(hello->transports, control->self->transports))
        return err_set(-EPROTO, "the peer has transport %s, this server %s: see `transport` in weft.conf(5)",
                       hello->transports, control->self->transports);
    return 0;
}

/* Looked at first: all that follows may differ. Magic and version stand where they always stood. */
static int version_check(const uint8_t *data, size_t length)
{
    struct wire_reader reader = wire_reader_on(data, length);
    struct wire_number magic, version;
    wire_get_number(&reader, &magic);
    wire_get_number(&reader, &version);
    if (reader.bad || magic.value != WIRE_MAGIC || version.value == LIMITS_PROTOCOL_VERSION)
        return 0; /* or to be told apart later */
    return err_set(-EPROTO,
                   "the peer speaks protocol %u, this server %u: install the same version of Weft on both",
                   version.value, LIMITS_PROTOCOL_VERSION);
}

static int hello_came(struct control *control, const uint8_t *data, size_t length)
{
    struct wire_challenge challenge;
    control->hello_copy = malloc(length);
    if (!control->hello_copy)
        return err_set(-ENOMEM, "out of memory for a handshake");
    memcpy(control->hello_copy, data, length);
    int error = version_check(data, length);
    if (error)
        return refuse(control, error);
    error = wire_decode_hello(control->hello_copy, length, &control->hello);
    if (error)
        return error;
    error = hello_check(control);
    if (error)
        return refuse(control, error);
    snprintf(control->peer_name + strlen(control->peer_name),
             sizeof control->peer_name - strlen(control->peer_name), " (%.40s)", control->hello.name);
    hello_hash(control, data, length);
    control->nonce_client = control->hello.nonce;
    randombytes_buf(control->nonce_server.bytes, WIRE_MAC_BYTES);
    challenge.nonce = control->nonce_server;
    challenge.transports = control->self->transports;
    struct wire_writer writer = frame_begin(control, 64);
    wire_put_challenge(&writer, &challenge);
    control->state = CONTROL_PROOF;
    return frame_end(control, FRAME_CHALLENGE, &writer);
}

static int say_welcome(struct control *control)
{
    const struct control_self *self = control->self;
    struct wire_welcome welcome = {
        .token = control->token_in,
        .credit_requests = control->credit_requests,
        .credit_bytes = control->credit_bytes,
        .address = {control->transport.address, (uint32_t)control->transport.address_length},
    };
    if (control->greeting)
        welcome.greeting = control->greeting(control->greeting_arg);
    memcpy(welcome.host.bytes, self->host, WIRE_MAC_BYTES);
    int error = welcome_prove(control, &welcome, &welcome.proof);
    if (error)
        return error;
    struct wire_writer writer = frame_begin(control, 256 + welcome.address.length + welcome.greeting.length);
    wire_put_welcome(&writer, &welcome);
    return frame_end(control, FRAME_WELCOME, &writer);
}

static int proof_came(struct control *control, const uint8_t *data, size_t length)
{
    struct wire_mac expected;
    int error = wire_decode_proof(data, length, &control->proof);
    if (!error)
        error = proof_prove(control, &control->proof, &expected);
    if (error)
        return error;
    if (sodium_memcmp(expected.bytes, control->proof.proof.bytes, WIRE_MAC_BYTES))
        return refuse(control,
                      err_set(-EACCES, "the cluster key is wrong: is the key file of the configuration the "
                                       "one of this cluster?"));
    error = control->self->transport(control->self->arg, control->proof.transport, &control->transport);
    if (error)
        return refuse(control, error);
    control->token_out = control->hello.token;
    control->same_host = !memcmp(control->hello.host.bytes, control->self->host, WIRE_MAC_BYTES);
    error = say_welcome(control);
    if (!error)
        control->state = CONTROL_OPEN;
    return error;
}

/* ---- both -------------------------------------------------------------------------------------- */

static int frame_came(struct control *control, enum frame_type type, const uint8_t *data, size_t length)
{
    if (!control->is_server && type == FRAME_REFUSAL && control->state != CONTROL_OPEN)
        return refusal_came(control, data, length);
    switch (control->state) {
    case CONTROL_HELLO:
        if (control->is_server && type == FRAME_HELLO)
            return hello_came(control, data, length);
        if (!control->is_server && type == FRAME_CHALLENGE)
            return challenge_came(control, data, length);
        break;
    case CONTROL_PROOF:
        if (control->is_server && type == FRAME_PROOF)
            return proof_came(control, data, length);
        if (!control->is_server && type == FRAME_WELCOME)
            return welcome_came(control, data, length);
        break;
    default:
        break;
    }
    return err_set(-EPROTO, "%s sent a control frame of type %u out of turn", control->peer_name,
                   (unsigned)type);
}

/* The bound on the next frame: small until the other has proved itself. */
static size_t frame_max(const struct control *control)
{
    if (!control->is_server && control->state == CONTROL_PROOF)
        return LIMITS_CONTROL_FRAME_MAX;
    return control->state == CONTROL_OPEN ? 0 : FRAME_UNPROVED_MAX;
}

/* Reads until one frame is whole; 1 with it handled, 0 when more is to come. */
static int frame_read(struct control *control)
{
    size_t wanted = FRAME_HEADER_BYTES;
    for (;;) {
        if (control->in_length >= FRAME_HEADER_BYTES) {
            uint32_t length = 0;
            for (unsigned i = 0; i < 4; i++)
                length |= (uint32_t)control->in[i] << (8 * i);
            if (length > frame_max(control))
                return err_set(-EPROTO, "%s sent bytes that are no control frame", control->peer_name);
            wanted = FRAME_HEADER_BYTES + length;
            if (control->in_length == wanted) {
                /* Taken over first: what the frame says may point into it. */
                int error = frame_came(control, control->in[4], control->in + FRAME_HEADER_BYTES, length);
                if (control->state != CONTROL_OPEN)
                    control->in_length = 0;
                return error ? error : 1;
            }
        }
        if (wanted > control->in_size) {
            uint8_t *grown = realloc(control->in, wanted);
            if (!grown)
                return err_set(-ENOMEM, "out of memory for a handshake");
            control->in = grown;
            control->in_size = wanted;
        }
        ssize_t got = recv(control->fd, control->in + control->in_length, wanted - control->in_length, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && errno == EAGAIN)
            return 0;
        if (got < 0)
            return err_sys("receiving from %s", control->peer_name);
        if (got == 0)
            return err_set(-ECONNRESET, "%s closed the connection", control->peer_name);
        control->in_length += (size_t)got;
    }
}

/* An open connection says nothing more: only its end is of interest. */
static int watch_end(struct control *control)
{
    uint8_t byte;
    ssize_t got = recv(control->fd, &byte, 1, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (got < 0)
        return err_sys("the connection with %s", control->peer_name);
    if (got == 0)
        return err_set(-ECONNRESET, "%s closed the connection", control->peer_name);
    return err_set(-EPROTO, "%s sent bytes on an open control socket", control->peer_name);
}

static int finish_dial(struct control *control)
{
    int problem = 0;
    socklen_t length = sizeof problem;
    struct sockaddr_storage peer;
    socklen_t peer_length = sizeof peer;
    getsockopt(control->fd, SOL_SOCKET, SO_ERROR, &problem, &length);
    if (problem)
        return err_set(-problem, "connecting to %s: %s", control->peer_name, err_name(-problem));
    if (getpeername(control->fd, (struct sockaddr *)&peer, &peer_length))
        return 0; /* not yet */
    control->state = CONTROL_HELLO;
    return say_hello(control);
}

int control_progress(struct control *control)
{
    int error = 0;
    if (control->state == CONTROL_CONNECTING)
        error = finish_dial(control);
    while (!error && control->state != CONTROL_CONNECTING && control->state != CONTROL_OPEN) {
        error = flush(control);
        if (error)
            break;
        int got = frame_read(control);
        if (got <= 0) {
            error = got;
            break;
        }
    }
    if (!error)
        error = flush(control);
    if (!error && control->state == CONTROL_OPEN)
        error = watch_end(control);
    return error;
}

bool control_wants_write(const struct control *control)
{
    return control->state == CONTROL_CONNECTING || control->out_sent < control->out_length;
}

static void start(struct control *control, int fd, const uint8_t *key, const struct control_self *self,
                  uint64_t token, uint64_t deadline_ns)
{
    int on = 1;
    memset(control, 0, sizeof *control);
    control->fd = fd;
    control->key = key;
    control->self = self;
    control->token_in = token;
    control->deadline_ns = deadline_ns;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    int idle_s = 5, interval_s = 5, count = 3, user_timeout_ms = 20000;
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout_ms, sizeof user_timeout_ms);
}

int control_dial(struct control *control, const char *address, const uint8_t *key,
                 const struct control_self *self, uint64_t token, uint64_t deadline_ns)
{
    struct addrinfo *info;
    int error = address_resolve(address, false, &info);
    if (error)
        return error;
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        error = err_sys("making a socket for %s", address);
        goto out;
    }
    if (connect(fd, info->ai_addr, info->ai_addrlen) && errno != EINPROGRESS) {
        error = err_sys("connecting to %s", address);
        close(fd);
        goto out;
    }
    start(control, fd, key, self, token, deadline_ns);
    snprintf(control->peer_name, sizeof control->peer_name, "%.64s", address);
    randombytes_buf(control->nonce_client.bytes, WIRE_MAC_BYTES);
    control->state = CONTROL_CONNECTING;
out:
    freeaddrinfo(info);
    return error;
}

void control_accept(struct control *control, int fd, const uint8_t *key, const struct control_self *self,
                    uint64_t token, uint64_t deadline_ns)
{
    char name[LIMITS_ADDRESS_MAX + 1] = "";
    struct sockaddr_storage peer;
    socklen_t length = sizeof peer;
    start(control, fd, key, self, token, deadline_ns);
    control->is_server = true;
    control->state = CONTROL_HELLO;
    if (!getpeername(fd, (struct sockaddr *)&peer, &length))
        address_format((struct sockaddr *)&peer, length, name);
    snprintf(control->peer_name, sizeof control->peer_name, "%.60s", name);
}

void control_close(struct control *control)
{
    if (control->fd >= 0)
        close(control->fd);
    control->fd = -1;
    free(control->in);
    free(control->out);
    free(control->hello_copy);
    control->in = control->out = control->hello_copy = NULL;
}

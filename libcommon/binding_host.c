/* SPDX-License-Identifier: Apache-2.0 */
#include "binding.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "topology_host.h"

bool binding_same_host(const char *a, const char *b)
{
    const char *end_a = strrchr(a, ':'), *end_b = strrchr(b, ':');
    return end_a && end_b && end_a - a == end_b - b && memcmp(a, b, (size_t)(end_a - a)) == 0;
}

bool binding_is_loopback(const char *address)
{
    return !strncmp(address, "127.", 4) || !strncmp(address, "localhost:", 10) ||
           !strncmp(address, "[::1]:", 6);
}

/* ---- this machine's addresses ------------------------------------------------ */

static bool same_address(const struct sockaddr *a, const struct sockaddr *b)
{
    if (!a || !b || a->sa_family != b->sa_family)
        return false;
    if (a->sa_family == AF_INET)
        return ((const struct sockaddr_in *)a)->sin_addr.s_addr ==
               ((const struct sockaddr_in *)b)->sin_addr.s_addr;
    return a->sa_family == AF_INET6 &&
           memcmp(&((const struct sockaddr_in6 *)a)->sin6_addr, &((const struct sockaddr_in6 *)b)->sin6_addr,
                  sizeof(struct in6_addr)) == 0;
}

static bool find_interface(const struct addrinfo *addresses, char *name, size_t size)
{
    struct ifaddrs *all, *at;
    if (getifaddrs(&all))
        return false;
    for (at = all; at; at = at->ifa_next) {
        const struct addrinfo *address = addresses;
        while (address && !same_address(address->ai_addr, at->ifa_addr))
            address = address->ai_next;
        if (address)
            break;
    }
    if (at)
        snprintf(name, size, "%s", at->ifa_name);
    freeifaddrs(all);
    return at;
}

static bool interface_of(const char *listen, char *name, size_t size)
{
    char host[LIMITS_ADDRESS_MAX + 1];
    const char *colon = strrchr(listen, ':');
    if (!colon)
        return false;
    snprintf(host, sizeof host, "%.*s", (int)(colon - listen), listen);
    char *start = host;
    if (*start == '[' && strchr(start, ']')) { /* an IPv6 address */
        *strchr(start, ']') = 0;
        start++;
    }
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *addresses;
    if (getaddrinfo(start, NULL, &hints, &addresses))
        return false;
    bool is_found = find_interface(addresses, name, size);
    freeaddrinfo(addresses);
    return is_found;
}

bool binding_is_here(const char *address)
{
    char name[64];
    return binding_is_loopback(address) || interface_of(address, name, sizeof name);
}

static bool disk_of(const char *dir, char *name, size_t size)
{
    return topology_host_disk("", dir, name, size);
}

static void interfaces(char *names, size_t size)
{
    size_t length = 0;
    struct if_nameindex *all = if_nameindex();
    names[0] = 0;
    for (struct if_nameindex *at = all; at && at->if_index && length < size; at++)
        length += (size_t)snprintf(names + length, size - length, "%s%s", length ? "," : "", at->if_name);
    if (all)
        if_freenameindex(all);
}

const struct binding_lookup binding_lookup_here = {
    .disk = disk_of, .interface = interface_of, .interfaces = interfaces};

/* SPDX-License-Identifier: Apache-2.0 */
/* A plan as text. */
#include "plan.h"

#include <string.h>

static const char *level_name(enum placement_level level)
{
    static const char *const names[PLACEMENT_LEVELS] = {"targets", "hosts", "chassis", "racks"};
    return names[level];
}

const char *plan_target_name(const struct plan *plan, uint32_t target, char text[300])
{
    uint32_t first = target;
    while (first > 0 && plan->targets[first - 1].host == plan->targets[target].host)
        first--;
    snprintf(text, 300, "%.255s:%u", plan->outline.hosts[plan->targets[target].host].name, target - first);
    return text;
}

static void show_size(const struct plan *plan)
{
    char all[FORMAT_BYTES], usable[FORMAT_BYTES], lost[FORMAT_BYTES];
    const struct outline *outline = &plan->outline;
    const struct placement_figures *f = &plan->figures;
    printf("%u targets on %u host%s", plan->target_count, outline->host_count,
           outline->host_count == 1 ? "" : "s");
    if (outline->knows_chassis)
        printf(", %u chassis", outline->chassis.count);
    if (outline->knows_racks)
        printf(", %u rack%s", outline->racks.count, outline->racks.count == 1 ? "" : "s");
    printf("; %s, of which %s for files\n", format_bytes(all, f->capacity),
           format_bytes(usable, plan_usable(plan)));
    printf("%u groups of %u, on different %s; any %u of a group may be lost\n", plan->table.group_count,
           plan->wanted.members, level_name(plan->wanted.level), plan->parity);
    if (f->domains_capped)
        printf(
            "%u of the %s %s more than 1/%u of all; %s can't be used: a group takes one member from each\n",
            f->domains_capped, level_name(plan->wanted.level), f->domains_capped == 1 ? "has" : "have",
            plan->wanted.members, format_bytes(lost, f->capacity_lost));
}

static void show_quality(const struct plan *plan)
{
    const struct placement_figures *f = &plan->figures;
    char name[300], bound[FORMAT_BYTES + 16] = "";
    printf("\nBalance\n");
    printf("  groups of a target       %.1f (%u to %u)\n", f->slots_mean, f->slots_least, f->slots_most);
    printf("  above an even share      %.2f%% at most%s\n", 100 * f->overload,
           f->overload > 0.02 && f->even ? "; more groups would lower it" : "");
    printf("  leading                  %s\n",
           f->leads_over ? "uneven" : "each its part of its groups, rounded up or down");
    if (plan->wanted.members == 1)
        return;
    printf("\nRecovery spread\n");
    printf("  of the ideal             %.1f%% at least (%s), %.1f%% in the mean\n", 100 * f->spread_least,
           plan_target_name(plan, f->spread_worst, name), 100 * f->spread_mean);
    printf("  others that take part    %u at least\n", f->partners_least);
    if (f->pairs_bound)
        snprintf(bound, sizeof bound, "; proved: %u at most", f->pairs_bound);
    printf("  two targets share        %u to %u groups%s\n", f->pairs_least, f->pairs_most, bound);
}

static void show_rate(const char *what, double disk, double network, double uplink)
{
    char text[FORMAT_BYTES];
    const char *names[] = {"disks", "hosts' networks", "racks' uplinks"};
    double rates[] = {disk, network, uplink}, least = 0;
    for (size_t i = 0; i < 3; i++)
        least = rates[i] > 0 && (least == 0 || rates[i] < least) ? rates[i] : least;
    if (least == 0)
        return;
    printf("  %-24s %s/s", what, format_bytes(text, (uint64_t)least));
    const char *before = " (";
    for (size_t i = 0; i < 3; i++) {
        if (rates[i] > 0) {
            printf("%s%s %s/s", before, names[i], format_bytes(text, (uint64_t)rates[i]));
            before = ", ";
        }
    }
    puts(")");
}

void plan_show(const struct plan *plan, const struct plan_rates *rates)
{
    show_size(plan);
    show_quality(plan);
    printf("\nBandwidth, at most\n");
    show_rate("reading", rates->read_disk, rates->read_network, rates->read_uplink);
    show_rate("writing", rates->write_disk, rates->write_network, rates->write_uplink);
    if (rates->read_disk == 0 && rates->read_network == 0 && rates->read_uplink == 0)
        puts("  not known: --disk, --network and --uplink, or the description, tell the rates");
    if (!plan->with_groups)
        return;
    printf("\nGroups\n");
    for (uint32_t g = 0; g < plan->table.group_count; g++) {
        char name[300];
        printf("%u", g);
        for (uint32_t i = 0; i < plan->wanted.members; i++)
            printf(" %s",
                   plan_target_name(plan, plan->table.ids[(size_t)g * plan->wanted.members + i], name));
        putchar('\n');
    }
}

void plan_show_loss(const struct plan *plan, const char *what, const struct plan_loss *loss)
{
    char bytes[FORMAT_BYTES], most[FORMAT_BYTES], time[FORMAT_BYTES], even[FORMAT_BYTES];
    printf("\nLoss of %s: %u target%s, %u groups lose a member\n", what, loss->lost_count,
           loss->lost_count == 1 ? "" : "s", loss->groups_hit);
    if (loss->groups_gone)
        printf("  DATA LOSS                %u groups lose more than %u\n", loss->groups_gone, plan->parity);
    printf("  to be rebuilt            %u members, %s when all is full\n", loss->members_rebuilt,
           format_bytes(bytes, (uint64_t)loss->bytes));
    printf("  read from                %u targets, %s at most from one\n", loss->readers,
           format_bytes(most, (uint64_t)loss->bytes_read_most));
    printf("  written to               %u targets\n", loss->writers);
    if (loss->seconds > 0)
        printf("  time                     %s, by the %s; %s if all disks had the same to do\n",
               format_duration(time, loss->seconds), loss->slowest,
               format_duration(even, loss->seconds_even));
    else
        puts("  time                     not known: --disk or the description tells the rates");
}

void plan_show_growth(const struct plan *plan, const struct plan_growth *growth)
{
    char bytes[FORMAT_BYTES];
    const struct placement_figures *f = &growth->figures;
    printf("\nGrowth by %u targets\n", growth->added);
    printf("  moved                    %u of %llu members, %s when all is full\n", growth->moves,
           (unsigned long long)plan->table.group_count * plan->wanted.members,
           format_bytes(bytes, plan->member_bytes * growth->moves));
    printf("  the least for balance    %u\n", growth->least);
    if (growth->table.group_count > plan->table.group_count)
        printf("  groups appended          %u, for the spread of recoveries\n",
               growth->table.group_count - plan->table.group_count);
    printf("  groups of a target       %.1f (%u to %u)\n", f->slots_mean, f->slots_least, f->slots_most);
    printf("  above an even share      %.2f%% at most\n", 100 * f->overload);
    printf("  recovery spread          %.1f%% at least, %.1f%% in the mean\n", 100 * f->spread_least,
           100 * f->spread_mean);
}

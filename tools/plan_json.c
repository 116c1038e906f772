/* SPDX-License-Identifier: Apache-2.0 */
/* A plan as JSON. */
#include "plan.h"

static void put(json_t *object, const char *name, uint64_t value)
{
    json_object_set_new(object, name, json_integer((json_int_t)value));
}

/* Not known is null. */
static void put_rate(json_t *object, const char *name, double value)
{
    json_object_set_new(object, name, value > 0 ? json_real(value) : json_null());
}

static json_t *figures_json(const struct placement_figures *f)
{
    return json_pack("{s:f, s:i, s:i, s:f, s:f, s:b, s:f, s:f, s:i, s:i, s:i, s:i}", "groups_per_target",
                     f->slots_mean, "groups_per_target_least", (int)f->slots_least, "groups_per_target_most",
                     (int)f->slots_most, "overload", f->overload, "underload", f->underload, "even",
                     (int)f->even, "spread_least", f->spread_least, "spread_mean", f->spread_mean,
                     "spread_worst_target", (int)f->spread_worst, "partners_least", (int)f->partners_least,
                     "shared_least", (int)f->pairs_least, "shared_most", (int)f->pairs_most);
}

static json_t *groups_json(const struct placement_table *table)
{
    json_t *groups = json_array();
    for (uint32_t g = 0; g < table->group_count; g++) {
        json_t *group = json_array();
        for (uint32_t i = 0; i < table->members; i++)
            json_array_append_new(group, json_integer(table->ids[(size_t)g * table->members + i]));
        json_array_append_new(groups, group);
    }
    return groups;
}

static json_t *targets_json(const struct plan *plan)
{
    json_t *targets = json_array();
    for (uint32_t t = 0; t < plan->target_count; t++) {
        const struct placement_target *target = &plan->targets[t];
        char name[300];
        json_t *json = json_pack("{s:i, s:o, s:I}", "id", (int)target->id, "name",
                                 format_json_text(plan_target_name(plan, t, name)), "capacity",
                                 (json_int_t)target->capacity);
        if (plan->outline.knows_chassis)
            json_object_set_new(json, "chassis",
                                format_json_text(plan->outline.chassis.items[target->chassis]));
        if (plan->outline.knows_racks)
            json_object_set_new(json, "rack", format_json_text(plan->outline.racks.items[target->rack]));
        json_array_append_new(targets, json);
    }
    return targets;
}

json_t *plan_json(const struct plan *plan, const struct plan_rates *rates)
{
    const struct placement_figures *f = &plan->figures;
    json_t *json = json_object(), *bandwidth = json_object();
    put(json, "targets", plan->target_count);
    put(json, "hosts", plan->outline.host_count);
    put(json, "racks", plan->outline.knows_racks ? plan->outline.racks.count : 0);
    put(json, "groups", plan->table.group_count);
    put(json, "members", plan->wanted.members);
    put(json, "parity", plan->parity);
    put(json, "domains", f->domain_count);
    put(json, "domains_capped", f->domains_capped);
    put(json, "bytes_total", f->capacity);
    put(json, "bytes_lost", f->capacity_lost);
    put(json, "bytes_usable", plan_usable(plan));
    put(json, "bytes_of_member", plan->member_bytes);
    put(json, "shared_proved", f->pairs_bound);
    json_object_set_new(json, "figures", figures_json(f));
    put_rate(bandwidth, "read_disk", rates->read_disk);
    put_rate(bandwidth, "read_network", rates->read_network);
    put_rate(bandwidth, "read_uplink", rates->read_uplink);
    put_rate(bandwidth, "write_disk", rates->write_disk);
    put_rate(bandwidth, "write_network", rates->write_network);
    put_rate(bandwidth, "write_uplink", rates->write_uplink);
    json_object_set_new(json, "bandwidth", bandwidth);
    if (plan->with_groups) {
        json_object_set_new(json, "target_list", targets_json(plan));
        json_object_set_new(json, "group_list", groups_json(&plan->table));
    }
    return json;
}

json_t *plan_json_loss(const char *what, const struct plan_loss *loss)
{
    json_t *json = json_object();
    json_object_set_new(json, "lost", format_json_text(what));
    put(json, "targets", loss->lost_count);
    put(json, "groups", loss->groups_hit);
    put(json, "groups_gone", loss->groups_gone);
    put(json, "members_rebuilt", loss->members_rebuilt);
    put(json, "readers", loss->readers);
    put(json, "writers", loss->writers);
    json_object_set_new(json, "bytes", json_real(loss->bytes));
    json_object_set_new(json, "bytes_read_most", json_real(loss->bytes_read_most));
    put_rate(json, "seconds", loss->seconds);
    put_rate(json, "seconds_even", loss->seconds_even);
    if (loss->slowest)
        json_object_set_new(json, "slowest", json_string(loss->slowest));
    return json;
}

json_t *plan_json_growth(const struct plan *plan, const struct plan_growth *growth)
{
    json_t *json = json_object();
    put(json, "targets_added", growth->added);
    put(json, "moves", growth->moves);
    put(json, "moves_least", growth->least);
    put(json, "groups", growth->table.group_count);
    put(json, "bytes_moved", plan->member_bytes * growth->moves);
    json_object_set_new(json, "figures", figures_json(&growth->figures));
    if (plan->with_groups)
        json_object_set_new(json, "group_list", groups_json(&growth->table));
    return json;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* weft plan: which groups a cluster would get, and what they are worth. */
#include "plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "weft_limits.h"

enum { PROGRESS_STEPS = 1000, GROUPS_PER_TARGET = 16 };
#define CAPACITY_DEFAULT (UINT64_C(1) << 40)

/* What the command line says; 0 and NULL: nothing. */
struct request {
    const char *outline, *level, *lose;
    uint32_t targets, members, parity, groups_per_target, seed, grow;
    uint64_t capacity, network, disk, uplink;
    bool quiet;
};

struct steps {
    struct tool *tool;
    struct progress *bar;
    uint64_t shown;
    bool quiet;
};

/* The bar goes before anything is printed; the next computation gets another one. */
static void next_bar(const struct plan *plan)
{
    struct steps *steps = plan->wanted.progress_arg;
    progress_free(steps->bar);
    steps->bar = progress_new_steps(steps->tool, PROGRESS_STEPS, steps->quiet);
    steps->shown = 0;
}

static bool take_progress(void *arg, uint64_t done, uint64_t total)
{
    struct steps *steps = arg;
    uint64_t now = total ? done * PROGRESS_STEPS / total : 0;
    if (now > PROGRESS_STEPS)
        now = PROGRESS_STEPS;
    progress_add(steps->bar, now > steps->shown ? now - steps->shown : 0);
    steps->shown = now > steps->shown ? now : steps->shown;
    return tool_interrupted();
}

static int complain(struct tool *tool)
{
    tool_complain(tool, "%s", err_text());
    return -1;
}

/* ---- what is asked for ------------------------------------------------------------ */

static int take_level(struct plan *plan, const char *name)
{
    plan->wanted.level = PLACEMENT_HOST;
    if (!name || placement_level_parse(name, &plan->wanted.level) == 0)
        return 0;
    return tool_usage_error(plan->tool, "--level is target, host, chassis or rack, not \"%s\"", name);
}

static int take_request(struct plan *plan, const struct request *request)
{
    int status = take_level(plan, request->level);
    if (status)
        return status;
    plan->wanted.members = request->members ? request->members : 3;
    plan->wanted.groups_per_target =
        request->groups_per_target ? request->groups_per_target : GROUPS_PER_TARGET;
    plan->wanted.device_class = PLACEMENT_ANY_CLASS;
    plan->wanted.seed = request->seed;
    plan->parity = request->parity ? request->parity : plan->wanted.members - 1;
    if (plan->wanted.members > LIMITS_GROUP_MEMBERS_MAX)
        return tool_usage_error(plan->tool, "--members is %u at most", LIMITS_GROUP_MEMBERS_MAX);
    if (plan->parity >= plan->wanted.members)
        return tool_usage_error(plan->tool, "--parity is below --members, which is %u", plan->wanted.members);
    if (request->targets > LIMITS_TARGETS_MAX)
        return tool_usage_error(plan->tool, "--targets is %u at most", LIMITS_TARGETS_MAX);
    if (request->grow > LIMITS_TARGETS_MAX)
        return tool_usage_error(plan->tool, "--grow is %u at most", LIMITS_TARGETS_MAX);
    return 0;
}

/* A level that the topology says nothing of would be kept by each host alone. */
static int check_level(const struct plan *plan, const struct request *request)
{
    const struct outline *outline = &plan->outline;
    bool rack = plan->wanted.level == PLACEMENT_RACK && !outline->knows_racks;
    bool chassis = plan->wanted.level == PLACEMENT_CHASSIS && !outline->knows_chassis;
    if (!rack && !chassis)
        return 0;
    tool_complain(plan->tool, "%s: which %s the hosts are in is not known; %s",
                  request->outline   ? request->outline
                  : request->targets ? "--targets"
                                     : "the present cluster",
                  rack ? "racks" : "chassis",
                  request->outline ? "give it for all servers, or choose another --level"
                                   : "a file for --topology tells it, or choose another --level");
    return -1;
}

static int get_topology(struct plan *plan, const struct request *request)
{
    struct outline *outline = &plan->outline;
    int error = 0;
    if (request->outline)
        error = outline_read(request->outline, outline);
    else if (request->targets)
        error = outline_alone(outline, request->targets);
    else if (outline_ask(plan->tool, outline))
        return -1;
    if (error)
        return complain(plan->tool);
    if (request->targets && request->outline)
        outline_spread(outline, request->targets);
    if (request->uplink)
        outline->uplink = request->uplink;
    for (uint32_t i = 0; i < outline->host_count; i++) {
        struct outline_host *host = &outline->hosts[i];
        if (!request->targets && host->targets == 0)
            host->targets = 1;
        if (request->capacity || host->capacity == 0)
            host->capacity = request->capacity ? request->capacity : CAPACITY_DEFAULT;
        host->network = request->network ? request->network : host->network;
        host->disk = request->disk ? request->disk : host->disk;
    }
    return check_level(plan, request);
}

/* ---- what is done --------------------------------------------------------------------- */

static int compute(struct plan *plan)
{
    plan->targets = outline_targets(&plan->outline);
    plan->target_count = outline_target_count(&plan->outline);
    int error = plan->targets ? 0 : err_set(-ENOMEM, "out of memory");
    if (!error)
        error = placement_make(plan->targets, plan->target_count, &plan->wanted, &plan->table);
    if (!error)
        error =
            placement_measure(plan->targets, plan->target_count, &plan->wanted, &plan->table, &plan->figures);
    if (error)
        return complain(plan->tool);
    plan->member_bytes = plan_member_bytes(plan);
    return 0;
}

/* The loss that is asked for, else that of the target whose recovery is spread least. */
static int show_loss(const struct plan *plan, const char *what, json_t *json)
{
    struct plan_loss loss;
    char name[300];
    if (plan->wanted.members == 1 && !what)
        return 0;
    int error =
        what ? plan_loss_find(plan, what, &loss) : plan_loss_target(plan, plan->figures.spread_worst, &loss);
    if (error)
        return complain(plan->tool);
    if (!what)
        what = plan_target_name(plan, plan->figures.spread_worst, name);
    error = plan_loss_compute(plan, &loss);
    next_bar(plan);
    if (!error && json)
        json_object_set_new(json, "loss", plan_json_loss(what, &loss));
    else if (!error)
        plan_show_loss(plan, what, &loss);
    plan_loss_free(&loss);
    if (!error || error == -ECANCELED)
        return error ? complain(plan->tool) : 0;
    /* That there is nothing to rebuild on is no fault of the plan. */
    if (json)
        json_object_set_new(
            json, "loss",
            json_pack("{s:o, s:o}", "lost", format_json_text(what), "error", format_json_text(err_text())));
    else
        printf("\nLoss of %s: nothing to rebuild on: %s\n", what, err_text());
    return 0;
}

static int show_growth(struct plan *plan, uint32_t added, json_t *json)
{
    struct plan_growth growth;
    int error = plan_growth(plan, added, &growth);
    next_bar(plan);
    if (error)
        complain(plan->tool);
    else if (json)
        json_object_set_new(json, "growth", plan_json_growth(plan, &growth));
    else
        plan_show_growth(plan, &growth);
    placement_free(&growth.table);
    return error;
}

static void run(struct plan *plan, const struct request *request)
{
    struct plan_rates rates;
    if (get_topology(plan, request) || compute(plan))
        return;
    next_bar(plan);
    plan_rates(plan, &rates);
    json_t *json = plan->as_json ? plan_json(plan, &rates) : NULL;
    if (!json)
        plan_show(plan, &rates);
    int error = show_loss(plan, request->lose, json);
    if (!error && request->grow)
        error = show_growth(plan, request->grow, json);
    if (json && !error)
        format_json_print(json);
    else
        json_decref(json);
}

int cmd_plan(struct tool *tool, int argc, char **argv)
{
    struct plan plan = {.tool = tool};
    struct request request = {0};
    const struct option_spec options[] = {
        {"topology", 't', OPTION_TEXT, "FILE", &request.outline,
         "hosts and racks: a description, or Slurm's topology.conf"},
        {"targets", 0, OPTION_COUNT, "N", &request.targets,
         "so many targets, spread over the hosts; without\n--topology each on a host of its own"},
        {"members", 'm', OPTION_COUNT, "N", &request.members, "members of a group (default 3)"},
        {"parity", 0, OPTION_COUNT, "N", &request.parity,
         "of them, how many may be lost (default all but one:\nreplicas)"},
        {"level", 'l', OPTION_TEXT, "LEVEL", &request.level,
         "no two members in one target, host, chassis or rack\n(default host)"},
        {"groups-per-target", 0, OPTION_COUNT, "N", &request.groups_per_target,
         "so many groups at least for each target (default 16)"},
        {"capacity", 0, OPTION_SIZE, "SIZE", &request.capacity,
         "of each target (default 1T where not known)"},
        {"disk", 0, OPTION_SIZE, "SIZE", &request.disk, "bytes a second of each target"},
        {"network", 0, OPTION_SIZE, "SIZE", &request.network, "bytes a second of each host"},
        {"uplink", 0, OPTION_SIZE, "SIZE", &request.uplink, "bytes a second of each rack"},
        {"seed", 0, OPTION_COUNT, "N", &request.seed, "another table of the same worth"},
        {"grow", 0, OPTION_COUNT, "N", &request.grow, "show what N targets more would move"},
        {"lose", 0, OPTION_TEXT, "NAME", &request.lose,
         "show what the loss of a target, host, chassis or rack\nmeans"},
        {"groups", 'g', OPTION_FLAG, NULL, &plan.with_groups, "show the groups"},
        {"json", 0, OPTION_FLAG, NULL, &plan.as_json, "as a JSON object"},
        {"quiet", 'q', OPTION_FLAG, NULL, &request.quiet, "show no progress bar"},
        OPTION_CONF(tool),
        {0},
    };
    int first;
    int status = options_parse(tool, argc, argv, options,
                               "Computes which targets would form groups, so that no two members share a\n"
                               "failure domain, loads are balanced by capacity, and the work after a loss\n"
                               "is spread over many; tells how well that is done, how long a recovery\n"
                               "takes, and what bandwidth there can be. The cluster need not exist;\n"
                               "without --topology and --targets it is the present one. Nothing is changed.",
                               &first);
    if (status >= 0)
        return status;
    if (first < argc)
        return tool_usage_error(tool, "%s: what is it for?", argv[first]);
    status = take_request(&plan, &request);
    if (status)
        return status;
    struct steps steps = {.tool = tool, .quiet = request.quiet};
    plan.wanted.progress = take_progress;
    plan.wanted.progress_arg = &steps;
    next_bar(&plan);
    tool_catch_interrupts();
    run(&plan, &request);
    progress_free(steps.bar);
    placement_free(&plan.table);
    free(plan.targets);
    outline_free(&plan.outline);
    return tool->status;
}

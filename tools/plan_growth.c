/* SPDX-License-Identifier: Apache-2.0 */
/* What growth moves: targets on new hosts like the last ones take their share of the groups. */
#include "plan.h"

#include <errno.h>
#include <stdlib.h>

#include "err.h"

int plan_growth(struct plan *plan, uint32_t added, struct plan_growth *growth)
{
    struct placement_change_wanted how = {.change = PLACEMENT_REBALANCE, .fixed_positions = false};
    struct placement_wanted wanted = plan->wanted;
    struct placement_target *targets = NULL;
    struct placement_move *moves = NULL;
    *growth = (struct plan_growth){.added = added};
    wanted.group_count = 0;
    int error = outline_grow(&plan->outline, added);
    if (!error) {
        targets = outline_targets(&plan->outline);
        error = targets ? 0 : err_set(-ENOMEM, "out of memory");
    }
    uint32_t count = plan->target_count + added;
    if (!error)
        error = placement_change(targets, count, &wanted, &how, &plan->table, &growth->table);
    if (!error)
        error = placement_moves(&plan->table, &growth->table, &moves, &growth->moves);
    if (!error)
        error = placement_moves_least(targets, count, &wanted, &plan->table, &growth->least);
    if (!error)
        error = placement_measure(targets, count, &wanted, &growth->table, &growth->figures);
    free(moves);
    free(targets);
    return error;
}

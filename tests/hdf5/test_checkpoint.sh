#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The example that saves its steps in HDF5 files, and what kills it. It must survive, without the loss of
# a step that it called complete, and with every value right:
#   ranks    kill -9 of all ranks, at any moment, also while they start
#   server   kill -9 of a storage server that is started again: the job goes on, and is killed later
#   both     the two at once, so that nobody ends what was under way
# One series of steps goes through all rounds: each begins with the restart from what the last one left.
#
#   CHECKPOINT_ROUNDS   rounds (default: 5)
#   CHECKPOINT_SEED     the seed that decides on kinds and moments (default: another each time)
#   CHECKPOINT_DRIVER   HDF5's driver, as the example's --driver (default: mpio)

vfd_hdf5=${HDF5_OPENMPI:-hdf5-openmpi}
vfd_folder=${WEFT_TOP_BUILDDIR:-build}/hdf5-vfd/openmpi
# shellcheck source=tests/hdf5/lib.sh
. "$(dirname "$0")/lib.sh"

rounds=${CHECKPOINT_ROUNDS:-5}
seed=${CHECKPOINT_SEED:-$((SRANDOM % 1000000))}
program=$scratch/checkpoint
name=weft:/state
log=$scratch/round.log
complete=0 # the last step that was called so
began=0    # where the round that runs began
verified=0 # restarts that found every value right; a round may be killed before that
printf 'CHECKPOINT_SEED=%d CHECKPOINT_ROUNDS=%d draws the same kinds and moments again\n' "$seed" "$rounds"

# ---- what happens --------------------------------------------------------------

# Each round draws from a seed of its own, whatever the ones before it drew.
begin_draws()
{
    RANDOM=$((seed + 7919 * $1))
    : $RANDOM $RANDOM
}

# sleep_up_to MS: any time up to that.
sleep_up_to()
{
    local ms=$(((RANDOM * 32768 + RANDOM) % ($1 + 1)))
    sleep "$(printf '%d.%03d' $((ms / 1000)) $((ms % 1000)))"
}

start_job()
{
    : >"$log"
    run_mpi 300 4 "$program" --driver "${CHECKPOINT_DRIVER:-mpio}" --size 48 --steps 100000 --pause 5 $name >"$log" 2>&1 &
    job=$!
}

job_runs()
{
    kill -0 "$job" 2>/dev/null
}

# The processes of the program, and no others.
ranks_of_job()
{
    find /proc -maxdepth 2 -name exe -lname "$program" 2>/dev/null | tr -dc '0-9\n'
}

# mpirun may still be starting some of them; and it may wait for ever when they die while it does.
kill_ranks()
{
    local pids until=$((SECONDS + 15))
    while job_runs; do
        pids=$(ranks_of_job)
        # shellcheck disable=SC2086
        [ -z "$pids" ] || kill -9 $pids 2>/dev/null
        if [ $SECONDS -ge $until ]; then
            # shellcheck disable=SC2046
            kill -9 $(pgrep -x mpirun -P "$(pgrep -d , -P "$job")")
            until=$((SECONDS + 15))
        fi
        sleep 0.05
    done
    wait "$job"
}

kill_server()
{
    server=s$((RANDOM % 4))
    kill -9 "$(cat "$cluster/run/$server.pid")" || fail "there is no server $server to kill"
}

start_server()
{
    expect 0 weft up --dir "$cluster"
    says "$server"
}

# ---- what is looked at ------------------------------------------------------------

# step_of WORD: the number in the log's last line that begins with it.
step_of()
{
    awk -v word="$1:" '$1 == word && $2 == "step" { step = $3 + 0 } END { print step + 0 }' "$log"
}

has_begun()
{
    grep -q '^restart: ' "$log" || ! job_runs
}

# has_completed COUNT: so many steps in this round.
has_completed()
{
    [ "$(grep -c '^complete: ' "$log")" -ge "$1" ] || ! job_runs
}

# The log of a round that has ended, against what was complete before it.
check_round()
{
    local step
    began=
    if grep -q '^restart: ' "$log"; then
        began=$(step_of restart)
        # The mark may be set and its message lost, so one step more is right.
        [ "$began" -ge "$complete" ] || fail "restarted from step $began, but step $complete was complete"
        [ "$began" -le $((complete + 1)) ] || fail "restarted from step $began, but nobody has begun it after $complete"
        complete=$began
    fi
    ! grep -q '^verified: ' "$log" || verified=$((verified + 1))
    ! grep -q '^WRONG:' "$log" || fail "the values of step $began are wrong"
    ! grep -q '^checkpoint: ' "$log" || fail "a call failed"
    step=$(step_of complete)
    [ "$step" -eq 0 ] || complete=$step
}

run_round()
{
    local round=$1 moment before
    begin_draws "$round"
    case $((RANDOM % 5)) in
    0 | 1) kind=ranks ;;
    2 | 3) kind=server ;;
    4) kind=both ;;
    esac
    start_job
    # A fifth of them is hit while it starts, looks at the files, or verifies.
    if [ $((RANDOM % 5)) -gt 0 ]; then
        within 120 has_begun
        sleep_up_to 1500
    else
        sleep_up_to 2500
    fi
    moment=$(tail -n 1 "$log")
    case $kind in
    ranks) kill_ranks ;;
    server)
        kill_server
        before=$(grep -c '^complete: ' "$log")
        sleep_up_to 1500
        start_server
        # Two steps more are two that began or ended with the server away.
        within 120 has_completed $((before + 2))
        job_runs || fail "the job did not survive the restart of $server"
        sleep_up_to 300
        kill_ranks
        ;;
    both)
        kill_server
        sleep_up_to 200
        kill_ranks
        start_server
        ;;
    esac
    check_round
    printf 'round %d: %-6s after "%s"; began at %s, complete: %d\n' "$round" $kind "$moment" "${began:-nothing}" "$complete"
    [ $failures -eq 0 ] || show_failure "$round"
}

# The files as they are stay to be looked at, where the caller says where.
show_failure()
{
    printf 'CHECKPOINT_SEED=%d failed in round %d; its log:\n' "$seed" "$1"
    tail -n 40 "$log"
    if [ -n "${CHECKPOINT_KEEP-}" ]; then
        weft cp $name.0.h5 $name.1.h5 "$CHECKPOINT_KEEP"
        cp "$log" "$cluster"/log/*.log "$CHECKPOINT_KEEP"
    fi
    exit 1
}

# What the last round left, in full.
verify_last()
{
    run_mpi 120 4 "$program" --driver "${CHECKPOINT_DRIVER:-mpio}" --size 48 --verify $name >"$log" 2>&1 || fail "the last step: exit code $?"
    check_round
    grep '^verified: ' "$log" || fail "the last step was not verified"
}

# ---- the test ---------------------------------------------------------------------

compile_for_hdf5 unlinked checkpoint ../../hdf5-vfd/example/checkpoint.c
cluster=$scratch/cluster
will_stop "$cluster"
# Small chunks, so that every step is on every server.
expect 0 weft up --dir "$cluster" --servers 4 --chunk-size 64K
export WEFT_CONF=$cluster/weft.conf
[ $failures -eq 0 ] || exit 1
for ((round = 1; round <= rounds; round++)); do
    run_round $round
done
verify_last
[ "$complete" -gt 0 ] || fail "no step was complete in $rounds rounds"
[ $failures -eq 0 ] || show_failure "$rounds"
printf '%d rounds, %d steps, %d restarts verified: no complete step is lost or wrong\n' "$rounds" "$complete" "$verified"

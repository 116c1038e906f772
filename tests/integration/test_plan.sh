#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# weft plan: from a description, from Slurm's topology.conf, and of the present cluster; what it shows, and what
# it refuses.

# shellcheck source=tests/integration/lib.sh
. "$WEFT_TOP_SRCDIR/tests/integration/lib.sh"

# number NAME: the first number of that name in the JSON in $output.
number()
{
    sed -n "s/^ *\"$1\": \([-0-9.e+]*\),\{0,1\}$/\1/p" <<<"$output" | head -n 1
}

# refused FILE TEXT...: a description that is refused with these words.
refused()
{
    local depth=1 file=$1
    shift
    expect 1 weft plan -t "$file"
    says "$@"
}

# ---- a description ---------------------------------------------------------------

cat >"$scratch/machines.conf" <<'END'
uplink = "100G";
servers = (
    { name = "s[0-39]"; chassis = "c[0-19]"; rack = "r[0-4]"; targets = 2;
      capacity = "8T"; disk = "3G"; network = "12G"; },
    { name = "big[00-09]"; chassis = "c[20-24]"; rack = "r[5-6]"; targets = 4;
      capacity = "16T"; disk = "3G"; network = "24G"; }
);
END
expect 0 weft plan -t "$scratch/machines.conf" -l rack --groups
says '120 targets on 50 hosts, 25 chassis, 7 racks' 'on different racks; any 2 of a group may be lost' 'Balance' \
    'Recovery spread' 'reading' 'writing' 'time'
# No two members of a group in one rack, found by the names alone.
bad=$(awk '/^Groups/ { inside = 1; next } inside && NF == 0 { exit }
    function rack(name, number) {
        sub(/:.*/, "", name); number = name; gsub(/[a-z]/, "", number)
        return name ~ /^big/ ? "big" int(number / 5) : "s" int(number / 8)
    }
    inside { lines++; if (NF != 4) print; split("", seen)
        for (i = 2; i <= NF; i++) if (seen[rack($i)]++) print }
    END { if (lines < 100) print "only", lines, "groups" }' <<<"$output")
same "$bad" ''

expect 0 weft plan -t "$scratch/machines.conf" -m 5 --parity 2 --grow 8 --lose big03 --json
same "$(number targets)" 120
same "$(number members)" 5
same "$(number parity)" 2
same "$(number groups_gone)" 0
least=$(number moves_least)
[ "$(number moves)" -ge "$least" ] || fail "fewer moves than the least"
[ "$(number moves)" -le $((least + least / 5)) ] || fail "more than a fifth of the moves are not for balance"
[ "$(number moves)" -gt 0 ] || fail "growth moves nothing"
grep -qE '"slowest": "(disk|network|uplink)"' <<<"$output" || fail "nothing is the slowest"

# What is lost: the same target by its number and by its name; too many of a group.
expect 0 weft plan -t "$scratch/machines.conf" --lose 3 --json
by_number=$(sed 's/"lost": .*//' <<<"$output")
expect 0 weft plan -t "$scratch/machines.conf" --lose s1:1 --json
same "$(sed 's/"lost": .*//' <<<"$output")" "$by_number"
expect 0 weft plan -t "$scratch/machines.conf" -l target -m 2 --lose r6
says 'DATA LOSS'
expect 1 weft plan -t "$scratch/machines.conf" --lose nobody
says 'there is no target, host, chassis or rack "nobody"'

# The same table again, another one by another seed.
expect 0 weft plan -t "$scratch/machines.conf" --groups
first=$output
expect 0 weft plan -t "$scratch/machines.conf" --groups
same "$output" "$first"
expect 0 weft plan -t "$scratch/machines.conf" --groups --seed 7
[ "$output" != "$first" ] || fail "the seed makes no difference"

# A rack that is too large is told of.
cat >"$scratch/lopsided.conf" <<'END'
servers = ( { name = "a[0-9]"; rack = "large"; }, { name = "b[0-3]"; rack = "r[0-3]"; } );
END
expect 0 weft plan -t "$scratch/lopsided.conf" -l rack
says "1 of the racks has more than 1/3 of all; 8 TiB can't be used"

# ---- ten thousand targets ----------------------------------------------------------

cat >"$scratch/large.conf" <<'END'
servers = ( { name = "s[0-1999]"; rack = "r[0-49]"; targets = 5; capacity = "8T"; disk = "3G"; } );
END
expect 0 weft plan -t "$scratch/large.conf" -l rack --json
same "$(number targets)" 10000
same "$(number shared_most)" 1
awk -v spread="$(number spread_least)" 'BEGIN { exit !(spread > 0.9999) }' || fail "spread: $(number spread_least)"
same "$(number overload)" 0.0

# ---- Slurm ---------------------------------------------------------------------------

cat >"$scratch/topology.conf" <<'END'
# leaves
SwitchName=leaf0 Nodes=tux[00-03] LinkSpeed=100
switchname=leaf1 nodes=tux[04-06],tux07   # the second
SwitchName=leaf2 \
    Nodes=tux[08-11]
SwitchName=top Switches=leaf[0-2]
END
expect 0 weft plan --topology "$scratch/topology.conf" --targets 24 --level rack --capacity 4T
says '24 targets on 12 hosts, 3 racks; 96 TiB, of which 32 TiB for files'
expect 1 weft plan --topology "$scratch/topology.conf" --level rack --members 4
says "4 members on different racks, but the pool's 12 targets are in 3 racks"
expect 1 weft plan --topology "$scratch/topology.conf" --level chassis
says 'which chassis the hosts are in is not known'

# ---- what is wrong with a file ----------------------------------------------------------

refused "$scratch/none.conf" "$scratch/none.conf" 'No such file'
echo 'servers = ( { name = "a"; racks = "r"; } );' >"$scratch/bad.conf"
refused "$scratch/bad.conf" 'bad.conf:1: servers[0].racks' 'the nearest known one is "rack"'
echo 'servers = ( { name = "a[3-1]"; } );' >"$scratch/bad.conf"
refused "$scratch/bad.conf" 'bad.conf:1: servers[0].name' 'is no list of numbers such as [0-3,7]'
printf 'servers = ( { name = "a"; rack = "r"; },\n { name = "a"; rack = "q"; } );' >"$scratch/bad.conf"
refused "$scratch/bad.conf" 'bad.conf:2' "the host a is in rack r"
printf 'SwitchName=a Nodes=x\n\nSwitchName=b Nodes=x\n' >"$scratch/bad.conf"
refused "$scratch/bad.conf" 'bad.conf:3' 'x'
printf 'SwitchName=a Nodes=x[1\n' >"$scratch/bad.conf"
refused "$scratch/bad.conf" 'bad.conf:1' 'bracket that is not closed'
printf 'SwitchName=a Switches=b\n' >"$scratch/bad.conf"
refused "$scratch/bad.conf" 'the switch b is a child, but has no line of its own'
printf 'BlockName=a Nodes=x\n' >"$scratch/bad.conf"
refused "$scratch/bad.conf" 'bad.conf:1' 'topology/tree'

for arguments in '--level room' '--members 33' '--members 3 --parity 3' '--targets 0' '--targets 70000' 'word'; do
    # shellcheck disable=SC2086
    expect 2 weft plan $arguments
    says 'Try weft plan --help'
done
expect 1 weft plan --targets 60000 --groups-per-target 100
says 'choose at most 3 groups for each target'

# ---- the present cluster -------------------------------------------------------------------

will_stop "$scratch/cluster"
expect 0 weft up --dir "$scratch/cluster" --servers 4 --targets 2
export WEFT_CONF=$scratch/cluster/weft.conf
expect 0 weft plan --level target
says '8 targets on 1 host;'
expect 1 weft plan
says "3 members on different hosts, but the pool's 8 targets are in 1 host"
expect 1 weft plan --level rack
says 'the present cluster: which racks the hosts are in is not known'

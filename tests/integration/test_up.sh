#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# weft up, down, env and status must survive: being run twice, a stale pid file,
# a pid of somebody else, a server that can't start, a taken port, a stop in the
# middle, a killed server, a killed supervisor, and odd names of folders.

# shellcheck source=tests/integration/lib.sh
. "$WEFT_TOP_SRCDIR/tests/integration/lib.sh"
dir=$scratch/cluster
will_stop "$dir"
printf 'some bytes\n' >"$scratch/file"

pids()
{
    cat "$dir"/run/*.pid | sort -n | tr '\n' ' '
}

echo "1. a new cluster"
expect 0 weft up --dir "$dir" --servers 3 --targets 2
says "1 metadata server, 3 storage servers" "s2 " "eval \"\$(weft env --dir $dir)\""
same 600 "$(stat -c %a "$dir/cluster.key")"
same 4 "$(servers_of "$dir" | wc -l)"
same "$(servers_of "$dir" | sort -n | tr '\n' ' ')" "$(pids)" "the pid files"
for name in metadata s0 s1 s2; do
    [ -s "$dir/log/$name.log" ] || fail "no log of $name"
done
expect 0 weft status --dir "$dir"
says "3 of 3 storage servers up, 6 of 6 targets up"

echo "2. it is safe to run twice, and the options must fit"
before=$(pids)
expect 0 weft up --dir "$dir"
says "runs already"
expect 0 weft up --dir "$dir" --servers 3 --targets 2 --shards 1
same "$before" "$(pids)" "the processes"
expect 1 weft up --dir "$dir" --servers 4
says "holds a cluster with --servers 3"

echo "3. the environment"
unset WEFT_CONF
eval "$(weft env --dir "$dir")"
same "$dir/weft.conf" "$WEFT_CONF"
same "setenv WEFT_CONF '$dir/weft.conf';" "$(weft env --csh --dir "$dir")"
same "set -gx WEFT_CONF '$dir/weft.conf';" "$(weft env --fish --dir "$dir")"
expect 0 weft cp "$scratch/file" weft:/
expect 0 weft status
unset WEFT_CONF
expect 0 weft status --json --dir "$dir"
same 4 "$(grep -c '"up": true' <<<"$output")"
expect 1 weft ls
says "WEFT_CONF"

echo "4. the data are there after a stop"
expect 0 weft down --dir "$dir"
says "s1" "is stopped"
same "" "$(servers_of "$dir")"
same "" "$(ls "$dir"/run/*.pid 2>/dev/null)" "pid files"
expect 0 weft down --dir "$dir"
says "No server"
expect 1 weft status --dir "$dir"
says "does not run" "weft up --dir"
# A server is missed soon.
printf 'limits = { deadline_ms = 3000; heartbeat_ms = 100; lease_ms = 1000; };\n' >>"$dir/weft.conf"

# What follows is about processes, not about memory.
[ -z "$slow" ] || exit 0

echo "5. stale pid files, one with the pid of somebody else"
sleep 1000 &
innocent=$!
echo $innocent >"$dir/run/s0.pid"
echo 999999999 >"$dir/run/s1.pid"
echo nonsense >"$dir/run/s2.pid"
expect 0 weft up --dir "$dir"
same some "$(weft cat --conf "$dir/weft.conf" weft:/file | cut -d ' ' -f 1)"
expect 0 weft down --dir "$dir"
kill -0 $innocent || fail "weft down ended a process of somebody else"
kill $innocent
wait $innocent 2>/dev/null

echo "6. a killed server is seen, and started again alone"
expect 0 weft up --dir "$dir"
before=$(cat "$dir/run/s0.pid")
kill -9 "$(cat "$dir/run/s1.pid")"
expect 1 weft status --dir "$dir"
says "DOWN"
is_missed() { weft status --dir "$dir" | grep -q '2 of 3 storage servers up'; }
within 20 is_missed
expect 0 weft up --dir "$dir"
says "3 of them run already" "s1 "
same "$before" "$(cat "$dir/run/s0.pid")" "s0 was left alone"
expect 0 weft status --dir "$dir"

echo "7. pid files that are lost"
rm "$dir"/run/*.pid
expect 0 weft up --dir "$dir"
says "runs already"
expect 0 weft down --dir "$dir"
same "" "$(servers_of "$dir")"

echo "8. a server that can't start takes all with it, and its log is shown"
mv "$dir/s1" "$dir/s1.away"
printf 'no directory\n' >"$dir/s1"
expect 1 weft up --dir "$dir"
says "s1 did not start" "$dir/log/s1.log" "nothing of what was started is left running"
same "" "$(servers_of "$dir")"
rm "$dir/s1"
mv "$dir/s1.away" "$dir/s1"
expect 1 env WEFT_SBINDIR="$scratch" weft up --dir "$dir"
says "weft-metad was not found" "$scratch/weft-metad"

echo "9. a taken port is named"
expect 0 weft up --dir "$dir"
port=$(sed -nE 's/.*metadata = .*127.0.0.1:([0-9]+).*/\1/p' "$dir/weft.conf")
expect 1 weft up --dir "$scratch/other" --servers 1 --port "$port"
says "ports $port to"
same "" "$(servers_of "$scratch/other")"
expect 0 weft down --dir "$dir"

echo "10. a folder that holds something else"
mkdir "$scratch/other2"
touch "$scratch/other2/thesis.tex"
expect 1 weft up --dir "$scratch/other2" --servers 1
says "thesis.tex"
same thesis.tex "$(ls -A "$scratch/other2")"
expect 1 weft down --dir "$scratch/other2"
expect 1 weft down --dir "$scratch/missing"
expect 1 weft up --dir "$scratch/missing/deep"

echo "11. a stop in the middle leaves nothing running"
printf '#!/bin/sh\nsleep 3\nexec "$@"\n' >"$scratch/late"
chmod +x "$scratch/late"
for signal in INT TERM HUP; do
    WEFT_SERVER_WRAPPER="$scratch/late ${WEFT_SERVER_WRAPPER-}" timeout --preserve-status -s $signal 1 \
        "$build/tools/weft" up --dir "$dir" >"$scratch/interrupted" 2>&1
    same 1 $? "after SIG$signal"
    output=$(cat "$scratch/interrupted")
    says "interrupted" "nothing of what was started"
    same "" "$(servers_of "$dir")"
done

echo "12. in the foreground"
# The supervisor is the servers' parent. A job of a shell ignores SIGINT, so it is told by SIGTERM.
supervisor() { sed -n 's/^PPid:[[:blank:]]*//p' "/proc/$(cat "$dir/run/metadata.pid")/status"; }
nothing_runs() { [ -z "$(servers_of "$dir")" ]; }
start_in_foreground()
{
    rm -f "$scratch/foreground"
    "$build/tools/weft" up --foreground --dir "$dir" >"$scratch/foreground" 2>&1 &
    within 60 grep -q 'Stays in the foreground' "$scratch/foreground"
}
start_in_foreground
same $! "$(supervisor)"
expect 0 weft status --dir "$dir"
expect 1 timeout 60 weft up --foreground --dir "$dir"
says "runs already"
kill -TERM "$(supervisor)"
wait $!
same 0 $? "$(cat "$scratch/foreground")"
same "" "$(servers_of "$dir")"
start_in_foreground
kill -9 "$(supervisor)"
wait $! 2>/dev/null
within 20 nothing_runs
start_in_foreground
kill -9 "$(cat "$dir/run/s0.pid")"
wait $!
same 1 $? "$(cat "$scratch/foreground")"
output=$(cat "$scratch/foreground")
says "s0 died (signal 9): stopping the others"
same "" "$(servers_of "$dir")"

echo "13. odd names"
odd="$scratch/it's a \$folder"
will_stop "$odd"
expect 0 weft up --dir "$odd" --servers 1
eval "$(weft env --dir "$odd")"
same "$odd/weft.conf" "$WEFT_CONF"
expect 0 weft ls
expect 0 weft down --dir "$odd"
unset WEFT_CONF

echo "14. the files are gone, the servers are not"
lost=$scratch/lost
will_stop "$lost"
expect 0 weft up --dir "$lost" --servers 1
rm -r "$lost"
expect 1 weft up --dir "$lost" --servers 1
says "2 servers of an earlier cluster"
expect 0 weft down --dir "$lost"
same "" "$(servers_of "$lost")"

echo "15. as a plain user"
if [ "$(id -u)" -ne 0 ]; then
    echo "    this is one already"
elif ! setpriv --reuid=65534 --regid=65534 --clear-groups test -x "$build/tools/weft"; then
    echo "    skipped: the build folder is not open to others"
else
    chmod 711 "$scratch"
    plain=$scratch/plain
    mkdir "$plain"
    chown 65534:65534 "$plain"
    will_stop "$plain"
    as_nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups env HOME="$plain" "$build/tools/weft")
    expect 0 "${as_nobody[@]}" up --dir "$plain" --servers 2
    expect 0 "${as_nobody[@]}" ls --conf "$plain/weft.conf"
    expect 0 "${as_nobody[@]}" down --dir "$plain"
    same "" "$(servers_of "$plain")"
fi

echo "16. the terminal's end does not end the servers, which share the shell's session"
# Linux makes a scheduling group of each session: see docs/performance.md.
session_of() { sed 's/.*) //' "/proc/$1/stat" | cut -d ' ' -f 4; }
group_of() { sed 's/.*) //' "/proc/$1/stat" | cut -d ' ' -f 3; }
expect 0 weft up --dir "$dir"
pid=$(cat "$dir/run/s0.pid")
same "$(session_of $$)" "$(session_of "$pid")"
same "$pid" "$(group_of "$pid")"
ignored=$(sed -n 's/^SigIgn:\t//p' "/proc/$pid/status")
same 1 $((0x$ignored & 1)) # SIGHUP
kill -HUP "$pid"
sleep 1
same "$pid" "$(cat "$dir/run/s0.pid")"
kill -0 "$pid" || fail "SIGHUP ended a server"
expect 0 weft down --dir "$dir"
if command -v script >/dev/null; then
    expect 0 script -qec "'$build/tools/weft' up --dir '$dir'" /dev/null
    sleep 1
    expect 0 weft status --dir "$dir"
    says "3 of 3 storage servers up"
    expect 0 weft down --dir "$dir"
fi

#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# weft usage against a real cluster: sums of folders, users and groups, who may see them, and that they
# outlive the metadata server.

# shellcheck source=tests/integration/lib.sh
. "$WEFT_TOP_SRCDIR/tests/integration/lib.sh"
dir=$scratch/cluster
will_stop "$dir"
expect 0 weft up --dir "$dir" --servers 2
[ $failures -eq 0 ] || exit 1
eval "$(weft env --dir "$dir")"

# row ARGUMENT...: the only one, as "size bytes files directories".
row()
{
    weft usage --bytes "$@" | awk 'NR == 2 { print $1, $2, $3, $4 }'
}
is() { [ "$(row "${@:2}")" = "$1" ]; }
# sums SIZE BYTES FILES DIRECTORIES ARGUMENT...: before long; files count when they are settled.
sums()
{
    local depth=1
    within 20 is "$1 $2 $3 $4" "${@:5}" || fail "$(row "${@:5}"), not $1 $2 $3 $4: ${*:5}"
}

echo "1. folders"
head -c 1000 /dev/zero >"$scratch/small"
head -c 300000 /dev/urandom >"$scratch/large"
sums 0 0 0 0
expect 0 weft mkdir weft:/proj weft:/proj/a weft:/proj/b
expect 0 weft cp "$scratch/small" weft:/proj/a/small
expect 0 weft cp "$scratch/large" weft:/proj/b/large
large_bytes=$(weft stat --json weft:/proj/b/large | sed -nE 's/.*"bytes": ([0-9]+).*/\1/p')
[ "${large_bytes:-0}" -ge 300000 ] || fail "large takes \"$large_bytes\" bytes"
sums 301000 $((large_bytes + 1024)) 2 2 weft:/proj
sums 1000 1024 1 0 weft:/proj/a
sums 1000 1024 1 0 weft:/proj/a/small
sums 301000 $((large_bytes + 1024)) 2 3
expect 0 weft ln -s elsewhere weft:/proj/link
expect 0 weft ln weft:/proj/b/large weft:/proj/a/again
sums 301000 $((large_bytes + 1024)) 3 2 weft:/proj
sums 1000 1024 1 0 weft:/proj/a
expect 0 weft rm weft:/proj/b/large
sums 301000 $((large_bytes + 1024)) 2 0 weft:/proj/a
expect 0 weft mv weft:/proj/a weft:/moved
sums 0 0 1 1 weft:/proj
sums 301000 $((large_bytes + 1024)) 2 0 weft:/moved
expect 0 weft truncate --size 10 weft:/moved/small
sums 300010 $((large_bytes + 512)) 2 0 weft:/moved
expect 0 weft usage weft:/proj weft:/moved
says SIZE SPACE "weft:/proj" "293 KiB"
expect 0 weft usage --json weft:/proj weft:/moved
says '"path": "/moved"' '"size": 300010' '"files": 2' '"directories": 1'

echo "2. users and groups"
expect 0 weft chown 4321:8765 weft:/moved/small
sums 10 512 1 0 --user 4321
sums 10 512 1 0 --group 8765
sums 0 0 0 0 --user 4322
expect 0 weft usage --users --bytes
says USER "10 " 4321
same 3 "$(weft usage --users | wc -l)"
expect 0 weft usage --groups --json
says '"gid": 8765' '"group": "8765"' '"size": 10'
expect 0 weft usage --user root

echo "3. what makes no sense"
expect 2 weft usage --user root weft:/
says "one of them at a time"
expect 2 weft usage --users --groups
expect 2 weft usage --user "no such one"
says 'there is no user "no such one"'
expect 2 weft usage /proj
expect 1 weft usage weft:/missing weft:/moved
says "weft:/missing" "weft:/moved"

echo "4. who may see what"
if [ "$(id -u)" -ne 0 ] || ! command -v setpriv >/dev/null ||
    ! setpriv --reuid=4321 --regid=4321 --clear-groups test -x "$build/tools/weft"; then
    echo "not looked at: there is no other user who could run weft"
else
    # The key is for those who belong to the cluster.
    chmod 755 "$scratch"
    mkdir "$scratch/key" && cp "$dir/weft.conf" "$dir/cluster.key" "$scratch/key"
    chown -R 4321 "$scratch/key"
    as()
    {
        UCX_TLS=tcp,self WEFT_CONF=$scratch/key/weft.conf \
            setpriv --reuid=4321 --regid=4321 --groups="$1" weft "${@:2}"
    }
    expect 0 weft mkdir weft:/closed weft:/closed/in
    expect 0 weft chmod 700 weft:/closed
    expect 0 as 8765 usage --user 4321
    expect 0 as 8765 usage --group 8765
    expect 0 as 8765 usage weft:/moved weft:/closed
    expect 1 as 8765 usage weft:/closed/in
    says "permission denied"
    expect 1 as 8766 usage --group 8765
    says "group 8765 has is for those in it and root to see"
    expect 1 as 8765 usage --user 0
    says "user 0 has is for that user and root to see"
    expect 1 as 8765 usage --users
    expect 1 as 8765 usage --groups
    says "root"
fi

echo "5. after the metadata server was killed, and after a stop"
before=$(weft usage --json weft:/ weft:/moved weft:/proj)
users=$(weft usage --json --users)
kill -9 "$(cat "$dir/run/metadata.pid")"
expect 0 weft up --dir "$dir"
same "$before" "$(weft usage --json weft:/ weft:/moved weft:/proj)"
same "$users" "$(weft usage --json --users)"
expect 0 weft rm weft:/moved/again
expect 0 weft cp "$scratch/small" weft:/proj/small
sums 1000 1024 2 1 weft:/proj
kill -9 "$(cat "$dir/run/metadata.pid")"
expect 0 weft up --dir "$dir"
sums 1000 1024 2 1 weft:/proj
sums 10 512 1 0 weft:/moved
expect 0 weft rm weft:/proj/small
expect 0 weft down --dir "$dir"
expect 0 weft up --dir "$dir"
sums 0 0 1 1 weft:/proj
sums 10 512 1 0 weft:/moved
sums 10 512 1 0 --user 4321
! grep -h "how much there is" "$dir"/log/*.log || fail "the sums were given up, or counted anew"

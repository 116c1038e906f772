#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A running storage server whose disk goes wrong on purpose. What must survive: disks that can't be read, flip bits,
# lose, tear and misdirect writes, are full, are slow, and can't be flushed. Clients see errors that name the place
# or the bytes that were written, and nothing else, and the server goes on.

# shellcheck source=tests/integration/lib.sh
. "$WEFT_TOP_SRCDIR/tests/integration/lib.sh"

fsck=$build/server/storage/weft-fsck
dir=$scratch/cluster
rules=$dir/bad-disk.conf
log=$dir/log/s0.log
will_stop "$dir"
expect 0 weft up --dir "$dir" --servers 1
[ $failures -eq 0 ] || exit 1
export WEFT_CONF=$dir/weft.conf
cd "$scratch" || exit 99
head -c 3000000 /dev/urandom >file
head -c 100000 /dev/urandom >small

# How often the log has it.
said()
{
    grep -cE -- "$1" "$log"
}

changed()
{
    [ "$1" != "$(said 'rules? from now on')" ]
}

# rules [RULE...]: these are in force when it returns; none: the file is gone.
rules()
{
    local before rule list='' depth=1
    before=$(said 'rules? from now on')
    if [ $# -gt 0 ]; then
        for rule in "$@"; do
            list+="${list:+,$'\n'}  { $rule }"
        done
        printf 'faults = (\n%s\n);\n' "$list" >"$rules.new"
        mv "$rules.new" "$rules"
    else
        rm "$rules"
    fi
    within 20 changed "$before"
}

# Of the server's only shard.
faults_made()
{
    weft status --counters | awk '$1 == "faults_made" { print $2 }'
}

echo "1. nothing is wrapped where nothing is said, and nothing goes wrong while there is no file"
expect 0 weft cp file weft:/file
same 0 "$(said 'on purpose')"
expect 0 weft down --dir "$dir"
sed -i 's/name = "s0";/& faults = "bad-disk.conf";/' "$WEFT_CONF"
expect 0 weft up --dir "$dir"
same 1 "$(said "faults are made on purpose: the rules are those of $(realpath "$dir")/bad-disk\.conf")"
expect 0 weft cp small weft:/small
expect 0 weft verify weft:/
same 0 "$(faults_made)"

more_made_than()
{
    [ "$(faults_made)" -gt "$1" ]
}

# A copy of weft:/$2 is the file $1, or there is none and the error names the place.
same_or_told()
{
    local depth=1
    rm -f back
    if output=$(weft cp "weft:/$2" back 2>&1); then
        cmp "$1" back >&2 || fail "weft:/$2 has other bytes"
        return 0
    fi
    [[ $output =~ inode\ [0-9]+\ (is\ damaged|can\'t\ be\ read)\ at\ offset\ [0-9]+ ]] || fail "no place: $output"
    return 1
}

# count_told TIMES NAME: reads the file so often; $told is how often that was told to have failed.
count_told()
{
    local times=$1 name=$2
    told=0
    for ((n = 0; n < times; n++)); do
        same_or_told "$name" "$name" || told=$((told + 1))
    done
}

echo "2. a disk that can't be read"
rules 'on = "read"; file = "data"; fault = "eio"' 'on = "write"; fault = "eio"; shard = 5'
same 1 "$(said 'rule 1: read of data: eio$')"
expect 1 weft cp weft:/file back
says "can't be read at offset 0 of the file" 'Input/output error, on purpose'
expect 0 weft cp small weft:/other
expect 1 weft verify weft:/other
says 'bytes 0 to '
more_made_than 0 || fail "faults are not counted"

echo "3. a wrong file is told of once, and changes nothing"
printf 'faults = (\n  { on = "read"; fault = "eoi"; } );\n' >"$rules"
within 20 grep -q 'bad-disk\.conf:2: faults\[0\]\.fault: "eoi" is no fault' "$log"
sleep 2.5
same 1 "$(said 'the rules stay as they are')"
expect 1 weft cp weft:/file back
rules
same 1 "$(said '0 rules from now on')"
same_or_told file file || fail "weft:/file can't be read again: $output"
expect 0 weft verify weft:/

echo "4. flipped bits are never given out"
rules 'on = "read"; file = "data"; fault = "flip"; times = 3'
count_told 10 file
[ $told -gt 0 ] && [ $told -le 3 ] || fail "$told of 3 flipped bits were told of"
before=$(faults_made)
rules 'on = "read"; file = "data"; fault = "flip"; one_in = 3; seed = 5'
count_told 30 small
[ $told -gt 0 ] && [ $told -lt 30 ] || fail "$told of 30 reads failed, of which one in 3 was to"
more_made_than "$before" || fail "faults are not counted"
rules
expect 0 weft verify weft:/

echo "5. writes that are lost, torn, go elsewhere, fail, or fail in the middle"
for fault in lost torn misdirected eio short; do
    rules "on = \"write\"; file = \"data\"; fault = \"$fault\"; one_in = 4; seed = 3"
    told=0
    for n in 1 2 3; do
        output=$(weft cp file "weft:/$fault-$n" 2>&1) || told=$((told + 1))
        if weft stat "weft:/$fault-$n" >stat 2>&1 && grep -q 3000000 stat; then
            same_or_told file "$fault-$n" || told=$((told + 1))
        fi
    done
    [ $told -gt 0 ] || fail "no $fault write was told of"
    rules
done
# What was written beside has damaged others, which are told of, too.
for name in file small other; do
    case $name in file) same_or_told file file ;; *) same_or_told small $name ;; esac
done
expect 0 weft cp file weft:/file
expect 0 weft cp small weft:/small
expect 0 weft rm weft:/other
for name in $(weft ls weft:/ | grep -- '-[123]$'); do
    expect 0 weft rm "weft:/$name"
done
expect 0 weft verify weft:/

echo "6. a full disk"
head -c 150000000 /dev/zero >large
rules 'on = "grow"; file = "data"; fault = "enospc"'
expect 1 weft cp large weft:/large
says 'is full'
same_or_told file file || fail "a full disk can be read: $output"
rules
expect 0 weft cp large weft:/large
expect 0 weft verify weft:/large
expect 0 weft rm weft:/large

echo "7. a slow disk"
before=$(faults_made)
rules 'on = "read"; fault = "delay"; ms = 5' 'on = "write"; fault = "delay"; ms = 5' \
    'on = "flush"; fault = "delay"; ms = 20' 'on = "grow"; fault = "delay"; ms = 20'
expect 0 weft cp --sync file weft:/slow
same_or_told file slow || fail "a slow disk breaks something: $output"
more_made_than "$before" || fail "delays are not counted"

echo "8. the server answers while its disk does not, and goes on when that does"
for on in read write; do
    rules "on = \"$on\"; file = \"data\"; fault = \"delay\"; ms = 60000"
    before=$(faults_made)
    rm -f back
    if [ $on = read ]; then
        weft cp weft:/slow back >copied 2>&1 &
    else
        weft cp small weft:/hung >copied 2>&1 &
    fi
    copy=$!
    within 20 more_made_than "$before"
    kill -0 $copy || fail "a $on did not wait: $(<copied)"
    rules
    wait $copy || fail "a $on that waited: $(<copied)"
    [ $on = write ] || cmp file back || fail "other bytes"
done
same_or_told small hung || fail "$output"
expect 0 weft verify weft:/

echo "9. a disk that can't be flushed: nothing is written any more until a restart, all else can be read"
rules 'on = "flush"; file = "meta"; fault = "eio"; times = 1'
expect 1 weft cp --sync small weft:/unsafe
says 'a commit failed'
expect 1 weft cp small weft:/unsafe
same_or_told file file || fail "$output"
rules
weft down --dir "$dir" >/dev/null 2>&1
grep -rqs --include=target '^losses 1$' "$dir" || fail "the loss is not counted"
# It starts with a wrong file, too, and without faults then.
printf 'faults = 5;\n' >"$rules"
expect 0 weft up --dir "$dir"
same 1 "$(said 'bad-disk\.conf:1: faults: must be a list')"
rm "$rules"
expect 0 weft cp --sync small weft:/unsafe
same_or_told small unsafe || fail "$output"
same_or_told file file || fail "$output"
expect 0 weft verify weft:/
expect 0 weft down --dir "$dir"
expect 0 "$fsck" 0
says ', 0 faults'

echo "10. a store that makes no faults says so"
target_dir=$dir/$(sed -nE 's/.*id = 0; dir = "([^"]*)".*/\1/p' "$WEFT_CONF")
rm -rf "$dir/metadata" "$target_dir"
printf 'store = "files";\n' >>"$WEFT_CONF"
expect 0 weft up --dir "$dir"
same 1 "$(said 'target 0 has the store "files", of which no faults are made on purpose')"

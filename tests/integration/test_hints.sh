#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# weft hints against a real cluster: what is set is there, for new directories too;
# what the table of hints does not know is refused and changes nothing; layout
# hints become the directory's layout. And the shell's completion of hints.

# shellcheck source=tests/integration/lib.sh
. "$WEFT_TOP_SRCDIR/tests/integration/lib.sh"
dir=$scratch/cluster
will_stop "$dir"
expect 0 weft up --dir "$dir" --servers 3
[ $failures -eq 0 ] || exit 1
eval "$(weft env --dir "$dir")"

# The hints of a directory without those of its layout, in one line.
kept()
{
    weft hints "$1" | grep -vE '^weft_(chunk_size|stripe_count|pool|placement)=' | paste -sd' '
}

echo "1. setting, changing, removing"
expect 0 weft mkdir weft:/d
same "" "$(kept weft:/d)"
expect 0 weft hints weft:/d cb_nodes=4 weft_durability=CLOSE cb_buffer_size=4M
same "weft_durability=close cb_nodes=4 cb_buffer_size=4194304" "$(kept weft:/d)"
expect 0 weft hints weft:/d cb_nodes=2 weft_collective=direct weft_durability=
same "cb_buffer_size=4194304 weft_collective=direct cb_nodes=2" "$(kept weft:/d)"
expect 0 weft hints weft:/d cb_nodes= romio_cb_read= cb_buffer_size=1 cb_buffer_size=2
same "weft_collective=direct cb_buffer_size=2" "$(kept weft:/d)"
expect 0 weft hints weft:/d cb_buffer_size=3 cb_buffer_size=
same "weft_collective=direct" "$(kept weft:/d)"
expect 0 weft hints weft:/d 'cb_config_list=node one:2,*:1'
same "weft_collective=direct cb_config_list=node one:2,*:1" "$(kept weft:/d)"
expect 0 weft hints --json weft:/d
says '"cb_config_list": "node one:2,*:1"' '"chunk_size": 1048576'
expect 0 weft hints weft:/d cb_config_list=

echo "2. new directories begin with them, and go their own way"
expect 0 weft mkdir weft:/d/e
same "weft_collective=direct" "$(kept weft:/d/e)"
expect 0 weft hints --clear weft:/d weft_explain=true
same "weft_explain=true" "$(kept weft:/d)"
same "weft_collective=direct" "$(kept weft:/d/e)"
expect 0 weft hints --clear weft:/d
same "" "$(kept weft:/d)"

echo "3. the layout"
expect 0 weft hints weft:/d striping_unit=470080 weft_stripe_count=2 weft_explain=false
same "weft_explain=false" "$(kept weft:/d)"
expect 0 weft layout weft:/d
says "chunks of 470080 bytes" "over 2"
echo content >"$scratch/file"
expect 0 weft cp "$scratch/file" weft:/d/file
expect 0 weft layout weft:/d/file
says "8 bytes" "with the metadata server" "chunks of 470080 bytes" "over 2 of 3 groups"
expect 0 weft layout --json weft:/d/file
says '"small": true' '"extents": []'
expect 0 weft hints --clear weft:/d striping_unit=8K weft_chunk_size=12K
expect 0 weft hints weft:/d
says "weft_chunk_size=12288" "weft_stripe_count=2" "weft_pool=main" "weft_placement=spread"
expect 0 weft hints weft:/d weft_placement=local
expect 0 weft hints weft:/d
says "weft_placement=local"
expect 0 weft layout weft:/d
says "of the host of who makes them"
expect 1 weft hints weft:/d weft_placement=host:nowhere
says 'no host "nowhere"'
expect 0 weft hints weft:/d weft_placement=spread
# What it prints, it takes.
# shellcheck disable=SC2046
expect 0 weft hints weft:/d/e $(weft hints weft:/d)
same "$(weft hints weft:/d | sort)" "$(weft hints weft:/d/e | grep -v collective | sort)"

echo "4. what is refused, and why; nothing changes"
before=$(weft hints weft:/d)
refused()
{
    local said=$1
    shift
    expect 2 weft hints weft:/d cb_nodes=77 "$@"
    says "$said" "weft hints --help"
}
refused "did you mean weft_collective?" weft_colective=direct
refused "weft hints --list" nothing_of_the_kind=1
refused "did you mean two_phase?" weft_collective=two_fase
refused "accepted: a number from 1" cb_nodes=0
refused "accepted: 0, or 4K to 1G bytes" weft_chunk_size=12
refused "can be changed, not removed" weft_chunk_size=
refused "can be changed, not removed" weft_stripe_count=00
refused "has no meaning here: there is no data sieving" ind_rd_buffer_size=1
refused "can't be kept with a directory" file_perm=640
refused "it is only told" romio_aggregator_list=0
refused "without \";\"" 'cb_config_list=*:1;weft_explain=true'
refused "is no NAME=VALUE" weft_explain
expect 1 weft hints weft:/d weft_pool=elsewhere cb_nodes=77
says "elsewhere"
expect 1 weft hints weft:/d/file
says "weft:/d/file" "not a directory"
expect 1 weft hints weft:/missing cb_nodes=2
says "weft:/missing"
expect 2 weft hints
expect 2 weft hints --json --clear weft:/d
expect 2 weft hints --list weft:/d
expect 2 weft hints "$scratch" cb_nodes=2
same "$before" "$(weft hints weft:/d)"

echo "5. completion"
# complete LINE: what the shell would offer behind it.
complete_line()
{
    bash -c '
        compopt() { :; }
        . "$1"
        COMP_LINE=$2 COMP_POINT=${#2}
        read -ra COMP_WORDS <<<"$2"
        [[ $2 == *" " ]] && COMP_WORDS+=("")
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        _weft
        printf "%s\n" "${COMPREPLY[@]}"' - "$WEFT_TOP_SRCDIR/dist/completions/weft.bash" "$1" | paste -sd' '
}
same "weft_collective= weft_chunk_size=" "$(complete_line 'weft hints weft:/d weft_c')"
same "$(weft hints --list | grep -cE '^[a-z_]+=')" "$(complete_line 'weft hints weft:/d ' | wc -w)" "all names"
same "two_phase" "$(complete_line 'weft hints weft:/d weft_collective=t')"
same "false true" "$(complete_line 'weft hints weft:/d cb_nodes=2 weft_explain=')"
same "--list --clear --json --conf --help" "$(complete_line 'weft hints --')"
says_path=$(complete_line 'weft hints weft:/')
same "/d" "$says_path"

#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Usage: tests/romio/run-romio-tests.sh [PROGRAM...]
#
# Compiles ROMIO's own test programs, out of the source that the driver was made
# from, and runs each twice: through the MPI's own ROMIO in a local folder, and
# on weft: paths. Passes when each that passes locally passes on Weft.
#
#   WEFT_MPI           openmpi (default) or mpich
#   WEFT_TOP_BUILDDIR  the build folder (default: build/)
#   WEFT_TEST_CONF     a running cluster to use instead of one of its own
#   ROMIO_SRC          where the source is (default: as romio-driver/fetch-romio finds it)
#
# Exit status: 0 passed, 1 not so, 77 there is no source to be had.

case ${1-} in
-h | --help)
    sed -n '/^# Usage:/,/^$/s/^# \{0,1\}//p' "$0"
    exit 0
    ;;
esac

# shellcheck source=tests/mpi/lib.sh
. "$(dirname "$0")/../mpi/lib.sh"

# Name, ranks, and how the program takes its file: by -fname, by -f, as the
# first argument, or not at all. Two ranks, or one, where the program wants so.
programs='
aggregation1      4 -f
aggregation2      4 first
async             4 -fname
async-multiple    4 -fname
atomicity         4 -fname
big_extents       4 first
coll_perf         4 -fname
coll_test         4 -fname
creat_excl        4 -fname
darray_read       4 first
error             1 -fname
excl              4 -fname
external32        4 none
file_info         4 -fname
hindexed          4 first
i_noncontig       2 -fname
large_array       4 -fname
large_file        1 -fname
misc              4 -fname
noncontig         2 -fname
noncontig_coll    2 -fname
noncontig_coll2   4 -fname
ordered_fp        4 -fname
perf              4 -fname
psimple           4 -fname
shared_fp         4 -fname
simple            4 -fname
split_coll        4 -fname
status            1 -fname
types_with_zeros  2 first
'

# What a program needs to run here, as a sed script; nothing for most.
adaptation()
{
    case $1 in
    # An array of 41 GB.
    coll_perf) echo 's/128 *\* *17/128/; s/128 *\* *9/128/; s/128 *\* *11/128/' ;;
    # Reads its file by fopen(), which cannot see a weft: path: there it reads
    # what TEST_READ_COMMAND prints.
    external32)
        cat <<'END'
s/"test.datarep"/getenv("TEST_FILE")/
s/fopen( *TEST_FILENAME, *"r" *)/getenv("TEST_READ_COMMAND") ? popen(getenv("TEST_READ_COMMAND"), "r") : fopen(TEST_FILENAME, "r")/
END
        ;;
    # Asks for a striping factor of 0 and takes any other for an error, also the
    # file's real one; and wants to hear that data sieving may be used.
    file_info)
        cat <<'END'
s/atoi(value) != default_striping_factor)/atoi(value) < default_striping_factor)/
/romio_ds_read/,/automatic/s/if (strcmp("automatic", value))/if (strcmp("automatic", value) \&\& strcmp("disable", value))/
END
        ;;
    esac
}

compile()
{
    local name=$1
    adaptation "$name" >"$scratch/$name.sed"
    local from=$source/$name.c
    [ -f "$from" ] || from=$source/$name.c.in
    sed -f "$scratch/$name.sed" -e 's/@LL@/ll/g' "$from" >"$scratch/$name.c"
    "$mpi_cc" -w -O1 -include "$scratch/old_names.h" "$scratch/$name.c" -o "$scratch/$name" \
        >"$scratch/$name.compile.log" 2>&1
}

# run_program RUNNER NAME RANKS STYLE FILE OUTPUT [MPIRUN-OPTION...]: true when it passed.
run_program()
{
    local runner=$1 name=$2 ranks=$3 style=$4 file=$5 out=$6 arguments=()
    shift 6
    case $style in
    first) arguments=("$file") ;;
    none) export TEST_FILE=$file ;;
    *) arguments=("$style" "$file") ;;
    esac
    "$runner" 300 "$ranks" "$@" "$scratch/$name" "${arguments[@]}" >"$out" 2>&1 || return 1
    case $name in
    perf | coll_perf | large_array | large_file | external32) ! grep -qiE 'error|should be|not enough memory|readbuf=' "$out" ;;
    *) grep -q 'No Errors' "$out" ;;
    esac
}

# Memory that large_array needs, twice 4 GiB, and the system beside it.
has_memory()
{
    local kib
    kib=$(sed -n 's/^MemAvailable: *\([0-9]*\) kB/\1/p' /proc/meminfo)
    [ "${kib:-0}" -gt $((10 << 20)) ]
}

run_both()
{
    local name=$1 ranks=$2 style=$3 seconds=$SECONDS locally=passes
    if ! compile "$name"; then
        fail "$name does not compile"
        cat "$scratch/$name.compile.log" >&2
        return
    fi
    if [ "$name" = large_array ] && ! has_memory; then
        printf 'skip romio: %s (needs 10 GiB of free memory)\n' "$name"
        return
    fi
    unset TEST_READ_COMMAND
    run_program run_mpi_with "$name" "$ranks" "$style" "$scratch/local/$name" "$scratch/$name.local.out" \
        "${mpi_local_options[@]}" || locally=fails
    rm -rf "$scratch/local" && mkdir "$scratch/local"
    export TEST_READ_COMMAND="weft cat $folder/$name"
    if run_program run_mpi "$name" "$ranks" "$style" "$folder/$name" "$scratch/$name.weft.out"; then
        # What it found must be the same, too.
        if [ "$name" = external32 ] && ! cmp -s <(grep datarep "$scratch/$name.local.out") <(grep datarep "$scratch/$name.weft.out"); then
            fail "$name found other bytes than locally"
        fi
        printf 'ok romio: %s (%s locally, %d s)\n' "$name" $locally $((SECONDS - seconds))
    elif [ $locally = passes ]; then
        fail "$name passes locally, and not on Weft:"
        tail -n 30 "$scratch/$name.weft.out" >&2
        printf 'not ok romio: %s\n' "$name"
    else
        printf 'skip romio: %s (fails locally too)\n' "$name"
    fi
    weft rm -r "$folder" >/dev/null 2>&1
    weft mkdir "$folder" >/dev/null 2>&1
}

given=${ROMIO_SRC-}
[ "$WEFT_MPI" != mpich ] || given=${MPICH_SRC-}
romio=${given:-$("$WEFT_TOP_SRCDIR/romio-driver/fetch-romio" --mpi "$WEFT_MPI" --quiet)} || exit 77
for source in "$romio/test" "$romio/romio/test" "$romio/src/mpi/romio/test" "$romio"/ompi/mca/io/romio*/romio/test; do
    [ ! -f "$source/simple.c" ] || break
done
[ -f "$source/simple.c" ] || {
    printf 'no test programs of ROMIO in %s\n' "$romio" >&2
    exit 77
}
# Names that MPI 3 took away. Open MPI still has what is behind them, MPICH has them all.
[ "$WEFT_MPI" = mpich ] || cat >"$scratch/old_names.h" <<'END'
#include <mpi.h>
#undef MPI_LB
#undef MPI_UB
#undef MPI_Type_hindexed
extern struct ompi_predefined_datatype_t ompi_mpi_lb, ompi_mpi_ub;
#define MPI_LB OMPI_PREDEFINED_GLOBAL(MPI_Datatype, ompi_mpi_lb)
#define MPI_UB OMPI_PREDEFINED_GLOBAL(MPI_Datatype, ompi_mpi_ub)
#define MPI_Type_struct(n, lengths, places, types, type) MPI_Type_create_struct(n, lengths, places, types, type)
#define MPI_Type_hindexed(n, lengths, places, old, type) MPI_Type_create_hindexed(n, lengths, places, old, type)
END
touch "$scratch/old_names.h"
mkdir "$scratch/local"
cd "$scratch" || exit 99
start_cluster
folder=weft:/romio-tests-$$
expect 0 weft mkdir "$folder"

while read -r name ranks style; do
    [ -n "$name" ] || continue
    [ $# -eq 0 ] || [[ " $* " == *" $name "* ]] || continue
    # Later ROMIOs have some more.
    [ -f "$source/$name.c" ] || [ -f "$source/$name.c.in" ] || continue
    run_both "$name" "$ranks" "$style" </dev/null
done <<<"$programs"

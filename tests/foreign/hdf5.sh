# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# hdf5.sh: what the two runners of HDF5's own tests share: what these programs are like, and how one is
# run. It is sourced.

# shellcheck source=tests/foreign/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
ranks=4
programs= # the folder of the programs
: "${HDF5TestExpress:=3}"
export HDF5TestExpress

# Why a program is not run; nothing for most.
not_for_us()
{
    case $1 in
    t_subfiling_vfd) echo "its driver writes local files, not by MPI-IO" ;;
    esac
}

# The program whose files another reads.
forerunner()
{
    case $1 in
    t_prestart) echo t_pshutdown ;;
    t_pflush2) echo t_pflush1 ;;
    esac
}

# GiB of memory that a program and its file want beside the rest.
memory_for()
{
    case $1 in
    t_bigio | t_2Gio) echo 12 ;;
    *) echo 2 ;;
    esac
}

# Seconds after which a program has failed. Over MPI-IO these two move much of their data in calls of 400 and
# of 16 bytes; the first takes four minutes on a local folder.
seconds_for()
{
    case $1 in
    t_cache_image | t_2Gio) echo 5400 ;;
    *) echo 1200 ;;
    esac
}

# program_of NAME, arguments_of NAME: h5perf is no test, but compares what it reads, in several ways.
program_of()
{
    case $1 in
    h5perf*) printf '%s\n' "$programs/../../tools/src/h5perf/.libs/h5perf" ;;
    *) printf '%s\n' "$programs/$1" ;;
    esac
}

arguments_of()
{
    case $1 in
    h5perf) echo -D v -A phdf5 -d 2 -e 1M -B 16K -x 64K -X 256K ;;
    h5perf-collective) echo -D v -A phdf5 -C -I -d 2 -e 1M -B 1K -x 64K -X 256K ;;
    h5perf-chunked) echo -D v -A phdf5 -C -g -c -d 2 -e 2000 -B 100 -x 500 -X 1000 ;;
    esac
}

# Some exit with 0 whatever happened, and t_pflush1 always with 1.
says_passed()
{
    local name=$1 status=$2 out=$3 wanted=0
    [ "$name" != t_pflush1 ] || wanted=1
    [ "$status" -eq $wanted ] && ! grep -qE '\*FAILED\*|detected [1-9][0-9]* |REAL ERROR|tests? failed|read data error' "$out"
}

# The shell hears of a signal only when it waits for a program in the background: the traps of
# tests/integration/lib.sh would run after the program's end, which may be minutes away.
running=
trap 'end_running; failures=$((failures + 1)); exit' INT TERM

# It is timeout, which passes the signal on, or a shell that waits for it.
end_running()
{
    # shellcheck disable=SC2046
    [ -z "$running" ] || kill "$running" $(cat "/proc/$running/task/$running/children")
}

may_be_interrupted()
{
    local status
    "$@" &
    running=$!
    wait "$running"
    status=$?
    running=
    return $status
}

# in_folder FOLDER NAME OUTPUT COMMAND...: the command runs the program, behind that which it needs.
in_folder()
{
    local name=$2 out=$3 first status
    first=$(forerunner "$name")
    cd "$1" || return
    shift 3
    [ -z "$first" ] || may_be_interrupted "$@" "$programs/$first" >"$out" 2>&1
    # That of 1.10 runs itself again, by its bare name.
    [ "$name" != t_cache_image ] || ln -s "$programs/$name" .
    # shellcheck disable=SC2046
    may_be_interrupted "$@" "$(program_of "$name")" $(arguments_of "$name") >"$out" 2>&1
    status=$?
    [ "$name" != t_cache_image ] || rm -f "$name"
    cd "$scratch" || return
    # The lines of several ranks can run into each other.
    grep -o 'weft-counters .*' "$out" >"$out.counters"
    sed -i 's/weft-counters .*//' "$out"
    says_passed "$name" $status "$out"
}

# sum_of COUNTER FILE: over the sessions of the driver in all ranks; posix_view.c's say nothing.
sum_of()
{
    grep -o " $1=[0-9]*" "$2" | awk -F= '{ sum += $2 } END { printf "%.0f\n", sum }'
}

build_posix_view()
{
    "${CC:-cc}" -O1 -D_GNU_SOURCE= -shared -fPIC -I"$WEFT_TOP_SRCDIR/include" \
        "$WEFT_TOP_SRCDIR/tests/foreign/posix_view.c" -o "$scratch/posix_view.so" \
        -L"$WEFT_TOP_BUILDDIR/libclient/.libs" -Wl,-rpath,"$WEFT_TOP_BUILDDIR/libclient/.libs" -lweft
}

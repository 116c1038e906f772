#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# weft run: what it adds to the environment, whose words are whose, and what it says of a driver that is
# not there.

# shellcheck source=tests/integration/lib.sh
. "$WEFT_TOP_SRCDIR/tests/integration/lib.sh"
unset HDF5_DRIVER HDF5_DRIVER_CONFIG HDF5_PLUGIN_PATH WEFT_HDF5 LD_PRELOAD WEFT_MOUNT WEFT_REPORT
vfd=$scratch/vfd
mkdir -p "$vfd/plugin"
# Something that can be preloaded.
echo 'int nothing;' >"$scratch/nothing.c"
"${CC:-cc}" -shared -fPIC "$scratch/nothing.c" -o "$vfd/libweft-hdf5-mpio.so" || exit 99
cp "$vfd/libweft-hdf5-mpio.so" "$scratch/preload.so"
export WEFT_PRELOAD=$scratch/preload.so

echo "1. nothing is added that was not asked for"
expect 3 weft run -- sh -c 'test -z "${HDF5_DRIVER-}${HDF5_PLUGIN_PATH-}${WEFT_MOUNT-}${WEFT_REPORT-}" && exit 3'
expect 0 weft run -- sh -c 'echo "$LD_PRELOAD"'
same "$scratch/preload.so" "$output"
expect 0 weft run --conf /a/b.conf sh -c 'echo "$WEFT_CONF"'
same /a/b.conf "$output"
expect 0 weft run echo --hdf5 --help
same "--hdf5 --help" "$output"

echo "1b. the mount point and the report"
printf 'cluster = { name = "x"; key_file = "key"; };\nmetadata = { listen = "127.0.0.1:1"; dir = "m"; };\nmount = "/from/file";\n' >"$scratch/weft.conf"
(umask 077 && printf '%064d\n' 0 >"$scratch/key")
expect 0 weft run --conf "$scratch/weft.conf" -- sh -c 'echo "$WEFT_MOUNT"'
same /from/file "$output"
WEFT_MOUNT=/from/env expect 0 weft run --conf "$scratch/weft.conf" -- sh -c 'echo "$WEFT_MOUNT"'
same /from/env "$output"
WEFT_MOUNT=/from/env expect 0 weft run --mount /given --report -- sh -c 'echo "$WEFT_MOUNT|$WEFT_REPORT"'
same "/given|-" "$output"
expect 0 weft run --report=r.txt -- sh -c 'echo "$WEFT_REPORT"'
same "$PWD/r.txt" "$output"
expect 2 weft run --mount / -- true
expect 2 weft run --mount weft -- true
WEFT_PRELOAD=$scratch/none expect 1 weft run -- true
says "$scratch/none is missing"
expect 0 weft run --posix --hdf5 --hdf5-dir "$vfd" -- sh -c 'echo "$HDF5_DRIVER|$LD_PRELOAD"'
same "weft|$scratch/preload.so" "$output"

expect 141 weft run -- bash -c 'kill -PIPE $$' # as without it

echo "2. the plug-in"
expect 0 weft run --hdf5 --hdf5-dir "$vfd" --hdf5-config 'folder=/x' -- \
    sh -c 'echo "$HDF5_DRIVER|$HDF5_DRIVER_CONFIG|$HDF5_PLUGIN_PATH|${LD_PRELOAD-}"'
same "weft|folder=/x|$vfd/plugin|" "$output"
HDF5_PLUGIN_PATH=/other expect 0 weft run --hdf5 --hdf5-dir "$vfd" -- sh -c 'echo "$HDF5_PLUGIN_PATH"'
same "$vfd/plugin:/other" "$output"

echo "3. in the place of MPI-IO"
expect 0 weft run --hdf5-vfd --hdf5-dir "$vfd" --hdf5-config 'folder=/x' --print -- \
    sh -c 'echo "${HDF5_DRIVER-}|$WEFT_HDF5_CONFIG|$HDF5_PLUGIN_PATH|$LD_PRELOAD"'
says "|folder=/x|$vfd/plugin|$vfd/libweft-hdf5-mpio.so" "LD_PRELOAD=$vfd/libweft-hdf5-mpio.so"
mkdir -p "$scratch/built"
mv "$vfd" "$scratch/built/openmpi"
WEFT_HDF5=$scratch/built expect 0 weft run --hdf5-vfd -- sh -c 'echo "$HDF5_PLUGIN_PATH"'
same "$scratch/built/openmpi/plugin" "$output"

echo "4. what can't be"
expect 1 weft run --hdf5 --hdf5-dir "$scratch/none" -- true
says "$scratch/none/plugin is missing" "1.14"
rm -r "$scratch/built/openmpi/libweft-hdf5-mpio.so"
WEFT_HDF5=$scratch/built expect 1 weft run --hdf5-vfd -- true
says "libweft-hdf5-mpio.so is missing" "with MPI"
expect 1 weft run -- "$scratch/no-such-program"
says "no-such-program"
expect 2 weft run
says "which program?"
expect 2 weft run --hdf6 -- true

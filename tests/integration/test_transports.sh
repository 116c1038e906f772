#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A mixed cluster: the metadata server has both transports, of three storage servers the first has UCX only, the
# second libfabric only, the third both. Clients with both reach all of them, whichever they prefer; a
# client with one is told which server has the other. Then a cluster on libfabric's shared memory.

# shellcheck source=tests/integration/lib.sh
. "$WEFT_TOP_SRCDIR/tests/integration/lib.sh"
if [ ! -e "$build/libcommon/transport_ofi.lo" ] && ! ls "$build"/libcommon/*transport_ofi.lo >/dev/null 2>&1; then
    echo 'the build has no libfabric' >&2
    exit 77
fi
unset WEFT_TRANSPORT
# It has mixtures of its own.
[[ ${WEFT_SERVER_WRAPPER-} != */mixed-server ]] || unset WEFT_SERVER_WRAPPER

tcp='tcp;ofi_rxm'
dir=$scratch/mixed
will_stop "$dir"

# Each server with a transport of its own, by its name.
wrapper=$scratch/wrapper
cat >"$wrapper" <<END
#!/bin/sh
case " \$* " in
*' s0 '*) export WEFT_TRANSPORT=ucx ;;
*' s1 '*) export WEFT_TRANSPORT='ofi:$tcp' ;;
*' s2 '*) export WEFT_TRANSPORT='ofi:$tcp+ucx' ;;
esac
exec ${WEFT_SERVER_WRAPPER-} "\$@"
END
chmod +x "$wrapper"
WEFT_SERVER_WRAPPER=$wrapper expect 0 weft up --dir "$dir" --servers 3 --chunk-size 64K --transport "ucx+ofi:$tcp"
[ $failures -eq 0 ] || exit 1
export WEFT_CONF=$dir/weft.conf
cd "$scratch" || exit 99
head -c 5000000 /dev/urandom >original

for transport in "ucx+ofi:$tcp" "ofi:$tcp+ucx" auto; do
    export WEFT_TRANSPORT=$transport
    expect 0 weft cp original "weft:/by-$transport"
    expect 0 weft cp "weft:/by-$transport" back
    cmp original back || fail "what came back over $transport is something else"
    rm -f back
done

# Names and attributes are the metadata server's, which has both; the bytes are everybody's.
for transport in ucx "ofi:$tcp"; do
    export WEFT_TRANSPORT=$transport
    expect 0 weft ls weft:/
    says by-auto
    expect 1 weft cp "weft:/by-auto" back
    case $transport in
    ucx) says 'the peer has transport ucx, this server ofi' ;;
    *) says 'the peer has transport ofi, this server ucx' ;;
    esac
done
export WEFT_TRANSPORT=pigeons
expect 1 weft ls weft:/
says WEFT_TRANSPORT "no transport 'pigeons'" 'it has: ucx, ofi'
export WEFT_TRANSPORT=ofi:pigeons
expect 1 weft ls weft:/
says 'no provider pigeons' 'weft net'
unset WEFT_TRANSPORT
expect 0 weft down --dir "$dir"

dir=$scratch/shared
will_stop "$dir"
expect 0 weft up --dir "$dir" --servers 2 --chunk-size 64K --transport "ofi:shm,$tcp"
export WEFT_CONF=$dir/weft.conf
expect 0 weft cp original weft:/original
expect 0 weft cp weft:/original back
cmp original back || fail 'what came back over shared memory is something else'
expect 0 weft down --dir "$dir"
exit $((failures > 0))

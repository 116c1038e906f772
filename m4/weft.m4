# SPDX-License-Identifier: Apache-2.0
# weft.m4: the questions of configure.ac that take more than a line.

# WEFT_C17: CC speaks C17 with the system's extensions.
AC_DEFUN([WEFT_C17], [
    AC_CACHE_CHECK([for the option that makes $CC speak C17], [weft_cv_c17], [
        weft_cv_c17=no
        weft_saved_cflags=$CFLAGS
        for weft_option in -std=gnu17 -std=gnu18; do
            CFLAGS="$weft_saved_cflags $weft_option"
            AC_COMPILE_IFELSE([AC_LANG_PROGRAM([[
                #include <stdatomic.h>
                _Static_assert(__STDC_VERSION__ >= 201710L, "C17");
            ]])], [weft_cv_c17=$weft_option; break])
        done
        CFLAGS=$weft_saved_cflags
    ])
    AS_IF([test "x$weft_cv_c17" = xno], [AC_MSG_ERROR([$CC cannot compile C17])])
    AC_SUBST([WEFT_STD_CFLAGS], [$weft_cv_c17])
])

# WEFT_CFLAGS_ADD(FLAGS): to all of Weft's own compilations; the user's CFLAGS stay his.
AC_DEFUN([WEFT_CFLAGS_ADD], [
    AC_SUBST([WEFT_CFLAGS])
    WEFT_CFLAGS="$WEFT_CFLAGS $1"
])

# WEFT_CFLAGS_TRY(FLAG): likewise, when the compiler knows it.
AC_DEFUN([WEFT_CFLAGS_TRY], [
    weft_saved_cflags=$CFLAGS
    CFLAGS="$CFLAGS -Werror $1"
    AC_MSG_CHECKING([whether $CC knows $1])
    AC_COMPILE_IFELSE([AC_LANG_PROGRAM()],
        [AC_MSG_RESULT([yes]); WEFT_CFLAGS_ADD([$1])],
        [AC_MSG_RESULT([no])])
    CFLAGS=$weft_saved_cflags
])

# WEFT_REQUIRE(VARIABLE, MODULE, PACKAGE), WEFT_REQUIRE_DONE: libraries without
# which there is no Weft. All that is missing is told at once, with the remedy.
AC_DEFUN([WEFT_REQUIRE], [
    PKG_CHECK_MODULES([$1], [$2], [weft_have_$1=yes], [
        weft_have_$1=no
        weft_missing_modules="$weft_missing_modules
        $2"
        weft_missing_packages="$weft_missing_packages $3"
    ])
])
AC_DEFUN([WEFT_REQUIRE_DONE], [
    AS_IF([test -n "$weft_missing_packages"], [AC_MSG_ERROR([not found by pkg-config:$weft_missing_modules
    On Debian: apt-get install$weft_missing_packages])])
])

# WEFT_OPENMPI: is there an Open MPI that the ROMIO driver can be built for?
AC_DEFUN([WEFT_OPENMPI], [
    have_openmpi=no
    openmpi_version=
    openmpi_why=
    # mpirun is not made with sanitizers, so it cannot load a component that is.
    AS_IF([test "x$with_openmpi" = xno], [openmpi_why="--without-openmpi"],
        [test "x$enable_sanitizers" != xno], [openmpi_why="--enable-sanitizers"], [
        PKG_CHECK_MODULES([OMPI], [ompi-c >= 4.1 ompi-c < 6], [
            openmpi_version=$($PKG_CONFIG --modversion ompi-c)
            have_openmpi=yes
        ], [openmpi_why="install libopenmpi-dev"])
        AC_PATH_PROGS([MPICC], [mpicc.openmpi mpicc], [no])
        AC_PATH_PROGS([MPIRUN], [mpirun.openmpi mpirun], [no])
        AC_PATH_PROG([OMPI_INFO], [ompi_info], [no])
        AS_IF([test "$have_openmpi" = yes],
            [AS_IF([test "$MPICC" = no || test "$MPIRUN" = no || test "$OMPI_INFO" = no],
                [have_openmpi=no; openmpi_why="install openmpi-bin"])])
    ])
    AS_IF([test "x$with_openmpi" = xyes && test "$have_openmpi" = no],
        [AC_MSG_ERROR([--with-openmpi: not found; $openmpi_why])])
    AC_SUBST([OPENMPI_VERSION], [$openmpi_version])
    AM_CONDITIONAL([WITH_OPENMPI], [test "$have_openmpi" = yes])

    mcadir='${libdir}/weft/mca'
    AS_CASE([$with_mca_dir],
        [''|no], [],
        [yes], [AC_MSG_ERROR([--with-mca-dir wants a folder, or "system"])],
        [system], [AS_IF([test "$have_openmpi" = yes],
            [mcadir=$($OMPI_INFO --parsable --path pkglibdir | sed 's/^path:pkglibdir://')])],
        [mcadir=$with_mca_dir])
    AC_SUBST([mcadir])
])

# WEFT_MPICH: is there an MPICH that the ROMIO driver can be built for?
AC_DEFUN([WEFT_MPICH], [
    have_mpich=no
    mpich_version=
    mpich_why=
    AS_IF([test "x$with_mpich" = xno], [mpich_why="--without-mpich"],
        [test "x$enable_sanitizers" != xno], [mpich_why="--enable-sanitizers"], [
        AC_PATH_PROGS([MPICH_MPICC], [mpicc.mpich mpicc], [no])
        AC_PATH_PROGS([MPICH_MPIRUN], [mpirun.mpich mpiexec.hydra mpirun], [no])
        AS_IF([test "$MPICH_MPICC" = no || test "$MPICH_MPIRUN" = no],
            [mpich_why="install libmpich-dev and mpich"], [
            # Only MPICH has this macro; it counts its versions as 40002300 for 4.0.2.
            mpich_number=$(echo MPICH_NUMVERSION | "$MPICH_MPICC" -include mpi.h -E -P -x c - 2>/dev/null | tail -n 1)
            AS_CASE([$mpich_number],
                [''|*@<:@!0-9@:>@*], [mpich_why="install libmpich-dev and mpich"],
                [AS_IF([test "$mpich_number" -lt 40000000], [mpich_why="older than 4.0"],
                    [mpich_version=$((mpich_number / 10000000)).$((mpich_number / 100000 % 100)).$((mpich_number / 1000 % 100))
                     have_mpich=yes])])])
    ])
    AS_IF([test "x$with_mpich" = xyes && test "$have_mpich" = no],
        [AC_MSG_ERROR([--with-mpich: not found; $mpich_why])])
    AM_CONDITIONAL([WITH_MPICH], [test "$have_mpich" = yes])
])

# WEFT_HDF5(LABEL, PKG-CONFIG-NAME, ASKED, PACKAGE): is there an HDF5 that the virtual file driver
# can be built for? HDF5_LABEL is its name for build-vfd then.
AC_DEFUN([WEFT_HDF5], [
    have_hdf5_$1=no
    hdf5_$1_remark=
    HDF5_$1=$3
    AS_IF([test "x$3" = xyes || test "x$3" = xauto], [HDF5_$1=$2])
    AS_IF([test "x$3" = xno], [hdf5_$1_remark="not asked for"],
        [test -f "$HDF5_$1/include/hdf5.h"], [
            HDF5_$1=$(cd "$HDF5_$1" && pwd)
            have_hdf5_$1=yes
            hdf5_$1_remark=$HDF5_$1],
        [$PKG_CONFIG --exists "$HDF5_$1 >= 1.10"], [
            have_hdf5_$1=yes
            hdf5_$1_remark="$($PKG_CONFIG --modversion "$HDF5_$1"), $HDF5_$1"],
        [test "x$3" = xauto], [hdf5_$1_remark="install $4"],
        [AC_MSG_ERROR([there is no HDF5 named $HDF5_$1: neither $HDF5_$1/include/hdf5.h nor a name of pkg-config])])
    AC_SUBST([HDF5_$1])
    AM_CONDITIONAL([WITH_HDF5_$1], [test "$have_hdf5_$1" = yes])
])

# WEFT_BLKID: what tells weft-format what a disk holds.
AC_DEFUN([WEFT_BLKID], [
    have_blkid=no
    AS_IF([test "x$with_blkid" = xno], [blkid_remark="--without-blkid"], [
        PKG_CHECK_MODULES([BLKID], [blkid >= 2.30],
            [have_blkid=yes
             blkid_remark=$($PKG_CONFIG --modversion blkid)],
            [blkid_remark="install libblkid-dev"])])
    AS_IF([test "x$with_blkid" = xyes && test "$have_blkid" = no],
        [AC_MSG_ERROR([--with-blkid: not found; $blkid_remark])])
    AS_IF([test "$have_blkid" = yes], [BLKID_CFLAGS="$BLKID_CFLAGS -DHAVE_BLKID"])
])

# WEFT_FUSE: is there a libfuse that the mount can be built with?
AC_DEFUN([WEFT_FUSE], [
    have_fuse=no
    fuse_remark=
    AS_IF([test "x$with_fuse" = xno], [fuse_remark="--without-fuse"], [
        PKG_CHECK_MODULES([FUSE], [fuse3 >= 3.12],
            [have_fuse=yes
             fuse_remark=$($PKG_CONFIG --modversion fuse3)],
            [fuse_remark="install libfuse3-dev"])])
    AS_IF([test "x$with_fuse" = xyes && test "$have_fuse" = no],
        [AC_MSG_ERROR([--with-fuse: not found; $fuse_remark])])
    AM_CONDITIONAL([WITH_FUSE], [test "$have_fuse" = yes])
])

# WEFT_LIBFABRIC: the second transport, if there is a libfabric.
AC_DEFUN([WEFT_LIBFABRIC], [
    have_libfabric=no
    AS_IF([test "x$with_libfabric" = xno], [libfabric_remark="--without-libfabric"], [
        PKG_CHECK_MODULES([LIBFABRIC], [libfabric >= 1.15],
            [have_libfabric=yes
             libfabric_remark=$($PKG_CONFIG --modversion libfabric)],
            [libfabric_remark="install libfabric-dev"])])
    AS_IF([test "x$with_libfabric" = xyes && test "$have_libfabric" = no],
        [AC_MSG_ERROR([--with-libfabric: not found; $libfabric_remark])])
    AM_CONDITIONAL([WITH_LIBFABRIC], [test "$have_libfabric" = yes])
])

# WEFT_SANITIZERS(LIST): "no", or a list as -fsanitize wants it.
AC_DEFUN([WEFT_SANITIZERS], [
    AS_IF([test "x$1" != xno], [
        weft_flags="-fsanitize=$1 -fno-sanitize-recover=all -fno-omit-frame-pointer"
        weft_saved_cflags=$CFLAGS
        CFLAGS="$CFLAGS $weft_flags"
        AC_MSG_CHECKING([whether $CC has the sanitizers $1])
        AC_LINK_IFELSE([AC_LANG_PROGRAM()],
            [AC_MSG_RESULT([yes])],
            [AC_MSG_RESULT([no]); AC_MSG_ERROR([$CC cannot link with -fsanitize=$1])])
        CFLAGS=$weft_saved_cflags
        WEFT_CFLAGS_ADD([$weft_flags])
        AC_SUBST([WEFT_LDFLAGS], ["$WEFT_LDFLAGS $weft_flags"])
    ])
    AM_CONDITIONAL([WITH_SANITIZERS], [test "x$1" != xno])
])

# WEFT_FUZZERS(yes|no): libFuzzer, which comes with clang.
AC_DEFUN([WEFT_FUZZERS], [
    AS_IF([test "x$1" != xno], [
        weft_saved_cflags=$CFLAGS
        CFLAGS="$CFLAGS -fsanitize=fuzzer"
        AC_MSG_CHECKING([whether $CC has libFuzzer])
        AC_LINK_IFELSE([AC_LANG_SOURCE([[
            #include <stddef.h>
            #include <stdint.h>
            int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
            int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
            {
                return data == NULL && size > 0;
            }
        ]])], [AC_MSG_RESULT([yes])], [
            AC_MSG_RESULT([no])
            AC_MSG_ERROR([--enable-fuzzers needs clang and its run-time library:
    apt-get install clang libclang-rt-dev; then configure with CC=clang])])
        CFLAGS=$weft_saved_cflags
        WEFT_CFLAGS_ADD([-fsanitize=fuzzer-no-link])
    ])
    AM_CONDITIONAL([WITH_FUZZERS], [test "x$1" != xno])
])

# WEFT_VERSION_SCRIPT: without one the library would export more than weft_*.
AC_DEFUN([WEFT_VERSION_SCRIPT], [
    AC_CACHE_CHECK([whether the linker takes a version script], [weft_cv_version_script], [
        echo 'WEFT_0.1 { global: weft_probe; local: *; };' >conftest.map
        weft_saved_ldflags=$LDFLAGS
        LDFLAGS="$LDFLAGS -shared -fPIC -Wl,--version-script=conftest.map"
        AC_LINK_IFELSE([AC_LANG_SOURCE([[
            int weft_probe(void);
            int weft_probe(void) { return 0; }
        ]])], [weft_cv_version_script=yes], [weft_cv_version_script=no])
        LDFLAGS=$weft_saved_ldflags
        rm -f conftest.map
    ])
    AS_IF([test "$weft_cv_version_script" = no],
        [AC_MSG_ERROR([the linker does not take --version-script; use GNU ld, gold or lld])])
])

# WEFT_ROW(WHAT, YES-OR-NO, REMARK): one line of the closing table.
AC_DEFUN([WEFT_ROW], [
    printf '  %-28s %-4s %s\n' "$1" "$2" "$3"
])

# WEFT_SUMMARY: the closing table.
AC_DEFUN([WEFT_SUMMARY], [
    weft_yes_no()
    {
        case $[]1 in ''|no) echo no ;; *) echo yes ;; esac
    }
    AS_IF([test "$have_openmpi" = yes],
        [weft_openmpi_remark="$openmpi_version, ROMIO from ${ROMIO_SRC:-the source package}"],
        [weft_openmpi_remark=$openmpi_why])
    AS_IF([test "$have_mpich" = yes],
        [weft_mpich_remark="$mpich_version, ROMIO from ${MPICH_SRC:-the source package}"],
        [weft_mpich_remark=$mpich_why])
    AS_IF([test "$have_cmocka" = yes], [weft_cmocka_remark=],
        [test "x$enable_tests" = xno], [weft_cmocka_remark="--disable-tests"],
        [weft_cmocka_remark="make check needs it: install libcmocka-dev"])
    AS_IF([test "x$enable_sanitizers" = xno], [weft_sanitizers_remark=],
        [weft_sanitizers_remark=$enable_sanitizers])
    echo
    echo "Weft $PACKAGE_VERSION, compiled by $CC $WEFT_STD_CFLAGS"
    echo
    WEFT_ROW([UCX transport], [yes], [$($PKG_CONFIG --modversion ucx)])
    WEFT_ROW([libfabric transport], [$have_libfabric], [$libfabric_remark])
    WEFT_ROW([hwloc], [yes], [$($PKG_CONFIG --modversion hwloc)])
    WEFT_ROW([LMDB], [yes], [$($PKG_CONFIG --modversion lmdb)])
    WEFT_ROW([ISA-L], [yes], [$($PKG_CONFIG --modversion libisal)])
    WEFT_ROW([liburing], [yes], [$($PKG_CONFIG --modversion liburing)])
    WEFT_ROW([libblkid], [$have_blkid], [$blkid_remark])
    WEFT_ROW([libconfig], [yes], [$($PKG_CONFIG --modversion libconfig)])
    WEFT_ROW([libsodium], [yes], [$($PKG_CONFIG --modversion libsodium)])
    WEFT_ROW([Jansson], [yes], [$($PKG_CONFIG --modversion jansson)])
    WEFT_ROW([ROMIO driver for Open MPI], [$have_openmpi], [$weft_openmpi_remark])
    WEFT_ROW([ROMIO driver for MPICH], [$have_mpich], [$weft_mpich_remark])
    WEFT_ROW([HDF5 driver], [$have_hdf5_SERIAL], [$hdf5_SERIAL_remark])
    WEFT_ROW([HDF5 driver, Open MPI], [$have_hdf5_OPENMPI], [$hdf5_OPENMPI_remark])
    WEFT_ROW([FUSE mount], [$have_fuse], [$fuse_remark])
    WEFT_ROW([unit tests (CMocka)], [$have_cmocka], [$weft_cmocka_remark])
    WEFT_ROW([valgrind], [$(weft_yes_no "$VALGRIND")], [])
    WEFT_ROW([strace], [$(weft_yes_no "$STRACE")], [])
    WEFT_ROW([mandoc], [$(weft_yes_no "$MANDOC")], [])
    WEFT_ROW([sanitizers], [$(weft_yes_no "$enable_sanitizers")], [$weft_sanitizers_remark])
    WEFT_ROW([fuzzers], [$(weft_yes_no "$enable_fuzzers")], [])
    WEFT_ROW([warnings are errors], [$(weft_yes_no "$enable_werror")], [])
    echo
    echo "  installs into $prefix; next: make, make check, make install"
    echo
])

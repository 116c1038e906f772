# SPDX-License-Identifier: Apache-2.0
"""What docs/mount.md says that there is not, and its errnos; and what stands beside it that there is.

Usage: refusals.py DIRECTORY-ON-A-MOUNT
"""
import ctypes
import errno
import mmap
import os
import socket
import stat
import sys

AT_FDCWD = -100
RENAME_NOREPLACE = 1


def refused(wanted, call, *arguments):
    try:
        call(*arguments)
    except OSError as error:
        assert error.errno == wanted, (call, error)
    else:
        raise AssertionError(f"{call} succeeded")


def renameat2(old, new, flags):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(AT_FDCWD, old.encode(), AT_FDCWD, new.encode(), flags) != 0:
        raise OSError(ctypes.get_errno(), "renameat2")


def main():
    os.chdir(sys.argv[1])
    with open("subject", "wb") as file:
        file.write(b"abc" * 5000)
    refused(errno.EOPNOTSUPP, os.mkfifo, "fifo")
    refused(errno.EOPNOTSUPP, socket.socket(socket.AF_UNIX).bind, "socket")
    if os.getuid() == 0:
        refused(errno.EPERM, os.mknod, "device", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    refused(errno.EOPNOTSUPP, os.setxattr, "subject", "user.name", b"value")
    refused(errno.EOPNOTSUPP, os.getxattr, "subject", "user.name")
    refused(errno.EINVAL, renameat2, "subject", "other", RENAME_NOREPLACE)
    with open("subject", "r+b") as file:
        refused(errno.ENODEV, mmap.mmap, file.fileno(), 0)
        with mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE) as private:
            assert private[:] == b"abc" * 5000
        assert os.lseek(file.fileno(), 100, os.SEEK_DATA) == 100
        assert os.lseek(file.fileno(), 100, os.SEEK_HOLE) == 15000
        refused(errno.ENXIO, os.lseek, file.fileno(), 15000, os.SEEK_DATA)
    assert os.listdir().count("subject") == 1


if __name__ == "__main__":
    main()

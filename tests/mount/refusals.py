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


def speak_through(name):
    """A socket of the name, and a word through it."""
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(name)
        server.listen()
        assert stat.S_ISSOCK(os.stat(name).st_mode)
        client.connect(name)
        with server.accept()[0] as end:
            client.sendall(b"word")
            assert end.recv(4) == b"word"


def may_make_devices():
    """A container's root may lack the right."""
    name = f"/tmp/weft-device-{os.getpid()}"
    try:
        os.mknod(name, stat.S_IFCHR | 0o600, os.makedev(1, 3))
    except OSError:
        return False
    os.unlink(name)
    return True


def main():
    os.chdir(sys.argv[1])
    with open("subject", "wb") as file:
        file.write(b"abc" * 5000)
    os.mkfifo("fifo")
    assert stat.S_ISFIFO(os.stat("fifo").st_mode)
    speak_through("socket")
    if os.getuid() == 0 and may_make_devices():
        os.mknod("device", stat.S_IFCHR | 0o600, os.makedev(1, 3))
        refused(errno.EACCES, open, "device")  # a mount is nodev, as all by FUSE
        os.unlink("device")
    os.unlink("fifo")
    os.unlink("socket")
    refused(errno.EOPNOTSUPP, os.setxattr, "subject", "security.name", b"value")
    refused(errno.EOPNOTSUPP, os.getxattr, "subject", "security.name")
    refused(errno.EOPNOTSUPP, os.getxattr, "subject", "system.posix_acl_access")
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

# SPDX-License-Identifier: Apache-2.0
"""Extended attributes by all twelve calls; prints what they say, which is the same everywhere.

Usage: xattrs.py FOLDER
"""
import errno
import os
import sys

CREATE, REPLACE = os.XATTR_CREATE, os.XATTR_REPLACE


def show(text, call, *arguments, **options):
    try:
        result = call(*arguments, **options)
    except OSError as error:
        result = errno.errorcode[error.errno]
    print(f"{text}: {sorted(result) if isinstance(result, list) else result}")


def ours(path):
    """The names, without labels that the local system has put there."""
    return [name for name in os.listxattr(path) if name.startswith(("user.", "trusted."))]


def all_forms(text, path, *, follow=True):
    """One round of the calls of one form, by path or descriptor."""
    options = {} if follow else {"follow_symlinks": False}
    show(f"{text} set", os.setxattr, path, "user.form", text.encode(), **options)
    show(f"{text} get", os.getxattr, path, "user.form", **options)
    show(f"{text} create", os.setxattr, path, "user.form", b"", CREATE, **options)
    show(f"{text} replace", os.setxattr, path, "user.form", b"r" * 300, REPLACE, **options)
    show(f"{text} get", os.getxattr, path, "user.form", **options)
    show(f"{text} remove", os.removexattr, path, "user.form", **options)
    show(f"{text} remove", os.removexattr, path, "user.form", **options)
    show(f"{text} replace", os.setxattr, path, "user.form", b"", REPLACE, **options)
    show(f"{text} get", os.getxattr, path, "user.form", **options)


def main():
    os.mkdir(sys.argv[1])
    os.chdir(sys.argv[1])
    with open("file", "wb") as file:
        file.write(b"bytes")
    os.mkdir("folder")
    os.symlink("file", "link")
    os.mkfifo("pipe")

    all_forms("file", "file")
    all_forms("folder", "folder")
    all_forms("through a link", "link")
    all_forms("a link itself", "link", follow=False)
    all_forms("pipe", "pipe")
    for name, flags in ("file", os.O_RDONLY), ("folder", os.O_RDONLY | os.O_DIRECTORY):
        fd = os.open(name, flags)
        all_forms(f"descriptor of {name}", fd)
        os.setxattr(fd, "user.kept", b"kept")
        print(ours(fd))
        os.close(fd)
    print(ours("file"), ours("folder"), ours("link"))

    # Values are bytes.
    value = bytes(range(256)) * 8
    os.setxattr("file", "user.bytes", value)
    print(os.getxattr("file", "user.bytes") == value)
    show("empty", os.setxattr, "file", "user.empty", b"")
    show("empty", os.getxattr, "file", "user.empty")
    print(sorted(ours("file")))

    # What there can't be.
    show("absent file", os.getxattr, "none", "user.a")
    show("no such name", os.getxattr, "file", "user.none")
    show("no name", os.setxattr, "file", "user.", b"")
    show("long name", os.setxattr, "file", "user." + "n" * 251, b"")
    show("longest name", os.setxattr, "file", "user." + "n" * 250, b"long")
    show("longest name", os.getxattr, "file", "user." + "n" * 250)
    show("long value", os.setxattr, "file", "user.long", b"v" * 65537)
    show("other names", os.setxattr, "file", "com.example.a", b"")
    show("bad flags", os.setxattr, "file", "user.a", b"", 4)
    fd = os.open("file", os.O_RDONLY)
    os.close(fd)
    show("no descriptor", os.getxattr, fd, "user.a")

    # They belong to the file, not to its name.
    os.rename("file", "renamed")
    os.link("renamed", "second")
    os.unlink("renamed")
    show("second name", os.getxattr, "second", "user.kept")
    with open("second", "rb") as file:
        os.unlink("second")
        show("without a name", os.getxattr, file.fileno(), "user.kept")
        show("without a name", os.setxattr, file.fileno(), "user.kept", b"again")
        show("without a name", os.getxattr, file.fileno(), "user.kept")
    print("to the end")


main()

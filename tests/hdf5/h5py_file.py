# SPDX-License-Identifier: Apache-2.0
"""A file of h5py's: `write` by all ranks of a job through the mpio driver, `read` by one process.

usage: h5py_file.py write|read FILE

Both know what belongs at every place. Exit status: 0 all is right, 1 something is not, and is named.
"""
import sys

import h5py
import numpy as np

# No multiples of the ranks, nor of the chunks; but in the end a chunk's edge is the field's, because HDF5 1.10.8
# loses data when ranks shrink a data set so that a chunk is cut: each of them writes that chunk anew, at
# any later time. It does so on every file system.
CHUNK = 16, 50
ROWS, COLUMNS, MORE = 97, 211, 63
LENGTH, RECORDS = 10007, 12


def field(rows, turn):
    """Whole rows of the field, by their numbers."""
    rows = np.asarray(rows, dtype="i8")
    return rows[:, None] * 1000 + np.arange(COLUMNS) + turn * 1000000


def line(first, last):
    return np.arange(first, last, dtype="f8") * 0.5 - 3


def check(name, found, wanted):
    if found.shape != wanted.shape or not np.array_equal(found, wanted):
        at = np.argwhere(found != wanted)[:1].tolist() if found.shape == wanted.shape else found.shape
        sys.exit(f"{name}: not what was written, first at {at}")


def check_file(file):
    """All that is in the finished file."""
    wanted = field(range(ROWS + MORE), 0)
    wanted[:ROWS] = field(range(ROWS), 1)
    for name in "chunked", "filtered":
        check(name, file["fields"][name][...], wanted)
    check("contiguous", file["fields/contiguous"][...], field(range(ROWS), 0))
    check("columns", file["fields/chunked"][1::3, 5:200:7], wanted[1::3, 5:200:7])
    check("line", file["line"][...], line(0, LENGTH))
    check("records", file["records"]["number"], np.arange(RECORDS, dtype="i4"))
    check("records", file["records"]["place"], np.arange(RECORDS * 3).reshape(RECORDS, 3) / 4)
    if file["fields"].attrs["turns"] != 2 or file.attrs["title"] != "Größe in m³":
        sys.exit("attributes: not what was written")
    if set(file) != {"fields", "line", "records"}:
        sys.exit(f"there are {sorted(file)}")


def share(count, comm):
    """This rank's part of so many: first, last and one more."""
    return count * comm.rank // comm.size, count * (comm.rank + 1) // comm.size


def create(comm, path):
    with h5py.File(path, "w", driver="mpio", comm=comm) as file:
        file.attrs["title"] = "Größe in m³"
        fields = file.create_group("fields")
        shape, most, chunks = (ROWS, COLUMNS), (None, COLUMNS), CHUNK
        fields.create_dataset("contiguous", shape, "i8")
        fields.create_dataset("chunked", shape, "i8", maxshape=most, chunks=chunks)
        fields.create_dataset("filtered", shape, "i8", maxshape=most, chunks=chunks, compression="gzip", shuffle=True)
        file.create_dataset("line", (LENGTH,), "f8")
        file.create_dataset("records", (RECORDS,), np.dtype([("number", "i4"), ("place", "f8", (3,))]))
        first, last = share(ROWS, comm)
        for data in fields.values():  # an object of its own at each look-up, and the mode is the object's
            with data.collective:
                data[first:last] = field(range(first, last), 0)
        # Each rank by itself, in as many calls as it likes.
        first, last = share(LENGTH, comm)
        for start in range(first, last, 500 + 100 * comm.rank):
            end = min(last, start + 500 + 100 * comm.rank)
            file["line"][start:end] = line(start, end)
        for number in range(comm.rank, RECORDS, comm.size):
            file["records"][number] = (number, np.arange(3 * number, 3 * number + 3) / 4)
        comm.Barrier()
        # Another rank's part, before anyone has closed the file.
        first, last = share(ROWS, comm)
        for name, data in fields.items():
            with data.collective:
                check(name, data[ROWS - last:ROWS - first], field(range(ROWS - last, ROWS - first), 0))
        check("line", file["line"][...], line(0, LENGTH))


def change(comm, path):
    """Opened again: the old rows overwritten, new ones appended, in rows that interleave."""
    with h5py.File(path, "r+", driver="mpio", comm=comm) as file:
        for name in "chunked", "filtered":
            data = file["fields"][name]
            first, last = share(ROWS, comm)
            with data.collective:
                data[first:last] = field(range(first, last), 1)
            data.resize(ROWS + 2 * MORE, axis=0)
            data.resize(ROWS + MORE, axis=0)
            mine = slice(ROWS + comm.rank, ROWS + MORE, comm.size)
            with data.collective:
                data[mine] = field(range(*mine.indices(ROWS + MORE)), 0)
        file["fields"].attrs["turns"] = 2
        file.flush()
        comm.Barrier()
        check_file(file)


def write(path):
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    if not h5py.get_config().mpi:
        sys.exit("this h5py knows no MPI")
    if comm.size != 4:
        sys.exit(f"{comm.size} ranks, not 4")
    create(comm, path)
    change(comm, path)
    with h5py.File(path, "r", driver="mpio", comm=comm) as file:
        check_file(file)
    try:
        h5py.File(path + ".none", "r", driver="mpio", comm=comm)
        sys.exit("a file that is not there was opened")
    except OSError:
        pass
    comm.Barrier()
    if comm.rank == 0:
        print(f"h5py {h5py.version.version}, HDF5 {h5py.version.hdf5_version}: {comm.size} ranks wrote and read {path}")


def read(path):
    with h5py.File(path, "r") as file:
        check_file(file)
    print(f"h5py {h5py.version.version}: one process read {path}")


if __name__ == "__main__":
    {"write": write, "read": read}[sys.argv[1]](sys.argv[2])

# SPDX-License-Identifier: Apache-2.0
"""SQLite with a rollback journal: two processes on two mounts add to one table, each row once.

Usage: database.py BASE-ON-ONE BASE-ON-TWO
"""
import multiprocessing
import sqlite3
import sys

ROWS = 25


def connect(path):
    base = sqlite3.connect(path, timeout=30, isolation_level=None)
    assert base.execute("pragma journal_mode=delete").fetchone()[0] == "delete"
    return base


def add(path, who):
    base = connect(path)
    for i in range(ROWS):
        base.execute("begin immediate")
        count = base.execute("select n from total").fetchone()[0]
        base.execute("insert into entry values (?, ?)", (who, i))
        base.execute("update total set n = ?", (count + 1,))
        base.execute("commit")


def main():
    paths = sys.argv[1:3]
    base = connect(paths[0])
    base.execute("create table entry (who, i)")
    base.execute("create table total (n)")
    base.execute("insert into total values (0)")
    base.close()
    writers = [multiprocessing.Process(target=add, args=(path, who)) for who, path in enumerate(paths)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0, writer.exitcode
    base = connect(paths[1])
    assert base.execute("pragma integrity_check").fetchone()[0] == "ok"
    assert base.execute("select n from total").fetchone()[0] == 2 * ROWS
    assert base.execute("select count(distinct who * 1000 + i) from entry").fetchone()[0] == 2 * ROWS


if __name__ == "__main__":
    main()

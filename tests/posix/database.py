# SPDX-License-Identifier: Apache-2.0
# Processes that count in one SQLite database, which its locks have to keep whole. Usage: database.py FILE
import os
import sqlite3
import sys

WRITERS, TURNS = 3, 20
db = sqlite3.connect(sys.argv[1])
db.execute("create table counter(n)")
db.execute("insert into counter values(0)")
db.commit()
db.close()
children = []
for _ in range(WRITERS):
    pid = os.fork()
    if pid == 0:
        own = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
        for _ in range(TURNS):
            own.execute("begin immediate")
            own.execute("update counter set n = n + 1")
            own.execute("commit")
        own.close()
        os._exit(0)
    children.append(pid)
print([os.waitpid(pid, 0)[1] for pid in children])
db = sqlite3.connect(sys.argv[1])
print(db.execute("select n from counter").fetchone(), db.execute("pragma integrity_check").fetchone())

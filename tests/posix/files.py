# SPDX-License-Identifier: Apache-2.0
# What Python programs do with files, told step by step. Usage: files.py FOLDER
import mmap
import os
import pathlib
import shutil
import sqlite3
import subprocess
import sys
import tempfile

root = pathlib.Path(sys.argv[1])
root.mkdir()
os.chdir(root)
print(os.getcwd(), os.listdir("."))
(root / "a.txt").write_text("hello\n" * 1000)
shutil.copy2("a.txt", "b.txt")
print(pathlib.Path("b.txt").read_text() == pathlib.Path("a.txt").read_text())
print(os.stat("b.txt").st_mtime_ns == os.stat("a.txt").st_mtime_ns)
os.symlink("a.txt", "link")
print(os.readlink("link"), os.path.realpath("link"), os.path.islink("link"))
os.makedirs("x/y/z")
pathlib.Path("x/y/file").touch()
print(sorted(str(p.relative_to(root)) for p in root.rglob("*")))
shutil.copytree("x", "x2")
for folder, folders, files in sorted(os.walk("x2")):
    print(folder, folders, files)
print(sorted((e.name, e.is_dir(), e.is_symlink()) for e in os.scandir(".")))
os.replace("b.txt", "x/moved")
os.truncate("x/moved", 10)
print(open("x/moved").read())

with open("lines", "w") as f:
    for i in range(2000):
        print(i, file=f)
with open("lines", "r+b") as f:
    f.seek(100)
    print(f.readline(), f.tell(), sum(1 for _ in f))
    f.seek(-5, os.SEEK_END)
    f.write(b"tail")
    f.truncate()
print(os.path.getsize("lines"))

print(subprocess.run(["cat", "a.txt"], capture_output=True, text=True).stdout.count("hello"))
with open("out", "w") as f:
    subprocess.run(["sh", "-c", "echo from a child; ls x"], stdout=f, check=True)
    f.seek(0, os.SEEK_END)
    f.write("from the parent\n")
print(open("out").read())
with open("out") as f:
    print(subprocess.run(["wc", "-l"], stdin=f, capture_output=True, text=True).stdout)
pid = os.fork()
if pid == 0:
    with open("child", "w") as f:
        f.write("written by a child")
    os._exit(0)
print(os.waitpid(pid, 0)[1], open("child").read())

with tempfile.NamedTemporaryFile(dir=root) as t:
    t.write(b"x" * 10)
    t.flush()
    print(os.stat(t.name).st_size, oct(os.stat(t.name).st_mode))
with tempfile.TemporaryDirectory(dir=root) as t:
    pathlib.Path(t, "f").write_bytes(b"1")
with open("map", "w+b") as f:
    f.write(bytes(8192))
    f.flush()
    with mmap.mmap(f.fileno(), 8192) as m:
        m[5000:5003] = b"abc"
print(pathlib.Path("map").read_bytes()[5000:5003])

db = sqlite3.connect("t.db")
print(db.execute("pragma journal_mode").fetchone())
db.execute("create table t(a integer primary key, b)")
db.executemany("insert into t values(?, ?)", [(i, "v%d" % i) for i in range(1000)])
db.commit()
db.execute("delete from t where a % 2")
db.rollback()
print(db.execute("select count(*), sum(a) from t").fetchone())
db.execute("vacuum")
print(db.execute("pragma integrity_check").fetchone())
db.close()
for error, call in ((FileNotFoundError, lambda: open("none")), (FileExistsError, lambda: os.mkdir("x")),
                    (OSError, lambda: os.rmdir("x")), (NotADirectoryError, lambda: os.listdir("a.txt")),
                    (IsADirectoryError, lambda: open("x", "w"))):
    try:
        call()
        print("no error")
    except error as e:
        print(type(e).__name__, os.strerror(e.errno))
os.chdir("/")
shutil.rmtree(root / "x2")
print(sorted(os.listdir(root)))
print("to the end")

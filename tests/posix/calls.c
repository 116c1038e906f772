/* SPDX-License-Identifier: Apache-2.0 */
/* One process: files, offsets, names, folders, attributes, mappings, streams. See show.h. */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

#include "show.h"

static char root[PATH_MAX];

/* What stands in a file. */
static void tell_file(const char *name)
{
    char buffer[256] = "";
    int fd = open(name, O_RDONLY);
    ssize_t length = fd < 0 ? -1 : read(fd, buffer, sizeof buffer - 1);
    for (ssize_t i = 0; i < length; i++)
        if (buffer[i] == '\0')
            buffer[i] = '.';
    TELL("%s has %zd bytes: %s", name, length, buffer);
    close(fd);
}

static void put_file(const char *name, const char *text)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
        TELL("could not write %s: %s", name, strerrorname_np(errno));
    close(fd);
}

static void open_flags(void)
{
    char buffer[16] = "";
    int fd;
    SHOW(open("none", O_RDONLY));
    SHOW(close(open("f", O_WRONLY | O_CREAT | O_EXCL, 0640)));
    SHOW(open("f", O_WRONLY | O_CREAT | O_EXCL, 0640));
    put_file("f", "hello world");
    fd = open("f", O_WRONLY);
    SHOW(read(fd, buffer, 5));
    SHOW(write(fd, "HE", 2));
    SHOW(fcntl(fd, F_GETFL) & O_ACCMODE);
    SHOW(close(fd));
    SHOW(close(fd));
    tell_file("f");
    fd = open("f", O_RDONLY);
    SHOW(write(fd, "x", 1));
    SHOW(ftruncate(fd, 0));
    SHOW(pread(fd, buffer, 5, 6));
    TELL("%s", buffer);
    SHOW(pread(fd, buffer, 5, -1));
    SHOW(pread(fd, buffer, 5, 100));
    SHOW(lseek(fd, 0, SEEK_CUR));
    close(fd);
    fd = open("f", O_WRONLY | O_APPEND);
    SHOW(fcntl(fd, F_GETFL) & O_APPEND);
    SHOW(write(fd, "!", 1));
    SHOW(lseek(fd, 0, SEEK_CUR));
    SHOW(lseek(fd, 0, SEEK_SET));
    SHOW(write(fd, "?", 1));
    SHOW(fcntl(fd, F_SETFL, 0));
    SHOW(lseek(fd, 0, SEEK_SET));
    SHOW(write(fd, "J", 1));
    close(fd);
    tell_file("f");
    SHOW(close(open("f", O_WRONLY | O_TRUNC)));
    tell_file("f");
    SHOW(open("f", O_RDONLY | O_DIRECTORY));
    SHOW(open("f/x", O_RDONLY));
    SHOW(open(".", O_WRONLY));
    SHOW(open("", O_RDONLY));
    SHOW(creat("f", 0600) >= 0);
    SHOW(unlink("f"));
}

static void offsets(void)
{
    char buffer[8] = "";
    put_file("o", "0123456789");
    int fd = open("o", O_RDWR), copy = dup(fd), far = fcntl(fd, F_DUPFD, 100), given = dup2(fd, 77);
    SHOW(far);
    SHOW(given);
    SHOW(read(fd, buffer, 3));
    SHOW(lseek(copy, 0, SEEK_CUR));
    SHOW(read(far, buffer, 3));
    TELL("%.3s", buffer);
    SHOW(close(fd));
    SHOW(lseek(77, -2, SEEK_CUR));
    SHOW(lseek(77, -20, SEEK_CUR));
    SHOW(lseek(77, 0, 99));
    SHOW(lseek(77, 2, SEEK_END));
    SHOW(write(copy, "ab", 2));
    SHOW(lseek(copy, 0, SEEK_DATA));
    SHOW(lseek(copy, 0, SEEK_HOLE));
    SHOW(lseek(copy, 14, SEEK_DATA));
    SHOW(fcntl(copy, F_GETFD));
    SHOW(fcntl(copy, F_SETFD, FD_CLOEXEC));
    SHOW(fcntl(copy, F_GETFD));
    SHOW(fcntl(far, F_GETFD));
    SHOW(close_range(70, 110, 0));
    SHOW(lseek(far, 0, SEEK_CUR));
    SHOW(lseek(77, 0, SEEK_CUR));
    SHOW(close(copy));
    tell_file("o");
    struct iovec parts[] = {{"one ", 4}, {"", 0}, {"two", 3}};
    fd = open("o", O_RDWR | O_TRUNC);
    SHOW(writev(fd, parts, 3));
    SHOW(pwritev(fd, parts, 3, 10));
    SHOW(pwritev2(fd, parts, 1, -1, 0));
    struct iovec into[] = {{buffer, 2}, {buffer + 2, 4}};
    SHOW(preadv(fd, into, 2, 10));
    TELL("%.6s", buffer);
    SHOW(lseek(fd, 1, SEEK_SET));
    SHOW(readv(fd, into, 2));
    TELL("%.6s", buffer);
    close(fd);
    tell_file("o");
    unlink("o");
}

static void sizes(void)
{
    struct stat st;
    put_file("s", "0123456789");
    SHOW(truncate("s", 4));
    tell_file("s");
    SHOW(truncate("s", 8));
    tell_file("s");
    SHOW(truncate("s", -1));
    SHOW(truncate("none", 1));
    int fd = open("s", O_RDWR);
    SHOW(pwrite(fd, "end", 3, 20));
    SHOW(ftruncate(fd, 22));
    SHOW(posix_fallocate(fd, 0, 30));
    SHOW(fallocate(fd, 0, 30, 2));
    SHOW(posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL));
    SHOW(fstat(fd, &st));
    SHOW(st.st_size);
    SHOW(fsync(fd));
    SHOW(fdatasync(fd));
    close(fd);
    tell_file("s");
    SHOW(fsync(fd));
    unlink("s");
}

/* In whole blocks, so that the answers are the same wherever these have 4 KiB. */
static void holes(void)
{
    enum { BLOCK = 4096, PUNCH = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE };
    static char bytes[8 * BLOCK], back[8 * BLOCK];
    unsigned long sum = 0;
    int fd = open("h", O_RDWR | O_CREAT, 0600);
    SHOW(ftruncate(fd, 64 * BLOCK));
    SHOW(lseek(fd, 0, SEEK_DATA));
    SHOW(lseek(fd, 5, SEEK_HOLE));
    SHOW(lseek(fd, 64 * BLOCK, SEEK_HOLE));
    SHOW(lseek(fd, -1, SEEK_DATA));
    memset(bytes, 'x', sizeof bytes);
    SHOW(pwrite(fd, bytes, sizeof bytes, 10 * BLOCK));
    SHOW(lseek(fd, 0, SEEK_DATA));
    SHOW(lseek(fd, 12 * BLOCK + 5, SEEK_HOLE));
    SHOW(lseek(fd, 18 * BLOCK, SEEK_DATA));
    SHOW(fallocate(fd, PUNCH, 11 * BLOCK, 2 * BLOCK));
    SHOW(lseek(fd, 0, SEEK_DATA));
    SHOW(lseek(fd, 10 * BLOCK + 1, SEEK_HOLE));
    SHOW(lseek(fd, 11 * BLOCK + 1, SEEK_HOLE));
    SHOW(lseek(fd, 11 * BLOCK + 1, SEEK_DATA));
    SHOW(lseek(fd, 0, SEEK_CUR));
    SHOW(fallocate(fd, PUNCH, 14 * BLOCK + 100, 1000));
    SHOW(lseek(fd, 13 * BLOCK, SEEK_HOLE));
    SHOW(fallocate(fd, PUNCH, 17 * BLOCK, 1000 * BLOCK));
    SHOW(lseek(fd, 13 * BLOCK, SEEK_HOLE));
    SHOW(pread(fd, back, sizeof back, 10 * BLOCK));
    for (size_t i = 0; i < sizeof back; i++)
        sum = sum * 31 + (unsigned char)back[i];
    SHOW((int)(sum % 1000003));
    SHOW(fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, BLOCK));
    SHOW(fallocate(fd, PUNCH, 0, 0));
    SHOW(fallocate(fd, PUNCH, -1, 5));
    SHOW(fallocate(fd, FALLOC_FL_KEEP_SIZE, 60 * BLOCK, 10 * BLOCK));
    SHOW(lseek(fd, 0, SEEK_END));
    close(fd);
    fd = open("h", O_RDONLY);
    SHOW(fallocate(fd, PUNCH, 0, BLOCK));
    SHOW(lseek(fd, 0, SEEK_DATA));
    close(fd);
    fd = open("h", O_WRONLY);
    SHOW(lseek(fd, 0, SEEK_DATA));
    close(fd);
    unlink("h");
}

static void removed_while_open(void)
{
    char buffer[16] = "";
    struct stat st;
    put_file("r", "kept data");
    int fd = open("r", O_RDWR);
    SHOW(unlink("r"));
    SHOW(access("r", F_OK));
    SHOW(pread(fd, buffer, 9, 0));
    TELL("%s", buffer);
    SHOW(pwrite(fd, "more", 4, 9));
    SHOW(fstat(fd, &st));
    SHOW(st.st_size);
    SHOW(st.st_nlink);
    SHOW(fchmod(fd, 0600));
    SHOW(close(fd));
    put_file("a", "first");
    put_file("b", "second");
    fd = open("b", O_RDONLY);
    SHOW(rename("a", "b"));
    SHOW(read(fd, buffer, 6));
    TELL("%.6s", buffer);
    SHOW(close(fd));
    tell_file("b");
    unlink("b");
}

static void names(void)
{
    char buffer[PATH_MAX] = "";
    struct stat st, other;
    SHOW(mkdir("d", 0755));
    SHOW(mkdir("d", 0755));
    SHOW(mkdir("none/d", 0755));
    put_file("d/f", "text");
    SHOW(rmdir("d"));
    SHOW(unlink("d") == -1);
    SHOW(rmdir("d/f"));
    SHOW(rename("d/f", "d/g"));
    SHOW(rename("d/f", "d/g"));
    SHOW(rename("d", "d/below"));
    SHOW(link("d/g", "d/h"));
    SHOW(link("d/g", "d/h"));
    SHOW(stat("d/g", &st));
    SHOW(stat("d/h", &other));
    SHOW(st.st_ino == other.st_ino && st.st_dev == other.st_dev);
    SHOW(st.st_nlink);
    SHOW(symlink("g", "d/l"));
    SHOW(symlink("../d", "d/up"));
    SHOW(symlink("loop", "loop"));
    SHOW(open("loop", O_RDONLY));
    SHOW(readlink("d/l", buffer, sizeof buffer));
    SHOW(readlink("d/g", buffer, sizeof buffer));
    SHOW(readlink("d/up", buffer, 2));
    TELL("%.2s", buffer);
    tell_file("d/up/up/l");
    SHOW(open("d/l", O_RDONLY | O_NOFOLLOW));
    SHOW(lstat("d/l", &st));
    SHOW(S_ISLNK(st.st_mode));
    SHOW(st.st_size);
    SHOW(stat("d/l", &st));
    SHOW(S_ISREG(st.st_mode));
    SHOW(rename("d/l", "d/m"));
    SHOW(readlink("d/m", buffer, sizeof buffer));
    SHOW(symlink("/usr/bin/env", "d/outside"));
    memset(buffer, 0, sizeof buffer);
    SHOW(readlink("d/outside", buffer, sizeof buffer));
    TELL("%s", buffer);
    char target[PATH_MAX + 8];
    snprintf(target, sizeof target, "%s/d/g", root);
    SHOW(symlink(target, "d/inside"));
    memset(buffer, 0, sizeof buffer);
    SHOW(readlink("d/inside", buffer, sizeof buffer) == (ssize_t)strlen(target));
    SHOW(strcmp(buffer, target));
    tell_file("d/inside");
    SHOW(realpath("d/up/inside", buffer) != NULL);
    TELL("%s", buffer + strlen(root));
    SHOW(realpath("d/none", buffer) != NULL);
    SHOW(remove("d/m"));
    SHOW(remove("none"));
    SHOW(renameat2(AT_FDCWD, "d/g", AT_FDCWD, "d/h", RENAME_NOREPLACE));
    SHOW(renameat2(AT_FDCWD, "d/g", AT_FDCWD, "d/i", RENAME_NOREPLACE));
    SHOW(unlink("loop"));
    for (const char *const *name = (const char *const[]){"d/i", "d/h", "d/up", "d/outside", "d/inside", NULL};
         *name; name++)
        SHOW(unlink(*name));
    SHOW(remove("d"));
    memset(buffer, 'x', 300);
    buffer[300] = '\0';
    SHOW(open(buffer, O_RDONLY));
    SHOW(mkdir(buffer, 0700));
}

static void relative_calls(void)
{
    char buffer[64] = "";
    struct stat st;
    mkdir("at", 0755);
    int dir = open("at", O_RDONLY | O_DIRECTORY), fd;
    SHOW(mkdirat(dir, "sub", 0755));
    SHOW((fd = openat(dir, "sub/f", O_RDWR | O_CREAT, 0600)) >= 0);
    SHOW(write(fd, "text", 4));
    SHOW(fstatat(fd, "", &st, AT_EMPTY_PATH));
    SHOW(st.st_size);
    SHOW(openat(fd, "x", O_RDONLY));
    close(fd);
    SHOW(fstatat(dir, "sub/f", &st, 0));
    SHOW(st.st_size);
    SHOW(faccessat(dir, "sub/f", R_OK, 0));
    SHOW(faccessat(dir, "sub/g", R_OK, 0));
    SHOW(symlinkat("sub/f", dir, "l"));
    SHOW(readlinkat(dir, "l", buffer, sizeof buffer));
    SHOW(linkat(dir, "sub/f", dir, "hard", 0));
    SHOW(renameat(dir, "hard", dir, "sub/moved"));
    SHOW(fchmodat(dir, "sub/moved", 0604, 0));
    SHOW(fstatat(dir, "l", &st, AT_SYMLINK_NOFOLLOW));
    SHOW(S_ISLNK(st.st_mode));
    SHOW(stat("at/sub/f", &st));
    SHOW(st.st_mode & 07777);
    SHOW(fchdir(dir));
    SHOW(getcwd(buffer, 4) == NULL);
    char *working = getcwd(NULL, 0);
    TELL("%s", working + strlen(root));
    free(working);
    SHOW(access("sub/f", R_OK));
    SHOW(chdir("sub"));
    SHOW(access("../l", R_OK));
    SHOW(chdir("f"));
    SHOW(chdir("../none"));
    SHOW(unlink("../l"));
    SHOW(chdir("../.."));
    SHOW(unlinkat(dir, "sub", 0) == -1);
    SHOW(unlinkat(dir, "sub/f", 0));
    SHOW(unlinkat(dir, "sub/moved", 0));
    SHOW(unlinkat(dir, "sub", AT_REMOVEDIR));
    SHOW(close(dir));
    SHOW(rmdir("at"));
    SHOW(openat(dir, "x", O_RDONLY));
    /* As find and rm go up in a tree that they take away behind them. */
    SHOW(mkdir("up", 0755));
    SHOW(mkdir("up/down", 0755));
    int down = open("up/down", O_RDONLY | O_DIRECTORY), up = openat(down, "..", O_RDONLY | O_DIRECTORY);
    SHOW(close(down));
    SHOW(unlinkat(up, "down", AT_REMOVEDIR));
    SHOW(fstatat(up, "down", &st, 0));
    SHOW(mkdirat(up, "again", 0755));
    SHOW(unlinkat(up, "again", AT_REMOVEDIR));
    SHOW(close(up));
    SHOW(rmdir("up"));
}

static void modes(void)
{
    struct stat st;
    umask(027);
    SHOW(close(open("m", O_CREAT | O_WRONLY, 0666)));
    SHOW(mkdir("md", 0777));
    umask(022);
    stat("m", &st);
    TELL("%o", st.st_mode);
    stat("md", &st);
    TELL("%o", st.st_mode);
    SHOW(chmod("m", 04711));
    stat("m", &st);
    TELL("%o", st.st_mode);
    SHOW(chmod("md", 01777));
    stat("md", &st);
    TELL("%o", st.st_mode);
    SHOW(chown("m", getuid(), getgid()));
    SHOW(lchown("m", -1, -1));
    const struct timespec times[2] = {{1000000001, 5}, {1000000002, 999999999}};
    SHOW(utimensat(AT_FDCWD, "m", times, 0));
    stat("m", &st);
    TELL("%ld.%ld %ld.%ld", st.st_atim.tv_sec, st.st_atim.tv_nsec, st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
    const struct timespec kept[2] = {{0, UTIME_OMIT}, {7, 0}};
    int fd = open("m", O_RDONLY);
    SHOW(futimens(fd, kept));
    fstat(fd, &st);
    TELL("%ld.%ld %ld.%ld", st.st_atim.tv_sec, st.st_atim.tv_nsec, st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
    close(fd);
    SHOW(symlink("m", "ml"));
    SHOW(lutimes("ml", (const struct timeval[2]){{3, 0}, {4, 500000}}));
    lstat("ml", &st);
    TELL("%ld.%ld", st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
    SHOW(utimes("m", (const struct timeval[2]){{3, 0}, {4, 1000000}}));
    SHOW(utimensat(AT_FDCWD, "none", NULL, 0));
    SHOW(unlink("ml"));
    SHOW(unlink("m"));
    SHOW(rmdir("md"));
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Their order is the file system's business, so they are sorted. */
static void tell_folder(const char *name)
{
    enum { ROOM = 8192 };
    static char *found[ROOM];
    size_t count = 0, bytes = 0;
    DIR *dir = opendir(name);
    for (struct dirent *entry; dir && (entry = readdir(dir)) && count < ROOM;)
        found[count++] = strdup(entry->d_name);
    qsort(found, count, sizeof *found, compare_names);
    for (size_t i = 0; i < count; bytes += strlen(found[i]), i++)
        if (i < 4)
            TELL("%s", found[i]);
    TELL("%s has %zu entries of %zu bytes", name, count, bytes);
    while (count > 0)
        free(found[--count]);
    if (dir)
        closedir(dir);
}

static int without_dots(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static void folders(void)
{
    enum { MANY = 3000 };
    char name[64];
    struct dirent **list;
    mkdir("many", 0755);
    tell_folder("many");
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "many/file-%05d", i);
        close(open(name, O_CREAT | O_WRONLY, 0644));
    }
    tell_folder("many");
    DIR *dir = opendir("many");
    for (int i = 0; i < 1500; i++)
        readdir(dir);
    long place = telldir(dir);
    snprintf(name, sizeof name, "%s", readdir(dir)->d_name);
    for (int i = 0; i < 700; i++)
        readdir(dir);
    seekdir(dir, place);
    SHOW(strcmp(name, readdir(dir)->d_name));
    rewinddir(dir);
    size_t count = 0, regular = 0;
    for (struct dirent *entry; (entry = readdir(dir)); count++) {
        regular += entry->d_type == DT_REG;
        /* As rm -r does: what was told is removed while the rest is still to come. */
        if (entry->d_name[0] != '.')
            unlinkat(dirfd(dir), entry->d_name, 0);
    }
    TELL("%zu entries, %zu of them files", count, regular);
    SHOW(closedir(dir));
    tell_folder("many");
    put_file("many/b", "");
    put_file("many/a", "");
    mkdir("many/c", 0700);
    int found = scandir("many", &list, without_dots, alphasort);
    for (int i = 0; i < found; i++) {
        TELL("%s %d", list[i]->d_name, list[i]->d_type);
        free(list[i]);
    }
    if (found >= 0)
        free(list);
    SHOW(opendir("none") != NULL);
    SHOW(opendir("many/a") != NULL);
    int fd = open("many", O_RDONLY);
    SHOW(read(fd, name, 1));
    SHOW((dir = fdopendir(fd)) != NULL);
    SHOW(dirfd(dir) == fd);
    SHOW(closedir(dir));
    SHOW(close(fd));
    SHOW(unlink("many/a"));
    SHOW(unlink("many/b"));
    SHOW(rmdir("many"));
    SHOW(rmdir("many/c"));
    SHOW(rmdir("many"));
}

static void mappings(void)
{
    enum { PAGES = 3 };
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    int fd = open("map", O_RDWR | O_CREAT | O_TRUNC, 0600);
    SHOW(ftruncate(fd, (off_t)(PAGES * page)));
    SHOW(pwrite(fd, "start", 5, 0));
    char *shared = mmap(NULL, PAGES * page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    SHOW(shared != MAP_FAILED);
    TELL("%.5s", shared);
    memcpy(shared + page, "middle", 6);
    memcpy(shared + PAGES * page - 3, "end", 3);
    SHOW(msync(shared, PAGES * page, MS_SYNC));
    char buffer[8] = "";
    SHOW(pread(fd, buffer, 6, (off_t)page));
    TELL("%s", buffer);
    char *private = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, (off_t)page);
    TELL("%.6s", private);
    memcpy(private, "MIDDLE", 6);
    SHOW(munmap(private, page));
    memcpy(shared, "START", 5);
    SHOW(munmap(shared, page));
    memcpy(shared + page, "Middle", 6);
    SHOW(close(fd));
    SHOW(munmap(shared + page, (PAGES - 1) * page));
    tell_file("map");
    fd = open("map", O_RDONLY);
    SHOW(mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
    SHOW(mmap(NULL, page, PROT_READ, MAP_SHARED, fd, 1) == MAP_FAILED);
    char *last = mmap(NULL, page, PROT_READ, MAP_SHARED, fd, (off_t)((PAGES - 2) * page));
    TELL("%.6s", last);
    SHOW(munmap(last, page));
    close(fd);
    unlink("map");
}

static void streams(void)
{
    char line[64], text[32] = "";
    FILE *file = fopen("st", "w+");
    SHOW(file != NULL);
    SHOW(fprintf(file, "first %d\nsecond\n", 1));
    SHOW(fflush(file));
    SHOW(fileno(file) >= 0);
    SHOW(lseek(fileno(file), 0, SEEK_CUR));
    rewind(file);
    while (fgets(line, sizeof line, file))
        TELL("%zu %.5s", strlen(line), line);
    SHOW(fseek(file, 6, SEEK_SET));
    SHOW(fgetc(file));
    SHOW(ftell(file));
    SHOW(fclose(file));
    file = fopen("st", "a");
    SHOW(fputs("third\n", file) >= 0);
    SHOW(fclose(file));
    SHOW(fopen("st", "wx") != NULL);
    SHOW(fopen("none", "r") != NULL);
    file = fopen("st", "r+");
    SHOW(fread(text, 1, 5, file));
    SHOW(fseek(file, 0, SEEK_END));
    SHOW(ftell(file));
    SHOW(fwrite("tail\n", 1, 5, file));
    SHOW(fclose(file));
    tell_file("st");
    int fd = open("st", O_RDONLY);
    SHOW(fdopen(fd, "w") != NULL);
    file = fdopen(fd, "r");
    SHOW(fileno(file) == fd);
    SHOW(fscanf(file, "%31s", text));
    TELL("%s", text);
    SHOW(fclose(file));
    SHOW(close(fd));
    unlink("st");
}

static void between(void)
{
    put_file("from", "0123456789abcdef");
    int from = open("from", O_RDONLY), to = open("to", O_RDWR | O_CREAT | O_TRUNC, 0600);
    off_t at = 4;
    SHOW(sendfile(to, from, &at, 4));
    SHOW(at);
    SHOW(sendfile(to, from, NULL, 3));
    SHOW(lseek(from, 0, SEEK_CUR));
    off64_t in = 10, out = 7;
    SHOW(copy_file_range(from, &in, to, &out, 100, 0));
    SHOW(in);
    SHOW(copy_file_range(from, NULL, to, NULL, 2, 0));
    close(from);
    close(to);
    tell_file("to");
    /* Within one file, to behind its end: only what was there before is copied. */
    to = open("to", O_RDWR);
    in = 4, out = 30;
    SHOW(copy_file_range(to, &in, to, &out, 100, 0));
    SHOW(out);
    in = 100, out = 0;
    SHOW(copy_file_range(to, &in, to, &out, 10, 0));
    close(to);
    tell_file("to");
    unlink("from");
    unlink("to");
    char temporary[] = "tmp-XXXXXX", folder[] = "dir-XXXXXX", suffixed[] = "tmp-XXXXXX.txt";
    struct stat st;
    int fd = mkstemp(temporary);
    SHOW(fd >= 0);
    SHOW(fstat(fd, &st));
    TELL("%o", st.st_mode);
    close(fd);
    SHOW(unlink(temporary));
    SHOW(close(mkostemps(suffixed, 4, O_APPEND)));
    SHOW(unlink(suffixed));
    SHOW(mkdtemp(folder) != NULL);
    SHOW(rmdir(folder));
    SHOW(mkstemp((char[]){"tmp"}));
}

/* Pipes and sockets can be made and looked at. Opening them is not the same in the cluster. */
static void special_files(void)
{
    struct stat st;
    SHOW(mkfifo("pipe", 0666));
    SHOW(mkfifo("pipe", 0666));
    SHOW(mkfifoat(AT_FDCWD, "none/pipe", 0666));
    SHOW(mknod("socket", S_IFSOCK | 0700, 0));
    SHOW(mknodat(AT_FDCWD, "plain", S_IFREG | 0604, 0));
    SHOW(mknod("folder", S_IFDIR | 0700, 0));
    SHOW(lstat("pipe", &st));
    TELL("%o %d links, device %d", st.st_mode, (int)st.st_nlink, (int)st.st_rdev);
    SHOW(stat("socket", &st));
    TELL("%o", st.st_mode);
    SHOW(stat("plain", &st));
    TELL("%o %d bytes", st.st_mode, (int)st.st_size);
    SHOW(chmod("pipe", 0600));
    SHOW(link("pipe", "other"));
    SHOW(rename("other", "socket"));
    SHOW(stat("socket", &st));
    TELL("%o %d links", st.st_mode, (int)st.st_nlink);
    SHOW(truncate("pipe", 0));
    tell_folder(".");
    SHOW(unlink("pipe"));
    SHOW(unlink("socket"));
    SHOW(unlink("plain"));
}

enum { THREADS = 4, TURNS = 100 };

static void *write_turns(void *arg)
{
    int number = (int)(long)arg, fd = open("threads", O_RDWR);
    char record[16];
    for (int i = 0; i < TURNS; i++) {
        snprintf(record, sizeof record, "%03d-%03d        ", number, i);
        if (pwrite(fd, record, 16, ((off_t)i * THREADS + number) * 16) != 16)
            TELL("a write failed: %s", strerrorname_np(errno));
        int copy = dup(fd);
        close(copy);
    }
    close(fd);
    return NULL;
}

static void threads(void)
{
    pthread_t thread[THREADS];
    char record[16], wanted[16];
    int wrong = 0;
    put_file("threads", "");
    for (long i = 0; i < THREADS; i++)
        pthread_create(&thread[i], NULL, write_turns, (void *)i);
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    int fd = open("threads", O_RDONLY);
    for (int i = 0; i < THREADS * TURNS; i++) {
        snprintf(wanted, sizeof wanted, "%03d-%03d        ", i % THREADS, i / THREADS);
        wrong += read(fd, record, 16) != 16 || memcmp(record, wanted, 15) != 0;
    }
    TELL("%d wrong records", wrong);
    SHOW(lseek(fd, 0, SEEK_END));
    close(fd);
    unlink("threads");
}

int main(int argc, char **argv)
{
    struct statvfs space;
    if (argc < 2 || chdir(argv[1]) < 0 || !getcwd(root, sizeof root))
        return 99;
    umask(022);
    open_flags();
    offsets();
    sizes();
    holes();
    removed_while_open();
    names();
    relative_calls();
    modes();
    folders();
    mappings();
    streams();
    between();
    special_files();
    threads();
    SHOW(statvfs(".", &space));
    tell_folder(".");
    return 0;
}

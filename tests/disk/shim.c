/* A disk that misbehaves on purpose, between a process and its C library. Loaded with LD_PRELOAD by tests only.
 *
 * Only files whose path contains SHIM_MATCH count, and not SHIM_NOT. SHIM_KILL_AT=n: SIGKILL at the n-th sync, before it happens.
 * SHIM_EIO_AT=n: the n-th sync fails with EIO. SHIM_FULL_AFTER=n: from the n-th write on there is no space left, or with
 * SHIM_READ_ONLY the file system has become read-only.
 * SHIM_CLOCK=file: while that file is there, the system's clock is as many seconds off as its first line says; the monotonic
 * one is not.
 * SHIM_DELAY_MS=n: every sync takes that much longer. SHIM_PLATTER=dir: after each sync that succeeded the whole file is
 * copied there: what a power cut leaves. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

static _Atomic long syncs, writes;

static long number(const char *name) {
    const char *text = getenv(name);
    return text ? atol(text) : 0;
}

static int counts(int fd, char *path, size_t size) {
    const char *match = getenv("SHIM_MATCH");
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, size - 1);
    if (n < 0 || !match) return 0;
    path[n] = 0;
    const char *but = getenv("SHIM_NOT");
    if (but && strstr(path, but)) return 0;
    return strstr(path, match) != NULL;
}

static void keep(int fd, const char *path) {
    const char *dir = getenv("SHIM_PLATTER");
    if (!dir) return;
    const char *name = strrchr(path, '/');
    char to[4096], part[4096];
    snprintf(to, sizeof to, "%s/%s", dir, name ? name + 1 : path);
    snprintf(part, sizeof part, "%s.part", to);
    int out = open(part, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (out < 0) return;
    static ssize_t (*real_pread)(int, void *, size_t, off_t);
    if (!real_pread) real_pread = dlsym(RTLD_NEXT, "pread");
    char block[65536];
    off_t at = 0;
    for (;;) {
        ssize_t n = real_pread(fd, block, sizeof block, at);
        if (n <= 0) break;
        if (write(out, block, (size_t)n) != n) break;
        at += n;
    }
    close(out);
    rename(part, to);
}

static int synced(int fd, int (*real)(int)) {
    char path[4096];
    if (!counts(fd, path, sizeof path)) return real(fd);
    long n = ++syncs;
    if (n == number("SHIM_KILL_AT")) {
        kill(getpid(), SIGKILL);
        for (;;) pause();
    }
    if (n == number("SHIM_EIO_AT")) {
        errno = EIO;
        return -1;
    }
    long ms = number("SHIM_DELAY_MS");
    if (ms > 0) {
        struct timespec pause = {ms / 1000, (ms % 1000) * 1000000L};
        nanosleep(&pause, NULL);
    }
    int result = real(fd);
    if (result == 0) keep(fd, path);
    return result;
}

int fsync(int fd) {
    static int (*real)(int);
    if (!real) real = dlsym(RTLD_NEXT, "fsync");
    return synced(fd, real);
}

int fdatasync(int fd) {
    static int (*real)(int);
    if (!real) real = dlsym(RTLD_NEXT, "fdatasync");
    return synced(fd, real);
}

/* A deletion is on the platter with the directory's next sync, which SQLite does before it relies on it. */
int unlink(const char *path) {
    static int (*real)(const char *);
    if (!real) real = dlsym(RTLD_NEXT, "unlink");
    int result = real(path);
    const char *dir = getenv("SHIM_PLATTER"), *match = getenv("SHIM_MATCH"), *name = strrchr(path, '/');
    if (result == 0 && dir && match && name && strstr(path, match)) {
        char to[4096];
        snprintf(to, sizeof to, "%s/%s", dir, name + 1);
        real(to);
    }
    return result;
}

static int full(int fd) {
    char path[4096];
    long after = number("SHIM_FULL_AFTER");
    return after > 0 && counts(fd, path, sizeof path) && ++writes >= after;
}

static int full_error(void) {
    return getenv("SHIM_READ_ONLY") ? EROFS : ENOSPC;
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    static ssize_t (*real)(int, const void *, size_t, off64_t);
    if (!real) real = dlsym(RTLD_NEXT, "pwrite64");
    if (full(fd)) {
        errno = full_error();
        return -1;
    }
    return real(fd, data, size, at);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    static ssize_t (*real)(int, const void *, size_t, off_t);
    if (!real) real = dlsym(RTLD_NEXT, "pwrite");
    if (full(fd)) {
        errno = full_error();
        return -1;
    }
    return real(fd, data, size, at);
}

ssize_t write(int fd, const void *data, size_t size) {
    static ssize_t (*real)(int, const void *, size_t);
    if (!real) real = dlsym(RTLD_NEXT, "write");
    if (full(fd)) {
        errno = full_error();
        return -1;
    }
    return real(fd, data, size);
}

int clock_gettime(clockid_t id, struct timespec *out) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(id, out);
    const char *name = getenv("SHIM_CLOCK");
    if (result == 0 && id == CLOCK_REALTIME && name) {
        FILE *file = fopen(name, "r");
        long off = 0;
        if (file && fscanf(file, "%ld", &off) == 1) out->tv_sec += off;
        if (file) fclose(file);
    }
    return result;
}

// LD_PRELOAD: whoever looks at or opens a path that begins with $HANG_PREFIX waits while the file $HANG_FLAG is
// there, as at a mount that does not answer. Whoever syncs a file waits while $HANG_SYNC is there.
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static void wait_at(const char *path) {
  const char *prefix = getenv("HANG_PREFIX"), *flag = getenv("HANG_FLAG");
  if (!path || !prefix || !flag || strncmp(path, prefix, strlen(prefix)) != 0) return;
  while (syscall(SYS_faccessat, AT_FDCWD, flag, F_OK) == 0) usleep(10000);
}

static void wait_for_disk(void) {
  const char *flag = getenv("HANG_SYNC");
  while (flag && syscall(SYS_faccessat, AT_FDCWD, flag, F_OK) == 0) usleep(10000);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define OPEN(name)                              \
  int name(const char *path, int flags, ...) {  \
    va_list more;                               \
    va_start(more, flags);                      \
    mode_t mode = va_arg(more, mode_t);         \
    va_end(more);                               \
    wait_at(path);                              \
    return REAL(name)(path, flags, mode);       \
  }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                    \
  int name(int dir, const char *path, int flags, ...) { \
    va_list more;                                       \
    va_start(more, flags);                              \
    mode_t mode = va_arg(more, mode_t);                 \
    va_end(more);                                       \
    wait_at(path);                                      \
    return REAL(name)(dir, path, flags, mode);          \
  }
OPENAT(openat)
OPENAT(openat64)

#define STAT(name, type)                     \
  int name(const char *path, struct type *to) { \
    wait_at(path);                           \
    return REAL(name)(path, to);             \
  }
STAT(stat, stat)
STAT(stat64, stat64)
STAT(lstat, stat)
STAT(lstat64, stat64)

DIR *opendir(const char *path) {
  wait_at(path);
  return REAL(opendir)(path);
}

int fstatat64(int dir, const char *path, struct stat64 *to, int flags) {
  wait_at(path);
  return REAL(fstatat64)(dir, path, to, flags);
}

int statx(int dir, const char *restrict path, int flags, unsigned mask, struct statx *restrict to) {
  wait_at(path);
  return REAL(statx)(dir, path, flags, mask, to);
}

int fsync(int fd) {
  wait_for_disk();
  return REAL(fsync)(fd);
}

int fdatasync(int fd) {
  wait_for_disk();
  return REAL(fdatasync)(fd);
}

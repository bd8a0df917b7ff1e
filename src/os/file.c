// Files on POSIX systems. Files are opened without waiting (a pipe under a model's name must not hang)
// and must be regular; sizes come from the open descriptor, never from the path.
#include "os/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checked.h"
#include "os/file_guard.h"
#include "os/page.h"

// One read or write call moves at most this much: macOS refuses 2 GiB and more.
#define IO_PIECE ((size_t)1 << 30)

static HTH_NOINLINE hth_code fail_errno(hth_err *err, const char *path, const char *what, int number) {
    char text[128];
    hth_code code = number == ENOMEM                        ? HTH_ERR_NOMEM
                    : number == ENOENT || number == ENOTDIR ? HTH_ERR_NOTFOUND
                                                            : HTH_ERR_IO;
    // strerror is not thread-safe and strerror_r has two signatures: our own words for what happens.
    const char *why = number == ENOENT    ? "no such file or folder"
                      : number == EACCES  ? "permission denied"
                      : number == ENOSPC  ? "no space left on the device"
                      : number == EISDIR  ? "it is a folder"
                      : number == ENOTDIR ? "a part of the path is not a folder"
                      : number == EMFILE  ? "too many open files"
                      : number == ENOMEM  ? "out of memory"
                      : number == EROFS   ? "the file system is read-only"
                                          : NULL;
    if (!why) {
        snprintf(text, sizeof text, "system error %d", number);
        why = text;
    }
    return hth_fail(err, code, "%s: %s: %s", path, what, why);
}

hth_path_kind hth_path_kind_of(const char *path) {
    struct stat st;
    if (stat(path, &st) != 0) return HTH_PATH_NONE;
    return S_ISREG(st.st_mode) ? HTH_PATH_FILE : S_ISDIR(st.st_mode) ? HTH_PATH_FOLDER : HTH_PATH_OTHER;
}

bool hth_path_facts(const char *path, int64_t *modified_s, uint64_t *n_bytes) {
    struct stat st;
    if (stat(path, &st) != 0) return false;
    *modified_s = (int64_t)st.st_mtime;
    *n_bytes = (uint64_t)st.st_size;
    return true;
}

bool hth_path_is_same(const char *a, const char *b) {
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

// Opens a regular file for reading; its size goes to *n_bytes.
static hth_code open_regular(const char *path, int *fd, uint64_t *n_bytes, hth_err *err) {
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (*fd < 0) return fail_errno(err, path, "cannot open", errno);
    struct stat st;
    hth_code code = HTH_OK;
    if (fstat(*fd, &st) != 0) {
        code = fail_errno(err, path, "cannot read its size", errno);
    } else if (S_ISDIR(st.st_mode)) {
        code = hth_fail(err, HTH_ERR_IO, "%s: cannot open: it is a folder, not a file", path);
    } else if (!S_ISREG(st.st_mode) || st.st_size < 0) {
        code = hth_fail(err, HTH_ERR_IO, "%s: cannot open: it is not a regular file", path);
    } else {
        *n_bytes = (uint64_t)st.st_size;
    }
    if (code != HTH_OK) close(*fd);
    return code;
}

hth_code hth_file_map_open(const char *path, hth_file_map *out, hth_err *err) {
    *out = (hth_file_map){0};
    int fd;
    uint64_t n_bytes = 0;
    HTH_TRY(open_regular(path, &fd, &n_bytes, err));
    hth_code code = HTH_OK;
    if (n_bytes > SIZE_MAX) {
        code = hth_fail(err, HTH_ERR_LIMIT, "%s: too large to map on this machine", path);
    } else if (n_bytes > 0) {
        void *data = mmap(NULL, (size_t)n_bytes, PROT_READ, MAP_SHARED, fd, 0);
        if (data == MAP_FAILED) {
            code = fail_errno(err, path, "cannot map", errno);
        } else {
            *out = (hth_file_map){.data = data, .n_bytes = n_bytes};
            hth_page_want_large(data, (size_t)n_bytes); // some file systems then read a cold file into large pages
            hth_file_guard_add(out->data, n_bytes);
        }
    }
    close(fd);
    return code;
}

// munmap and madvise take pointers to what they do not write; the map is const for everybody else.
static void *writable(const uint8_t *p) {
    return (void *)(uintptr_t)p;
}

void hth_file_map_close(hth_file_map *map) {
    if (map->data) {
        hth_file_guard_remove(map->data); // while the addresses are still nobody else's
        munmap(writable(map->data), (size_t)map->n_bytes);
    }
    *map = (hth_file_map){0};
}

void hth_file_map_advise(const hth_file_map *map, uint64_t off, uint64_t len, hth_map_advice advice) {
    if (!map->data || off >= map->n_bytes) return;
    if (len > map->n_bytes - off) len = map->n_bytes - off;
    long page = sysconf(_SC_PAGESIZE);
    if (page <= 0 || len == 0) return;
    uint64_t lead = off % (uint64_t)page; // the system wants whole pages
    int how = advice == HTH_MAP_RANDOM      ? POSIX_MADV_RANDOM
              : advice == HTH_MAP_WILL_NEED ? POSIX_MADV_WILLNEED
                                            : POSIX_MADV_NORMAL;
    (void)posix_madvise(writable(map->data + (off - lead)), (size_t)(len + lead), how);
}

hth_code hth_file_map_own(const hth_file_map *map, uint64_t off, uint64_t len, uint8_t **to, hth_err *err) {
    *to = NULL;
    const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    if (!map->data || off >= map->n_bytes || len > map->n_bytes - off || off % HTH_FILE_OWN_ALIGN || page == 0 ||
        HTH_FILE_OWN_ALIGN % page != 0) {
        return hth_fail(err, HTH_ERR_RANGE, "bytes %llu and %llu more are no part of a map", (unsigned long long)off,
                        (unsigned long long)len);
    }
    const int how = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
    void *p = mmap(writable(map->data + off), (size_t)len, PROT_READ | PROT_WRITE, how, -1, 0);
    if (p == MAP_FAILED) return hth_fail_nomem(err, len);
    *to = p;
    return HTH_OK;
}

void hth_file_map_seal(const hth_file_map *map, uint64_t off, uint64_t len) {
    (void)mprotect(writable(map->data + off), (size_t)len, PROT_READ);
}

// Reads until n bytes or the end of the file; returns what came, or -1 with errno.
static int64_t read_fully(int fd, char *to, size_t n) {
    size_t done = 0;
    while (done < n) {
        size_t piece = n - done < IO_PIECE ? n - done : IO_PIECE;
        ssize_t got = read(fd, to + done, piece);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return -1;
        if (got == 0) break;
        done += (size_t)got;
    }
    return (int64_t)done;
}

hth_code hth_file_read(const char *path, hth_mem_tag tag, uint64_t max_bytes, char **out, size_t *n,
                       hth_err *err) {
    *out = NULL;
    *n = 0;
    int fd;
    uint64_t n_bytes = 0;
    HTH_TRY(open_regular(path, &fd, &n_bytes, err));
    hth_code code = HTH_OK;
    char *text = NULL;
    if (n_bytes > max_bytes || n_bytes > SIZE_MAX - 1) {
        code = hth_fail(err, HTH_ERR_LIMIT, "%s: has %llu bytes, more than the %llu that are allowed", path,
                        (unsigned long long)n_bytes, (unsigned long long)max_bytes);
        goto done;
    }
    text = hth_alloc(tag, (size_t)n_bytes + 1);
    if (!text) {
        code = hth_fail_in(err, hth_fail_nomem(err, n_bytes + 1), path);
        goto done;
    }
    int64_t got = read_fully(fd, text, (size_t)n_bytes);
    if (got < 0) {
        code = fail_errno(err, path, "cannot read", errno);
    } else if ((uint64_t)got < n_bytes) {
        code = hth_fail(err, HTH_ERR_IO, "%s: became shorter while it was read", path);
    }
done:
    close(fd);
    if (code != HTH_OK) {
        hth_free(text);
        return code;
    }
    text[n_bytes] = 0;
    *out = text;
    *n = (size_t)n_bytes;
    return HTH_OK;
}

// --- folders ---

// The names found so far: their bytes one after the other, and where each begins.
typedef struct name_list {
    char *bytes;   // owned
    size_t *start; // owned
    size_t n_byte, byte_cap, n, start_cap;
    hth_mem_tag tag;
} name_list;

static bool has_suffix(const char *name, const char *suffix) {
    size_t n = strlen(name), m = strlen(suffix);
    return n >= m && memcmp(name + n - m, suffix, m) == 0;
}

static bool add_name(name_list *list, const char *name, size_t max) {
    size_t n = strlen(name) + 1;
    void *start = list->start, *bytes = list->bytes;
    bool ok = hth_grow(list->tag, &start, &list->start_cap, list->n + 1, sizeof *list->start, max);
    list->start = start;
    ok = ok && hth_grow(list->tag, &bytes, &list->byte_cap, list->n_byte + n, 1, SIZE_MAX / 2);
    list->bytes = bytes;
    if (!ok) return false;
    memcpy(list->bytes + list->n_byte, name, n);
    list->start[list->n++] = list->n_byte;
    list->n_byte += n;
    return true;
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

// Moves the names into one block: the pointers, then the bytes.
static char **pack_names(const name_list *list) {
    size_t n_pointer, whole;
    if (!hth_mul_size(list->n, sizeof(char *), &n_pointer) ||
        !hth_add_size(n_pointer, list->n_byte, &whole)) {
        return NULL;
    }
    char **names = hth_alloc(list->tag, whole);
    if (!names) return NULL;
    char *bytes = (char *)names + n_pointer;
    if (list->n_byte) memcpy(bytes, list->bytes, list->n_byte);
    for (size_t i = 0; i < list->n; i++) names[i] = bytes + list->start[i];
    if (list->n > 1) qsort(names, list->n, sizeof *names, compare_names);
    return names;
}

// `suffix` NULL: the folders.
static hth_code read_folder(DIR *folder, const char *path, const char *suffix, size_t max, name_list *list,
                            hth_err *err) {
    for (;;) {
        errno = 0;
        const struct dirent *e = readdir(folder);
        if (!e && errno) return fail_errno(err, path, "cannot list the folder", errno);
        if (!e) return HTH_OK;
        if (e->d_name[0] == '.' || (suffix && !has_suffix(e->d_name, suffix))) continue;
        struct stat st;
        if (fstatat(dirfd(folder), e->d_name, &st, 0) != 0 || S_ISDIR(st.st_mode) == (suffix != NULL)) continue;
        if (list->n >= max) {
            return hth_fail(err, HTH_ERR_LIMIT, "%s: the folder has more than %zu %s", path, max,
                            suffix ? "files" : "folders");
        }
        if (!add_name(list, e->d_name, max)) {
            return hth_fail_in(err, hth_fail_nomem(err, strlen(e->d_name)), path);
        }
    }
}

static hth_code list_folder(const char *path, const char *suffix, hth_mem_tag tag, size_t max, char ***names,
                            size_t *n, hth_err *err) {
    *names = NULL;
    *n = 0;
    DIR *folder = opendir(path);
    if (!folder) return fail_errno(err, path, "cannot list the folder", errno);
    name_list list = {.tag = tag};
    hth_code code = read_folder(folder, path, suffix, max, &list, err);
    if (code == HTH_OK) {
        *names = pack_names(&list);
        *n = *names ? list.n : 0;
        if (!*names) code = hth_fail_in(err, hth_fail_nomem(err, list.n_byte), path);
    }
    closedir(folder);
    hth_free(list.bytes);
    hth_free(list.start);
    return code;
}

hth_code hth_folder_list(const char *path, const char *suffix, hth_mem_tag tag, size_t max, char ***names, size_t *n,
                         hth_err *err) {
    return list_folder(path, suffix, tag, max, names, n, err);
}

hth_code hth_folder_list_folders(const char *path, hth_mem_tag tag, size_t max, char ***names, size_t *n,
                                 hth_err *err) {
    return list_folder(path, NULL, tag, max, names, n, err);
}

// --- reading piece by piece ---

struct hth_file_in {
    int fd;
    char *path; // in one block with the struct
};

hth_code hth_file_in_open(const char *path, hth_file_in **out, uint64_t *n_bytes, hth_err *err) {
    *out = NULL;
    const size_t n = strlen(path) + 1;
    hth_file_in *f = hth_alloc(HTH_MEM_MISC, sizeof *f + n);
    if (!f) return hth_fail_in(err, hth_fail_nomem(err, sizeof *f + n), path);
    f->path = memcpy(f + 1, path, n);
    hth_code code = open_regular(path, &f->fd, n_bytes, err);
    if (code != HTH_OK) {
        hth_free(f);
        return code;
    }
    *out = f;
    return HTH_OK;
}

hth_code hth_file_in_read(hth_file_in *f, void *bytes, size_t n, hth_err *err) {
    const int64_t got = read_fully(f->fd, bytes, n);
    if (got < 0) return fail_errno(err, f->path, "cannot read", errno);
    if ((uint64_t)got < n) return hth_fail(err, HTH_ERR_FORMAT, "%s: the file ends too early", f->path);
    return HTH_OK;
}

void hth_file_in_close(hth_file_in *f) {
    if (!f) return;
    close(f->fd);
    hth_free(f);
}

// --- names ---

hth_code hth_file_remove(const char *path, hth_err *err) {
    return unlink(path) == 0 ? HTH_OK : fail_errno(err, path, "cannot remove", errno);
}

hth_code hth_folder_make(const char *path, hth_err *err) {
    const size_t n = strlen(path);
    char *part = hth_strndup(HTH_MEM_MISC, path, n);
    if (!part) return hth_fail_in(err, hth_fail_nomem(err, n), path);
    int bad = 0;
    for (size_t i = 1; i <= n && bad == 0; i++) {
        if (path[i] != '/' && path[i] != 0) continue;
        part[i] = 0;
        if (mkdir(part, 0777) != 0 && errno != EEXIST) bad = errno;
        part[i] = path[i];
    }
    if (bad == 0 && hth_path_kind_of(path) != HTH_PATH_FOLDER) bad = ENOTDIR;
    hth_free(part);
    return bad == 0 ? HTH_OK : fail_errno(err, path, "cannot make the folder", bad);
}

// --- writing ---

struct hth_file_out {
    int fd;
    char *path, *temporary; // owned, in one block with the struct
};

// Beside the final name: rename works only within one file system. The name is new, or another is tried.
#define TEMPORARY_ROOM 16

static int create_temporary(hth_file_out *f, size_t n_path) {
    static _Atomic uint32_t counter;
    int fd = -1;
    for (int i = 0; i < 100; i++) {
        uint32_t number = atomic_fetch_add_explicit(&counter, 1, memory_order_relaxed) * 0x9e3779b9u;
        number ^= (uint32_t)getpid() * 0x85ebca6bu;
        snprintf(f->temporary, n_path + TEMPORARY_ROOM, "%s.tmp-%08x", f->path, (unsigned)number);
        fd = open(f->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd >= 0 || errno != EEXIST) break;
    }
    return fd;
}

hth_code hth_file_out_open(const char *path, hth_file_out **out, hth_err *err) {
    *out = NULL;
    size_t n = strlen(path);
    hth_path_kind kind = hth_path_kind_of(path);
    if (kind == HTH_PATH_FOLDER || kind == HTH_PATH_OTHER) {
        return hth_fail(err, HTH_ERR_IO, "%s: cannot write: it is %s", path,
                        kind == HTH_PATH_FOLDER ? "a folder" : "not a regular file");
    }
    size_t n_bytes = sizeof(hth_file_out) + 2 * n + 1 + TEMPORARY_ROOM;
    hth_file_out *f = hth_alloc(HTH_MEM_MISC, n_bytes);
    if (!f) return hth_fail_in(err, hth_fail_nomem(err, n_bytes), path);
    f->path = (char *)(f + 1);
    f->temporary = f->path + n + 1;
    memcpy(f->path, path, n + 1);
    f->fd = create_temporary(f, n);
    if (f->fd < 0) {
        hth_code code = fail_errno(err, path, "cannot create", errno);
        hth_free(f);
        return code;
    }
    *out = f;
    return HTH_OK;
}

hth_code hth_file_out_write(hth_file_out *f, const void *bytes, size_t n, hth_err *err) {
    const char *p = bytes;
    while (n > 0) {
        ssize_t put = write(f->fd, p, n < IO_PIECE ? n : IO_PIECE);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return fail_errno(err, f->path, "cannot write", errno);
        p += put;
        n -= (size_t)put;
    }
    return HTH_OK;
}

hth_code hth_file_out_commit(hth_file_out *f, hth_err *err) {
    int bad = fsync(f->fd) != 0 ? errno : 0;
    if (close(f->fd) != 0 && bad == 0) bad = errno;
    f->fd = -1;
    if (bad == 0 && rename(f->temporary, f->path) != 0) bad = errno;
    hth_code code = bad == 0 ? HTH_OK : fail_errno(err, f->path, "cannot write", bad);
    if (bad != 0) unlink(f->temporary);
    hth_free(f);
    return code;
}

void hth_file_out_abort(hth_file_out *f) {
    if (!f) return;
    if (f->fd >= 0) close(f->fd);
    unlink(f->temporary);
    hth_free(f);
}

static hth_code write_whole(const char *path, const void *bytes, size_t n, bool is_private, hth_err *err) {
    hth_file_out *f;
    HTH_TRY(hth_file_out_open(path, &f, err));
    hth_code code = HTH_OK;
    if (is_private && fchmod(f->fd, 0600) != 0) code = fail_errno(err, path, "cannot make private", errno);
    if (code == HTH_OK) code = hth_file_out_write(f, bytes, n, err);
    if (code != HTH_OK) {
        hth_file_out_abort(f);
        return code;
    }
    return hth_file_out_commit(f, err);
}

hth_code hth_file_write(const char *path, const void *bytes, size_t n, hth_err *err) {
    return write_whole(path, bytes, n, false, err);
}

hth_code hth_file_write_private(const char *path, const void *bytes, size_t n, hth_err *err) {
    return write_whole(path, bytes, n, true, err);
}

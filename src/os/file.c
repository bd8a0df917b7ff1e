// Files on POSIX systems.
#include "os/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/str.h"

static hth_code fail_errno(hth_err *err, const char *path, const char *what, int number) {
    hth_code code = number == ENOENT ? HTH_ERR_NOTFOUND : HTH_ERR_IO;
    return hth_fail(err, code, "%s: %s: %s", path, what, strerror(number));
}

hth_path_kind hth_path_kind_of(const char *path) {
    struct stat st;
    if (stat(path, &st) != 0) return HTH_PATH_NONE;
    return S_ISREG(st.st_mode) ? HTH_PATH_FILE : S_ISDIR(st.st_mode) ? HTH_PATH_FOLDER : HTH_PATH_OTHER;
}

// Opens a regular file for reading; *n is its size.
static hth_code open_regular(const char *path, int *fd, uint64_t *n, hth_err *err) {
    // O_NONBLOCK: opening a pipe must not wait for a writer.
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (*fd < 0) return fail_errno(err, path, "cannot open", errno);
    struct stat st;
    if (fstat(*fd, &st) != 0) {
        int number = errno;
        close(*fd);
        return fail_errno(err, path, "cannot read", number);
    }
    if (!S_ISREG(st.st_mode)) {
        close(*fd);
        return hth_fail(err, HTH_ERR_IO, "%s: not a regular file", path);
    }
    *n = (uint64_t)st.st_size;
    return HTH_OK;
}

hth_code hth_file_map_open(const char *path, hth_file_map *out, hth_err *err) {
    *out = (hth_file_map){0};
    int fd;
    uint64_t n;
    HTH_TRY(open_regular(path, &fd, &n, err));
    if (n > SIZE_MAX) {
        close(fd);
        return hth_fail(err, HTH_ERR_LIMIT, "%s: %llu bytes cannot be mapped on this machine", path, (unsigned long long)n);
    }
    if (n > 0) {
        void *p = mmap(NULL, (size_t)n, PROT_READ, MAP_SHARED, fd, 0);
        if (p == MAP_FAILED) {
            int number = errno;
            close(fd);
            return fail_errno(err, path, "cannot map", number);
        }
        out->data = p;
    }
    out->n_bytes = n;
    close(fd);
    return HTH_OK;
}

void hth_file_map_close(hth_file_map *map) {
    union { // munmap takes what mmap gave, without const
        const uint8_t *in;
        void *out;
    } p = {.in = map->data};
    if (p.out) munmap(p.out, (size_t)map->n_bytes);
    *map = (hth_file_map){0};
}

void hth_file_map_advise(const hth_file_map *map, uint64_t off, uint64_t len, hth_map_advice advice) {
    if (!map->data || off >= map->n_bytes) return;
    if (len > map->n_bytes - off) len = map->n_bytes - off;
    const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    const uint64_t first = off / page * page;
    const int kinds[] = {POSIX_MADV_NORMAL, POSIX_MADV_RANDOM, POSIX_MADV_WILLNEED};
    union {
        const uint8_t *in;
        void *out;
    } p = {.in = map->data + first};
    (void)posix_madvise(p.out, (size_t)(off + len - first), kinds[advice]);
}

static hth_code read_all(int fd, const char *path, char *to, size_t n, hth_err *err) {
    size_t at = 0;
    while (at < n) {
        ssize_t got = read(fd, to + at, n - at);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return fail_errno(err, path, "cannot read", errno);
        if (got == 0) return hth_fail_at(err, HTH_ERR_IO, at, "%s: the file became shorter while it was read", path);
        at += (size_t)got;
    }
    return HTH_OK;
}

hth_code hth_file_read(const char *path, hth_mem_tag tag, uint64_t max_bytes, char **out, size_t *n, hth_err *err) {
    *out = NULL;
    *n = 0;
    int fd;
    uint64_t size;
    HTH_TRY(open_regular(path, &fd, &size, err));
    hth_code code = HTH_OK;
    char *text = NULL;
    if (size > max_bytes || size >= SIZE_MAX) {
        code = hth_fail(err, HTH_ERR_LIMIT, "%s: %llu bytes, at most %llu are read", path, (unsigned long long)size,
                        (unsigned long long)max_bytes);
        goto done;
    }
    text = hth_alloc(tag, (size_t)size + 1);
    if (!text) {
        code = hth_fail_nomem(err, size + 1);
        goto done;
    }
    code = read_all(fd, path, text, (size_t)size, err);
    text[size] = 0;
done:
    close(fd);
    if (code != HTH_OK) {
        hth_free(text);
        return code;
    }
    *out = text;
    *n = (size_t)size;
    return HTH_OK;
}

// ---- listing

static int compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool ends_with(const char *name, const char *suffix) {
    size_t n = strlen(name), m = strlen(suffix);
    return n >= m && strcmp(name + n - m, suffix) == 0;
}

// Collects the names, each with its terminating zero.
static hth_code collect_names(DIR *folder, const char *path, const char *suffix, size_t max, hth_str *names, size_t *n,
                              hth_err *err) {
    hth_str full;
    hth_str_init(&full, HTH_MEM_MISC, 1 << 16);
    hth_code code = HTH_OK;
    for (struct dirent *e; code == HTH_OK && (e = readdir(folder));) {
        if (e->d_name[0] == '.' || !ends_with(e->d_name, suffix)) continue;
        hth_str_clear(&full);
        if (!hth_str_printf(&full, "%s/%s", path, e->d_name)) code = hth_fail_nomem(err, strlen(path));
        if (code != HTH_OK || hth_path_kind_of(hth_str_text(&full)) != HTH_PATH_FILE) continue;
        if (++*n > max) {
            code = hth_fail(err, HTH_ERR_LIMIT, "%s: more than %zu files", path, max);
        } else if (!hth_str_append(names, e->d_name, strlen(e->d_name) + 1)) {
            code = hth_fail_nomem(err, names->len);
        }
    }
    hth_str_free(&full);
    return code;
}

hth_code hth_folder_list(const char *path, const char *suffix, hth_mem_tag tag, size_t max, char ***names, size_t *n,
                         hth_err *err) {
    *names = NULL;
    *n = 0;
    DIR *folder = opendir(path);
    if (!folder) return fail_errno(err, path, "cannot list", errno);
    hth_str text;
    hth_str_init(&text, HTH_MEM_MISC, SIZE_MAX / 4);
    hth_code code = collect_names(folder, path, suffix, max, &text, n, err);
    closedir(folder);
    char **list = code == HTH_OK ? hth_alloc(tag, *n * sizeof *list + text.len + 1) : NULL;
    if (code == HTH_OK && !list) code = hth_fail_nomem(err, *n * sizeof *list + text.len);
    if (code == HTH_OK) {
        char *p = (char *)(list + *n);
        memcpy(p, hth_str_text(&text), text.len);
        for (size_t i = 0; i < *n; i++, p += strlen(p) + 1) list[i] = p;
        qsort(list, *n, sizeof *list, compare_names);
        *names = list;
    }
    hth_str_free(&text);
    if (code != HTH_OK) *n = 0;
    return code;
}

// ---- writing

struct hth_file_out {
    int fd;
    char *path, *temporary; // owned
};

static void free_out(hth_file_out *f) {
    if (f->fd >= 0) close(f->fd);
    hth_free(f->path);
    hth_free(f->temporary);
    hth_free(f);
}

void hth_file_out_abort(hth_file_out *f) {
    if (!f) return;
    if (f->fd >= 0) unlink(f->temporary);
    free_out(f);
}

hth_code hth_file_out_open(const char *path, hth_file_out **out, hth_err *err) {
    *out = NULL;
    hth_file_out *f = hth_calloc(HTH_MEM_MISC, 1, sizeof *f);
    if (!f) return hth_fail_nomem(err, sizeof *f);
    f->fd = -1;
    hth_str name;
    hth_str_init(&name, HTH_MEM_MISC, 1 << 16);
    bool ok = hth_str_printf(&name, "%s.part-XXXXXX", path);
    f->path = hth_strndup(HTH_MEM_MISC, path, strlen(path));
    f->temporary = ok ? hth_strndup(HTH_MEM_MISC, hth_str_text(&name), name.len) : NULL;
    hth_str_free(&name);
    if (!f->path || !f->temporary) {
        free_out(f);
        return hth_fail_nomem(err, strlen(path));
    }
    f->fd = mkstemp(f->temporary);
    if (f->fd < 0) {
        int number = errno;
        free_out(f);
        return fail_errno(err, path, "cannot create", number);
    }
    // mkstemp makes private files; the final one follows the user's mask as any other would.
    mode_t mask = umask(0);
    umask(mask);
    (void)fchmod(f->fd, 0666 & ~mask);
    *out = f;
    return HTH_OK;
}

hth_code hth_file_out_write(hth_file_out *f, const void *bytes, size_t n, hth_err *err) {
    const char *p = bytes;
    while (n > 0) {
        ssize_t wrote = write(f->fd, p, n);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote < 0) return fail_errno(err, f->path, "cannot write", errno);
        p += wrote;
        n -= (size_t)wrote;
    }
    return HTH_OK;
}

// After a rename the folder itself must reach the disk.
static void sync_folder_of(const char *path) {
    const char *slash = strrchr(path, '/');
    char *folder = slash ? hth_strndup(HTH_MEM_MISC, path, slash == path ? 1 : (size_t)(slash - path)) : NULL;
    int fd = open(folder ? folder : ".", O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        (void)fsync(fd);
        close(fd);
    }
    hth_free(folder);
}

hth_code hth_file_out_commit(hth_file_out *f, hth_err *err) {
    hth_code code = HTH_OK;
    if (fsync(f->fd) != 0 && errno != EINVAL) code = fail_errno(err, f->path, "cannot write", errno);
    if (close(f->fd) != 0 && code == HTH_OK) code = fail_errno(err, f->path, "cannot write", errno);
    f->fd = -1;
    if (code == HTH_OK && rename(f->temporary, f->path) != 0) code = fail_errno(err, f->path, "cannot rename into place", errno);
    if (code == HTH_OK) {
        sync_folder_of(f->path);
    } else {
        unlink(f->temporary);
    }
    free_out(f);
    return code;
}

hth_code hth_file_write(const char *path, const void *bytes, size_t n, hth_err *err) {
    hth_file_out *f;
    HTH_TRY(hth_file_out_open(path, &f, err));
    hth_code code = hth_file_out_write(f, bytes, n, err);
    if (code != HTH_OK) {
        hth_file_out_abort(f);
        return code;
    }
    return hth_file_out_commit(f, err);
}

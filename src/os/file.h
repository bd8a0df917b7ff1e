// Files: read-only maps with advice, whole reads, folder listing. Paths are UTF-8, borrowed.
#ifndef HTH_OS_FILE_H
#define HTH_OS_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"

typedef enum hth_path_kind { HTH_PATH_NONE, HTH_PATH_FILE, HTH_PATH_FOLDER, HTH_PATH_OTHER } hth_path_kind;
hth_path_kind hth_path_kind_of(const char *path);
// Whether both paths lead to one existing file, by links too.
bool hth_path_is_same(const char *a, const char *b);

typedef enum hth_map_advice { HTH_MAP_NORMAL, HTH_MAP_RANDOM, HTH_MAP_WILL_NEED } hth_map_advice;

// A file mapped read-only. `data` is NULL for an empty file.
typedef struct hth_file_map {
    const uint8_t *data;
    uint64_t n_bytes;
} hth_file_map;

// Maps the whole regular file; nothing is read ahead. Release with hth_file_unmap.
HTH_NODISCARD hth_code hth_file_map_open(const char *path, hth_file_map *out, hth_err *err);
void hth_file_map_close(hth_file_map *map);
// Whether something of the map that begins at `data` could not be read, because the file was cut off after it was
// mapped or its disk failed: zeros were read instead. Cheap while nothing is damaged.
bool hth_file_map_is_damaged(const uint8_t *data);
// Tells the system how [off, off+len) will be used. Never fails; out-of-range parts are ignored.
void hth_file_map_advise(const hth_file_map *map, uint64_t off, uint64_t len, hth_map_advice advice);
// Replaces the part [off, off + len) of a map, whole pages where the map does not end, by memory of the process's own:
// *to is where the caller then writes what the file has there. From then on neither the system's cache nor the file's
// fate matters to that part. `off` and `len` are multiples of HTH_FILE_OWN_ALIGN, or the part ends with the map.
// Nobody may read the part meanwhile. Seal makes it read-only again.
#define HTH_FILE_OWN_ALIGN ((uint64_t)1 << 16)
HTH_NODISCARD hth_code hth_file_map_own(const hth_file_map *map, uint64_t off, uint64_t len, uint8_t **to, hth_err *err);
void hth_file_map_seal(const hth_file_map *map, uint64_t off, uint64_t len);

// Reads a whole file of at most `max_bytes` into owned, zero-terminated memory (*n excludes the zero).
HTH_NODISCARD hth_code hth_file_read(const char *path, hth_mem_tag tag, uint64_t max_bytes, char **out,
                                     size_t *n, hth_err *err);

// A file read piece by piece, without a map: what another process cuts off meanwhile is an error, not a signal.
typedef struct hth_file_in hth_file_in;
HTH_NODISCARD hth_code hth_file_in_open(const char *path, hth_file_in **out, uint64_t *n_bytes, hth_err *err);
HTH_NODISCARD hth_code hth_file_in_read(hth_file_in *f, void *bytes, size_t n, hth_err *err); // all n, or HTH_ERR_FORMAT
void hth_file_in_close(hth_file_in *f); // takes f; NULL is valid

HTH_NODISCARD hth_code hth_file_remove(const char *path, hth_err *err);
// Makes a folder, and those that it lies in; one that is there is fine.
HTH_NODISCARD hth_code hth_folder_make(const char *path, hth_err *err);

// Lists the files of a folder whose names end with `suffix` ("" for all), sorted by bytes: names, not
// paths; folders and hidden files are left out. *names is one owned block (a single hth_free) of *n
// pointers. More than `max` files: HTH_ERR_LIMIT.
HTH_NODISCARD hth_code hth_folder_list(const char *path, const char *suffix, hth_mem_tag tag, size_t max,
                                       char ***names, size_t *n, hth_err *err);
// The same for the folders in it.
HTH_NODISCARD hth_code hth_folder_list_folders(const char *path, hth_mem_tag tag, size_t max, char ***names, size_t *n,
                                               hth_err *err);
// Seconds since 1970 when the file or folder was last changed, and its bytes; false where there is none.
bool hth_path_facts(const char *path, int64_t *modified_s, uint64_t *n_bytes);

// Writes n bytes to a temporary file beside `path` and renames it over it when all is on disk: a
// reader never sees half a file under the final name.
HTH_NODISCARD hth_code hth_file_write(const char *path, const void *bytes, size_t n, hth_err *err);

// The same for what nobody but the user may read.
HTH_NODISCARD hth_code hth_file_write_private(const char *path, const void *bytes, size_t n, hth_err *err);

// A file written piece by piece under the same promise: it appears under `path` only at commit.
typedef struct hth_file_out hth_file_out;
HTH_NODISCARD hth_code hth_file_out_open(const char *path, hth_file_out **out, hth_err *err);
HTH_NODISCARD hth_code hth_file_out_write(hth_file_out *f, const void *bytes, size_t n, hth_err *err);
// Takes f. On failure nothing appears under the final name.
HTH_NODISCARD hth_code hth_file_out_commit(hth_file_out *f, hth_err *err);
// Takes f (may be NULL) and removes the temporary file.
void hth_file_out_abort(hth_file_out *f);

#endif

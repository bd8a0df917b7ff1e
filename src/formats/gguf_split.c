// Split sets: NAME-00001-of-0000N.gguf ... Every part is a whole GGUF file whose keys split.no (from
// zero), split.count and split.tensors.count must agree with its name, its siblings and the sum.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "formats/extent.h"
#include "formats/gguf_impl.h"

#define PART_MAX 4096
#define SUFFIX_LEN (sizeof "-00001-of-00002.gguf" - 1)
#define SHOW_MISSING 4

static bool read_five_digits(const char *p, int *out) {
    int v = 0;
    for (int i = 0; i < 5; i++) {
        if (p[i] < '0' || p[i] > '9') return false;
        v = v * 10 + (p[i] - '0');
    }
    *out = v;
    return true;
}

bool hth_gguf_split_name(const char *path, size_t *stem_len, int *no, int *count) {
    size_t n = strlen(path);
    if (n < SUFFIX_LEN) return false;
    const char *s = path + n - SUFFIX_LEN;
    *stem_len = n - SUFFIX_LEN;
    return s[0] == '-' && read_five_digits(s + 1, no) && memcmp(s + 6, "-of-", 4) == 0 &&
           read_five_digits(s + 10, count) && strcmp(s + 15, ".gguf") == 0;
}

static void part_path(char *out, size_t cap, const char *any, size_t stem_len, int64_t i, int64_t n_part) {
    snprintf(out, cap, "%.*s-%05d-of-%05d.gguf", (int)stem_len, any, (int)i + 1, (int)n_part);
}

static const char *file_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

// Says which parts are not there, all at once: a person fetches them in one go.
static hth_code check_present(const char *any, size_t stem_len, int64_t n_part, char *path, size_t cap,
                              hth_err *err) {
    hth_str list;
    hth_str_init(&list, HTH_MEM_FORMAT, 300);
    int64_t n_missing = 0;
    for (int64_t i = 0; i < n_part; i++) {
        part_path(path, cap, any, stem_len, i, n_part);
        if (hth_path_kind_of(path) == HTH_PATH_FILE) continue;
        if (n_missing++ < SHOW_MISSING) hth_str_printf(&list, " %s", file_name(path));
    }
    hth_code code = HTH_OK;
    if (n_missing > 0) {
        code = hth_fail(err, HTH_ERR_NOTFOUND,
                        "%" PRId64 " of %" PRId64 " parts of the split set are missing:%s%s", n_missing,
                        n_part, hth_str_text(&list), n_missing > SHOW_MISSING ? " ..." : "");
        code = hth_fail_in(err, code, any);
    }
    hth_str_free(&list);
    return code;
}

// Checks what part i says about itself.
static hth_code check_part(const hth_gguf *part, int64_t i, int64_t n_part, hth_err *err) {
    int64_t no = -1, count = -1;
    HTH_TRY(hth_gguf_get_i64(part, "split.no", &no, err));
    HTH_TRY(hth_gguf_get_i64(part, "split.count", &count, err));
    if (no == i && count == n_part) return HTH_OK;
    hth_code code;
    if (no < 0 || count < 0) {
        code =
            hth_fail(err, HTH_ERR_FORMAT, "part %" PRId64 " of the split set lacks a valid metadata key '%s'",
                     i + 1, no < 0 ? "split.no" : "split.count");
    } else if (count != n_part) {
        code = hth_fail(err, HTH_ERR_FORMAT,
                        "metadata key 'split.count' is %" PRId64 ", the set has %" PRId64 " parts", count,
                        n_part);
    } else {
        code = hth_fail(
            err, HTH_ERR_FORMAT,
            "metadata key 'split.no' is %" PRId64 ", %" PRId64 " was expected from the file's name", no, i);
    }
    return hth_fail_in(err, code, part->path);
}

// Appends the tensors of part i to those of the first.
static hth_code add_tensors(hth_gguf *first, const hth_gguf *part, int i, hth_err *err) {
    size_t need = first->n_tensor + part->n_tensor;
    if (!hth_grow(HTH_MEM_FORMAT, (void **)&first->tensors, &first->cap_tensor, need, sizeof(hth_tensor),
                  SIZE_MAX)) {
        return hth_fail_nomem(err, need * sizeof(hth_tensor));
    }
    for (size_t k = 0; k < part->n_tensor; k++) {
        hth_tensor t = part->tensors[k];
        uint32_t old = 0;
        bool was_there;
        if (!hth_map_insert(&first->tensor_by_name, t.name, strlen(t.name), (uint32_t)first->n_tensor, &old,
                            &was_there)) {
            return hth_fail_nomem(err, sizeof(hth_map_slot) * need);
        }
        if (was_there) {
            hth_shown name = hth_show_name(t.name, strlen(t.name));
            hth_code code = hth_fail(err, HTH_ERR_FORMAT, "tensor '%s' is also in part %d of the split set",
                                     name.text, first->tensors[old].i_file + 1);
            return hth_fail_in(err, code, part->path);
        }
        t.i_file = i;
        first->tensors[first->n_tensor++] = t;
    }
    return HTH_OK;
}

static hth_code check_total(const hth_gguf *first, hth_err *err) {
    int64_t n = -1;
    HTH_TRY(hth_gguf_get_i64(first, "split.tensors.count", &n, err));
    if (n == (int64_t)first->n_tensor) return HTH_OK;
    hth_code code = hth_fail(err, HTH_ERR_FORMAT,
                             "metadata key 'split.tensors.count' is %" PRId64 ", the parts hold %zu tensors",
                             n, first->n_tensor);
    return hth_fail_in(err, code, first->path);
}

// Opens every part that is not open yet into parts[].
static hth_code open_parts(hth_gguf **parts, const char *any, size_t stem_len, int64_t n_part, char *path,
                           size_t cap, hth_err *err) {
    HTH_TRY(check_present(any, stem_len, n_part, path, cap, err));
    for (int64_t i = 0; i < n_part; i++) {
        part_path(path, cap, any, stem_len, i, n_part);
        if (!parts[i]) HTH_TRY(hth_gguf_open_part(path, &parts[i], err));
        HTH_TRY(check_part(parts[i], i, n_part, err));
    }
    return HTH_OK;
}

// Joins the parts into parts[0], which owns the array from here on.
static hth_code join_parts(hth_gguf **parts, int64_t n_part, hth_err *err) {
    hth_gguf *first = parts[0];
    first->parts = parts;
    first->n_part = (int)n_part;
    for (int i = 1; i < first->n_part; i++) HTH_TRY(add_tensors(first, parts[i], i, err));
    return check_total(first, err);
}

static hth_code open_set(hth_gguf **any, size_t stem_len, int i_any, int64_t n_part, hth_err *err) {
    size_t cap = strlen((*any)->path) + 16;
    char *path = hth_alloc(HTH_MEM_FORMAT, cap);
    hth_gguf **parts = hth_calloc(HTH_MEM_FORMAT, (size_t)n_part, sizeof(hth_gguf *));
    if (!path || !parts) {
        hth_free(path);
        hth_free(parts);
        return hth_fail_nomem(err, (uint64_t)n_part * sizeof(hth_gguf *));
    }
    parts[i_any] = *any;
    hth_code code = open_parts(parts, (*any)->path, stem_len, n_part, path, cap, err);
    hth_free(path);
    if (code == HTH_OK) {
        *any = parts[0];
        return join_parts(parts, n_part, err); // the caller's close releases all
    }
    for (int64_t i = 0; i < n_part; i++) {
        if (i != i_any) hth_gguf_close(parts[i]);
    }
    hth_free(parts);
    return code;
}

hth_code hth_gguf_join(hth_gguf **first_or_any, int64_t n_part, hth_err *err) {
    hth_gguf *any = *first_or_any;
    size_t stem_len;
    int no, count;
    hth_code code = HTH_OK;
    if (n_part < 1 || n_part > PART_MAX) {
        code = hth_fail(err, HTH_ERR_FORMAT, "metadata key 'split.count' is %" PRId64 ", 1 to %d are allowed",
                        n_part, PART_MAX);
    } else if (!hth_gguf_split_name(any->path, &stem_len, &no, &count)) {
        code = hth_fail(err, HTH_ERR_FORMAT,
                        "this is one of %" PRId64 " parts, but its name does not end in -00001-of-%05d.gguf",
                        n_part, (int)n_part);
    } else if (count != n_part || no < 1 || no > count) {
        code = hth_fail(err, HTH_ERR_FORMAT,
                        "metadata key 'split.count' is %" PRId64 ", the name says part %d of %d", n_part, no,
                        count);
    }
    if (code != HTH_OK) return hth_fail_in(err, code, any->path);
    return open_set(first_or_any, stem_len, no - 1, n_part, err);
}

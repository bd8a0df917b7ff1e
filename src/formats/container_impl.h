// A container from the inside: either a GGUF, or a folder with safetensors files.
#ifndef HTH_FORMATS_CONTAINER_IMPL_H
#define HTH_FORMATS_CONTAINER_IMPL_H

#include "base/hash.h"
#include "formats/container.h"
#include "formats/safetensors.h"

// One weight file of a folder.
typedef struct hth_shard {
    char *path; // owned
    hth_safetensors *file;
} hth_shard;

// A side file that was asked for, kept; both NULL when it is absent.
typedef struct hth_side_file {
    struct hth_side_file *next;
    char *name; // owned
    hth_json_doc *doc;
    char *text; // owned
    size_t n;
} hth_side_file;

struct hth_container {
    char *path;     // owned, as opened
    hth_gguf *gguf; // or the rest:
    char *folder;   // owned; where the side files are
    hth_shard *shards;
    int n_shard;
    hth_tensor *tensors; // of all shards
    size_t n_tensor;
    hth_side_file *sides;
    hth_map by_name; // of the tensors of either
};

// Fills *c from c->path; on failure the caller closes it.
HTH_NODISCARD hth_code hth_container_load(hth_container *c, hth_err *err);

// Owned "folder/name"; NULL when memory is refused.
char *hth_container_join(const char *folder, const char *name);

#endif

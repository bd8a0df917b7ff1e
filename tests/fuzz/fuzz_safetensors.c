// Any bytes as safetensors: no crash, bounded memory, and every tensor that opens lies in the file.
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "formats/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    hth_err err = {.msg = ""};
    hth_safetensors *s = NULL;
    hth_mem_stats mem;
    hth_code code = hth_safetensors_open_memory(data, size, &s, &err);
    if ((code == HTH_OK) != (s != NULL) || (code != HTH_OK && err.msg[0] == 0)) abort();
    uint64_t sum = 0;
    for (int64_t i = 0; s && i < hth_safetensors_n_tensor(s); i++) {
        const hth_tensor *t = hth_safetensors_tensor_at(s, i);
        if (t->data != data + t->off || t->off + t->n_bytes > size || t->name[0] == 0) abort();
        sum += t->n_bytes;
    }
    if (sum > size) abort(); // tensors would share bytes
    hth_safetensors_close(s);
    hth_mem_get_stats(&mem);
    if (mem.n_blocks != 0) abort();
    return 0;
}

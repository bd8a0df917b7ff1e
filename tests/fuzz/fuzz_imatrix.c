// Any bytes as an importance matrix: no crash, bounded memory, and only numbers that quantizers can use.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "formats/imatrix.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    hth_err err = {.msg = ""};
    hth_imatrix *m = NULL;
    hth_mem_stats mem;
    hth_code code = hth_imatrix_open_memory(data, size, &m, &err);
    hth_mem_get_stats(&mem);
    if ((code == HTH_OK) != (m != NULL) || (code != HTH_OK && err.msg[0] == 0)) abort();
    if (m && mem.total_bytes > 64 * (uint64_t)size + 262144) abort();
    for (int64_t i = 0; m && i < hth_imatrix_n(m); i++) {
        const hth_imatrix_entry *e = hth_imatrix_at(m, i);
        if (hth_imatrix_find(m, e->name) != e || e->n < 1) abort();
        for (int64_t k = 0; k < e->n; k++)
            if (!(e->mean[k] >= 0 && isfinite(e->mean[k]))) abort();
    }
    if (m && (hth_imatrix_n_chunk(m) < 0 || !hth_imatrix_dataset(m))) abort();
    hth_imatrix_close(m);
    hth_mem_get_stats(&mem);
    if (mem.n_blocks != 0) abort();
    return 0;
}

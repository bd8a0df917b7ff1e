// Any bytes as the tensors of a low-rank adapter (PEFT's safetensors; with a first byte of 1 mlx-lm's, of 2 a GGUF): opened
// for a tiny model or refused with words.
#include "base/mem.h"
#include "fuzz/tiny_model.h"
#include "model/lora.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
    hth_model *model;
    char dir[128], peft[192], mlx[192], config[192], gguf[192];
} world;

static void remove_files(void) {
    unlink(world.peft);
    unlink(world.mlx);
    unlink(world.gguf);
    unlink(world.config);
    rmdir(world.dir);
}

static void set_up(void) {
    world.model = fuzz_model(TINY_LLAMA);
    tiny_make_dir(world.dir);
    snprintf(world.peft, sizeof world.peft, "%s/adapter_model.safetensors", world.dir);
    snprintf(world.mlx, sizeof world.mlx, "%s/adapters.safetensors", world.dir);
    snprintf(world.config, sizeof world.config, "%s/adapter_config.json", world.dir);
    snprintf(world.gguf, sizeof world.gguf, "%s/adapter.gguf", world.dir);
    atexit(remove_files);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char peft[] = "{\"peft_type\": \"LORA\", \"r\": 2, \"lora_alpha\": 4, \"bias\": \"none\"}";
    static const char mlx[] = "{\"fine_tune_type\": \"lora\", \"lora_parameters\": {\"rank\": 2, \"scale\": 2.0}}";
    if (!world.model) set_up();
    if (size == 0) return 0;
    const int kind = data[0] % 3;
    hth_mem_stats before, after;
    hth_err err = {.msg = ""};
    hth_lora *l = NULL;
    unlink(world.peft);
    unlink(world.mlx);
    fuzz_write(world.config, kind == 1 ? mlx : peft, kind == 1 ? sizeof mlx - 1 : sizeof peft - 1);
    fuzz_write(kind == 0 ? world.peft : kind == 1 ? world.mlx : world.gguf, data + 1, size - 1);
    hth_mem_get_stats(&before);
    const hth_code code = hth_lora_open(kind == 2 ? world.gguf : world.dir, world.model, &l, &err);
    if ((code == HTH_OK) != (l != NULL) || (code != HTH_OK && err.msg[0] == 0)) abort();
    if (l && (hth_lora_rank(l) < 1 || hth_lora_n_module(l) < 1)) abort();
    hth_lora_free(l);
    hth_mem_get_stats(&after);
    if (after.n_blocks != before.n_blocks) abort();
    return 0;
}

// Adapters given with --lora.
#ifndef HTH_CLI_ADAPTERS_H
#define HTH_CLI_ADAPTERS_H

#include "cli/args.h"
#include "model/lora.h"

#define CLI_OPTION_LORA(type, field)                                     \
    CLI_OPTION_LIST("lora", 0, "FILE[:SCALE]", type, field,              \
                    "apply a LoRA adapter: GGUF, or a folder of PEFT or mlx-lm; again for more")

typedef struct cli_adapters {
    hth_lora_use uses[HTH_MAX_LORA];
    hth_lora *owned[HTH_MAX_LORA];
    hth_lora_set set;
} cli_adapters;

// Opens what was given; *out must stay where it is. Free it in any case.
HTH_NODISCARD hth_code cli_adapters_open(const cli_list *given, const hth_model *m, cli_adapters *out, hth_err *err);
void cli_adapters_free(cli_adapters *a);

#endif

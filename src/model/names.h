// What a tensor is for, and what containers call it.
#ifndef HTH_MODEL_NAMES_H
#define HTH_MODEL_NAMES_H

typedef enum hth_role {
    HTH_ROLE_NONE,
    // of the model
    HTH_ROLE_TOKEN_EMBD,
    HTH_ROLE_POS_EMBD,
    HTH_ROLE_TYPE_EMBD,
    HTH_ROLE_EMBD_NORM,
    HTH_ROLE_OUTPUT_NORM,
    HTH_ROLE_OUTPUT,
    HTH_ROLE_ROPE_FREQS,
    HTH_ROLE_ROPE_SHORT,
    HTH_ROLE_ROPE_LONG,
    HTH_ROLE_CLS,
    HTH_ROLE_CLS_OUT,
    HTH_ROLE_PER_LAYER_EMBD,
    HTH_ROLE_PER_LAYER_MODEL_PROJ,
    HTH_ROLE_PER_LAYER_PROJ_NORM,
    HTH_ROLE_STREAM_PROJ, // %d: the stream, from 0 for stream 1 (GGUF: all in one)
    HTH_ROLE_STREAM_UNEMBD,
    // of a layer
    HTH_ROLE_ATTN_NORM,
    HTH_ROLE_Q,
    HTH_ROLE_K,
    HTH_ROLE_V,
    HTH_ROLE_QKV, // rows of Q, then K, then V
    HTH_ROLE_O,
    HTH_ROLE_Q_NORM,
    HTH_ROLE_K_NORM,
    HTH_ROLE_SINKS,
    HTH_ROLE_Q_A, // latent attention: compresses queries
    HTH_ROLE_Q_A_NORM,
    HTH_ROLE_Q_B,
    HTH_ROLE_KV_A, // rows of the compressed keys and values, then of the rotated part of keys
    HTH_ROLE_KV_A_NORM,
    HTH_ROLE_KV_B, // for each head: rows of keys, then of values
    HTH_ROLE_K_B,  // the keys' part of it turned, a matrix per head
    HTH_ROLE_V_B,
    HTH_ROLE_ATTN_POST_NORM,
    HTH_ROLE_FFN_NORM,
    HTH_ROLE_GATE,
    HTH_ROLE_UP,
    HTH_ROLE_GATE_UP, // rows of gate, then up
    HTH_ROLE_DOWN,
    HTH_ROLE_FFN_POST_NORM,
    HTH_ROLE_PER_LAYER_GATE,
    HTH_ROLE_PER_LAYER_PROJ,
    HTH_ROLE_PER_LAYER_NORM,
    HTH_ROLE_LAYER_SCALAR,
    HTH_ROLE_LAUREL_LEFT,
    HTH_ROLE_LAUREL_RIGHT,
    HTH_ROLE_LAUREL_NORM,
    HTH_ROLE_ALTUP_ROUTER,
    HTH_ROLE_ALTUP_ROUTER_NORM,
    HTH_ROLE_ALTUP_PREDICT,
    HTH_ROLE_ALTUP_CORRECT,
    HTH_ROLE_ALTUP_SCALE,
    HTH_ROLE_ROUTER,
    HTH_ROLE_CHOICE_BIAS,
    HTH_ROLE_EXPERTS_GATE, // all experts in one tensor
    HTH_ROLE_EXPERTS_UP,
    HTH_ROLE_EXPERTS_GATE_UP, // of each expert: rows of gate, then up (or alternating)
    HTH_ROLE_EXPERTS_DOWN,
    HTH_ROLE_EXPERT_GATE, // one tensor per expert, %e
    HTH_ROLE_EXPERT_UP,
    HTH_ROLE_EXPERT_DOWN,
    HTH_ROLE_LATENT_IN, // before all experts of a layer, and behind them
    HTH_ROLE_LATENT_OUT,
    HTH_ROLE_SHARED_GATE,
    HTH_ROLE_SHARED_UP,
    HTH_ROLE_SHARED_GATE_UP,
    HTH_ROLE_SHARED_DOWN,
    HTH_ROLE_SHARED_ROUTER,
    HTH_ROLE_RECURRENT_IN, // everything that a recurrent mixer projects its input to
    HTH_ROLE_RECURRENT_OUT,
    HTH_ROLE_SSM_SKIP, // Mamba; it shares rates, biases and norms with the delta rule
    HTH_ROLE_SSM_X, // Mamba 1
    HTH_ROLE_SSM_STEP,
    HTH_ROLE_SSM_STEP_NORM,
    HTH_ROLE_SSM_B_NORM,
    HTH_ROLE_SSM_C_NORM,
    HTH_ROLE_CONV, // [channels, taps] or that with a 1 somewhere
    HTH_ROLE_DELTA_QKV,
    HTH_ROLE_DELTA_GATE,
    HTH_ROLE_DELTA_BETA_DECAY,
    HTH_ROLE_DELTA_BETA,
    HTH_ROLE_DELTA_DECAY,
    HTH_ROLE_DELTA_RATE, // of decay; GGUF: negative, folders: its logarithm
    HTH_ROLE_DELTA_DECAY_BIAS,
    HTH_ROLE_DELTA_NORM,
    HTH_ROLE_DELTA_GATE_A,
    HTH_ROLE_DELTA_DECAY_A,
    HTH_ROLE_CONV_Q, // a convolution each for queries, keys and values
    HTH_ROLE_CONV_K,
    HTH_ROLE_CONV_V,
    HTH_ROLE_SHIFT, // RWKV: how much of the row before queries, decays, keys, values, betas and gates take
    HTH_ROLE_SHIFT_Q, // the same, a tensor each, in that order
    HTH_ROLE_SHIFT_DECAY,
    HTH_ROLE_SHIFT_K,
    HTH_ROLE_SHIFT_V,
    HTH_ROLE_SHIFT_BETA,
    HTH_ROLE_SHIFT_GATE,
    HTH_ROLE_SHIFT_FFN,
    HTH_ROLE_BETA_A,
    HTH_ROLE_BETA_BIAS,
    HTH_ROLE_VALUE_MIX_A,
    HTH_ROLE_VALUE_MIX,
    HTH_ROLE_VALUE_MIX_BIAS,
    HTH_ROLE_KEY_UNIT,
    HTH_ROLE_KEY_BETA,
    HTH_ROLE_BONUS,
    HTH_ROLE_NEXT_PROJ, // of a layer that predicts one token further: takes a token and a hidden row together
    HTH_ROLE_NEXT_EMBD_NORM,
    HTH_ROLE_NEXT_HIDDEN_NORM,
    HTH_ROLE_NEXT_NORM,
    HTH_ROLE_NEXT_OUTPUT,
    HTH_ROLE_NEXT_EMBD,
    HTH_ROLE_COUNT
} hth_role;

// A family's own name for a role in hub folders (or in GGUF), in place of the usual ones.
typedef struct hth_name {
    hth_role role;
    const char *name;
} hth_name;

// Usual names of a role without ".weight", alternatives separated by '|', "%d" for the layer, "%e" for the expert; for hub folders
// relative to the model's root ("model.", "transformer.", ...). "" when the container never has it.
const char *hth_role_gguf(hth_role role);
const char *hth_role_hub(hth_role role);
// Words for messages: "query projection".
const char *hth_role_title(hth_role role);

#endif

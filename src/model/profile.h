// Where the time of steps goes: each thread of the CPU's executor says what it turns to, and the time until it says
// the next thing is that operation's. Off (no profile given to the executor) this costs one branch per change.
#ifndef HTH_MODEL_PROFILE_H
#define HTH_MODEL_PROFILE_H

#include "model/executor.h"

typedef enum hth_op {
    HTH_OP_QKV,       // linear products, by what they make
    HTH_OP_ATTN_OUT,  //
    HTH_OP_GATE_UP,   //
    HTH_OP_DOWN,      //
    HTH_OP_OUTPUT,    //
    HTH_OP_LINEAR,    // others
    HTH_OP_ATTENTION, // scores, softmax, weighted values
    HTH_OP_RECURRENT, // convolutions and matrix states
    HTH_OP_SMALL,     // norms, rope, activations, adding, storing keys and values
    HTH_OP_WAIT,      // at barriers, for other threads
    HTH_OP_DISK,      // for experts that are being read
    HTH_OP_COUNT,
} hth_op;

#define HTH_PROFILE_THREADS 256

typedef struct hth_profile_thread {
    uint64_t ns[HTH_OP_COUNT];
    uint64_t since;       // when the operation at work began
    hth_op op;
    char pad[64]; // no cache line with another thread's numbers
} hth_profile_thread;

typedef struct hth_profile {
    hth_profile_thread threads[HTH_PROFILE_THREADS];
} hth_profile;

const char *hth_op_name(hth_op op); // "gate_up"

// The executor (the CPU's) counts into `p` from the next step on; NULL: it stops. The profile is the caller's and
// begins as zeros. HTH_ERR_LIMIT where the team has more threads than a profile holds.
HTH_NODISCARD hth_code hth_profile_set(hth_executor *cpu, hth_profile *p, hth_err *err);
// Nanoseconds of all threads together in an operation.
uint64_t hth_profile_ns(const hth_profile *p, hth_op op);

// For the executor: a thread turns to an operation; returns the one that it did before.
hth_op hth_profile_enter(hth_profile_thread *p, hth_op op);

#endif

// What may be written: a form that the answer must have, calls that must come.
#include "server/call_impl.h"

// Constrained output is refused: it must never be promised and then not kept.
bool call_make_grammar(hth_call *c, hth_fault *fault) {
    const hth_ask *a = c->ask;
    if (a->format != HTH_FORMAT_TEXT) {
        return hth_refuse(fault, HTH_FAULT_UNSUPPORTED, CALL_NAME(c, format), "'%s' is not supported yet",
                          CALL_NAME(c, format));
    }
    if (a->tool_choice == HTH_TOOLS_REQUIRED && a->n_tool > 0) {
        return hth_refuse(fault, HTH_FAULT_UNSUPPORTED, CALL_NAME(c, tool_choice),
                          "'%s' is not supported yet", CALL_NAME(c, tool_choice));
    }
    return true;
}

bool call_make_guides(hth_call *c, size_t i, hth_request_params *p, hth_fault *fault) {
    (void)c, (void)i, (void)p, (void)fault;
    return true;
}

const hth_err *call_guide_error(const call_job *job, int32_t completion) {
    (void)job, (void)completion;
    return NULL;
}

void call_free_grammar(hth_call *c) {
    (void)c;
}

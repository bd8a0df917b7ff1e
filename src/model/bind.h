// Binding: from names to weights. Every shape, size and type is checked here, once; after hth_bind the
// forward pass trusts the model.
#ifndef HTH_MODEL_BIND_H
#define HTH_MODEL_BIND_H

#include "model/family.h"

// Fills the weights and vectors of b->model after hth_describe. A tensor of a layer that nothing uses is an
// error: the description would be wrong about this file.
HTH_NODISCARD hth_code hth_bind(hth_builder *b, hth_err *err);

#endif

#include "text/tok_impl.h"
hth_code hth_tok_load_json(const hth_json *root, hth_tokenizer **out, hth_err *err){(void)root;*out=0;return hth_fail(err,HTH_ERR_UNSUPPORTED,"json");}
hth_code hth_tok_apply_config(hth_tokenizer *t, const hth_json *a, const hth_json *b, hth_err *err){(void)t;(void)a;(void)b;(void)err;return HTH_OK;}

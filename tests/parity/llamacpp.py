"""Logits of GGUF files from llama-cpp-python: float32 caches, no flash attention, one thread."""
import ctypes
import importlib.util
import pathlib
import subprocess
import sys

import numpy as np

HERE = pathlib.Path(__file__).parent


def ggml():
    """ggml's library of block types, as llama-cpp-python carries it; None where that is not installed."""
    spec = importlib.util.find_spec("llama_cpp")
    if spec is None:
        return None
    folder = pathlib.Path(spec.origin).parent / "lib"
    files = [f for f in folder.iterdir() if f.name in ("libggml-base.so", "libggml-base.dylib")]
    return ctypes.CDLL(str(files[0]))


def logits(path, tokens, n_ctx=None, lora=None):
    """[n_tokens, n_vocab] float32 of one sequence, evaluated in one batch; lora: (adapter, scale)."""
    import llama_cpp as lib

    @lib.llama_log_callback
    def quiet(level, text, data):
        pass

    lib.llama_log_set(quiet, ctypes.c_void_p(0))
    logits.keep = quiet
    lib.llama_backend_init()
    options = lib.llama_model_default_params()
    options.n_gpu_layers = 0
    options.use_extra_bufts = False  # its AMX buffers crash on some virtual machines
    model = lib.llama_model_load_from_file(str(path).encode(), options)
    if not model:
        raise ValueError(f"llama.cpp does not load {path}")
    n_tok = len(tokens)
    how = lib.llama_context_default_params()
    how.n_ctx = n_ctx or n_tok
    how.n_batch = how.n_ubatch = n_tok
    how.n_seq_max = 1
    how.n_threads = how.n_threads_batch = 1
    how.type_k = how.type_v = 0  # F32
    how.flash_attn_type = 0  # off
    how.swa_full = True
    context = lib.llama_init_from_model(model, how)
    if not context:
        raise ValueError(f"llama.cpp makes no context for {path}")
    if lora:
        adapter = lib.llama_adapter_lora_init(model, str(lora[0]).encode())
        if not adapter:
            raise ValueError(f"llama.cpp does not load {lora[0]}")
        lib.llama_set_adapters_lora(context, (lib.llama_adapter_lora_p_ctypes * 1)(adapter), 1, (ctypes.c_float * 1)(lora[1]))
    n_vocab = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(model))
    batch = lib.llama_batch_init(n_tok, 0, 1)
    try:
        batch.n_tokens = n_tok
        for i, token in enumerate(tokens):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.logits[i] = int(token), i, 1, 1
            batch.seq_id[i][0] = 0
        if lib.llama_decode(context, batch) != 0:
            raise ValueError(f"llama.cpp does not evaluate {path}")
        rows = np.ctypeslib.as_array(lib.llama_get_logits(context), shape=(n_tok, n_vocab))
        return rows.copy()
    finally:
        lib.llama_batch_free(batch)
        lib.llama_free(context)
        lib.llama_model_free(model)


def is_answered(path, tokens, out):
    """Whether `out` holds the logits of these tokens, made after the file `path`."""
    asked = out.with_suffix(".tokens.npy")
    return (out.exists() and asked.exists() and out.stat().st_mtime >= pathlib.Path(path).stat().st_mtime
            and np.array_equal(np.load(asked), tokens))


def judge(path, tokens, out):
    """llama.cpp's logits of a file, made once per file and written to `out`."""
    out = pathlib.Path(out)
    asked = out.with_suffix(".tokens.npy")
    if not is_answered(path, tokens, out):
        np.save(asked, np.asarray(tokens, np.int32))
        code = ("import sys; sys.path.insert(0, sys.argv[1]); import numpy, llamacpp; "
                "numpy.save(sys.argv[4], llamacpp.logits(sys.argv[2], numpy.load(sys.argv[3])))")
        done = subprocess.run([sys.executable, "-c", code, str(HERE), str(path), str(asked), str(out)],
                              capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-1500:]
    return np.load(out, mmap_mode="r")


def tokens_of(path, text, n):
    """The first n tokens of a text by the file's own vocabulary, in a process of its own."""
    code = ("import sys, llama_cpp; m = llama_cpp.Llama(sys.argv[1], vocab_only=True, verbose=False); "
            "print(*m.tokenize(sys.stdin.read().encode())[:int(sys.argv[2])])")
    done = subprocess.run([sys.executable, "-c", code, str(path), str(n)], input=text, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-1500:]
    tokens = [int(t) for t in done.stdout.split()]
    assert len(tokens) == n
    return tokens


def embedding(path, tokens, out):
    """llama.cpp's pooled embedding of one sequence, in a process of its own."""
    code = """if True:
        import sys, ctypes, numpy, llama_cpp as lib
        quiet = lib.llama_log_callback(lambda level, text, data: None)
        lib.llama_log_set(quiet, ctypes.c_void_p(0))
        tokens = [int(t) for t in sys.argv[3].split(",")]
        options = lib.llama_model_default_params()
        options.use_extra_bufts = False
        model = lib.llama_model_load_from_file(sys.argv[1].encode(), options)
        how = lib.llama_context_default_params()
        how.n_ctx = how.n_batch = how.n_ubatch = max(len(tokens), 32)
        how.n_threads = how.n_threads_batch = 1
        how.embeddings, how.flash_attn_type = True, 0
        context = lib.llama_init_from_model(model, how)
        batch = lib.llama_batch_init(len(tokens), 0, 1)
        batch.n_tokens = len(tokens)
        for i, t in enumerate(tokens):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.logits[i] = t, i, 1, 1
            batch.seq_id[i][0] = 0
        assert lib.llama_encode(context, batch) == 0
        row = lib.llama_get_embeddings_seq(context, 0)
        n = lib.llama_model_n_embd(model)
        numpy.save(sys.argv[2], numpy.ctypeslib.as_array(row, shape=(n,)))
    """
    ids = ",".join(str(int(t)) for t in tokens)
    done = subprocess.run([sys.executable, "-c", code, str(path), str(out), ids], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-1500:]
    return np.load(out).astype(np.float64)

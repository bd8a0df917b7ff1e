// Opening a model. Files are mapped, so this takes long only on a cold disk, or where weights are read: the dense part of
// a model that does not fit, or all of them where that is asked for.
#include "cli/load.h"

#include <stdio.h>

#include "cli/input.h"
#include "cli/out.h"
#include "cli/progress.h"
#include "model/residency.h"
#include "os/term.h"

static void state_residency(const hth_residency *r) {
    char limit[16], dense[16], routed[16], cache[16], work[16];
    fprintf(stderr, "memory    %s: %s of weights are resident, %s are for keys, values and work\n",
            cli_bytes(r->limit_bytes, limit), cli_bytes(r->dense_bytes, dense), cli_bytes(r->work_bytes, work));
    fprintf(stderr, "experts   %s stay on disk; a cache of %s holds %lld of %lld\n", cli_bytes(r->routed_bytes, routed),
            cli_bytes(r->cache_bytes, cache), (long long)r->n_slot, (long long)r->n_expert);
    fprintf(stderr, "disk      %.2f GB/s%s: about %.2g tokens/s, more as the cache learns\n", r->read_rate * 1e-9,
            r->is_past_cache ? "" : " through the system's cache", r->tokens_per_second);
}

void cli_residency_json(hth_json_out *j, const hth_model *m) {
    if (!m->stream) {
        if (m->own_bytes == 0) return;
        hth_json_out_begin(j, "residency", '{');
        hth_json_out_int(j, "resident_bytes", (int64_t)m->own_bytes);
        hth_json_out_end(j, '}');
        return;
    }
    const hth_residency *r = &m->stream->residency;
    const hth_tier_stats s = hth_tier_get_stats(m->stream->tier);
    hth_json_out_begin(j, "residency", '{');
    hth_json_out_int(j, "limit_bytes", (int64_t)r->limit_bytes);
    hth_json_out_int(j, "resident_bytes", (int64_t)r->dense_bytes);
    hth_json_out_int(j, "work_bytes", (int64_t)r->work_bytes);
    hth_json_out_int(j, "expert_bytes", (int64_t)r->routed_bytes);
    hth_json_out_int(j, "expert_bytes_per_token", (int64_t)r->token_bytes);
    hth_json_out_int(j, "cache_bytes", (int64_t)r->cache_bytes);
    hth_json_out_int(j, "experts", r->n_expert);
    hth_json_out_int(j, "cached_experts", r->n_slot);
    hth_json_out_bool(j, "past_system_cache", r->is_past_cache);
    hth_json_out_num(j, "disk_bytes_per_second", r->read_rate);
    hth_json_out_num(j, "predicted_tokens_per_second", r->tokens_per_second);
    hth_json_out_int(j, "experts_used", (int64_t)s.n_used);
    hth_json_out_int(j, "experts_read", (int64_t)s.n_read);
    hth_json_out_int(j, "read_bytes", (int64_t)s.read_bytes);
    hth_json_out_end(j, '}');
}

// Returns what shows the progress from here on.
static cli_progress begin_loading(const char *path) {
    if (hth_term_is_stderr_tty()) {
        fprintf(stderr, "loading %s ...", path);
        fflush(stderr);
    }
    cli_progress progress = cli_progress_make("reading weights");
    progress.unit = "MB";
    progress.scale = 1e6;
    return progress;
}

static void end_loading(const hth_model *m) {
    if (hth_term_is_stderr_tty()) fputs("\r\033[K", stderr);
    if (m && m->stream) state_residency(&m->stream->residency);
}

hth_code cli_open_engine(const char *path, const hth_engine_params *how, hth_engine **out, hth_err *err) {
    cli_progress progress = begin_loading(path);
    hth_engine_params params = *how;
    params.on_load = cli_progress_step;
    params.load_user = &progress;
    const hth_code code = hth_engine_open(path, &params, out, err);
    end_loading(code == HTH_OK ? hth_engine_model(*out) : NULL);
    return code;
}

hth_code cli_open_engine_and_text(const char *path, const hth_engine_params *how, const char *file, hth_engine **out,
                                  hth_token_list *list, hth_err *err) {
    *out = NULL;
    hth_engine_params params = *how;
    params.need_tokenizer = true;
    hth_str text;
    hth_str_init(&text, HTH_MEM_TEXT, CLI_MAX_TEXT);
    hth_code code;
    HTH_TRY_GOTO(code, cli_read_text(file, &text, err), done);
    HTH_TRY_GOTO(code, cli_open_engine(path, &params, out, err), done);
    const hth_text_segment segment = {.text = hth_str_text(&text), .n = text.len};
    code = hth_tokenize(hth_engine_tokenizer(*out), &segment, 1, HTH_TOKENIZE_ADD_SPECIAL, list, err);
done:
    hth_str_free(&text);
    return code;
}

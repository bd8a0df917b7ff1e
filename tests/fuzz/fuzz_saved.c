// A saved beginning of a text (engine/prefix_file.h, model/state_io.h) with bytes changed and its end cut off: taken in or
// refused with words, never a crash, and what was taken in can be computed with. Fuzzing builds pass over the checksums,
// which would refuse nearly everything.
//
// An input is two bytes by how much the file is shorter, then changes: two bytes of place, a byte of value.
#include "base/mem.h"
#include "engine/prefix.h"
#include "fuzz/tiny_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { N_ROW = 40, MAX_FILE = 1 << 17 };

static struct {
    hth_model *model;
    hth_team *team;
    hth_executor *executor;
    char dir[128], path[160];
    uint8_t file[MAX_FILE], changed[MAX_FILE];
    size_t n;
} world;

static hth_prefix *new_cache(void) {
    hth_prefix *c;
    hth_err err;
    const hth_prefix_params p = {.executor = world.executor, .model = world.model, .state = {.n_ctx = 64}, .limit_bytes = 1 << 24};
    assert_int_equal(hth_prefix_new(&p, &c, &err), HTH_OK);
    return c;
}

static void run(hth_state *s, int first, int n) {
    hth_row rows[N_ROW];
    hth_err err;
    hth_ticket ticket;
    for (int i = 0; i < n; i++) {
        const int64_t pos = first + i;
        rows[i] = (hth_row){.token = (first + i) % TINY_VOCAB, .pos = {pos, pos, pos, pos}, .parent = HTH_PARENT_PREVIOUS, .span = -1};
    }
    const hth_step step = {.model = world.model, .batch = {.rows = rows, .n_row = n, .states = &s, .n_seq = 1},
                           .layer_last = world.model->desc.n_layer, .hidden_layer = -1};
    // Positions are of the file: they may forbid the row.
    if (hth_executor_submit(world.executor, &step, &ticket, &err) != HTH_OK) assert_true(err.msg[0] != 0);
}

static void make_file(void) {
    hth_state *s;
    hth_err err;
    int64_t n;
    hth_token tokens[N_ROW];
    hth_prefix *c = new_cache();
    assert_int_equal(hth_state_new(world.executor, world.model, &(hth_state_params){.n_ctx = 64}, &s, &err), HTH_OK);
    run(s, 0, N_ROW);
    for (int i = 0; i < N_ROW; i++) tokens[i] = i;
    const hth_prefix_text text = {.domain = "d", .n_domain = 1, .tokens = tokens, .n = N_ROW};
    assert_int_equal(hth_prefix_put(c, &text, s, &err), HTH_OK);
    assert_int_equal(hth_prefix_save(c, &text, world.path, &n, &err), HTH_OK);
    hth_prefix_free(c);
    FILE *f = fopen(world.path, "rb");
    assert_non_null(f);
    world.n = fread(world.file, 1, MAX_FILE, f);
    fclose(f);
    assert_true(world.n > 1000 && world.n < MAX_FILE);
}

static void remove_files(void) {
    unlink(world.path);
    rmdir(world.dir);
}

static void set_up(void) {
    hth_err err;
    world.model = fuzz_model(TINY_LFM2); // pages and recurrent blocks
    assert_int_equal(hth_team_new(1, &world.team, &err), HTH_OK);
    assert_int_equal(hth_executor_cpu_new(world.team, &world.executor, &err), HTH_OK);
    tiny_make_dir(world.dir);
    snprintf(world.path, sizeof world.path, "%s/saved", world.dir);
    atexit(remove_files);
    make_file();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!world.model) set_up();
    hth_mem_stats before, after;
    hth_err err = {.msg = ""};
    int64_t n;
    size_t n_file = world.n;
    hth_mem_get_stats(&before);
    memcpy(world.changed, world.file, world.n);
    if (size >= 2) n_file -= (size_t)(data[0] | data[1] << 8) % world.n;
    for (size_t i = 2; i + 3 <= size; i += 3) world.changed[(size_t)(data[i] | data[i + 1] << 8) % world.n] = data[i + 2];
    fuzz_write(world.path, world.changed, n_file);
    hth_prefix *c = new_cache();
    const hth_prefix_text domain = {.domain = "d", .n_domain = 1};
    const hth_code code = hth_prefix_restore(c, &domain, world.path, &n, &err);
    if (code != HTH_OK && (err.msg[0] == 0 || n != 0)) abort();
    if (code == HTH_OK) {
        hth_token tokens[64];
        hth_prefix_hit hit;
        for (int i = 0; i < 64; i++) tokens[i] = i;
        const hth_prefix_text text = {.domain = "d", .n_domain = 1, .tokens = tokens, .n = 64};
        if (hth_prefix_find(c, &text, 63, &hit, &err) == HTH_OK && hit.state) {
            run(hit.state, (int)hit.n, 1);
            hth_state_free(hit.state);
        }
    }
    hth_prefix_free(c);
    hth_mem_get_stats(&after);
    if (after.n_blocks > before.n_blocks + 2) abort(); // scratch of the executor may have been made
    return 0;
}

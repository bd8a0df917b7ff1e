// Model files that somebody cuts off while they are mapped. Each scene plays in a child process, because the bug to
// catch is that the process dies.
#include <signal.h>
#include <sys/wait.h>

#include "os/file.h"
#include "rig.h"

static char path[192];

// Runs `scene` in a child; what it returns must be 0.
static void must_survive(int (*scene)(hth_model *m, const char *dir), tiny_kind kind) {
    char dir[128];
    tiny *t = malloc(sizeof *t);
    hth_model *m;
    hth_err err = {0};
    tiny_make(kind, t);
    tiny_make_dir(dir);
    tiny_write_config(t, dir);
    tiny_write_weights(t, dir);
    free(t);
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    const pid_t child = fork();
    if (child == 0) {
        alarm(60);
        _exit(hth_model_open(dir, &m, &err) == HTH_OK ? scene(m, dir) : 100);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    tiny_remove_dir(dir);
    if (WIFSIGNALED(status)) fail_msg("it died by signal %d", WTERMSIG(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

// 0 where the step fails as it should.
static int step_fails(hth_model *m) {
    hth_team *team;
    hth_executor *ex;
    hth_state *s;
    hth_err err = {0};
    hth_ticket ticket;
    const hth_state_params params = {.n_ctx = 64};
    static float logits[TINY_VOCAB];
    if (hth_team_new(3, &team, &err) != HTH_OK || hth_executor_cpu_new(team, &ex, &err) != HTH_OK) return 1;
    if (hth_state_new(ex, m, &params, &s, &err) != HTH_OK) return 2;
    const hth_row row = rig_row(5, 0);
    const hth_step step = {.model = m, .batch = {.rows = &row, .n_row = 1, .states = &s, .n_seq = 1},
                           .layer_last = m->desc.n_layer, .logits = logits, .hidden_layer = -1};
    for (int i = 0; i < 2; i++) { // and again
        if (hth_executor_submit(ex, &step, &ticket, &err) != HTH_ERR_IO) return 3;
        if (!strstr(err.msg, "model.safetensors") || !strstr(err.msg, "cut off")) return 4;
        if (hth_state_len(s) != 0) return 5;
    }
    hth_state_free(s);
    hth_executor_free(ex);
    hth_team_free(team);
    hth_model_free(m);
    return 0;
}

static int cut_to_a_page(hth_model *m, const char *dir) {
    (void)dir;
    return truncate(path, 4096) == 0 ? step_fails(m) : 10;
}

static int cut_to_nothing(hth_model *m, const char *dir) {
    (void)dir;
    return truncate(path, 0) == 0 ? step_fails(m) : 10;
}

static int cut_and_open_another(hth_model *m, const char *dir) {
    (void)dir;
    if (truncate(path, 8192) != 0) return 10;
    const int code = step_fails(m);
    tiny *t = malloc(sizeof *t); // a whole model in the same process, perhaps at the same addresses
    hth_model *other;
    hth_err err;
    tiny_make(TINY_LLAMA, t);
    const bool is_fine = tiny_open(t, &other, &err) == HTH_OK && hth_model_check_files(other, &err) == HTH_OK;
    free(t);
    return code != 0 ? code : is_fine ? 0 : 11;
}

static void leave(int number) {
    (void)number;
    _exit(0);
}

// A fault that is none of ours is the program's own handler's.
static int fault_elsewhere(const char *dir) {
    char other[200];
    hth_file_map map;
    hth_err err;
    snprintf(other, sizeof other, "%s/config.json", dir);
    if (hth_file_map_open(other, &map, &err) != HTH_OK) return 10;
    raise(SIGBUS);
    return 11;
}

static int with_a_handler_of_its_own(void) {
    int status;
    const pid_t child = fork();
    if (child == 0) {
        char dir[128];
        signal(SIGBUS, leave); // before the first map of this process
        tiny_make_dir(dir);
        tiny *t = malloc(sizeof *t);
        tiny_make(TINY_LLAMA, t);
        tiny_write_config(t, dir);
        const int code = fault_elsewhere(dir);
        tiny_remove_dir(dir);
        _exit(code);
    }
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 99;
}

static void a_handler_that_was_there_before_still_gets_its_faults(void **unused) {
    (void)unused;
    assert_int_equal(with_a_handler_of_its_own(), 0);
}

static void a_step_fails_when_the_file_is_cut_off_and_the_process_lives(void **unused) {
    (void)unused;
    for (int kind = 0; kind < TINY_CAUSAL_COUNT; kind++) must_survive(cut_to_a_page, (tiny_kind)kind);
    must_survive(cut_to_nothing, TINY_LLAMA);
}

static void other_models_of_the_process_go_on(void **unused) {
    (void)unused;
    must_survive(cut_and_open_another, TINY_LLAMA);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_handler_that_was_there_before_still_gets_its_faults), // first: nothing is mapped yet
        cmocka_unit_test(a_step_fails_when_the_file_is_cut_off_and_the_process_lives),
        cmocka_unit_test(other_models_of_the_process_go_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

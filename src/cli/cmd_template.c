// hearth template: what a chat template makes of a conversation.
#include <string.h>

#include "chat/template.h"
#include "cli/commands.h"
#include "cli/input.h"
#include "cli/out.h"
#include "os/file.h"

#define MAX_VALUES ((uint64_t)1 << 30)

typedef struct template_values {
    const char *messages, *tools, *format, *file;
    cli_list kwargs;
    bool tokens, json, as_is;
} template_values;

static template_values values;

typedef struct job {
    hth_container *container;
    hth_tokenizer *tokenizer; // NULL: a template file alone
    hth_chat_template *chat;
    hth_arena arena;
    hth_str source, texts[2];
    hth_json_doc *docs[2];
    hth_chat_message *messages;
    size_t n_message;
    hth_jinja_value as_is, tools, documents, kwargs;
    const char *continues;
    hth_jinja_text text;
    hth_token_list ids;
} job;

static bool ends_with(const char *path, const char *end) {
    size_t n = strlen(path), n_end = strlen(end);
    return n >= n_end && strcmp(path + n - n_end, end) == 0;
}

static hth_code open_chat(job *j, const char *path, hth_err *err) {
    hth_chat_choice choice = {.name = values.format};
    bool is_alone = ends_with(path, ".jinja") || ends_with(path, ".jinja2") || ends_with(path, ".j2");
    if (is_alone || values.file) {
        HTH_TRY(cli_read_text(is_alone ? path : values.file, &j->source, err));
        choice.text = (hth_chat_text){hth_str_text(&j->source), j->source.len};
    }
    if (!is_alone) {
        HTH_TRY(hth_container_open(path, &j->container, err));
        HTH_TRY(hth_tokenizer_load(j->container, &j->tokenizer, err));
    }
    return hth_chat_template_open(j->container, j->tokenizer, &choice, &j->chat, err);
}

static hth_code read_json(job *j, int i, const char *path, hth_err *err) {
    HTH_TRY(cli_read_text(path, &j->texts[i], err));
    hth_code code = hth_json_parse(hth_str_text(&j->texts[i]), j->texts[i].len, MAX_VALUES, &j->docs[i], err);
    return code == HTH_OK ? HTH_OK : hth_fail_in(err, code, path);
}

static hth_code read_messages(job *j, hth_err *err) {
    static const char greeting[] = "[{\"role\": \"user\", \"content\": \"Hello\"}]";
    if (values.messages) {
        HTH_TRY(read_json(j, 0, values.messages, err));
    } else {
        if (!hth_str_puts(&j->texts[0], greeting)) return hth_fail_nomem(err, sizeof greeting);
        HTH_TRY(hth_json_parse(greeting, sizeof greeting - 1, MAX_VALUES, &j->docs[0], err));
    }
    const hth_json *root = hth_json_root(j->docs[0]);
    const hth_json *list = root->kind == HTH_JSON_OBJECT ? hth_json_get(root, "messages") : root;
    const char *text = hth_str_text(&j->texts[0]);
    if (values.as_is) return hth_chat_values_from_json(&j->arena, list, text, j->texts[0].len, &j->as_is, err);
    return hth_chat_messages_from_json(&j->arena, list, text, j->texts[0].len, &j->messages, &j->n_message, err);
}

static hth_code read_tools(job *j, hth_err *err) {
    if (!values.tools) return HTH_OK;
    HTH_TRY(read_json(j, 1, values.tools, err));
    return hth_jinja_from_json(&j->arena, hth_json_root(j->docs[1]), hth_str_text(&j->texts[1]), j->texts[1].len,
                               HTH_JINJA_OF_CLIENT, &j->tools, err);
}

// One KEY=VALUE; the value is JSON where it parses as such. Three of them steer the rendering itself.
static hth_code read_kwarg(job *j, const char *kwarg, hth_err *err) {
    const char *equals = strchr(kwarg, '='), *text = equals ? equals + 1 : NULL;
    hth_json_doc *doc = NULL;
    hth_jinja_value v;
    hth_err broken;
    if (!equals || equals == kwarg) return hth_fail(err, HTH_ERR_RANGE, "--kwarg %s: write it as KEY=VALUE", kwarg);
    hth_code code = hth_json_parse(text, strlen(text), MAX_VALUES, &doc, &broken);
    code = code == HTH_OK ? hth_jinja_from_json(&j->arena, hth_json_root(doc), text, strlen(text), HTH_JINJA_OF_CLIENT, &v, err)
                          : hth_jinja_make_str(&j->arena, text, strlen(text), HTH_JINJA_OF_CLIENT, &v, err);
    hth_json_free(doc);
    HTH_TRY(code);
    size_t n = (size_t)(equals - kwarg);
    if (n == 9 && memcmp(kwarg, "documents", n) == 0) {
        j->documents = v;
        return HTH_OK;
    }
    if (n == 22 && memcmp(kwarg, "continue_final_message", n) == 0) {
        bool is_true = v.kind == HTH_JINJA_BOOL && v.u.b;
        j->continues = is_true ? "content" : v.kind == HTH_JINJA_STR ? text : NULL;
        return HTH_OK;
    }
    return hth_jinja_set(&j->arena, &j->kwargs, kwarg, n, HTH_JINJA_OF_TEMPLATE, v, err);
}

static hth_code render(job *j, const char *path, hth_err *err) {
    HTH_TRY(open_chat(j, path, err));
    HTH_TRY(read_messages(j, err));
    HTH_TRY(read_tools(j, err));
    HTH_TRY(hth_jinja_make_dict(&j->arena, &j->kwargs, err));
    for (int i = 0; i < values.kwargs.n; i++) HTH_TRY(read_kwarg(j, values.kwargs.items[i], err));
    hth_chat_request r = {.messages = j->messages, .n_message = j->n_message, .kwargs = &j->kwargs, .continues = j->continues,
                          .values = values.as_is ? &j->as_is : NULL, .tools = values.tools ? &j->tools : NULL,
                          .documents = j->documents.kind == HTH_JINJA_MISSING ? NULL : &j->documents};
    HTH_TRY(hth_chat_render(j->chat, &r, &j->text, err));
    if (!values.tokens) return HTH_OK;
    if (!j->tokenizer) return hth_fail(err, HTH_ERR_RANGE, "--tokens needs a model: a template alone has no vocabulary");
    return hth_chat_text_ids(j->chat, j->tokenizer, &j->text, &j->ids, err);
}

// Control tokens, and added ones: those of some families' turns are no control tokens.
static char mark_of(const hth_tokenizer *t, hth_token id) {
    size_t n;
    return hth_tokenizer_is_control(t, id) ? '*' : hth_tokenizer_bytes(t, id, &n) ? ' ' : '+';
}

static void print_tokens(const job *j) {
    for (size_t i = 0; i < j->ids.n; i++) {
        size_t n;
        const char *spelling = hth_tokenizer_spelling(j->tokenizer, j->ids.ids[i], &n);
        cli_print("%8d %c ", j->ids.ids[i], mark_of(j->tokenizer, j->ids.ids[i]));
        if (spelling) cli_write_text(spelling, n);
        cli_print("\n");
    }
}

static void add_tokens(hth_json_out *o, const job *j) {
    hth_json_out_begin(o, "tokens", '[');
    for (size_t i = 0; i < j->ids.n; i++) {
        size_t n;
        const char *spelling = hth_tokenizer_spelling(j->tokenizer, j->ids.ids[i], &n);
        hth_json_out_begin(o, NULL, '{');
        hth_json_out_int(o, "id", j->ids.ids[i]);
        hth_json_out_str(o, "piece", spelling ? spelling : "", spelling ? n : 0);
        hth_json_out_bool(o, "special", hth_tokenizer_is_control(j->tokenizer, j->ids.ids[i]));
        hth_json_out_end(o, '}');
    }
    hth_json_out_end(o, ']');
}

static int print_json(const job *j) {
    hth_str text;
    hth_str_init(&text, HTH_MEM_TEXT, SIZE_MAX / 2);
    hth_json_out o = hth_json_out_make(&text, true);
    const hth_chat_abilities *can = hth_chat_template_abilities(j->chat);
    size_t n = 0;
    for (size_t i = 0; i < j->text.n; i++) n += j->text.segments[i].n;
    hth_json_out_begin(&o, NULL, '{');
    hth_json_out_text(&o, "template", hth_chat_template_name(j->chat));
    hth_json_out_begin(&o, "takes", '{');
    hth_json_out_bool(&o, "strings", can->strings);
    hth_json_out_bool(&o, "parts", can->parts);
    hth_json_out_bool(&o, "system", can->system);
    hth_json_out_bool(&o, "systems", can->systems);
    hth_json_out_bool(&o, "developer", can->developer);
    hth_json_out_bool(&o, "tools", can->tools);
    hth_json_out_bool(&o, "object_arguments", can->object_arguments);
    hth_json_out_end(&o, '}');
    hth_json_out_str(&o, "text", j->text.n ? j->text.segments[0].text : "", n);
    hth_json_out_begin(&o, "segments", '[');
    for (size_t i = 0; i < j->text.n; i++) {
        hth_json_out_begin(&o, NULL, '{');
        hth_json_out_str(&o, "text", j->text.segments[i].text, j->text.segments[i].n);
        hth_json_out_text(&o, "from", j->text.segments[i].is_user ? "client" : "template");
        hth_json_out_end(&o, '}');
    }
    hth_json_out_end(&o, ']');
    if (values.tokens) add_tokens(&o, j);
    hth_json_out_end(&o, '}');
    int code = cli_print_json(&text);
    hth_str_free(&text);
    return code;
}

static int print_result(const job *j) {
    if (values.json) return print_json(j);
    if (values.tokens) {
        print_tokens(j);
    } else {
        for (size_t i = 0; i < j->text.n; i++) cli_write(j->text.segments[i].text, j->text.segments[i].n);
    }
    return CLI_OK;
}

static void free_job(job *j) {
    hth_token_list_free(&j->ids);
    hth_jinja_text_free(&j->text);
    hth_arena_free(&j->arena);
    for (int i = 0; i < 2; i++) {
        hth_json_free(j->docs[i]);
        hth_str_free(&j->texts[i]);
    }
    hth_chat_template_free(j->chat);
    if (j->tokenizer) hth_tokenizer_free(j->tokenizer);
    if (j->container) hth_container_close(j->container);
    hth_str_free(&j->source);
}

static int run(const cli_args *args, const void *unused) {
    (void)unused;
    hth_err err;
    job j = {0};
    hth_arena_init(&j.arena, HTH_MEM_TEXT, MAX_VALUES);
    hth_str_init(&j.source, HTH_MEM_TEXT, CLI_MAX_TEXT);
    for (int i = 0; i < 2; i++) hth_str_init(&j.texts[i], HTH_MEM_TEXT, CLI_MAX_TEXT);
    int code = render(&j, args->items[0], &err) == HTH_OK ? print_result(&j) : cli_fail(&err);
    free_job(&j);
    return code;
}

static const cli_option options[] = {
    CLI_OPTION_TEXT("messages", 'm', "FILE", template_values, messages,
                    "a JSON array of messages (default: one greeting), - for standard input"),
    CLI_OPTION_TEXT("tools", 0, "FILE", template_values, tools, "the tools: a JSON array"),
    CLI_OPTION_LIST("kwarg", 'k', "KEY=VALUE", template_values, kwargs,
                    "a variable of the template, JSON or text; may be repeated"),
    CLI_OPTION_TEXT("chat-format", 0, "NAME", template_values, format,
                    "a classic format, or one of the model's named templates"),
    CLI_OPTION_TEXT("chat-template", 0, "FILE", template_values, file, "use this template with the model's vocabulary"),
    CLI_OPTION_FLAG("as-is", 0, template_values, as_is,
                    "give the messages to the template as they are, not in the shape that it wants"),
    CLI_OPTION_FLAG("tokens", 0, template_values, tokens, "print the tokens, control tokens marked with *, other added ones with +"),
    CLI_OPTION_FLAG("json", 0, template_values, json, "print JSON: the text in segments of template and client"),
    {0},
};

const cli_command cli_command_template = {
    .name = "template",
    .arguments = "MODEL|FILE",
    .summary = "Show what a chat template makes of a conversation.",
    .details = "FILE is a Jinja template (.jinja). The text is printed as it is, nothing added. The answer is\n"
               "opened; `--kwarg add_generation_prompt=false` leaves that out, `--kwarg\n"
               "continue_final_message=true` leaves the last message open.",
    .options = options,
    .min_args = 1,
    .max_args = 1,
    .values = &values,
    .run = run,
};

// The table of settings, shared by its reader and its printers.
#ifndef HTH_SERVER_CONFIG_IMPL_H
#define HTH_SERVER_CONFIG_IMPL_H

#include "server/config.h"

typedef enum hth_setting_kind {
    SET_BOOL,   // bool; a flag --x has a --no-x
    SET_INT,    // int64_t in [lo, hi]
    SET_NUM,    // double in [lo, hi]
    SET_BYTES,  // uint64_t: "500M", "8G", powers of 1000
    SET_CACHE,  // bool: llama-server's MiB of its cache, of which 0 is none
    SET_TIME,   // int64_t ms: a duration
    SET_TEXT,   // const char *
    SET_NAME,   // const char *, one of `choices`
    SET_CHOICE, // int: index in `choices`
    SET_LIST,   // hth_config_list: given again and again
    SET_COMMAS, // hth_config_list: the same, and with commas
    SET_TO,     // a flag that stores `lo` in an int
    SET_IDLE,      // takes a value and has no effect; told, unless the value is among `choices`
    SET_IDLE_FLAG, // a flag without effect; told, unless `choices` and it is not negated
    SET_REFUSED,      // takes a value; `help` says why it is an error
    SET_REFUSED_FLAG, // the same without a value
} hth_setting_kind;

typedef struct hth_setting {
    const char *name;  // --name, key of the file, HEARTH_NAME
    hth_setting_kind kind;
    size_t offset;     // in hth_config
    const char *flags; // further spellings, "-c|--ctx-size", "!-nocb" for a negative one; NULL: none
    const char *env;   // variables besides HEARTH_NAME, the first that is set counts; NULL: none
    const char *value; // what --help calls the value
    const char *help;
    const char *choices; // "a|b|c"
    double lo, hi;
    const char *bare; // what the flag means without a value; NULL: it needs one
    bool is_secret;
    bool flag_only;    // no variable and no key: asks for something else than serving
} hth_setting;

extern const hth_setting hth_settings[];
extern const size_t hth_n_settings;

// What holds before anything is read.
void hth_config_defaults(hth_config *c, hth_config_style style);

static inline bool hth_setting_is_flag(const hth_setting *s) {
    return s->kind == SET_BOOL || s->kind == SET_TO || s->kind == SET_IDLE_FLAG || s->kind == SET_REFUSED_FLAG;
}

static inline bool hth_setting_has_value(const hth_setting *s) {
    return s->kind < SET_TO && !s->flag_only;
}

// Index of the word [n] in "a|b|c", or -1.
int hth_word_index(const char *words, const char *word, size_t n);

// Stores a value that came as text; `where` names its source.
HTH_NODISCARD hth_code hth_setting_store(hth_config *c, const hth_setting *s, const char *text, hth_config_origin from,
                                         const char *where, hth_err *err);
// A flag without value, or its --no- form.
HTH_NODISCARD hth_code hth_setting_switch(hth_config *c, const hth_setting *s, bool on, hth_config_origin from,
                                          const char *where, hth_err *err);
// OLLAMA_HOST in all its forms.
HTH_NODISCARD hth_code hth_config_ollama_host(hth_config *c, const char *text, hth_err *err);

#endif

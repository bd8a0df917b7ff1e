// What \p{...} may name: general categories, their groups, scripts, and a few more.
#include <string.h>

#include "text/regex_impl.h"

typedef struct cat_name {
    const char *name;
    unsigned cats;
} cat_name;

// Names are compared in lower case without '_', '-' and spaces.
// clang-format off
static const cat_name cat_names[] = {
    {"l", HTH_CATS_L}, {"letter", HTH_CATS_L}, {"lu", 1u << HTH_CAT_LU},
    {"uppercaseletter", 1u << HTH_CAT_LU},
    {"ll", 1u << HTH_CAT_LL}, {"lowercaseletter", 1u << HTH_CAT_LL}, {"lt", 1u << HTH_CAT_LT},
    {"titlecaseletter", 1u << HTH_CAT_LT}, {"lc", HTH_CATS(HTH_CAT_LU, HTH_CAT_LT)},
    {"l&", HTH_CATS(HTH_CAT_LU, HTH_CAT_LT)}, {"lm", 1u << HTH_CAT_LM}, {"modifierletter", 1u << HTH_CAT_LM},
    {"lo", 1u << HTH_CAT_LO}, {"otherletter", 1u << HTH_CAT_LO}, {"m", HTH_CATS_M}, {"mark", HTH_CATS_M},
    {"mn", 1u << HTH_CAT_MN}, {"nonspacingmark", 1u << HTH_CAT_MN}, {"mc", 1u << HTH_CAT_MC},
    {"spacingmark", 1u << HTH_CAT_MC}, {"me", 1u << HTH_CAT_ME}, {"enclosingmark", 1u << HTH_CAT_ME},
    {"n", HTH_CATS_N}, {"number", HTH_CATS_N}, {"nd", 1u << HTH_CAT_ND}, {"decimalnumber", 1u << HTH_CAT_ND},
    {"digit", 1u << HTH_CAT_ND}, {"nl", 1u << HTH_CAT_NL}, {"letternumber", 1u << HTH_CAT_NL},
    {"no", 1u << HTH_CAT_NO}, {"othernumber", 1u << HTH_CAT_NO}, {"p", HTH_CATS_P}, {"punct", HTH_CATS_P},
    {"punctuation", HTH_CATS_P}, {"pc", 1u << HTH_CAT_PC}, {"connectorpunctuation", 1u << HTH_CAT_PC},
    {"pd", 1u << HTH_CAT_PD}, {"dashpunctuation", 1u << HTH_CAT_PD}, {"ps", 1u << HTH_CAT_PS},
    {"openpunctuation", 1u << HTH_CAT_PS}, {"pe", 1u << HTH_CAT_PE}, {"closepunctuation", 1u << HTH_CAT_PE},
    {"pi", 1u << HTH_CAT_PI}, {"initialpunctuation", 1u << HTH_CAT_PI}, {"pf", 1u << HTH_CAT_PF},
    {"finalpunctuation", 1u << HTH_CAT_PF}, {"po", 1u << HTH_CAT_PO}, {"otherpunctuation", 1u << HTH_CAT_PO},
    {"s", HTH_CATS_S}, {"symbol", HTH_CATS_S}, {"sm", 1u << HTH_CAT_SM}, {"mathsymbol", 1u << HTH_CAT_SM},
    {"sc", 1u << HTH_CAT_SC}, {"currencysymbol", 1u << HTH_CAT_SC}, {"sk", 1u << HTH_CAT_SK},
    {"modifiersymbol", 1u << HTH_CAT_SK}, {"so", 1u << HTH_CAT_SO}, {"othersymbol", 1u << HTH_CAT_SO},
    {"z", HTH_CATS_Z}, {"separator", HTH_CATS_Z}, {"zs", 1u << HTH_CAT_ZS},
    {"spaceseparator", 1u << HTH_CAT_ZS},
    {"zl", 1u << HTH_CAT_ZL}, {"zp", 1u << HTH_CAT_ZP}, {"c", HTH_CATS_C}, {"other", HTH_CATS_C},
    {"cc", 1u << HTH_CAT_CC}, {"control", 1u << HTH_CAT_CC}, {"cntrl", 1u << HTH_CAT_CC},
    {"cf", 1u << HTH_CAT_CF}, {"format", 1u << HTH_CAT_CF}, {"cn", 1u << HTH_CAT_CN},
    {"unassigned", 1u << HTH_CAT_CN}, {"co", 1u << HTH_CAT_CO}, {"privateuse", 1u << HTH_CAT_CO},
    {"cs", 1u << HTH_CAT_CS}, {"surrogate", 1u << HTH_CAT_CS},
    {"alpha", HTH_CATS_L | 1u << HTH_CAT_NL | 1u << HTH_CAT_MN | 1u << HTH_CAT_MC},
    {"alphabetic", HTH_CATS_L | 1u << HTH_CAT_NL | 1u << HTH_CAT_MN | 1u << HTH_CAT_MC},
    {"alnum", HTH_CATS_L | 1u << HTH_CAT_NL | 1u << HTH_CAT_MN | 1u << HTH_CAT_MC | 1u << HTH_CAT_ND},
    {"upper", 1u << HTH_CAT_LU}, {"lower", 1u << HTH_CAT_LL}, {"any", ~0u},
};
// clang-format on

bool hth_re_add_property(const hth_unicode *u, hth_cpset *set, const char *name, size_t n) {
    char key[32];
    size_t len = 0;
    for (size_t i = 0; i < n; i++) {
        if (name[i] == '_' || name[i] == '-' || name[i] == ' ') continue;
        if (len + 1 >= sizeof key) return false;
        key[len++] = name[i] >= 'A' && name[i] <= 'Z' ? (char)(name[i] + 32) : name[i];
    }
    key[len] = 0;
    for (size_t i = 0; i < HTH_COUNT(cat_names); i++) {
        if (strcmp(cat_names[i].name, key) != 0) continue;
        hth_cpset_add_cats(set, u, cat_names[i].cats);
        return true;
    }
    if (strcmp(key, "space") == 0 || strcmp(key, "whitespace") == 0) {
        hth_cpset_add_space(set);
        return true;
    }
    if (strcmp(key, "word") == 0) {
        hth_cpset_add_word(set, u);
        return true;
    }
    if (strcmp(key, "ascii") == 0) {
        hth_cpset_add(set, 0, 127);
        return true;
    }
    const char *script = key;
    if (strncmp(key, "script=", 7) == 0) script = key + 7;
    if (strncmp(key, "sc=", 3) == 0) script = key + 3;
    size_t n_range;
    const uint32_t *r = hth_script_ranges(script, strlen(script), &n_range);
    for (size_t i = 0; r && i < n_range; i++) hth_cpset_add(set, r[2 * i], r[2 * i + 1]);
    return r != NULL;
}

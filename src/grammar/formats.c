// The formats that are enforced, as regular expressions of the documents that define them. What they leave out of those:
// leap seconds, lower-case t and z in times, quoted local parts and address literals in e-mail addresses.
#include <assert.h>
#include <string.h>

#include "grammar/schema.h"

#define YEAR "(?:000[1-9]|00[1-9]\\d|0[1-9]\\d\\d|[1-9]\\d{3})"
#define LEAP "(?:\\d\\d(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)"
#define DATE                                                                                                          \
    "(?:" YEAR "-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\\d|30)"               \
    "|02-(?:0[1-9]|1\\d|2[0-8]))|" LEAP "-02-29)"
#define CLOCK "(?:[01]\\d|2[0-3]):[0-5]\\d"
#define TIME CLOCK ":[0-5]\\d(?:\\.\\d+)?(?:Z|[+-]" CLOCK ")"
#define HMS "(?:\\d+H(?:\\d+M(?:\\d+S)?)?|\\d+M(?:\\d+S)?|\\d+S)"
#define DURATION "P(?:\\d+W|(?:\\d+D|\\d+M(?:\\d+D)?|\\d+Y(?:\\d+M(?:\\d+D)?)?)(?:T" HMS ")?|T" HMS ")"
#define LABEL "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
#define HOST LABEL "(?:\\." LABEL ")*"
#define ATEXT "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
#define EMAIL ATEXT "(?:\\." ATEXT ")*@" HOST
#define OCTET "(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)"
#define IPV4 OCTET "(?:\\." OCTET "){3}"
#define H16 "[0-9A-Fa-f]{1,4}"
#define LS32 "(?:" H16 ":" H16 "|" IPV4 ")"
#define IPV6                                                                                                          \
    "(?:(?:" H16 ":){6}" LS32 "|::(?:" H16 ":){5}" LS32 "|(?:" H16 ")?::(?:" H16 ":){4}" LS32                      \
    "|(?:(?:" H16 ":){0,1}" H16 ")?::(?:" H16 ":){3}" LS32 "|(?:(?:" H16 ":){0,2}" H16 ")?::(?:" H16 ":){2}" LS32   \
    "|(?:(?:" H16 ":){0,3}" H16 ")?::" H16 ":" LS32 "|(?:(?:" H16 ":){0,4}" H16 ")?::" LS32                          \
    "|(?:(?:" H16 ":){0,5}" H16 ")?::" H16 "|(?:(?:" H16 ":){0,6}" H16 ")?::)"
#define PCT "%[0-9A-Fa-f]{2}"
#define PCHAR "(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|" PCT ")"
#define PCHAR_NC "(?:[A-Za-z0-9._~!$&'()*+,;=@-]|" PCT ")"
#define AUTHORITY                                                                                                     \
    "(?:(?:[A-Za-z0-9._~!$&'()*+,;=:-]|" PCT ")*@)?(?:\\[" IPV6 "\\]|(?:[A-Za-z0-9._~!$&'()*+,;=-]|" PCT ")*)(?::\\d*)?"
#define TAIL "(?:\\?(?:" PCHAR "|[/?])*)?(?:#(?:" PCHAR "|[/?])*)?"
#define PATHS "(?:/" PCHAR "*)*"
#define SCHEME "[A-Za-z][A-Za-z0-9+.-]*:"
#define ROOTED "(?://" AUTHORITY PATHS "|/(?:" PCHAR "+" PATHS ")?|)"
#define URI SCHEME "(?:" ROOTED "|" PCHAR "+" PATHS ")" TAIL
#define URI_REFERENCE "(?:(?:" SCHEME ")?" ROOTED "|" SCHEME PCHAR "+" PATHS "|" PCHAR_NC "+" PATHS ")" TAIL
#define POINTER "(?:/(?:[^~/]|~0|~1)*)*"

static const struct {
    const char *name, *pattern;
    uint32_t max; // characters; 0: any
} formats[] = {
    {"date", DATE, 0},
    {"time", TIME, 0},
    {"date-time", DATE "T" TIME, 0},
    {"duration", DURATION, 0},
    {"email", EMAIL, 0},
    {"hostname", HOST, 253},
    {"ipv4", IPV4, 0},
    {"ipv6", IPV6, 0},
    {"uuid", "[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}", 0},
    {"uri", URI, 0},
    {"uri-reference", URI_REFERENCE, 0},
    {"json-pointer", POINTER, 0},
    {"relative-json-pointer", "(?:0|[1-9]\\d*)(?:#|" POINTER ")", 0},
};

static size_t find(const char *name) {
    size_t i = 0;
    while (i < HTH_COUNT(formats) && strcmp(formats[i].name, name) != 0) i++;
    return i;
}

static_assert(HTH_COUNT(formats) == G_N_FORMATS, "formats are counted");

int g_format_index(const char *name) {
    const size_t i = find(name);
    return i < HTH_COUNT(formats) ? (int)i : -1;
}

g_rx g_format_rx(g_build *b, const char *name, g_encoding enc) {
    const size_t i = find(name);
    if (i == HTH_COUNT(formats)) return 0;
    const g_regex_params p = {.syntax = REGEX_ECMA, .enc = enc == ENC_JSON ? ENC_JSON_PLAIN : enc};
    g_rx x = g_regex_parse(b, formats[i].pattern, strlen(formats[i].pattern), &p);
    if (formats[i].max == 0) return x;
    g_rx any = g_rx_range(b, 0x21, 0x7e); // characters are bytes here
    return g_rx_and(b, x, g_rx_repeat(b, any, 1, formats[i].max));
}

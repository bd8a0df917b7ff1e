// What the files of the JSON reader share.
#ifndef HTH_FORMATS_JSON_IMPL_H
#define HTH_FORMATS_JSON_IMPL_H

#include "formats/json.h"

// hth_json_parse for text that lies `base` bytes into its file: positions count from the file's beginning.
HTH_NODISCARD hth_code hth_json_parse_at(const char *text, size_t n, uint64_t base, uint64_t max_bytes,
                                         hth_json_doc **out, hth_err *err);

typedef struct hth_json_number {
    double d;
    int64_t i; // when is_int
    bool is_int;
    size_t len; // bytes of text that the number took; 0 when there is none
} hth_json_number;

// Reads the number of RFC 8259 that begins at text, correctly rounded, independent of the locale.
hth_json_number hth_json_read_number(const uint8_t *text, size_t n);

#endif

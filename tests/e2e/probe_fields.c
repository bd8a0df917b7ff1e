// Prints what the server understands as JSON: its routes, and the fields of every endpoint.
#include <stdio.h>

#include "base/json_out.h"
#include "server/field_sets.h"
#include "server/route.h"

static const char *const kinds[] = {"boolean", "integer", "number", "string", "word", "custom", "ignored", "refused"};

static void write_field(hth_json_out *j, const hth_field *f) {
    hth_json_out_begin(j, NULL, '{');
    hth_json_out_text(j, "name", f->name);
    hth_json_out_text(j, "kind", kinds[f->kind]);
    if (f->lo != f->hi) {
        hth_json_out_num(j, "lo", f->lo);
        hth_json_out_num(j, "hi", f->hi);
    }
    hth_json_out_text(j, "words", f->words);
    hth_json_out_text(j, "help", f->help);
    hth_json_out_bool(j, "required", f->required);
    hth_json_out_end(j, '}');
}

static void write_route(hth_json_out *j, const hth_route *r) {
    static const char *const methods[] = {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"};
    hth_json_out_begin(j, NULL, '{');
    hth_json_out_begin(j, "methods", '[');
    for (size_t i = 0; i < 6; i++) {
        if (r->methods >> i & 1) hth_json_out_text(j, NULL, methods[i]);
    }
    hth_json_out_end(j, ']');
    hth_json_out_text(j, "pattern", r->pattern);
    hth_json_out_text(j, "dialect", r->dialect ? r->dialect->name : NULL);
    hth_json_out_bool(j, "public", r->flags & HTH_ROUTE_PUBLIC);
    hth_json_out_bool(j, "admin", r->flags & HTH_ROUTE_ADMIN);
    hth_json_out_bool(j, "conditional", r->when != NULL);
    hth_json_out_end(j, '}');
}

int main(void) {
    hth_str text;
    hth_str_init(&text, HTH_MEM_MISC, (size_t)1 << 24);
    hth_json_out j = hth_json_out_make(&text, false);
    hth_json_out_begin(&j, NULL, '{');
    hth_json_out_begin(&j, "routes", '[');
    for (const hth_route *const *t = hth_route_tables; *t; t++) {
        for (const hth_route *r = *t; r->pattern; r++) write_route(&j, r);
    }
    hth_json_out_end(&j, ']');
    hth_json_out_begin(&j, "endpoints", '[');
    for (const hth_endpoint *e = hth_endpoints; e->name; e++) {
        hth_json_out_begin(&j, NULL, '{');
        hth_json_out_text(&j, "dialect", e->dialect);
        hth_json_out_text(&j, "name", e->name);
        hth_json_out_begin(&j, "fields", '[');
        for (size_t i = 0; i < e->set->n; i++) write_field(&j, &e->set->fields[i]);
        hth_json_out_end(&j, ']');
        hth_json_out_end(&j, '}');
    }
    hth_json_out_end(&j, ']');
    hth_json_out_end(&j, '}');
    fwrite(hth_str_text(&text), 1, text.len, stdout);
    hth_str_free(&text);
    return 0;
}

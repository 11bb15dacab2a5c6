/*
 * Routers side by side, as `adamoe routers` writes them: a table for each file, and the rows that cross between nodes.
 */
#include "report/html.h"
#include "report/parts.h"
#include "report/sections.h"
#include "report/values.h"

#include <math.h>

static void write_numbers(FILE *out, const json_t *r)
{
    const double routing = adamoe_number_in(r, "routing_seconds"),
                 layer = adamoe_number_in(r, "layer_seconds");
    (void)fprintf(out, "<td class=\"n\">%s \xc2\xb1 %s</td>", adamoe_number(adamoe_number_in(r, "load")).text,
                  adamoe_number(adamoe_number_in(r, "load_deviation")).text);
    adamoe_html_number_cell(out, adamoe_number(adamoe_number_in(r, "expert_flops_per_token") * 1e-3));
    adamoe_html_number_cell(out, adamoe_number(adamoe_number_in(r, "router_flops_per_token") * 1e-3));
    adamoe_html_number_cell(out, adamoe_number(adamoe_number_in(r, "dropped")));
    adamoe_html_number_cell(out, adamoe_number(adamoe_number_in(r, "rejected")));
    adamoe_html_number_cell(out, adamoe_number(adamoe_number_in(r, "largest_over_mean")));
    adamoe_html_number_cell(out, adamoe_number(adamoe_number_in(r, "idle_experts")));
    adamoe_html_number_cell(out, adamoe_duration(routing));
    adamoe_html_number_cell(out, adamoe_duration(layer));
    adamoe_html_number_cell(out, adamoe_number(adamoe_number_in(r, "dense_mixture_error")));
}

static void write_row(FILE *out, const json_t *r)
{
    const char *refused = adamoe_text_in(r, "refused", "");
    (void)fputs("<tr><th scope=\"row\">", out);
    adamoe_html_text(out, adamoe_text_in(r, "router", "?"));
    (void)fputs("</th>", out);
    if (refused[0] != '\0') {
        (void)fputs("<td class=\"wrap\" colspan=\"10\">cannot: ", out);
        adamoe_html_text(out, refused);
        (void)fputs("</td>", out);
    } else {
        write_numbers(out, r);
    }
    (void)fputs("</tr>\n", out);
}

static void write_table(FILE *out, const json_t *routers)
{
    static const char *const titles[] = {
        "router",         "experts of a token", "kFLOP of experts", "of the router", "dropped", "refused",
        "largest / mean", "idle experts",       "routing",          "layer",         "error"};
    size_t i;
    const json_t *router;
    adamoe_html_table_begin(out, "Routers on the same tokens");
    adamoe_html_head_row(out, titles, sizeof titles / sizeof *titles, 10);
    (void)fputs("<tbody>\n", out);
    json_array_foreach(routers, i, router)
    {
        write_row(out, router);
    }
    (void)fputs("</tbody>\n", out);
    adamoe_html_table_end(out);
}

/* Number of nodes in the first router that has any; 0 where none has. */
static const json_t *first_nodes(const json_t *routers)
{
    size_t i;
    const json_t *router;
    json_array_foreach(routers, i, router)
    {
        const json_t *nodes = json_object_get(router, "nodes");
        if (json_array_size(nodes) > 0) {
            return nodes;
        }
    }
    return NULL;
}

static void write_crossings(FILE *out, const json_t *routers)
{
    const json_t *counts = first_nodes(routers), *router;
    size_t i;
    if (counts == NULL) {
        return;
    }
    adamoe_html_table_begin(out, "Rows that cross between nodes");
    (void)fputs("<thead><tr><th scope=\"col\">rows that cross between</th>", out);
    for (size_t node = 0; node < json_array_size(counts); ++node) {
        (void)fprintf(out, "<th scope=\"col\" class=\"n\">%.0f nodes</th>",
                      adamoe_number_in(json_array_get(counts, node), "nodes"));
    }
    (void)fputs("</tr></thead>\n<tbody>\n", out);
    json_array_foreach(routers, i, router)
    {
        const json_t *nodes = json_object_get(router, "nodes");
        if (json_array_size(nodes) != json_array_size(counts)) {
            continue;
        }
        (void)fputs("<tr><th scope=\"row\">", out);
        adamoe_html_text(out, adamoe_text_in(router, "router", "?"));
        (void)fputs("</th>", out);
        for (size_t node = 0; node < json_array_size(nodes); ++node) {
            const double rows = adamoe_number_in(json_array_get(nodes, node), "crossing_rows");
            adamoe_html_number_cell(out, adamoe_percent(rows / adamoe_number_in(router, "rows"), 0));
        }
        (void)fputs("</tr>\n", out);
    }
    (void)fputs("</tbody>\n", out);
    adamoe_html_table_end(out);
}

static void write_file(const adamoe_source *source, FILE *out)
{
    const json_t *document = source->document, *routers = json_object_get(document, "routers");
    (void)fputs("<h3>", out);
    adamoe_html_text(out, adamoe_text_in(document, "subject", "?"));
    (void)fprintf(
        out,
        "</h3>\n<p>%.0f tokens, %.0f experts, about %.0f for a token; hidden size %.0f, intermediate "
        "size %.0f; kernel ",
        adamoe_number_in(document, "tokens"), adamoe_number_in(document, "experts"),
        adamoe_number_in(document, "top_k"), adamoe_number_in(document, "hidden_size"),
        adamoe_number_in(document, "intermediate_size"));
    adamoe_html_text(out, adamoe_text_in(document, "kernel", "?"));
    (void)fputs(".</p>\n", out);
    write_table(out, routers);
    write_crossings(out, routers);
}

void adamoe_report_routers(const adamoe_report *report, FILE *out)
{
    bool any = false;
    for (size_t i = 0; i < report->sources; ++i) {
        if (report->source[i].kind != ADAMOE_RESULT_ROUTERS) {
            continue;
        }
        if (!any) {
            adamoe_report_section_begin(out, "routers", "Routers");
            (void)fputs(
                "<p>FLOPs are those of a token, as executed. <em>Routing</em> is the product of the gate, by "
                "the kernel where it has one in float32, and the definition's rule on one thread; <em>layer</em> is "
                "the kernel's experts, with the frozen base of memoe. <em>Error</em> is the distance "
                "from the mixture of all experts, root mean square, relative. Routers are not trained: their "
                "own rows and biases are drawn.</p>\n",
                out);
        }
        any = true;
        write_file(&report->source[i], out);
    }
    if (any) {
        adamoe_report_section_end(out);
    }
}

/*
 * Where and how the results came to be: what each file says about its machine, versions and options, and the
 * kernels that `adamoe info` lists.
 */
#include "report/html.h"
#include "report/parts.h"
#include "report/sections.h"
#include "report/values.h"

#include <string.h>

static void write_scalar(FILE *out, const json_t *value)
{
    if (json_is_string(value)) {
        adamoe_html_text(out, json_string_value(value));
    } else if (json_is_integer(value)) {
        (void)fprintf(out, "%lld", (long long)json_integer_value(value));
    } else if (json_is_real(value)) {
        (void)fprintf(out, "%.10g", json_real_value(value));
    } else {
        (void)fputs(json_is_true(value) ? "yes" : json_is_false(value) ? "no" : "none", out);
    }
}

static bool is_plain(const json_t *value)
{
    return !json_is_object(value) && !json_is_array(value);
}

/* Lists of plain values as one text; lists of anything else are not for this table. */
static bool is_plain_list(const json_t *value)
{
    return json_is_array(value) && json_array_size(value) > 0 && is_plain(json_array_get(value, 0));
}

static void write_value(FILE *out, const char *key, const json_t *value)
{
    size_t i;
    const json_t *entry;
    (void)fputs("<tr><th scope=\"row\">", out);
    adamoe_html_text(out, key);
    (void)fputs("</th><td>", out);
    if (is_plain(value)) {
        write_scalar(out, value);
    }
    json_array_foreach(value, i, entry)
    {
        (void)fputs(i == 0 ? "" : " ", out);
        if (is_plain(entry)) {
            write_scalar(out, entry);
        }
    }
    (void)fputs("</td></tr>\n", out);
}

/* Objects within objects that a table can still name. */
#define MOST_DEPTH 4

/* Values, and those of objects in it, named by the keys that lead to them. */
static void write_object(FILE *out, json_t *object, const char *outer, size_t depth)
{
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        char name[160];
        (void)snprintf(name, sizeof name, "%s%s%s", outer, outer[0] == '\0' ? "" : " ", key);
        if (is_plain(value) || is_plain_list(value)) {
            write_value(out, name, value);
        } else if (json_is_object(value) && depth < MOST_DEPTH) {
            write_object(out, value, name, depth + 1);
        }
    }
}

/* The part of a file that describes how it came to be. */
static json_t *description_of(const adamoe_source *source)
{
    switch (source->kind) {
    case ADAMOE_RESULT_BENCH:
        return json_object_get(source->document, "context");
    case ADAMOE_RESULT_EVAL:
        return json_object_get(source->document, "config");
    case ADAMOE_RESULT_REPRODUCE:
        return json_object_get(json_object_get(json_object_get(source->document, "evaluation"), "adamoe"),
                               "config");
    default:
        return NULL;
    }
}

/* What stands at the top of a file, without its results. */
static void write_top(FILE *out, const adamoe_source *source)
{
    const char *key;
    json_t *value;
    const bool all = source->kind == ADAMOE_RESULT_INFO;
    json_object_foreach(source->document, key, value)
    {
        if (is_plain(value) || (is_plain_list(value) && all)) {
            write_value(out, key, value);
        } else if (json_is_object(value) && (all || strcmp(key, "environment") == 0)) {
            write_object(out, value, all ? key : "", 0);
        }
    }
    write_object(out, description_of(source), "", 0);
}

static void write_kernel(FILE *out, const json_t *kernel)
{
    static const char *const operands[] = {"x", "h", "weight", "accumulate", "up", "down", "y"};
    const json_t *arithmetic = json_object_get(kernel, "arithmetic");
    const bool runs = json_is_true(json_object_get(kernel, "supported"));
    size_t i;
    const json_t *promise;
    (void)fputs("<tr><th scope=\"row\">", out);
    adamoe_html_text(out, adamoe_text_in(kernel, "name", "?"));
    (void)fputs("</th>", out);
    for (i = 0; i < sizeof operands / sizeof *operands; ++i) {
        adamoe_html_text_cell(out, adamoe_text_in(arithmetic, operands[i], ""));
    }
    (void)fputs("<td>", out);
    json_array_foreach(json_object_get(kernel, "same_bits"), i, promise)
    {
        (void)fputs(i == 0 ? "" : " ", out);
        write_scalar(out, promise);
    }
    (void)fputs("</td><td>", out);
    (void)fputs(runs ? "yes " : "no: ", out);
    adamoe_html_text(out, adamoe_text_in(kernel, runs ? "implementation" : "why_not", ""));
    (void)fputs("</td></tr>\n", out);
}

static void write_kernels(FILE *out, const json_t *kernels)
{
    static const char *const titles[] = {"kernel",     "x",    "h", "weights",           "sums",
                                         "w1 x, w3 x", "w2 h", "y", "same bits for any", "runs there"};
    size_t i;
    const json_t *kernel;
    (void)fputs("<h4>Kernels</h4>\n", out);
    adamoe_html_table_begin(out, "Kernels");
    adamoe_html_head_row(out, titles, sizeof titles / sizeof *titles, 0);
    (void)fputs("<tbody>\n", out);
    json_array_foreach(kernels, i, kernel)
    {
        write_kernel(out, kernel);
    }
    (void)fputs("</tbody>\n", out);
    adamoe_html_table_end(out);
}

void adamoe_report_environment(const adamoe_report *report, FILE *out)
{
    adamoe_report_section_begin(out, "environment", "Environment");
    for (size_t i = 0; i < report->sources; ++i) {
        const adamoe_source *source = &report->source[i];
        (void)fputs("<details open><summary>", out);
        adamoe_html_text(out, source->path);
        (void)fprintf(out, " <span class=\"quiet\">%s</span></summary>\n",
                      adamoe_result_kind_names[source->kind]);
        adamoe_html_table_begin(out, "How this result came to be");
        (void)fputs("<tbody>\n", out);
        write_top(out, source);
        (void)fputs("</tbody>\n", out);
        adamoe_html_table_end(out);
        if (source->kind == ADAMOE_RESULT_INFO) {
            write_kernels(out, json_object_get(source->document, "kernels"));
        }
        (void)fputs("</details>\n", out);
    }
    adamoe_report_section_end(out);
}

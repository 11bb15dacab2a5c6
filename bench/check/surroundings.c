/*
 * The elements around the worst one: see surroundings.h.
 */
#include "check/surroundings.h"
#include "program/json_output.h"

#include <stdlib.h>
#include <string.h>

/* The first of the rows that is of the same tensor: of a gradient, rows count from the first of an expert. */
static size_t first_row(const adamoe_check_result *result)
{
    const size_t above = result->around.above;
    return above > result->row ? above - result->row : 0;
}

/* ------------------------------------------------------------------------------------------ for a person */

static void print_line(const char *name, const adamoe_surroundings *around, const double *value)
{
    printf("    %-10s", name);
    for (size_t j = 0; j < around->columns; ++j) {
        printf(" %14.7g", value[j]);
    }
    printf("\n");
}

void adamoe_print_surroundings(const adamoe_check_result *result)
{
    const adamoe_surroundings *around = &result->around;
    if (around->rows == 0 || around->rows * around->columns < 2) {
        return;
    }
    printf("  around it, columns %zu to %zu:\n", result->column - around->left,
           result->column - around->left + around->columns - 1);
    for (size_t r = first_row(result); r < around->rows; ++r) {
        printf("   row %zu\n", result->row + r - around->above);
        print_line("expected", around, around->expected[r]);
        print_line("got", around, around->got[r]);
        print_line("err/bound", around, around->share[r]);
    }
}

/* -------------------------------------------------------------------------------------------- for programs */

typedef const double block[ADAMOE_AROUND_COLUMNS];

static json_t *block_json(const adamoe_check_result *result, block *value)
{
    json_t *rows = json_array();
    for (size_t r = first_row(result); r < result->around.rows; ++r) {
        json_t *row = json_array();
        for (size_t j = 0; j < result->around.columns; ++j) {
            json_array_append_new(row, adamoe_json_number(value[r][j]));
        }
        json_array_append_new(rows, row);
    }
    return rows;
}

json_t *adamoe_surroundings_json(const adamoe_check_result *result)
{
    const adamoe_surroundings *around = &result->around;
    return json_pack(
        "{s:[I,I],s:o,s:o,s:o}", "index", (json_int_t)(result->row + first_row(result) - around->above),
        (json_int_t)(result->column - around->left), "expected", block_json(result, around->expected), "got",
        block_json(result, around->got), "share", block_json(result, around->share));
}

/* ----------------------------------------------------------------------------------------- for the parent */

/* Hexadecimal numbers, separated by blanks: exact, and NaN and infinity too. */
static json_t *exact_text(const adamoe_surroundings *around, block *value)
{
    char text[ADAMOE_AROUND_ROWS * ADAMOE_AROUND_COLUMNS * 32] = "";
    size_t used = 0;
    for (size_t i = 0; i < around->rows * around->columns; ++i) {
        used += (size_t)snprintf(text + used, sizeof text - used, "%a ",
                                 value[i / around->columns][i % around->columns]);
    }
    return json_string(text);
}

static bool read_exact(const json_t *line, const char *key, const adamoe_surroundings *around,
                       double value[][ADAMOE_AROUND_COLUMNS])
{
    const char *text = json_string_value(json_object_get(line, key));
    for (size_t i = 0; i < around->rows * around->columns && text != NULL; ++i) {
        char *end = NULL;
        value[i / around->columns][i % around->columns] = strtod(text, &end);
        text = end == text ? NULL : end;
    }
    return text != NULL;
}

json_t *adamoe_surroundings_line(const adamoe_surroundings *around)
{
    return json_pack("{s:I,s:I,s:I,s:I,s:o,s:o,s:o}", "above", (json_int_t)around->above, "left",
                     (json_int_t)around->left, "rows", (json_int_t)around->rows, "columns",
                     (json_int_t)around->columns, "expected", exact_text(around, around->expected), "got",
                     exact_text(around, around->got), "share", exact_text(around, around->share));
}

bool adamoe_surroundings_read(const json_t *line, adamoe_surroundings *out)
{
    *out = (adamoe_surroundings){.above = (size_t)json_integer_value(json_object_get(line, "above")),
                                 .left = (size_t)json_integer_value(json_object_get(line, "left")),
                                 .rows = (size_t)json_integer_value(json_object_get(line, "rows")),
                                 .columns = (size_t)json_integer_value(json_object_get(line, "columns"))};
    return out->rows <= ADAMOE_AROUND_ROWS && out->columns <= ADAMOE_AROUND_COLUMNS &&
           out->above < ADAMOE_AROUND_ROWS && out->left < ADAMOE_AROUND_COLUMNS &&
           read_exact(line, "expected", out, out->expected) && read_exact(line, "got", out, out->got) &&
           read_exact(line, "share", out, out->share);
}

/*
 * Writing HTML: text that cannot become markup, and numbers as people read them.
 */
#include "report/html.h"
#include "files/utf8.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

/* --------------------------------------------------------------------------------------------------- text */

static const char *entity(uint32_t character)
{
    switch (character) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        return NULL;
    }
}

static bool is_forbidden(uint32_t character)
{
    const bool control = character < 0x20 && character != '\t' && character != '\n';
    return control || (character >= 0x7f && character < 0xa0) || character == ADAMOE_ILL_FORMED;
}

void adamoe_html_text(FILE *out, const char *text)
{
    const size_t length = strlen(text);
    for (size_t at = 0; at < length;) {
        uint32_t character;
        const size_t size = adamoe_utf8_next(text + at, length - at, &character);
        if (is_forbidden(character)) {
            (void)fputs("\xef\xbf\xbd", out);
        } else if (entity(character) != NULL) {
            (void)fputs(entity(character), out);
        } else {
            (void)fwrite(text + at, 1, size, out);
        }
        at += size;
    }
}

/* ------------------------------------------------------------------------------------------------ numbers */

#define DASH "\xe2\x80\x93"

adamoe_number_text adamoe_number(double value)
{
    adamoe_number_text out = {DASH};
    const double size = fabs(value);
    if (isnan(value)) {
        return out;
    }
    if (size != 0.0 && (size < 1e-3 || size >= 1e6)) {
        (void)snprintf(out.text, sizeof out.text, "%.2e", value);
        return out;
    }
    const int decimals = size >= 99.95 || size == 0.0 ? 0 : size >= 9.995 ? 1 : size >= 0.9995 ? 2 : 3;
    (void)snprintf(out.text, sizeof out.text, "%.*f", decimals, value);
    return out;
}

adamoe_number_text adamoe_tick_number(double value)
{
    adamoe_number_text out;
    (void)snprintf(out.text, sizeof out.text, "%.4g", value == 0.0 ? 0.0 : value); /* no -0 */
    return out;
}

adamoe_number_text adamoe_percent(double fraction, int decimals)
{
    adamoe_number_text out = {DASH};
    if (!isnan(fraction)) {
        (void)snprintf(out.text, sizeof out.text, "%.*f %%", decimals, 100.0 * fraction);
    }
    return out;
}

adamoe_number_text adamoe_duration(double seconds)
{
    static const struct {
        double seconds;
        const char *name;
    } units[] = {{1.0, "s"}, {1e-3, "ms"}, {1e-6, "\xc2\xb5s"}, {1e-9, "ns"}};
    adamoe_number_text out = {DASH};
    size_t unit = 0;
    while (unit < 3 && seconds < units[unit].seconds) {
        ++unit;
    }
    if (!isnan(seconds)) {
        (void)snprintf(out.text, sizeof out.text, "%.20s %s",
                       adamoe_number(seconds / units[unit].seconds).text, units[unit].name);
    }
    return out;
}

/* ------------------------------------------------------------------------------------------------- tables */

void adamoe_html_head_row(FILE *out, const char *const *titles, size_t count, size_t numbers)
{
    (void)fputs("<thead><tr>", out);
    for (size_t i = 0; i < count; ++i) {
        (void)fprintf(out, "<th scope=\"col\"%s>", i + numbers >= count ? " class=\"n\"" : "");
        adamoe_html_text(out, titles[i]);
        (void)fputs("</th>", out);
    }
    (void)fputs("</tr></thead>\n", out);
}

void adamoe_html_number_cell(FILE *out, adamoe_number_text number)
{
    (void)fprintf(out, "<td class=\"n\">%s</td>", number.text);
}

void adamoe_html_text_cell(FILE *out, const char *text)
{
    (void)fputs("<td>", out);
    adamoe_html_text(out, text);
    (void)fputs("</td>", out);
}

void adamoe_html_table_begin(FILE *out, const char *name)
{
    (void)fputs("<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"", out);
    adamoe_html_text(out, name);
    (void)fputs("\"><table>\n", out);
}

void adamoe_html_table_end(FILE *out)
{
    (void)fputs("</table></div>\n", out);
}

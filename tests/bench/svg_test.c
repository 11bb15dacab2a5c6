/*
 * Plots: where marks and ticks stand, labels that do not meet, text that cannot become markup.
 */
#include "test.h"

#include "report/html.h"
#include "report/svg.h"

/* What a function that writes to a stream wrote, until the next one is called. */
static const char *written(void (*write)(FILE *))
{
    static char text[65536];
    memset(text, 0, sizeof text);
    FILE *stream = fmemopen(text, sizeof text - 1, "w");
    assert_non_null(stream);
    write(stream);
    assert_int_equal(fclose(stream), 0);
    return text;
}

static void write_hostile(FILE *out)
{
    adamoe_html_text(out, "a<b>&\"'\x01\xff\xc3\xa9");
}

static void text_cannot_become_markup(void **state)
{
    (void)state;
    const char *text = written(write_hostile);
    assert_string_equal(text, "a&lt;b&gt;&amp;&quot;&#39;\xef\xbf\xbd\xef\xbf\xbd\xc3\xa9");
}

static void numbers_as_people_read_them(void **state)
{
    (void)state;
    static const struct {
        double value;
        const char *text;
    } numbers[] = {{0.0, "0"},       {0.0123, "0.012"}, {1.5, "1.50"},          {26.66, "26.7"},
                   {1339.6, "1340"}, {-2.0, "-2.00"},   {12345678, "1.23e+07"}, {1e-5, "1.00e-05"},
                   {99.97, "100"},   {9.996, "10.0"},   {NAN, "\xe2\x80\x93"}};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; ++i) {
        assert_string_equal(adamoe_number(numbers[i].value).text, numbers[i].text);
    }
    assert_string_equal(adamoe_percent(0.1455, 2).text, "14.55 %");
    assert_string_equal(adamoe_percent(NAN, 2).text, "\xe2\x80\x93");
    assert_string_equal(adamoe_tick_number(-0.0).text, "0");
    assert_string_equal(adamoe_duration(0.00768).text, "7.68 ms");
    assert_string_equal(adamoe_duration(2.5e-7).text, "250 ns");
    assert_string_equal(adamoe_duration(90.0).text, "90.0 s");
}

static adamoe_plot plot;

/* A logarithmic axis from 1 to 100 and a linear one from 0 to 10, so that places are easily told. */
static void begin(FILE *out)
{
    const adamoe_axis x = {"x <1>", 1.0, 100.0, true, NULL, 0}, y = {"y", 0.0, 10.0, false, NULL, 0};
    adamoe_plot_begin(&plot, out, x, y, "a \"title\"", "what it shows");
}

static void write_plot(FILE *out)
{
    begin(out);
    adamoe_plot_mark(&plot, (adamoe_point){10.0, 5.0}, 9, "ten & five");
    adamoe_plot_mark(&plot, (adamoe_point){NAN, 5.0}, 0, "nowhere");
    adamoe_plot_mark(&plot, (adamoe_point){0.0, 5.0}, 0, "nowhere");
    const adamoe_point line[] = {{1.0, 0.0}, {10.0, 5.0}, {NAN, 1.0}, {100.0, 10.0}};
    adamoe_plot_line(&plot, line, 4, 2, "");
    adamoe_plot_end(&plot);
}

static size_t count_of(const char *text, const char *part)
{
    size_t count = 0;
    for (const char *at = strstr(text, part); at != NULL; at = strstr(at + 1, part)) {
        ++count;
    }
    return count;
}

static void marks_stand_where_their_values_are(void **state)
{
    (void)state;
    const char *text = written(write_plot);
    /* the frame is 54 .. 426 by 12 .. 252: the middle of both axes */
    assert_non_null(strstr(text, "<path class=\"mark s1\" d=\"M240.00 132.00"));
    assert_non_null(strstr(text, "<title>ten &amp; five</title>"));
    assert_null(strstr(text, "nowhere"));
    assert_non_null(strstr(text, "d=\"M54.00 252.00L240.00 132.00M426.00 12.00\""));
    assert_non_null(strstr(text, "<title>a &quot;title&quot;</title><desc>what it shows</desc>"));
    assert_non_null(strstr(text, "x &lt;1&gt;"));
    static const char *const ticks[] = {">1<", ">2<", ">5<", ">10<", ">20<", ">50<", ">100<", ">0<", ">4<"};
    for (size_t i = 0; i < sizeof ticks / sizeof *ticks; ++i) {
        if (strstr(text, ticks[i]) == NULL) {
            fail_msg("no tick %s in %s", ticks[i], text);
        }
    }
    assert_int_equal(count_of(text, "<svg"), count_of(text, "</svg>"));
}

static bool meet(adamoe_box a, adamoe_box b)
{
    return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
}

#define MARKS 60

static size_t labels;

static void write_crowd(FILE *out)
{
    uint32_t random = 1;
    adamoe_point point[MARKS];
    begin(out);
    for (size_t i = 0; i < MARKS; ++i) {
        random = random * 1664525u + 1013904223u;
        point[i] =
            (adamoe_point){1.0 + (double)(random >> 8 & 0xff) / 4.0, (double)(random >> 16 & 0xff) / 25.6};
        adamoe_plot_reserve(&plot, point[i]);
    }
    labels = 0;
    for (size_t i = 0; i < MARKS; ++i) {
        labels += adamoe_plot_label(&plot, point[i], "label 12", "");
    }
    adamoe_plot_end(&plot);
}

static void labels_meet_nothing(void **state)
{
    (void)state;
    const char *text = written(write_crowd);
    assert_int_equal(plot.boxes, MARKS + labels);
    assert_int_equal(count_of(text, "label 12"), labels);
    assert_in_range(labels, 10, MARKS - 1); /* there is room for some of them, not for all */
    for (size_t i = MARKS; i < plot.boxes; ++i) {
        assert_true(plot.taken[i].left >= 54.0 && plot.taken[i].right <= 426.0);
        assert_true(plot.taken[i].top >= 12.0 && plot.taken[i].bottom <= 252.0);
        for (size_t j = 0; j < i; ++j) {
            assert_false(meet(plot.taken[i], plot.taken[j]));
        }
    }
}

static void write_lined(FILE *out)
{
    begin(out);
    adamoe_plot_reserve_line(&plot, (adamoe_point){1.0, 5.0}, (adamoe_point){100.0, 5.0});
    labels = adamoe_plot_label(&plot, (adamoe_point){10.0, 5.0}, "on the line", "");
    adamoe_plot_end(&plot);
}

static void labels_stand_clear_of_lines(void **state)
{
    (void)state;
    (void)written(write_lined);
    assert_int_equal(labels, 1);
    assert_true(plot.taken[plot.boxes - 1].bottom <= 131.0); /* above it: the line is at 132 */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_cannot_become_markup),          cmocka_unit_test(numbers_as_people_read_them),
        cmocka_unit_test(marks_stand_where_their_values_are), cmocka_unit_test(labels_meet_nothing),
        cmocka_unit_test(labels_stand_clear_of_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

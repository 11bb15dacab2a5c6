/*
 * adamoe report: every kind of result becomes what it should on the page, the page is well formed whatever
 * names are in the results, and what is no result is refused with its name.
 */
#include "program.h"

#include <jansson.h>

/* One benchmark as Google Benchmark writes it; numbers that are the same for all are left to the format. */
#define BENCHMARK(name, time, gflops)                                                                        \
    "{\"name\":\"" name "\",\"run_name\":\"" name "\",\"run_type\":\"iteration\",\"real_time\":" #time       \
    ",\"time_unit\":\"us\",\"gflops\":" #gflops ",\"gbytes_per_second\":2.5,\"executed_flops\":8e6,"         \
    "\"touched_bytes\":1e6,\"load\":1.67,\"roofline_share\":0.5,\"peak_gflops\":200,"                        \
    "\"peak_gbytes_per_second\":20}"
#define BENCH(benchmarks) "{\"context\":{\"num_cpus\":2},\"benchmarks\":[" benchmarks "]}"

static char *page_of(void **state)
{
    size_t size;
    return read_bytes(in_folder(state, "page.html").text, &size);
}

static void report(void **state, const char *files)
{
    const char *folder = *state;
    const outcome *got = run("cd '%s' && " ADAMOE " report %s -o page.html", folder, files);
    expect(got, 0, "");
    assert_string_equal(got->text, "");
}

static void expect_part(const char *page, const char *part)
{
    if (strstr(page, part) == NULL) {
        fail_msg("the page has no `%s': %.60000s", part, page);
    }
}

/* -------------------------------------------------------------------------------------------- well-formed */

static bool is_void(const char *name)
{
    return strcmp(name, "meta") == 0 || strcmp(name, "br") == 0;
}

/* Every element is closed, in the order in which they were opened; attributes are in double quotes. */
static void expect_well_formed(const char *page)
{
    char open[64][16];
    size_t depth = 0;
    const char *at = strchr(page, '<');
    for (; at != NULL; at = strchr(at + 1, '<')) {
        char name[16];
        const bool closes = at[1] == '/';
        size_t length = strspn(at + 1 + closes, "abcdefghijklmnopqrstuvwxyz0123456789");
        if (at[1] == '!') {
            continue;
        }
        assert_in_range(length, 1, sizeof name - 1);
        (void)snprintf(name, sizeof name, "%.*s", (int)length, at + 1 + closes);
        const char *end = at;
        for (bool quoted = false; quoted || *end != '>'; ++end) {
            assert_true(*end != '\0');
            quoted = quoted != (*end == '"');
        }
        if (closes) {
            assert_true(depth > 0);
            assert_string_equal(open[--depth], name);
        } else if (end[-1] != '/' && !is_void(name)) {
            assert_true(depth < 64);
            (void)snprintf(open[depth++], sizeof *open, "%s", name);
        }
        at = end;
    }
    assert_int_equal(depth, 0);
}

static void names_cannot_become_markup(void **state)
{
    write_text(in_folder(state, "b.json").text,
               BENCH(BENCHMARK("layer/<script>alert(1)</b>/k\\\"<i>&/tokens:4/<u>/threads:2", 1000, 8)));
    write_text(
        in_folder(state, "<c>.json").text,
        "{\"seed\":1,\"</section>\":\"<b>\",\"kernels\":[{\"kernel\":\"<k>\",\"results\":[{\"case\":\"<c>\","
        "\"status\":\"failed\",\"tier\":\"<t>\",\"detail\":\"<d>\",\"repeat\":\"<r>\"}]},"
        "{\"kernel\":\"'\",\"why_not\":\"<w>\"}]}");
    report(state, "b.json '<c>.json'");
    char *page = page_of(state);
    expect_well_formed(page);
    static const char *const never[] = {"<script", "<i>", "<u>", "<b>", "<k>",
                                        "<c>",     "<t>", "<d>", "<r>", "<w>"};
    for (size_t i = 0; i < sizeof never / sizeof *never; ++i) {
        assert_null(strstr(page, never[i]));
    }
    expect_part(page, "&lt;script&gt;alert(1)&lt;");
    expect_part(page, "k&quot;&lt;i&gt;&amp;");
    expect_part(page, "<pre><code>&lt;r&gt;</code></pre>");
    expect_part(page, "1 failed</dd>");
    free(page);
}

/* -------------------------------------------------------------------------------------------------- speed */

static void repetitions_become_medians(void **state)
{
    write_text(in_folder(state, "b.json").text,
               BENCH(BENCHMARK("layer/p/k/tokens:4/routing:balanced/threads:2", 3000, 30) "," BENCHMARK(
                   "layer/p/k/tokens:4/routing:balanced/threads:2", 1000,
                   10) "," BENCHMARK("layer/p/k/tokens:4/routing:balanced/threads:2", 2000,
                                     20) ","
                                         "{\"name\":\"layer/p/k/tokens:4/routing:balanced/"
                                         "threads:2_mean\",\"run_name\":"
                                         "\"layer/p/k/tokens:4/routing:balanced/"
                                         "threads:2\",\"run_type\":\"aggregate\","
                                         "\"aggregate_name\":\"mean\",\"real_time\":77,\"time_unit\":\"us\"},"
                                         "{\"name\":\"layer/p/other/tokens:4/routing:balanced/"
                                         "threads:2\",\"error_occurred\":true,"
                                         "\"error_message\":\"cannot run here\"}"));
    report(state, "b.json");
    char *page = page_of(state);
    expect_well_formed(page);
    expect_part(page, "<td class=\"n\">2.00 ms</td><td class=\"n quiet\">1.00 ms to 3.00 ms</td>"
                      "<td class=\"n\">20.0</td><td class=\"n\">2.50</td><td class=\"n\">8.00</td>"
                      "<td class=\"n\">50.0 %</td>");
    expect_part(page, ">cannot run here</td>");
    expect_part(page, "routing:balanced, threads:2</span>");
    expect_part(page, ">200 GFLOP/s</text>"); /* the limits of the roofline, labelled */
    expect_part(page, ">20.0 GB/s</text>");
    expect_part(page,
                "k, 4 tokens: 20.0 GFLOP/s at 8.00 FLOPs per byte, 50.0 % of the roofline; the limit of its "
                "arithmetic is 200 GFLOP/s</title>");
    assert_null(strstr(page, "77"));
    free(page);
}

/* Three presets, two settings of one: four panels in each of the three pictures. */
static void a_panel_for_each_preset_and_setting(void **state)
{
    write_text(
        in_folder(state, "b.json").text,
        BENCH(BENCHMARK("layer/one/k/tokens:4/threads:2", 1, 10) "," BENCHMARK(
            "layer/one/k/tokens:16/threads:2", 1,
            10) "," BENCHMARK("layer/one/j/tokens:4/threads:2", 1,
                              10) "," BENCHMARK("layer/one/k/tokens:4/threads:1", 1,
                                                10) "," BENCHMARK("layer/two/k/tokens:4/threads:2", 1,
                                                                  10) "," BENCHMARK("layer/three/k/tokens:4/"
                                                                                    "threads:2",
                                                                                    1, 10)));
    report(state, "b.json");
    char *page = page_of(state);
    size_t figures = 0;
    for (const char *at = strstr(page, "<figure>"); at != NULL; at = strstr(at + 1, "<figure>")) {
        ++figures;
    }
    assert_int_equal(figures, 12);
    expect_well_formed(page);
    free(page);
}

static void a_share_above_the_roofline_is_marked(void **state)
{
    static const char above[] = BENCH("{\"name\":\"layer/p/k/tokens:4\",\"real_time\":1,\"time_unit\":\"ms\","
                                      "\"gflops\":1,\"roofline_share\":1.03}");
    write_text(in_folder(state, "b.json").text, above);
    report(state, "b.json");
    char *page = page_of(state);
    expect_part(page, "<td class=\"n bad\" title=\"above 102 %: an error of measurement\">103.0 % !</td>");
    expect_part(page, "no measured limits");
    free(page);
}

static void saved_time_is_set_against_saved_flops(void **state)
{
    write_text(
        in_folder(state, "s.json").text,
        BENCH(
            "{\"name\":\"saved/p/k/tokens:1\",\"real_time\":1,\"time_unit\":\"ms\",\"flops_reduction\":0.165,"
            "\"bytes_reduction\":0.164,\"predicted_time_reduction\":0.163,\"time_reduction\":0.132,"
            "\"time_reduction_low\":0.12,\"time_reduction_high\":0.15},"
            "{\"name\":\"saved/p/k/tokens:16\",\"error_occurred\":true,\"error_message\":\"no memory\"}"));
    report(state, "s.json");
    char *page = page_of(state);
    expect_well_formed(page);
    expect_part(page, "<td class=\"n\">16.5 %</td><td class=\"n\">16.4 %</td><td class=\"n\">16.3 %</td>"
                      "<td class=\"n\">13.2 %</td><td class=\"n quiet\">12.0 % to 15.0 %</td>"
                      "<td class=\"n\">0.800</td>");
    expect_part(page, ">no memory</td>");
    expect_part(page, "time, measured, 1 tokens: 13.2 %</title>");
    assert_null(strstr(page, "<h3>Roofline</h3>")); /* it is no throughput */
    free(page);
}

static void what_became_worse_comes_first(void **state)
{
    write_text(in_folder(state, "c.json").text,
               "{\"regressions\":1,\"missing\":0,\"unchanged\":12,\"alpha\":0.05,\"tests\":2,\"notes\":"
               "\"Disturbed.\","
               "\"findings\":[{\"verdict\":\"same\",\"aspect\":\"work\",\"subject\":\"one\"},"
               "{\"verdict\":\"regression\",\"aspect\":\"speed\",\"subject\":\"two\",\"effect\":1.05,"
               "\"interval\":[1.04,1.06],\"p\":0.001,\"adjusted_p\":0.002}]}");
    report(state, "c.json");
    char *page = page_of(state);
    expect_well_formed(page);
    expect_part(page, "1.050 times (1.040 to 1.060)");
    expect_part(page, "<strong class=\"bad\">1 regression</strong>");
    expect_part(page, "Disturbed.");
    assert_true(strstr(page, ">two</td>") < strstr(page, ">one</td>"));
    free(page);
}

/* A gate's result has a check, an evaluation and a comparison in it. */
static void a_gate_shows_its_parts(void **state)
{
    write_text(in_folder(state, "g.json").text,
               "{\"gate\":{\"check\":{\"kernels\":[{\"kernel\":\"k\",\"passed\":7,\"failed\":2}]},"
               "\"evaluation\":{\"results\":{\"t\":{\"acc,none\":0.75}},\"adamoe\":{\"load\":1.5}}},"
               "\"comparison\":{\"regressions\":0,\"findings\":[]},"
               "\"environment\":{\"machine\":{\"cpu\":\"a processor\"}}}");
    report(state, "g.json");
    char *page = page_of(state);
    expect_well_formed(page);
    expect_part(page, "2 failed</dd><dd class=\"under\">and 7 passed");
    expect_part(page, "75.00 %");
    expect_part(page, "0 regressions</strong>");
    expect_part(page, "<th scope=\"row\">machine cpu</th><td>a processor</td>");
    free(page);
}

/* ----------------------------------------------------------------------------------- results of the verbs */

static void what_the_verbs_write_is_shown(void **state)
{
    const char *folder = *state;
    expect(run(ADAMOE " eval --stages --model %s --questions %s --limit 8 --json %s/eval.json", MODEL,
               QUESTIONS, folder),
           0, "acc");
    expect(run(ADAMOE " check --kernel reference --case tokens:7/routing:one --json %s/check.json", folder),
           0, "0 failed");
    expect(run(ADAMOE " flops --config '%s' --load 1.67 --json %s/flops.json",
               SOURCE_PATH("tests/golden/mixtral-8x7b/config.json"), folder),
           0, "14.55 %");
    expect(run(ADAMOE " info --json %s/info.json", folder), 0, "reference");
    expect(run(ADAMOE " bench --kernel reference --tokens 1 --json %s/bench.json --benchmark_min_time=0.01",
               folder),
           0, "layer/tiny/tokens:1/");
    report(state, "eval.json check.json flops.json info.json bench.json");
    char *page = page_of(state);
    expect_well_formed(page);
    static const char *const parts[] = {
        "<section id=\"checks\"",
        "<section id=\"speed\"",
        "<section id=\"accuracy\"",
        "<section id=\"flops\"",
        "<section id=\"stages\"",
        "<th scope=\"col\" class=\"n\">log_softmax</th>",
        "<section id=\"load\"",
        "<section id=\"environment\"",
        "<td class=\"n\">14.55 %</td>", /* model saved, as computed from the paper's load */
        "random weights",
        "the paper, AdaMoE",
        "<th scope=\"row\">default_kernel</th>",
        "<h4>Tokens by their number of true experts</h4>",
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; ++i) {
        expect_part(page, parts[i]);
    }
    assert_null(strstr(page, "http")); /* nothing from elsewhere */
    assert_null(strstr(page, "src="));
    free(page);
}

/* The histogram of a layer adds up, and agrees with its load. */
static void eval_tells_the_histogram_of_each_layer(void **state)
{
    const char *folder = *state;
    json_error_t error;
    expect(
        run(ADAMOE " eval --model %s --questions %s --limit 8 --json %s/eval.json", MODEL, QUESTIONS, folder),
        0, "acc");
    json_t *eval = json_load_file(in_folder(state, "eval.json").text, 0, &error);
    const json_t *cost = json_object_get(eval, "adamoe"),
                 *total = json_object_get(cost, "true_expert_histogram");
    const json_t *layers = json_object_get(cost, "true_expert_histogram_by_layer");
    double mean[16] = {0};
    assert_int_equal(json_array_size(layers), 4);
    for (size_t layer = 0; layer < 4; ++layer) {
        const json_t *histogram = json_array_get(layers, layer);
        double sum = 0.0, load = 0.0;
        assert_int_equal(json_array_size(histogram), 4); /* top-3: none to three */
        for (size_t i = 0; i < 4; ++i) {
            const double share = json_real_value(json_array_get(histogram, i));
            sum += share;
            load += (double)i * share;
            mean[i] += share / 4.0;
        }
        assert_true(fabs(sum - 1.0) < 1e-12);
        assert_true(fabs(load - json_real_value(
                                    json_array_get(json_object_get(cost, "load_by_layer"), layer))) < 1e-12);
    }
    for (size_t i = 0; i < 4; ++i) {
        assert_true(fabs(mean[i] - json_real_value(json_array_get(total, i))) < 1e-12);
    }
    json_decref(eval);
}

/* ----------------------------------------------------------------------------------------------- refusals */

/* What `adamoe routers` writes; and names that try to be markup, numbers that are missing. */
static void routers_stand_side_by_side(void **state)
{
    const char *folder = *state;
    expect(run("cd '%s' && " ADAMOE
               " routers --routers top_k,soft_moe,locmoe --set locmoe.nodes=3 --tokens 16 "
               "--repeat 1 --kernel reference --json r.json",
               folder),
           0, "");
    report(state, "r.json");
    char *page = page_of(state);
    expect_well_formed(page);
    expect_part(page, "<a href=\"#routers\">Routers</a>");
    expect_part(page, "<h3>tiny, random weights, 16 random tokens</h3>");
    expect_part(page,
                "<th scope=\"row\">top_k</th><td class=\"n\">2.00 \xc2\xb1 0</td><td class=\"n\">73.7</td>");
    expect_part(
        page,
        "<th scope=\"row\">locmoe</th><td class=\"wrap\" colspan=\"10\">cannot: nodes: 3 do not divide 8 "
        "experts</td>");
    expect_part(page, "<th scope=\"col\" class=\"n\">8 nodes</th>");
    free(page);
    write_text(
        in_folder(state, "r.json").text,
        "{\"subject\":\"<b>\",\"routers\":[{\"router\":\"<i>\",\"nodes\":[{}]},{\"refused\":\"<u>\"}]}");
    report(state, "r.json");
    page = page_of(state);
    expect_well_formed(page);
    expect_part(page, "<h3>&lt;b&gt;</h3>");
    expect_part(page, "cannot: &lt;u&gt;");
    free(page);
}

/* What an evaluation over ranks adds to its result; and what is missing. */
static void what_travelled_is_shown(void **state)
{
    write_text(
        in_folder(state, "r.json").text,
        "{\"results\":{\"arc\":{\"acc,none\":0.5}},\"config\":{},\"adamoe\":{\"communication\":{\"ranks\":2,"
        "\"experts\":\"<b>\",\"bytes\":1500000,\"predicted_bytes\":1500000,\"bytes_reduction\":0.25,"
        "\"by_rank\":[{\"machine\":\"<i>\",\"rows_sent\":77,\"waiting_seconds\":0.5},3]}}}");
    report(state, "r.json");
    char *page = page_of(state);
    expect_well_formed(page);
    expect_part(page, "<a href=\"#communication\">Between ranks</a>");
    expect_part(
        page,
        "2 ranks, experts by &lt;b&gt;, inputs in ?: 1.50 MB travelled, as the routing predicts, to the byte");
    expect_part(page, "25.00 % of the bytes were saved");
    expect_part(page, "&lt;i&gt;");
    expect_part(page, "<td class=\"n\">77.0</td>");
    free(page);
    write_text(
        in_folder(state, "r.json").text,
        "{\"results\":{\"arc\":{\"acc,none\":0.5}},\"config\":{},\"adamoe\":{\"communication\":{\"bytes\":1,"
        "\"predicted_bytes\":2}}}");
    report(state, "r.json");
    page = page_of(state);
    expect_well_formed(page);
    expect_part(page, "which the routing does not predict");
    free(page);
}

/* What `adamoe scale` writes, with its error where something was measured; and what is missing. */
static void ranks_are_predicted(void **state)
{
    const char *folder = *state;
    expect(run("cd '%s' && " ADAMOE
               " scale --preset tiny --ranks 2,8 --draws 2 --latency 1 --bandwidth 1 --gflops 1 "
               "--gbytes 1 --json r.json",
               folder),
           0, "");
    report(state, "r.json");
    char *page = page_of(state);
    expect_well_formed(page);
    expect_part(page, "<a href=\"#scale\">Ranks</a>");
    expect_part(page, "<figcaption>Efficiency, predicted</figcaption>");
    expect_part(page, "<title>with null experts, 8 ranks: ");
    expect_part(page, "<tr><td class=\"n\">2</td><td class=\"n\">2</td>");
    expect_part(page, "The error of the model is unknown");
    expect_part(page, "<li>ranks form groups");
    free(page);
    write_text(
        in_folder(state, "r.json").text,
        "{\"prediction\":true,\"subject\":\"<b>\",\"largest_error\":0.123,\"scale\":[{\"ranks\":2},{}],"
        "\"assumptions\":[\"<i>\",3]}");
    report(state, "r.json");
    page = page_of(state);
    expect_well_formed(page);
    expect_part(page, "<h3>&lt;b&gt;</h3>");
    expect_part(page, "within 12 % of the runs");
    expect_part(page, "<li>&lt;i&gt;</li>");
    free(page);
}

static void what_is_no_result_is_refused(void **state)
{
    static const struct {
        const char *text, *message;
    } files[] = {
        {"", "x.json: "},
        {"{\"context\":", "x.json: line 1"},
        {"[]", "x.json: not a result of adamoe"},
        {"{}", "x.json: not a result of adamoe"},
        {"{\"results\":{},\"adamoe\":{}}", "x.json: results: without an accuracy"},
        {"{\"results\":{\"t\":3},\"adamoe\":{}}", "x.json: results: without an accuracy"},
        {"{\"check\":[],\"evaluation\":{}}", "x.json: results: without an accuracy"},
        {"{\"seed\":1,\"kernels\":[3]}", "x.json: kernels: an entry is not an object"},
        {"{\"prediction\":true,\"scale\":[1]}", "x.json: scale: an entry is not an object"},
        {"{\"subject\":\"a\",\"routers\":[1]}", "x.json: routers: an entry is not an object"},
        {BENCH(""), "x.json: benchmarks: there is none"},
        {BENCH("{\"name\":\"other/1\"}"),
         "x.json: benchmarks: `other/1' is not layer/PRESET/KERNEL/tokens:T"},
        {BENCH("{\"name\":\"layer/p/k/tokens:0\"}"), "is not layer/PRESET/KERNEL/tokens:T"},
        {BENCH("{\"name\":\"layer/p/k\"}"), "is not layer/PRESET/KERNEL/tokens:T"},
        {BENCH("17"), "x.json: benchmarks: `' is not layer/PRESET/KERNEL/tokens:T"},
    };
    const char *folder = *state;
    write_text(in_folder(state, "page.html").text, "before");
    for (size_t i = 0; i < sizeof files / sizeof *files; ++i) {
        write_text(in_folder(state, "x.json").text, files[i].text);
        expect(run("cd '%s' && " ADAMOE " report x.json -o page.html", folder), 2, files[i].message);
        expect(run("cat '%s/page.html'", folder), 0, "before");
    }
    expect(run(ADAMOE " report '%s/none.json' -o '%s/page.html'", folder, folder), 2, "none.json: ");
    expect(run(ADAMOE " report -o page.html"), 2, "a result and --output are required");
    expect(run(ADAMOE " report x.json"), 2, "a result and --output are required");
    assert_int_equal(count_files(state), 2);
}

static void a_page_that_cannot_be_written(void **state)
{
    const char *folder = *state;
    write_text(in_folder(state, "b.json").text, BENCH(BENCHMARK("layer/p/k/tokens:4", 1000, 8)));
    expect(run(ADAMOE " report '%s/b.json' -o '%s/no/page.html'", folder, folder), 4, "page.html: create: ");
    const folder_path full = full_device(state);
    expect(run(ADAMOE " report '%s/b.json' -o '%s'", folder, full.text), 4, "full: write: ");
    expect(run(ADAMOE " report '%s/b.json' -o - > '%s'", folder, full.text), 4, "standard output: write: ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(names_cannot_become_markup, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(repetitions_become_medians, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(a_panel_for_each_preset_and_setting, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(a_share_above_the_roofline_is_marked, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(saved_time_is_set_against_saved_flops, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(what_became_worse_comes_first, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(a_gate_shows_its_parts, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(what_the_verbs_write_is_shown, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(eval_tells_the_histogram_of_each_layer, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(routers_stand_side_by_side, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(what_travelled_is_shown, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(ranks_are_predicted, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(what_is_no_result_is_refused, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(a_page_that_cannot_be_written, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * `adamoe scale' on drawn and on recorded selections, and what it refuses. Leaves out the cost model itself
 * (cost_model_test.c) and measuring it over ranks (scale_ranks_test.c).
 */
#include "program.h"
#include "kernel/kernel.h"
#include "safetensors/safetensors.h"
#include "scale/calibration.h"
#include "scale/measure.h"
#include "scale/predict.h"

#include <jansson.h>

#define SCALE ADAMOE " scale "
#define RATES " --latency 10 --bandwidth 100 --gflops 500 --gbytes 50 "

static bool near(double a, double b)
{
    return fabs(a - b) <= 1e-12 * fmax(fabs(a), fabs(b));
}

/* ---------------------------------------------------------------------------------------------- the verb */

static json_t *run_json(const char *arguments)
{
    json_error_t error;
    const outcome *got = run("cd '%s' && " SCALE "%s --json -", ADAMOE_SOURCE_DIR, arguments);
    json_t *document = json_loads(got->text, 0, &error);
    if (got->code != 0 || document == NULL) {
        fail_msg("scale %s: exit code %d: %s", arguments, got->code, got->text);
    }
    return document;
}

static double number(const json_t *object, const char *path)
{
    char key[64];
    for (const char *at = path; at != NULL; at = strchr(at, '.') == NULL ? NULL : strchr(at, '.') + 1) {
        (void)snprintf(key, sizeof key, "%.*s", (int)strcspn(at, "."), at);
        object = json_object_get(object, key);
    }
    if (!json_is_number(object)) {
        fail_msg("no number %s", path);
    }
    return json_number_value(object);
}

static void a_preset_is_predicted(void **state)
{
    (void)state;
    json_t *document = run_json("--preset mixtral-8x7b --ranks 1,2,8,4096" RATES "--draws 8");
    assert_true(json_is_true(json_object_get(document, "prediction")));
    static const double groups[] = {1.0, 2.0, 8.0, 8.0};
    size_t i;
    const json_t *row;
    json_array_foreach(json_object_get(document, "scale"), i, row)
    {
        const double group = number(row, "group"), d = 4096.0, tokens = 512.0 * group;
        assert_true(group == groups[i]);
        const double rows = number(row, "adaptive.rows_sent_per_token.mean");
        const double inputs = number(row, "adaptive.inputs_sent_per_token.mean");
        assert_true(near(number(row, "adaptive.rows_sent_per_token_expected"), 1.67 * (1.0 - 1.0 / group)));
        assert_true(fabs(rows - number(row, "adaptive.rows_sent_per_token_expected")) <
                    5.0 * sqrt(1.67 / (8.0 * tokens)) + 1e-12);
        assert_true(inputs <= rows);
        /* heads, counts of experts (8 in all, told by each of the others), numbers, inputs, outputs */
        const double bytes = group * (group - 1.0) * ADAMOE_REQUEST_HEAD / tokens +
                             8.0 * (group - 1.0) * 4.0 / tokens + rows * 4.0 + inputs * d * 4.0 +
                             rows * d * 4.0;
        assert_true(fabs(number(row, "adaptive.bytes_per_token.mean") - bytes) <= 1e-9 * bytes);
        assert_true(number(row, "baseline.load") == 2.0);
        assert_true(near(number(row, "adaptive.efficiency"), 1.0) == (i == 0));
    }
    row = json_array_get(json_object_get(document, "scale"), 2);
    const json_t *most = json_array_get(json_object_get(document, "scale"), 3);
    assert_true(number(row, "bytes_reduction") > 0.12 && number(row, "bytes_reduction") < 0.19);
    assert_true(number(row, "time_reduction") > 0.0);
    assert_true(number(row, "adaptive.layer_seconds.mean") == number(most, "adaptive.layer_seconds.mean"));
    assert_true(
        near(number(row, "adaptive.tokens_per_second") * 512.0, number(most, "adaptive.tokens_per_second")));
    json_decref(document);
}

/* Without a network to speak of, a rank alone and two take what the arithmetic takes; twice the latency is there twice. */
static void limits_are_what_they_must_be(void **state)
{
    (void)state;
    json_t *slow =
        run_json("--preset olmoe --ranks 2 --latency 1000000 --bandwidth 1e9 --gflops 1e9 --gbytes 1e9");
    json_t *fast =
        run_json("--preset olmoe --ranks 2 --latency 0 --bandwidth 1e12 --gflops 100 --gbytes 1e9");
    const json_t *latent = json_array_get(json_object_get(slow, "scale"), 0);
    const json_t *free_wire = json_array_get(json_object_get(fast, "scale"), 0);
    assert_true(fabs(number(latent, "adaptive.layer_seconds.mean") - 2.0) < 1e-3);
    assert_true(number(latent, "adaptive.communication_share") > 0.999);
    /* 512 tokens of a rank, 8 rows each, 6 * 2048 * 1024 FLOPs, and the router; the busier rank has a little more */
    const double seconds = 512.0 * (8.0 * 6.0 * 2048.0 * 1024.0 + 2.0 * 2048.0 * 64.0) / 100e9;
    const double measured = number(free_wire, "adaptive.layer_seconds.mean");
    assert_true(measured >= seconds && measured < 1.05 * seconds);
    json_decref(slow);
    json_decref(fast);
}

static void a_config_has_a_whole_model(void **state)
{
    (void)state;
    json_t *
        layer_alone = run_json("--ranks 4" RATES),
       *model = run_json(
           "--config tests/golden/mixtral-8x7b/config.json --load 1.67 --top-k 3 --null-experts 8 --ranks 4" RATES);
    const json_t *one = json_array_get(json_object_get(layer_alone, "scale"), 0);
    const json_t *all = json_array_get(json_object_get(model, "scale"), 0);
    assert_true(number(model, "layers") == 32.0);
    assert_true(
        near(number(one, "adaptive.bytes_per_token.mean"), number(all, "adaptive.bytes_per_token.mean")));
    assert_true(number(all, "adaptive.tokens_per_second") < number(one, "adaptive.tokens_per_second") / 32.0);
    json_decref(layer_alone);
    json_decref(model);
}

/* ---------------------------------------------------------------------------------------------- recordings */

#define MOST_LAYERS 3

/* Selections [layers, tokens, 2] of 4 true experts, and one null expert or none: 0 goes with 2, 1 with 3. The third layer
 * has the null expert twice as often. */
static void write_selections(const char *path, size_t layers, size_t tokens, size_t null_experts)
{
    static int64_t id[MOST_LAYERS * 40 * 2];
    assert_true(layers <= MOST_LAYERS && tokens <= 40);
    for (size_t i = 0; i < layers * tokens; ++i) {
        const size_t every = i / tokens == 2 ? 5 : 10;
        id[2 * i] = (int64_t)(i % 2);
        id[2 * i + 1] = null_experts > 0 && i % every == every - 1 ? 4 : id[2 * i] + 2;
    }
    const adamoe_tensor tensor = {.name = "selected_experts",
                                  .dtype = ADAMOE_I64,
                                  .rank = 3,
                                  .shape = {layers, tokens, 2},
                                  .elements = layers * tokens * 2,
                                  .data = id};
    const adamoe_metadata metadata[] = {{"num_local_experts", "4"},
                                        {"num_null_experts", null_experts == 0 ? "0" : "1"},
                                        {"num_experts_per_tok", "2"}};
    assert_ok(adamoe_safetensors_write(path, &tensor, 1, metadata, 3));
}

static void write_record(const char *path)
{
    write_selections(path, 2, 40, 1);
}

static const char small_config[] =
    "{\"architectures\":[\"MixtralForCausalLM\"],\"model_type\":\"mixtral\",\"vocab_size\":16,\"hidden_size\":8,"
    "\"intermediate_size\":8,\"num_hidden_layers\":2,\"num_attention_heads\":2,\"num_key_value_heads\":2,"
    "\"num_local_experts\":4,\"num_experts_per_tok\":2,\"max_position_embeddings\":64,\"hidden_act\":\"silu\","
    "\"rms_norm_eps\":1e-5,\"rope_theta\":10000.0,\"num_null_experts\":1}";

static const json_t *order_of(const json_t *document, const char *name)
{
    size_t i;
    const json_t *entry;
    json_array_foreach(json_object_get(document, "orders"), i, entry)
    {
        if (strcmp(json_string_value(json_object_get(entry, "order")), name) == 0) {
            return entry;
        }
    }
    return NULL;
}

static void a_recording_is_counted(void **state)
{
    write_record(in_folder(state, "r.safetensors").text);
    write_selections(in_folder(state, "b.safetensors").text, 2, 40, 0);
    write_text(in_folder(state, "config.json").text, small_config);
    char arguments[1024];
    (void)snprintf(
        arguments, sizeof arguments,
        "--config %s/config.json --record %s/r.safetensors --baseline-record %s/b.safetensors --ranks 2 "
        "--tokens 5" RATES,
        (const char *)*state, (const char *)*state, (const char *)*state);
    json_t *document = run_json(arguments);
    /* The judged half: 20 tokens of each layer, in calls of 10, 5 of each rank. With blocks (0, 1 | 2, 3) every true pair
     * is split: one row and one input of it cross, whoever's token it is. Of a token with the null expert its row crosses
     * from rank 1 alone: each call has one, on rank 1. */
    const json_t *block = order_of(document, "block"), *turn = order_of(document, "turn");
    assert_true(number(block, "adaptive.tokens") == 40.0);
    assert_true(number(block, "adaptive.rows") == 76.0);
    assert_true(number(block, "adaptive.rows_sent") == 36.0 + 4.0);
    assert_true(number(block, "adaptive.inputs_sent") == 36.0 + 4.0);
    /* In turn (0, 2 | 1, 3) pairs stay together: even tokens belong to rank 0, odd ones to rank 1. A call's rank 0 has 3
     * even tokens and 2 odd ones, its rank 1 2 even and 3 odd, of which one has the null expert. */
    assert_true(number(turn, "adaptive.inputs_sent") == 4.0 * 4.0);
    assert_true(number(turn, "adaptive.rows_sent") == 4.0 * 8.0);
    assert_true(near(number(turn, "adaptive.kept_share"), 1.0 - 32.0 / 76.0));
    const json_t *together = order_of(document, "together");
    if (together != NULL) { /* where the build has METIS: the same pairs, on one rank or the other */
        const double inputs = number(together, "adaptive.inputs_sent");
        assert_true(inputs == 4.0 * 4.0 || inputs == 4.0 * 6.0);
    }
    const json_t *row = json_array_get(json_object_get(document, "scale"), 0);
    /* Of ten rows one is spared where the token with the null expert is on rank 1. */
    assert_true(number(row, "bytes_reduction") > 0.0 && number(row, "bytes_reduction") < 0.1);
    assert_true(number(block, "baseline.rows") == 80.0 && number(block, "baseline.rows_sent") == 40.0);
    assert_true(near(number(document, "adaptive.load"), 1.9));
    json_decref(document);
}

/* Two calls are asked for, three are made, one of each layer; each has all tokens of the judged half once, so that their
 * mean is that of the recording. */
static void all_layers_come_alike_often(void **state)
{
    write_selections(in_folder(state, "r.safetensors").text, 3, 40, 1);
    char config[1024], arguments[1024];
    (void)snprintf(config, sizeof config, "%s", small_config);
    strstr(config, "\"num_hidden_layers\":2")[strlen("\"num_hidden_layers\":")] = '3';
    write_text(in_folder(state, "config.json").text, config);
    (void)snprintf(arguments, sizeof arguments,
                   "--config %s/config.json --record %s/r.safetensors --ranks 2 --tokens 10 --draws 2" RATES,
                   (const char *)*state, (const char *)*state);
    json_t *document = run_json(arguments);
    const json_t *row = json_array_get(json_object_get(document, "scale"), 0);
    assert_true(number(document, "draws") == 3.0);
    assert_true(near(number(document, "adaptive.load"), (1.9 + 1.9 + 1.8) / 3.0));
    assert_true(near(number(row, "adaptive.load"), number(document, "adaptive.load")));
    json_decref(document);
    expect(run(SCALE "%s", arguments), 0, "calls are 1 of each of 3 layers");
}

static void recordings_must_fit(void **state)
{
    const char *folder = *state;
    write_text(in_folder(state, "config.json").text, small_config);
    write_record(in_folder(state, "r.safetensors").text);
    write_selections(in_folder(state, "layers.safetensors").text, 1, 40, 0);
    write_selections(in_folder(state, "tokens.safetensors").text, 2, 38, 0);
    char begin[1024];
    (void)snprintf(begin, sizeof begin, "cd '%s' && " SCALE RATES "--config config.json --ranks 2 --record ",
                   folder);
    expect(run("%s layers.safetensors", begin), 2,
           "--record: layers.safetensors: 1 layer, config.json has 2");
    expect(run("%s r.safetensors --baseline-record r.safetensors", begin), 2,
           "--baseline-record: r.safetensors: 1 null expert, the baseline has none");
    expect(
        run("%s r.safetensors --baseline-record layers.safetensors", begin), 2,
        "--baseline-record: layers.safetensors: layers, tokens: 1, 40, but 2, 40 in --record r.safetensors");
    expect(run("%s r.safetensors --baseline-record tokens.safetensors", begin), 2,
           "tokens.safetensors: layers, tokens: 2, 38, but 2, 40 in");
    expect(run("%s r.safetensors", begin), 0, "bfloat16 whatever the config says");
}

/* ---------------------------------------------------------------------------------------------- calibrations */

static adamoe_calibration some_calibration(void)
{
    return (adamoe_calibration){
        .kernel = "avx2-f32",
        .hidden_size = 64,
        .intermediate_size = 96,
        .input_bytes = 4,
        .experts_in_turn = 3,
        .threads = 2,
        .expert_bytes = 73728.0,
        .ranks_per_processor = 1.5,
        .compute = {.flops = 1e11,
                    .bytes = 2e10,
                    .points = 2,
                    .point = {{1.0, 1e-5, 8e-6}, {64.0, 5e-5, 4e-5}}},
        .ranks = 2,
        .network = {.latency = 1e-6,
                    .overhead = 1e-7,
                    .rendezvous = 3e-6,
                    .eager = 4096.0,
                    .bandwidth = 5e9,
                    .hidden = 0.5,
                    .chunks = 2,
                    .overlap = true},
        .rounds = 9,
        .disturbed_rounds = 2,
        .check = {{"two ranks", 1.1e-3, 1e-3, 0.9, 1.2, false},
                  {"four ranks", 1.2e-3, 1e-3, -(double)INFINITY, (double)INFINITY, false}},
        .checks = 2};
}

static void a_calibration_comes_back(void **state)
{
    static adamoe_calibration c, back;
    c = some_calibration();
    const char *path = in_folder(state, "c.json").text;
    json_t *json = adamoe_calibration_json(&c);
    assert_int_equal(json_dump_file(json, path, 0), 0);
    json_decref(json);
    assert_ok(adamoe_calibration_read(path, &back));
    assert_memory_equal(&c, &back, sizeof c);
    assert_true(fabs(adamoe_calibration_error(&back, false) - 0.2) < 1e-9);
    size_t all;
    assert_int_equal(adamoe_calibration_within(&back, 0.15, &all), 1);
    assert_int_equal(all, 2);
    expect(run(SCALE "--preset tiny --calibration %s --ranks 4", path), 0,
           "at most 20 %, 1 of 2 within 15 %");
    back.disturbed = true; /* too few rounds were not: nothing is judged */
    assert_true(isnan(adamoe_calibration_error(&back, false)));
    expect(run(SCALE "--preset olmoe --calibration %s", path), 2,
           "experts of 64 x 96 were measured, these have 2048 x 1024");
    write_text(path, "{\"checks\":[],\"network\":{\"ranks\":2}}");
    expect(run(SCALE "--preset tiny --calibration %s", path), 2, "c.json: network.chunks: missing");
    write_text(path, "{}");
    expect(run(SCALE "--preset tiny --calibration %s", path), 2, "c.json: kernel, network: missing");
}

/* The part of a document that a place names. */
static json_t *part_of(json_t *document, const char *place)
{
    return strcmp(place, "checks[0]") == 0 ? json_array_get(json_object_get(document, "checks"), 0)
           : strcmp(place, "kernel.points[0]") == 0
               ? json_array_get(json_object_get(json_object_get(document, "kernel"), "points"), 0)
               : json_object_get(document, place);
}

static const char *const wrong_values[][3] = {
    /* place, key, value; NULL: none */
    {"judged", "disturbed", NULL},
    {"judged", "disturbed", "1"},
    {"judged", "disturbed", "\"true\""},
    {"judged", "rounds", "8.5"},
    {"judged", "disturbed_rounds", "0.5"},
    {"checks[0]", "fitted", NULL},
    {"checks[0]", "fitted", "null"},
    {"checks[0]", "low", "1.5"}, /* above high */
    {"checks[0]", "low", NULL},
    {"checks[0]", "high", "\"1.2\""},
    {"checks[0]", "predicted", "1e300"},
    {"checks[0]", "measured", "1e300"},
    {"checks[0]", "what", NULL},
    {"checks[0]", "what", "\"two\\u001b[31m\""},
    {"checks[0]", "what", "\"two\\nranks\""},
    {"checks[0]", "what", "\"two\\u009b31m\""},
    {"checks[0]", "what", "\"two\\u007f\""},
    {"kernel", "name", "\"\\u001b]0;\\u0007\""},
    {"kernel", "input_bytes", "3"},
    {"kernel", "threads", "2.5"},
    {"kernel", "experts_in_turn", "1.5"},
    {"kernel", "hidden_size", "64.5"},
    {"kernel", "ranks_per_processor", "1e300"},
    {"kernel", "flops_per_second", "1e300"},
    {"kernel", "bytes_per_second", "1e-300"},
    {"kernel", "expert_bytes", "1e300"},
    {"kernel.points[0]", "rows", "1.5"},
    {"kernel.points[0]", "rows", "2"}, /* not the first one */
    {"kernel.points[0]", "seconds", "1e300"},
    {"kernel.points[0]", "alone_seconds", "1"}, /* above seconds */
    {"network", "ranks", "2.5"},
    {"network", "chunks", "2.5"},
    {"network", "latency_seconds", "1e300"},
    {"network", "overhead_seconds", "1e300"},
    {"network", "rendezvous_seconds", "1e300"},
    {"network", "eager_bytes", "1e300"},
    {"network", "bytes_per_second", "1e300"},
    {"network", "hidden_share", "1.5"},
};

static void wrong_calibrations_are_refused(void **state)
{
    static adamoe_calibration c, back;
    const char *path = in_folder(state, "c.json").text;
    c = some_calibration();
    for (size_t i = 0; i < sizeof wrong_values / sizeof *wrong_values; ++i) {
        const char *place = wrong_values[i][0], *key = wrong_values[i][1], *value = wrong_values[i][2];
        char said[96];
        json_t *json = adamoe_calibration_json(&c), *part = part_of(json, place);
        assert_non_null(json_object_get(part, key));
        assert_int_equal(value == NULL
                             ? json_object_del(part, key)
                             : json_object_set_new(part, key, json_loads(value, JSON_DECODE_ANY, NULL)),
                         0);
        assert_int_equal(json_dump_file(json, path, 0), 0);
        json_decref(json);
        const adamoe_status status = adamoe_calibration_read(path, &back);
        (void)snprintf(said, sizeof said, "c.json: %s.%s", place, key);
        if (status.code != ADAMOE_BAD_INPUT || strstr(status.message, said) == NULL) {
            fail_msg("%s, %s: %d, %s", said, value == NULL ? "absent" : value, (int)status.code,
                     status.message);
        }
    }
    expect(run(SCALE "--preset tiny --calibration %s", path), 2, "c.json: network.hidden_share: missing, or");
}

/* Nothing is measured without --calibrate, and nobody may believe that it was. */
static void options_that_nothing_reads_are_refused(void **state)
{
    (void)state;
    static const char *const option[][2] = {
        {"--kernel", "nosuch"}, {"--plugin", "/nope.so"}, {"--command", "false"}, {"--threads", "1"},
        {"--numa", "experts"},  {"--numa-topology", "0"}, {"--longest", "1"},     {"--budget", "1"}};
    for (size_t i = 0; i < sizeof option / sizeof *option; ++i) {
        char said[64];
        (void)snprintf(said, sizeof said, "%s belongs to --calibrate", option[i][0]);
        expect(run(SCALE RATES "%s %s", option[i][0], option[i][1]), 2, said);
    }
    expect(run(SCALE RATES "--visible-keys 3"), 2, "--visible-keys belongs to --config");
    expect(run(SCALE "--calibrate c --draws 2"), 2, "--calibrate goes with --preset and");
    expect(run(SCALE "--calibrate c --visible-keys 3"), 2, "--calibrate goes with --preset and");
}

/* What comes of other rates is no number. */
static void rates_have_bounds(void **state)
{
    (void)state;
    static const char *const option[][3] = {{"--gflops", "1e-320", "is not from 1e-09 to 1e+12"},
                                            {"--gflops", "1e300", "is not from 1e-09 to 1e+12"},
                                            {"--gbytes", "1e-10", "is not from 1e-09 to 1e+12"},
                                            {"--bandwidth", "0", "is not from 8e-09 to 8e+12"},
                                            {"--latency", "1e13", "is above 1e+12"},
                                            {"--overhead", "1e300", "is above 1e+12"},
                                            {"--latency", "-1", "is negative"}};
    for (size_t i = 0; i < sizeof option / sizeof *option; ++i) {
        char said[96];
        (void)snprintf(said, sizeof said, "%s: `%s' %s", option[i][0], option[i][1], option[i][2]);
        expect(run(SCALE RATES "%s %s", option[i][0], option[i][1]), 2, said);
    }
    const outcome *got =
        run(SCALE "--ranks 2,4096 --latency 1e12 --bandwidth 8e-9 --gflops 1e-9 --gbytes 1e-9");
    expect(got, 0, "PREDICTIONS");
    assert_null(strstr(got->text, "nan"));
    assert_null(strstr(got->text, "inf"));
}

static void wrong_wishes_are_refused(void **state)
{
    expect(run(SCALE), 2, "--latency, --bandwidth, --gflops and --gbytes are required, or --calibration");
    expect(run(SCALE "--calibrate c --load 2"), 2,
           "--calibrate goes with --preset and the options of kernel");
    expect(run(SCALE RATES "--ranks 4097"), 2, "--ranks: `4097' is not a whole number from 1 to 4096");
    expect(run(SCALE RATES "--ranks 4,"), 2, "--ranks: `' is not");
    expect(run(SCALE RATES "--total 5 --ranks 8"), 2, "--total: 5 tokens for 8 ranks");
    expect(run(SCALE RATES "--preset mistral-7b"), 2,
           "--preset: mistral-7b: one expert: no row leaves its rank");
    expect(run(SCALE RATES "--preset tiny --load 3.5"), 2, "--load: 3.5 is not above 0 and at most top-3");
    expect(run(SCALE RATES "--null-experts 0 --top-k 2 --load 1"), 2,
           "--load: 1, but of top-2 with 0 null experts at least 2 are true");
    expect(run(SCALE RATES "--null-experts 1"), 2,
           "--load: 1.67, but of top-3 with 1 null expert at least 2");
    expect(run(SCALE RATES "--null-experts 1 --load 2 --ranks 2 --draws 2"), 0, "load 2,");
    expect(run(SCALE RATES "--visible-keys 1e300"), 2, "--visible-keys: `1e300' is above 2^53");
    expect(run(SCALE RATES "--preset tiny --baseline-k 9"), 2, "--baseline-k: 9, there are 8 true experts");
    expect(run(SCALE RATES "--config '%s'", SOURCE_PATH("tests/golden/mixtral-8x7b/config.json")), 2,
           "--load: a config does not say");
    expect(run(SCALE RATES "--preset tiny --place best"), 2,
           "--place: `best' is not one of: block, turn, load");
    expect(run(SCALE RATES "--preset tiny --record r --load 1"), 2, "are for drawn selections");
    write_record(in_folder(state, "r.safetensors").text);
    expect(run(SCALE RATES "--preset tiny --record %s/r.safetensors", (const char *)*state), 2,
           "4 true experts, the layer has 8");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_preset_is_predicted),
        cmocka_unit_test(limits_are_what_they_must_be),
        cmocka_unit_test(a_config_has_a_whole_model),
        cmocka_unit_test_setup_teardown(a_recording_is_counted, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(all_layers_come_alike_often, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(recordings_must_fit, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(a_calibration_comes_back, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(wrong_calibrations_are_refused, make_folder, remove_folder),
        cmocka_unit_test(options_that_nothing_reads_are_refused),
        cmocka_unit_test(rates_have_bounds),
        cmocka_unit_test_setup_teardown(wrong_wishes_are_refused, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Experts on ranks by what a recording of routing says, at run time: the samples and outputs of one rank, byte by byte; what
 * travels, as `scale --record` counts it; recordings that do not fit.
 */
#include "bench/ranks.h"

/* What `scale --record` counts for one order of experts; -1 where this build does not have it. */
static json_int_t counted_bytes(const char *folder, const char *order)
{
    json_t *all = load_json(folder, "scale.json");
    size_t i;
    const json_t *entry;
    json_int_t bytes = -1;
    json_array_foreach(json_object_get(all, "orders"), i, entry)
    {
        const json_t *count = json_object_get(entry, "adaptive");
        if (strcmp(json_string_value(json_object_get(entry, "order")), order) == 0) {
            bytes = whole_number(count, "request_bytes") + whole_number(count, "result_bytes");
        }
    }
    json_decref(all);
    return bytes;
}

/* Two questions of as many tokens each, one for each rank. The run has the recording of these two; that of scale has them
 * twice, so that its first half, which places, and its second half, which is counted, are both the same again. */
static void experts_live_where_a_recording_says(void **state)
{
    const char *folder = *state;
    SKIP_WITHOUT_MPI;
    static const char *const orders[] = {"block", "load", "together"};
    json_int_t bytes[3];
    expect(run("cd %s && for i in 1 2 3 4; do sed -n 2p " WORDNET
               "; done >four && head -2 four >two && " ADAMOE " eval --model " TINY_MODEL
               " --questions four --threads 1 --record-routing r4 && " ADAMOE " eval --model " TINY_MODEL
               " --questions two --threads 1 --record-routing r2 --samples one.jsonl "
               "--json one.json",
               folder),
           0, "2 of 2");
    json_t *one = load_json(folder, "one.json");
    const json_int_t tokens = whole_number(json_object_get(one, "adamoe"), "tokens_processed") / 2;
    json_decref(one);
    for (size_t i = 0; i < sizeof orders / sizeof *orders; ++i) {
        const outcome *got = run("cd %s && " MPIRUN " -n 2 " ADAMOE " eval --model " TINY_MODEL
                                 " --questions two --threads 1 --rank-experts %s %s --samples many.jsonl "
                                 "--json many.json && cmp one.jsonl many.jsonl",
                                 folder, orders[i], i == 0 ? "" : "--rank-recording r2");
        if (i == 2 && strstr(got->text, "no METIS") != NULL) {
            expect(got, 3, "placement by co-activation: this build has no METIS");
            continue;
        }
        char place[64];
        (void)snprintf(place, sizeof place, "placement %s%s, ", orders[i], i == 0 ? "" : " of r2");
        expect(got, 0, place);
        json_t *many = load_json(folder, "many.json");
        const json_t *traffic = json_object_get(json_object_get(many, "adamoe"), "communication");
        expect(run("cd %s && " ADAMOE " scale --config " TINY_MODEL
                   "/config.json --record r4 --ranks 2 --tokens %lld "
                   "--wire %s --latency 1 --bandwidth 1 --gflops 1 --gbytes 1 --json scale.json",
                   folder, (long long)tokens,
                   json_string_value(json_object_get(traffic, "inputs_travel_as"))),
               0, "");
        bytes[i] = whole_number(traffic, "bytes");
        assert_int_equal(bytes[i], whole_number(traffic, "predicted_bytes"));
        assert_int_equal(bytes[i], counted_bytes(folder, orders[i]));
        assert_true(i == 0 || bytes[i] != bytes[0]); /* it does change what travels */
        json_decref(many);
    }
}

/* On three ranks expert 2 goes to rank 0, expert 1 to rank 1, experts 3 and 0 to rank 2: what rank 0, which has all tokens,
 * keeps are the rows of expert 2. */
static void a_layer_has_its_experts_by_load(void **state)
{
    const char *folder = *state;
    SKIP_WITHOUT_MPI;
    char path[1024];
    write_recording(folder, "r", 1, "4");
    expect(run(ADAMOE " layer " LAYER " --threads 1 -o %s/one", folder), 0, "passed");
    expect_once(run(MPIRUN
                    " -n 3 " ADAMOE " layer " LAYER
                    " --threads 1 -o %s/many --json %s/many.json --rank-experts load --rank-recording %s/r",
                    folder, folder, folder),
                0, "placement load of ");
    expect(run("cmp %s/one %s/many", folder, folder), 0, "");
    adamoe_safetensors *file = NULL;
    (void)snprintf(path, sizeof path, "%s/one", folder);
    assert_ok(adamoe_safetensors_open(path, &file));
    const adamoe_tensor *ids = adamoe_safetensors_find(file, "selected_experts");
    size_t rows = 0;
    for (size_t i = 0; i < ids->elements; ++i) {
        int64_t id;
        memcpy(&id, (const char *)ids->data + i * sizeof id, sizeof id);
        rows += id == 2;
    }
    adamoe_safetensors_close(file);
    json_t *all = load_json(folder, "many.json");
    const json_t *traffic = json_object_get(all, "communication");
    assert_int_equal(whole_number(traffic, "rows_kept"), rows);
    assert_int_equal(whole_number(traffic, "bytes"), whole_number(traffic, "predicted_bytes"));
    json_decref(all);
}

/* Before anything is prepared, and once for all ranks; as one rank is refused too. */
static void recordings_that_do_not_fit_are_refused(void **state)
{
    const char *folder = *state;
    SKIP_WITHOUT_MPI;
    static const struct {
        const char *ranks, *options, *message;
    } cases[] = {
        {"", "load", "--rank-experts load and together need --rank-recording, which goes with no other"},
        {"", "turn --rank-recording few", "--rank-experts load and together need --rank-recording"},
        {"", "load --rank-recording none", "none: open: No such file"},
        {"", "load --rank-recording few", "--rank-recording: few: 4 true experts, "},
        {MPIRUN " -n 2 ", "together --rank-recording one", "--rank-recording: one: 1 layer, "},
        {MPIRUN " -n 2 ", "load --rank-recording range",
         "--rank-recording: range: tensor selected_experts: token 13 of layer 0: expert 3: out of range"},
    };
    write_recording(folder, "few", 4, "4");
    write_recording(folder, "one", 1, "8");
    write_recording(folder, "range", 4, "3");
    write_recording(folder, "fits", 4, "8");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
        expect_once(run("cd %s && %s" EVAL " --samples s --rank-experts %s", folder, cases[i].ranks,
                        cases[i].options),
                    2, cases[i].message);
        assert_false(exists(folder, "s"));
    }
    expect_once(run("cd %s && mkdir a b && cp fits a/r && cp range b/r && " MPIRUN " -n 1 --wdir $PWD/a " EVAL
                    " --rank-experts load --rank-recording r : -n 1 --wdir $PWD/b " EVAL
                    " --rank-experts load --rank-recording r",
                    folder),
                2, "rank 1 differs from rank 0 in its recording: r with other contents");
    expect(run("cd %s && " EVAL " --rank-experts load --rank-recording fits --json fits", folder), 2,
           "--json: fits: ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(experts_live_where_a_recording_says, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(a_layer_has_its_experts_by_load, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(recordings_that_do_not_fit_are_refused, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

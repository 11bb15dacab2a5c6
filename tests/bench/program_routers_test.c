/*
 * `adamoe layer` with routers: every golden layer and every shared one through three kernels, a changed
 * expectation of each kind, and refusals.
 */
#include "program.h"
#include "routers/routers.h"
#include "safetensors/safetensors.h"

#include <glob.h>
#include <jansson.h>

#define GOLDEN(name) SOURCE_PATH("tests/golden/routers/" name ".safetensors")

static const char *const kernels[] = {"reference", "onednn-f32", "avx2-f32"};

/* ------------------------------------------------------------------------------------------------- files */

/* A file with everything changeable: tensors, and the metadata that a router reads. */
typedef struct layer_copy {
    adamoe_safetensors *file;
    adamoe_tensor *tensor;
    size_t tensors, entries;
    adamoe_metadata metadata[32];
    void *owned[4]; /* data in place of the file's */
    size_t owned_count;
} layer_copy;

static void copy_metadata(layer_copy *copy, const char *key)
{
    const char *value = adamoe_safetensors_metadata(copy->file, key);
    if (value != NULL) {
        copy->metadata[copy->entries++] = (adamoe_metadata){key, value};
    }
}

static layer_copy open_copy(const char *path)
{
    layer_copy copy = {0};
    assert_ok(adamoe_safetensors_open(path, &copy.file));
    copy.tensors = adamoe_safetensors_count(copy.file);
    copy.tensor = calloc(copy.tensors + 1, sizeof *copy.tensor);
    assert_non_null(copy.tensor);
    for (size_t i = 0; i < copy.tensors; ++i) {
        copy.tensor[i] = *adamoe_safetensors_at(copy.file, i);
    }
    copy_metadata(&copy, "router");
    copy_metadata(&copy, "capacity");
    const adamoe_router *router = adamoe_router_find(adamoe_safetensors_metadata(copy.file, "router"));
    for (size_t i = 0; i < router->parameters; ++i) {
        copy_metadata(&copy, router->parameter[i].name);
    }
    return copy;
}

static void write_copy(layer_copy *copy, const char *path)
{
    assert_ok(adamoe_safetensors_write(path, copy->tensor, copy->tensors, copy->metadata, copy->entries));
    free(copy->tensor);
    for (size_t i = 0; i < copy->owned_count; ++i) {
        free(copy->owned[i]);
    }
    adamoe_safetensors_close(copy->file);
}

static adamoe_tensor *tensor_of(layer_copy *copy, const char *name)
{
    for (size_t i = 0; i < copy->tensors; ++i) {
        if (strcmp(copy->tensor[i].name, name) == 0) {
            return &copy->tensor[i];
        }
    }
    fail_msg("no tensor %s", name);
    return NULL;
}

static void *own_data(layer_copy *copy, adamoe_tensor *tensor)
{
    const size_t bytes = tensor->elements * (tensor->dtype == ADAMOE_I64 ? 8 : 4);
    void *data = malloc(bytes + 1);
    assert_non_null(data);
    memcpy(data, tensor->data, bytes);
    tensor->data = copy->owned[copy->owned_count++] = data;
    return data;
}

static void set_metadata(layer_copy *copy, const char *key, const char *value)
{
    for (size_t i = 0; i < copy->entries; ++i) {
        if (strcmp(copy->metadata[i].key, key) == 0) {
            copy->metadata[i].value = value;
            return;
        }
    }
    copy->metadata[copy->entries++] = (adamoe_metadata){key, value};
}

/* ------------------------------------------------------------------------------------- all layers pass */

/* Returns how many files of a pattern passed; kernels that cannot run here are left out, and named. */
static size_t all_pass(const char *pattern)
{
    glob_t found;
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    for (size_t k = 0; k < sizeof kernels / sizeof *kernels; ++k) {
        for (size_t i = 0; i < found.gl_pathc; ++i) {
            const outcome *got =
                run(ADAMOE " layer '%s' --kernel %s --threads 2", found.gl_pathv[i], kernels[k]);
            if (got->code == 3) {
                print_message("left out: %s", got->text);
                break;
            }
            expect(got, 0, "passed expected.output by the kernel");
            assert_null(strstr(got->text, "FAILED"));
        }
    }
    const size_t count = found.gl_pathc;
    globfree(&found);
    return count;
}

static void golden_layers_pass(void **state)
{
    (void)state;
    assert_true(all_pass(GOLDEN("*")) >= 21);
}

static void shared_layers_pass(void **state)
{
    (void)state;
    SKIP_WITHOUT(SHARED_PATH("oracle/routers"));
    const size_t count = all_pass(SHARED_PATH("oracle/routers/*.safetensors"));
    print_message("%zu shared layers\n", count);
    assert_true(count >= 43);
}

/* A router that is added without a golden layer is a router without a test. */
static void every_router_has_a_golden_layer(void **state)
{
    (void)state;
    size_t count = 0;
    for (; adamoe_router_at(count) != NULL; ++count) {
        const char *name = adamoe_router_at(count)->name;
        expect(run(ADAMOE " layer '%s/%s.safetensors' --kernel reference",
                   SOURCE_PATH("tests/golden/routers"), name),
               0, "\nkernel reference: 10 tokens");
    }
    assert_true(count >= 17);
}

static void results_are_written(void **state)
{
    json_error_t error;
    const folder_path path = in_folder(state, "out.safetensors");
    const outcome *got = run(ADAMOE " layer '%s' --kernel reference --json - -o '%s'",
                             GOLDEN("moe_plus_plus_capacity"), path.text);
    json_t *document = json_loads(got->text, 0, &error);
    assert_non_null(document);
    assert_string_equal(json_string_value(json_object_get(document, "router")), "moe_plus_plus");
    const json_t *parameters = json_object_get(document, "parameters");
    assert_true(json_number_value(json_object_get(parameters, "capacity_factor")) == 1.6);
    assert_string_equal(json_string_value(json_object_get(parameters, "norm")), "none");
    assert_true(json_integer_value(json_object_get(document, "rejected")) > 0);
    assert_true(json_number_value(json_object_get(json_object_get(document, "losses"), "balance")) > 0.0);
    const json_t *comparisons = json_object_get(document, "comparisons");
    size_t named = 0, i;
    const json_t *entry;
    json_array_foreach(comparisons, i, entry)
    {
        const char *name = json_string_value(json_object_get(entry, "name"));
        named += strcmp(name, "expected.constant_weight") == 0 || strcmp(name, "expected.rejected") == 0;
        assert_true(json_is_true(json_object_get(entry, "passed")));
    }
    assert_int_equal(named, 2);
    json_decref(document);

    adamoe_safetensors *file = NULL;
    assert_ok(adamoe_safetensors_open(path.text, &file));
    assert_non_null(adamoe_safetensors_find(file, "output"));
    assert_non_null(adamoe_safetensors_find(file, "loss.balance"));
    const adamoe_tensor *index = adamoe_safetensors_find(file, "index");
    assert_true(index != NULL && index->dtype == ADAMOE_I64 && index->shape[1] == 3);
    adamoe_safetensors_close(file);
}

/* ---------------------------------------------------------------------------------- a changed expectation */

/* Element `at` becomes another: a count one more, a number two thousandths of the largest magnitude more. */
static void change_element(layer_copy *copy, adamoe_tensor *tensor, size_t at)
{
    void *data = own_data(copy, tensor);
    if (tensor->dtype == ADAMOE_I64) {
        ((int64_t *)data)[at] += 1;
        return;
    }
    float largest = 0.0f, *values = data;
    for (size_t i = 0; i < tensor->elements; ++i) {
        largest = fmaxf(largest, fabsf(values[i]));
    }
    values[at] += 0.002f * (largest > 0.0f ? largest : 1.0f);
}

static size_t change_each_expectation(void **state, const char *path)
{
    adamoe_safetensors *file = NULL;
    size_t changed = 0;
    assert_ok(adamoe_safetensors_open(path, &file));
    for (size_t i = 0; i < adamoe_safetensors_count(file); ++i) {
        const adamoe_tensor *original = adamoe_safetensors_at(file, i);
        if (strncmp(original->name, "expected.", 9) != 0 || original->elements == 0) {
            continue;
        }
        const folder_path to = in_folder(state, "changed.safetensors");
        layer_copy copy = open_copy(path);
        change_element(&copy, tensor_of(&copy, original->name), original->elements - 1);
        write_copy(&copy, to.text);
        char failed[128];
        (void)snprintf(failed, sizeof failed, "FAILED %s: ", original->name);
        expect(run(ADAMOE " layer '%s' --kernel reference", to.text), 1, failed);
        ++changed;
    }
    adamoe_safetensors_close(file);
    return changed;
}

static void every_changed_expectation_is_named(void **state)
{
    glob_t found;
    size_t changed = 0;
    assert_int_equal(glob(GOLDEN("*"), 0, NULL, &found), 0);
    for (size_t i = 0; i < found.gl_pathc; ++i) {
        changed += change_each_expectation(state, found.gl_pathv[i]);
    }
    globfree(&found);
    print_message("%zu expectations changed\n", changed);
    assert_true(changed >= 200);
}

static void what_differs_is_said(void **state)
{
    const folder_path path = in_folder(state, "layer.safetensors");
    layer_copy copy = open_copy(GOLDEN("softmax_token_choice"));
    set_metadata(&copy, "capacity", "5");
    write_copy(&copy, path.text);
    expect(run(ADAMOE " layer '%s' --kernel reference", path.text), 1, "FAILED capacity: got 4, expected 5");
    expect(run(ADAMOE " layer '%s' --kernel reference --top-k 1", path.text), 1,
           "FAILED expected.choice: got 10 elements, expected 20");
    expect(run(ADAMOE " layer '%s' --kernel reference --top-k 1", path.text), 1,
           "first difference: got token ");
    expect(run(ADAMOE " layer '%s' --kernel reference --null-kind zero", path.text), 2,
           "null_kind: router softmax_token_choice has no such parameter");
    copy = open_copy(GOLDEN("top_p"));
    tensor_of(&copy, "expected.number")->name = "expected.numbers";
    write_copy(&copy, path.text);
    expect(run(ADAMOE " layer '%s'", path.text), 2,
           "tensor expected.numbers: router top_p computes no such thing");
}

/* ----------------------------------------------------------------------------------------------- refusals */

typedef struct bad_parameter {
    const char *layer, *key, *value, *message;
} bad_parameter;

#define FOLDER SOURCE_PATH("tests/golden/routers/")

static const bad_parameter bad_parameters[] = {
    {"softmax_token_choice", "capacity_factor", "0", "capacity_factor: 0 is not a number above 0"},
    {"softmax_token_choice", "capacity_factor", "-1", "capacity_factor: -1 is not a number above 0"},
    {"softmax_token_choice", "capacity_factor", "nan", "capacity_factor: \"nan\" is no number"},
    {"softmax_token_choice", "capacity_factor", "1e999", "capacity_factor: inf is not a number above 0"},
    {"softmax_token_choice", "top_k", "5", "top_k: 5 is not within 1 .. 4"},
    {"softmax_token_choice", "top_k", "0", "top_k: 0 is not a whole number of at least 1"},
    {"softmax_token_choice", "top_k", "1.5", "top_k: 1.5 is not a whole number of at least 1"},
    {"softmax_token_choice", "batch_priority", "yes", "batch_priority: \"yes\" is no number"},
    {"softmax_token_choice", "batch_priority", "2", "batch_priority: 2 is not a whole number within [0, 1]"},
    {"softmax_token_choice", "router", "softmax", "__metadata__: router: no router is called softmax"},
    {"sinkhorn_token_choice", "epsilon", "0", "epsilon: 0 is not a number above 0"},
    {"sinkhorn_token_choice", "epsilon", "-0.5", "epsilon: -0.5 is not a number above 0"},
    {"sinkhorn_token_choice", "epsilon", "1e-30", "epsilon: 1e-30: Sinkhorn overflows: the plan of token "},
    {"sinkhorn_expert_choice", "epsilon", "1e-310",
     "epsilon: 1e-310: Sinkhorn overflows: the plan of token "},
    {"sinkhorn_expert_choice", "iterations", "0", "iterations: 0 is not a whole number within [1, 1e+06]"},
    {"softmax_expert_choice", "capacity_factor", "0", "capacity_factor: 0 is not a number above 0"},
    {"sparse_expert_choice", "gamma", "0", "gamma: 0 is not a number above 0"},
    {"sparse_expert_choice", "gamma", "1e-320", "gamma, learning_rate: 9.99988867e-321, "},
    {"sparse_expert_choice", "gamma", "1e-300",
     "gamma, learning_rate: 1e-300, 0.02: the plan overflows: expert 0 holds "},
    {"sparse_expert_choice", "learning_rate", "1e308", "gamma, learning_rate: "},
    {"locmoe_plus", "temperature", "1e-320", "temperature: 9.99988867e-321: the affinity of token "},
    {"memoe", "lambda", "1e39", "token 0: the weight of expert "},
    {"loss_free", "scale", "1e39", "token 0: the weight of expert "},
    {"longcat", "scale", "1e39", "token 0: the weight of expert "},
    {"soft_moe", "slots", "0", "slots: 0 is not a whole number of at least 1"},
    {"soft_moe", "slots", "3", "tensor router.phi: shape [8, 8] where [12, 8] is expected"},
    {"soft_moe", "slots", "4294967295", "slots: 4.2949673e+09 of each expert are more than 32 bits count"},
    {"locmoe", "nodes", "3", "nodes: 3 do not divide 4 experts"},
    {"locmoe", "nodes", "1", "tensor router.home: element 0: 1 is not within 0 .. 0"},
    {"locmoe", "delta", "1", "delta: 1 is not a number within [0, 1)"},
    {"locmoe", "eta", "0", "eta: 0 is not a number within (0, 1]"},
    {"locmoe_plus", "affinity_share", "0", "affinity_share: 0 is not a number within (0, 1]"},
    {"locmoe_plus", "capacity_rule", "none", "capacity_rule: \"none\" is none of factor|bound"},
    {"locmoe_plus", "temperature", "0", "temperature: 0 is not a number above 0"},
    {"memoe", "anchors", "3", "anchors: 3, but the tensors have 2"},
    {"memoe", "top_k", "5", "top_k: 5 is not within 1 .. 4"},
    {"top_p", "tau", "0", "tau: 0 is not a number within (0, 1]"},
    {"top_p", "tau", "1.01", "tau: 1.01 is not a number within (0, 1]"},
    {"top_p", "most", "5", "most: 5 is not within 1 .. 4"},
    {"loss_free", "groups", "3", "groups: 3 do not divide 4 experts"},
    {"loss_free", "groups_kept", "3", "groups_kept: 3 is not within 1 .. 2"},
    {"loss_free", "top_k", "3", "top_k: 3 is not within 1 .. 2"},
    {"loss_free", "score", "relu", "score: \"relu\" is none of sigmoid|softmax"},
    {"longcat", "groups", "3", "groups: 3 do not divide 4 experts"},
    {"longcat", "expected_k", "3", "expected_k: 3 is not below top_k, 3"},
    {"longcat", "identity", "3", "identity: 3, but the tensors have 2"},
    {"moe_plus_plus", "zero", "2", "constant, copy, zero: 2, 1 and 2 are not the 4 rows of gate2"},
    {"moe_plus_plus", "previous", "0",
     "tensor router.residual.weight: router moe_plus_plus does not read it"},
    {"moe_plus_plus_capacity", "previous", "1", "tensor router.residual.weight: missing"},
    {"moe_plus_plus_capacity", "capacity_factor", "0", "capacity_factor: 0 is not a number above 0"},
    {"null_copies", "rho", "0", "rho: 0 is not a number within (0, 1]"},
    {"null_copies", "rho", "1e-9", "rho: 1e-09 asks for 4e+09 null copies, more than 1048576"},
    {"null_copies", "top_k", "9", "top_k: 9 is not within 1 .. 7"},
    {"remoe", "target_k", "4.5", "target_k: 4.5 is above 4 experts"},
    {"remoe", "multiplier", "0.5", "multiplier: 0.5 is not a number of at least 1"},
    {"adamoe", "top_k", "9", "top_k: 9 is not within 1 .. 8"},
    {"top_p", "taus", "0.6", "__metadata__: taus: router top_p has no such parameter"},
    {"locmoe", "top_k", "2", "__metadata__: top_k: router locmoe has no such parameter"},
};

/* What writers add says nothing of the router. */
static void notes_are_accepted(void **state)
{
    const folder_path to = in_folder(state, "noted.safetensors");
    layer_copy copy = open_copy(GOLDEN("top_p"));
    set_metadata(&copy, "format", "pt");
    write_copy(&copy, to.text);
    expect(run(ADAMOE " layer '%s' --kernel reference", to.text), 0, "passed expected.output");
}

static void bad_parameters_are_refused(void **state)
{
    for (size_t i = 0; i < sizeof bad_parameters / sizeof *bad_parameters; ++i) {
        const bad_parameter *bad = &bad_parameters[i];
        const folder_path to = in_folder(state, "bad.safetensors");
        char from[512], message[1024];
        (void)snprintf(from, sizeof from, "%s%s.safetensors", FOLDER, bad->layer);
        (void)snprintf(message, sizeof message, "adamoe layer: %s: %s", to.text, bad->message);
        layer_copy copy = open_copy(from);
        set_metadata(&copy, bad->key, bad->value);
        write_copy(&copy, to.text);
        expect(run(ADAMOE " layer '%s' --kernel reference", to.text), 2, message);
    }
}

/* Each parameter without a default, and each tensor that is no expectation, is missed. */
static void what_is_missing_is_named(void **state)
{
    glob_t found;
    size_t missed = 0;
    assert_int_equal(glob(GOLDEN("*"), 0, NULL, &found), 0);
    for (size_t f = 0; f < found.gl_pathc; ++f) {
        const folder_path to = in_folder(state, "less.safetensors");
        layer_copy copy = open_copy(found.gl_pathv[f]);
        const size_t tensors = copy.tensors;
        const adamoe_router *router = adamoe_router_find(copy.metadata[0].value);
        write_copy(&copy, to.text);
        for (size_t i = 0; i < tensors; ++i) {
            copy = open_copy(found.gl_pathv[f]);
            char message[256];
            (void)snprintf(message, sizeof message, "%s: missing", copy.tensor[i].name);
            const bool is_input = strncmp(copy.tensor[i].name, "expected.", 9) != 0;
            copy.tensor[i] = copy.tensor[--copy.tensors];
            write_copy(&copy, to.text);
            if (is_input) {
                expect(run(ADAMOE " layer '%s' --kernel reference", to.text), 2, message);
                ++missed;
            }
        }
        for (size_t p = 0; p < router->parameters; ++p) {
            if (router->parameter[p].need == ADAMOE_PARAMETER_REQUIRED) {
                copy = open_copy(found.gl_pathv[f]);
                char message[128];
                (void)snprintf(message, sizeof message, ": %s: missing, and it has no default",
                               router->parameter[p].name);
                for (size_t e = 0; e < copy.entries; ++e) {
                    if (strcmp(copy.metadata[e].key, router->parameter[p].name) == 0) {
                        copy.metadata[e] = copy.metadata[--copy.entries];
                        break;
                    }
                }
                write_copy(&copy, to.text);
                expect(run(ADAMOE " layer '%s' --kernel reference", to.text), 2, message);
                ++missed;
            }
        }
    }
    globfree(&found);
    print_message("%zu things missed\n", missed);
    assert_true(missed >= 250);
}

static void expect_refusal(void **state, layer_copy *copy, const char *message)
{
    const folder_path to = in_folder(state, "wrong.safetensors");
    write_copy(copy, to.text);
    expect(run(ADAMOE " layer '%s' --kernel reference", to.text), 2, message);
}

static void wrong_tensors_are_refused(void **state)
{
    layer_copy copy = open_copy(GOLDEN("memoe"));
    ((int64_t *)own_data(&copy, tensor_of(&copy, "router.anchor_id")))[4] = 2;
    expect_refusal(state, &copy, "tensor router.anchor_id: element 4: 2 is not within -1 .. 1");
    copy = open_copy(GOLDEN("memoe"));
    ((int64_t *)own_data(&copy, tensor_of(&copy, "router.anchor_id")))[9] = -2;
    expect_refusal(state, &copy, "tensor router.anchor_id: element 9: -2 is not within -1 .. 1");
    copy = open_copy(GOLDEN("locmoe"));
    ((int64_t *)own_data(&copy, tensor_of(&copy, "router.home")))[1] = 2;
    expect_refusal(state, &copy, "tensor router.home: element 1: 2 is not within 0 .. 1");
    copy = open_copy(GOLDEN("locmoe_plus"));
    tensor_of(&copy, "router.home")->dtype = ADAMOE_F32;
    tensor_of(&copy, "router.home")->shape[0] = 10;
    expect_refusal(state, &copy, "tensor router.home: dtype F32 where I64 is expected");
    copy = open_copy(GOLDEN("loss_free"));
    tensor_of(&copy, "router.bias")->shape[0] = tensor_of(&copy, "router.bias")->elements = 3;
    expect_refusal(state, &copy, "tensor router.bias: shape [1, 3] where [1, 4] is expected");
    copy = open_copy(GOLDEN("top_p"));
    ((float *)own_data(&copy, tensor_of(&copy, "hidden_states")))[3] = (float)NAN;
    expect_refusal(state, &copy, "tensor hidden_states: ");
    copy = open_copy(GOLDEN("top_p"));
    ((float *)own_data(&copy, tensor_of(&copy, "block_sparse_moe.gate.weight")))[8] = 3e38f;
    ((float *)own_data(&copy, tensor_of(&copy, "hidden_states")))[0] = 3e38f;
    expect_refusal(state, &copy, "token 0: logit of expert 1 is infinite");
    copy = open_copy(GOLDEN("loss_free"));
    tensor_of(&copy, "router.bias")->name = "router.biases";
    expect_refusal(state, &copy, "tensor router.bias: missing");
    copy = open_copy(GOLDEN("top_p"));
    copy.tensor[copy.tensors++] = (adamoe_tensor){
        .name = "router.bias", .dtype = ADAMOE_F32, .rank = 1, .shape = {1}, .elements = 1, .data = "abc"};
    expect_refusal(state, &copy, "tensor router.bias: router top_p does not read it");
    copy = open_copy(GOLDEN("top_p"));
    tensor_of(&copy, "block_sparse_moe.experts.1.w1.weight")->name = "block_sparse_moe.experts.9.w1.weight";
    expect_refusal(state, &copy, "tensor block_sparse_moe.experts.");
}

/* Affinities are cosines, whatever the size of a hidden state: what overflows is the experts' output, and that is said. */
static void an_output_beyond_float32_is_not_judged(void **state)
{
    layer_copy copy = open_copy(GOLDEN("locmoe_plus"));
    adamoe_tensor *states = tensor_of(&copy, "hidden_states");
    float *x = own_data(&copy, states);
    for (size_t i = 0; i < states->elements; ++i) {
        x[i] = i % 2 == 0 ? 3e38f : 1e38f;
    }
    size_t kept = 0;
    for (size_t i = 0; i < copy.tensors; ++i) {
        if (strncmp(copy.tensor[i].name, "expected.", strlen("expected.")) != 0) {
            copy.tensor[kept++] = copy.tensor[i];
        }
    }
    copy.tensors = kept;
    const folder_path to = in_folder(state, "large.safetensors");
    write_copy(&copy, to.text);
    expect(run(ADAMOE " layer '%s' --kernel reference", to.text), 0, "vacuous output of the kernel");
    expect(run(ADAMOE " layer '%s'", to.text), 0, "vacuous output of the kernel");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_layers_pass),
        cmocka_unit_test(shared_layers_pass),
        cmocka_unit_test(every_router_has_a_golden_layer),
        cmocka_unit_test_setup_teardown(results_are_written, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(every_changed_expectation_is_named, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(what_differs_is_said, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(bad_parameters_are_refused, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(notes_are_accepted, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(what_is_missing_is_named, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(wrong_tensors_are_refused, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(an_output_beyond_float32_is_not_judged, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * The program on a tiny model of each family (tests/golden/families/make.py), as a user runs it: eval, generate,
 * conversion to null experts, adapters of the gates and what they leave behind, and refusals.
 */
#include "program.h"
#include "safetensors/safetensors.h"

#define FOLDER SOURCE_PATH("tests/golden/families")

#define LIMIT " --questions " QUESTIONS " --limit 6"

/* A folder with the model of a family and the tokenizer of all of them. */
static folder_path family(void **state, const char *name)
{
    const folder_path folder = in_folder(state, name);
    expect(run("mkdir '%s' && cp '" FOLDER "/%s/config.json' '" FOLDER "/%s/model.safetensors' '" FOLDER
               "/tokenizer.json' '%s' && echo copied",
               folder.text, name, name, folder.text),
           0, "copied");
    return folder;
}

static void test_eval_and_generate(void **state)
{
    static const char *const names[] = {"llama_linear", "llama_llama3", "mistral",   "qwen2",
                                        "qwen3",        "olmoe",        "qwen3_moe", "qwen2_moe",
                                        "granite_moe",  "granite_bias"};
    for (size_t i = 0; i < sizeof names / sizeof *names; ++i) {
        const folder_path folder = family(state, names[i]);
        expect(run(ADAMOE " eval --model '%s'" LIMIT, folder.text), 0, "acc");
        expect(run(ADAMOE " generate --model '%s' --prompt 'the ' --tokens 4", folder.text), 0, "the ");
    }
}

/* With copies of the gate's rows and a k in the range of reference/README.md section 2.1 a model computes what it did:
 * the samples of both are equal but for the load. */
static void test_null_experts(void **state)
{
    static const struct conversion {
        const char *name, *options;
        size_t null_experts, top_k;
        bool same;
    } conversions[] = {{"qwen3_moe", "", 8, 5, true},
                       {"granite_moe", "", 8, 6, true},
                       {"olmoe", "", 16, 7, true},
                       {"qwen2_moe", "", 6, 4, true},
                       {"qwen2_moe", "--norm none", 6, 4, false}};
    for (size_t i = 0; i < sizeof conversions / sizeof *conversions; ++i) {
        const struct conversion *c = &conversions[i];
        (void)run("rm -rf '%s'", in_folder(state, c->name).text);
        const folder_path folder = family(state, c->name), vanilla = in_folder(state, "vanilla.jsonl"),
                          converted = in_folder(state, "converted.jsonl");
        expect(run(ADAMOE " eval --model '%s' --samples '%s'" LIMIT, folder.text, vanilla.text), 0, "acc");
        expect(run(ADAMOE " eval --model '%s' --null-experts %zu --top-k %zu %s --samples '%s'" LIMIT,
                   folder.text, c->null_experts, c->top_k, c->options, converted.text),
               0, "load");
        expect(run("sed 's/, \"load\".*//' '%s' > '%s.a'; sed 's/, \"load\".*//' '%s' > '%s.b'; "
                   "cmp '%s.a' '%s.b' && echo equal || echo different",
                   vanilla.text, folder.text, converted.text, folder.text, folder.text, folder.text),
               0, c->same ? "equal" : "different");
    }
}

/* Adapters of gate, gate2 and the experts: the folder that comes of it has the tensors of its family, can be evaluated,
 * and differs from its base in what is adapted alone. */
static void test_adapters(void **state)
{
    static const struct tuning {
        const char *name, *options, *adapted, *frozen;
    } tunings[] = {
        {"olmoe", "--null-experts 8 --top-k 5", "model.layers.1.mlp.gate.weight",
         "model.layers.1.self_attn.q_norm.weight"},
        {"qwen3_moe", "", "model.layers.0.mlp.experts.3.down_proj.weight",
         "model.layers.0.self_attn.k_norm.weight"},
        {"qwen2_moe", "", "model.layers.0.mlp.gate.weight",
         "model.layers.0.mlp.shared_expert.up_proj.weight"},
        {"granite_moe", "--null-experts 8 --top-k 6", "model.layers.1.block_sparse_moe.output_linear.weight",
         "model.layers.1.self_attn.o_proj.weight"},
    };
    for (size_t i = 0; i < sizeof tunings / sizeof *tunings; ++i) {
        const struct tuning *t = &tunings[i];
        const folder_path base = family(state, t->name), tuned = in_folder(state, "tuned");
        expect(run(ADAMOE " train --model '%s' --questions " QUESTIONS
                          " --limit 6 --steps 4 --lora 2 --learning-rate 0.01 %s -o '%s'",
                   base.text, t->options, tuned.text),
               0, "step 4/4");
        expect(run(ADAMOE " eval --model '%s'" LIMIT, tuned.text), 0, "acc");
        adamoe_safetensors *before = NULL, *after = NULL;
        char path[1024];
        (void)snprintf(path, sizeof path, "%s/model.safetensors", base.text);
        assert_ok(adamoe_safetensors_open(path, &before));
        (void)snprintf(path, sizeof path, "%s/model.safetensors", tuned.text);
        assert_ok(adamoe_safetensors_open(path, &after));
        const char *const names[] = {t->frozen, t->adapted};
        for (size_t j = 0; j < 2; ++j) {
            const adamoe_tensor *a = adamoe_safetensors_find(before, names[j]);
            const adamoe_tensor *b = adamoe_safetensors_find(after, names[j]);
            assert_non_null(a);
            assert_non_null(b);
            assert_int_equal(a->dtype, ADAMOE_BF16);
            assert_int_equal(b->dtype, ADAMOE_BF16);
            assert_int_equal(a->elements, b->elements);
            assert_int_equal(memcmp(a->data, b->data, a->elements * 2) != 0, j);
        }
        adamoe_safetensors_close(before);
        adamoe_safetensors_close(after);
        expect(run("rm -r '%s' && echo removed", tuned.text), 0, "removed");
    }
}

/* All weights of a dense one with norms or biases; stacks that come back as they were. */
static void test_full_training(void **state)
{
    static const char *const names[] = {"qwen2",       "qwen3",        "mistral",
                                        "granite_moe", "granite_bias", "olmoe_clip"};
    for (size_t i = 0; i < sizeof names / sizeof *names; ++i) {
        const folder_path base = family(state, names[i]);
        expect(run(ADAMOE " train --model '%s' --questions " QUESTIONS
                          " --limit 4 --steps 2 --learning-rate 1e-30 -o '%s.tuned'",
                   base.text, base.text),
               0, "step 2/2");
        expect(run("" ADAMOE " eval --model '%s' --samples '%s.a'" LIMIT " > '%s.log' && " ADAMOE
                   " eval --model '%s.tuned' --samples '%s.b'" LIMIT
                   " > '%s.log' && cmp '%s.a' '%s.b' && echo equal",
                   base.text, base.text, base.text, base.text, base.text, base.text, base.text, base.text),
               0, "equal");
    }
}

/* Experts on a frozen base with biases, or with norms of queries and keys. */
static void test_experts_on_a_base(void **state)
{
    static const char *const names[] = {"qwen2", "qwen3", "llama_bias"};
    for (size_t i = 0; i < sizeof names / sizeof *names; ++i) {
        const folder_path base = family(state, names[i]);
        expect(run(ADAMOE " train --model '%s' --questions " QUESTIONS
                          " --limit 4 --steps 2 --lora-experts 2 --null-experts 2 --top-k 2 -o '%s.lora'",
                   base.text, base.text),
               0, "step 2/2");
        expect(run(ADAMOE " eval --model '%s.lora'" LIMIT " --samples '%s.samples'", base.text, base.text), 0,
               "load");
    }
}

static void test_refusals(void **state)
{
    static const struct refusal {
        const char *name, *message;
    } refusals[] = {
        {"granite_moe", "LoRA experts: the base is not a dense model"},
        {"qwen2_moe", "LoRA experts: the base is not a dense model"},
    };
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; ++i) {
        const folder_path base = family(state, refusals[i].name), out = in_folder(state, "out");
        expect(run(ADAMOE " train --model '%s' --questions " QUESTIONS
                          " --limit 4 --steps 1 --lora-experts 2 -o '%s'",
                   base.text, out.text),
               2, refusals[i].message);
        assert_false(exists(out.text, "log.jsonl"));
    }
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_eval_and_generate), IN_FOLDER(test_null_experts), IN_FOLDER(test_adapters),
        IN_FOLDER(test_full_training),     IN_FOLDER(test_refusals),     IN_FOLDER(test_experts_on_a_base),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

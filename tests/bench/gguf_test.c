/*
 * datasets/convert/from_gguf.py: GGUF files of every family, written as llama.cpp's converter does and converted back
 * (tests/golden/gguf/round_trip.py), and the program on what came back. Needs Python with the packages gguf,
 * tokenizers, safetensors and NumPy, as $ADAMOE_PYTHON or python3.
 */
#include "program.h"

#define FAMILIES   SOURCE_PATH("tests/golden/families")
#define ROUND_TRIP SHELL_WORD(SOURCE_PATH("tests/golden/gguf/round_trip.py"))
#define FROM_GGUF  SHELL_WORD(SOURCE_PATH("datasets/convert/from_gguf.py"))
#define LIMIT      " --questions " QUESTIONS " --limit 3 --kernel reference"

static const char *python(void)
{
    const char *named = getenv("ADAMOE_PYTHON");
    return named == NULL ? "python3" : named;
}

static bool has_packages(void)
{
    return run("'%s' -c 'import gguf, numpy, safetensors.numpy, tokenizers'", python())->code == 0;
}

#define SKIP_WITHOUT_PACKAGES()                                                                              \
    do {                                                                                                     \
        if (!has_packages()) {                                                                               \
            print_message("skipped: %s has not the packages gguf, tokenizers, safetensors and numpy\n",      \
                          python());                                                                         \
            skip();                                                                                          \
        }                                                                                                    \
    } while (0)

/* Weights that GGUF holds exactly: the program computes to the last bit what it does from the model's own folder. */
static void assert_same_samples(void **state, const char *name)
{
    const folder_path ours = in_folder(state, "ours.jsonl"), own = in_folder(state, "own.jsonl");
    const folder_path made = in_folder(state, "made"), model = in_folder(state, "model");
    expect(run("rm -rf '%s' && mkdir '%s' && cp '" FAMILIES "/%s/config.json' '" FAMILIES
               "/%s/model.safetensors' '" FAMILIES "/tokenizer.json' '%s'",
               model.text, model.text, name, name, model.text),
           0, "");
    expect(run(ADAMOE " eval --model '%s/%s.exact' --samples '%s'" LIMIT, made.text, name, ours.text), 0,
           "acc");
    expect(run(ADAMOE " eval --model '%s' --samples '%s'" LIMIT, model.text, own.text), 0, "acc");
    expect(run("cmp '%s' '%s' && echo equal", ours.text, own.text), 0, "equal");
    expect(run(ADAMOE " eval --model '%s/%s.quantised'" LIMIT, made.text, name), 0, "acc");
}

static void folders_compute_what_the_models_do(void **state)
{
    static const char *const names[] = {"llama_linear", "mistral",   "qwen2",     "qwen3",
                                        "olmoe",        "qwen3_moe", "qwen2_moe", "granite_moe"};
    SKIP_WITHOUT_PACKAGES();
    const folder_path made = in_folder(state, "made");
    expect(run("'%s' " ROUND_TRIP " '%s'", python(), made.text), 0, "kquants: Q2_K, Q3_K, Q4_K, Q5_K, Q6_K");
    for (size_t i = 0; i < sizeof names / sizeof *names; ++i) {
        assert_same_samples(state, names[i]);
    }
    expect(run(ADAMOE " eval --model '%s/kquants'" LIMIT, made.text), 0, "acc");
    static const char *const kinds[] = {"gpt-2", "smollm", "refact", "olmo", "qwen2", "llama-bpe", "llama"};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; ++i) {
        expect(run("echo \"it's  12 o'clock\" | " ADAMOE " tokenize --model '%s/tokenizer.%s'", made.text,
                   kinds[i]),
               0, "");
    }
}

static void what_cannot_be_made_is_refused(void **state)
{
    SKIP_WITHOUT_PACKAGES();
    const folder_path file = in_folder(state, "x.gguf"), out = in_folder(state, "out");
    expect(run("'%s' " FROM_GGUF " '%s' --gguf /absent.gguf", python(), out.text), 2,
           "/absent.gguf: No such file");
    write_bytes(file.text, "GGUF\x03", 5);
    expect(run("'%s' " FROM_GGUF " '%s' --gguf '%s'", python(), out.text, file.text), 2,
           "x.gguf: no GGUF file, or damaged");
    static const struct edit {
        const char *code, *reason;
    } edits[] = {
        {"w.add_tensor(\"blk.0.attn_q.bias\", n.zeros(32, n.float32))",
         "blk.0.attn_q.bias: unexpected tensor"},
        {"w.add_uint32(\"llama.expert_shared_count\", 1)", "llama.expert_shared_count: not implemented"},
        {"w.add_string(\"llama.rope.scaling.type\", \"yarn\")", "'yarn' is not implemented"},
        {"w.add_uint32(\"llama.rope.dimension_count\", 4)", "rope.dimension_count: is not the head's 16"},
        {"", "blk.0.attn_norm.weight: missing"},
    };
    for (size_t i = 0; i < sizeof edits / sizeof *edits; ++i) {
        expect(
            run("'%s' -c 'import gguf, numpy as n\nw = gguf.GGUFWriter(\"%s\", \"llama\")\n"
                "w.add_context_length(8); w.add_embedding_length(32); w.add_block_count(1); w.add_head_count(2)\n"
                "w.add_layer_norm_rms_eps(1e-5); w.add_tensor(\"token_embd.weight\", n.zeros((4, 32), n.float32))\n"
                "w.add_tensor(\"blk.0.ffn_gate.weight\", n.zeros((8, 32), n.float32))\n"
                "w.add_tensor(\"output_norm.weight\", n.zeros(32, n.float32))\n%s\n"
                "%s\nw.write_header_to_file(); w.write_kv_data_to_file(); w.write_tensors_to_file(); w.close()'",
                python(), file.text, edits[i].code,
                i != 0
                    ? ""
                    : "for t, r in ((\"attn_norm\", ()), (\"ffn_norm\", ()), (\"attn_q\", (32,)), (\"attn_k\", "
                      "(32,)), (\"attn_v\", (32,)), (\"attn_output\", (32,)), (\"ffn_up\", (8,))): "
                      "w.add_tensor(f\"blk.0.{t}.weight\", n.zeros((*r, 32), n.float32))\n"
                      "w.add_tensor(\"blk.0.ffn_down.weight\", n.zeros((32, 8), n.float32))"),
            0, "");
        expect(run("'%s' " FROM_GGUF " '%s' --gguf '%s' --tokenizer '" FAMILIES "/tokenizer.json'", python(),
                   out.text, file.text),
               2, edits[i].reason);
        assert_false(exists((const char *)*state, "out"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(folders_compute_what_the_models_do, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(what_cannot_be_made_is_refused, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

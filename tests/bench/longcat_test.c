/*
 * datasets/convert/longcat_layer.py and `adamoe layer': the expert layers of a tiny LongCat-Flash model compute what
 * Hugging Face transformers does (tests/golden/longcat/make.py). Needs python3, without packages.
 */
#include "program.h"

#define FOLDER  SOURCE_PATH("tests/golden/longcat")
#define CONVERT "python3 " SHELL_WORD(SOURCE_PATH("datasets/convert/longcat_layer.py"))

#define SKIP_WITHOUT_PYTHON()                                                                                \
    do {                                                                                                     \
        if (run("python3 -c pass")->code != 0) {                                                             \
            print_message("skipped: there is no python3\n");                                                 \
            skip();                                                                                          \
        }                                                                                                    \
    } while (0)

static void layers_compute_what_transformers_does(void **state)
{
    static const char *const kernels[] = {"reference", "onednn-f32", "avx2-f32"};
    SKIP_WITHOUT_PYTHON();
    const folder_path layer = in_folder(state, "layer.safetensors");
    for (int i = 0; i < 2; ++i) {
        expect(run(CONVERT " '" FOLDER "' %d %s --states '" FOLDER "/layer%d.safetensors'", i, layer.text, i),
               0, "3 identity experts, top-4, scale 6.0");
        for (size_t k = 0; k < sizeof kernels / sizeof *kernels; ++k) {
            const outcome *got = run(ADAMOE " layer %s --kernel %s", layer.text, kernels[k]);
            if (got->code == 3) {
                print_message("left out: %s", got->text);
                continue;
            }
            expect(got, 0, "passed expected.output by the kernel");
            expect(got, 0, "passed expected.choice");
            expect(got, 0, "passed expected.logits");
        }
    }
    expect(run(CONVERT " '" FOLDER "' 0 %s --tokens 5 --seed 3", layer.text), 0, "layer 0");
    expect(run(ADAMOE " layer %s", layer.text), 0, "5 tokens, hidden size 16");
}

/* A weight that stood elsewhere, or were left out, would be seen. */
static void what_is_expected_depends_on_all(void **state)
{
    static const char *const edits[] = {"scale=5.5", "top_k=3", "bias", "gate2", "w3"};
    SKIP_WITHOUT_PYTHON();
    const folder_path layer = in_folder(state, "layer.safetensors");
    for (size_t i = 0; i < sizeof edits / sizeof *edits; ++i) {
        expect(run(CONVERT " '" FOLDER "' 0 %s --states '" FOLDER "/layer0.safetensors'", layer.text), 0, "");
        expect(run("python3 -c 'import json,sys\n"
                   "b = open(sys.argv[1], \"rb\").read(); n = int.from_bytes(b[:8], \"little\")\n"
                   "h, d, e = json.loads(b[8:8 + n]), bytearray(b[8 + n:]), sys.argv[2]\n"
                   "if \"=\" in e: h[\"__metadata__\"][e.split(\"=\")[0]] = e.split(\"=\")[1]\n"
                   "for k, v in h.items():\n"
                   "  if k != \"__metadata__\" and not k.startswith(\"expected\") and e in k:\n"
                   "    for i in range(*v[\"data_offsets\"]): d[i] = 0\n"
                   "t = json.dumps(h).encode()\n"
                   "open(sys.argv[1], \"wb\").write(len(t).to_bytes(8, \"little\") + t + d)' %s %s",
                   layer.text, edits[i]),
               0, "");
        expect(run(ADAMOE " layer %s --kernel reference", layer.text), 1, "FAILED expected.output");
    }
}

static void what_cannot_be_made_is_refused(void **state)
{
    SKIP_WITHOUT_PYTHON();
    const folder_path out = in_folder(state, "out.safetensors");
    const char *folder = *state;
    expect(run(CONVERT " '" FOLDER "' 7 %s", out.text), 2,
           "tensor model.layers.7.mlp.router.classifier.weight: missing");
    expect(run(CONVERT " /absent 0 %s", out.text), 2, "/absent/config.json");
    expect(run(CONVERT " '" SOURCE_PATH("tests/golden/families/olmoe") "' 0 %s", out.text), 2,
           "'olmoe' is no longcat_flash");
    static const struct {
        const char *key, *value, *reason;
    } edits[] = {
        {"router_bias", "true", "router_bias: True is not implemented"},
        {"zero_expert_type", "\"drop\"", "zero_expert_type: 'drop' is not implemented"},
        {"n_routed_experts", "5", "shape [9, 16] where [8, 16] is expected"},
        {"expert_ffn_hidden_size", "9", "shape [10, 16] where [9, 16] is expected"},
        {"moe_topk", "null", "moe_topk: missing"},
    };
    for (size_t i = 0; i < sizeof edits / sizeof *edits; ++i) {
        expect(run("rm -rf %s/m && cp -r '" FOLDER "' %s/m && python3 -c 'import json, sys\n"
                   "config = json.load(sys.stdin)\nconfig[\"%s\"] = json.loads(sys.argv[1])\n"
                   "json.dump(config, sys.stdout)' '%s' < '" FOLDER "/config.json' > %s/m/config.json",
                   folder, folder, edits[i].key, edits[i].value, folder),
               0, "");
        expect(run(CONVERT " %s/m 0 %s", folder, out.text), 2, edits[i].reason);
        assert_false(exists(folder, "out.safetensors"));
    }
    expect(run(ADAMOE " generate --model '" FOLDER "' --prompt a"), 2,
           "LongcatFlashForCausalLM is not implemented: its attention is multi-head latent");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(layers_compute_what_transformers_does, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(what_is_expected_depends_on_all, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(what_cannot_be_made_is_refused, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

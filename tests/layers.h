/*
 * The plan of the house: every folder that holds C, and what its includes may name, from the ground up. A folder
 * may use folders that come before it in this table and none that comes after, so that no arrows go round. A name
 * that ends with / stands for a folder and all within it. tests/layers_test.c holds every include against this
 * table, and fails too where an arrow of the table has no include left.
 */
#ifndef ADAMOE_LAYERS_H
#define ADAMOE_LAYERS_H

typedef struct layer {
    const char *folder;
    const char *uses; /* separated by blanks; its own files it may use anyway */
} layer;

static const layer house[] = {
    /* the definition */
    {"reference", ""},
    {"reference/bound", "reference"},
    {"reference/gradient", "reference reference/bound"},
    {"reference/lora", "reference reference/gradient"},
    {"reference/kernel", "reference reference/gradient"},
    {"reference/routers", "reference reference/gradient"},
    {"reference/routers/model", "reference/routers"},

    /* what is read from disk and written to it */
    {"datasets/files", "reference"},
    {"datasets/safetensors", "reference datasets/files"},
    {"datasets/tokenizer", "reference datasets/files"},
    {"datasets/config", "reference datasets/files"},
    {"datasets", "reference reference/lora reference/routers reference/routers/model datasets/files "
                 "datasets/safetensors "
                 "datasets/tokenizer datasets/config"},
    {"datasets/tasks", "reference datasets datasets/files"},
    {"datasets/generate", "reference datasets datasets/files datasets/safetensors"},

    /* kernels: the machine, parts of a layer, models, training, instruction sets, and who picks */
    {"kernels/machine", "reference"},
    {"kernels/peaks", "reference kernels/machine"},
    {"kernels/vector/portable", ""},
    {"kernels/vector", "kernels/machine kernels/vector/portable"},
    {"kernels/packed", "reference kernels/machine kernels/vector"},
    {"kernels/onednn", "reference kernels/machine"},
    {"kernels/model", "reference reference/routers/model kernels/machine kernels/vector"},
    {"kernels/train",
     "reference kernels/machine kernels/model kernels/packed kernels/vector kernels/vector/portable"},
    {"kernels/avx2", "kernels/packed kernels/peaks kernels/train kernels/vector kernels/vector/portable"},
    {"kernels/avx512", "kernels/packed kernels/peaks kernels/train kernels/vector kernels/vector/portable"},
    {"kernels/amx", "kernels/avx512 kernels/packed kernels/peaks"},
    {"kernels/train/model", "reference/gradient reference/routers/model kernels/model kernels/train"},
    {"kernels/train/lora", "reference reference/lora kernels/machine kernels/model kernels/train "
                           "kernels/train/model kernels/vector"},
    {"kernels/remote", "reference kernels/machine"},
    {"kernels/mpi", "reference kernels/machine kernels/remote"},
    {"kernels",
     "reference reference/kernel kernels/machine kernels/onednn kernels/packed kernels/remote kernels/train"},

    /* the ground of the harness, and what several verbs measure with */
    {"bench/statistics", "reference"},
    {"bench/gbench", ""},
    {"bench/layers", "reference reference/routers datasets/safetensors kernels/machine"},
    {"bench/program", "reference reference/routers/model bench/layers datasets datasets/files "
                      "datasets/tokenizer kernels kernels/machine kernels/mpi kernels/onednn kernels/remote"},
    {"bench/ranks", "reference datasets kernels/machine kernels/mpi bench/layers bench/program"},
    {"bench/timing",
     "reference reference/bound reference/gradient kernels/machine kernels/model kernels/peaks kernels/remote "
     "kernels/train bench/layers bench/program bench/statistics"},
    {"bench/routers",
     "reference reference/routers reference/routers/model datasets/files kernels/machine bench/layers "
     "bench/program bench/statistics"},

    /* the parts of a verb */
    {"bench/check/cases", "reference bench/layers"},
    {"bench/check/call", "reference kernels/amx bench/check/cases"},
    {"bench/check/tiers",
     "reference reference/bound kernels/machine kernels/model bench/layers bench/check/cases bench/check/call"},
    {"bench/check/tiers/gradient", "reference reference/bound reference/gradient bench/check/tiers"},
    {"bench/check/tiers/attention",
     "reference reference/bound bench/layers bench/check/cases bench/check/tiers"},
    {"bench/check/tiers/route",
     "reference reference/bound kernels/model bench/layers bench/check/cases bench/check/tiers"},
    {"bench/check/kinds",
     "reference bench/check/cases bench/check/tiers bench/check/tiers/gradient bench/check/tiers/attention "
     "bench/check/tiers/route bench/layers"},
    {"bench/check",
     "reference datasets/files kernels/machine kernels/model kernels/remote bench/program bench/statistics "
     "bench/check/cases bench/check/call bench/check/kinds bench/check/tiers"},
    {"bench/bench",
     "reference reference/routers datasets/files kernels kernels/machine kernels/mpi kernels/remote bench/gbench "
     "bench/layers bench/program bench/ranks bench/routers bench/timing"},
    {"bench/compare", "datasets/files bench/program bench/statistics"},
    {"bench/eval",
     "reference reference/lora datasets datasets/files datasets/safetensors datasets/tasks "
     "datasets/tokenizer "
     "kernels kernels/machine kernels/model kernels/mpi kernels/peaks kernels/train/lora bench/layers bench/program "
     "bench/ranks"},
    {"bench/gate",
     "reference datasets datasets/config datasets/files kernels/machine bench/compare bench/layers bench/program "
     "bench/timing"},
    {"bench/layer", "reference reference/bound datasets datasets/safetensors kernels/machine bench/program"},
    {"bench/report", "reference datasets/files bench/program bench/statistics"},
    {"bench/scale",
     "reference datasets/config datasets/files kernels/machine kernels/mpi bench/layers bench/program "
     "bench/ranks bench/statistics bench/timing"},
    {"bench/train", "reference reference/gradient datasets datasets/files datasets/generate "
                    "datasets/safetensors kernels/machine kernels/train kernels/train/lora "
                    "kernels/train/model bench/eval bench/layers bench/program"},
    {"bench/reproduce/sides", "bench/eval bench/program bench/ranks bench/statistics"},
    {"bench/reproduce/study",
     "reference datasets/config datasets/files bench/program bench/report bench/statistics bench/reproduce/sides"},
    {"bench/reproduce",
     "reference kernels/machine bench/layers bench/program bench/ranks bench/statistics bench/timing "
     "bench/reproduce/sides bench/reproduce/study"},

    /* the verbs */
    {"bench",
     "reference reference/bound datasets datasets/config datasets/files datasets/tokenizer kernels/ bench/"},

    /* the tests mirror the house */
    {"tests", "reference/ datasets/"},
    {"tests/reference", "reference/ datasets/ tests"},
    {"tests/reference/routers", "reference/ datasets/ tests"},
    {"tests/datasets", "reference/ datasets/ tests"},
    {"tests/kernels", "reference/ datasets/ kernels/ bench/layers bench/timing tests"},
    {"tests/kernels/remote", "reference/ kernels/ tests"},
    {"tests/kernels/mpi", "reference/ kernels/ bench/layers tests"},
    {"tests/bench", "reference/ datasets/ kernels/ bench/ tests tests/kernels/mpi"},
    {"tests/bench/check", "reference/ datasets/ kernels/ bench/ tests"},
    {"tests/bench/timing", "reference/ datasets/ kernels/ bench/ tests"},
    {"tests/fuzz", "reference/ datasets/"},
    {"tests/plugin", "reference/ kernels/"},
    {"tests/honest", "reference/ kernels/ bench/ tests"},
    {"tests/wrong", "reference/ kernels/ bench/ tests tests/honest"},
};

#define LAYERS (sizeof house / sizeof *house)

#endif

// The experts of a layer as llama.cpp's build_moe_ffn computes them with ggml: mul_mat_id, swiglu, the sum over a token's
// experts. For ggml.py; built against an installation or a build of ggml, llama.cpp or ik_llama.cpp:
//
//     c++ -O2 -shared -fPIC -I GGML/include ggml_experts.cpp -o libggml_experts.so -L GGML/lib -lggml-cpu -lggml-base
#include <cstring>

#include "ggml-cpu.h"
#include "ggml.h"

namespace {

ggml_tensor *leaf(ggml_context *leaves, ggml_type type, int64_t a, int64_t b, int64_t c, const void *data)
{
    ggml_tensor *tensor = ggml_new_tensor_3d(leaves, type, a, b, c);
    tensor->data = const_cast<void *>(data);
    return tensor;
}

// 0: float32, 1: float16, 2: bfloat16
ggml_type type_of(int dtype)
{
    return dtype == 0 ? GGML_TYPE_F32 : dtype == 1 ? GGML_TYPE_F16 : GGML_TYPE_BF16;
}

} // namespace

extern "C" const char *experts_version(void)
{
    ggml_cpu_init();
#ifdef GGML_VERSION
    return GGML_VERSION;
#else
    return ggml_version();
#endif
}

// x [tokens, d], ids and weights [tokens, k], y [tokens, d]; w1 and w3 [n, ff, d], w2 [n, d, ff]. False without memory.
extern "C" bool experts_compute(int threads, int dtype, int64_t n, int64_t d, int64_t ff, int64_t k, int64_t tokens,
                                const void *w1, const void *w3, const void *w2, const float *x, const int32_t *ids,
                                const float *weights, float *y)
{
    const size_t numbers = static_cast<size_t>(tokens * (k * (4 * ff + 4 * d) + 4 * d) + 4 * (d + ff) * 64);
    ggml_context *leaves = ggml_init({64 * ggml_tensor_overhead(), nullptr, true});
    ggml_context *work = ggml_init({2 * numbers * sizeof(float) + (1u << 22), nullptr, false});
    if (leaves == nullptr || work == nullptr) {
        return false;
    }
    const ggml_type type = type_of(dtype);
    ggml_tensor *in = leaf(leaves, GGML_TYPE_F32, d, 1, tokens, x);
    ggml_tensor *which = ggml_new_tensor_2d(leaves, GGML_TYPE_I32, k, tokens);
    which->data = const_cast<int32_t *>(ids);
    ggml_tensor *gate = ggml_mul_mat_id(work, leaf(leaves, type, d, ff, n, w1), in, which);
    ggml_tensor *up = ggml_mul_mat_id(work, leaf(leaves, type, d, ff, n, w3), in, which);
    ggml_tensor *h = ggml_swiglu_split(work, gate, up);
    ggml_tensor *out = ggml_mul_mat_id(work, leaf(leaves, type, ff, d, n, w2), h, which); // [d, k, tokens]
    out = ggml_mul(work, out, leaf(leaves, GGML_TYPE_F32, 1, k, tokens, weights));
    ggml_tensor *sum = nullptr;
    for (int64_t i = 0; i < k; ++i) {
        ggml_tensor *part = ggml_view_2d(work, out, d, tokens, out->nb[2], static_cast<size_t>(i) * out->nb[1]);
        sum = sum == nullptr ? ggml_cont(work, part) : ggml_add(work, sum, part);
    }
    ggml_cgraph *graph = ggml_new_graph(work);
    ggml_build_forward_expand(graph, sum);
    const bool done = ggml_graph_compute_with_ctx(work, graph, threads) == GGML_STATUS_SUCCESS;
    if (done) {
        std::memcpy(y, sum->data, static_cast<size_t>(tokens * d) * sizeof(float));
    }
    ggml_free(work);
    ggml_free(leaves);
    return done;
}

/*
 * Gradients against PyTorch's, in float32, for every weight of the models of tests/golden/tiny_gradient.
 */
#include "test.h"
#include "checkpoint.h"
#include "gradient/gradient_model.h"
#include "numbers.h"

enum { MAX_TOKENS = 64 };

static adamoe_objective read_objective(const adamoe_safetensors *file)
{
    static const char *const form[] = {"null_averaged", "switch", "released"};
    const char *name = adamoe_safetensors_metadata(file, "form");
    const char *pooling = adamoe_safetensors_metadata(file, "pooling");
    const char *alpha = adamoe_safetensors_metadata(file, "alpha");
    assert_true(name != NULL && pooling != NULL && alpha != NULL);
    adamoe_objective objective = {.alpha = strtod(alpha, NULL), .form = ADAMOE_BALANCE_NULL_AVERAGED};
    while (strcmp(form[objective.form], name) != 0) {
        assert_true(objective.form < ADAMOE_BALANCE_RELEASED);
        objective.form = (adamoe_balance_form)(objective.form + 1);
    }
    objective.pooling = strcmp(pooling, "summed") == 0 ? ADAMOE_BALANCE_SUMMED : ADAMOE_BALANCE_POOLED;
    assert_true(objective.alpha > 0.0);
    return objective;
}

static void read_ids(const adamoe_safetensors *file, const char *name, uint32_t *out)
{
    const adamoe_tensor *tensor = adamoe_safetensors_find(file, name);
    assert_non_null(tensor);
    assert_true(tensor->dtype == ADAMOE_I64 && tensor->elements <= MAX_TOKENS);
    for (size_t i = 0; i < tensor->elements; ++i) {
        int64_t id;
        memcpy(&id, (const char *)tensor->data + i * sizeof id, sizeof id);
        out[i] = id < 0 ? ADAMOE_NO_TARGET : (uint32_t)id;
    }
}

/* What is compared so far. */
typedef struct comparison {
    const adamoe_safetensors *expected;
    size_t tensors;
    double largest; /* relative error: the norm of the difference over the norm of PyTorch's gradient */
} comparison;

/* got has the shape of the weight `name`. */
static void compare(comparison *c, const double *got, const char *format, size_t layer, size_t expert)
{
    char name[128] = "gradient.";
    double difference = 0.0, norm = 0.0;
    snprintf(name + strlen(name), sizeof name - strlen(name), format, layer, expert);
    const adamoe_tensor *tensor = adamoe_safetensors_find(c->expected, name);
    if (tensor == NULL) {
        fail_msg("no %s", name);
        return;
    }
    for (size_t i = 0; i < tensor->elements; ++i) {
        const double e = (double)adamoe_element(tensor->data, ADAMOE_F32, i);
        difference += (got[i] - e) * (got[i] - e);
        norm += e * e;
    }
    const double error = sqrt(difference / norm);
    if (!(norm > 1e-8 && error < 1e-5)) {
        fail_msg("%s: relative error %.2e of a gradient of norm %.2e", name, error, sqrt(norm));
    }
    c->largest = fmax(c->largest, error);
    ++c->tensors;
}

static void compare_block(comparison *c, const adamoe_config *config, const adamoe_block_gradient *g,
                          size_t l)
{
    compare(c, g->input_norm, "model.layers.%zu.input_layernorm.weight", l, 0);
    compare(c, g->post_attention_norm, "model.layers.%zu.post_attention_layernorm.weight", l, 0);
    compare(c, g->attention.q, "model.layers.%zu.self_attn.q_proj.weight", l, 0);
    compare(c, g->attention.k, "model.layers.%zu.self_attn.k_proj.weight", l, 0);
    compare(c, g->attention.v, "model.layers.%zu.self_attn.v_proj.weight", l, 0);
    compare(c, g->attention.o, "model.layers.%zu.self_attn.o_proj.weight", l, 0);
    compare(c, g->moe.gate, "model.layers.%zu.block_sparse_moe.gate.weight", l, 0);
    compare(c, g->moe.gate2, "model.layers.%zu.block_sparse_moe.gate2.weight", l, 0);
    for (size_t e = 0; e < config->experts; ++e) {
        const adamoe_expert_gradient *x = &g->moe.expert[e];
        compare(c, x->w1, "model.layers.%zu.block_sparse_moe.experts.%zu.w1.weight", l, e);
        compare(c, x->w3, "model.layers.%zu.block_sparse_moe.experts.%zu.w3.weight", l, e);
        compare(c, x->w2, "model.layers.%zu.block_sparse_moe.experts.%zu.w2.weight", l, e);
    }
}

static void compare_model(comparison *c, const adamoe_config *config, const adamoe_model_gradient *gradient)
{
    compare(c, gradient->embedding, "model.embed_tokens.weight", 0, 0);
    for (size_t layer = 0; layer < config->layers; ++layer) {
        compare_block(c, config, &gradient->block[layer], layer);
    }
    compare(c, gradient->final_norm, "model.norm.weight", 0, 0);
    if (!config->architecture.tied_head) {
        compare(c, gradient->head, "lm_head.weight", 0, 0);
    }
}

/* A float32 loss of PyTorch's: 1e-6 is 8 of its units in the last place where the loss is between 1 and 2. */
static void compare_losses(const adamoe_safetensors *expected, const adamoe_training_loss *loss)
{
    const adamoe_tensor *tensor = adamoe_safetensors_find(expected, "loss");
    assert_non_null(tensor);
    const double cross_entropy = (double)adamoe_element(tensor->data, ADAMOE_F32, 0);
    const double balance = (double)adamoe_element(tensor->data, ADAMOE_F32, 1);
    assert_true(fabs(loss->cross_entropy - cross_entropy) < 1e-6 * cross_entropy);
    assert_true(fabs(loss->balance - balance) < 1e-6 * balance && balance > 0.1);
}

static void compare_with_pytorch(const char *folder, const char *gradients)
{
    adamoe_checkpoint *checkpoint = NULL;
    adamoe_safetensors *expected = NULL;
    adamoe_model_gradient *gradient = NULL;
    uint32_t token[MAX_TOKENS], target[MAX_TOKENS];
    assert_ok(adamoe_checkpoint_open(folder, &checkpoint));
    assert_ok(adamoe_safetensors_open(gradients, &expected));
    const adamoe_model *model = adamoe_checkpoint_model(checkpoint);
    const adamoe_objective objective = read_objective(expected);
    read_ids(expected, "tokens", token);
    read_ids(expected, "targets", target);
    const size_t length = adamoe_safetensors_find(expected, "tokens")->shape[1];
    const size_t offset[] = {0, length, 2 * length};
    const adamoe_training_batch batch = {2, offset, token, target};
    adamoe_training_loss loss;
    assert_ok(adamoe_model_gradient_create(&model->config, &gradient));
    assert_ok(adamoe_model_loss(model, &batch, &objective, NULL, &loss, gradient));
    comparison c = {.expected = expected};
    compare_losses(expected, &loss);
    compare_model(&c, &model->config, gradient);
    assert_int_equal(c.tensors + 3, adamoe_safetensors_count(expected)); /* nothing is left out */
    print_message("%zu weights, largest relative error %.1e\n", c.tensors, c.largest);
    adamoe_model_gradient_free(gradient);
    adamoe_safetensors_close(expected);
    adamoe_checkpoint_close(checkpoint);
}

/* Biases of q, k, v and o, limits of q, k and v, multipliers: the attention of the first layer, through which the whole
 * model's derivatives have gone (tests/golden/families/gradients.py). */
static void compare_attention(const char *folder)
{
    char path[1024];
    adamoe_checkpoint *checkpoint = NULL;
    adamoe_safetensors *expected = NULL, *sequences = NULL;
    adamoe_model_gradient *gradient = NULL;
    uint32_t token[MAX_TOKENS], target[MAX_TOKENS];
    assert_ok(adamoe_checkpoint_open(folder, &checkpoint));
    (void)snprintf(path, sizeof path, "%s/gradient.safetensors", folder);
    assert_ok(adamoe_safetensors_open(path, &expected));
    (void)snprintf(path, sizeof path, "%s/expected.safetensors", folder);
    assert_ok(adamoe_safetensors_open(path, &sequences));
    read_ids(sequences, "tokens", token);
    const size_t length = adamoe_safetensors_find(sequences, "tokens")->shape[1];
    for (size_t t = 0; t < 2 * length; ++t) {
        target[t] = t % length + 1 < length ? token[t + 1] : ADAMOE_NO_TARGET;
    }
    const adamoe_model *model = adamoe_checkpoint_model(checkpoint);
    const size_t offset[] = {0, length, 2 * length};
    const adamoe_training_batch batch = {2, offset, token, target};
    const adamoe_objective objective = {.alpha = 0.0};
    adamoe_training_loss loss;
    assert_ok(adamoe_model_gradient_create(&model->config, &gradient));
    assert_ok(adamoe_model_loss(model, &batch, &objective, NULL, &loss, gradient));
    const double said =
        (double)adamoe_element(adamoe_safetensors_find(expected, "loss")->data, ADAMOE_F32, 0);
    assert_true(fabs(loss.cross_entropy - said) < 1e-6 * said);

    const adamoe_architecture *a = &model->config.architecture;
    const adamoe_attention_gradient *g = &gradient->block[0].attention;
    const struct {
        bool there;
        const double *got;
        const char *name;
    } weights[] = {{true, g->q, "q_proj.weight"},
                   {true, g->k, "k_proj.weight"},
                   {true, g->v, "v_proj.weight"},
                   {true, g->o, "o_proj.weight"},
                   {a->biases, g->q_bias, "q_proj.bias"},
                   {a->biases, g->k_bias, "k_proj.bias"},
                   {a->biases, g->v_bias, "v_proj.bias"},
                   {a->output_bias, g->o_bias, "o_proj.bias"},
                   {a->query_key_norm != ADAMOE_QUERY_KEY_NORM_NONE, g->q_norm, "q_norm.weight"},
                   {a->query_key_norm != ADAMOE_QUERY_KEY_NORM_NONE, g->k_norm, "k_norm.weight"}};
    comparison c = {.expected = expected};
    for (size_t i = 0; i < sizeof weights / sizeof *weights; ++i) {
        if (weights[i].there) {
            char format[64];
            (void)snprintf(format, sizeof format, "model.layers.0.self_attn.%s", weights[i].name);
            compare(&c, weights[i].got, format, 0, 0);
        }
    }
    assert_int_equal(c.tensors + 1, adamoe_safetensors_count(expected));
    print_message("%zu weights, largest relative error %.1e\n", c.tensors, c.largest);
    adamoe_model_gradient_free(gradient);
    adamoe_safetensors_close(expected);
    adamoe_safetensors_close(sequences);
    adamoe_checkpoint_close(checkpoint);
}

static void biases_and_limits(void **state)
{
    (void)state;
    compare_attention(SOURCE_PATH("tests/golden/families/llama_bias"));
    compare_attention(SOURCE_PATH("tests/golden/families/olmoe_clip"));
    compare_attention(SOURCE_PATH("tests/golden/families/granite_bias"));
}

static void null_averaged_pooled(void **state)
{
    (void)state;
    compare_with_pytorch(SOURCE_PATH("tests/golden/tiny_gradient/null_averaged"),
                         SOURCE_PATH("tests/golden/tiny_gradient/null_averaged/gradient.safetensors"));
}

/* Also norm `all`, identity null experts, a tied head, no window. */
static void switch_summed(void **state)
{
    (void)state;
    compare_with_pytorch(SOURCE_PATH("tests/golden/tiny_gradient/switch_summed"),
                         SOURCE_PATH("tests/golden/tiny_gradient/switch_summed/gradient.safetensors"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(null_averaged_pooled),
        cmocka_unit_test(biases_and_limits),
        cmocka_unit_test(switch_summed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

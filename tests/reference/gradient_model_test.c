/*
 * The gradient of a model beside what finite differences show: it is that of the forward's own loss, batches
 * and calls add up, ties and frozen weights are what they are meant to be, and errors name their place.
 */
#include "gradient_subject.h"
#include "batch.h"
#include "router.h"

/* Mean cross-entropy of the logits that the definition's forward gives, sequence by sequence. */
static double forward_cross_entropy(const subject *s, const adamoe_observer *observer)
{
    const size_t vocab = s->model.config.vocab_size;
    float logits[TOKENS * 16];
    double sum = 0.0;
    size_t targets = 0;
    assert_true(vocab <= 16);
    for (size_t q = 0; q < SEQUENCES; ++q) {
        const size_t first = sequence_offset[q], count = sequence_offset[q + 1] - first;
        adamoe_cache *cache = NULL;
        assert_ok(adamoe_cache_create(&s->model.config, count, &cache));
        assert_ok(adamoe_model_forward(&s->model, cache, s->token + first, count, observer, NULL, logits));
        adamoe_cache_free(cache);
        for (size_t t = 0; t < count; ++t) {
            const uint32_t target = s->target[first + t];
            if (target != ADAMOE_NO_TARGET) {
                sum += adamoe_log_sum_exp(logits + t * vocab, vocab) - (double)logits[t * vocab + target];
                ++targets;
            }
        }
    }
    return sum / (double)targets;
}

/* The routings of a batch, for the definition's balance loss. */
typedef struct kept_routings {
    adamoe_routing *layer[2];
} kept_routings;

static void keep_routing(void *context, size_t layer, const adamoe_routing *routing)
{
    kept_routings *kept = context;
    assert_ok(adamoe_routing_create(routing->logits, routing->tokens, routing->experts, routing->null_experts,
                                    routing->rule, &kept->layer[layer]));
}

/* The function that is differentiated is the definition's, up to the definition's roundings to float32:
 * logits of the models of model_test agree within 1e-5, and a cross-entropy moves by at most twice what
 * logits do. */
static void the_loss_is_that_of_the_forward(void **state)
{
    (void)state;
    for (int norm = ADAMOE_NORM_TRUE; norm <= ADAMOE_NORM_EVERY; ++norm) {
        const adamoe_balance_pooling pooling =
            norm == ADAMOE_NORM_ALL ? ADAMOE_BALANCE_SUMMED : ADAMOE_BALANCE_POOLED;
        subject s;
        selection seen, again = {.margin = HUGE_VAL};
        adamoe_config config = base_config;
        config.rule.null_kind = ADAMOE_NULL_IDENTITY;
        make_subject(config, (adamoe_objective){.alpha = 1.0, .pooling = (adamoe_balance_pooling)pooling},
                     &s);
        find_weights(&s, &seen);
        const adamoe_observer observer = {&again, see_selection};
        const adamoe_training_loss loss = evaluate(&s, &seen, NULL);
        assert_true(fabs(loss.cross_entropy - forward_cross_entropy(&s, &observer)) < 2e-5);
        assert_int_equal(again.null, seen.null);

        kept_routings kept = {{NULL, NULL}};
        const adamoe_observer keeper = {&kept, keep_routing};
        const adamoe_training_batch batch = {SEQUENCES, sequence_offset, s.token, s.target};
        adamoe_training_loss unused;
        assert_ok(adamoe_model_loss(&s.model, &batch, &s.objective, &keeper, &unused, NULL));
        const adamoe_balance_loss expected = adamoe_model_balance_loss(
            (const adamoe_routing *const *)kept.layer, 2, s.objective.pooling, NULL);
        assert_true(fabs(loss.balance - expected.null_averaged) < 1e-6);
        assert_true(fabs(expected.null_averaged - expected.switch_form) > 1e-3);
        adamoe_routing_free(kept.layer[0]);
        adamoe_routing_free(kept.layer[1]);
        free_subject(&s);
    }
}

/* The same with all that families have beside Mixtral's parts. */
static void the_loss_of_other_families_is_that_of_the_forward(void **state)
{
    (void)state;
    for (int norm = ADAMOE_QUERY_KEY_NORM_HEADS; norm <= ADAMOE_QUERY_KEY_NORM_WIDTH; ++norm) {
        subject s;
        selection seen, again = {.margin = HUGE_VAL};
        adamoe_config config = base_config;
        config.shared_intermediate_size = 4;
        config.clip = 0.4375;
        config.multiplier = (adamoe_multipliers){1.5, 0.75, 0.625, 1.25};
        config.architecture = (adamoe_architecture){.query_key_norm = (adamoe_query_key_norm)norm,
                                                    .biases = true,
                                                    .output_bias = true,
                                                    .clipped = true,
                                                    .shared_expert = true,
                                                    .multipliers = true};
        make_subject(config, (adamoe_objective){.alpha = 0.0}, &s);
        find_weights(&s, &seen);
        const adamoe_observer observer = {&again, see_selection};
        const adamoe_training_loss loss = evaluate(&s, &seen, NULL);
        assert_true(fabs(loss.cross_entropy - forward_cross_entropy(&s, &observer)) < 2e-5);
        free_subject(&s);
    }
}

/* Without a balance loss the gradient of a batch is the mean of its sequences' gradients, each with the
 * weight of its targets: no sequence sees another. Calls add up. */
static void sequences_add_up(void **state)
{
    (void)state;
    subject s;
    selection seen;
    adamoe_model_gradient *sum = NULL;
    make_subject(base_config, (adamoe_objective){.alpha = 0.0}, &s);
    find_weights(&s, &seen);
    evaluate(&s, &seen, s.gradient);
    assert_ok(adamoe_model_gradient_create(&base_config, &sum));
    for (size_t q = 0; q < SEQUENCES; ++q) {
        const size_t first = sequence_offset[q], offset[] = {0, sequence_offset[q + 1] - first};
        const adamoe_training_batch batch = {1, offset, s.token + first, s.target + first};
        adamoe_training_loss loss;
        adamoe_model_gradient *one = NULL;
        assert_ok(adamoe_model_gradient_create(&base_config, &one));
        assert_ok(adamoe_model_loss(&s.model, &batch, &s.objective, NULL, &loss, one));
        for (size_t i = 0; i < sum->count; ++i) {
            sum->values[i] += (double)loss.targets / 11.0 * one->values[i];
        }
        adamoe_model_gradient_free(one);
    }
    for (size_t i = 0; i < sum->count; ++i) {
        assert_true(fabs(sum->values[i] - s.gradient->values[i]) < 1e-12);
    }
    evaluate(&s, &seen, s.gradient);
    for (size_t i = 0; i < sum->count; ++i) {
        assert_true(fabs(2.0 * sum->values[i] - s.gradient->values[i]) < 1e-12);
    }
    adamoe_model_gradient_free(sum);
    free_subject(&s);
}

/* gate2 starts as copies of gate's rows (reference/README.md section 2.1), so that true and null experts tie
 * exactly: the lower index is selected, and nothing flows to the weights of those that are not; they share
 * only in the softmax. */
static void exact_ties(void **state)
{
    (void)state;
    subject s;
    selection seen;
    make_subject(base_config, (adamoe_objective){.alpha = 0.0}, &s);
    randomise(&s, 1);
    for (size_t layer = 0; layer < 2; ++layer) {
        const adamoe_layer *moe = &s.block[layer].moe;
        memcpy((void *)(uintptr_t)moe->gate2.data, moe->gate.data, 3 * 6 * sizeof(float));
    }
    evaluate(&s, &seen, s.gradient);
    for (size_t i = 0; i < seen.count; i += 3) {
        assert_int_equal(seen.id[i + 1], seen.id[i] + 3); /* the null copy follows the true expert */
        assert_true(seen.id[i + 2] < 3);
    }
    for (size_t layer = 0; layer < 2; ++layer) {
        for (size_t i = 0; i < 3 * 6; ++i) { /* norm `true` without a balance loss: null rows have no part */
            assert_true(s.gradient->block[layer].moe.gate2[i] == 0.0);
        }
        assert_true(root_mean_square(s.gradient->block[layer].moe.gate, 3 * 6) > 1e-4);
    }
    free_subject(&s);
}

/* A frozen weight has no array: the gradients of the others are the same bits. */
static void frozen_weights(void **state)
{
    (void)state;
    subject whole, part;
    selection seen;
    make_subject(base_config, with_balance, &whole);
    make_subject(base_config, with_balance, &part);
    find_weights(&whole, &seen);
    find_weights(&part, &seen);
    evaluate(&whole, &seen, whole.gradient);
    adamoe_model_gradient only_gates = *part.gradient;
    adamoe_block_gradient block[2];
    for (size_t layer = 0; layer < 2; ++layer) {
        block[layer] = (adamoe_block_gradient){.moe = {.gate = part.gradient->block[layer].moe.gate,
                                                       .gate2 = part.gradient->block[layer].moe.gate2}};
    }
    only_gates.embedding = only_gates.final_norm = only_gates.head = NULL;
    only_gates.block = block;
    evaluate(&part, &seen, &only_gates);
    for (size_t layer = 0; layer < 2; ++layer) {
        assert_memory_equal(block[layer].moe.gate, whole.gradient->block[layer].moe.gate,
                            3 * 6 * sizeof(double));
        assert_memory_equal(block[layer].moe.gate2, whole.gradient->block[layer].moe.gate2,
                            3 * 6 * sizeof(double));
    }
    assert_true(root_mean_square(part.gradient->embedding, 7 * 6) == 0.0);
    free_subject(&whole);
    free_subject(&part);
}

static void errors_name_the_place(void **state)
{
    (void)state;
    subject s;
    make_subject(base_config, with_balance, &s);
    randomise(&s, 1);
    const adamoe_training_batch batch = {SEQUENCES, sequence_offset, s.token, s.target};
    adamoe_training_loss loss;
    s.token[6] = 7;
    assert_error(adamoe_model_loss(&s.model, &batch, &s.objective, NULL, &loss, s.gradient), ADAMOE_BAD_INPUT,
                 "sequence 1: token 1: id 7");
    s.token[6] = 0;
    s.target[15] = 7;
    assert_error(adamoe_model_loss(&s.model, &batch, &s.objective, NULL, &loss, s.gradient), ADAMOE_BAD_INPUT,
                 "sequence 2: token 3: id");
    for (size_t t = 0; t < TOKENS; ++t) {
        s.target[t] = ADAMOE_NO_TARGET;
    }
    assert_error(adamoe_model_loss(&s.model, &batch, &s.objective, NULL, &loss, s.gradient), ADAMOE_BAD_INPUT,
                 "no token has a target");
    s.target[3] = 0;
    const size_t gate2 = (size_t)(s.gradient->block[1].moe.gate2 - s.gradient->values);
    s.weight[gate2] = NAN;
    assert_error(adamoe_model_loss(&s.model, &batch, &s.objective, NULL, &loss, s.gradient), ADAMOE_BAD_INPUT,
                 "layer 1: token 0: logit of expert 3 is NaN");
    s.weight[gate2] = 0.0f;
    s.weight[s.gradient->head - s.gradient->values] = INFINITY;
    assert_error(adamoe_model_loss(&s.model, &batch, &s.objective, NULL, &loss, s.gradient), ADAMOE_BAD_INPUT,
                 "token 3 of the batch: the loss is");
    assert_true(root_mean_square(s.gradient->values, s.gradient->count) == 0.0);
    free_subject(&s);

    adamoe_config huge = base_config;
    huge.vocab_size = SIZE_MAX / 4;
    assert_error(adamoe_model_gradient_create(&huge, &s.gradient), ADAMOE_ENVIRONMENT, "out of memory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_loss_is_that_of_the_forward),
        cmocka_unit_test(the_loss_of_other_families_is_that_of_the_forward),
        cmocka_unit_test(sequences_add_up),
        cmocka_unit_test(exact_ties),
        cmocka_unit_test(frozen_weights),
        cmocka_unit_test(errors_name_the_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * The cost model of `adamoe scale': what crosses between ranks, what the model makes of it, how it is fitted and measured,
 * against counts and sums by hand. Leaves out the verb (scale_test.c).
 */
#include "program.h"
#include "kernel/kernel.h"
#include "scale/calibration.h"
#include "scale/measure.h"
#include "scale/predict.h"

static bool near(double a, double b)
{
    return fabs(a - b) <= 1e-12 * fmax(fabs(a), fabs(b));
}

/* ------------------------------------------------------------------------------------------------ crossing */

/* Four tokens on two ranks, experts 0 and 1 on rank 0, 2 and 3 on rank 1; 4 is a null expert. */
static const uint32_t four_tokens[] = {0, 2, 3, 4, 1, 2, 0, 1, 2, 4, 3, 0};
static const uint32_t two_ranks[] = {0, 0, 1, 1};

static void rows_and_inputs_are_counted(void **state)
{
    (void)state;
    adamoe_crossing c;
    assert_ok(adamoe_crossing_create(2, 4, two_ranks, (adamoe_wire){8, 2}, &c));
    adamoe_crossing_add(&c, four_tokens, 4, 3);
    const adamoe_crossing_sum sum = adamoe_crossing_total(&c);
    /* rank 0 keeps 0, 1 and sends 2, 3 of the first token in one input, 2 of the second; rank 1 keeps 2, 3 and sends
     * 0, 1 of the third in one input, 0 of the fourth */
    assert_int_equal(sum.rows, 10);
    assert_int_equal(sum.rows_sent, 6);
    assert_int_equal(sum.inputs_sent, 4);
    /* each way: a head, 2 experts' counts and 3 rows' inputs as numbers, 2 inputs of 8 bfloat16 */
    assert_int_equal(sum.request_bytes, 2 * (ADAMOE_REQUEST_HEAD + (2 + 3) * 4 + 2 * 8 * 2));
    assert_int_equal(sum.result_bytes, 6 * 8 * 4);
    assert_true(near(sum.largest_over_mean, 1.0));
    static const uint64_t stay[] = {1, 1, 1, 1}, arrive[] = {2, 1, 2, 1};
    assert_memory_equal(c.stay, stay, sizeof stay);
    assert_memory_equal(c.arrive, arrive, sizeof arrive);
    adamoe_crossing_clear(&c);
    assert_int_equal(adamoe_crossing_total(&c).rows, 0);
    adamoe_crossing_free(&c);
}

static void ranks_form_groups(void **state)
{
    (void)state;
    assert_int_equal(adamoe_scale_group(1, 8), 1);
    assert_int_equal(adamoe_scale_group(7, 8), 7);
    assert_int_equal(adamoe_scale_group(4096, 8), 8);
    assert_int_equal(adamoe_scale_group(64, 60), 32);
    assert_int_equal(adamoe_scale_group(11, 8), 1);
}

/* -------------------------------------------------------------------------------------------------- model */

static const adamoe_cost_layer layer = {.row_flops = 100.0, .expert_bytes = 1000.0, .home_flops = 50.0};

static void an_expert_takes_its_time(void **state)
{
    (void)state;
    const adamoe_cost_compute given = {.flops = 1e3, .bytes = 2e3};
    assert_true(adamoe_cost_expert(&given, &layer, 0.0) == 0.0);
    assert_true(near(adamoe_cost_expert(&given, &layer, 1.0), 0.5));  /* memory */
    assert_true(near(adamoe_cost_expert(&given, &layer, 10.0), 1.0)); /* arithmetic */
    const adamoe_cost_compute measured = {.points = 3,
                                          .point = {{1.0, 4.0, 4.0}, {4.0, 5.0, 5.0}, {8.0, 10.0, 10.0}}};
    assert_true(near(adamoe_cost_expert(&measured, &layer, 1.0), 4.0));
    assert_true(near(adamoe_cost_expert(&measured, &layer, 3.0), 4.0 + 2.0 / 3.0));
    assert_true(near(adamoe_cost_expert(&measured, &layer, 4.0), 5.0));
    assert_true(near(adamoe_cost_expert(&measured, &layer, 6.0), 7.5));
    assert_true(near(adamoe_cost_expert(&measured, &layer, 24.0), 30.0)); /* in proportion */
    assert_true(adamoe_cost_expert(&measured, &layer, 0.0) == 0.0);
}

static void a_message_takes_its_time(void **state)
{
    (void)state;
    const adamoe_cost_network n = {
        .latency = 1.0, .overhead = 0.25, .rendezvous = 2.0, .eager = 10.0, .bandwidth = 4.0, .chunks = 1};
    assert_true(adamoe_cost_wire(&n, 0.0, 0.0, 0, 1) == 0.0);
    assert_true(near(adamoe_cost_wire(&n, 8.0, 4.0, 1, 1), 1.0 + 2.0));
    assert_true(near(adamoe_cost_wire(&n, 8.0, 20.0, 2, 1), 1.0 + 0.25 + 5.0));
    assert_true(near(adamoe_cost_wire(&n, 8.0, 24.0, 2, 1), 1.0 + 0.25 + 2.0 + 6.0));
    assert_true(near(adamoe_cost_wire(&n, 8.0, 24.0, 2, 2), 1.0 + 0.25 + 6.0)); /* in two parts it is short */
}

/* The layer above: both ranks send and compute the same. */
static void a_layer_takes_its_time(void **state)
{
    (void)state;
    adamoe_crossing c;
    assert_ok(adamoe_crossing_create(2, 4, two_ranks, (adamoe_wire){8, 2}, &c));
    adamoe_crossing_add(&c, four_tokens, 4, 3);
    const adamoe_cost_compute compute = {.flops = 1e3, .bytes = 1e6};
    adamoe_cost_network network = {
        .latency = 0.1, .eager = (double)INFINITY, .bandwidth = 100.0, .chunks = 2, .overlap = true};
    const double request = 0.1 + (ADAMOE_REQUEST_HEAD + 20 + 32) / 100.0, result = 0.1 + 96.0 / 100.0;
    const double home = 2 * 50.0 / 1e3, stay = 2 * 0.1, arrive = 3 * 0.1;
    adamoe_layer_time t;
    assert_ok(adamoe_cost_of_layer(&c, &network, &compute, &layer, &t));
    assert_true(near(t.total, home + request + stay + arrive + result));
    assert_true(near(t.arithmetic, stay + arrive));
    assert_true(near(t.communication, request + result));
    network.hidden =
        1.0; /* all of the smaller one; of the outputs' one half, since the first part has to be computed */
    assert_ok(adamoe_cost_of_layer(&c, &network, &compute, &layer, &t));
    assert_true(near(t.total, home + fmax(request, stay) + arrive + result - 0.5 * fmin(arrive, result)));
    network.overlap = false; /* then nothing is hidden, whatever could be */
    assert_ok(adamoe_cost_of_layer(&c, &network, &compute, &layer, &t));
    assert_true(near(t.total, home + request + stay + arrive + result));
    adamoe_crossing_free(&c);
}

/* Rank 0 has all that stays, rank 1 more of what arrives: experts 0 and 1 on rank 0, 2 and 3 on rank 1. */
static void ranks_wait_for_each_other(void **state)
{
    static const uint32_t id[] = {0, 1, 0, 2, 0, 2,
                                  1, 2, 0, 4, 4, 4}; /* 4 tokens, top-3; 4 is a null expert */
    (void)state;
    adamoe_crossing c;
    assert_ok(adamoe_crossing_create(2, 4, two_ranks, (adamoe_wire){8, 2}, &c));
    adamoe_crossing_add(&c, id, 4, 3);
    /* the first two tokens live on rank 0: 0, 1, 0 and 2, 0, 2 (here an expert may have a token twice) */
    const double row = 0.1, stay0 = 4 * row, stay1 = 1 * row, arrive = 2 * row; /* on both */
    adamoe_cost_compute compute = {.flops = 1e3, .points = 2, .point = {{1.0, 0.1, 0.1}, {10.0, 1.0, 1.0}}};
    adamoe_cost_network network = {.bandwidth = 1e12, .eager = 1e9, .chunks = 1, .overlap = true};
    const adamoe_cost_layer alone = {.home_flops = 0.0};
    adamoe_layer_time t;
    assert_ok(adamoe_cost_of_layer(&c, &network, &compute, &alone, &t));
    assert_true(fabs(t.total - (stay0 + arrive)) < 1e-9); /* the longest path, of rank 0 */
    network.overlap = false;
    assert_ok(adamoe_cost_of_layer(&c, &network, &compute, &alone, &t));
    assert_true(fabs(t.total - (arrive + stay0)) < 1e-9);
    /* one alone is faster by a half: what rank 0 has left when rank 1 is done */
    compute.point[0].alone = 0.1 / 1.5;
    compute.point[1].alone = 1.0 / 1.5;
    assert_ok(adamoe_cost_of_layer(&c, &network, &compute, &alone, &t));
    assert_true(fabs(t.total - (arrive + stay1 + (stay0 - stay1) / 1.5)) < 1e-9);
    network.overlap = true;
    assert_ok(adamoe_cost_of_layer(&c, &network, &compute, &alone, &t));
    assert_true(fabs(t.total - (stay1 + arrive + (stay0 - stay1) / 1.5)) < 1e-9);
    /* alone it cannot take more than both had */
    compute.point[0].alone = 0.1 / 5.0;
    compute.point[1].alone = 1.0 / 5.0;
    assert_ok(adamoe_cost_of_layer(&c, &network, &compute, &alone, &t));
    assert_true(fabs(t.total - (stay1 + arrive + (stay0 - stay1) / 2.0)) < 1e-9);
    adamoe_crossing_free(&c);
}

/* Exchanges that follow the model are found again, with rendezvous and without. */
static void the_wire_is_found_again(void **state)
{
    (void)state;
    const adamoe_cost_network truth[] = {{.latency = 1e-5,
                                          .overhead = 2e-6,
                                          .rendezvous = 4e-5,
                                          .eager = 4000.0,
                                          .bandwidth = 1e9,
                                          .chunks = 1},
                                         {.latency = 1e-3,
                                          .overhead = 0.0,
                                          .rendezvous = 0.0,
                                          .eager = 0.0,
                                          .bandwidth = 1.25e8,
                                          .chunks = 1}};
    for (size_t n = 0; n < 2; ++n) {
        for (size_t peers = 1; peers < 8; peers += 3) {
            adamoe_exchange_time exchange[7];
            for (size_t i = 0; i < 7; ++i) {
                const double bytes = i == 0 ? 0.0 : 250.0 * pow(4.0, (double)i), all = bytes * (double)peers;
                /* the first without outputs; outputs of the others are twice as long */
                exchange[i] = (adamoe_exchange_time){
                    bytes, 2.0 * bytes,
                    adamoe_cost_wire(&truth[n], all, all, peers, 1) +
                        adamoe_cost_wire(&truth[n], 2.0 * all, 2.0 * all, i == 0 ? 0 : peers, 1)};
            }
            adamoe_cost_network found = {.chunks = 1};
            adamoe_fit_wire(truth[n].latency, peers, exchange, 7, &found);
            assert_true(fabs(found.latency / truth[n].latency - 1.0) < 1e-6);
            assert_true(fabs(found.bandwidth / truth[n].bandwidth - 1.0) < 1e-6);
            assert_true(fabs(found.rendezvous - truth[n].rendezvous) < 1e-9);
            assert_true(peers == 1 || fabs(found.overhead - truth[n].overhead) < 1e-9);
            assert_true(n == 1 ||
                        (found.eager > 4000.0 - 1e-6 && found.eager < 8000.0)); /* sizes of messages */
        }
    }
}

/* ---------------------------------------------------------------------------------------------- selections */

static void drawn_tokens_have_the_load(void **state)
{
    (void)state;
    enum { TOKENS = 20000 };
    static uint32_t id[TOKENS * 3];
    const double liking[] = {4.0, 2.0, 1.0, 1.0};
    adamoe_selections s;
    adamoe_splitmix64 random = {11};
    size_t of[8] = {0}, true_ones = 0;
    assert_ok(adamoe_selections_drawn((adamoe_mixture){4, 3, 3}, 1.5, liking, &s));
    adamoe_selections_take(&s, 0, TOKENS, &random, id);
    for (size_t t = 0; t < TOKENS; ++t) {
        const uint32_t *token = id + 3 * t;
        assert_true(token[0] != token[1] && token[0] != token[2] && token[1] != token[2]);
        for (size_t j = 0; j < 3; ++j) {
            assert_true(token[j] < 7);
            true_ones += token[j] < 4;
        }
        ++of[token[0]]; /* the first pick alone goes by the weights */
    }
    /* 60,000 trials of probability 1/2, and the first is true in half of the tokens but for 1/8 that have none */
    assert_true(fabs((double)true_ones / TOKENS - 1.5) < 5 * sqrt(0.75 / TOKENS));
    const double firsts = 0.875 * TOKENS;
    for (size_t e = 0; e < 4; ++e) {
        const double share = liking[e] / 8.0;
        assert_true(fabs((double)of[e] - share * firsts) < 5 * sqrt(share * firsts));
    }
    adamoe_selections_free(&s);
}

/* Of three selections two are true at least where there is one null expert: it has no second one to go to. */
static void no_token_has_more_null_experts_than_there_are(void **state)
{
    (void)state;
    enum { TOKENS = 20000 };
    static uint32_t id[TOKENS * 3], baseline[TOKENS * 2];
    const adamoe_mixture mixture = {4, 1, 3};
    const double liking[] = {1.0, 1.0, 1.0, 1.0};
    adamoe_selections s;
    adamoe_splitmix64 random = {13};
    assert_ok(adamoe_selections_drawn(mixture, 2.25, liking, &s));
    for (int pairs = 0; pairs < 2; ++pairs) {
        size_t true_ones = 0;
        if (pairs) {
            assert_ok(adamoe_selections_pair(mixture, 2.25, 2, TOKENS, &random, id, baseline));
        } else {
            adamoe_selections_take(&s, 0, TOKENS, &random, id);
        }
        for (size_t i = 0; i < TOKENS * 3; ++i) {
            assert_true(id[i] < 5);
            true_ones += id[i] < 4;
        }
        assert_true(fabs((double)true_ones / TOKENS - 2.25) < 5 * sqrt(0.25 * 0.75 / TOKENS));
    }
    adamoe_selections_free(&s);
}

/* Whatever their weights, all that are left are picked as often as they weigh among each other; without a weight the
 * first one is. Tries among all experts would never find the second one. */
static void experts_that_are_hardly_liked_are_picked_too(void **state)
{
    (void)state;
    enum { TOKENS = 20000 };
    static uint32_t id[TOKENS * 3];
    const double liking[] = {1.0, 3e-30, 1e-30, 0.0, 0.0};
    adamoe_selections s;
    adamoe_splitmix64 random = {14};
    size_t seconds = 0;
    assert_ok(adamoe_selections_drawn((adamoe_mixture){5, 0, 3}, 3.0, liking, &s));
    adamoe_selections_take(&s, 0, TOKENS, &random, id);
    for (size_t t = 0; t < TOKENS; ++t) {
        const uint32_t *token = id + 3 * t;
        assert_true(token[0] == 0 && token[1] + token[2] == 3 && (token[1] == 1 || token[1] == 2));
        seconds += token[1] == 1;
    }
    assert_true(fabs((double)seconds / TOKENS - 0.75) < 5 * sqrt(0.25 * 0.75 / TOKENS));
    adamoe_selections_free(&s);
    const double nothing[] = {1.0, 0.0, 0.0, 0.0, 0.0};
    assert_ok(adamoe_selections_drawn((adamoe_mixture){5, 0, 3}, 3.0, nothing, &s));
    adamoe_selections_take(&s, 0, 1, &random, id);
    assert_true(id[0] == 0 && id[1] == 1 && id[2] == 2);
    adamoe_selections_free(&s);
}

/* With null experts a token has the first of the experts that it has without; in the mean as many as the load says. */
static void both_sides_have_the_same_tokens(void **state)
{
    (void)state;
    enum { TOKENS = 20000 };
    static uint32_t adaptive[TOKENS * 3], baseline[TOKENS * 2];
    adamoe_splitmix64 random = {12};
    size_t true_ones = 0;
    assert_ok(
        adamoe_selections_pair((adamoe_mixture){8, 8, 3}, 1.67, 2, TOKENS, &random, adaptive, baseline));
    for (size_t t = 0; t < TOKENS; ++t) {
        const uint32_t *a = adaptive + 3 * t, *b = baseline + 2 * t;
        assert_true(b[0] < 8 && b[1] < 8 && b[0] != b[1]);
        for (size_t j = 0; j < 3; ++j) {
            assert_true(a[j] < 16 && (j == 0 || a[j] >= 8 || a[j - 1] < 8)); /* null experts come last */
            assert_true(a[j] >= 8 || (j < 2 ? a[j] == b[j] : a[j] != b[0] && a[j] != b[1]));
            true_ones += a[j] < 8;
        }
    }
    const double share = 1.67 / 3.0;
    assert_true(fabs((double)true_ones / TOKENS - 1.67) < 5 * sqrt(3 * share * (1 - share) / TOKENS));
}

/* ----------------------------------------------------------------------------------------------- measuring */

static void rounds_fit_the_budget(void **state)
{
    (void)state;
    assert_int_equal(adamoe_rounds_planned(1.0, 12.5), 12);
    assert_int_equal(adamoe_rounds_planned(10.0, 12.5), ADAMOE_LEAST_ROUNDS);
    assert_int_equal(adamoe_rounds_planned(1e-3, 12.5), 20); /* and 10 that can be repeated */
    const adamoe_rounds rounds = {.number = {3, 0, 2}, .count = 3};
    const double seconds[ADAMOE_MOST_ROUNDS] = {5.0, 100.0, 7.0, 1.0};
    assert_true(adamoe_rounds_median(&rounds, seconds) == 5.0);
}

/* A world of two ranks, whose other one sends zeros: it takes part in barriers and means, and what it asks for in a layer
 * is no request. */
static adamoe_status give_zeros(void *world, uint32_t from, uint32_t tag, void *data, size_t bytes,
                                adamoe_message *out)
{
    (void)world;
    (void)tag;
    memset(data, 0, bytes);
    *out = (adamoe_message){.peer = from, .done = true};
    return adamoe_ok();
}

static adamoe_status swallow(void *world, uint32_t to, uint32_t tag, const void *data, size_t bytes,
                             adamoe_message *out)
{
    (void)world;
    (void)tag;
    (void)data;
    (void)bytes;
    *out = (adamoe_message){.peer = to, .done = true};
    return adamoe_ok();
}

static adamoe_status is_done(void *world, adamoe_message *message)
{
    (void)world;
    message->done = true;
    return adamoe_ok();
}

/* What was allocated and not given back, and how much that was when everything was to stop. */
typedef struct ledger {
    adamoe_host host;
    size_t live, most, when_stopped;
} ledger;

static void *allocate_counted(void *context, size_t bytes, size_t alignment)
{
    ledger *l = context;
    ++l->live;
    l->most = l->live > l->most ? l->live : l->most;
    return l->host.allocate(l->host.context, bytes, alignment);
}

static void release_counted(void *context, void *memory)
{
    ledger *l = context;
    --l->live;
    l->host.release(l->host.context, memory);
}

static void note_stop(void *context, const adamoe_status *status)
{
    ledger *l = context;
    assert_non_null(strstr(status->message, "rank 1 sent what is no request"));
    l->when_stopped = l->live;
}

static void nothing_is_given_back_before_ranks_stop(void **state)
{
    (void)state;
    static adamoe_calibration c;
    const adamoe_world world = {.ranks = 2, .send = swallow, .receive = give_zeros, .test = is_done};
    const adamoe_machine_options wanted = {.threads = 1};
    adamoe_machine machine;
    assert_ok(adamoe_machine_open(&wanted, &machine));
    ledger l = {.host = machine.host};
    adamoe_machine counted = machine;
    counted.host.context = &l;
    counted.host.allocate = allocate_counted;
    counted.host.release = release_counted;
    counted.host.allocate_on = NULL; /* allocate serves */
    const adamoe_measure m = {.world = &world,
                              .machine = &counted,
                              .kernel = &adamoe_reference_kernel,
                              .preset = &adamoe_presets[0],
                              .chunks = 2,
                              .most_seconds = 1e-9,
                              .budget = 1.0,
                              .quiet = true,
                              .stop = note_stop,
                              .stop_context = &l};
    assert_int_equal(adamoe_measure_all(&m, &c).code, ADAMOE_ENVIRONMENT);
    assert_true(l.most >= 3 && l.when_stopped == l.most); /* x, y and workspace of a call */
    assert_int_equal(l.live, 0);
    adamoe_machine_close(&machine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_and_inputs_are_counted),
        cmocka_unit_test(ranks_form_groups),
        cmocka_unit_test(an_expert_takes_its_time),
        cmocka_unit_test(a_message_takes_its_time),
        cmocka_unit_test(a_layer_takes_its_time),
        cmocka_unit_test(ranks_wait_for_each_other),
        cmocka_unit_test(the_wire_is_found_again),
        cmocka_unit_test(drawn_tokens_have_the_load),
        cmocka_unit_test(no_token_has_more_null_experts_than_there_are),
        cmocka_unit_test(experts_that_are_hardly_liked_are_picked_too),
        cmocka_unit_test(both_sides_have_the_same_tokens),
        cmocka_unit_test(rounds_fit_the_budget),
        cmocka_unit_test(nothing_is_given_back_before_ranks_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Experts over ranks, which are threads here: the bits of one rank, whatever the number of ranks, the
 * assignment, the chunks and the plan; counters equal to what is predicted, to the byte; rubbish is
 * refused.
 */
#include "kernels/mpi/threads_world.h"
#include "layers/random_layer.h"
#include "layers/routing_pattern.h"
#include "machine/host.h"
#include "machine/team.h"
#include "mpi/sharded.h"
#include "mpi/volume.h"
#include "numbers.h"
#include "plan.h"
#include "registry.h"
#include "router.h"

#define MOST_RANKS 7
#define LAYERS     3

static const adamoe_layer_sizes sizes = {
    .hidden_size = 40, .intermediate_size = 24, .experts = 6, .null_experts = 4};

typedef struct subject {
    adamoe_registry *registry;
    const adamoe_kernel *kernel;
    adamoe_random_layer layer[LAYERS], dense;
} subject;

/* ------------------------------------------------------------------ a kernel that rounds x to bfloat16
 * itself */

/* Its experts are those of avx2-f32 or of the definition, of rounded inputs. */
static const adamoe_kernel *rounded_inner;

static adamoe_status rounded_experts(adamoe_prepared *prepared, const adamoe_run *run, const float *x,
                                     const adamoe_plan *plan, float *y)
{
    adamoe_plan scaled = *plan;
    const size_t d = sizes.hidden_size;
    float *rounded = calloc(plan->rows * d + 1, sizeof *rounded);
    uint32_t *own = calloc(plan->rows + 1, sizeof *own);
    assert_non_null(rounded);
    assert_non_null(own);
    for (size_t r = 0; r < plan->rows; ++r) {
        for (size_t j = 0; j < d; ++j) {
            const float scale = plan->dispatch == NULL ? 1.0f : plan->dispatch[r];
            rounded[r * d + j] =
                adamoe_bf16_to_float(adamoe_float_to_bf16(scale * x[plan->input[r] * d + j]));
        }
        own[r] = (uint32_t)r;
    }
    scaled.dispatch = NULL;
    scaled.inputs = plan->rows;
    scaled.input = own;
    scaled.self_scale = NULL;
    const adamoe_status status = rounded_inner->experts(prepared, run, rounded, &scaled, y);
    free(rounded);
    free(own);
    return status;
}

/* --------------------------------------------------------------------------------------------- plans of
 * ranks */

typedef struct batch {
    adamoe_routing *routing;
    adamoe_plan *plan;
    adamoe_plan given; /* what the kernel gets */
    float *dispatch, *x, *y, *expected;
} batch;

typedef enum kind { ZERO, IDENTITY, DISPATCH, KINDS } kind;

static void batch_create(const subject *s, uint32_t rank, uint32_t ranks, size_t layer, kind what, batch *out)
{
    const size_t d = sizes.hidden_size;
    /* The last rank of several has no tokens; one of the others has a token without a row. */
    const size_t tokens = ranks > 1 && rank == ranks - 1 ? 0 : 5 + 11 * rank;
    adamoe_splitmix64 random = adamoe_random_for("sharded", rank * 31 + layer);
    const adamoe_mixture mixture = {sizes.experts, sizes.null_experts, 4};
    const adamoe_null_kind null_kind = what == IDENTITY ? ADAMOE_NULL_IDENTITY : ADAMOE_NULL_ZERO;
    assert_ok(adamoe_pattern_routing(rank == 1 ? ADAMOE_PATTERN_NULL : ADAMOE_PATTERN_RANDOM, mixture,
                                     null_kind, 2.0, tokens, &random, &out->routing));
    assert_ok(adamoe_plan_create(out->routing, &out->plan));
    out->given = *out->plan;
    out->x = calloc(tokens * d + 1, sizeof *out->x);
    out->y = calloc(tokens * d + 1, sizeof *out->y);
    out->expected = calloc(tokens * d + 1, sizeof *out->expected);
    out->dispatch = calloc(out->plan->rows + 1, sizeof *out->dispatch);
    adamoe_random_states(&random, tokens * d, out->x);
    for (size_t r = 0; r < out->plan->rows; ++r) {
        out->dispatch[r] = adamoe_splitmix64_uniform(&random);
    }
    out->given.dispatch = what == DISPATCH ? out->dispatch : NULL;
    (void)s;
}

static void batch_free(batch *b)
{
    adamoe_routing_free(b->routing);
    adamoe_plan_free(b->plan);
    free(b->dispatch);
    free(b->x);
    free(b->y);
    free(b->expected);
}

/* On one rank, which has all experts. */
static void compute_alone(const adamoe_kernel *kernel, const adamoe_layer *layer, batch *b)
{
    adamoe_team *team = NULL;
    adamoe_prepared *prepared = NULL;
    const adamoe_placement placement = adamoe_one_node(1);
    assert_ok(adamoe_team_create(1, &team));
    assert_ok(kernel->prepare(&adamoe_heap_host, layer, &placement, &prepared));
    adamoe_run run = {.team = team,
                      .work_bytes = kernel->work_bytes(prepared, b->given.rows, b->given.tokens)};
    run.work = adamoe_heap_host.allocate(NULL, run.work_bytes + 1, 64);
    assert_ok(kernel->experts(prepared, &run, b->x, &b->given, b->expected));
    adamoe_heap_host.release(NULL, run.work);
    kernel->release(prepared);
    adamoe_team_free(team);
}

/* -----------------------------------------------------------------------------------------------------
 * ranks */

typedef struct setting {
    uint32_t ranks, chunks;
    bool overlap;
    adamoe_assign *assign;
    kind what;
} setting;

typedef struct rank_thread {
    const subject *subject;
    const adamoe_kernel *kernel;
    setting set;
    adamoe_world world;
    thread_rank *transport;
    adamoe_status status;
    adamoe_rank_counters counters;
    adamoe_volume volume[MOST_RANKS]; /* what is predicted, over all layers */
    size_t differing;
} rank_thread;

static void in_turn(const void *context, size_t layer, size_t experts, uint32_t ranks,
                    uint32_t *rank_of_expert)
{
    (void)context;
    for (size_t e = 0; e < experts; ++e) { /* layers differ */
        rank_of_expert[e] = (uint32_t)(layer == 2 ? experts - e : e) % ranks;
    }
}

/* All on the last rank. */
static void all_on_one(const void *context, size_t layer, size_t experts, uint32_t ranks,
                       uint32_t *rank_of_expert)
{
    (void)context;
    (void)layer;
    for (size_t e = 0; e < experts; ++e) {
        rank_of_expert[e] = ranks - 1;
    }
}

static void predict(rank_thread *t, const adamoe_sharded *sharded, const batch *b, size_t layer)
{
    const adamoe_wire wire = adamoe_wire_of(t->kernel, sizes.hidden_size);
    adamoe_volume volume[MOST_RANKS];
    uint32_t *seen = calloc(b->given.inputs + 1, sizeof *seen);
    adamoe_volume_of_plan(&b->given, adamoe_sharded_assignment(sharded, layer), t->world.rank, t->world.ranks,
                          &wire, seen, volume);
    free(seen);
    for (uint32_t r = 0; r < t->world.ranks; ++r) {
        t->volume[r].rows += volume[r].rows;
        t->volume[r].inputs += volume[r].inputs;
        t->volume[r].request_bytes += volume[r].request_bytes;
        t->volume[r].result_bytes += volume[r].result_bytes;
    }
    if (t->set.what != DISPATCH) {
        adamoe_volume again[MOST_RANKS];
        adamoe_volume_of_choices(b->routing->id, b->given.tokens, b->routing->rule.top_k, sizes.experts,
                                 adamoe_sharded_assignment(sharded, layer), t->world.rank, t->world.ranks,
                                 &wire, again);
        t->differing += memcmp(again, volume, t->world.ranks * sizeof *again) != 0;
    }
}

static adamoe_status run_layers(rank_thread *t, const adamoe_sharded *sharded, const adamoe_team *team)
{
    const adamoe_kernel *kernel = adamoe_sharded_kernel(sharded);
    const adamoe_placement placement = adamoe_one_node(team->threads);
    adamoe_prepared *prepared[LAYERS + 1] = {NULL};
    adamoe_status status = adamoe_ok();
    for (size_t i = 0; i <= LAYERS && status.code == ADAMOE_OK; ++i) {
        const adamoe_layer *layer = i < LAYERS ? &t->subject->layer[i].layer : &t->subject->dense.layer;
        status = kernel->prepare(&adamoe_heap_host, layer, &placement, &prepared[i]);
    }
    for (size_t i = 0; i < LAYERS && status.code == ADAMOE_OK; ++i) {
        batch b;
        batch_create(t->subject, t->world.rank, t->world.ranks, i, t->set.what, &b);
        compute_alone(t->kernel, &t->subject->layer[i].layer, &b);
        adamoe_run run = {.team = team,
                          .work_bytes = kernel->work_bytes(prepared[i], b.given.rows, b.given.tokens)};
        run.work = adamoe_heap_host.allocate(NULL, run.work_bytes + 1, 64);
        status = kernel->experts(prepared[i], &run, b.x, &b.given, b.y);
        adamoe_heap_host.release(NULL, run.work);
        t->differing += status.code == ADAMOE_OK &&
                        memcmp(b.y, b.expected, b.given.tokens * sizes.hidden_size * sizeof *b.y) != 0;
        if (t->world.ranks > 1) {
            predict(t, sharded, &b, i);
        }
        batch_free(&b);
    }
    for (size_t i = 0; i <= LAYERS; ++i) {
        kernel->release(prepared[i]);
    }
    return status;
}

static void *run_rank(void *context)
{
    rank_thread *t = context;
    adamoe_sharded *sharded = NULL;
    adamoe_team *team = NULL;
    const adamoe_sharded_options options = {
        .world = &t->world, .assign = t->set.assign, .chunks = t->set.chunks, .overlap = t->set.overlap};
    assert_ok(adamoe_team_create(1 + t->world.rank % 2, &team));
    assert_ok(adamoe_sharded_create(t->kernel, &options, &sharded));
    t->status = run_layers(t, sharded, team);
    if (t->status.code != ADAMOE_OK) {
        t->world.tell(t->world.state, &t->status);
    }
    t->counters = adamoe_sharded_counters(sharded);
    adamoe_sharded_free(sharded);
    adamoe_team_free(team);
    return NULL;
}

static void run_ranks(const subject *s, const adamoe_kernel *kernel, setting set, spoil_letter *spoil,
                      rank_thread thread[MOST_RANKS])
{
    threads_world world;
    pthread_t id[MOST_RANKS];
    threads_world_open(&world, set.ranks);
    world.spoil = spoil;
    for (uint32_t r = 0; r < set.ranks; ++r) {
        thread[r] = (rank_thread){.subject = s, .kernel = kernel, .set = set};
        thread[r].world = threads_world_rank(&world, r);
        thread[r].transport = &world.rank[r];
    }
    for (uint32_t r = 0; r < set.ranks; ++r) {
        assert_int_equal(pthread_create(&id[r], NULL, run_rank, &thread[r]), 0);
    }
    for (uint32_t r = 0; r < set.ranks; ++r) {
        pthread_join(id[r], NULL);
    }
    uint64_t sent[MOST_RANKS], received[MOST_RANKS];
    for (uint32_t r = 0; r < set.ranks; ++r) {
        sent[r] = world.rank[r].bytes_sent;
        received[r] = world.rank[r].bytes_received;
    }
    assert_true(threads_world_close(&world) == 0 || spoil != NULL);
    for (uint32_t r = 0; r < set.ranks && spoil == NULL; ++r) {
        assert_int_equal(thread[r].counters.bytes_sent, sent[r]);
        assert_int_equal(thread[r].counters.bytes_received, received[r]);
    }
}

/* Each number of the counters from what all ranks predicted. */
static void check_counters(const rank_thread *thread, uint32_t ranks)
{
    for (uint32_t r = 0; r < ranks; ++r) {
        const adamoe_rank_counters *c = &thread[r].counters;
        uint64_t sent = 0, received = 0, rows_sent = 0, served = 0, inputs = 0;
        for (uint32_t o = 0; o < ranks; ++o) {
            if (o != r) {
                const adamoe_volume *asks = &thread[r].volume[o], *serves = &thread[o].volume[r];
                sent += asks->request_bytes + serves->result_bytes;
                received += serves->request_bytes + asks->result_bytes;
                rows_sent += asks->rows;
                inputs += asks->inputs;
                served += serves->rows;
            }
        }
        assert_int_equal(c->exchanges, ranks == 1 ? 0 : LAYERS);
        assert_int_equal(c->bytes_sent, sent);
        assert_int_equal(c->bytes_received, received);
        assert_int_equal(c->rows_sent, rows_sent);
        assert_int_equal(c->inputs_sent, inputs);
        assert_int_equal(c->rows_served, served);
        assert_int_equal(c->rows_kept, thread[r].volume[r].rows);
        assert_int_equal(c->home_rows, c->rows_kept + c->rows_sent);
        assert_true(c->waiting >= 0.0 && c->waiting <= c->communication && c->communication <= c->seconds);
    }
}

static void check_setting(const subject *s, const adamoe_kernel *kernel, setting set)
{
    rank_thread thread[MOST_RANKS];
    run_ranks(s, kernel, set, NULL, thread);
    for (uint32_t r = 0; r < set.ranks; ++r) {
        assert_ok(thread[r].status);
        if (thread[r].differing != 0) {
            fail_msg("%s, rank %u of %u, chunks %u, overlap %d, kind %d: %zu results differ", kernel->name, r,
                     set.ranks, set.chunks, set.overlap, (int)set.what, thread[r].differing);
        }
    }
    check_counters(thread, set.ranks);
}

static void check_kernel(const subject *s, const adamoe_kernel *kernel)
{
    const uint32_t ranks[] = {1, 2, 3, 4, 7};
    adamoe_assign *const assigns[] = {NULL, in_turn, all_on_one};
    for (size_t i = 0; i < sizeof ranks / sizeof *ranks; ++i) {
        for (size_t a = 0; a < sizeof assigns / sizeof *assigns; ++a) {
            for (kind what = ZERO; what < KINDS; ++what) {
                check_setting(
                    s, kernel,
                    (setting){ranks[i], 1 + (uint32_t)(a + what) % 3, (a + what) % 2 == 0, assigns[a], what});
            }
        }
    }
}

/* -----------------------------------------------------------------------------------------------------
 * tests */

static int open_subject(void **state)
{
    static subject s;
    adamoe_splitmix64 random = adamoe_random_for("sharded weights", 1);
    assert_ok(adamoe_registry_create(&s.registry));
    for (size_t i = 0; i < LAYERS; ++i) {
        assert_ok(adamoe_random_layer_create(sizes, ADAMOE_F32, 0, &random, &s.layer[i]));
    }
    const adamoe_layer_sizes dense = {sizes.hidden_size, sizes.intermediate_size, 1, 0};
    assert_ok(adamoe_random_layer_create(dense, ADAMOE_F32, 0, &random, &s.dense));
    *state = &s;
    return 0;
}

static int close_subject(void **state)
{
    subject *s = *state;
    for (size_t i = 0; i < LAYERS; ++i) {
        adamoe_random_layer_free(&s->layer[i]);
    }
    adamoe_random_layer_free(&s->dense);
    adamoe_registry_free(s->registry);
    return 0;
}

static bool runs(const adamoe_kernel *kernel)
{
    const char *why_not = NULL;
    return kernel->supported(&why_not);
}

static void any_number_of_ranks_gives_the_bits_of_one(void **state)
{
    const subject *s = *state;
    size_t tried = 0;
    for (size_t i = 0; i < adamoe_registry_count(s->registry); ++i) {
        const adamoe_kernel *kernel = adamoe_registry_at(s->registry, i);
        if (runs(kernel) && kernel->combine != NULL && (kernel->guarantees & ADAMOE_SAME_BITS_BATCH) != 0) {
            check_kernel(s, kernel);
            ++tried;
        }
    }
    if (tried == 0) {
        print_message("skipped: no kernel that runs here promises the same bits for any batch\n");
        skip();
    }
}

/* The wire carries bfloat16 there. */
static void rounded_inputs_travel_as_bfloat16(void **state)
{
    const subject *s = *state;
    rounded_inner = adamoe_registry_default(s->registry);
    if (rounded_inner->combine == NULL) {
        print_message("skipped: the default kernel has no `combine'\n");
        skip();
    }
    adamoe_kernel rounded = *rounded_inner;
    rounded.name = "rounded";
    rounded.x = ADAMOE_BFLOAT16;
    rounded.experts = rounded_experts;
    for (uint32_t chunks = 1; chunks <= 2; ++chunks) {
        check_setting(s, &rounded, (setting){3, chunks, true, in_turn, ZERO});
        check_setting(s, &rounded, (setting){2, chunks, false, NULL, DISPATCH});
    }
}

/* A kernel without `combine` is near, not equal. */
static void the_definition_is_near(void **state)
{
    const subject *s = *state;
    const adamoe_kernel *reference = adamoe_registry_find(s->registry, "reference");
    assert_null(reference->combine);
    rank_thread thread[MOST_RANKS];
    run_ranks(s, reference, (setting){3, 2, true, NULL, IDENTITY}, NULL, thread);
    for (uint32_t r = 0; r < 3; ++r) {
        assert_ok(thread[r].status);
    }
    check_counters(thread, 3);
}

/* Which message is spoilt, once: the first of a rank with a tag (exchange_parts.h: 0 head, 1 index), and its
 * byte, from its end where that is negative. */
typedef struct spoilt {
    uint32_t from, tag;
    int byte;
    const char *says;
} spoilt;

static const spoilt *spoils;
static bool done;

static void flip_byte(letter *l, size_t number)
{
    (void)number;
    if (!done && l->from == spoils->from && l->tag == spoils->tag) {
        l->data[spoils->byte < 0 ? (int)l->bytes + spoils->byte : spoils->byte] ^= 0x41;
        done = true;
    }
}

/* All experts are on rank 1 of two, and all tokens on rank 0. What is wrong is found by the one who gets
 * it, and told to all. */
static void rubbish_is_refused(void **state)
{
    const subject *s = *state;
    static const spoilt cases[] = {{1, 0, 0, "another beginning"},
                                   {1, 0, 4, "at layer"},
                                   {1, 0, 9, "of call"},
                                   {1, 0, 16, "do not go together"},
                                   {1, 0, 26, "live on other ranks"},
                                   {0, 1, 3, "do not add up"},
                                   {0, 1, -1, "without an input"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
        rank_thread thread[MOST_RANKS];
        spoils = &cases[i];
        done = false;
        run_ranks(s, adamoe_registry_default(s->registry), (setting){2, 1, true, all_on_one, ZERO}, flip_byte,
                  thread);
        assert_true(done);
        for (uint32_t r = 0; r < 2; ++r) {
            assert_error(thread[r].status, ADAMOE_ENVIRONMENT, cases[i].says);
        }
    }
}

static bool refuses; /* at first */

static void with_a_rank_that_there_is_not(const void *context, size_t layer, size_t experts, uint32_t ranks,
                                          uint32_t *rank_of_expert)
{
    in_turn(context, layer, experts, ranks, rank_of_expert);
    rank_of_expert[1] = refuses ? ranks : rank_of_expert[1];
}

static adamoe_status fail_to_prepare(const adamoe_host *host, const adamoe_layer *layer,
                                     const adamoe_placement *placement, adamoe_prepared **out)
{
    (void)host;
    (void)layer;
    (void)placement;
    (void)out;
    return adamoe_error(ADAMOE_ENVIRONMENT, "no room");
}

/* A layer whose preparing failed has no number: the next one is layer 0. Nothing travels. */
static void a_layer_that_is_not_prepared_is_forgotten(void **state)
{
    const subject *s = *state;
    adamoe_kernel inner = *adamoe_registry_default(s->registry);
    const adamoe_kernel whole = inner;
    const adamoe_world world = {.rank = 0, .ranks = 2};
    const adamoe_sharded_options options = {
        .world = &world, .assign = with_a_rank_that_there_is_not, .chunks = 1};
    const adamoe_placement placement = adamoe_one_node(1);
    adamoe_sharded *sharded = NULL;
    adamoe_prepared *prepared = NULL;
    assert_ok(adamoe_sharded_create(&inner, &options, &sharded));
    const adamoe_kernel *kernel = adamoe_sharded_kernel(sharded);
    refuses = true;
    assert_error(kernel->prepare(&adamoe_heap_host, &s->layer[0].layer, &placement, &prepared),
                 ADAMOE_BAD_INPUT, "expert 1 on rank 2 of 2");
    refuses = false;
    inner.prepare = fail_to_prepare;
    assert_error(kernel->prepare(&adamoe_heap_host, &s->layer[0].layer, &placement, &prepared),
                 ADAMOE_ENVIRONMENT, "no room");
    inner.prepare = whole.prepare;
    assert_null(adamoe_sharded_assignment(sharded, 0));
    assert_ok(kernel->prepare(&adamoe_heap_host, &s->layer[0].layer, &placement, &prepared));
    assert_non_null(adamoe_sharded_assignment(sharded, 0));
    assert_null(adamoe_sharded_assignment(sharded, 1));
    kernel->release(prepared);
    adamoe_sharded_free(sharded);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_number_of_ranks_gives_the_bits_of_one),
        cmocka_unit_test(rounded_inputs_travel_as_bfloat16),
        cmocka_unit_test(the_definition_is_near),
        cmocka_unit_test(rubbish_is_refused),
        cmocka_unit_test(a_layer_that_is_not_prepared_is_forgotten),
    };
    return cmocka_run_group_tests(tests, open_subject, close_subject);
}

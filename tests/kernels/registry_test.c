/*
 * The registry, and a plugin that is built outside the tree: in a folder that holds its source and a copy of
 * the public header, by whatever C compiler the machine has. Skipped, visibly, where there is none.
 */
#include "temporary_folder.h"
#include "machine/host.h"
#include "router.h"
#include "plan.h"
#include "kernel/kernel.h"
#include "registry.h"
#include "machine/team.h"

static void built_in_kernels(void **state)
{
    (void)state;
    adamoe_registry *registry = NULL;
    assert_ok(adamoe_registry_create(&registry));
    const adamoe_kernel *reference = adamoe_registry_find(registry, "reference");
    assert_ptr_equal(reference, &adamoe_reference_kernel);
    assert_null(adamoe_registry_find(registry, "no such"));
    /* The last float32 kernel of all that come with the project and run here. */
    const adamoe_kernel *last = NULL;
    for (size_t i = 0; i < adamoe_registry_count(registry); ++i) {
        const adamoe_kernel *kernel = adamoe_registry_at(registry, i);
        const bool float32 =
            kernel->x == ADAMOE_FLOAT32 && kernel->h == ADAMOE_FLOAT32 && kernel->weight == ADAMOE_FLOAT32;
        const char *why_not = NULL;
        last = float32 && kernel->supported(&why_not) ? kernel : last;
    }
    assert_ptr_equal(adamoe_registry_default(registry), last);
    for (size_t i = 0; i < adamoe_registry_count(registry); ++i) {
        const adamoe_kernel *kernel = adamoe_registry_at(registry, i);
        assert_int_equal(kernel->abi, ADAMOE_ABI);
        assert_ptr_equal(adamoe_registry_find(registry, kernel->name), kernel);
    }
    adamoe_registry_free(registry);
}

static bool run_command(const char *format, const char *a, const char *b, const char *c)
{
    char command[2048];
    (void)snprintf(command, sizeof command, format, a, b, c);
    return system(command) == 0;
}

/* Compiles `source` in the folder, against a copy of the header and nothing else. */
static bool build_plugin(const char *folder, const char *source, const char *options)
{
    char copied[1024];
    (void)snprintf(copied, sizeof copied, "%s/plugin.c", folder);
    return run_command("cp '%s' '%s/adamoe.h'%s", SOURCE_PATH("reference/adamoe.h"), folder, "") &&
           run_command("cp '%s' '%s'%s", source, copied, "") &&
           run_command(
               "cd '%s' && cc -std=c17 -Wall -Wextra -Wpedantic -Werror -O1 -shared -fPIC -I. %s plugin.c "
               "-o plugin.so -lm%s",
               folder, options, "");
}

static bool have_compiler(void)
{
    return system("cc --version > /dev/null 2>&1") == 0;
}

#define SKIP_WITHOUT_COMPILER()                                                                              \
    do {                                                                                                     \
        if (!have_compiler()) {                                                                              \
            print_message("skipped: there is no cc to build a plugin with\n");                               \
            skip();                                                                                          \
        }                                                                                                    \
    } while (0)

enum { D = 6, FF = 5, N = 3, T = 4 };

/* y of one small layer, by any kernel. */
static void run_kernel(const adamoe_kernel *kernel, float *y)
{
    float weights[N * 3 * D * FF], x[T * D], logits[T * (N + 1)];
    for (size_t i = 0; i < sizeof weights / sizeof *weights; ++i) {
        weights[i] = sinf((float)i * 0.7f);
    }
    for (size_t i = 0; i < T * D; ++i) {
        x[i] = cosf((float)i * 1.3f);
    }
    for (size_t i = 0; i < T * (N + 1); ++i) {
        logits[i] = sinf((float)i * 2.1f);
    }
    adamoe_expert experts[N];
    for (size_t e = 0; e < N; ++e) {
        const float *w = weights + e * 3 * D * FF;
        experts[e] = (adamoe_expert){.w1 = {w, ADAMOE_F32, FF, D},
                                     .w3 = {w + D * FF, ADAMOE_F32, FF, D},
                                     .w2 = {w + 2 * D * FF, ADAMOE_F32, D, FF}};
    }
    const adamoe_layer layer = {
        .hidden_size = D, .intermediate_size = FF, .experts = N, .null_experts = 1, .expert = experts};
    adamoe_routing *routing = NULL;
    adamoe_plan *plan = NULL;
    adamoe_team *team = NULL;
    adamoe_prepared *prepared = NULL;
    const adamoe_placement placement = adamoe_one_node(2);
    assert_ok(adamoe_routing_create(logits, T, N, 1,
                                    (adamoe_rule){.top_k = 2, .null_kind = ADAMOE_NULL_IDENTITY}, &routing));
    assert_ok(adamoe_plan_create(routing, &plan));
    assert_ok(adamoe_team_create(2, &team));
    assert_ok(kernel->prepare(&adamoe_heap_host, &layer, &placement, &prepared));
    const size_t bytes = kernel->work_bytes(prepared, plan->rows, plan->tokens);
    adamoe_run run = {.team = team, .work = adamoe_heap_host.allocate(NULL, bytes, 64), .work_bytes = bytes};
    assert_ok(kernel->experts(prepared, &run, x, plan, y));
    adamoe_heap_host.release(NULL, run.work);
    kernel->release(prepared);
    kernel->release(NULL);
    adamoe_team_free(team);
    adamoe_plan_free(plan);
    adamoe_routing_free(routing);
}

/* With d = ff = 1 and weights of 1, y = silu(x) * x; exp(89) is above the largest float. */
static void check_silu(const adamoe_kernel *kernel)
{
    static const float x[] = {-89.0f, 100.0f}, one = 1.0f, logits[2] = {0.0f, 0.0f};
    const adamoe_expert expert = {
        .w1 = {&one, ADAMOE_F32, 1, 1}, .w3 = {&one, ADAMOE_F32, 1, 1}, .w2 = {&one, ADAMOE_F32, 1, 1}};
    const adamoe_layer layer = {.hidden_size = 1, .intermediate_size = 1, .experts = 1, .expert = &expert};
    const adamoe_placement placement = adamoe_one_node(1);
    adamoe_routing *routing = NULL;
    adamoe_plan *plan = NULL;
    adamoe_team *team = NULL;
    adamoe_prepared *prepared = NULL;
    float y[2] = {0.0f, 0.0f}, work[64];
    assert_ok(adamoe_routing_create(logits, 2, 1, 0, (adamoe_rule){.top_k = 1}, &routing));
    assert_ok(adamoe_plan_create(routing, &plan));
    assert_ok(adamoe_team_create(1, &team));
    assert_ok(kernel->prepare(&adamoe_heap_host, &layer, &placement, &prepared));
    assert_true(kernel->work_bytes(prepared, 2, 2) <= sizeof work);
    const adamoe_run run = {.team = team, .work = work, .work_bytes = sizeof work};
    assert_ok(kernel->experts(prepared, &run, x, plan, y));
    for (size_t i = 0; i < 2; ++i) {
        const double z = (double)x[i], expected = z / (1.0 + exp(-z)) * z;
        assert_true(fabs((double)y[i] - expected) <= 1e-6 * fabs(expected));
    }
    kernel->release(prepared);
    adamoe_team_free(team);
    adamoe_plan_free(plan);
    adamoe_routing_free(routing);
}

static void a_plugin_from_outside_the_tree(void **state)
{
    SKIP_WITHOUT_COMPILER();
    const char *folder = *state;
    char path[1024];
    (void)snprintf(path, sizeof path, "%s/plugin.so", folder);
    assert_true(build_plugin(folder, SOURCE_PATH("tests/plugin/example.c"), ""));
    adamoe_registry *registry = NULL;
    assert_ok(adamoe_registry_create(&registry));
    const size_t built_in = adamoe_registry_count(registry);
    assert_ok(adamoe_registry_load(registry, path));
    assert_int_equal(adamoe_registry_count(registry), built_in + 1);
    const adamoe_kernel *kernel = adamoe_registry_find(registry, "example");
    assert_non_null(kernel);
    assert_ptr_not_equal(adamoe_registry_default(registry), kernel); /* a plugin is never the default */
    float expected[T * D], y[T * D];
    run_kernel(&adamoe_reference_kernel, expected);
    run_kernel(kernel, y);
    for (size_t i = 0; i < T * D; ++i) {
        assert_true(fabsf(y[i] - expected[i]) <= 1e-5f * fmaxf(1.0f, fabsf(expected[i])));
    }
    check_silu(kernel);
    assert_error(adamoe_registry_load(registry, path), ADAMOE_BAD_INPUT, "kernel example: the name is taken");
    assert_int_equal(adamoe_registry_count(registry), built_in + 1);
    adamoe_registry_free(registry);
}

static void wrong_plugins_are_refused(void **state)
{
    SKIP_WITHOUT_COMPILER();
    const char *folder = *state;
    char path[1024];
    (void)snprintf(path, sizeof path, "%s/plugin.so", folder);
    adamoe_registry *registry = NULL;
    assert_ok(adamoe_registry_create(&registry));
    const size_t built_in = adamoe_registry_count(registry);
    assert_error(adamoe_registry_load(registry, path), ADAMOE_BAD_INPUT, "open: No such file or directory");

    assert_true(
        build_plugin(folder, SOURCE_PATH("tests/plugin/example.c"), "-Dadamoe_plugin_export=another_name"));
    assert_error(adamoe_registry_load(registry, path), ADAMOE_BAD_INPUT,
                 "plugin.so: adamoe_plugin_export: not exported: a shared object, but no plugin");

    assert_true(
        run_command("rm -f '%s/plugin.so'%s%s", folder, "", "")); /* a loaded file must not be rewritten */
    assert_true(run_command("sed 's/define ADAMOE_ABI 1u/define ADAMOE_ABI 7u/' '%s' > '%s/adamoe.h'%s",
                            SOURCE_PATH("reference/adamoe.h"), folder, ""));
    assert_true(run_command("cd '%s' && cc -std=c17 -shared -fPIC -I. plugin.c -o plugin.so -lm%s%s", folder,
                            "", ""));
    assert_error(adamoe_registry_load(registry, path), ADAMOE_BAD_INPUT,
                 "version 7 of the contract, expected 1");

    assert_true(run_command("rm -f '%s/plugin.so' && echo nonsense > '%s/plugin.so'%s", folder, folder, ""));
    assert_error(adamoe_registry_load(registry, path), ADAMOE_BAD_INPUT,
                 "plugin.so: load: not a shared object");
    assert_true(run_command("printf '\\177ELF' > '%s/plugin.so'%s%s", folder, "", ""));
    assert_error(adamoe_registry_load(registry, path), ADAMOE_BAD_INPUT, "plugin.so: load: ");
    assert_true(run_command(": > '%s/plugin.so'%s%s", folder, "", ""));
    assert_error(adamoe_registry_load(registry, path), ADAMOE_BAD_INPUT,
                 "plugin.so: load: not a shared object");
    assert_error(adamoe_registry_load(registry, folder), ADAMOE_BAD_INPUT,
                 ": load: not a shared object, not even a file");
    assert_int_equal(adamoe_registry_count(registry), built_in);
    adamoe_registry_free(registry);
}

/* Builds the example with one thing changed by a command of sed. */
static void build_changed(const char *folder, const char *change)
{
    assert_true(run_command("rm -f '%s/plugin.so'%s%s", folder, "", ""));
    assert_true(
        run_command("sed '%s' '%s' > '%s/plugin.c'", change, SOURCE_PATH("tests/plugin/example.c"), folder));
    assert_false(
        run_command("cmp -s '%s' '%s/plugin.c'%s", SOURCE_PATH("tests/plugin/example.c"), folder, ""));
    assert_true(run_command("cd '%s' && cc -std=c17 -w -shared -fPIC -I'%s' plugin.c -o plugin.so -lm%s",
                            folder, SOURCE_PATH("reference"), ""));
}

/* That is refused, with nothing added. */
static void refuse(adamoe_registry *registry, const char *folder, const char *change, const char *message)
{
    char path[1024];
    const size_t before = adamoe_registry_count(registry);
    (void)snprintf(path, sizeof path, "%s/plugin.so", folder);
    build_changed(folder, change);
    assert_error(adamoe_registry_load(registry, path), ADAMOE_BAD_INPUT, message);
    assert_int_equal(adamoe_registry_count(registry), before);
}

static void wrong_kernels_are_refused(void **state)
{
    SKIP_WITHOUT_COMPILER();
    adamoe_registry *registry = NULL;
    assert_ok(adamoe_registry_create(&registry));
    static const struct {
        const char *change, *message;
    } wrong[] = {
        {"s/[.]kernel = kernels/.kernel = 0/",
         "plugin.so: adamoe_plugin_export: 1 kernels, but no list of them"},
        {"s/[.]count = 1/.count = 0/", "plugin.so: adamoe_plugin_export: count 0: it brings no kernels"},
        {"s/[{]&example[}]/{0}/", "kernel: made for another version"},
        {"s/[.]name = \"example\"/.name = 0/", "kernel: no name or no summary"},
        {"s/[.]name = \"example\"/.name = \"\"/", "kernel \"\": a name is in lower case"},
        {"s/[.]name = \"example\"/.name = \"an example\"/", "kernel \"an example\": a name is in lower case"},
        {"s/[.]name = \"example\"/.name = \"Example\"/", "kernel \"Example\": a name is in lower case"},
        {"s/[.]name = \"example\"/.name = \"..\\/example\"/",
         "kernel \"../example\": a name is in lower case, without blanks and slashes"},
        {"s/[.]name = \"example\"/.name = \"reference\"/", "kernel reference: the name is taken"},
        {"s/[.]x = ADAMOE_FLOAT32/.x = ADAMOE_FLOAT64/", "kernel example: operands of type 4, 0, 0: unknown"},
        {"s/[.]h = ADAMOE_FLOAT32/.h = ADAMOE_INT32/", "kernel example: operands of type 0, 3, 0: unknown"},
        {"s/[.]weight = ADAMOE_FLOAT32/.weight = 9/", "kernel example: operands of type 0, 0, 9: unknown"},
        {"s/[.]accumulate = ADAMOE_FLOAT32/.accumulate = ADAMOE_BFLOAT16/",
         "kernel example: accumulation of type 1: unknown"},
        {"s/[.]guarantees = /&1u << 7 | /",
         "plugin.so: kernel example: guarantees 0x8f: version 1 of the contract has no 0x80"},
        {"s/[.]accumulate = ADAMOE_FLOAT32/.accumulate = ADAMOE_INT32/",
         "plugin.so: kernel example: x in float32, h in float32, weights in float32, sums in int32: products of "
         "int8 and int8 are summed in int32, and no others are"},
        {"s/[.]\\(x\\|weight\\) = ADAMOE_FLOAT32/.\\1 = ADAMOE_INT8/",
         "kernel example: x in int8, h in float32, weights in int8, sums in float32: "},
        {"s/[.]\\(x\\|h\\|weight\\) = ADAMOE_FLOAT32/.\\1 = ADAMOE_INT8/; "
         "s/[.]accumulate = ADAMOE_FLOAT32/.accumulate = ADAMOE_FLOAT64/",
         "kernel example: x in int8, h in int8, weights in int8, sums in float64: "},
        {"s/[.]silu_error = 4.0f/.silu_error = -1.0f/", "kernel example: an error of silu of -1"},
        {"s/[.]silu_error = 4.0f/.silu_error = __builtin_nanf(\"\")/",
         "kernel example: an error of silu of nan"},
        {"s/[.]silu_error = 4.0f/&, .y = ADAMOE_INT8/",
         "kernel example: up, down, y of type 0, 0, 2: float32 or bfloat16"},
        {"s/[.]silu_error = 4.0f/&, .y = ADAMOE_BFLOAT16, .combine = (void *)1/",
         "kernel example: it rounds y, so `combine' of rounded outputs cannot give its bits"},
        {"s/[.]work_bytes = work_bytes,//", "kernel example: a function that every kernel has is missing"},
        {"s/[.]experts = experts,/& .backward = (void *)1,/",
         "kernel example: a part of the backward pass is missing"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; ++i) {
        refuse(registry, *state, wrong[i].change, wrong[i].message);
    }
    /* int8 weights alone are summed in float32: nothing to refuse */
    build_changed(*state, "s/[.]weight = ADAMOE_FLOAT32/.weight = ADAMOE_INT8/");
    assert_ok(adamoe_registry_load(registry, in_folder(state, "plugin.so").text));
    assert_error(adamoe_registry_load(registry, in_folder(state, "plugin.c/plugin.so").text),
                 ADAMOE_BAD_INPUT, "plugin.c/plugin.so: open: Not a directory");
    adamoe_registry_free(registry);
}

/* What stands behind the table that a plugin was compiled with is not the table's. */
static void an_older_plugin_has_no_newer_fields(void **state)
{
    SKIP_WITHOUT_COMPILER();
    adamoe_registry *registry = NULL;
    assert_ok(adamoe_registry_create(&registry));
    build_changed(*state, "s/= sizeof(adamoe_kernel),/= offsetof(adamoe_kernel, backward_work_bytes), "
                          ".backward_work_bytes = (void *)1, .backward = (void *)1, .y = ADAMOE_INT8,/");
    assert_ok(adamoe_registry_load(registry, in_folder(state, "plugin.so").text));
    const adamoe_kernel *kernel = adamoe_registry_find(registry, "example");
    assert_non_null(kernel);
    assert_non_null(kernel->experts);
    assert_null(kernel->backward_work_bytes);
    assert_null(kernel->backward);
    assert_true(kernel->y == ADAMOE_FLOAT32);
    adamoe_registry_free(registry);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(built_in_kernels),
        cmocka_unit_test_setup_teardown(a_plugin_from_outside_the_tree, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(wrong_plugins_are_refused, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(wrong_kernels_are_refused, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(an_older_plugin_has_no_newer_fields, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

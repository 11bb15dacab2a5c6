/*
 * adamoe worker: times calls on command, for `adamoe gate'. Not for people, and not in the help: it reads
 * commands from standard input and answers each with a line.
 *
 *     adamoe worker 1                      said first: the protocol and its version
 *     open PRESET KERNEL TOKENS            case ROWS PRODUCTS FLOPS BYTES LOAD BITS    cases count from 0
 *     time CASE CALLS                      seconds S
 *     (anything that fails)                error CODE MESSAGE
 *
 * It ends when its input does. All cases of a worker have one preset.
 */
#include "program/options.h"
#include "machine/team.h"
#include "gate/timed_layer.h"
#include "verbs.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_CASES 64

typedef struct session {
    adamoe_common_options options;
    adamoe_registry *registry;
    adamoe_team *team;
    const adamoe_preset *preset; /* of `layer`, once there is a case */
    adamoe_random_layer layer;
    adamoe_timed_layer timed[MOST_CASES];
    size_t cases;
} session;

static error_t parse_option(int key, char *value, struct argp_state *state)
{
    session *s = state->input;
    (void)value;
    if (key == ARGP_KEY_INIT) {
        state->child_inputs[0] = &s->options;
        return 0;
    }
    return ARGP_ERR_UNKNOWN;
}

static const struct argp_child children[] = {{&adamoe_machine_argp, 0, 0, 0}, {0}};
static const struct argp worker_argp = {
    .parser = parse_option, .children = children, .doc = "Times calls on command, for `adamoe gate'."};

static adamoe_status hold_layer(session *s, const char *name)
{
    const adamoe_preset *preset = adamoe_timed_preset(name);
    if (preset == NULL || (s->preset != NULL && s->preset != preset)) {
        return adamoe_error(ADAMOE_BAD_INPUT, "%s: no such preset, or another one", name);
    }
    if (s->preset != NULL) {
        return adamoe_ok();
    }
    const adamoe_layer_sizes sizes = {preset->hidden_size, preset->intermediate_size, preset->mixture.experts,
                                      preset->mixture.null_experts};
    adamoe_splitmix64 random = adamoe_random_for("gate/weights", s->options.seed);
    ADAMOE_TRY(adamoe_random_layer_create(sizes, preset->weights, 0, &random, &s->layer));
    s->preset = preset;
    return adamoe_ok();
}

static adamoe_status open_case(session *s, const char *preset, const char *name, size_t tokens)
{
    const adamoe_kernel *kernel = adamoe_registry_find(s->registry, name);
    if (kernel == NULL) {
        return adamoe_error(ADAMOE_BAD_INPUT, "%s: no such kernel", name);
    }
    if (s->cases == MOST_CASES || tokens == 0) {
        return adamoe_error(ADAMOE_BAD_INPUT, "%s: no tokens, or more than %d cases", name, MOST_CASES);
    }
    ADAMOE_TRY(hold_layer(s, preset));
    adamoe_timed_layer *t = &s->timed[s->cases];
    ADAMOE_TRY(
        adamoe_timed_layer_create(kernel, s->preset, &s->layer.layer, tokens, s->team, s->options.seed, t));
    ++s->cases;
    printf("case %zu %zu %.17g %.17g %.17g %016" PRIx64 "\n", t->rows, t->products, t->executed_flops,
           t->touched_bytes, t->load, t->bits);
    return adamoe_ok();
}

static adamoe_status time_case(session *s, size_t index, size_t calls)
{
    double seconds;
    if (index >= s->cases) {
        return adamoe_error(ADAMOE_BAD_INPUT, "there is no case %zu", index);
    }
    ADAMOE_TRY(adamoe_timed_layer_run(&s->timed[index], calls, &seconds));
    printf("seconds %.9g\n", seconds);
    return adamoe_ok();
}

static adamoe_status obey(session *s, const char *line)
{
    char preset[64], kernel[128];
    size_t first, second;
    if (sscanf(line, "open %63s %127s %zu", preset, kernel, &first) == 3) {
        return open_case(s, preset, kernel, first);
    }
    if (sscanf(line, "time %zu %zu", &first, &second) == 2) {
        return time_case(s, first, second);
    }
    return adamoe_error(ADAMOE_BAD_INPUT, "`%.100s': no such command", line);
}

static adamoe_status serve(session *s)
{
    char line[512];
    printf("adamoe worker 1\n");
    ADAMOE_TRY(adamoe_flush_output());
    while (fgets(line, sizeof line, stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        const adamoe_status status = obey(s, line);
        if (status.code != ADAMOE_OK) {
            printf("error %d %.*s\n", (int)status.code, (int)strcspn(status.message, "\n"), status.message);
        }
        ADAMOE_TRY(adamoe_flush_output());
    }
    return adamoe_ok();
}

static adamoe_status run(session *s)
{
    const adamoe_common_options *o = &s->options;
    ADAMOE_TRY(adamoe_registry_create(&s->registry));
    ADAMOE_TRY(adamoe_load_kernels(o, s->registry));
    ADAMOE_TRY(adamoe_team_create(o->threads != 0 ? o->threads : adamoe_available_processors(), &s->team));
    return serve(s);
}

int adamoe_verb_worker(int count, char **arguments)
{
    session *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return adamoe_finish("worker", adamoe_error(ADAMOE_ENVIRONMENT, "out of memory"));
    }
    s->options.seed = 1;
    adamoe_parse(&worker_argp, count, arguments, s);
    const adamoe_status status = run(s);
    for (size_t i = 0; i < s->cases; ++i) {
        adamoe_timed_layer_free(&s->timed[i]);
    }
    adamoe_random_layer_free(&s->layer);
    adamoe_team_free(s->team);
    adamoe_registry_free(s->registry);
    free(s);
    return adamoe_finish("worker", status);
}

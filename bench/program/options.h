/*
 * Options that mean the same for every verb, how a verb ends, and reading numbers from the command line.
 */
#ifndef ADAMOE_PROGRAM_OPTIONS_H
#define ADAMOE_PROGRAM_OPTIONS_H

#include "adamoe.h"
#include "program/machine.h"
#include "registry.h"

#include <argp.h>

/* Hands on what was printed; the error (ENVIRONMENT) of a write to standard output that
 * failed, now or before. */
adamoe_status adamoe_flush_output(void);

/* Reports the status on standard error as `adamoe VERB: MESSAGE` and returns the exit code. A result that
 * could not be printed is an error too. */
int adamoe_finish(const char *verb, adamoe_status status);

/* The same before the ranks of a run have met, of which all may have the same error: it is said once. One that rank 0 has not
 * is said with the number of the rank. */
int adamoe_finish_early(const char *verb, adamoe_status status);

/* The most --command that a verb takes. */
#define ADAMOE_MOST_COMMANDS 16

/* Options that choose what runs the numbers. */
typedef struct adamoe_common_options {
    const char *kernel;                        /* NULL: the default of the verb */
    const char *plugin;                        /* NULL, or a shared object */
    const char *command[ADAMOE_MOST_COMMANDS]; /* [commands] processes that bring kernels */
    size_t commands;
    uint32_t threads; /* 0: all processors */
    uint64_t seed;
    adamoe_numa_policy numa;
    const char *topology; /* NULL: the machine's own */
} adamoe_common_options;

/* What FLOPs of a token are counted for, and against what. */
typedef struct adamoe_count_options {
    size_t baseline_k;   /* 0: not given */
    size_t null_experts; /* where has_null_experts */
    bool has_null_experts;
    double visible_keys; /* mean keys that a query sees */
} adamoe_count_options;

extern const adamoe_count_options adamoe_count_defaults;

/* --baseline-k, --null-experts and --visible-keys as a child parser; its input is an adamoe_count_options. */
extern const struct argp adamoe_count_argp;

/* What adamoe_machine_open is to be told. */
adamoe_machine_options adamoe_options_for_machine(const adamoe_common_options *options);

/* --kernel, --plugin, --command, --threads, --numa, --numa-topology, --seed as a child parser; its input is an
 * adamoe_common_options. The second one leaves --kernel to verbs that take several. */
extern const struct argp adamoe_common_argp;
extern const struct argp adamoe_machine_argp;

/* Adds the kernels of --plugin and of every --command. */
adamoe_status adamoe_load_kernels(const adamoe_common_options *options, adamoe_registry *registry);

/* Keeps the value of one more --command, for parsers of their own. */
void adamoe_add_command(struct argp_state *state, const char *command, adamoe_common_options *options);

/* What --help says of --command. */
#define ADAMOE_COMMAND_HELP                                                                                  \
    "Load kernels from a process of their own that the shell starts; may be given several times"

/* The registry with all that was asked for loaded, and the kernel that was asked for, or the default one. Errors: an
 * unknown name (BAD_INPUT), a kernel that cannot run here (NOT_SUPPORTED). On success the caller frees the
 * registry. */
adamoe_status adamoe_choose_kernel(const adamoe_common_options *options, adamoe_registry **registry,
                                   const adamoe_kernel **kernel);

/* The kernel; where it has no dense product, with that of the default one, so that it can compute a model: *from is that
 * one's name, or NULL where the product is its own. */
adamoe_kernel adamoe_with_dense_product(const adamoe_registry *registry, const adamoe_kernel *kernel,
                                        const char **from);

/* Runs argp for a verb whose name shall appear as `adamoe VERB`. Exits on --help and on bad usage, as argp
 * does. */
void adamoe_parse(const struct argp *argp, int count, char **arguments, void *input);

/* A whole number between low and high, or a usage error that names the option. */
uint64_t adamoe_parse_count(struct argp_state *state, const char *option, const char *text, uint64_t low,
                            uint64_t high);

/* A finite number, or a usage error that names the option. */
double adamoe_parse_number(struct argp_state *state, const char *option, const char *text);

/* The index of `text` in names[count], or a usage error that names the option and the choices. */
size_t adamoe_parse_choice(struct argp_state *state, const char *option, const char *text,
                           const char *const *names, size_t count);

#endif

/*
 * Running the program over ranks, for tests of it.
 */
#ifndef ADAMOE_TESTS_RANKS_H
#define ADAMOE_TESTS_RANKS_H

#include "program.h"

/* As many ranks as a test likes, by any user, on this machine. */
#define MPIRUN                                                                                               \
    "OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1 "         \
    "OMPI_MCA_hwloc_base_binding_policy=none timeout 60 mpirun -q"
#define TINY_MODEL SHELL_WORD(SOURCE_PATH("datasets/tiny-adamoe"))
#define WORDNET    SHELL_WORD(SOURCE_PATH("datasets/wordnet/test.jsonl"))

#define SKIP_WITHOUT_MPI                                                                                     \
    do {                                                                                                     \
        if (!ADAMOE_HAS_MPI || run("command -v mpirun")->code != 0) {                                        \
            print_message("skipped: this build has no MPI (packages openmpi-bin and libopenmpi-dev)\n");     \
            skip();                                                                                          \
        }                                                                                                    \
    } while (0)

#endif

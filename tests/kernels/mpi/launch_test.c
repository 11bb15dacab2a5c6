/*
 * Which rank a process is, by what launchers tell it in its environment.
 */
#include "mpi/launch.h"
#include "test.h"

static const char *const known[] = {
    "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "PMI_SIZE", "PMI_RANK", "PMIX_RANK",
    "SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"};

typedef struct variable {
    const char *name, *value;
} variable;

static void launchers_are_known_by_their_variables(void **state)
{
    (void)state;
    static const struct {
        variable set[4];
        uint32_t rank, ranks;
        const char *name;
    } cases[] = {
        {{{NULL, NULL}}, 0, 1, ""},
        {{{"OMPI_COMM_WORLD_SIZE", "4"}, {"OMPI_COMM_WORLD_RANK", "3"}, {"PMIX_RANK", "3"}},
         3,
         4,
         "rank 3: "},
        {{{"OMPI_COMM_WORLD_SIZE", "4"}, {"OMPI_COMM_WORLD_RANK", "0"}}, 0, 4, ""},
        {{{"OMPI_COMM_WORLD_SIZE", "1"}, {"OMPI_COMM_WORLD_RANK", "0"}, {"PMI_SIZE", "4"}}, 0, 1, ""},
        {{{"PMI_SIZE", "2"}, {"PMI_RANK", "1"}}, 1, 2, "rank 1: "},
        {{{"PMIX_RANK", "5"}, {"SLURM_NTASKS", "8"}}, 5, 8, "rank 5: "},
        {{{"PMIX_RANK", "1"}, {"SLURM_STEP_NUM_TASKS", "2"}, {"SLURM_NTASKS", "8"}}, 1, 2, "rank 1: "},
        {{{"PMIX_RANK", "5"}}, 0, 1, ""},                                   /* of how many is not said */
        {{{"SLURM_NTASKS", "8"}, {"SLURM_STEP_NUM_TASKS", "8"}}, 0, 1, ""}, /* an allocation's shell */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
        char name[ADAMOE_LAUNCH_NAME];
        for (size_t v = 0; v < sizeof known / sizeof *known; ++v) {
            assert_int_equal(unsetenv(known[v]), 0);
        }
        for (const variable *v = cases[i].set; v < cases[i].set + 4 && v->name != NULL; ++v) {
            assert_int_equal(setenv(v->name, v->value, 1), 0);
        }
        const adamoe_launch launch = adamoe_launch_of_process();
        assert_int_equal(launch.rank, cases[i].rank);
        assert_int_equal(launch.ranks, cases[i].ranks);
        adamoe_launch_name(name);
        assert_string_equal(name, cases[i].name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(launchers_are_known_by_their_variables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

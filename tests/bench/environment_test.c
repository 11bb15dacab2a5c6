/*
 * What is recorded beside results, and when a run counts as disturbed.
 */
#include "program.h"
#include "program/environment.h"
#include "files/json_file.h"

#include <signal.h>

static adamoe_disturbance between(double own, double busy, double steal)
{
    const adamoe_load_mark before = {.processors = 2.0};
    const adamoe_load_mark after = {.seconds = 10.0,
                                    .own = own,
                                    .busy = busy,
                                    .steal = steal,
                                    .waiting = 0.625,
                                    .disk_faults = 5.0,
                                    .processors = 2.0};
    return adamoe_disturbance_between(&before, &after);
}

/* Ten seconds of two processors: 20. */
static void shares_are_of_all_processors(void **state)
{
    (void)state;
    adamoe_disturbance d = between(12.0, 12.5, 0.125);
    assert_true(d.seconds == 10.0 && d.other_share == 0.025 && d.steal_share == 0.00625);
    assert_true(d.wait_share == 0.0625 && d.fault_rate == 0.5 && !d.disturbed);
    assert_string_equal(adamoe_describe_disturbance(&d).text, "");
    assert_true(between(12.0, 11.99, 0.0).other_share == 0.0); /* ticks are coarse */
    assert_true(between(12.0, 13.5, 0.0).disturbed);
    assert_true(between(12.0, 12.0, 0.5).disturbed);
    const adamoe_load_mark quiet = {.processors = 2.0};
    adamoe_load_mark busy = {.seconds = 10.0, .waiting = 1.5, .processors = 2.0};
    d = adamoe_disturbance_between(&quiet, &busy);
    assert_true(d.disturbed);
    assert_string_equal(adamoe_describe_disturbance(&d).text,
                        "something waited for a processor in 15 % of the time");
    busy = (adamoe_load_mark){.seconds = 10.0, .disk_faults = 200.0, .steal = 1.0, .processors = 2.0};
    d = adamoe_disturbance_between(&quiet, &busy);
    assert_true(d.disturbed);
    assert_string_equal(
        adamoe_describe_disturbance(&d).text,
        "5.0 % of the processors' time went to the hypervisor's other guests, 20 pages a second came "
        "from a disk");
    d = between(12.0, NAN, NAN);
    assert_true(isnan(d.other_share) && isnan(d.steal_share) && !d.disturbed);
}

static void a_short_run_tells_nothing(void **state)
{
    (void)state;
    const adamoe_load_mark before = {.processors = 2.0};
    const adamoe_load_mark after = {.seconds = 0.05, .busy = 1.0, .steal = 1.0, .processors = 2.0};
    const adamoe_disturbance d = adamoe_disturbance_between(&before, &after);
    assert_true(isnan(d.other_share) && isnan(d.steal_share) && !d.disturbed);
}

/* The system's own counters grow with what this process does. */
static void marks_count_the_work(void **state)
{
    (void)state;
    adamoe_load_mark before, after;
    adamoe_mark_load(&before);
    do {
        adamoe_mark_load(&after);
    } while (after.own - before.own < 0.05);
    assert_true(after.seconds > before.seconds && before.processors >= 1.0);
    assert_true(isnan(after.busy) || after.busy >= before.busy);
    assert_true(isnan(after.waiting) || after.waiting >= before.waiting);
}

/* A kernel in a process of its own computes for this one: here one that a child started, and that still runs. */
static void who_was_started_works_for_the_program(void **state)
{
    (void)state;
    adamoe_load_mark before, after;
    if (access("/proc/thread-self/children", R_OK) != 0) {
        print_message("this kernel does not list the children of a process\n");
        skip();
    }
    adamoe_mark_load(&before);
    FILE *busy = popen("(while :; do :; done) & echo $!; wait", "r");
    long process = 0;
    assert_non_null(busy);
    assert_int_equal(fscanf(busy, "%ld", &process), 1);
    do {
        assert_int_equal(usleep(20000), 0);
        adamoe_mark_load(&after);
    } while (adamoe_process_seconds(process) < 0.3);
    adamoe_mark_load(&after);
    assert_true(after.own - before.own >= 0.3);
    assert_int_equal(kill((pid_t)process, SIGKILL), 0);
    (void)pclose(busy);
    assert_true(adamoe_process_seconds(process) == 0.0);
    adamoe_mark_load(&before);
    assert_true(before.own >= after.own - 0.02); /* it ended: what it used is known to the hundredth */
}

/* The first line of /proc/stat is all processors together, those that follow are one each. */
static void all_processors_count(void **state)
{
    (void)state;
    double user, nice, system, idle, waiting, irq, softirq;
    adamoe_load_mark mark;
    FILE *file = fopen("/proc/stat", "re");
    if (file == NULL) {
        skip();
    }
    assert_int_equal(fscanf(file, "cpu %lf %lf %lf %lf %lf %lf %lf", &user, &nice, &system, &idle, &waiting,
                            &irq, &softirq),
                     7);
    fclose(file);
    adamoe_mark_load(&mark);
    const double busy = (user + nice + system + irq + softirq) / (double)sysconf(_SC_CLK_TCK);
    assert_true(mark.busy >= busy && mark.busy < busy + 5.0 * mark.processors);
}

static json_t *environment_of(const char *path, const char *parent)
{
    json_t *document = NULL;
    assert_ok(adamoe_json_read(path, &document));
    const json_t *holder = parent == NULL ? document : json_object_get(document, parent);
    json_t *environment = json_incref(json_object_get(holder, "environment"));
    json_decref(document);
    assert_true(json_is_object(environment));
    return environment;
}

static void assert_complete(const char *path, const char *parent)
{
    json_t *environment = environment_of(path, parent);
    const char *commit;
    json_t *machine, *run, *libraries;
    assert_int_equal(
        json_unpack(environment, "{s:o,s:o,s:o}", "machine", &machine, "run", &run, "libraries", &libraries),
        0);
    if (json_unpack(environment, "{s:s}", "commit", &commit) == 0) { /* null in a tree without git */
        assert_int_equal(strspn(commit, "0123456789abcdef"), 40);
    }
    assert_non_null(json_object_get(environment, "dirty"));
    assert_string_not_equal(json_string_value(json_object_get(libraries, "onednn")), "");
    assert_true(json_number_value(json_object_get(run, "seconds")) > 0.0);
    assert_true(json_is_boolean(json_object_get(run, "disturbed")));
    static const char *const facts[] = {"cpu",        "microcode",        "processors",
                                        "numa_nodes", "last_level_cache", "last_level_cache_by_hand",
                                        "governor",   "numa_balancing",   "transparent_huge_pages",
                                        "kernel"};
    for (size_t i = 0; i < sizeof facts / sizeof *facts; ++i) {
        assert_non_null(json_object_get(machine, facts[i]));
    }
    json_decref(environment);
}

static void every_result_carries_it(void **state)
{
    const char *folder = *state;
    expect(run(ADAMOE " check --kernel reference --case tokens:0 --json %s/check.json", folder), 0, "");
    assert_complete(in_folder(state, "check.json").text, NULL);
    expect(run(ADAMOE " bench --kernel reference --tokens 1 --threads 1 "
                      "--benchmark_min_time=0.001 --json %s/bench.json",
               folder),
           0, "");
    assert_complete(in_folder(state, "bench.json").text, "context");
    expect(
        run(ADAMOE " eval --model " MODEL " --questions " QUESTIONS " --limit 2 --json %s/eval.json", folder),
        0, "");
    assert_complete(in_folder(state, "eval.json").text, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shares_are_of_all_processors),
        cmocka_unit_test(a_short_run_tells_nothing),
        cmocka_unit_test(marks_count_the_work),
        cmocka_unit_test(who_was_started_works_for_the_program),
        cmocka_unit_test(all_processors_count),
        cmocka_unit_test_setup_teardown(every_result_carries_it, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

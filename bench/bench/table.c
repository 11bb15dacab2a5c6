/*
 * The times of `adamoe bench` as tables for a person.
 */
#include "bench/table.h"
#include "numbers.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *adamoe_format_seconds(double seconds, char *text, size_t size)
{
    static const struct {
        const char *name;
        double seconds;
    } units[] = {{"s", 1.0}, {"ms", 1e-3}, {"us", 1e-6}, {"ns", 1e-9}};
    size_t u = 0;
    while (u < 3 && seconds < units[u].seconds) {
        ++u;
    }
    (void)snprintf(text, size, "%.3g %s", seconds / units[u].seconds, units[u].name);
    return text;
}

/* A share, or a dash where there is none. */
static const char *format_share(double share, char *text, size_t size)
{
    (void)snprintf(text, size, isfinite(share) ? "%.3f" : "-", share);
    return text;
}

/* A share and its interval, where there are repetitions enough for one. */
static const char *format_estimate(adamoe_estimate share, char *text, size_t size)
{
    char median[16];
    (void)format_share(share.median, median, sizeof median);
    if (isfinite(share.interval.low) && isfinite(share.interval.high)) {
        (void)snprintf(text, size, "%s [%.3f, %.3f]", median, share.interval.low, share.interval.high);
    } else {
        (void)snprintf(text, size, "%s", median);
    }
    return text;
}

static bool has_times(const adamoe_bench_member *member)
{
    return member->wanted && member->status.code == ADAMOE_OK;
}

/* Whether a member before this one has times, and the same kinds of operands. */
static bool is_like_another(const adamoe_bench_view *view, size_t member)
{
    const adamoe_operand_pairs pairs = adamoe_kernel_pairs(view->member[member].kernel);
    for (size_t i = 0; i < member; ++i) {
        const adamoe_bench_member *m = &view->member[i];
        if (has_times(m) && adamoe_kernel_pairs(m->kernel) == pairs) {
            return true;
        }
    }
    return false;
}

/* Of memory that is too small for a measurement as it should be. */
static void print_short_buffer(const adamoe_peak *peak)
{
    if (peak->read_bytes < peak->read_bytes_wanted) {
        printf(
            "  Capped: it was read from %.0f MB instead of %.0f, a quarter of the available memory: a part may "
            "have come from a cache\n",
            (double)peak->read_bytes * 1e-6, (double)peak->read_bytes_wanted * 1e-6);
    }
}

static void print_capped(const adamoe_bench_member *m)
{
    if (adamoe_is_capped(m)) {
        printf(
            "  Capped: %s goes round %zu of %zu copies of the weights, for which half of the available memory is "
            "room: some of them may be in a cache\n",
            m->kernel->name, m->copies, m->copies_wanted);
    }
}

/* Of the caches of all threads together, where it was measured. */
static void print_level(const char *name, double rate)
{
    if (rate > 0.0) {
        printf(", %s %.0f", name, rate);
    }
}

/* Once for each kind of operands. */
static void print_peaks(const adamoe_bench_view *view)
{
    bool first = true;
    for (size_t i = 0; i < view->members; ++i) {
        char operands[64];
        const adamoe_bench_member *m = &view->member[i];
        if (!has_times(m) || is_like_another(view, i)) {
            continue;
        }
        if (first) {
            printf("  peak of reading %.1f GB/s (median burst %.1f)", m->peak.gbytes_per_second,
                   m->peak.gbytes_per_second_median);
            print_level("L3", m->peak.caches.level3);
            print_level("L2", m->peak.caches.level2);
            printf("\n");
            print_short_buffer(&m->peak);
            first = false;
        }
        printf("  peak for %s: %.0f GFLOP/s by %s (median burst %.0f)\n",
               adamoe_operands_text(m->kernel, operands, sizeof operands), m->peak.gflops, m->peak.path,
               m->peak.gflops_median);
    }
}

static void print_times(const adamoe_bench_member *m, int widest)
{
    const adamoe_bench_summary *s = &m->summary;
    char median[32], low[32], high[32], interval[72], share[48], alone[16], best[16];
    (void)snprintf(interval, sizeof interval, "%s .. %s",
                   adamoe_format_seconds(s->seconds.interval.low, low, sizeof low),
                   adamoe_format_seconds(s->seconds.interval.high, high, sizeof high));
    printf("  %-*s %9s %-22s %8.1f %7.2f %-20s %-10s %10s %7s %7.2f [%.2f, %.2f]%s\n", widest,
           m->kernel->name, adamoe_format_seconds(s->seconds.median, median, sizeof median), interval,
           s->gflops, s->gbytes_per_second, format_estimate(s->roofline_share, share, sizeof share), m->binds,
           format_share(s->share_without_overlap.median, alone, sizeof alone),
           format_share(s->share_of_best, best, sizeof best), s->speedup.median, s->speedup.interval.low,
           s->speedup.interval.high,
           m->possible.code != ADAMOE_OK ? "  FAILED: faster than the machine"
           : s->measurement_error        ? "  measurement error: faster than the machine"
                                         : "");
}

static int ascending(const void *left, const void *right)
{
    const double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

/* The median over repetitions of one of the values of a stage. */
static double median_stage(const adamoe_bench_member *m, size_t repetitions, size_t offset)
{
    double *value = malloc(repetitions * sizeof *value);
    if (value == NULL) {
        return NAN;
    }
    for (size_t r = 0; r < repetitions; ++r) {
        memcpy(&value[r], (const char *)&m->stages[r] + offset, sizeof *value);
    }
    qsort(value, repetitions, sizeof *value, ascending);
    const double median = adamoe_median(value, repetitions);
    free(value);
    return median;
}

static void print_stages(const adamoe_bench_member *m, size_t repetitions, int widest)
{
    static const struct {
        const char *name;
        size_t offset;
    } stages[] = {{"route", offsetof(adamoe_stage_seconds, route)},
                  {"plan", offsetof(adamoe_stage_seconds, plan)},
                  {"up", offsetof(adamoe_stage_seconds, up)},
                  {"down", offsetof(adamoe_stage_seconds, down)},
                  {"combine", offsetof(adamoe_stage_seconds, combine)}};
    char text[32];
    const size_t told = adamoe_tells_stages(&m->stages[0]) ? 5 : 2;
    adamoe_stage_seconds s;
    printf("  %-*s ", widest, "");
    for (size_t i = 0; i < told; ++i) {
        const double seconds = median_stage(m, repetitions, stages[i].offset);
        memcpy((char *)&s + stages[i].offset, &seconds, sizeof seconds);
        printf("%s%s %s", i == 0 ? "" : ", ", stages[i].name,
               adamoe_format_seconds(seconds, text, sizeof text));
    }
    if (told == 5) {
        printf(", overhead %.3f\n", adamoe_overhead_share(&s, m->summary.seconds.median));
    } else {
        printf(" (the kernel does not tell its stages)\n");
    }
}

/* Nothing for a kernel that is not in a process of its own. */
static void print_crossing(const adamoe_bench_member *m, size_t repetitions, int widest)
{
    char own[32], crossing[32];
    const double seconds = median_stage(m, repetitions, offsetof(adamoe_stage_seconds, crossing));
    const double left = m->summary.seconds.median - seconds;
    if (seconds > 0.0) {
        printf("  %-*s of which %s is crossing into its process, whose own clock says %s: %.1f GFLOP/s\n",
               widest, "", adamoe_format_seconds(seconds, crossing, sizeof crossing),
               adamoe_format_seconds(left, own, sizeof own), 1e-9 * m->work.flops / left);
    }
}

/* Other engines, each over the best of ours of this run. */
static void print_peers(const adamoe_bench_view *view, int widest)
{
    for (size_t i = 0; i < view->members; ++i) {
        const adamoe_against *a = &view->against[i];
        const adamoe_kernel *kernel = view->member[i].kernel;
        if (a->best != NULL) {
            printf("  %-*s %.2f [%.2f, %.2f] times as fast as %s, the best of ours%s%s; %s\n", widest,
                   kernel->name, a->speed.median, a->speed.interval.low, a->speed.interval.high,
                   a->best->kernel->name,
                   a->best->kernel->weight == kernel->weight ? " with weights in " : "",
                   a->best->kernel->weight == kernel->weight ? adamoe_arithmetic_name(kernel->weight) : "",
                   adamoe_peer_of(view->peers, kernel)->version);
        }
    }
}

/* What the group is, and its work, which is the same for every kernel. */
static void print_head(const adamoe_bench_view *view)
{
    printf("layer/%s/tokens:%zu/routing:%s/threads:%u%s\n", view->preset->name, view->tokens, view->routing,
           view->threads, view->timing->hot ? "/hot" : "");
    if (view->machine != NULL) {
        printf("  placement %s\n", adamoe_machine_describe(view->machine).text);
    }
    for (size_t i = 0; i < view->members; ++i) {
        const adamoe_bench_member *m = &view->member[i];
        if (has_times(m)) {
            printf("  load %.3f: %zu rows of %zu experts, %zu repetitions\n", m->load, m->work.rows,
                   m->work.touched_experts, view->timing->repetitions);
            break;
        }
    }
}

/* So that the columns stand below each other for every name. */
static int widest_name(const adamoe_bench_view *view)
{
    size_t widest = sizeof "Kernel" - 1;
    for (size_t i = 0; i < view->members; ++i) {
        const size_t length = strlen(view->member[i].kernel->name);
        widest = view->member[i].wanted && length > widest ? length : widest;
    }
    return (int)widest;
}

void adamoe_bench_table(const adamoe_bench_view *view)
{
    print_head(view);
    print_peaks(view);
    const int widest = widest_name(view);
    printf("  %-*s %9s %-22s %8s %7s %-20s %-10s %10s %7s %7s\n", widest, "Kernel", "Time", "95 % interval",
           "GFLOP/s", "GB/s", "Roofline", "bound by", "no overlap", "of best", "Speedup");
    for (size_t i = 0; i < view->members; ++i) {
        const adamoe_bench_member *m = &view->member[i];
        if (has_times(m)) {
            print_times(m, widest);
            print_crossing(m, view->timing->repetitions, widest);
            print_capped(m);
            if (view->timing->stages) {
                print_stages(m, view->timing->repetitions, widest);
            }
        } else if (m->wanted) {
            printf("  %-*s %s\n", widest, m->kernel->name, m->status.message);
        }
    }
    print_peers(view, widest);
    printf("\n");
    (void)fflush(stdout);
}

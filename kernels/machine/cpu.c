/*
 * What the machine is, from CPUID (through the compiler's run-time library, which checks the operating
 * system's part too), sysfs and libnuma; or, with ADAMOE_EMULATE_AVX512, what this build takes it for.
 */
#include "machine/cpu.h"

#include <numa.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef struct feature {
    const char *name;
    bool present;
} feature;

/* The state components of AMX: the configuration and the data of its tiles. */
#define TILE_STATES   (3u << 17)
#define TILE_DATA     18
#define REQUEST_STATE 0x1023 /* ARCH_REQ_XCOMP_PERM */

bool adamoe_cpu_emulates_avx512(void)
{
#if defined(ADAMOE_EMULATE_AVX512)
    return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0;
#else
    return false;
#endif
}

static bool leaf_7_has(unsigned bit)
{
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
    return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0 && (edx >> bit & 1u) != 0;
}

static bool system_saves_tiles(void)
{
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
    if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) == 0 || (ecx & bit_OSXSAVE) == 0) {
        return false;
    }
    __asm__ volatile("xgetbv" : "=a"(eax), "=d"(edx) : "c"(0));
    return (eax & TILE_STATES) == TILE_STATES;
}

#define AMX_TILE 24 /* bits of leaf 7 */
#define AMX_BF16 22
#define AMX_INT8 25

static const char *tiles_obstacle;

/* The permission is the process's, and of threads that it starts from then on. */
static void ask_for_tiles(void)
{
    if (!adamoe_cpu_emulates_avx512()) {
        tiles_obstacle = !leaf_7_has(AMX_TILE)   ? "needs AMX"
                         : !system_saves_tiles() ? "needs AMX, whose tiles the system does not save"
                         : syscall(SYS_arch_prctl, REQUEST_STATE, TILE_DATA) != 0
                             ? "needs AMX, whose tiles the system does not let this process use (arch_prctl)"
                             : NULL;
    }
}

const char *adamoe_cpu_tiles_obstacle(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, ask_for_tiles);
    return tiles_obstacle;
}

/* AMX is not among the names that the run-time library knows; the processor's leaf 7 tells. */
static bool has_amx(unsigned bit)
{
    return adamoe_cpu_tiles_obstacle() == NULL && (adamoe_cpu_emulates_avx512() || leaf_7_has(bit));
}

/* A build that emulates some parts of AVX-512 has only those, on every processor. BW is among them for
 * whoever names it because compilers may use it: those of an emulated build do not. */
#if defined(ADAMOE_EMULATE_AVX512)
#define HAS_AVX512(part, emulated) ((emulated) && adamoe_cpu_emulates_avx512())
#else
#define HAS_AVX512(part, emulated) (__builtin_cpu_supports(part) != 0)
#endif

#define FEATURES 13

static void list_features(feature list[FEATURES])
{
    __builtin_cpu_init();
    const feature found[FEATURES] = {
        {"avx", __builtin_cpu_supports("avx") != 0},
        {"avx2", __builtin_cpu_supports("avx2") != 0},
        {"fma", __builtin_cpu_supports("fma") != 0},
        {"avx512f", HAS_AVX512("avx512f", true)},
        {"avx512bw", HAS_AVX512("avx512bw", true)},
        {"avx512vl", HAS_AVX512("avx512vl", false)},
        {"avx512dq", HAS_AVX512("avx512dq", false)},
        {"avx512vnni", HAS_AVX512("avx512vnni", true)},
        {"avx512bf16", HAS_AVX512("avx512bf16", true)},
        {"amx_bf16", has_amx(AMX_BF16)},
        {"amx_tile", has_amx(AMX_TILE)},
        {"amx_int8", has_amx(AMX_INT8)},
        {"sse4.2", __builtin_cpu_supports("sse4.2") != 0},
    };
    memcpy(list, found, sizeof found);
}

static void describe_features(adamoe_cpu *out)
{
    feature list[FEATURES];
    list_features(list);
    for (size_t i = 0; i < FEATURES; ++i) {
        if (list[i].present) {
            out->feature[out->features++] = list[i].name;
        }
    }
}

bool adamoe_cpu_has(const char *name)
{
    feature list[FEATURES];
    list_features(list);
    for (size_t i = 0; i < FEATURES; ++i) {
        if (strcmp(list[i].name, name) == 0) {
            return list[i].present;
        }
    }
    return false;
}
#else
static void describe_features(adamoe_cpu *out)
{
    (void)out;
}

bool adamoe_cpu_has(const char *name)
{
    (void)name;
    return false;
}

bool adamoe_cpu_emulates_avx512(void)
{
    return false;
}

const char *adamoe_cpu_tiles_obstacle(void)
{
    return "needs AMX";
}
#endif

/* The first line of a file, without its end; false where it cannot be read. */
static bool read_line(const char *path, char *line, size_t size)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return false;
    }
    const bool read = fgets(line, (int)size, file) != NULL;
    fclose(file);
    if (read) {
        line[strcspn(line, "\n")] = '\0';
    }
    return read;
}

static void describe_caches(adamoe_cpu *out)
{
    for (size_t i = 0; i < sizeof out->cache / sizeof *out->cache; ++i) {
        char path[96], line[32];
        adamoe_cpu_cache *cache = &out->cache[out->caches];
        (void)snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%zu/level", i);
        if (!read_line(path, line, sizeof line)) {
            return;
        }
        cache->level = atoi(line);
        (void)snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%zu/type", i);
        if (!read_line(path, cache->type, sizeof cache->type)) {
            return;
        }
        (void)snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%zu/size", i);
        if (!read_line(path, line, sizeof line)) {
            return;
        }
        char *unit = NULL;
        cache->bytes = strtoul(line, &unit, 10) * (*unit == 'K' ? 1024u : *unit == 'M' ? 1024u * 1024u : 1u);
        ++out->caches;
    }
}

static void describe_model(adamoe_cpu *out)
{
    static const char key[] = "model name";
    FILE *file = fopen("/proc/cpuinfo", "re");
    char line[256];
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, key, sizeof key - 1) == 0 && colon != NULL) {
            const char *name = colon + 1 + strspn(colon + 1, " ");
            (void)snprintf(out->model, sizeof out->model, "%.*s", (int)strcspn(name, "\n"), name);
            break;
        }
    }
    if (file != NULL) {
        fclose(file);
    }
}

static void describe(adamoe_cpu *out)
{
    *out = (adamoe_cpu){.numa_nodes = 1};
    describe_model(out);
    describe_features(out);
    describe_caches(out);
    out->avx512_emulated = adamoe_cpu_emulates_avx512();
    if (out->avx512_emulated) {
        const size_t length = strlen(out->model);
        (void)snprintf(out->model + length, sizeof out->model - length, " (AVX-512 and AMX emulated)");
    }
    if (numa_available() >= 0) {
        out->numa_nodes = (size_t)numa_num_configured_nodes();
    }
}

/* Once in a process: it reads a dozen files, and every prepare of a packed kernel asks for the caches. */
static adamoe_cpu cpu;

static void describe_once(void)
{
    describe(&cpu);
}

void adamoe_cpu_describe(adamoe_cpu *out)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, describe_once);
    *out = cpu;
}

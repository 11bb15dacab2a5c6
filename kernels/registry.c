/*
 * The registry of kernels, and the loading of shared objects and processes that bring some.
 */
#include "registry.h"
#include "kernel/kernel.h"
#include "onednn/kernel.h"
#include "packed_kernels.h"
#include "remote/remote.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* From slow to fast, and the packed kernels after them: the last one that runs here is the default. */
static const adamoe_kernel *const built_in[] = {
    &adamoe_reference_kernel,
    &adamoe_onednn_bf16_kernel,
    &adamoe_onednn_f32_kernel,
};

#define BUILT_IN_COUNT (sizeof built_in / sizeof *built_in)

#ifdef __x86_64__
#define PACKED_COUNT adamoe_packed_kernel_count
#else
#define PACKED_COUNT ((size_t)0)
#endif

/* A shared object and whole copies of its kernels: what it was compiled without is NULL in them. */
typedef struct loaded_library {
    void *handle; /* of dlopen */
    adamoe_kernel *kernel;
} loaded_library;

struct adamoe_registry {
    const adamoe_kernel **kernel; /* [count], built-in ones first */
    size_t count;
    loaded_library *library; /* [libraries] */
    size_t libraries;
    adamoe_remote **remote; /* [remotes] */
    size_t remotes;
};

adamoe_status adamoe_registry_create(adamoe_registry **out)
{
    adamoe_registry *registry = calloc(1, sizeof *registry);
    if (registry == NULL ||
        (registry->kernel = calloc(BUILT_IN_COUNT + PACKED_COUNT, sizeof *registry->kernel)) == NULL) {
        free(registry);
        return adamoe_error(ADAMOE_ENVIRONMENT, "registry: out of memory");
    }
    memcpy(registry->kernel, built_in, sizeof built_in);
#ifdef __x86_64__
    memcpy(registry->kernel + BUILT_IN_COUNT, adamoe_packed_kernels, PACKED_COUNT * sizeof *registry->kernel);
#endif
    registry->count = BUILT_IN_COUNT + PACKED_COUNT;
    *out = registry;
    return adamoe_ok();
}

void adamoe_registry_free(adamoe_registry *registry)
{
    if (registry == NULL) {
        return;
    }
    for (size_t i = 0; i < registry->libraries; ++i) {
        free(registry->library[i].kernel);
        dlclose(registry->library[i].handle);
    }
    for (size_t i = 0; i < registry->remotes; ++i) {
        adamoe_remote_close(registry->remote[i]);
    }
    free(registry->library);
    free(registry->remote);
    free(registry->kernel);
    free(registry);
}

/* The part of the structure up to and including `attention` is that of ABI 1. */
#define KERNEL_SIZE_ABI_1 (offsetof(adamoe_kernel, attention) + sizeof(((adamoe_kernel *)0)->attention))

/* Lower case, without blanks: a name must stand on a command line, in a list and in the name of a file. */
static bool is_good_name(const char *name)
{
    for (const char *c = name; *c != '\0'; ++c) {
        const unsigned char byte = (unsigned char)*c;
        if (byte <= ' ' || byte == 0x7f || (byte >= 'A' && byte <= 'Z') || byte == '/' || byte == '\\') {
            return false;
        }
    }
    return name[0] != '\0';
}

static bool is_operand(adamoe_arithmetic a)
{
    return a == ADAMOE_FLOAT32 || a == ADAMOE_BFLOAT16 || a == ADAMOE_INT8;
}

static const char *arithmetic_name(adamoe_arithmetic a)
{
    static const char *const names[] = {"float32", "bfloat16", "int8", "int32", "float64"};
    return names[a];
}

/* Whole steps are summed in int32, which is exact, and nothing else can be. */
static adamoe_status check_sums(const char *path, const adamoe_kernel *kernel)
{
    const bool steps = kernel->x == ADAMOE_INT8 && kernel->h == ADAMOE_INT8 && kernel->weight == ADAMOE_INT8;
    const bool product_of_steps =
        kernel->weight == ADAMOE_INT8 && (kernel->x == ADAMOE_INT8 || kernel->h == ADAMOE_INT8);
    const bool in_int32 = kernel->accumulate == ADAMOE_INT32;
    if (in_int32 ? steps : !product_of_steps) {
        return adamoe_ok();
    }
    return adamoe_error(
        ADAMOE_BAD_INPUT,
        "%s: kernel %s: x in %s, h in %s, weights in %s, sums in %s: products of int8 and int8 "
        "are summed in int32, and no others are",
        path, kernel->name, arithmetic_name(kernel->x), arithmetic_name(kernel->h),
        arithmetic_name(kernel->weight), arithmetic_name(kernel->accumulate));
}

/* What the judge reckons with must be something that it knows. */
static adamoe_status check_arithmetic(const char *path, const adamoe_kernel *kernel)
{
    if (!is_operand(kernel->x) || !is_operand(kernel->h) || !is_operand(kernel->weight)) {
        return adamoe_error(ADAMOE_BAD_INPUT, "%s: kernel %s: operands of type %u, %u, %u: unknown", path,
                            kernel->name, (unsigned)kernel->x, (unsigned)kernel->h, (unsigned)kernel->weight);
    }
    if (kernel->accumulate != ADAMOE_FLOAT32 && kernel->accumulate != ADAMOE_INT32 &&
        kernel->accumulate != ADAMOE_FLOAT64) {
        return adamoe_error(ADAMOE_BAD_INPUT, "%s: kernel %s: accumulation of type %u: unknown", path,
                            kernel->name, (unsigned)kernel->accumulate);
    }
    if (!isfinite(kernel->silu_error) || kernel->silu_error < 0.0f) {
        return adamoe_error(ADAMOE_BAD_INPUT, "%s: kernel %s: an error of silu of %g", path, kernel->name,
                            (double)kernel->silu_error);
    }
    return check_sums(path, kernel);
}

#define KNOWN_GUARANTEES                                                                                     \
    ((uint32_t)(ADAMOE_SAME_BITS_RUNS | ADAMOE_SAME_BITS_THREADS | ADAMOE_SAME_BITS_BATCH |                  \
                ADAMOE_SAME_BITS_PLACEMENT))

/* A promise that nobody here can test must not pass for a tested one. */
static adamoe_status check_guarantees(const char *path, const adamoe_kernel *kernel)
{
    const unsigned unknown = kernel->guarantees & ~KNOWN_GUARANTEES;
    return unknown == 0
               ? adamoe_ok()
               : adamoe_error(ADAMOE_BAD_INPUT,
                              "%s: kernel %s: guarantees 0x%x: version %u of the contract has no 0x%x", path,
                              kernel->name, kernel->guarantees, ADAMOE_ABI, unknown);
}

static adamoe_status check_kernel(const adamoe_registry *registry, const char *path,
                                  const adamoe_kernel *kernel)
{
    if (kernel == NULL || kernel->abi != ADAMOE_ABI || kernel->struct_size < KERNEL_SIZE_ABI_1) {
        return adamoe_error(ADAMOE_BAD_INPUT,
                            "%s: kernel: made for another version of the contract, not for %u", path,
                            ADAMOE_ABI);
    }
    if (kernel->name == NULL || kernel->summary == NULL) {
        return adamoe_error(ADAMOE_BAD_INPUT, "%s: kernel: no name or no summary", path);
    }
    if (!is_good_name(kernel->name)) {
        return adamoe_error(ADAMOE_BAD_INPUT,
                            "%s: kernel \"%s\": a name is in lower case, without blanks and slashes", path,
                            kernel->name);
    }
    ADAMOE_TRY(check_arithmetic(path, kernel));
    ADAMOE_TRY(check_guarantees(path, kernel));
    if (kernel->supported == NULL || kernel->prepare == NULL || kernel->release == NULL ||
        kernel->work_bytes == NULL || kernel->experts == NULL) {
        return adamoe_error(ADAMOE_BAD_INPUT, "%s: kernel %s: a function that every kernel has is missing",
                            path, kernel->name);
    }
    const int dense = (kernel->prepare_matrix != NULL) + (kernel->release_matrix != NULL) +
                      (kernel->matrix_work_bytes != NULL) + (kernel->multiply != NULL);
    if (dense != 0 && dense != 4) {
        return adamoe_error(ADAMOE_BAD_INPUT, "%s: kernel %s: a part of the dense product is missing", path,
                            kernel->name);
    }
    if (adamoe_registry_find(registry, kernel->name) != NULL) {
        return adamoe_error(ADAMOE_BAD_INPUT, "%s: kernel %s: the name is taken", path, kernel->name);
    }
    return adamoe_ok();
}

static adamoe_status check_plugin(const adamoe_registry *registry, const char *path,
                                  const adamoe_plugin *plugin)
{
    if (plugin == NULL) {
        return adamoe_error(ADAMOE_BAD_INPUT,
                            "%s: adamoe_plugin_export: not exported: a shared object, but no plugin", path);
    }
    if (plugin->abi != ADAMOE_ABI || plugin->struct_size < sizeof(adamoe_plugin)) {
        return adamoe_error(ADAMOE_BAD_INPUT,
                            "%s: adamoe_plugin_export: version %u of the contract, expected %u", path,
                            plugin->abi, ADAMOE_ABI);
    }
    if (plugin->count == 0) {
        return adamoe_error(ADAMOE_BAD_INPUT, "%s: adamoe_plugin_export: count 0: it brings no kernels",
                            path);
    }
    if (plugin->kernel == NULL) {
        return adamoe_error(ADAMOE_BAD_INPUT, "%s: adamoe_plugin_export: %zu kernels, but no list of them",
                            path, plugin->count);
    }
    for (size_t i = 0; i < plugin->count; ++i) {
        ADAMOE_TRY(check_kernel(registry, path, plugin->kernel[i]));
        for (size_t j = 0; j < i; ++j) {
            if (strcmp(plugin->kernel[i]->name, plugin->kernel[j]->name) == 0) {
                return adamoe_error(ADAMOE_BAD_INPUT, "%s: kernel %s: the name is taken", path,
                                    plugin->kernel[i]->name);
            }
        }
    }
    return adamoe_ok();
}

/* [count] whole kernels, however much of one the plugin knows; NULL without memory. */
static adamoe_kernel *copy_kernels(const adamoe_plugin *plugin)
{
    adamoe_kernel *whole = calloc(plugin->count, sizeof *whole);
    for (size_t i = 0; i < plugin->count && whole != NULL; ++i) {
        const size_t size = plugin->kernel[i]->struct_size;
        memcpy(&whole[i], plugin->kernel[i], size < sizeof *whole ? size : sizeof *whole);
    }
    return whole;
}

/* What stands behind the table of ABI 1: looked at in a whole kernel alone. */
static adamoe_status check_newer_fields(const char *path, const adamoe_kernel *kernel)
{
    const adamoe_arithmetic results[] = {kernel->up, kernel->down, kernel->y};
    for (size_t i = 0; i < 3; ++i) {
        if (results[i] != ADAMOE_FLOAT32 && results[i] != ADAMOE_BFLOAT16) {
            return adamoe_error(
                ADAMOE_BAD_INPUT, "%s: kernel %s: up, down, y of type %u, %u, %u: float32 or bfloat16", path,
                kernel->name, (unsigned)kernel->up, (unsigned)kernel->down, (unsigned)kernel->y);
        }
    }
    if (kernel->y == ADAMOE_BFLOAT16 && kernel->combine != NULL) {
        return adamoe_error(
            ADAMOE_BAD_INPUT,
            "%s: kernel %s: it rounds y, so `combine' of rounded outputs cannot give its bits", path,
            kernel->name);
    }
    return (kernel->backward == NULL) == (kernel->backward_work_bytes == NULL)
               ? adamoe_ok()
               : adamoe_error(ADAMOE_BAD_INPUT, "%s: kernel %s: a part of the backward pass is missing", path,
                              kernel->name);
}

/* Takes over the handle and the kernels where it succeeds. */
static adamoe_status add_kernels(adamoe_registry *registry, const char *path, void *handle,
                                 adamoe_kernel *whole, size_t count)
{
    for (size_t i = 0; i < count; ++i) {
        ADAMOE_TRY(check_newer_fields(path, &whole[i]));
    }
    const adamoe_kernel **kernel =
        realloc(registry->kernel, (registry->count + count) * sizeof *registry->kernel);
    if (kernel == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "%s: out of memory", path);
    }
    registry->kernel = kernel;
    loaded_library *library =
        realloc(registry->library, (registry->libraries + 1) * sizeof *registry->library);
    if (library == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "%s: out of memory", path);
    }
    registry->library = library;
    registry->library[registry->libraries++] = (loaded_library){handle, whole};
    for (size_t i = 0; i < count; ++i) {
        registry->kernel[registry->count++] = &whole[i];
    }
    return adamoe_ok();
}

static adamoe_status add_library(adamoe_registry *registry, const char *path, void *handle)
{
    const adamoe_plugin *plugin = dlsym(handle, "adamoe_plugin_export");
    ADAMOE_TRY(check_plugin(registry, path, plugin));
    adamoe_kernel *whole = copy_kernels(plugin);
    if (whole == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "%s: out of memory", path);
    }
    const adamoe_status status = add_kernels(registry, path, handle, whole, plugin->count);
    if (status.code != ADAMOE_OK) {
        free(whole);
    }
    return status;
}

/* The system's own message about a file that is no shared object names a detail of its header. */
static adamoe_status check_file(const char *path, const char *file)
{
    static const char magic[4] = {'\x7f', 'E', 'L', 'F'};
    char begin[sizeof magic] = {0};
    struct stat about;
    const int descriptor = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0 || fstat(descriptor, &about) != 0) {
        const adamoe_status status = adamoe_error(ADAMOE_ENVIRONMENT, "%s: open: %s", path, strerror(errno));
        if (descriptor >= 0) {
            (void)close(descriptor);
        }
        return status;
    }
    const bool regular = S_ISREG(about.st_mode);
    const ssize_t got = regular ? read(descriptor, begin, sizeof begin) : 0;
    (void)close(descriptor);
    if (got != (ssize_t)sizeof begin || memcmp(begin, magic, sizeof magic) != 0) {
        return adamoe_error(ADAMOE_BAD_INPUT, "%s: load: not a shared object%s", path,
                            regular ? "" : ", not even a file");
    }
    return adamoe_ok();
}

static adamoe_status load_file(adamoe_registry *registry, const char *path, const char *file)
{
    ADAMOE_TRY(check_file(path, file));
    void *handle = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL) {
        return adamoe_error(ADAMOE_BAD_INPUT, "%s: load: %s", path, dlerror());
    }
    const adamoe_status status = add_library(registry, path, handle);
    if (status.code != ADAMOE_OK) {
        dlclose(handle);
    }
    return status;
}

adamoe_status adamoe_registry_load(adamoe_registry *registry, const char *path)
{
    /* Without a slash, dlopen would search the system's libraries instead of the working folder. */
    char *file = realpath(path, NULL);
    if (file == NULL) {
        const bool absent = errno == ENOENT || errno == ENOTDIR || errno == ENAMETOOLONG || errno == ELOOP;
        return adamoe_error(absent ? ADAMOE_BAD_INPUT : ADAMOE_ENVIRONMENT, "%s: open: %s", path,
                            strerror(errno));
    }
    const adamoe_status status = load_file(registry, path, file);
    free(file);
    return status;
}

/* Takes over the remote where it succeeds. */
static adamoe_status add_remote(adamoe_registry *registry, const char *name, adamoe_remote *remote)
{
    const size_t count = adamoe_remote_count(remote), before = registry->count;
    const adamoe_kernel **kernel = realloc(registry->kernel, (before + count) * sizeof *kernel);
    if (kernel == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "%s: out of memory", name);
    }
    registry->kernel = kernel;
    adamoe_remote **grown = realloc(registry->remote, (registry->remotes + 1) * sizeof *grown);
    if (grown == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "%s: out of memory", name);
    }
    registry->remote = grown;
    for (size_t i = 0; i < count; ++i) {
        adamoe_status status = check_kernel(registry, name, adamoe_remote_at(remote, i));
        if (status.code == ADAMOE_OK) {
            status = check_newer_fields(name, adamoe_remote_at(remote, i));
        }
        if (status.code != ADAMOE_OK) {
            registry->count = before;
            return status;
        }
        registry->kernel[registry->count++] = adamoe_remote_at(remote, i);
    }
    registry->remote[registry->remotes++] = remote;
    return adamoe_ok();
}

adamoe_status adamoe_registry_run(adamoe_registry *registry, const char *command, unsigned seconds)
{
    char name[160];
    adamoe_remote *remote = NULL;
    (void)snprintf(name, sizeof name, "--command: %.140s", command);
    ADAMOE_TRY(adamoe_remote_open(command, seconds, &remote));
    const adamoe_status status = add_remote(registry, name, remote);
    if (status.code != ADAMOE_OK) {
        adamoe_remote_close(remote);
    }
    return status;
}

size_t adamoe_registry_count(const adamoe_registry *registry)
{
    return registry->count;
}

const adamoe_kernel *adamoe_registry_at(const adamoe_registry *registry, size_t index)
{
    return registry->kernel[index];
}

const adamoe_kernel *adamoe_registry_find(const adamoe_registry *registry, const char *name)
{
    for (size_t i = 0; i < registry->count; ++i) {
        if (strcmp(registry->kernel[i]->name, name) == 0) {
            return registry->kernel[i];
        }
    }
    return NULL;
}

static bool is_float32(const adamoe_kernel *kernel)
{
    return kernel->x == ADAMOE_FLOAT32 && kernel->h == ADAMOE_FLOAT32 && kernel->weight == ADAMOE_FLOAT32;
}

const adamoe_kernel *adamoe_registry_default(const adamoe_registry *registry)
{
    const char *why_not = NULL;
    size_t best = 0;
    for (size_t i = 0; i < BUILT_IN_COUNT + PACKED_COUNT; ++i) {
        if (is_float32(registry->kernel[i]) && registry->kernel[i]->supported(&why_not)) {
            best = i;
        }
    }
    return registry->kernel[best];
}

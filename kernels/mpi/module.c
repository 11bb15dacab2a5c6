/*
 * Modules of the program: see module.h.
 */
#include "mpi/module.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The file's path; false where there is none. */
static bool find_file(const char *name, char *path, size_t size)
{
    static const char *const places[] = {"", ADAMOE_INSTALLED_MODULES "/"};
    char program[PATH_MAX];
    const ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    program[length < 0 ? 0 : length] = '\0';
    char *slash = strrchr(program, '/');
    if (slash != NULL) {
        slash[1] = '\0';
    }
    for (size_t i = 0; i < sizeof places / sizeof *places; ++i) {
        (void)snprintf(path, size, "%s%s%s.so", program, places[i], name);
        if (access(path, F_OK) == 0) {
            return true;
        }
    }
    return false;
}

adamoe_status adamoe_module_open(const char *name, uint32_t version, adamoe_module_scope scope,
                                 adamoe_module *out, const void **found)
{
    char path[PATH_MAX + 256], symbol[64];
    if (!find_file(name, path, sizeof path)) {
        return adamoe_error(ADAMOE_NOT_SUPPORTED, "%s", "");
    }
    out->handle = dlopen(path, RTLD_NOW | (scope == ADAMOE_MODULE_GLOBAL ? RTLD_GLOBAL : RTLD_LOCAL));
    if (out->handle == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "%.300s", dlerror());
    }
    (void)snprintf(symbol, sizeof symbol, "%s_module_export", name);
    *found = dlsym(out->handle, symbol);
    uint32_t its_version = 0;
    if (*found != NULL) {
        memcpy(&its_version, *found, sizeof its_version);
    }
    if (*found == NULL || its_version != version) {
        adamoe_module_close(out);
        return adamoe_error(ADAMOE_ENVIRONMENT, "%s.so: of another build than this program", name);
    }
    return adamoe_ok();
}

void adamoe_module_close(adamoe_module *module)
{
    (void)dlclose(module->handle);
    module->handle = NULL;
}

/*
 * Where the data lie that ship with the project. An installed program finds its own relative to itself, so
 * that a prefix can be moved; ADAMOE_INSTALLED_DATA leads from its folder to them (bench/install.cmake).
 */
#include "program/shipped.h"

#include <string.h>
#include <unistd.h>

/* False where the system does not tell. */
static bool find_program_folder(char *folder, size_t size)
{
    const ssize_t length = readlink("/proc/self/exe", folder, size - 1);
    if (length <= 0) {
        return false;
    }
    folder[length] = '\0';
    char *slash = strrchr(folder, '/');
    if (slash == NULL) {
        return false;
    }
    *slash = '\0';
    return true;
}

adamoe_status adamoe_find_shipped(const char *name, adamoe_shipped_file *out)
{
    char folder[2048];
    (void)snprintf(out->path, sizeof out->path, "%s", name);
    if (access(out->path, R_OK) == 0) {
        return adamoe_ok();
    }
    if (find_program_folder(folder, sizeof folder)) {
        (void)snprintf(out->path, sizeof out->path, "%s/" ADAMOE_INSTALLED_DATA "/%s", folder, name);
        if (access(out->path, R_OK) == 0) {
            return adamoe_ok();
        }
    }
    return adamoe_error(ADAMOE_BAD_INPUT,
                        "%s: neither here nor installed with the program; run it in the project's folder, or "
                        "give --model and --questions",
                        name);
}

/*
 * A folder for fuzz targets whose function under test takes a path; it is removed at exit.
 */
#ifndef ADAMOE_INPUT_FILE_H
#define ADAMOE_INPUT_FILE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char input_folder[] = "/tmp/adamoe-fuzz-XXXXXX";
static char input_path[sizeof input_folder + 40];

static inline void remove_input_folder(void)
{
    unlink(input_path);
    rmdir(input_folder);
}

/* The file of this name in the folder holds the input; aborts where that cannot be. */
static inline const char *write_input(const char *name, const uint8_t *data, size_t size)
{
    if (input_path[0] == '\0') {
        if (mkdtemp(input_folder) == NULL || atexit(remove_input_folder) != 0) {
            abort();
        }
        snprintf(input_path, sizeof input_path, "%s/%s", input_folder, name);
    }
    FILE *file = fopen(input_path, "wb");
    if (file == NULL || fwrite(data, 1, size, file) != size || fclose(file) != 0) {
        abort();
    }
    return input_path;
}

#endif

/*
 * Reading the small text files in which the system tells about itself. What cannot be read is absent: no
 * function here has an error.
 */
#include "machine/system_file.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Room for the root, the path of a control group (a line of 4096 bytes) and the name of a file. */
#define PATH_ROOM 8192

FILE *adamoe_system_file_open(const char *folder, const char *name)
{
    char path[PATH_ROOM];
    const int length = snprintf(path, sizeof path, "%s/%s", folder, name);
    return length < 0 || (size_t)length >= sizeof path ? NULL : fopen(path, "re");
}

size_t adamoe_system_file_number(const char *folder, const char *name, const char *key)
{
    char text[256], *end = NULL;
    if (!adamoe_system_file_text(folder, name, key, text, sizeof text)) {
        return SIZE_MAX;
    }
    const unsigned long long value = strtoull(text, &end, 10);
    if (end == text) {
        return SIZE_MAX;
    }
    return strstr(end, "kB") != NULL ? (size_t)value * 1024 : (size_t)value;
}

/* Reads a line without its newline; the rest of one that does not fit is skipped, and the line is empty. */
static bool read_line(FILE *file, char *line, size_t size)
{
    if (fgets(line, (int)size, file) == NULL) {
        return false;
    }
    const size_t length = strcspn(line, "\n");
    if (line[length] == '\0' && length + 1 == size) {
        for (int c = getc(file); c != '\n' && c != EOF;) {
            c = getc(file);
        }
        line[0] = '\0';
    }
    line[length] = '\0';
    return true;
}

bool adamoe_system_file_text(const char *folder, const char *name, const char *key, char *text, size_t size)
{
    FILE *file = adamoe_system_file_open(folder, name);
    char line[4096];
    bool found = false;
    while (file != NULL && !found && read_line(file, line, sizeof line)) {
        const char *rest = line + strlen(key);
        if (strncmp(line, key, strlen(key)) == 0 && line[0] != '\0') {
            rest += strspn(rest, " \t");
            found = strlen(rest) < size;
            if (found) {
                memcpy(text, rest, strlen(rest) + 1);
            }
            break;
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return found;
}

/*
 * What every test includes: cmocka with its prerequisites, and the paths of test data.
 */
#ifndef ADAMOE_TEST_H
#define ADAMOE_TEST_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "adamoe.h"

/* Paths below the source tree and below the folder of further test data. */
#define SOURCE_PATH(path) ADAMOE_SOURCE_DIR "/" path
#define SHARED_PATH(path) ADAMOE_SHARED_DIR "/" path

/* Skips the test, and says why, where a file is absent. */
#define SKIP_WITHOUT(path)                                                                                   \
    do {                                                                                                     \
        if (access(path, R_OK) != 0) {                                                                       \
            print_message("skipped: %s is absent\n", path);                                                  \
            skip();                                                                                          \
        }                                                                                                    \
    } while (0)

/* Fails with the status's message unless it is ADAMOE_OK. */
#define assert_ok(call)                                                                                      \
    do {                                                                                                     \
        const adamoe_status assert_status = (call);                                                          \
        if (assert_status.code != ADAMOE_OK) {                                                               \
            fail_msg("%s: %s", #call, assert_status.message);                                                \
        }                                                                                                    \
    } while (0)

/* Fails unless the call ends with `code` and a message that contains `part`. */
#define assert_error(call, expected_code, part)                                                              \
    do {                                                                                                     \
        const adamoe_status assert_status = (call);                                                          \
        if (assert_status.code != (expected_code) || strstr(assert_status.message, part) == NULL) {          \
            fail_msg("%s: code %d, message \"%s\"; expected code %d and \"%s\"", #call,                      \
                     (int)assert_status.code, assert_status.message, (int)(expected_code), part);            \
        }                                                                                                    \
    } while (0)

#endif

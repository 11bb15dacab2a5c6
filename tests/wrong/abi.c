/*
 * A plugin for another version of the contract.
 */
#include "adamoe.h"

static const adamoe_kernel kernel = {.abi = ADAMOE_ABI + 1, .struct_size = sizeof(adamoe_kernel)};
static const adamoe_kernel *const kernels[] = {&kernel};

const adamoe_plugin adamoe_plugin_export = {
    .abi = ADAMOE_ABI + 1, .struct_size = sizeof(adamoe_plugin), .count = 1, .kernel = kernels};

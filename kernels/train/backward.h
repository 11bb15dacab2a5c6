/*
 * Training's experts as the backward functions of adamoe_kernel, one pair for each instruction set. They
 * compute w1 x and w3 x again, which train/experts.h lets a training loop keep, and are in all else its code.
 *
 * Left out: a choice among instruction sets, which is that of the kernel they belong to.
 */
#ifndef ADAMOE_TRAIN_BACKWARD_H
#define ADAMOE_TRAIN_BACKWARD_H

#include "adamoe.h"

size_t adamoe_backward_avx2_work_bytes(const adamoe_backward_call *call, uint32_t threads);
adamoe_status adamoe_backward_avx2(const adamoe_run *run, const adamoe_backward_call *call);

size_t adamoe_backward_avx512_work_bytes(const adamoe_backward_call *call, uint32_t threads);
adamoe_status adamoe_backward_avx512(const adamoe_run *run, const adamoe_backward_call *call);

#endif

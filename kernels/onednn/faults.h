/*
 * What the oneDNN that is linked computes wrong on this processor, as small products show it, and the shapes
 * that the kernels keep to so that none of it reaches a result.
 *
 * Nothing here looks at version numbers: a fault may be repaired in a distribution's package, or come back.
 */
#ifndef ADAMOE_ONEDNN_FAULTS_H
#define ADAMOE_ONEDNN_FAULTS_H

#include "adamoe.h"

#include <stdbool.h>

/* Terms of a sum come in multiples of this where a fault makes them. */
#define ONEDNN_DEPTH_STEP 32

typedef enum onednn_fault {
    /* A product of one column writes its output without gaps, whatever the stride between rows. Seen with
     * 3.7.2 on AVX-512, float32. No block of a matrix has one column (packed.h), so it is never asked for. */
    ONEDNN_ONE_COLUMN,
    /* A NaN or an infinity in one row of the input reaches the output of another row, where the sums have no
     * multiple of 32 terms: oneDNN multiplies what lies behind a row by zeros. oneDNN's issue 5717, bfloat16
     * on AMX. Rows are padded with zeros (onednn_depth). */
    ONEDNN_ROW_LEAK,
    /* A product that neither of the two touches is wrong. The kernels refuse to run. */
    ONEDNN_WRONG,
    ONEDNN_FAULTS
} onednn_fault;

typedef struct onednn_findings {
    bool available; /* oneDNN has products of this type on this processor at all */
    bool fault[ONEDNN_FAULTS];
} onednn_findings;

/* For FLOAT32 or BFLOAT16, of inputs and weights alike. The first call of a process runs some twenty products
 * of at most 64 rows, which takes milliseconds; any thread may make it. */
const onednn_findings *onednn_find_faults(adamoe_arithmetic type);

/* Names for programs and sentences for people; static texts. */
const char *onednn_fault_name(onednn_fault fault);   /* "one_column_stride" */
const char *onednn_fault_text(onednn_fault fault);   /* what goes wrong */
const char *onednn_fault_remedy(onednn_fault fault); /* what is done about it */

/* Elements of an input row of a product with `columns` terms: columns, or the next multiple of 32. bfloat16
 * is always padded: its inputs are copied to be rounded anyway, and a probe tries few of all shapes. */
size_t onednn_depth(adamoe_arithmetic type, size_t columns);

#endif

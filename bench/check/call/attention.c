/*
 * One guarded call of a kernel: attention.
 */
#include "check/call/call.h"
#include "check/call/parts.h"

#include <string.h>

static adamoe_status guard_inputs(check_call *c, size_t queries, size_t keys, adamoe_attention_call *call)
{
    const size_t query_bytes = queries * call->heads * call->head_dim * sizeof(float);
    const size_t key_bytes = keys * call->key_value_heads * call->head_dim * sizeof(float);
    const void *query, *key, *value, *span;
    ADAMOE_TRY(check_call_input(c, call->query, query_bytes, sizeof(float), &query));
    ADAMOE_TRY(check_call_input(c, call->key, key_bytes, sizeof(float), &key));
    ADAMOE_TRY(check_call_input(c, call->value, key_bytes, sizeof(float), &value));
    ADAMOE_TRY(check_call_input(c, call->span, call->spans * sizeof *call->span,
                                _Alignof(adamoe_attention_span), &span));
    call->query = query;
    call->key = key;
    call->value = value;
    call->span = span;
    return adamoe_ok();
}

static adamoe_status attend_guarded(check_call *c, const adamoe_attention_call *call, size_t queries,
                                    size_t keys)
{
    const adamoe_kernel *kernel = c->manner->kernel;
    const size_t bytes = queries * call->heads * call->head_dim * sizeof(float);
    adamoe_attention_call guarded = *call;
    adamoe_guarded own = {0}, *mixed = NULL;
    adamoe_run run;
    ADAMOE_TRY(guard_inputs(c, queries, keys, &guarded));
    ADAMOE_TRY(check_call_output(c, bytes, sizeof(float), &own, &mixed));
    guarded.mixed = (float *)(void *)mixed->data;
    const size_t work_bytes = kernel->attention_work_bytes == NULL
                                  ? 0
                                  : kernel->attention_work_bytes(&guarded, c->team.team.threads);
    if (check_call_reserve(c, work_bytes, &run)) {
        const adamoe_control_state before = adamoe_control_state_read();
        check_call_returned(c, "attention", &before, kernel->attention(&run, &guarded));
    }
    if (!adamoe_guarded_intact(mixed)) {
        check_call_wrong(c, "wrote outside of its output");
    }
    memcpy(call->mixed, mixed->data, bytes);
    adamoe_guarded_free(&own);
    return adamoe_ok();
}

adamoe_status adamoe_call_attention(const adamoe_call_manner *manner, const adamoe_attention_call *call,
                                    size_t queries, size_t keys, adamoe_call_outcome *out)
{
    check_call c;
    check_call_begin(&c, manner, out);
    return check_call_end(&c, attend_guarded(&c, call, queries, keys));
}

/*
 * The tier `bound` for attention, with buffers at both ends of their pages.
 */
#include "check/tiers/attention/data.h"
#include "check/tiers/attention/tiers.h"

static adamoe_status compare(const adamoe_checking *k, const adamoe_attention_data *data,
                             const adamoe_yardstick *yardstick)
{
    static const adamoe_guard_end ends[] = {ADAMOE_GUARD_BACK, ADAMOE_GUARD_FRONT};
    adamoe_call_outcome outcome;
    for (size_t i = 0; i < 2; ++i) {
        const adamoe_call_manner manner = adamoe_check_manner(k, ends[i]);
        ADAMOE_TRY(adamoe_call_attention(&manner, &data->call, data->queries, data->keys, &outcome));
        if (!adamoe_check_called(k, &outcome) ||
            !adamoe_check_judge(k, yardstick, data->mixed, adamoe_attention_query_width(data), 1.0)) {
            return adamoe_ok();
        }
    }
    return adamoe_ok();
}

adamoe_status adamoe_check_attention_bound(const adamoe_checking *k)
{
    adamoe_attention_data data;
    adamoe_yardstick yardstick = {0};
    ADAMOE_TRY(adamoe_attention_data_create(k->c, k->seed, &data));
    adamoe_status status = adamoe_attention_yardstick(&data, k->attention_exp_error, &yardstick);
    if (status.code == ADAMOE_OK) {
        status = compare(k, &data, &yardstick);
    }
    adamoe_attention_data_free(&data);
    adamoe_yardstick_free(&yardstick);
    return status;
}

/*
 * What was measured of a machine and its wire, as a file.
 */
#include "scale/calibration.h"
#include "files/json_file.h"
#include "program/json_output.h"

#include <math.h>
#include <string.h>

double adamoe_calibration_error(const adamoe_calibration *calibration, bool fitted)
{
    double largest = (double)NAN;
    for (size_t i = 0; i < calibration->checks && !calibration->disturbed; ++i) {
        const adamoe_calibration_check *c = &calibration->check[i];
        if (c->fitted == fitted) {
            largest = fmax(largest, fabs(c->predicted / c->measured - 1.0)); /* fmax passes over NaN */
        }
    }
    return largest;
}

size_t adamoe_calibration_within(const adamoe_calibration *calibration, double error, size_t *all)
{
    size_t within = 0;
    *all = 0;
    for (size_t i = 0; i < calibration->checks; ++i) {
        const adamoe_calibration_check *c = &calibration->check[i];
        *all += !c->fitted;
        within += !c->fitted && fabs(c->predicted / c->measured - 1.0) <= error;
    }
    return within;
}

adamoe_calibration_check *adamoe_calibration_add(adamoe_calibration *calibration, const char *what,
                                                 double predicted, double measured, bool fitted)
{
    if (calibration->checks == ADAMOE_CALIBRATION_CHECKS) {
        return NULL;
    }
    adamoe_calibration_check *c = &calibration->check[calibration->checks++];
    *c = (adamoe_calibration_check){.predicted = predicted, .measured = measured, .fitted = fitted};
    (void)snprintf(c->what, sizeof c->what, "%s", what);
    return c;
}

/* ------------------------------------------------------------------------------------------------ writing */

static json_t *points_json(const adamoe_cost_compute *compute)
{
    json_t *list = json_array();
    for (size_t i = 0; i < compute->points; ++i) {
        (void)json_array_append_new(list, json_pack("{s:f,s:f,s:f}", "rows", compute->point[i].rows,
                                                    "seconds", compute->point[i].seconds, "alone_seconds",
                                                    compute->point[i].alone));
    }
    return list;
}

static json_t *checks_json(const adamoe_calibration *calibration)
{
    json_t *list = json_array();
    for (size_t i = 0; i < calibration->checks; ++i) {
        const adamoe_calibration_check *c = &calibration->check[i];
        (void)json_array_append_new(
            list, json_pack("{s:o,s:f,s:f,s:o,s:o,s:b}", "what", adamoe_json_text(c->what), "predicted",
                            c->predicted, "measured", c->measured, "low", adamoe_json_number(c->low), "high",
                            adamoe_json_number(c->high), "fitted", c->fitted ? 1 : 0));
    }
    return list;
}

static json_t *saving_json(const adamoe_calibration_saving *saving)
{
    return json_pack("{s:o,s:o,s:o}", "centre", adamoe_json_number(saving->centre), "low",
                     adamoe_json_number(saving->low), "high", adamoe_json_number(saving->high));
}

static json_t *reductions_json(const adamoe_calibration *calibration)
{
    json_t *list = json_array();
    for (size_t i = 0; i < calibration->reductions; ++i) {
        const adamoe_calibration_reduction *r = &calibration->reduction[i];
        (void)json_array_append_new(
            list, json_pack("{s:I,s:I,s:I,s:o,s:o,s:o}", "ranks", (json_int_t)calibration->ranks, "tokens",
                            (json_int_t)r->tokens, "pairs", (json_int_t)r->rounds, "bytes_reduction",
                            saving_json(&r->bytes), "time_reduction", saving_json(&r->seconds),
                            "predicted_time_reduction", adamoe_json_number(r->predicted)));
    }
    return list;
}

static json_t *judged_json(const adamoe_calibration *c)
{
    size_t all;
    const size_t within = adamoe_calibration_within(c, 0.15, &all);
    return json_pack("{s:I,s:I,s:o,s:b,s:I,s:I}", "rounds", (json_int_t)c->rounds, "disturbed_rounds",
                     (json_int_t)c->disturbed_rounds, "other_share", adamoe_json_number(c->other_share),
                     "disturbed", c->disturbed ? 1 : 0, "runs", (json_int_t)all, "within_15_percent",
                     (json_int_t)within);
}

json_t *adamoe_calibration_json(const adamoe_calibration *c)
{
    json_t *document =
        json_pack("{s:o,s:o,s:o}", "checks", checks_json(c), "largest_error",
                  adamoe_json_number(adamoe_calibration_error(c, false)), "judged", judged_json(c));
    if (c->reductions > 0) {
        (void)json_object_set_new(document, "measured_reductions", reductions_json(c));
    }
    if (c->compute.points > 0) {
        (void)json_object_set_new(
            document, "kernel",
            json_pack("{s:o,s:I,s:I,s:I,s:I,s:I,s:f,s:f,s:f,s:f,s:o}", "name", adamoe_json_text(c->kernel),
                      "hidden_size", (json_int_t)c->hidden_size, "intermediate_size",
                      (json_int_t)c->intermediate_size, "input_bytes", (json_int_t)c->input_bytes, "threads",
                      (json_int_t)c->threads, "experts_in_turn", (json_int_t)c->experts_in_turn,
                      "expert_bytes", c->expert_bytes, "flops_per_second", c->compute.flops,
                      "bytes_per_second", c->compute.bytes, "ranks_per_processor", c->ranks_per_processor,
                      "points", points_json(&c->compute)));
    }
    if (c->ranks > 1) {
        (void)json_object_set_new(document, "network",
                                  json_pack("{s:I,s:f,s:f,s:f,s:f,s:f,s:f,s:I}", "ranks",
                                            (json_int_t)c->ranks, "latency_seconds", c->network.latency,
                                            "overhead_seconds", c->network.overhead, "rendezvous_seconds",
                                            c->network.rendezvous, "eager_bytes", c->network.eager,
                                            "bytes_per_second", c->network.bandwidth, "hidden_share",
                                            c->network.hidden, "chunks", (json_int_t)c->network.chunks));
    }
    return document;
}

/* ------------------------------------------------------------------------------------------------ reading */

static adamoe_status refuse(const char *path, const char *key)
{
    return adamoe_error(ADAMOE_BAD_INPUT,
                        "%.300s: %s: missing, or not what `adamoe scale --calibrate' writes", path, key);
}

/* A number of one of the keys, from `low` on. */
typedef struct wanted_number {
    const char *key;
    double low, *to;
} wanted_number;

static adamoe_status read_numbers(const char *path, const json_t *object, const wanted_number *wanted,
                                  size_t count)
{
    for (size_t i = 0; i < count; ++i) {
        const json_t *value = json_object_get(object, wanted[i].key);
        if (!json_is_number(value) || !(json_number_value(value) >= wanted[i].low) ||
            !(json_number_value(value) <= 1e300)) {
            return refuse(path, wanted[i].key);
        }
        *wanted[i].to = json_number_value(value);
    }
    return adamoe_ok();
}

static adamoe_status read_points(const char *path, const json_t *list, adamoe_cost_compute *out)
{
    size_t i;
    const json_t *entry;
    if (json_array_size(list) == 0 || json_array_size(list) > ADAMOE_COST_POINTS) {
        return refuse(path, "kernel: points");
    }
    json_array_foreach(list, i, entry)
    {
        adamoe_cost_point *p = &out->point[out->points++];
        const wanted_number wanted[] = {
            {"rows", 1.0, &p->rows}, {"seconds", 1e-12, &p->seconds}, {"alone_seconds", 1e-12, &p->alone}};
        ADAMOE_TRY(read_numbers(path, entry, wanted, 3));
        if (i > 0 && p->rows <= out->point[i - 1].rows) {
            return refuse(path, "kernel: points: rows that ascend");
        }
    }
    return adamoe_ok();
}

static adamoe_status read_kernel(const char *path, const json_t *kernel, adamoe_calibration *out)
{
    double sizes[5];
    const wanted_number wanted[] = {{"hidden_size", 1.0, &sizes[0]},
                                    {"intermediate_size", 1.0, &sizes[1]},
                                    {"input_bytes", 2.0, &sizes[2]},
                                    {"threads", 1.0, &sizes[3]},
                                    {"experts_in_turn", 1.0, &sizes[4]},
                                    {"ranks_per_processor", 1.0, &out->ranks_per_processor},
                                    {"expert_bytes", 1.0, &out->expert_bytes},
                                    {"flops_per_second", 1.0, &out->compute.flops},
                                    {"bytes_per_second", 1.0, &out->compute.bytes}};
    ADAMOE_TRY(read_numbers(path, kernel, wanted, sizeof wanted / sizeof *wanted));
    if (sizes[0] > 1e9 || sizes[1] > 1e9 || sizes[2] > 4.0 || sizes[3] > 1e6 || sizes[4] > 1e6 ||
        !json_is_string(json_object_get(kernel, "name"))) {
        return refuse(path, "kernel");
    }
    out->hidden_size = (size_t)sizes[0];
    out->intermediate_size = (size_t)sizes[1];
    out->input_bytes = (size_t)sizes[2];
    out->threads = (uint32_t)sizes[3];
    out->experts_in_turn = (size_t)sizes[4];
    (void)snprintf(out->kernel, sizeof out->kernel, "%s", json_string_value(json_object_get(kernel, "name")));
    return read_points(path, json_object_get(kernel, "points"), &out->compute);
}

static adamoe_status read_network(const char *path, const json_t *network, adamoe_calibration *out)
{
    double ranks, chunks;
    const wanted_number wanted[] = {{"ranks", 2.0, &ranks},
                                    {"chunks", 1.0, &chunks},
                                    {"latency_seconds", 0.0, &out->network.latency},
                                    {"overhead_seconds", 0.0, &out->network.overhead},
                                    {"rendezvous_seconds", 0.0, &out->network.rendezvous},
                                    {"eager_bytes", 0.0, &out->network.eager},
                                    {"bytes_per_second", 1.0, &out->network.bandwidth},
                                    {"hidden_share", 0.0, &out->network.hidden}};
    ADAMOE_TRY(read_numbers(path, network, wanted, sizeof wanted / sizeof *wanted));
    if (ranks > 1e6 || chunks > 1e6 || out->network.hidden > 1.0) {
        return refuse(path, "network");
    }
    out->ranks = (uint32_t)ranks;
    out->network.overlap = true;
    out->network.chunks = (uint32_t)chunks;
    return adamoe_ok();
}

static adamoe_status read_checks(const char *path, const json_t *list, adamoe_calibration *out)
{
    size_t i;
    const json_t *entry;
    if (!json_is_array(list) || json_array_size(list) > ADAMOE_CALIBRATION_CHECKS) {
        return refuse(path, "checks");
    }
    json_array_foreach(list, i, entry)
    {
        adamoe_calibration_check *c = &out->check[out->checks++];
        const wanted_number wanted[] = {{"predicted", 0.0, &c->predicted}, {"measured", 1e-12, &c->measured}};
        const char *what = json_string_value(json_object_get(entry, "what"));
        ADAMOE_TRY(read_numbers(path, entry, wanted, 2));
        (void)snprintf(c->what, sizeof c->what, "%s", what == NULL ? "?" : what);
        c->fitted = json_is_true(json_object_get(entry, "fitted"));
        const json_t *low = json_object_get(entry, "low"), *high = json_object_get(entry, "high");
        c->low = json_is_number(low) ? json_number_value(low) : -(double)INFINITY; /* too few rounds */
        c->high = json_is_number(high) ? json_number_value(high) : (double)INFINITY;
    }
    return adamoe_ok();
}

static adamoe_status read_judged(const char *path, const json_t *judged, adamoe_calibration *out)
{
    double rounds, disturbed;
    const wanted_number wanted[] = {{"rounds", 1.0, &rounds}, {"disturbed_rounds", 0.0, &disturbed}};
    ADAMOE_TRY(read_numbers(path, judged, wanted, 2));
    if (rounds > 1e6 || disturbed > 1e6) {
        return refuse(path, "judged");
    }
    out->rounds = (size_t)rounds;
    out->disturbed_rounds = (size_t)disturbed;
    out->disturbed = json_is_true(json_object_get(judged, "disturbed"));
    return adamoe_ok();
}

static adamoe_status read_document(const char *path, const json_t *document, adamoe_calibration *out)
{
    const json_t *kernel = json_object_get(document, "kernel"),
                 *network = json_object_get(document, "network");
    if (kernel == NULL && network == NULL) {
        return refuse(path, "kernel, network");
    }
    if (kernel != NULL) {
        ADAMOE_TRY(read_kernel(path, kernel, out));
    }
    if (network != NULL) {
        ADAMOE_TRY(read_network(path, network, out));
    }
    ADAMOE_TRY(read_judged(path, json_object_get(document, "judged"), out));
    return read_checks(path, json_object_get(document, "checks"), out);
}

adamoe_status adamoe_calibration_read(const char *path, adamoe_calibration *out)
{
    json_t *document = NULL;
    *out = (adamoe_calibration){.checks = 0};
    ADAMOE_TRY(adamoe_json_read(path, &document));
    const adamoe_status status = read_document(path, document, out);
    json_decref(document);
    return status;
}

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

static adamoe_status refuse(const char *path, const char *place, const char *key)
{
    return adamoe_error(ADAMOE_BAD_INPUT,
                        "%.300s: %s%s%s: missing, or not what `adamoe scale --calibrate' writes", path, place,
                        place[0] == '\0' ? "" : ".", key);
}

/* A number of one of the keys, from `low` to `high`. */
typedef struct wanted_number {
    const char *key;
    double low, high;
    bool is_whole;
    double *to;
} wanted_number;

static adamoe_status read_numbers(const char *path, const char *place, const json_t *object,
                                  const wanted_number *wanted, size_t count)
{
    for (size_t i = 0; i < count; ++i) {
        const wanted_number *w = &wanted[i];
        const json_t *value = json_object_get(object, w->key);
        const double number = json_is_number(value) ? json_number_value(value) : (double)NAN;
        if (!(number >= w->low && number <= w->high) || (w->is_whole && number != floor(number))) {
            return refuse(path, place, w->key);
        }
        *w->to = number;
    }
    return adamoe_ok();
}

static adamoe_status read_truth(const char *path, const char *place, const json_t *object, const char *key,
                                bool *out)
{
    const json_t *value = json_object_get(object, key);
    *out = json_is_true(value);
    return json_is_boolean(value) ? adamoe_ok() : refuse(path, place, key);
}

/* Control characters of ASCII, and those of Unicode, which UTF-8 writes as C2 80 to C2 9F. */
static bool has_control(const char *text)
{
    for (const unsigned char *c = (const unsigned char *)text; *c != '\0'; ++c) {
        if (*c < 0x20 || *c == 0x7f || (*c == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0)) {
            return true;
        }
    }
    return false;
}

/* What will be printed: nothing that a terminal obeys. */
static adamoe_status read_text(const char *path, const char *place, const json_t *object, const char *key,
                               char *out, size_t room)
{
    const char *text = json_string_value(json_object_get(object, key));
    if (text == NULL || has_control(text)) {
        return refuse(path, place, key);
    }
    (void)snprintf(out, room, "%s", text);
    return adamoe_ok();
}

#define LEAST_SECONDS 1e-12 /* of a call that was timed */
#define MOST_COUNT    1e6
#define MOST_SIZE     1e9
#define MOST_BYTES    1e15

static adamoe_status read_points(const char *path, const json_t *list, adamoe_cost_compute *out)
{
    size_t i;
    const json_t *entry;
    if (json_array_size(list) == 0 || json_array_size(list) > ADAMOE_COST_POINTS) {
        return refuse(path, "kernel", "points");
    }
    json_array_foreach(list, i, entry)
    {
        char place[48];
        adamoe_cost_point *p = &out->point[out->points++];
        const wanted_number wanted[] = {
            {"rows", 1.0, MOST_SIZE, true, &p->rows},
            {"seconds", LEAST_SECONDS, ADAMOE_COST_MOST_SECONDS, false, &p->seconds},
            {"alone_seconds", LEAST_SECONDS, ADAMOE_COST_MOST_SECONDS, false, &p->alone}};
        (void)snprintf(place, sizeof place, "kernel.points[%zu]", i);
        ADAMOE_TRY(read_numbers(path, place, entry, wanted, sizeof wanted / sizeof *wanted));
        if (i == 0 ? p->rows != 1.0 : p->rows <= out->point[i - 1].rows) {
            return refuse(path, place, "rows, which ascend from 1");
        }
        if (p->alone > p->seconds) {
            return refuse(path, place, "alone_seconds, at most seconds");
        }
    }
    return adamoe_ok();
}

static adamoe_status read_kernel(const char *path, const json_t *kernel, adamoe_calibration *out)
{
    double sizes[5];
    const wanted_number wanted[] = {
        {"hidden_size", 1.0, MOST_SIZE, true, &sizes[0]},
        {"intermediate_size", 1.0, MOST_SIZE, true, &sizes[1]},
        {"input_bytes", 2.0, 4.0, true, &sizes[2]},
        {"threads", 1.0, MOST_COUNT, true, &sizes[3]},
        {"experts_in_turn", 1.0, MOST_COUNT, true, &sizes[4]},
        {"ranks_per_processor", 1.0, MOST_COUNT, false, &out->ranks_per_processor},
        {"expert_bytes", 1.0, MOST_BYTES, false, &out->expert_bytes},
        {"flops_per_second", ADAMOE_COST_LEAST_RATE, ADAMOE_COST_MOST_RATE, false, &out->compute.flops},
        {"bytes_per_second", ADAMOE_COST_LEAST_RATE, ADAMOE_COST_MOST_RATE, false, &out->compute.bytes}};
    ADAMOE_TRY(read_numbers(path, "kernel", kernel, wanted, sizeof wanted / sizeof *wanted));
    if (sizes[2] == 3.0) { /* bfloat16 or float32 */
        return refuse(path, "kernel", "input_bytes");
    }
    out->hidden_size = (size_t)sizes[0];
    out->intermediate_size = (size_t)sizes[1];
    out->input_bytes = (size_t)sizes[2];
    out->threads = (uint32_t)sizes[3];
    out->experts_in_turn = (size_t)sizes[4];
    ADAMOE_TRY(read_text(path, "kernel", kernel, "name", out->kernel, sizeof out->kernel));
    return read_points(path, json_object_get(kernel, "points"), &out->compute);
}

static adamoe_status read_network(const char *path, const json_t *network, adamoe_calibration *out)
{
    double ranks, chunks;
    adamoe_cost_network *n = &out->network;
    const wanted_number wanted[] = {
        {"ranks", 2.0, MOST_COUNT, true, &ranks},
        {"chunks", 1.0, MOST_COUNT, true, &chunks},
        {"latency_seconds", 0.0, ADAMOE_COST_MOST_SECONDS, false, &n->latency},
        {"overhead_seconds", 0.0, ADAMOE_COST_MOST_SECONDS, false, &n->overhead},
        {"rendezvous_seconds", 0.0, ADAMOE_COST_MOST_SECONDS, false, &n->rendezvous},
        {"eager_bytes", 0.0, MOST_BYTES, false, &n->eager},
        {"bytes_per_second", ADAMOE_COST_LEAST_RATE, ADAMOE_COST_MOST_RATE, false, &n->bandwidth},
        {"hidden_share", 0.0, 1.0, false, &n->hidden}};
    ADAMOE_TRY(read_numbers(path, "network", network, wanted, sizeof wanted / sizeof *wanted));
    out->ranks = (uint32_t)ranks;
    n->overlap = true;
    n->chunks = (uint32_t)chunks;
    return adamoe_ok();
}

/* The ends of an interval, of which null is one that too few rounds do not have. */
static adamoe_status read_interval(const char *path, const char *place, const json_t *entry,
                                   adamoe_calibration_check *c)
{
    const double most = ADAMOE_COST_MOST_SECONDS / LEAST_SECONDS;
    const wanted_number wanted[] = {{"low", 0.0, most, false, &c->low}, {"high", 0.0, most, false, &c->high}};
    c->low = -(double)INFINITY;
    c->high = (double)INFINITY;
    for (size_t i = 0; i < 2; ++i) {
        if (!json_is_null(json_object_get(entry, wanted[i].key))) {
            ADAMOE_TRY(read_numbers(path, place, entry, &wanted[i], 1));
        }
    }
    return c->low <= c->high ? adamoe_ok() : refuse(path, place, "low, at most high");
}

static adamoe_status read_checks(const char *path, const json_t *list, adamoe_calibration *out)
{
    size_t i;
    const json_t *entry;
    if (!json_is_array(list) || json_array_size(list) > ADAMOE_CALIBRATION_CHECKS) {
        return refuse(path, "", "checks");
    }
    json_array_foreach(list, i, entry)
    {
        char place[48];
        adamoe_calibration_check *c = &out->check[out->checks++];
        const wanted_number wanted[] = {
            {"predicted", 0.0, ADAMOE_COST_MOST_SECONDS, false, &c->predicted},
            {"measured", LEAST_SECONDS, ADAMOE_COST_MOST_SECONDS, false, &c->measured}};
        (void)snprintf(place, sizeof place, "checks[%zu]", i);
        ADAMOE_TRY(read_numbers(path, place, entry, wanted, sizeof wanted / sizeof *wanted));
        ADAMOE_TRY(read_text(path, place, entry, "what", c->what, sizeof c->what));
        ADAMOE_TRY(read_truth(path, place, entry, "fitted", &c->fitted));
        ADAMOE_TRY(read_interval(path, place, entry, c));
    }
    return adamoe_ok();
}

static adamoe_status read_judged(const char *path, const json_t *judged, adamoe_calibration *out)
{
    double rounds, disturbed;
    const wanted_number wanted[] = {{"rounds", 1.0, MOST_COUNT, true, &rounds},
                                    {"disturbed_rounds", 0.0, MOST_COUNT, true, &disturbed}};
    ADAMOE_TRY(read_numbers(path, "judged", judged, wanted, sizeof wanted / sizeof *wanted));
    out->rounds = (size_t)rounds;
    out->disturbed_rounds = (size_t)disturbed;
    return read_truth(path, "judged", judged, "disturbed", &out->disturbed);
}

static adamoe_status read_document(const char *path, const json_t *document, adamoe_calibration *out)
{
    const json_t *kernel = json_object_get(document, "kernel"),
                 *network = json_object_get(document, "network");
    if (kernel == NULL && network == NULL) {
        return refuse(path, "", "kernel, network");
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

/*
 * Attention over spans. A task is a tile: some queries of one span, and the query heads that share one
 * key-value head. For its rows (query, head) it goes through the keys block by block, so that a block that
 * was read from memory once serves all rows of the tile from the first cache. Few keys are in that cache anyway, and a
 * row goes through them at once.
 */
#include "model/span_attention.h"
#include "vector/vector_ops.h"

#include <math.h>
#include <string.h>

#define TILE_ROWS  16 /* (query, head) at least, as far as the span has so many */
#define KEY_BLOCK  32 /* keys: 8 KiB at 64 floats a head */
#define LINE_BYTES 64

/* Sizes and the places of arrays in the workspace, all in bytes. */
typedef struct attention_layout {
    size_t group;        /* query heads of one key-value head, at most */
    size_t tile_queries; /* queries of a tile, for all heads of the group */
    size_t longest;      /* positions of the longest sequence */
    size_t scores, rows; /* bytes of one thread's arrays */
    size_t tiles_at, scores_at, rows_at, total;
} attention_layout;

static size_t aligned(size_t bytes)
{
    return (bytes + LINE_BYTES - 1) / LINE_BYTES * LINE_BYTES;
}

static attention_layout lay_out(const adamoe_attention_call *call, uint32_t threads)
{
    attention_layout l = {.group = (call->heads + call->key_value_heads - 1) / call->key_value_heads};
    l.tile_queries = (TILE_ROWS + l.group - 1) / l.group;
    for (size_t s = 0; s < call->spans; ++s) {
        const size_t end = call->span[s].start + call->span[s].count;
        l.longest = end > l.longest ? end : l.longest;
    }
    l.scores = aligned(l.tile_queries * l.group * l.longest * sizeof(float));
    l.rows = aligned((l.longest + 1) * sizeof(size_t)); /* + 1: which span is listed */
    l.scores_at = l.tiles_at + aligned((call->spans + 1) * sizeof(size_t));
    l.rows_at = l.scores_at + threads * l.scores;
    l.total = l.rows_at + threads * l.rows;
    return l;
}

adamoe_attention_call adamoe_attention_call_of(const adamoe_config *config)
{
    return (adamoe_attention_call){
        .heads = config->heads,
        .head_dim = config->head_dim,
        .key_value_heads = config->key_value_heads,
        .window = config->sliding_window == 0 ? SIZE_MAX : config->sliding_window,
    };
}

size_t adamoe_span_attention_work_bytes(const adamoe_attention_call *call, uint32_t threads)
{
    return lay_out(call, threads).total;
}

typedef struct attention_run {
    const adamoe_attention_call *call;
    const adamoe_vector_ops *ops;
    attention_layout at;
    unsigned char *work;
    size_t *first_tile; /* [spans + 1] tiles of one key-value head */
} attention_run;

static size_t tiles_of(const attention_layout *at, const adamoe_attention_span *span)
{
    return (span->count - span->skip + at->tile_queries - 1) / at->tile_queries;
}

/* The span that a tile belongs to. */
static size_t find_span(const attention_run *r, size_t tile)
{
    size_t low = 0, high = r->call->spans;
    while (high - low > 1) {
        const size_t middle = (low + high) / 2;
        if (r->first_tile[middle] <= tile) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

/* row[p] = the row of `key` that holds position p of the sequence that ends with span s. */
static const size_t *list_rows(const attention_run *r, size_t s, uint32_t thread)
{
    size_t *listed = (size_t *)(void *)(r->work + r->at.rows_at + thread * r->at.rows);
    size_t *row = listed + 1;
    if (*listed == s + 1) { /* a thread mostly meets the tiles of a span one after another */
        return row;
    }
    *listed = s + 1;
    for (; s != ADAMOE_NO_PARENT; s = r->call->span[s].parent) {
        const adamoe_attention_span *span = &r->call->span[s];
        for (size_t i = 0; i < span->count; ++i) {
            row[span->start + i] = span->first_key + i;
        }
    }
    return row;
}

/* Some queries of one span at consecutive positions, for the heads of one key-value head. */
typedef struct tile {
    const adamoe_attention_call *call;
    const adamoe_vector_ops *ops;
    size_t first_query, queries, first_head, heads;
    size_t position; /* of the first query */
    size_t few;      /* queries before the first one that sees many keys */
    adamoe_listed_rows keys, values;
    float *scores; /* [queries, heads, stride], by position */
    size_t stride;
} tile;

/* The keys that a query sees: positions first .. end-1. */
typedef struct key_range {
    size_t first, end;
} key_range;

static key_range visible(const tile *t, size_t query)
{
    const size_t end = t->position + query + 1;
    return (key_range){end > t->call->window ? end - t->call->window : 0, end};
}

static key_range within(key_range keys, size_t first, size_t end)
{
    return (key_range){keys.first > first ? keys.first : first, keys.end < end ? keys.end : end};
}

/* Where head `head` of query `query` of the tile stands in `query` and `mixed`. */
static size_t head_at(const tile *t, size_t query, size_t head)
{
    return ((t->first_query + query) * t->call->heads + t->first_head + head) * t->call->head_dim;
}

static float *scores_of(const tile *t, size_t query, size_t head)
{
    return t->scores + (query * t->heads + head) * t->stride;
}

static void score_block(const tile *t, size_t first, size_t end, float scale)
{
    for (size_t q = t->few; q < t->queries; ++q) {
        const key_range keys = within(visible(t, q), first, end);
        for (size_t h = 0; h < t->heads && keys.first < keys.end; ++h) {
            t->ops->scores(t->call->query + head_at(t, q, h), &t->keys, keys.first, keys.end - keys.first,
                           t->call->head_dim, scale, scores_of(t, q, h) + keys.first);
        }
    }
}

static void mix_block(const tile *t, size_t first, size_t end)
{
    for (size_t q = t->few; q < t->queries; ++q) {
        const key_range keys = within(visible(t, q), first, end);
        for (size_t h = 0; h < t->heads && keys.first < keys.end; ++h) {
            t->ops->mix(scores_of(t, q, h) + keys.first, &t->values, keys.first, keys.end - keys.first,
                        t->call->head_dim, t->call->mixed + head_at(t, q, h));
        }
    }
}

/* Queries that see few keys, one after the other. */
static void attend_to_few(const tile *t, float scale)
{
    for (size_t q = 0; q < t->few; ++q) {
        const key_range keys = visible(t, q);
        for (size_t h = 0; h < t->heads; ++h) {
            t->ops->attend(t->call->query + head_at(t, q, h), &t->keys, &t->values, keys.first,
                           keys.end - keys.first, t->call->head_dim, scale,
                           t->call->mixed + head_at(t, q, h));
        }
    }
}

/* The others, block of keys by block of keys. */
static void attend_to_many(const tile *t, float scale)
{
    const size_t first = visible(t, t->few).first, end = visible(t, t->queries - 1).end;
    for (size_t block = first; block < end; block += KEY_BLOCK) {
        score_block(t, block, block + KEY_BLOCK, scale);
    }
    for (size_t q = t->few; q < t->queries; ++q) {
        const key_range keys = visible(t, q);
        for (size_t h = 0; h < t->heads; ++h) {
            float *scores = scores_of(t, q, h) + keys.first;
            t->ops->softmax(scores, keys.end - keys.first, scores);
        }
        memset(t->call->mixed + head_at(t, q, 0), 0, t->heads * t->call->head_dim * sizeof(float));
    }
    for (size_t block = first; block < end; block += KEY_BLOCK) {
        mix_block(t, block, block + KEY_BLOCK);
    }
}

/* Which way a query goes depends on the number of its keys alone: of each, the first ones of a tile have the fewest. */
static void attend(tile *t)
{
    const float scale = (float)(1.0 / sqrt((double)t->call->head_dim));
    while (t->few < t->queries && visible(t, t->few).end - visible(t, t->few).first <= ADAMOE_ATTEND_MOST) {
        ++t->few;
    }
    attend_to_few(t, scale);
    if (t->few < t->queries) {
        attend_to_many(t, scale);
    }
}

/* The first query head h with floor(h * key_value_heads / heads) >= g. */
static size_t first_head_of(const adamoe_attention_call *call, size_t g)
{
    return (g * call->heads + call->key_value_heads - 1) / call->key_value_heads;
}

/* Tasks: for each tile of each span the key-value heads. */
static void attention_task(void *context, size_t i, uint32_t thread)
{
    const attention_run *r = context;
    const adamoe_attention_call *call = r->call;
    const size_t number = i / call->key_value_heads, head = i % call->key_value_heads;
    const size_t s = find_span(r, number);
    const adamoe_attention_span *span = &call->span[s];
    const size_t query = (number - r->first_tile[s]) * r->at.tile_queries;
    const size_t left = span->count - span->skip - query;
    const size_t *row = list_rows(r, s, thread);
    const size_t stride = call->key_value_heads * call->head_dim;
    tile t = {
        .call = call,
        .ops = r->ops,
        .first_query = span->first_query + query,
        .queries = left < r->at.tile_queries ? left : r->at.tile_queries,
        .first_head = first_head_of(call, head),
        .heads = first_head_of(call, head + 1) - first_head_of(call, head),
        .position = span->start + span->skip + query,
        .keys = {call->key + head * call->head_dim, row, stride},
        .values = {call->value + head * call->head_dim, row, stride},
        .scores = (float *)(void *)(r->work + r->at.scores_at + thread * r->at.scores),
        .stride = r->at.longest,
    };
    attend(&t);
}

static adamoe_status check_spans(const adamoe_attention_call *call)
{
    if (call->heads == 0 || call->key_value_heads == 0 || call->window == 0) {
        return adamoe_error(ADAMOE_BAD_INPUT, "attention: %zu heads on %zu key-value heads, a window of %zu",
                            call->heads, call->key_value_heads, call->window);
    }
    for (size_t s = 0; s < call->spans; ++s) {
        const adamoe_attention_span *span = &call->span[s];
        const bool root = span->parent == ADAMOE_NO_PARENT;
        if (!root && span->parent >= s) {
            return adamoe_error(ADAMOE_BAD_INPUT, "attention: span %zu: its parent is not before it", s);
        }
        const size_t start = root ? 0 : call->span[span->parent].start + call->span[span->parent].count;
        if (span->start != start || span->skip > span->count) {
            return adamoe_error(ADAMOE_BAD_INPUT,
                                "attention: span %zu: starts at %zu, expected %zu; %zu of %zu skipped", s,
                                span->start, start, span->skip, span->count);
        }
    }
    return adamoe_ok();
}

adamoe_status adamoe_span_attention(const adamoe_run *run, const adamoe_attention_call *call)
{
    ADAMOE_TRY(check_spans(call));
    attention_run r = {.call = call, .ops = adamoe_vector_ops_best(), .work = run->work};
    r.at = lay_out(call, run->team->threads);
    if (run->work_bytes < r.at.total) {
        return adamoe_error(ADAMOE_BAD_INPUT, "attention: a workspace of %zu bytes, %zu needed",
                            run->work_bytes, r.at.total);
    }
    r.first_tile = (size_t *)(void *)(r.work + r.at.tiles_at);
    r.first_tile[0] = 0;
    for (size_t s = 0; s < call->spans; ++s) {
        r.first_tile[s + 1] = r.first_tile[s] + tiles_of(&r.at, &call->span[s]);
    }
    for (uint32_t thread = 0; thread < run->team->threads; ++thread) {
        *(size_t *)(void *)(r.work + r.at.rows_at + thread * r.at.rows) = 0; /* none is listed */
    }
    run->team->run(run->team->state, r.first_tile[call->spans] * call->key_value_heads, attention_task, &r);
    return adamoe_ok();
}

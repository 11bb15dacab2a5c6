/*
 * Byte-pair encoding of one word: its characters are merged pair by pair, the pair of the lowest rank first
 * and among equal ranks the leftmost.
 *
 * Candidates wait in a heap and symbols are a linked list, so that a word of n characters takes O(n log n)
 * steps: some tokenizers pass a whole text as one word. Left out: dropout, prefixes and suffixes of word
 * parts. How the model is read is in tokenizer/bpe_read.c.
 */
#include "tokenizer/parts.h"
#include "files/utf8.h"

#include <stdlib.h>

/* No symbol: the ends of the list. */
#define NONE UINT32_MAX

struct adamoe_bpe_symbol {
    uint32_t id;             /* ADAMOE_NO_TOKEN once it is merged into the one on its left */
    uint32_t previous, next; /* indices, NONE at the ends */
};

/* A merge that may be due: the symbol at a position with its right neighbour. */
struct adamoe_bpe_candidate {
    uint64_t order; /* rank, then position: what is popped first */
    uint32_t merged;
};

static uint32_t position_of(const adamoe_bpe_candidate *candidate)
{
    return (uint32_t)candidate->order;
}

static adamoe_status push_candidate(adamoe_bpe_work *work, adamoe_bpe_candidate candidate)
{
    adamoe_bpe_candidate *heap =
        adamoe_grown(work->heap, &work->candidate_capacity, work->candidates + 1, sizeof *heap);
    if (heap == NULL) {
        return adamoe_tokenizer_out_of_memory();
    }
    work->heap = heap;
    size_t i = work->candidates++;
    while (i > 0 && heap[(i - 1) / 2].order > candidate.order) {
        heap[i] = heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    heap[i] = candidate;
    return adamoe_ok();
}

/* The heap is not empty. */
static adamoe_bpe_candidate pop_candidate(adamoe_bpe_work *work)
{
    adamoe_bpe_candidate *heap = work->heap;
    const adamoe_bpe_candidate first = heap[0];
    const adamoe_bpe_candidate last = heap[--work->candidates];
    size_t i = 0;
    for (size_t child = 1; child < work->candidates; child = 2 * i + 1) {
        if (child + 1 < work->candidates && heap[child + 1].order < heap[child].order) {
            child++;
        }
        if (heap[child].order >= last.order) {
            break;
        }
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = last;
    return first;
}

/* A candidate for the symbols left and its next, where there is a merge for them. */
static adamoe_status consider(const adamoe_bpe *bpe, adamoe_bpe_work *work, uint32_t left)
{
    const adamoe_bpe_symbol *symbol = &work->symbol[left];
    if (symbol->next == NONE) {
        return adamoe_ok();
    }
    const adamoe_bpe_merge *merge = adamoe_merge_find(bpe, symbol->id, work->symbol[symbol->next].id);
    if (merge == NULL) {
        return adamoe_ok();
    }
    return push_candidate(work, (adamoe_bpe_candidate){(uint64_t)merge->rank << 32 | left, merge->merged});
}

/* False for a candidate whose symbols have changed since it was pushed. */
static bool is_due(const adamoe_bpe *bpe, const adamoe_bpe_work *work, const adamoe_bpe_candidate *candidate)
{
    const adamoe_bpe_symbol *left = &work->symbol[position_of(candidate)];
    if (left->id == ADAMOE_NO_TOKEN || left->next == NONE) {
        return false;
    }
    const adamoe_bpe_merge *merge = adamoe_merge_find(bpe, left->id, work->symbol[left->next].id);
    return merge != NULL && merge->merged == candidate->merged;
}

static adamoe_status merge_all(const adamoe_bpe *bpe, adamoe_bpe_work *work)
{
    work->candidates = 0;
    for (size_t i = 0; i < work->symbols; i++) {
        ADAMOE_TRY(consider(bpe, work, (uint32_t)i));
    }
    while (work->candidates > 0) {
        const adamoe_bpe_candidate candidate = pop_candidate(work);
        if (!is_due(bpe, work, &candidate)) {
            continue;
        }
        adamoe_bpe_symbol *left = &work->symbol[position_of(&candidate)];
        adamoe_bpe_symbol *right = &work->symbol[left->next];
        left->id = candidate.merged;
        left->next = right->next;
        right->id = ADAMOE_NO_TOKEN;
        if (left->next != NONE) {
            work->symbol[left->next].previous = position_of(&candidate);
        }
        if (left->previous != NONE) {
            ADAMOE_TRY(consider(bpe, work, left->previous));
        }
        ADAMOE_TRY(consider(bpe, work, position_of(&candidate)));
    }
    return adamoe_ok();
}

static adamoe_status add_symbol(adamoe_bpe_work *work, uint32_t id)
{
    if (work->symbols == NONE) {
        return adamoe_error(ADAMOE_BAD_INPUT, "text: a word of more than %u characters", (unsigned)NONE);
    }
    adamoe_bpe_symbol *symbol =
        adamoe_grown(work->symbol, &work->symbol_capacity, work->symbols + 1, sizeof *symbol);
    if (symbol == NULL) {
        return adamoe_tokenizer_out_of_memory();
    }
    work->symbol = symbol;
    const uint32_t i = (uint32_t)work->symbols++;
    symbol[i] = (adamoe_bpe_symbol){id, i == 0 ? NONE : i - 1, NONE};
    if (i > 0) {
        symbol[i - 1].next = i;
    }
    return adamoe_ok();
}

/* Adds the bytes of a character where the vocabulary has all of them. */
static adamoe_status add_bytes(const adamoe_bpe *bpe, adamoe_view character, adamoe_bpe_work *work,
                               bool *added)
{
    *added = false;
    for (size_t i = 0; i < character.length; i++) {
        if (bpe->byte_token[(uint8_t)character.data[i]] == ADAMOE_NO_TOKEN) {
            return adamoe_ok();
        }
    }
    for (size_t i = 0; i < character.length; i++) {
        ADAMOE_TRY(add_symbol(work, bpe->byte_token[(uint8_t)character.data[i]]));
    }
    *added = true;
    return adamoe_ok();
}

/* Adds the symbol of one character. An unknown one waits in *unknown, to be fused with its neighbours; it is
 * added before the next character of the vocabulary (as in the package, after bytes that come between). */
static adamoe_status add_character(const adamoe_bpe *bpe, const adamoe_vocabulary *vocabulary,
                                   adamoe_view character, adamoe_bpe_work *work, bool *unknown)
{
    const uint32_t id = adamoe_vocabulary_find(vocabulary, character, ADAMOE_TOKEN_MODEL);
    if (id != ADAMOE_NO_TOKEN) {
        if (*unknown) {
            ADAMOE_TRY(add_symbol(work, bpe->unknown));
            *unknown = false;
        }
        return add_symbol(work, id);
    }
    if (bpe->byte_fallback) {
        bool added = false;
        ADAMOE_TRY(add_bytes(bpe, character, work, &added));
        if (added) {
            return adamoe_ok();
        }
    }
    if (bpe->unknown_name == NULL) {
        return adamoe_ok();
    }
    if (bpe->unknown == ADAMOE_NO_TOKEN) {
        return adamoe_error(ADAMOE_BAD_INPUT, "text: \"%.*s\": neither it nor unk_token is in the vocabulary",
                            (int)character.length, character.data);
    }
    if (*unknown && !bpe->fuse_unknown) {
        ADAMOE_TRY(add_symbol(work, bpe->unknown));
    }
    *unknown = true;
    return adamoe_ok();
}

adamoe_status adamoe_bpe_encode(const adamoe_bpe *bpe, const adamoe_vocabulary *vocabulary, adamoe_view word,
                                adamoe_bpe_work *work, adamoe_tokens *out)
{
    if (bpe->ignore_merges) {
        const uint32_t id = adamoe_vocabulary_find(vocabulary, word, ADAMOE_TOKEN_MODEL);
        if (id != ADAMOE_NO_TOKEN) {
            return adamoe_tokens_append(out, id);
        }
    }
    work->symbols = 0;
    bool unknown = false;
    for (size_t i = 0; i < word.length;) {
        uint32_t character;
        const size_t bytes = adamoe_utf8_next(word.data + i, word.length - i, &character);
        ADAMOE_TRY(add_character(bpe, vocabulary, (adamoe_view){word.data + i, bytes}, work, &unknown));
        i += bytes;
    }
    if (unknown) {
        ADAMOE_TRY(add_symbol(work, bpe->unknown));
    }
    if (work->symbols == 0) {
        return adamoe_ok();
    }
    ADAMOE_TRY(merge_all(bpe, work));
    /* A merge keeps its left symbol, so the first one is always there. */
    for (uint32_t i = 0; i != NONE; i = work->symbol[i].next) {
        ADAMOE_TRY(adamoe_tokens_append(out, work->symbol[i].id));
    }
    return adamoe_ok();
}

void adamoe_bpe_work_free(adamoe_bpe_work *work)
{
    free(work->symbol);
    free(work->heap);
    *work = (adamoe_bpe_work){0};
}

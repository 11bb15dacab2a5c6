/*
 * What is trained on: texts and questions as sequences of tokens with targets, their order in each epoch,
 * and the batches of a step.
 */
#ifndef ADAMOE_TRAIN_DATA_H
#define ADAMOE_TRAIN_DATA_H

#include "train/options.h"

/* Sequences one after the other; all arrays grow. */
typedef struct adamoe_train_data {
    adamoe_tokens token, target; /* as in adamoe_training_batch */
    size_t count, room;
    size_t *offset; /* [count + 1] */
    size_t *order;  /* [count] of the epoch at hand */
    size_t epoch;   /* that `order` is of; SIZE_MAX: none yet */
    adamoe_tokens batch_token, batch_target;
    size_t *batch_offset; /* [batch + 1] */
} adamoe_train_data;

/* Reads --corpus and --questions. A text that is longer than the context is cut. Errors name file and line,
 * or the question: a text without anything to predict, and what the readers report. */
adamoe_status adamoe_train_data_read(const adamoe_train_options *options, const adamoe_config *config,
                                     const adamoe_tokenizer *tokenizer, adamoe_train_data *out);
void adamoe_train_data_free(adamoe_train_data *data);

/* The texts to learn a tokenizer from: lines of the corpus, and questions with all their choices. Both arrays
 * are the caller's, to be given back with adamoe_train_texts_free. */
typedef struct adamoe_train_texts {
    char **text;
    size_t count, room;
} adamoe_train_texts;

adamoe_status adamoe_train_texts_read(const adamoe_train_options *options, adamoe_train_texts *out);
void adamoe_train_texts_free(adamoe_train_texts *texts);

/* The batch of a step of an epoch, both from 0: `batch` sequences, fewer at the epoch's end. The order is
 * shuffled anew for each epoch and follows from the seed and the epoch alone. Valid until the next call.
 * Errors: memory. */
adamoe_status adamoe_train_data_batch(adamoe_train_data *data, uint64_t seed, size_t epoch, size_t step,
                                      size_t batch, adamoe_training_batch *out);

#endif

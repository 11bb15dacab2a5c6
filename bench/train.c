/*
 * adamoe train: training from scratch, fine-tuning and low-rank adapters.
 */
#include "train/run.h"
#include "verbs.h"

int adamoe_verb_train(int count, char **arguments)
{
    adamoe_train_options options = adamoe_train_defaults();
    adamoe_parse(&adamoe_train_argp, count, arguments, &options);
    adamoe_train_fill_defaults(&options);
    return adamoe_finish("train", adamoe_train_run(&options));
}

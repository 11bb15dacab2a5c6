/*
 * The verbs of the program. Each takes what follows `adamoe` on the command line, its own name first, and
 * returns the exit code.
 */
#ifndef ADAMOE_VERBS_H
#define ADAMOE_VERBS_H

int adamoe_verb_info(int count, char **arguments);
int adamoe_verb_layer(int count, char **arguments);
int adamoe_verb_check(int count, char **arguments);
int adamoe_verb_bench(int count, char **arguments);
int adamoe_verb_compare(int count, char **arguments);
int adamoe_verb_gate(int count, char **arguments);
int adamoe_verb_worker(int count, char **arguments);
int adamoe_verb_flops(int count, char **arguments);
int adamoe_verb_tokenize(int count, char **arguments);
int adamoe_verb_generate(int count, char **arguments);
int adamoe_verb_eval(int count, char **arguments);
int adamoe_verb_reproduce(int count, char **arguments);
int adamoe_verb_train(int count, char **arguments);
int adamoe_verb_routers(int count, char **arguments);
int adamoe_verb_scale(int count, char **arguments);
int adamoe_verb_report(int count, char **arguments);

#endif

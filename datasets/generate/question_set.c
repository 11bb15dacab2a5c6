/*
 * Questions from facts. Every question that the tables allow is a candidate; the seed picks among them, draws
 * the wrong choices from the same table or group, and places the right one.
 */
#include "generate/question_set.h"
#include "generate/facts.h"
#include "generate/json_print.h"
#include "splitmix64.h"

#include <stdlib.h>
#include <string.h>

enum {
    CHOICES = 4,
    POOL_CAPACITY = 64, /* more than any table or group holds */
};

/* One question that could be asked, still without choices. */
typedef struct candidate {
    const adamoe_fact_table *table; /* NULL where the question is about a group */
    const adamoe_fact_group *group;
    size_t row, member;  /* the fact; or the class and its member */
    bool asks_for_class; /* "To which group ...": the class is the answer, not the member */
} candidate;

typedef struct candidates {
    candidate *item;
    size_t count, capacity;
} candidates;

/* Choices to draw from, each once. */
typedef struct pool {
    const char *text[POOL_CAPACITY];
    size_t count;
} pool;

static adamoe_status out_of_memory(void)
{
    return adamoe_error(ADAMOE_ENVIRONMENT, "question set: out of memory");
}

/* -------------------------------------------------------------------------------------------- candidates */

static adamoe_status append(candidates *list, candidate item)
{
    if (list->count == list->capacity) {
        const size_t larger = list->capacity == 0 ? 256 : list->capacity * 2;
        candidate *moved = reallocarray(list->item, larger, sizeof *moved);
        if (moved == NULL) {
            return out_of_memory();
        }
        list->item = moved;
        list->capacity = larger;
    }
    list->item[list->count++] = item;
    return adamoe_ok();
}

static adamoe_status append_group(candidates *list, const adamoe_fact_group *group)
{
    for (size_t row = 0; row < group->count; row++) {
        for (size_t member = 0; group->classes[row].member[member] != NULL; member++) {
            candidate item = {.group = group, .row = row, .member = member};
            ADAMOE_TRY(append(list, item));
            item.asks_for_class = true;
            if (group->before != NULL) {
                ADAMOE_TRY(append(list, item));
            }
        }
    }
    return adamoe_ok();
}

static adamoe_status append_all(candidates *list)
{
    for (size_t i = 0; i < adamoe_fact_table_count; i++) {
        const adamoe_fact_table *table = &adamoe_fact_tables[i];
        for (size_t row = 0; row < table->count; row++) {
            ADAMOE_TRY(append(list, (candidate){.table = table, .row = row}));
        }
    }
    for (size_t i = 0; i < adamoe_fact_group_count; i++) {
        ADAMOE_TRY(append_group(list, &adamoe_fact_groups[i]));
    }
    return adamoe_ok();
}

static void shuffle(candidates *list, adamoe_splitmix64 *random)
{
    for (size_t i = list->count; i > 1; i--) {
        const size_t j = adamoe_splitmix64_below(random, i);
        const candidate swapped = list->item[i - 1];
        list->item[i - 1] = list->item[j];
        list->item[j] = swapped;
    }
}

/* ------------------------------------------------------------------------------------- stem, right, wrong */

static adamoe_status make_stem(const candidate *item, char **out)
{
    const char *before, *subject, *after = "?";
    if (item->table != NULL) {
        before = item->table->before;
        subject = item->table->fact[item->row].subject;
        after = item->table->after;
    } else if (item->asks_for_class) {
        before = item->group->before;
        subject = item->group->classes[item->row].member[item->member];
        after = item->group->after;
    } else {
        before = item->group->which;
        subject = item->group->classes[item->row].one;
    }
    if (asprintf(out, "%s%s%s", before, subject, after) < 0) {
        *out = NULL;
        return out_of_memory();
    }
    return adamoe_ok();
}

static const char *right_choice(const candidate *item)
{
    if (item->table != NULL) {
        return item->table->fact[item->row].answer;
    }
    const adamoe_fact_class *class = &item->group->classes[item->row];
    return item->asks_for_class ? class->many : class->member[item->member];
}

static void add_wrong(pool *wrong, const char *right, const char *text)
{
    bool known = strcmp(text, right) == 0 || wrong->count == POOL_CAPACITY;
    for (size_t i = 0; i < wrong->count && !known; i++) {
        known = strcmp(text, wrong->text[i]) == 0;
    }
    if (!known) {
        wrong->text[wrong->count++] = text;
    }
}

static void collect_wrong(const candidate *item, pool *wrong)
{
    const char *right = right_choice(item);
    wrong->count = 0;
    if (item->table != NULL) {
        for (size_t row = 0; row < item->table->count; row++) {
            add_wrong(wrong, right, item->table->fact[row].answer);
        }
        return;
    }
    for (size_t row = 0; row < item->group->count; row++) {
        const adamoe_fact_class *class = &item->group->classes[row];
        if (item->asks_for_class) {
            add_wrong(wrong, right, class->many);
        }
        for (size_t i = 0; !item->asks_for_class && row != item->row && class->member[i] != NULL; i++) {
            add_wrong(wrong, right, class->member[i]);
        }
    }
}

/* Removes one at random, so that none is drawn twice. */
static const char *draw(pool *wrong, adamoe_splitmix64 *random)
{
    const size_t i = adamoe_splitmix64_below(random, wrong->count);
    const char *text = wrong->text[i];
    wrong->text[i] = wrong->text[--wrong->count];
    return text;
}

/* ------------------------------------------------------------------------------------------------ the set */

static adamoe_status copy(const char *text, char **out)
{
    *out = strdup(text);
    return *out == NULL ? out_of_memory() : adamoe_ok();
}

static adamoe_status make_question(const candidate *item, size_t number, size_t gold,
                                   adamoe_splitmix64 *random, adamoe_question *question)
{
    char id[32];
    (void)snprintf(id, sizeof id, "adamoe-%04zu", number);
    ADAMOE_TRY(copy(id, &question->id));
    ADAMOE_TRY(make_stem(item, &question->stem));
    question->gold = gold;
    question->text = calloc(CHOICES, sizeof *question->text);
    question->label = calloc(CHOICES, sizeof *question->label);
    if (question->text == NULL || question->label == NULL) {
        return out_of_memory();
    }
    question->choices = CHOICES;
    pool wrong;
    collect_wrong(item, &wrong);
    for (size_t i = 0; i < CHOICES; i++) {
        const char label[2] = {(char)('A' + (int)i), '\0'};
        ADAMOE_TRY(copy(label, &question->label[i]));
        ADAMOE_TRY(copy(i == gold ? right_choice(item) : draw(&wrong, random), &question->text[i]));
    }
    return adamoe_ok();
}

/* Each run of four questions has each position once, in random order. */
static size_t next_gold(size_t position[CHOICES], size_t i, adamoe_splitmix64 *random)
{
    const size_t used = i % CHOICES;
    if (used == 0) {
        for (size_t j = 0; j < CHOICES; j++) {
            position[j] = j;
        }
    }
    const size_t drawn = used + adamoe_splitmix64_below(random, CHOICES - used);
    const size_t gold = position[drawn];
    position[drawn] = position[used];
    return gold;
}

static adamoe_status fill(const candidates *list, adamoe_splitmix64 *random, size_t count,
                          adamoe_questions *questions)
{
    if (count == 0 || count > list->count) {
        return adamoe_error(ADAMOE_BAD_INPUT,
                            "question set: %zu questions asked for; the tables hold 1 to %zu", count,
                            list->count);
    }
    questions->question = calloc(count, sizeof *questions->question);
    if (questions->question == NULL) {
        return out_of_memory();
    }
    questions->count = count;
    size_t position[CHOICES];
    for (size_t i = 0; i < count; i++) {
        const size_t gold = next_gold(position, i, random);
        ADAMOE_TRY(make_question(&list->item[i], i + 1, gold, random, &questions->question[i]));
    }
    return adamoe_ok();
}

adamoe_status adamoe_question_set_make(uint64_t seed, size_t count, adamoe_questions **out)
{
    adamoe_questions *questions = calloc(1, sizeof *questions);
    if (questions == NULL) {
        return out_of_memory();
    }
    adamoe_splitmix64 random = {seed};
    candidates list = {0};
    adamoe_status status = append_all(&list);
    if (status.code == ADAMOE_OK) {
        shuffle(&list, &random);
        status = fill(&list, &random, count, questions);
    }
    free(list.item);
    if (status.code != ADAMOE_OK) {
        adamoe_questions_free(questions);
        return status;
    }
    *out = questions;
    return status;
}

/* ------------------------------------------------------------------------------------------------ writing */

static json_t *to_json(const adamoe_question *question)
{
    json_t *choices = json_array();
    for (size_t i = 0; i < question->choices; i++) {
        json_t *choice = json_pack("{ss ss}", "text", question->text[i], "label", question->label[i]);
        if (json_array_append_new(choices, choice) != 0) {
            json_decref(choices);
            return NULL;
        }
    }
    return json_pack("{ss s{ss so} ss}", "id", question->id, "question", "stem", question->stem, "choices",
                     choices, "answerKey", question->label[question->gold]);
}

adamoe_status adamoe_question_set_write(const char *path, const adamoe_questions *questions)
{
    adamoe_output_file *file;
    ADAMOE_TRY(adamoe_output_file_open(path, &file));
    for (size_t i = 0; i < questions->count; i++) {
        const adamoe_status status =
            adamoe_json_print(path, file, to_json(&questions->question[i]), JSON_COMPACT);
        if (status.code != ADAMOE_OK) {
            adamoe_output_file_discard(file);
            return status;
        }
    }
    return adamoe_output_file_commit(file);
}

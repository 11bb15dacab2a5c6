/*
 * Tasks: from the lines of a data set to the requests that the evaluation harness makes of them
 * (tests/golden/tasks/make.py), and every way in which a line can be wrong.
 */
#include "test.h"
#include "files/mapped_file.h"
#include "tasks/tasks.h"

#include <jansson.h>

static const adamoe_task *task_of(const char *name)
{
    for (size_t i = 0; i < ADAMOE_TASKS; ++i) {
        if (strcmp(adamoe_tasks[i].name, name) == 0) {
            return &adamoe_tasks[i];
        }
    }
    fail_msg("no task %s", name);
    return NULL;
}

/* The requests that the harness logged for a question. */
static void assert_requests(const adamoe_task *task, size_t q, const adamoe_question *question,
                            const json_t *expected)
{
    const json_t *arguments = json_object_get(expected, "arguments");
    assert_int_equal(json_array_size(arguments), question->choices);
    for (size_t c = 0; c < question->choices; ++c) {
        const json_t *request = json_array_get(arguments, c);
        const char *context = json_string_value(json_array_get(request, 0));
        const char *continuation = json_string_value(json_array_get(request, 1));
        if (strcmp(question->prompt[c], context) != 0 ||
            strcmp(question->continuation[c], continuation) != 0) {
            fail_msg("%s, question %zu, choice %zu: \"%s\" + \"%s\", the harness has \"%s\" + \"%s\"",
                     task->name, q + 1, c + 1, question->prompt[c], question->continuation[c], context,
                     continuation);
        }
    }
}

static void requests_are_those_of_the_harness(void **state)
{
    (void)state;
    for (size_t i = 0; i < ADAMOE_TASKS; ++i) {
        char path[512];
        adamoe_questions *questions = NULL;
        (void)snprintf(path, sizeof path, SOURCE_PATH("tests/golden/tasks/%s.jsonl"), adamoe_tasks[i].name);
        assert_ok(adamoe_task_read(&adamoe_tasks[i], path, &questions));
        (void)snprintf(path, sizeof path, SOURCE_PATH("tests/golden/tasks/%s.expected.jsonl"),
                       adamoe_tasks[i].name);
        FILE *file = fopen(path, "rb");
        assert_non_null(file);
        for (size_t q = 0; q < questions->count; ++q) {
            json_t *expected = json_loadf(file, JSON_DISABLE_EOF_CHECK, NULL);
            assert_non_null(expected);
            assert_requests(&adamoe_tasks[i], q, &questions->question[q], expected);
            json_decref(expected);
        }
        assert_null(json_loadf(file, JSON_DISABLE_EOF_CHECK, NULL));
        (void)fclose(file);
        adamoe_questions_free(questions);
    }
}

static adamoe_questions *parsed(const char *task, const char *line)
{
    adamoe_questions *questions = NULL;
    assert_ok(adamoe_task_parse(task_of(task), "q.jsonl", line, strlen(line), &questions));
    assert_int_equal(questions->count, 1);
    return questions;
}

/* AI2's own files nest the question; --task takes them too, and asks the same. */
static void ai2_form(void **state)
{
    (void)state;
#define NESTED                                                                                               \
    "{\"id\":\"7\",\"question\":{\"stem\":\"Why?\",\"choices\":[{\"text\":\"wet\",\"label\":\"1\"},"         \
    "{\"text\":\"dry\",\"label\":\"2\"}]},\"answerKey\":\"2\"}"
    adamoe_questions *arc = parsed("arc_easy", NESTED), *open = parsed("openbookqa", NESTED);
    assert_string_equal(arc->question[0].prompt[1], "Question: Why?\nAnswer:");
    assert_string_equal(open->question[0].prompt[1], "Why?");
    assert_string_equal(open->question[0].continuation[1], " dry");
    assert_string_equal(open->question[0].id, "7");
    assert_int_equal(arc->question[0].gold, 1);
    adamoe_questions_free(arc);
    adamoe_questions_free(open);
}

/* ctx_b as Python's str.capitalize leaves it, from the second character of the query on: HellaSwag's own case. */
static void assert_capitalized(const char *text, const char *expected)
{
    char line[512], query[256];
    (void)snprintf(line, sizeof line,
                   "{\"ind\":1,\"activity_label\":\"L\",\"ctx_a\":\"a\",\"ctx_b\":\"%s\",\"endings\":[\"x\","
                   "\"y\"],\"label\":1}",
                   text);
    (void)snprintf(query, sizeof query, "L: a %s", expected);
    adamoe_questions *questions = parsed("hellaswag", line);
    assert_string_equal(questions->question[0].prompt[0], query);
    assert_int_equal(questions->question[0].gold, 1);
    adamoe_questions_free(questions);
}

/* Expected texts are Python 3.11's. */
static void case_is_that_of_python(void **state)
{
    (void)state;
    assert_capitalized("he Goes To NYC", "He goes to nyc");
    assert_capitalized("1ST Place", "1st place");
    assert_capitalized("éCOLE ÀÖØÞ", "École àöøþ");
    assert_capitalized("ßA", "Ssa");
    assert_capitalized("ŉE", "ʼNe");
    assert_capitalized("ǆǅǄ", "ǅǆǆ");
    assert_capitalized("iİI", "Ii̇i");
    assert_capitalized("ﬃX", "Ffix");
    assert_capitalized("ΣΑ", "Σα");
    assert_capitalized("ᾳᾼ", "ᾼᾳ");
    assert_capitalized("ĲŸŹ ǲ", "Ĳÿź ǳ");
    assert_capitalized("𐐨𐐀", "𐐀𐐨");
    assert_capitalized("日本X", "日本x");
    assert_capitalized("ɐⱯ Ა", "Ɐɐ ა");
}

/* Texts as the regular expression of lm_eval/tasks/hellaswag/utils.py leaves them, by Python. */
static void markup_is_taken_out(void **state)
{
    static const char *const cases[][2] = {
        {"a [b] c", "a c"},
        {"[a [b] c] d", " c] d"},
        {"x [title] y [title]", "x. y. "},
        {"[title] x", " x"},
        {"a [b\\nc] d", "a [b\nc] d"},
        {"a [b\\nc [d] e", "a [b\nc e"},
        {"a   b    c", "a  b  c"},
        {"a [] b", "a b"},
        {"\\u3000 x ]y[ \\u00a0", "x ]y["},
        {"[[a]] b", "] b"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
        char line[512];
        (void)snprintf(
            line, sizeof line,
            "{\"ind\":1,\"activity_label\":\"L\",\"ctx_a\":\"a\",\"ctx_b\":\"\",\"endings\":[\"%s\","
            "\"y\"],\"label\":\"0\"}",
            cases[i][0]);
        adamoe_questions *questions = parsed("hellaswag", line);
        assert_string_equal(questions->question[0].text[0], cases[i][1]);
        adamoe_questions_free(questions);
    }
}

static void refused(const char *task, const char *line, const char *reason)
{
    char expected[600];
    adamoe_questions *questions = NULL;
    const adamoe_status status = adamoe_task_parse(task_of(task), "q.jsonl", line, strlen(line), &questions);
    (void)snprintf(expected, sizeof expected, "q.jsonl: line 1: %s", reason);
    assert_int_equal(status.code, ADAMOE_BAD_INPUT);
    assert_string_equal(status.message, expected);
    assert_null(questions);
}

#define PIQA(label)  "{\"goal\":\"g\",\"sol1\":\"a\",\"sol2\":\"b\",\"label\":" label "}"
#define NO_ANSWER(n) "label: not the number of one of " n " choices (a split without answers has no accuracy)"
#define WINO(sentence, answer)                                                                               \
    "{\"sentence\":\"" sentence "\",\"option1\":\"a\",\"option2\":\"b\",\"answer\":\"" answer "\"}"

static void what_is_wrong_is_named(void **state)
{
    (void)state;
    refused("piqa", PIQA("-1"), NO_ANSWER("2"));
    refused("piqa", PIQA("2"), NO_ANSWER("2"));
    refused("piqa", PIQA("\"\""), NO_ANSWER("2"));
    refused("piqa", PIQA("\"1x\""), NO_ANSWER("2"));
    refused("piqa", PIQA("1.0"), "label is not a string");
    refused("piqa", "{\"goal\":\"g\",\"sol1\":\"a\",\"sol2\":\"b\"}", "label is missing");
    refused("piqa", "{\"goal\":\"g\",\"sol1\":\"a\",\"label\":0}", "sol2 is missing");
    refused("piqa", "{\"sol1\":\"a\",\"sol2\":\"b\",\"label\":0}", "goal is missing");
    refused("piqa", "{\"goal\":\"g\",\"sol1\":\"\",\"sol2\":\"b\",\"label\":0}", "choice 1 has no text");
    refused("piqa", "3", "column 1: '[' or '{' expected near '3'");
    refused("winogrande", WINO("no place", "1"), "sentence: no blank (_) for the choices");
    refused("winogrande", WINO("a _ b", "0"),
            "answer: not the number of one of 2 choices (a split without answers has no accuracy)");
    refused("hellaswag",
            "{\"activity_label\":\"L\",\"ctx_a\":\"a\",\"ctx_b\":\"xΣ\",\"endings\":[\"a\",\"b\"],"
            "\"label\":0}",
            "ctx_b: a capital sigma, whose lower case is not implemented");
    refused("hellaswag",
            "{\"activity_label\":\"L\",\"ctx_a\":\"a\",\"ctx_b\":\"x\",\"endings\":[\"[step]\","
            "\"b\"],\"label\":0}",
            "choice 1 has no text");
    refused("hellaswag", "{\"activity_label\":\"L\",\"ctx_a\":\"a\",\"ctx_b\":\"x\",\"label\":0}",
            "endings is missing");
    refused("arc_easy",
            "{\"question\":\"q\",\"choices\":{\"text\":[\"a\",\"b\"],\"label\":[\"A\",\"B\"]},"
            "\"answerKey\":\"C\"}",
            "answerKey \"C\" is not among the labels");
    refused("openbookqa",
            "{\"question\":\"q\",\"choices\":{\"text\":[\"a\",\"b\"],\"label\":[\"A\",\"B\"]},"
            "\"answerKey\":\"A\"}",
            "question_stem is missing");
    refused("piqa", "{\"doc_id\":0,\"target\":0,\"arguments\":{}}",
            "a sample log of the harness, which says itself what is scored: read it without --task");
}

static void parquet_is_refused_with_the_command(void **state)
{
    adamoe_questions *questions = NULL;
    (void)state;
    const adamoe_status status =
        adamoe_task_parse(task_of("piqa"), "validation.parquet", "PAR1\x15\x04", 6, &questions);
    assert_int_equal(status.code, ADAMOE_BAD_INPUT);
    assert_non_null(strstr(status.message, "validation.parquet: a parquet file"));
    assert_non_null(strstr(status.message, "python3 -c 'import sys, pandas;"));
    assert_error(adamoe_task_parse(task_of("piqa"), "q.json", "[{}]", 4, &questions), ADAMOE_BAD_INPUT,
                 "q.json: a JSON list, and an object a line is expected; `jq -c '.[]'` makes lines of it");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_those_of_the_harness),
        cmocka_unit_test(ai2_form),
        cmocka_unit_test(case_is_that_of_python),
        cmocka_unit_test(markup_is_taken_out),
        cmocka_unit_test(what_is_wrong_is_named),
        cmocka_unit_test(parquet_is_refused_with_the_command),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

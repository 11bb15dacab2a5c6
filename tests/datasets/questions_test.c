/*
 * The three forms of a question, and every way in which a line can be wrong.
 */
#include "test.h"
#include "questions.h"

#define STEM                                                                                                 \
    "\"question\":{\"stem\":\"Why?\",\"choices\":[{\"text\":\"wet\",\"label\":\"A\"},{\"text\":\"dry\","     \
    "\"label\":\"B\"}]}"
#define AI2 "{\"id\":\"q1\"," STEM ",\"answerKey\":\"B\"}"
#define HUGGING_FACE(key)                                                                                    \
    "{\"id\":\"q2\",\"question\":\"Why?\",\"choices\":{\"text\":[\"wet\",\"dry\",\"both\"],"                 \
    "\"label\":[\"1\",\"2\",\"3\"]},\"answerKey\":\"" key "\"}"
#define REQUEST(i, prompt, continuation)                                                                     \
    "\"gen_args_" i "\":{\"arg_0\":\"" prompt "\",\"arg_1\":\"" continuation "\"}"
#define REQUESTS                                                                                             \
    "\"arguments\":{" REQUEST("0", "Question: Why?\\nAnswer:", " wet") "," REQUEST(                          \
        "1", "Question: Why?\\nAnswer:", " dry") "," REQUEST("2", "Question: Why?\\nAnswer:", " both") "}"

static adamoe_status parse(const char *text, adamoe_questions **out)
{
    *out = NULL;
    return adamoe_questions_parse("q.jsonl", text, strlen(text), out);
}

/* The line must be refused with exactly this reason when it stands third, after a good and an empty line. */
static void refused(const char *line, const char *reason)
{
    char text[4096], expected[600];
    (void)snprintf(text, sizeof text, "%s\n\n%s\n", AI2, line);
    (void)snprintf(expected, sizeof expected, "q.jsonl: line 3: %s", reason);
    adamoe_questions *questions;
    const adamoe_status status = parse(text, &questions);
    assert_int_equal(status.code, ADAMOE_BAD_INPUT);
    assert_string_equal(status.message, expected);
    assert_null(questions);
}

static void test_ai2(void **state)
{
    (void)state;
    adamoe_questions *questions;
    assert_ok(parse(AI2 "\r\n \t\r\n" AI2, &questions));
    assert_int_equal(questions->count, 2);
    const adamoe_question *question = &questions->question[1];
    assert_string_equal(question->id, "q1");
    assert_string_equal(question->stem, "Why?");
    assert_int_equal(question->choices, 2);
    assert_string_equal(question->text[0], "wet");
    assert_string_equal(question->text[1], "dry");
    assert_string_equal(question->label[0], "A");
    assert_string_equal(question->label[1], "B");
    assert_int_equal(question->gold, 1);
    assert_null(question->prompt);
    assert_null(question->continuation);
    adamoe_questions_free(questions);
}

static void test_hugging_face(void **state)
{
    (void)state;
    adamoe_questions *questions;
    assert_ok(parse(AI2 "\n" HUGGING_FACE("3") "\n", &questions));
    assert_int_equal(questions->count, 2);
    const adamoe_question *question = &questions->question[1];
    assert_string_equal(question->id, "q2");
    assert_string_equal(question->stem, "Why?");
    assert_int_equal(question->choices, 3);
    assert_string_equal(question->text[2], "both");
    assert_string_equal(question->label[2], "3");
    assert_int_equal(question->gold, 2);
    assert_null(question->prompt);
    adamoe_questions_free(questions);
}

static void test_id(void **state)
{
    (void)state;
    adamoe_questions *questions;
    assert_ok(parse("\n{" STEM ",\"answerKey\":\"A\"}\n{\"id\":77," STEM ",\"answerKey\":\"A\"}\n"
                    "{\"doc_id\":5,\"target\":\"0\"," REQUESTS "}\n"
                    "{\"doc_id\":5,\"doc\":" HUGGING_FACE("1") "," REQUESTS "}\n"
                                                               "{\"target\":\"0\"," REQUESTS "}",
                    &questions));
    assert_int_equal(questions->count, 5);
    const char *const expected[] = {"2", "77", "5", "q2", "6"};
    for (size_t i = 0; i < 5; i++) {
        assert_string_equal(questions->question[i].id, expected[i]);
    }
    adamoe_questions_free(questions);
}

/* As the harness writes it, with keys besides that are of no concern here. */
static void test_sample_log(void **state)
{
    (void)state;
    adamoe_questions *questions;
    assert_ok(
        parse("{\"doc_id\":0,\"doc\":" HUGGING_FACE(
                  "2") ",\"target\":\"1\"," REQUESTS
                       ",\"resps\":[[[\"-3.5\",\"False\"]],[[\"-1.25\",\"True\"]],[[\"-9.0\",\"False\"]]],"
                       "\"filtered_resps\":[[\"-3.5\",\"False\"]],\"filter\":\"none\",\"metrics\":[\"acc\"],"
                       "\"acc\":1.0}",
              &questions));
    assert_int_equal(questions->count, 1);
    const adamoe_question *question = &questions->question[0];
    assert_null(question->stem);
    assert_int_equal(question->gold, 1);
    const char *const expected[] = {" wet", " dry", " both"};
    for (size_t i = 0; i < 3; i++) {
        assert_string_equal(question->prompt[i], "Question: Why?\nAnswer:");
        assert_string_equal(question->continuation[i], expected[i]);
        assert_string_equal(question->text[i], expected[i] + 1);
    }
    assert_string_equal(question->label[1], "B");
    adamoe_questions_free(questions);
}

static void check_target(const char *target, size_t gold)
{
    char text[1024];
    (void)snprintf(text, sizeof text, "{\"doc_id\":0,\"target\":%s,%s}", target, REQUESTS);
    adamoe_questions *questions;
    assert_ok(parse(text, &questions));
    const adamoe_question *question = &questions->question[0];
    assert_null(question->stem);
    assert_int_equal(question->choices, 3);
    assert_string_equal(question->text[2], "both");
    assert_string_equal(question->label[2], "C");
    assert_string_equal(question->continuation[2], " both");
    assert_int_equal(question->gold, gold);
    adamoe_questions_free(questions);
}

static void test_sample_log_without_doc(void **state)
{
    (void)state;
    check_target("\"0\"", 0);
    check_target("\"2\"", 2);
    check_target("1", 1);
    check_target("\"C\"", 2);
    check_target("\"dry\"", 1);
    check_target("\" both\"", 2);
}

/* Arguments and target suffice, whatever doc looks like; where the target does not decide, doc is asked. */
static void test_sample_logs_of_any_task(void **state)
{
    (void)state;
    static const struct {
        const char *rest;
        size_t gold;
    } logs[] = {
        {"\"doc\":{\"question\":{\"text\":\"q\"},\"x\":1},\"target\":\"1\"," REQUESTS, 1},
        {"\"doc\":{\"choices\":[\"wet\",\"dry\",\"both\"],\"gold\":2,\"label\":\"2\"},\"target\":\"2\"," REQUESTS,
         2},
        {"\"doc\":{\"choices\":1,\"answer\":0},\"target\":0," REQUESTS, 0},
        {"\"doc\":\"text\",\"target\":\"B\"," REQUESTS, 1},
        {"\"doc\":[1,2],\"target\":\"(2)\",\"arguments\":{" REQUEST("0", "P", " (1)") "," REQUEST("1", "P",
                                                                                                  " (2)") "}",
         1},
        {"\"doc\":" AI2 "," REQUESTS, 1}, /* B is the second label */
        {"\"doc\":{" STEM "},\"target\":0," REQUESTS, 0},
        {"\"doc\":{\"sentence\":\"_\",\"option1\":\"a\",\"option2\":\"b\",\"answer\":\"2\"},\"target\":\"is big\","
         "\"arguments\":{" REQUEST("0", "A", " is big") "," REQUEST("1", "B", " is big") "}",
         1},
        /* the harness writes an index as text: "1" is the second choice although there is a choice "1" */
        {"\"doc\":{},\"target\":\"1\",\"arguments\":{" REQUEST("0", "P", " 1") "," REQUEST("1", "P",
                                                                                           " 2") "}",
         1},
        {"\"doc\":{},\"target\":\"7\",\"arguments\":{" REQUEST("0", "P", " 3") "," REQUEST("1", "P",
                                                                                           " 7") "}",
         1},
        {"\"doc\":{},\"target\":1.0," REQUESTS, 1},
        {"\"doc\":{},\"target\":[2]," REQUESTS, 2},
        {"\"doc\":{},\"target\":\"[2]\"," REQUESTS, 2},
        {"\"doc\":{},\"target\":\"1\",\"arguments\":[[\"P\",\" a\"],[\"P\",\" b\"]]", 1},
    };
    for (size_t i = 0; i < sizeof logs / sizeof *logs; i++) {
        char text[2048];
        adamoe_questions *questions;
        (void)snprintf(text, sizeof text, "{\"doc_id\":%zu,%s}", i, logs[i].rest);
        assert_ok(parse(text, &questions));
        assert_int_equal(questions->question[0].gold, logs[i].gold);
        adamoe_questions_free(questions);
    }
}

/* acc_mutual_info logs every continuation once more, without a context; those are no choices. */
static void test_unconditional_requests(void **state)
{
    (void)state;
    static const struct {
        const char *arguments;
        size_t choices;
    } logs[] = {
        {REQUEST("0", "P", " a") "," REQUEST("1", "P", " b") "," REQUEST("2", "", " a") "," REQUEST("3", "",
                                                                                                    " b"),
         2},
        {REQUEST("0", "P", " a") "," REQUEST("1", "P", " b") "," REQUEST("2", "", " b") "," REQUEST("3", "",
                                                                                                    " a"),
         4},
        {REQUEST("0", "P", " a") "," REQUEST("1", "P", " b") "," REQUEST("2", "Q", " a") "," REQUEST("3", "Q",
                                                                                                     " b"),
         4},
        {REQUEST("0", "", " a") "," REQUEST("1", "", " b") "," REQUEST("2", "", " a") "," REQUEST("3", "",
                                                                                                  " b"),
         4},
        {REQUEST("0", "P", " a") "," REQUEST("1", "", " a"), 2},
    };
    for (size_t i = 0; i < sizeof logs / sizeof *logs; i++) {
        char text[2048];
        adamoe_questions *questions;
        (void)snprintf(text, sizeof text, "{\"target\":1,\"arguments\":{%s}}", logs[i].arguments);
        assert_ok(parse(text, &questions));
        assert_int_equal(questions->question[0].choices, logs[i].choices);
        assert_int_equal(questions->question[0].gold, 1);
        adamoe_questions_free(questions);
    }
    refused("{\"target\":[0,1]," REQUESTS "}", "target is a list of 2 answers, and one is expected");
}

static void test_contexts_may_differ(void **state)
{
    (void)state;
    adamoe_questions *questions;
    assert_ok(parse("{\"target\":1,\"arguments\":{" REQUEST("0", "P", " a") "," REQUEST("1", "Q", " b") "}}",
                    &questions));
    assert_string_equal(questions->question[0].prompt[0], "P");
    assert_string_equal(questions->question[0].prompt[1], "Q");
    adamoe_questions_free(questions);
}

/* What Python writes and JSON has not, where nobody needs it; and where somebody does. */
static void test_literals_of_python(void **state)
{
    (void)state;
    static const char *const harmless[] = {"NaN", "Infinity", "-Infinity", "[NaN,{\"a\":-Infinity}]",
                                           "\"a \\\" NaN\""};
    adamoe_questions *questions;
    for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++) {
        char text[1024];
        (void)snprintf(text, sizeof text, "{\"target\":1,\"acc\":%s," REQUESTS ",\"x\":NaN}", harmless[i]);
        assert_ok(parse(text, &questions));
        assert_int_equal(questions->question[0].gold, 1);
        adamoe_questions_free(questions);
    }
    assert_ok(parse("{\"id\":\"NaN\",\"x\":NaN," STEM ",\"answerKey\":\"A\"}", &questions));
    assert_string_equal(questions->question[0].id, "NaN");
    adamoe_questions_free(questions);
    refused("{\"target\":NaN," REQUESTS "}", "target is not a string");
    refused("{\"id\":1," STEM ",\"answerKey\":Infinity}", "answerKey is not a string");
    assert_error(parse("{\"a\":NaN,,}", &questions), ADAMOE_BAD_INPUT, "q.jsonl: line 1: column ");
}

static void test_byte_order_mark(void **state)
{
    (void)state;
    adamoe_questions *questions;
    assert_ok(parse("\xef\xbb\xbf" AI2 "\n", &questions));
    assert_string_equal(questions->question[0].id, "q1");
    adamoe_questions_free(questions);
    assert_error(parse("\xef\xbb\xbf", &questions), ADAMOE_BAD_INPUT, "the file holds no question");
    assert_error(parse(AI2 "\n\xef\xbb\xbf" AI2, &questions), ADAMOE_BAD_INPUT, "line 2: column 1");
}

/* The doc of another task has other keys; then the target decides. */
static void test_sample_log_of_another_task(void **state)
{
    (void)state;
    adamoe_questions *questions;
    assert_ok(parse(
        "{\"doc_id\":3,\"doc\":{\"goal\":\"?\",\"sol1\":\"wet\"},\"target\":\"1\",\"arguments\":{" REQUEST(
            "0", "P", "wet ") "," REQUEST("1", "P", "  dry") "}}",
        &questions));
    assert_string_equal(questions->question[0].text[0], "wet ");
    assert_string_equal(questions->question[0].text[1], " dry");
    assert_int_equal(questions->question[0].gold, 1);
    adamoe_questions_free(questions);
}

static void test_text_is_kept_exactly(void **state)
{
    (void)state;
    adamoe_questions *questions;
    assert_ok(
        parse("{\"question\":\" \\u00b0C \\ud83d\\ude00\\n\",\"choices\":{\"text\":[\" a\",\"\xc3\xa9\"],"
              "\"label\":[\"A\",\"B\"]},\"answerKey\":\"A\"}",
              &questions));
    assert_string_equal(questions->question[0].stem, " \xc2\xb0"
                                                     "C \xf0\x9f\x98\x80\n");
    assert_string_equal(questions->question[0].text[0], " a");
    assert_string_equal(questions->question[0].text[1], "\xc3\xa9");
    adamoe_questions_free(questions);
}

static void test_no_json(void **state)
{
    (void)state;
    refused("{\"id\":", "column 6: unexpected token near end of file");
    refused("7", "column 1: '[' or '{' expected near '7'");
    refused("[]", "not a JSON object");
    refused(AI2 " x", "column 122: end of file expected near 'x'");
    refused("{\"id\":1,\"id\":2}", "column 12: duplicate object key near '\"id\"'");
    refused("{\"id\":\"\xff\"}", "column 7: invalid UTF-8: unable to decode byte 0xff near '\"'");
    refused("{\"id\":\"\xc0\x80\"}", "column 7: invalid UTF-8: unable to decode byte 0xc0 near '\"'");
    refused("{\"id\":\"\\u0000\"}",
            "column 14: \\u0000 is not allowed without JSON_ALLOW_NUL near '\"\\u0000\"'");
}

/* Logs of other tasks, and lines that are none, are told by what they are. */
static void test_other_logs(void **state)
{
    (void)state;
    refused(
        "{\"target\":\"x\",\"arguments\":{\"gen_args_0\":{\"arg_0\":\"q\",\"arg_1\":{\"until\":[\"\\n\"]}}}}",
        "the log of a task that generates text, and one of multiple choice is expected");
    refused("{\"target\":\"x\",\"arguments\":[[\"q\",{\"until\":[]}]]}",
            "the log of a task that generates text, and one of multiple choice is expected");
    refused("{\"target\":\"x\",\"arguments\":{\"gen_args_0\":{\"arg_0\":\"q\"}}}",
            "the log of a task that scores whole texts, and one of multiple choice is expected");
    refused("{\"target\":\"x\",\"arguments\":[[\"q\"]]}",
            "the log of a task that scores whole texts, and one of multiple choice is expected");
    refused("{\"target\":\"x\",\"arguments\":[[\"q\",\" a\"]]}", "1 choices; there must be at least 2");
    adamoe_questions *questions = NULL;
    static const char *const spread[] = {"{\n \"id\": 1\n}\n", "\xef\xbb\xbf{\r\n}", "\n\n{\n}"};
    for (size_t i = 0; i < sizeof spread / sizeof *spread; i++) {
        assert_error(parse(spread[i], &questions), ADAMOE_BAD_INPUT, "`jq -c .` makes lines of it");
    }
    assert_error(parse("\xef\xbb\xbf[{}]", &questions), ADAMOE_BAD_INPUT, "`jq -c '.[]'` makes lines of it");
    assert_ok(parse("\n \r\n" AI2 "\n", &questions));
    adamoe_questions_free(questions);
}

static void test_embedded_zero(void **state)
{
    (void)state;
    const char text[] = "{\"id\":1}\0" AI2;
    adamoe_questions *questions = NULL;
    assert_error(adamoe_questions_parse("q.jsonl", text, sizeof text - 1, &questions), ADAMOE_BAD_INPUT,
                 "q.jsonl: line 1: column 9: end of file expected");
}

static void test_missing_parts(void **state)
{
    (void)state;
    refused("{}", "question is missing");
    refused("{\"question\":null}", "question is not a string");
    refused("{\"question\":{}}", "question.stem is missing");
    refused("{\"question\":{\"stem\":1}}", "question.stem is not a string");
    refused("{\"question\":{\"stem\":\"?\"}}", "question.choices is not an array");
    refused("{\"question\":{\"stem\":\"?\",\"choices\":[1,2]}}", "question.choices[].text is missing");
    refused("{\"question\":{\"stem\":\"?\",\"choices\":[{\"text\":\"a\"},{}]}}",
            "question.choices[].label is missing");
    refused("{\"question\":\"?\"}", "choices.text and choices.label are not both arrays");
    refused("{\"question\":\"?\",\"choices\":{\"text\":[\"a\"],\"label\":\"A\"}}",
            "choices.text and choices.label are not both arrays");
    refused("{\"question\":\"?\",\"choices\":{\"text\":[\"a\",\"b\"],\"label\":[\"A\"]}}",
            "2 choices.text but 1 choices.label");
    refused("{\"question\":\"?\",\"choices\":{\"text\":[\"a\",2],\"label\":[\"A\",\"B\"]}}",
            "choices.text[] is not a string");
    refused("{\"question\":\"?\",\"choices\":{\"text\":[\"a\",\"b\"],\"label\":[\"A\",2]}}",
            "choices.label[] is not a string");
}

static void test_answer(void **state)
{
    (void)state;
    refused("{" STEM "}", "answerKey is missing");
    refused("{" STEM ",\"answerKey\":1}", "answerKey is not a string");
    refused("{" STEM ",\"answerKey\":\"C\"}", "answerKey \"C\" is not among the labels");
    refused("{" STEM ",\"answerKey\":\"\"}", "answerKey \"\" is not among the labels");
    refused(HUGGING_FACE("A"), "answerKey \"A\" is not among the labels");
}

static void test_choices(void **state)
{
    (void)state;
    refused("{\"question\":\"?\",\"choices\":{\"text\":[\"a\"],\"label\":[\"A\"]},\"answerKey\":\"A\"}",
            "1 choices; there must be at least 2");
    refused("{\"question\":\"?\",\"choices\":{\"text\":[],\"label\":[]},\"answerKey\":\"A\"}",
            "0 choices; there must be at least 2");
    refused("{\"question\":\"?\",\"choices\":{\"text\":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,"
            "21,22,23,24,"
            "25,26,27],\"label\":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27]}}",
            "27 choices; there may be at most 26");
    refused("{\"question\":\"?\",\"choices\":{\"text\":[\"a\",\"b\",\"c\"],\"label\":[\"A\",\"B\",\"A\"]},"
            "\"answerKey\":\"B\"}",
            "the label \"A\" is given twice");
    refused("{\"question\":\"?\",\"choices\":{\"text\":[\"a\",\"\"],\"label\":[\"A\",\"B\"]},\"answerKey\":"
            "\"A\"}",
            "choice 2 has no text");
    refused("{\"question\":\"?\",\"choices\":{\"text\":[\"a\",\"b\"],\"label\":[\"\",\"B\"]},\"answerKey\":"
            "\"B\"}",
            "choice 1 has no label");
}

static void test_bad_sample_log(void **state)
{
    (void)state;
    refused("{\"arguments\":[]}", "0 choices; there must be at least 2");
    refused("{\"arguments\":3}", "arguments is neither an object nor a list");
    refused("{\"target\":1e300," REQUESTS "}", "target is not a string");
    refused("{\"target\":0.5," REQUESTS "}", "target is not a string");
    refused("{\"arguments\":{}}", "0 choices; there must be at least 2");
    refused("{" REQUESTS "}", "target is missing");
    refused("{\"target\":[]," REQUESTS "}", "target is a list of 0 answers, and one is expected");
    refused("{\"target\":\"3\"," REQUESTS "}",
            "target \"3\" names none of the 3 choices, and doc does not either");
    refused("{\"target\":3," REQUESTS "}", "target 3 with 3 choices");
    refused("{\"target\":-1," REQUESTS "}", "target -1 with 3 choices");
    refused("{\"target\":\"D\"," REQUESTS "}",
            "target \"D\" names none of the 3 choices, and doc does not either");
    refused("{\"target\":\"000\"," REQUESTS "}",
            "target \"000\" names none of the 3 choices, and doc does not either");
    refused("{\"target\":0,\"arguments\":{" REQUEST("0", "P", " a") "," REQUEST("2", "P", " b") "}}",
            "arguments.gen_args_1.arg_0 is missing");
    refused("{\"target\":0,\"arguments\":{" REQUEST("0", "P", " a") "," REQUEST("1", "P", "") "}}",
            "arguments.gen_args_1.arg_1 is empty");
    refused("{\"target\":0,\"arguments\":{" REQUEST("0", "P", " a") "," REQUEST("1", "P", " ") "}}",
            "choice 2 has no text");
    refused("{\"target\":0,\"arguments\":{" REQUEST("0", "P", " a") ",\"gen_args_1\":{\"arg_0\":\"P\","
                                                                    "\"arg_1\":{\"until\":[]}}}}",
            "arguments.gen_args_1.arg_1 is not a string");
    refused("{\"doc\":{" STEM "}," REQUESTS "}", "target is missing");
    refused("{\"doc\":{\"option1\":\"a\",\"answer\":\"12\"},\"target\":\"x\"," REQUESTS "}",
            "target \"x\" names none of the 3 choices, and doc does not either");
}

static void test_empty(void **state)
{
    (void)state;
    adamoe_questions *questions;
    assert_error(parse("", &questions), ADAMOE_BAD_INPUT, "q.jsonl: line 1: the file holds no question");
    assert_error(parse("\n\n \r\n", &questions), ADAMOE_BAD_INPUT,
                 "q.jsonl: line 1: the file holds no question");
    assert_error(adamoe_questions_parse("q.jsonl", NULL, 0, &questions), ADAMOE_BAD_INPUT, "no question");
    assert_error(adamoe_questions_read("/absent/q.jsonl", &questions), ADAMOE_BAD_INPUT, "/absent/q.jsonl: ");
    adamoe_questions_free(NULL);
}

/* Nesting far beyond the JSON library's limit, and a long line of opening brackets, end in an error. */
static void test_deep_nesting(void **state)
{
    (void)state;
    const size_t depth = 1000000;
    char *text = malloc(depth);
    assert_non_null(text);
    memset(text, '[', depth);
    text[0] = ' '; /* a file that begins with a bracket is refused as a list */
    adamoe_questions *questions = NULL;
    assert_error(adamoe_questions_parse("q.jsonl", text, depth, &questions), ADAMOE_BAD_INPUT,
                 "q.jsonl: line 1: column 2050: maximum parsing depth reached");
    free(text);
}

/* Totals counted with another JSON reader: questions, choices, the sum of the answers' indices, bytes of all
 * stems and choices, and questions whose labels are 1, 2, ... */
typedef struct totals {
    size_t questions, choices, gold, bytes, numbered;
} totals;

static void check_arc(const char *path, totals expected)
{
    SKIP_WITHOUT(path);
    adamoe_questions *questions;
    assert_ok(adamoe_questions_read(path, &questions));
    totals found = {.questions = questions->count};
    for (size_t i = 0; i < questions->count; i++) {
        const adamoe_question *question = &questions->question[i];
        found.choices += question->choices;
        found.gold += question->gold;
        found.bytes += strlen(question->stem);
        found.numbered += strcmp(question->label[0], "1") == 0;
        for (size_t j = 0; j < question->choices; j++) {
            found.bytes += strlen(question->text[j]);
        }
    }
    adamoe_questions_free(questions);
    assert_int_equal(found.questions, expected.questions);
    assert_int_equal(found.choices, expected.choices);
    assert_int_equal(found.gold, expected.gold);
    assert_int_equal(found.bytes, expected.bytes);
    assert_int_equal(found.numbered, expected.numbered);
}

static void test_arc(void **state)
{
    (void)state;
    check_arc(SHARED_PATH("arc/ARC-Challenge-Train.jsonl"), (totals){1119, 4476, 1757, 268628, 23});
    check_arc(SHARED_PATH("arc/ARC-Challenge-Dev.jsonl"), (totals){299, 1194, 482, 74989, 4});
    check_arc(SHARED_PATH("arc/ARC-Challenge-Test.jsonl"), (totals){1172, 4687, 1786, 290610, 22});
    check_arc(SHARED_PATH("arc/ARC-Easy-Train.jsonl"), (totals){2251, 9002, 3357, 455000, 102});
    check_arc(SHARED_PATH("arc/ARC-Easy-Dev.jsonl"), (totals){570, 2281, 790, 115939, 21});
    check_arc(SHARED_PATH("arc/ARC-Easy-Test.jsonl"), (totals){2376, 9501, 3538, 484548, 97});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ai2),
        cmocka_unit_test(test_hugging_face),
        cmocka_unit_test(test_id),
        cmocka_unit_test(test_sample_log),
        cmocka_unit_test(test_sample_log_without_doc),
        cmocka_unit_test(test_sample_log_of_another_task),
        cmocka_unit_test(test_sample_logs_of_any_task),
        cmocka_unit_test(test_contexts_may_differ),
        cmocka_unit_test(test_unconditional_requests),
        cmocka_unit_test(test_literals_of_python),
        cmocka_unit_test(test_byte_order_mark),
        cmocka_unit_test(test_text_is_kept_exactly),
        cmocka_unit_test(test_no_json),
        cmocka_unit_test(test_other_logs),
        cmocka_unit_test(test_embedded_zero),
        cmocka_unit_test(test_missing_parts),
        cmocka_unit_test(test_answer),
        cmocka_unit_test(test_choices),
        cmocka_unit_test(test_bad_sample_log),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_deep_nesting),
        cmocka_unit_test(test_arc),
    };
    return cmocka_run_group_tests_name("questions", tests, NULL, NULL);
}

/*
 * The generated questions and checkpoint and the program that makes them: the same seed gives the same bytes,
 * and the files are what their READMEs say. The tables of facts are tested by themselves.
 */
#include "temporary_folder.h"
#include "checkpoint.h"
#include "generate/facts.h"
#include "questions.h"
#include "tokenizer/tokenizer.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>

#define QUESTIONS  SOURCE_PATH("tests/golden/generated/arc-style/questions.jsonl")
#define TOKENIZER  SOURCE_PATH("tests/golden/generated/random-adamoe/tokenizer.json")
#define CHECKPOINT SOURCE_PATH("tests/golden/generated/random-adamoe")

extern char **environ;

/* Runs adamoe-generate with up to four arguments; returns its exit code. What it
 * prints goes to FOLDER.log. */
static int generate(void **state, const char *a, const char *b, const char *c, const char *d)
{
    char *arguments[] = {"adamoe-generate",    (char *)(uintptr_t)a, (char *)(uintptr_t)b,
                         (char *)(uintptr_t)c, (char *)(uintptr_t)d, NULL};
    posix_spawn_file_actions_t actions;
    assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
    const folder_path log = in_folder(state, "log");
    for (int descriptor = 1; descriptor <= 2; descriptor++) {
        assert_int_equal(posix_spawn_file_actions_addopen(&actions, descriptor, log.text,
                                                          O_WRONLY | O_CREAT | O_APPEND, 0666),
                         0);
    }
    pid_t child;
    assert_int_equal(posix_spawn(&child, ADAMOE_GENERATE, &actions, NULL, arguments, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    int result;
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_true(WIFEXITED(result));
    return WEXITSTATUS(result);
}

static bool same_bytes(const char *path, const char *other)
{
    size_t size, other_size;
    char *bytes = read_bytes(path, &size);
    char *other_bytes = read_bytes(other, &other_size);
    const bool same = size == other_size && memcmp(bytes, other_bytes, size) == 0;
    free(bytes);
    free(other_bytes);
    return same;
}

/* -------------------------------------------------------------------------------------------- the program */

static void test_same_seed_same_bytes(void **state)
{
    const folder_path folder = in_folder(state, "made");
    assert_int_equal(generate(state, "--seed", "1", folder.text, NULL), 0);
    static const char *const files[] = {"arc-style/questions.jsonl", "random-adamoe/tokenizer.json",
                                        "random-adamoe/config.json", "random-adamoe/model.safetensors"};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char made[600], shipped[600];
        (void)snprintf(made, sizeof made, "%s/%s", folder.text, files[i]);
        (void)snprintf(shipped, sizeof shipped, "%s/%s", SOURCE_PATH("tests/golden/generated"), files[i]);
        if (!same_bytes(made, shipped)) {
            fail_msg("%s is not what the generator writes", shipped);
        }
    }
}

static void test_another_seed(void **state)
{
    assert_int_equal(generate(state, "--seed", "2", (const char *)*state, NULL), 0);
    assert_false(same_bytes(in_folder(state, "arc-style/questions.jsonl").text, QUESTIONS));
    assert_false(same_bytes(in_folder(state, "random-adamoe/model.safetensors").text,
                            CHECKPOINT "/model.safetensors"));
}

static void test_only(void **state)
{
    assert_int_equal(generate(state, "--only", "tokenizer", (const char *)*state, NULL), 0);
    assert_true(same_bytes(in_folder(state, "random-adamoe/tokenizer.json").text, TOKENIZER));
    assert_int_not_equal(access(in_folder(state, "random-adamoe/config.json").text, F_OK), 0);
    assert_int_not_equal(access(in_folder(state, "arc-style").text, F_OK), 0);
}

/* Exit code 2, the message in the log, and no folder made. */
static void check_usage_error(void **state, const char *option, const char *value, const char *message)
{
    const folder_path folder = in_folder(state, "made"), log = in_folder(state, "log");
    (void)remove(log.text);
    assert_int_equal(generate(state, option, value, folder.text, NULL), 2);
    size_t size;
    char *text = read_bytes(log.text, &size);
    if (strstr(text, message) == NULL) {
        fail_msg("%s %s: \"%s\" is not in: %s", option, value, message, text);
    }
    free(text);
    assert_int_not_equal(access(folder.text, F_OK), 0);
}

static void test_usage_errors(void **state)
{
    check_usage_error(state, "--seed", "x", "--seed: \"x\" is not a number");
    check_usage_error(state, "--seed", "-1", "--seed: \"-1\" is not a number");
    check_usage_error(state, "--seed", "18446744073709551616", "is not a number");
    check_usage_error(state, "--only", "weights", "--only: \"weights\" is none of");
    check_usage_error(state, "--questions", "0",
                      "question set: 0 questions asked for; the tables hold 1 to ");
    check_usage_error(state, "--questions", "100000", "question set: 100000 questions asked for");
    check_usage_error(state, "--vocabulary", "259", "--vocabulary 259: must be 260 to 65536");
    check_usage_error(state, "--vocabulary", "300", "the texts hold more than 41 different characters");
    check_usage_error(state, "--wordnet", "/nonexistent", "/nonexistent/data.noun: open: No such file");
    check_usage_error(state, "--concepts", "x", "--concepts: \"x\" is not a number");
    check_usage_error(state, "--unknown", "1", "unrecognized option");
    check_usage_error(state, "one", "two", "more than one FOLDER");
    assert_int_equal(generate(state, NULL, NULL, NULL, NULL), 2);
}

static void test_unwritable(void **state)
{
    assert_int_equal(generate(state, in_folder(state, "absent/made").text, NULL, NULL, NULL), 4);
    const folder_path file = in_folder(state, "file");
    write_text(file.text, "");
    assert_int_equal(generate(state, file.text, NULL, NULL, NULL), 4);
}

/* ------------------------------------------------------------------------------------------- what ships */

static bool has_wrong_choice(const adamoe_question *question, const char *text)
{
    for (size_t i = 0; i < question->choices; i++) {
        if (i != question->gold && strcmp(question->text[i], text) == 0) {
            return true;
        }
    }
    return false;
}

/* Two questions with the same stem must have different answers, and neither's answer may be wrong for the
 * other. */
static void check_pair(const adamoe_question *a, const adamoe_question *b)
{
    if (strcmp(a->stem, b->stem) != 0) {
        return;
    }
    const char *right_a = a->text[a->gold], *right_b = b->text[b->gold];
    if (strcmp(right_a, right_b) == 0 || has_wrong_choice(a, right_b) || has_wrong_choice(b, right_a)) {
        fail_msg("%s and %s contradict or repeat each other: %s", a->id, b->id, a->stem);
    }
}

static void test_shipped_questions(void **state)
{
    (void)state;
    adamoe_questions *questions;
    assert_ok(adamoe_questions_read(QUESTIONS, &questions));
    assert_int_equal(questions->count, 200);
    size_t at[4] = {0};
    for (size_t i = 0; i < questions->count; i++) {
        const adamoe_question *question = &questions->question[i];
        char id[32];
        (void)snprintf(id, sizeof id, "adamoe-%04zu", i + 1);
        assert_string_equal(question->id, id);
        assert_int_equal(question->choices, 4);
        at[question->gold]++;
        for (size_t j = 0; j < 4; j++) {
            const char label[2] = {(char)('A' + (int)j), '\0'};
            assert_string_equal(question->label[j], label);
            for (size_t other = 0; other < j; other++) {
                assert_string_not_equal(question->text[j], question->text[other]);
            }
        }
        for (size_t other = 0; other < i; other++) {
            check_pair(question, &questions->question[other]);
        }
    }
    for (size_t j = 0; j < 4; j++) {
        assert_int_equal(at[j], 50);
    }
    adamoe_questions_free(questions);
}

/* Encodes text, checks that decoding gives it back, and continues a hash over the ids. */
static uint64_t encode(const adamoe_tokenizer *tokenizer, const char *text, uint64_t hash, size_t *count)
{
    adamoe_tokens tokens = {0};
    assert_ok(adamoe_tokenizer_encode(tokenizer, text, strlen(text), true, &tokens));
    assert_int_equal(tokens.id[0], 1);
    for (size_t i = 0; i < tokens.count; i++) {
        hash = hash * 31 + tokens.id[i];
    }
    *count += tokens.count;
    char *decoded;
    size_t length;
    assert_ok(adamoe_tokenizer_decode(tokenizer, tokens.id, tokens.count, true, &decoded, &length));
    assert_string_equal(decoded, text);
    free(decoded);
    adamoe_tokens_free(&tokens);
    return hash;
}

/* The number of tokens and the hash are those that the `tokenizers` package, 0.23.3, gives
 * for the same file. */
static void test_shipped_tokenizer(void **state)
{
    (void)state;
    adamoe_tokenizer *tokenizer;
    assert_ok(adamoe_tokenizer_open(TOKENIZER, &tokenizer));
    assert_int_equal(adamoe_tokenizer_vocab_size(tokenizer), 512);
    adamoe_questions *questions;
    assert_ok(adamoe_questions_read(QUESTIONS, &questions));
    uint64_t hash = 0;
    size_t count = 0;
    for (size_t i = 0; i < questions->count; i++) {
        const adamoe_question *question = &questions->question[i];
        for (size_t j = 0; j < question->choices; j++) {
            char text[1024];
            (void)snprintf(text, sizeof text, "Question: %s\nAnswer: %s", question->stem, question->text[j]);
            hash = encode(tokenizer, text, hash, &count);
        }
    }
    assert_int_equal(count, 19625);
    assert_true(hash == UINT64_C(0xde3e9a62dfa9cdb8));
    adamoe_questions_free(questions);
    adamoe_tokenizer_close(tokenizer);
}

static void test_shipped_checkpoint(void **state)
{
    (void)state;
    adamoe_checkpoint *checkpoint;
    assert_ok(adamoe_checkpoint_open(CHECKPOINT, &checkpoint));
    assert_ok(adamoe_checkpoint_check_finite(checkpoint));
    const adamoe_config *config = &adamoe_checkpoint_model(checkpoint)->config;
    assert_int_equal(config->vocab_size, 512);
    assert_int_equal(config->experts, 8);
    assert_int_equal(config->null_experts, 8);
    assert_int_equal(config->rule.top_k, 3);
    assert_int_equal(config->layers, 4);
    adamoe_checkpoint_close(checkpoint);

    struct stat facts;
    assert_int_equal(stat(CHECKPOINT "/model.safetensors", &facts), 0);
    assert_in_range(facts.st_size, 1, 4000000);
}

/* ------------------------------------------------------------------------------------------------- facts */

static void test_facts(void **state)
{
    (void)state;
    for (size_t i = 0; i < adamoe_fact_table_count; i++) {
        const adamoe_fact_table *table = &adamoe_fact_tables[i];
        size_t answers = 0;
        for (size_t row = 0; row < table->count; row++) {
            bool seen = false;
            for (size_t other = 0; other < row; other++) {
                assert_string_not_equal(table->fact[row].subject, table->fact[other].subject);
                seen = seen || strcmp(table->fact[row].answer, table->fact[other].answer) == 0;
            }
            answers += !seen;
        }
        assert_in_range(answers, 4, 64);
    }
}

static size_t count_in_group(const adamoe_fact_group *group, const char *member)
{
    size_t count = 0;
    for (size_t row = 0; row < group->count; row++) {
        for (const char *const *at = group->classes[row].member; *at != NULL; at++) {
            count += strcmp(*at, member) == 0;
        }
    }
    return count;
}

static void test_groups(void **state)
{
    (void)state;
    for (size_t i = 0; i < adamoe_fact_group_count; i++) {
        const adamoe_fact_group *group = &adamoe_fact_groups[i];
        assert_true(group->before == NULL || group->count >= 4);
        size_t members = 0, largest = 0;
        for (size_t row = 0; row < group->count; row++) {
            size_t size = 0;
            for (const char *const *at = group->classes[row].member; *at != NULL; at++) {
                assert_int_equal(count_in_group(group, *at), 1);
                size++;
            }
            members += size;
            largest = size > largest ? size : largest;
        }
        assert_in_range(members, largest + 3, 64);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_same_seed_same_bytes, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_another_seed, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_only, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_usage_errors, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_unwritable, make_folder, remove_folder),
        cmocka_unit_test(test_shipped_questions),
        cmocka_unit_test(test_shipped_tokenizer),
        cmocka_unit_test(test_shipped_checkpoint),
        cmocka_unit_test(test_facts),
        cmocka_unit_test(test_groups),
    };
    return cmocka_run_group_tests_name("generate", tests, NULL, NULL);
}

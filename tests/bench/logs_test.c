/*
 * Logs of the evaluation harness as people have them, scored by `adamoe eval` as the harness scores them:
 * whitespace at the end of contexts, contexts that bring their own first token, contexts that differ between
 * choices, questions that are too long, tokenizers and lists of end tokens as real folders have them.
 */
#include "program.h"

#include <jansson.h>

#define SHIPPED SHELL_WORD(SOURCE_PATH("datasets/tiny-adamoe"))

typedef struct request {
    const char *context, *continuation;
} request;

/* One line of a log with two choices. */
static void write_log(void **state, const char *name, request a, request b)
{
    json_t *line = json_pack("{s:i,s:i,s:{s:{s:s,s:s},s:{s:s,s:s}}}", "doc_id", 0, "target", 1, "arguments",
                             "gen_args_0", "arg_0", a.context, "arg_1", a.continuation, "gen_args_1", "arg_0",
                             b.context, "arg_1", b.continuation);
    assert_non_null(line);
    assert_int_equal(json_dump_file(line, in_folder(state, name).text, JSON_COMPACT), 0);
    json_decref(line);
}

/* The log-probabilities of both choices, which the naive model computes. */
static void score(void **state, const char *name, const char *options, double logprob[2])
{
    const outcome *got = run(ADAMOE " eval --model " SHIPPED " --questions %s --kernel reference "
                                    "--samples - %s",
                             in_folder(state, name).text, options);
    json_t *sample = json_loads(got->text, JSON_DISABLE_EOF_CHECK, NULL);
    if (got->code != 0 || sample == NULL) {
        fail_msg("exit code %d; printed: %s", got->code, got->text);
    }
    for (size_t c = 0; c < 2; ++c) {
        logprob[c] = json_number_value(json_array_get(json_object_get(sample, "logprob"), c));
    }
    json_decref(sample);
}

static void same(void **state, const char *name, const char *options, const double expected[2])
{
    double got[2];
    score(state, name, options, got);
    assert_memory_equal(got, expected, sizeof got);
}

/* As lm_eval/api/model.py's _encode_pair: what rstrip takes from the context begins the continuation. The
 * reference has it there already. */
static void whitespace_belongs_to_the_continuation(void **state)
{
    static const char *const spaces[] = {
        " ",        "  ",           "\n",           "\t \n", "\r\n",     "\x0b\x0c",    "\xc2\xa0",
        "\xc2\x85", "\xe2\x80\x83", "\xe3\x80\x80", "\x1f",  "\x1c\x1d", "\xe2\x80\xa9"};
    for (size_t i = 0; i < sizeof spaces / sizeof *spaces; ++i) {
        char context[64], moved[2][64];
        double expected[2];
        (void)snprintf(context, sizeof context, "where is it?%s", spaces[i]);
        (void)snprintf(moved[0], sizeof moved[0], "%sthe roof", spaces[i]);
        (void)snprintf(moved[1], sizeof moved[1], "%sa river", spaces[i]);
        write_log(state, "reference", (request){"where is it?", moved[0]},
                  (request){"where is it?", moved[1]});
        write_log(state, "log", (request){context, "the roof"}, (request){context, "a river"});
        score(state, "reference", "", expected);
        same(state, "log", "", expected);
    }
    /* What only looks like whitespace stays: a zero-width space, and whitespace that is not at the end. */
    double with[2], without[2];
    write_log(state, "log", (request){"where\xe2\x80\x8b", "a"}, (request){"where\xe2\x80\x8b", "b"});
    write_log(state, "other",
              (request){"where", "\xe2\x80\x8b"
                                 "a"},
              (request){"where", "\xe2\x80\x8b"
                                 "b"});
    score(state, "log", "", with);
    score(state, "other", "", without);
    assert_memory_not_equal(with, without, sizeof with);
}

/* As huggingface.py's tok_encode: a context that begins with the first token's text gets no other one. */
static void the_first_token_is_there_once(void **state)
{
    static const char *const contexts[] = {"where is it?", "", "<s", "Question: a\nAnswer:", "<s> twice"};
    for (size_t i = 0; i < sizeof contexts / sizeof *contexts; ++i) {
        char context[64];
        double expected[2], none[2];
        const bool empty = contexts[i][0] == '\0';
        (void)snprintf(context, sizeof context, "<s>%s", contexts[i]);
        write_log(state, "reference", (request){contexts[i], " roof"}, (request){contexts[i], " river"});
        write_log(state, "log", (request){context, " roof"}, (request){context, " river"});
        if (strncmp(contexts[i], "<s>", 3) == 0) { /* the text's own first token is all that there is */
            score(state, "reference", "--bos never", expected);
            same(state, "reference", "", expected);
            same(state, "reference", "--bos always", expected);
            continue;
        }
        score(state, "reference", "", expected);
        same(state, "reference", "--bos always", expected);
        same(state, "log", "", expected);
        same(state, "log", "--bos always", expected);
        same(state, "log", "--bos never", expected);
        if (!empty) {
            score(state, "reference", "--bos never", none);
            assert_memory_not_equal(none, expected, sizeof none);
        }
    }
}

/* WinoGrande's choices are contexts, and share their continuation. Each scores as it does beside another. */
static void contexts_may_differ(void **state)
{
    double both[2], first[2], second[2];
    const request a = {"the roof of the house", " is very big"}, b = {"the river", " is very big"};
    write_log(state, "both", a, b);
    write_log(state, "first", a, (request){a.context, " is small"});
    write_log(state, "second", b, (request){b.context, " is small"});
    score(state, "both", "", both);
    score(state, "first", "", first);
    score(state, "second", "", second);
    assert_true(both[0] == first[0] && both[1] == second[0]);
    same(state, "both", "--threads 2", both);
}

static void what_is_cut_is_counted(void **state)
{
    static char text[20000];
    for (size_t i = 0; i + 8 < sizeof text; i += 8) {
        memcpy(text + i, " a river", 8);
    }
    write_log(state, "log", (request){text, " roof"}, (request){text, " river"});
    const outcome *got = run(ADAMOE " eval --model " SHIPPED " --questions %s --json %s",
                             in_folder(state, "log").text, in_folder(state, "r.json").text);
    expect(got, 0, "1 of 1 questions are longer than the model's context: their beginning was left out.\n");
    json_t *result = json_load_file(in_folder(state, "r.json").text, 0, NULL);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(result, "adamoe"), "questions_cut")),
                     1);
    json_decref(result);
}

/* ------------------------------------------------------------------------------------------------ folders */

/* A copy of a model's folder, whose file `name` is edited. */
static void copy_model(void **state, const char *from)
{
    const char *folder = *state;
    expect(run("rm -rf %s/m && cp -r %s %s/m && chmod -R u+w %s/m", folder, from, folder, folder), 0, "");
}

static json_t *load(void **state, const char *name)
{
    json_t *document = json_load_file(in_folder(state, name).text, 0, NULL);
    assert_non_null(document);
    return document;
}

static void store(void **state, const char *name, json_t *document)
{
    assert_int_equal(json_dump_file(document, in_folder(state, name).text, 0), 0);
    json_decref(document);
}

static void any_of_several_end_tokens_ends_the_text(void **state)
{
    const char *folder = *state;
    static const char generate[] =
        ADAMOE " generate --model %s/m --prompt 'a river is' --tokens 6 --threads 1";
    static const char tokens[] = ADAMOE " tokenize --model " SHIPPED " --no-special";
    copy_model(state, SHIPPED);
    char whole[512];
    (void)snprintf(whole, sizeof whole, "%.500s", run(generate, folder)->text);
    long long id[16];
    size_t count = 0;
    char *text =
        strdup(run("%s < %s/text", tokens, (run("printf %%s '%s' > %s/text", whole, folder), folder))->text);
    for (char *part = strtok(text, " \n"); part != NULL && count < 16; part = strtok(NULL, " \n")) {
        id[count++] = atoll(part);
    }
    free(text);
    assert_true(count > 3);
    const json_int_t last = id[count - 1], other = 3;
    /* The text ends before its last token: by a list in either order, one token, generation_config's. */
    for (int way = 0; way < 5; ++way) {
        copy_model(state, SHIPPED);
        json_t *config = load(state, "m/config.json");
        json_t *eos = way == 0   ? json_pack("[I,I]", last, other)
                      : way == 1 ? json_pack("[I,I]", other, last)
                      : way == 2 ? json_integer(last)
                                 : json_integer(other);
        json_object_set_new(config, "eos_token_id", eos);
        store(state, "m/config.json", config);
        if (way >= 3) {
            store(state, "m/generation_config.json",
                  way == 3 ? json_pack("{s:[i,I]}", "eos_token_id", 99999, last)
                           : json_pack("{s:I}", "eos_token_id", last));
        }
        const outcome *got = run(generate, folder);
        if (got->code != 0 || strlen(got->text) >= strlen(whole)) {
            fail_msg("way %d: exit code %d, \"%s\" where without it is \"%s\"", way, got->code, got->text,
                     whole);
        }
    }
    write_text(in_folder(state, "m/generation_config.json").text, "{\"eos_token_id\":[\"x\"]}");
    expect(run(generate, folder), 2, "generation_config.json: eos_token_id: is no token id");
}

/* A tokenizer with added tokens beyond the model's rows, as people's folders have them. */
static void a_tokenizer_may_know_more_than_the_model(void **state)
{
    const char *folder = *state;
    double expected[2];
    write_log(state, "log", (request){"where", " roof"}, (request){"where", " river"});
    write_log(state, "beyond", (request){"where", " roof"}, (request){"where", " <extra_2>"});
    score(state, "log", "", expected);
    copy_model(state, SHIPPED);
    json_t *tokenizer = load(state, "m/tokenizer.json"), *config = load(state, "m/config.json");
    const json_int_t rows = json_integer_value(json_object_get(config, "vocab_size"));
    for (json_int_t i = 0; i < 4; ++i) {
        char content[32];
        (void)snprintf(content, sizeof content, "<extra_%lld>", (long long)i);
        json_array_append_new(json_object_get(tokenizer, "added_tokens"),
                              json_pack("{s:I,s:s,s:b,s:b,s:b,s:b,s:b}", "id", rows + i, "content", content,
                                        "single_word", 0, "lstrip", 0, "rstrip", 0, "normalized", 0,
                                        "special", 1));
    }
    json_decref(config);
    store(state, "m/tokenizer.json", tokenizer);
    const outcome *got =
        run(ADAMOE " eval --model %s/m --questions %s/log --kernel reference --samples -", folder, folder);
    json_t *sample = json_loads(got->text, JSON_DISABLE_EOF_CHECK, NULL);
    assert_int_equal(got->code, 0);
    assert_true(json_number_value(json_array_get(json_object_get(sample, "logprob"), 1)) == expected[1]);
    json_decref(sample);
    expect(run(ADAMOE " eval --model %s/m --questions %s/beyond", folder, folder), 2,
           "choice 2: the tokenizer's token ");
    expect(run(ADAMOE " generate --model %s/m --prompt 'a <extra_0>'", folder), 2,
           "--prompt: the tokenizer's token ");
    expect(run("echo 'a <extra_0>' > %s/c; " ADAMOE " train --model %s/m --corpus %s/c --steps 1 -o %s/o",
               folder, folder, folder, folder),
           2, "line 1: the tokenizer's token ");
    expect(run("echo 'a <extra_0>' | " ADAMOE " tokenize --model %s/m", folder), 0, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(whitespace_belongs_to_the_continuation, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(the_first_token_is_there_once, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(contexts_may_differ, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(what_is_cut_is_counted, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(any_of_several_end_tokens_ends_the_text, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(a_tokenizer_may_know_more_than_the_model, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

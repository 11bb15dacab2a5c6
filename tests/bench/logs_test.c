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

/* Two logs whose lines shall score alike, one by one. */
typedef struct pair_of_logs {
    json_t *log, *reference;
} pair_of_logs;

static void append(json_t *lines, request a, request b)
{
    json_t *line = json_pack("{s:i,s:i,s:{s:{s:s,s:s},s:{s:s,s:s}}}", "doc_id", (int)json_array_size(lines),
                             "target", 1, "arguments", "gen_args_0", "arg_0", a.context, "arg_1",
                             a.continuation, "gen_args_1", "arg_0", b.context, "arg_1", b.continuation);
    assert_non_null(line);
    assert_int_equal(json_array_append_new(lines, line), 0);
}

/* The log-probabilities that `eval --samples` prints, a line for each; the caller frees it. What a choice's length is,
 * which acc_norm divides by, is another matter. */
static char *score_lines(void **state, json_t *lines, const char *options)
{
    FILE *file = fopen(in_folder(state, "lines").text, "w");
    assert_non_null(file);
    for (size_t i = 0; i < json_array_size(lines); ++i) {
        assert_int_equal(json_dumpf(json_array_get(lines, i), file, JSON_COMPACT), 0);
        (void)fputc('\n', file);
    }
    (void)fclose(file);
    const outcome *got =
        run(ADAMOE " eval --model " SHIPPED
                   " --questions %s --kernel reference --samples - %s | sed 's/,\"prediction\".*//'",
            in_folder(state, "lines").text, options);
    if (got->code != 0) {
        fail_msg("exit code %d; printed: %s", got->code, got->text);
    }
    return strdup(got->text);
}

static void score_alike(void **state, const pair_of_logs *pair, const char *log_options, const char *options)
{
    char *log = score_lines(state, pair->log, log_options);
    char *reference = score_lines(state, pair->reference, options);
    assert_non_null(strstr(log, "\"logprob\""));
    assert_string_equal(log, reference);
    free(log);
    free(reference);
}

static void free_pair(pair_of_logs *pair)
{
    json_decref(pair->log);
    json_decref(pair->reference);
}

static void add_whitespace(pair_of_logs *pair, const char *bare, const char *space)
{
    char context[128], moved[2][64];
    (void)snprintf(context, sizeof context, "%s%s", bare, space);
    (void)snprintf(moved[0], sizeof moved[0], "%sthe roof", space);
    (void)snprintf(moved[1], sizeof moved[1], "%sa river", space);
    append(pair->log, (request){context, "the roof"}, (request){context, "a river"});
    append(pair->reference, (request){bare, moved[0]}, (request){bare, moved[1]});
}

/* As lm_eval/api/model.py's _encode_pair: what rstrip takes from the context begins the continuation. The
 * reference has it there already. */
static void whitespace_belongs_to_the_continuation(void **state)
{
    static const char *const spaces[] = {" ",
                                         "  ",
                                         "\n",
                                         "\t \n",
                                         "\r\n",
                                         "\x0b\x0c",
                                         "\xc2\xa0",
                                         "\xc2\x85",
                                         "\xe2\x80\x83",
                                         "\xe3\x80\x80",
                                         "\x1f",
                                         "\x1c\x1d",
                                         "\xe2\x80\xa9",
                                         "\xe1\x9a\x80",
                                         "\xe2\x80\xa8",
                                         "\xe2\x80\xaf",
                                         "\xe2\x81\x9f",
                                         "\xe3\x80\x80 \t\n\xc2\xa0"};
    pair_of_logs pair = {json_array(), json_array()};
    for (size_t i = 0; i < sizeof spaces / sizeof *spaces; ++i) {
        add_whitespace(&pair, "where is it?", spaces[i]);
    }
    /* What templates of chats and instructions end in; and a context that is nothing else. */
    add_whitespace(&pair, "where is it? [/INST]", " ");
    add_whitespace(&pair, "<|user|>\nwhere?\n<|assistant|>", "\n");
    add_whitespace(&pair, "<|im_start|>assistant", "\n");
    add_whitespace(&pair, "<|start_header_id|>assistant<|end_header_id|>", "\n\n");
    add_whitespace(&pair, "### Response:", "\r\n\r\n");
    add_whitespace(&pair, "where?\nAnswer:", "\xc2\xa0");
    add_whitespace(&pair, "", " \n");
    score_alike(state, &pair, "", "");
    free_pair(&pair);
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
    static const char *const contexts[] = {
        "where is it?",  "",         "<s", "Question: a\nAnswer:", "[INST] where? [/INST]", "</s>where",
        "\xc2\xa0where", "<s> twice"};
    pair_of_logs pair = {json_array(), json_array()};
    for (size_t i = 0; i < sizeof contexts / sizeof *contexts; ++i) {
        char context[64];
        const bool there =
            strncmp(contexts[i], "<s>", 3) == 0; /* the text's own first token is all that there is */
        (void)snprintf(context, sizeof context, "%s%s", there ? "" : "<s>", contexts[i]);
        append(pair.log, (request){context, " roof"}, (request){context, " river"});
        append(pair.reference, (request){contexts[i], " roof"}, (request){contexts[i], " river"});
    }
    score_alike(state, &pair, "", "");
    score_alike(state, &pair, "--bos always", "--bos always");
    score_alike(state, &pair, "--bos never", "");
    char *with = score_lines(state, pair.reference, "");
    char *without = score_lines(state, pair.reference, "--bos never");
    assert_string_not_equal(with, without);
    free(with);
    free(without);
    free_pair(&pair);
}

/* Only what begins with it has it: not a blank, another token or one choice before it. */
static void another_beginning_has_not_the_first_token(void **state)
{
    static const char *const contexts[] = {" <s>where", "\n<s>where", "</s><s>where", "<S>where",
                                           "\"<s>\" where"};
    double both[2];
    pair_of_logs pair = {json_array(), json_array()};
    for (size_t i = 0; i < sizeof contexts / sizeof *contexts; ++i) {
        append(pair.log, (request){contexts[i], " roof"}, (request){contexts[i], " river"});
    }
    json_array_extend(pair.reference, pair.log);
    score_alike(state, &pair, "", "--bos always");
    char *with = score_lines(state, pair.log, ""), *without = score_lines(state, pair.log, "--bos never");
    char *rest[2] = {with, without};
    for (size_t i = 0; i < sizeof contexts / sizeof *contexts; ++i) { /* no line is equal */
        const char *line[2] = {strsep(&rest[0], "\n"), strsep(&rest[1], "\n")};
        assert_true(strstr(line[0], "\"logprob\"") != NULL && strstr(line[1], "\"logprob\"") != NULL);
        assert_string_not_equal(line[0], line[1]);
    }
    free(with);
    free(without);
    free_pair(&pair);
    write_log(state, "log", (request){"<s>where", " roof"}, (request){"where", " roof"});
    score(state, "log", "", both);
    assert_true(both[0] == both[1]);
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
    /* Lists that end nothing here: none, null, empty, another token several times, ids beyond the model. */
    static const char *const lists[] = {"{}",
                                        "{\"eos_token_id\":null}",
                                        "{\"eos_token_id\":[]}",
                                        "{\"eos_token_id\":[3,3,3]}",
                                        "{\"eos_token_id\":[4096,99999]}",
                                        "\xef\xbb\xbf{\"eos_token_id\":3}"};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; ++i) {
        write_text(in_folder(state, "m/generation_config.json").text, lists[i]);
        json_t *config = load(state, "m/config.json");
        json_object_set_new(config, "eos_token_id", i % 2 == 0 ? json_pack("[]") : json_pack("[i,i]", 3, 3));
        store(state, "m/config.json", config);
        assert_string_equal(run(generate, folder)->text, whole);
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

/* What `edit` makes of the shipped tokenizer, whose model has ids below `rows`. */
static void edit_tokenizer(void **state, json_t *added, json_t *vocabulary)
{
    copy_model(state, SHIPPED);
    json_t *tokenizer = load(state, "m/tokenizer.json");
    json_array_extend(json_object_get(tokenizer, "added_tokens"), added);
    json_object_update(json_object_get(json_object_get(tokenizer, "model"), "vocab"), vocabulary);
    json_decref(added);
    json_decref(vocabulary);
    store(state, "m/tokenizer.json", tokenizer);
}

static json_t *added_token(json_int_t id, const char *content)
{
    return json_pack("{s:I,s:s,s:b,s:b,s:b,s:b,s:b}", "id", id, "content", content, "single_word", 0,
                     "lstrip", 0, "rstrip", 0, "normalized", 0, "special", 1);
}

/* Other ways in which a tokenizer knows more: none changes what is scored; ids that its file contradicts are refused. */
static void further_tokenizers(void **state)
{
    const char *folder = *state;
    json_t *config = json_load_file(SOURCE_PATH("datasets/tiny-adamoe/config.json"), 0, NULL);
    const json_int_t rows = json_integer_value(json_object_get(config, "vocab_size"));
    json_decref(config);
    write_log(state, "log", (request){"where", " roof"}, (request){"where", " river"});
    const char *const eval = ADAMOE " eval --model %s/m --questions %s/log --kernel reference --samples -";
    char expected[512];
    copy_model(state, SHIPPED);
    (void)snprintf(expected, sizeof expected, "%.500s", run(eval, folder, folder)->text);
    for (int way = 0; way < 4; ++way) {
        json_t *vocabulary = json_object(), *added = json_array();
        if (way == 0) { /* in the vocabulary itself, which no merge reaches */
            json_object_set_new(vocabulary, "<pad_to_64>", json_integer(rows));
        } else if (way == 1) { /* both */
            json_object_set_new(vocabulary, "<in_vocabulary>", json_integer(rows));
            json_array_append_new(added, added_token(rows + 1, "<added>"));
        } else if (way == 2) { /* texts that others begin with */
            json_array_append_new(added, added_token(rows, "<s>>"));
            json_array_append_new(added, added_token(rows + 1, "<s>>>"));
        } else { /* many */
            for (json_int_t i = 0; i < 300; ++i) {
                char content[32];
                (void)snprintf(content, sizeof content, "<reserved_%lld>", (long long)i);
                json_array_append_new(added, added_token(rows + i, content));
            }
        }
        edit_tokenizer(state, added, vocabulary);
        assert_string_equal(run(eval, folder, folder)->text, expected);
    }
    edit_tokenizer(state, json_pack("[o,o]", added_token(rows + 1, "<b>"), added_token(rows, "<a>")),
                   json_object());
    expect(run(eval, folder, folder), 0, "added_tokens get their ids in the order of the list");
    edit_tokenizer(state, json_pack("[o]", added_token(rows + 100, "<a>")), json_object());
    expect(run(eval, folder, folder), 2, "the id 4196 where the vocabulary demands 4096");
    edit_tokenizer(state, json_pack("[o,o]", added_token(rows, "<a>"), added_token(rows, "<b>")),
                   json_object());
    expect(run(eval, folder, folder), 2, "the id 4096 where the vocabulary demands 4097");
}

/* What people have in place of the files that are read, and what makes those of it. */
static void folders_of_another_form_are_told(void **state)
{
    const char *folder = *state;
    static const struct {
        const char *gone, *there, *message;
    } forms[] = {
        {"model.safetensors", "pytorch_model.bin", "pytorch_model.bin is not read: save_pretrained"},
        {"model.safetensors", "consolidated.safetensors", "consolidated.safetensors is not read"},
        {"model.safetensors", "model-00001-of-00002.safetensors", "nor model.safetensors.index.json\n"},
        {"tokenizer.json", "tokenizer.model", "tokenizer.model is not read: save_pretrained"},
        {"tokenizer.json", "vocab.json", "vocab.json is not read"},
        {"tokenizer.json", "README", "tokenizer.json: open: No such file"},
    };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; ++i) {
        copy_model(state, SHIPPED);
        expect(run("cd %s/m && mv %s %s && " ADAMOE " generate --model . --prompt a", folder, forms[i].gone,
                   forms[i].there),
               2, forms[i].message);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(whitespace_belongs_to_the_continuation, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(the_first_token_is_there_once, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(another_beginning_has_not_the_first_token, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(contexts_may_differ, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(what_is_cut_is_counted, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(any_of_several_end_tokens_ends_the_text, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(a_tokenizer_may_know_more_than_the_model, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(further_tokenizers, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(folders_of_another_form_are_told, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

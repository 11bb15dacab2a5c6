/*
 * adamoe eval --resume: what an interrupted evaluation left is gone on with by the same run alone, however its command is
 * written; what no run can have left is run again or refused, and a file that is no journal stays as it is.
 */
#include "eval/journal.h"
#include "program.h"

#include <jansson.h>

#define WITH " --limit 4 --threads 1 --resume --samples s --json "
#define EVAL ADAMOE " eval --kernel reference --model " MODEL " --questions " QUESTIONS WITH
/* All is finished, and its result finds no room: the journal stays. */
#define LEFT  "/dev/full"
#define AGAIN "r.json"
#define LINES 5 /* whose it is, and four steps of a question */

static void leave_journal(const char *folder, const char *eval)
{
    expect(run("cd %s && rm -f s s.partial && %s", folder, eval), 4, "/dev/full: write");
    expect(run("cd %s && cp s.partial left && mv s whole", folder), 0, "");
}

static void put_back(const char *folder)
{
    expect(run("cd %s && cp left s.partial && rm -f s r.json", folder), 0, "");
}

/* ------------------------------------------------------------------------------------------ whose it is */

static void the_same_run_is_known_however_it_is_written(void **state)
{
    const char *folder = *state;
    leave_journal(folder, EVAL LEFT);
    expect(run("cd %s && " EVAL AGAIN, folder), 0, "4 of 4 questions were finished");
    assert_false(exists(folder, "s.partial"));
    put_back(folder);
    const outcome *got =
        run("cd %s && " ADAMOE " eval --quest " QUESTIONS " --model=" SHELL_WORD(
                MODEL_PATH "/") " --ker reference --thread 2 --limit=4 --resume --samples s --js -",
            folder);
    expect(got, 0, "\"questions_resumed\": 4");
    expect(run("cd %s && cmp s whole", folder), 0, "");
}

/* However long the paths are, and where only contents differ. */
static void another_run_is_named_by_what_differs(void **state)
{
    const char *folder = *state;
    char eval[2048], deep[256];
    memset(deep, 'd', 200);
    deep[200] = '\0';
    (void)snprintf(eval, sizeof eval,
                   ADAMOE " eval --kernel reference --model %s/m --questions %s/q.jsonl" WITH, deep, deep);
    expect(run("cd %s && mkdir %s && cp -r " MODEL " %s/m && chmod -R u+w %s && cp " QUESTIONS " %s/q.jsonl",
               folder, deep, deep, deep, deep),
           0, "");
    leave_journal(folder, strcat(eval, LEFT));
    expect(run("cd %s && %s --format letter", folder, eval), 2,
           "it was left by another run, which differs in its options: ... --limit=4; this one: ... --limit=4 "
           "--format=letter");
    expect(run("cd %s && %s --kernel onednn-f32", folder, eval), 2,
           "differs in its kernel: reference; this one: o");
    expect(run("cd %s && echo >>%s/q.jsonl && %s", folder, deep, eval), 2, "differs in its questions: dd");
    expect(run("cd %s && cp " QUESTIONS " %s/q.jsonl && echo >>%s/m/config.json && %s", folder, deep, deep,
               eval),
           2, " with other contents");
    expect(run("cd %s && cmp left s.partial", folder), 0, "");
}

static void what_brings_the_kernel_is_compared(void **state)
{
    const char *folder = *state;
    static const struct {
        const char *file, *other, *eval, *said;
    } cases[] = {
        {ADAMOE_PLUGINS "/slowed_0.so", "cp '" ADAMOE_PLUGINS "/slowed_50.so' k",
         " --plugin ./k --kernel slowed", "differs in its plugin: ./k with other contents"},
        {ADAMOE_CLIENTS "/remote_client", "echo >>k", " --command ./k --kernel c-client",
         "differs in its command: ./k with other contents"},
    };
    /* The client takes float32. */
    expect(run("cd %s && " ADAMOE " train --model " MODEL " --questions " QUESTIONS
               " --limit 4 --steps 1 --dtype f32 -o m",
               folder),
           0, "step 1/1");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
        char eval[2048];
        (void)snprintf(eval, sizeof eval, ADAMOE " eval%s --model m --questions " QUESTIONS WITH LEFT,
                       cases[i].eval);
        expect(run("cd %s && rm -f k && cp '%s' k", folder, cases[i].file), 0, "");
        leave_journal(folder, eval);
        expect(run("cd %s && %s && %s", folder, cases[i].other, eval), 2, cases[i].said);
    }
}

/* Adapters are small; most of what decides their results is in the folder that they refer to. */
static void the_base_of_adapters_is_compared(void **state)
{
    const char *folder = *state;
    static const char config[] =
        "{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\",\"vocab_size\":420,"
        "\"hidden_size\":24,\"intermediate_size\":20,\"num_hidden_layers\":1,\"num_attention_heads\":4,"
        "\"num_key_value_heads\":2,\"head_dim\":6,\"max_position_embeddings\":128,\"rms_norm_eps\":1e-5,"
        "\"bos_token_id\":1,\"eos_token_id\":2,\"initializer_range\":0.05,\"tie_word_embeddings\":true}";
    static const char eval[] = ADAMOE " eval --model adapters --questions " QUESTIONS WITH LEFT;
    write_text(in_folder(state, "dense.json").text, config);
    expect(run("cd %s && " ADAMOE " train --questions " QUESTIONS
               " --config dense.json --limit 4 --steps 1 -o base && " ADAMOE " train --questions " QUESTIONS
               " --model base --lora 2 --limit 4 --steps 1 -o adapters",
               folder),
           0, "step 1/1");
    leave_journal(folder, eval);
    expect(run("cd %s && %s", folder, eval), 4, "4 of 4 questions were finished");
    expect(run("cd %s && echo >>base/config.json && %s", folder, eval), 2, "differs in its base of model: ");
}

/* ---------------------------------------------------------------------------------------- what is in it */

static json_t *first_number(json_t *line, const char *key)
{
    return json_array_get(json_object_get(line, key), 0);
}

static void add_to(json_t *line, const char *key, size_t i, json_int_t more)
{
    json_t *number = json_array_get(json_object_get(line, key), i);
    assert_int_equal(json_integer_set(number, json_integer_value(number) + more), 0);
}

/* Each makes a line that a run cannot have written. Those before it are good. */
static void spoil(json_t *line, size_t how)
{
    json_t *logprobs = json_array_get(json_object_get(line, "logprob"), 0);
    switch (how) {
    case 0: /* all good up to a list that is cut */
        add_to(line, "expert_rows", 0, 1000);
        add_to(line, "histogram", 1, 1000);
        json_array_remove(json_object_get(line, "selections"), 0);
        return;
    case 1:
        json_object_set_new(line, "seconds", json_real(-1.0));
        return;
    case 2:
        json_object_set_new(line, "seconds", json_real(1e308));
        return;
    case 3:
        json_integer_set(first_number(line, "work"), (json_int_t)1 << 62);
        return;
    case 4:
        add_to(line, "work", 2, 1);
        return;
    case 5:
        add_to(line, "work", 3, -1);
        return;
    case 6:
        add_to(line, "work", 1, 1);
        return;
    case 7:
        add_to(line, "histogram", 1, 1);
        return;
    case 8: /* the sum of tokens stays */
        add_to(line, "histogram", 1, -1);
        add_to(line, "histogram", 2, 1);
        return;
    case 9:
        add_to(line, "selections", 0, 1);
        return;
    case 10:
        add_to(line, "adapted_rows", 0, 1);
        return;
    case 11:
        json_array_set_new(logprobs, 1, json_real(0.5));
        return;
    case 12:
        json_array_set_new(logprobs, 1, json_string("-1"));
        return;
    case 13:
        json_object_del(line, "first");
        return;
    case 14:
        json_object_set_new(line, "first", json_string("2"));
        return;
    case 15:
        json_array_clear(json_object_get(line, "logprob"));
        return;
    default:
        fail();
    }
}
#define WAYS 16

/* What was left with one line spoilt; the last is spoilt in its text. */
static void write_spoilt(void **state, size_t at, size_t how)
{
    FILE *left = fopen(in_folder(state, "left").text, "re"),
         *out = fopen(in_folder(state, "s.partial").text, "we");
    assert_true(left != NULL && out != NULL);
    for (size_t i = 0; i < LINES; ++i) {
        json_t *line = json_loadf(left, JSON_DISABLE_EOF_CHECK, NULL);
        assert_non_null(line);
        if (i == at && how < WAYS) {
            spoil(line, how);
        }
        char *text = json_dumps(line, JSON_COMPACT);
        fprintf(out, "%s%s\n", i == at && how == WAYS ? "{\"seconds\":0.0," : "",
                text + (i == at && how == WAYS));
        free(text);
        json_decref(line);
    }
    assert_int_equal(fclose(left) + fclose(out), 0);
}

static json_t *load_result(void **state)
{
    json_t *all = json_load_file(in_folder(state, AGAIN).text, 0, NULL);
    assert_non_null(all);
    return all;
}

/* The samples, the counts and what follows from them are those of a run that nobody ended. */
static void what_no_run_writes_is_run_again(void **state)
{
    const char *folder = *state;
    leave_journal(folder, EVAL LEFT);
    expect(run("cd %s && rm s.partial && " EVAL AGAIN, folder), 0, "4 of ");
    json_t *whole = load_result(state);
    for (size_t how = 0; how <= WAYS; ++how) {
        const size_t at = how % 2 == 0 ? LINES - 2 : LINES - 1;
        write_spoilt(state, at, how);
        const outcome *got = run("cd %s && rm -f s && " EVAL AGAIN " && cmp s whole", folder);
        expect(got, 0, at == LINES - 2 ? "2 of 4 questions were finished" : "3 of 4 questions were finished");
        json_t *again = load_result(state);
        static const char *const keys[] = {"load_by_layer", "tokens_processed", "executed_flops",
                                           "true_expert_histogram_by_layer", "selections_by_layer"};
        for (size_t i = 0; i < sizeof keys / sizeof *keys; ++i) {
            json_t *wanted = json_object_get(json_object_get(whole, "adamoe"), keys[i]);
            if (!json_equal(wanted, json_object_get(json_object_get(again, "adamoe"), keys[i]))) {
                fail_msg("way %zu: %s differs", how, keys[i]);
            }
        }
        json_decref(again);
    }
    json_decref(whole);
}

static void what_is_no_journal_is_left_alone(void **state)
{
    const char *folder = *state;
    static const char *const texts[] = {"keep", "keep\n", "{\"partial\":true,\"run\":{\"program\":7}}\n",
                                        "{\"partial\":true,\"run\":{\"another"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; ++i) {
        write_text(in_folder(state, "s.partial").text, texts[i]);
        write_text(in_folder(state, "text").text, texts[i]);
        expect(run("cd %s && " EVAL AGAIN, folder), 2, "s.partial: it is not what an interrupted");
        expect(run("cd %s && cmp text s.partial", folder), 0, "");
    }
    expect(run("cd %s && rm s.partial && mkfifo s.partial && timeout 20 " EVAL AGAIN, folder), 2,
           "s.partial: it is not what an interrupted");
}

/* Nothing, and the beginning of the run's own first line, which the end cut off. */
static void a_beginning_is_begun_anew(void **state)
{
    const char *folder = *state;
    leave_journal(folder, EVAL LEFT);
    static const char *const cut[] = {"head -c 0", "head -c 1", "head -c 99",
                                      "head -n 1 left | tr -d '\\n'; true"};
    for (size_t i = 0; i < sizeof cut / sizeof *cut; ++i) {
        expect(run("cd %s && rm -f s && { %s left; } >s.partial && " EVAL AGAIN " && cmp s whole", folder,
                   cut[i]),
               0, "4 of ");
    }
}

/* JSON has no such number, and a line without it would count the rest as other choices. */
static void what_is_not_finite_is_an_error(void **state)
{
    double logprob[2] = {-1.0, -INFINITY}, seconds = 1.0;
    adamoe_choice_tokens choice[2] = {{.characters = 1}, {.characters = 1}};
    const adamoe_prompt prompt = {.choices = 2, .choice = choice};
    adamoe_outcome found = {.logprob = logprob};
    adamoe_scorer scorer = {.counts = {.layers = 0}};
    adamoe_rank_facts run_of = {.count = 0};
    size_t next = 0, size;
    adamoe_journal *journal = NULL;
    const adamoe_journal_subject subject = {1, &prompt, &found, &scorer, &seconds, &next};
    assert_ok(adamoe_journal_open(in_folder(state, "j").text, &run_of, &subject, &journal));
    next = 1;
    const adamoe_status status = adamoe_journal_add(journal, 0);
    assert_int_equal(status.code, ADAMOE_BAD_INPUT);
    assert_non_null(strstr(status.message, "question 1, choice 2: log-probability -inf"));
    adamoe_journal_close(journal, true);
    char *text = read_bytes(in_folder(state, "j").text, &size);
    assert_string_equal(text, "{\"partial\":true,\"run\":{}}\n");
    free(text);
}

int main(void)
{
#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)
    const struct CMUnitTest tests[] = {
        IN_FOLDER(the_same_run_is_known_however_it_is_written),
        IN_FOLDER(another_run_is_named_by_what_differs),
        IN_FOLDER(what_brings_the_kernel_is_compared),
        IN_FOLDER(the_base_of_adapters_is_compared),
        IN_FOLDER(what_no_run_writes_is_run_again),
        IN_FOLDER(what_is_no_journal_is_left_alone),
        IN_FOLDER(a_beginning_is_begun_anew),
        IN_FOLDER(what_is_not_finite_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

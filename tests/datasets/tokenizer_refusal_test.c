/*
 * Every tokenizer.json that is refused: damaged, or asking for what is not implemented. The message names the
 * file, the place in it and the reason.
 *
 * Longer than most files: it is a list, with a row for each refusal, in the order of tokenizer.json.
 */
#include "test.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/parts.h"

/* A document that is accepted; tests replace one of its members. */
typedef struct member {
    const char *key, *value;
} member;

#define VOCAB       "\"vocab\": {\"a\": 0, \"b\": 1, \"ab\": 2}"
#define MERGES      "\"merges\": [\"a b\"]"
#define MODEL(more) "{\"type\": \"BPE\", " more "}"

static const member members[] = {
    {"version", "\"1.0\""},     {"truncation", "null"}, {"padding", "null"},
    {"added_tokens", "[]"},     {"normalizer", "null"}, {"pre_tokenizer", "null"},
    {"post_processor", "null"}, {"decoder", "null"},    {"model", MODEL(VOCAB ", " MERGES)},
};

static adamoe_status parse(const char *text)
{
    adamoe_tokenizer *tokenizer = NULL;
    const adamoe_status status = adamoe_tokenizer_parse("FILE", text, strlen(text), &tokenizer);
    adamoe_tokenizer_close(tokenizer);
    return status;
}

/* The document with another value for one key, or with one key more. */
static adamoe_status parse_with(const char *key, const char *value)
{
    char *text = NULL;
    size_t length = 0;
    FILE *stream = open_memstream(&text, &length);
    assert_non_null(stream);
    bool known = false;
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        const bool replaced = strcmp(members[i].key, key) == 0;
        known = known || replaced;
        fprintf(stream, "%s\"%s\": %s", i == 0 ? "{" : ", ", members[i].key,
                replaced ? value : members[i].value);
    }
    if (!known) {
        fprintf(stream, ", \"%s\": %s", key, value);
    }
    fprintf(stream, "}");
    fclose(stream);
    const adamoe_status status = parse(text);
    free(text);
    return status;
}

typedef struct refusal {
    const char *value, *message;
} refusal;

/* Each value of the key gives exactly its message. */
static void check(const char *key, const refusal *refusals, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const adamoe_status status = parse_with(key, refusals[i].value);
        if (status.code != ADAMOE_BAD_INPUT || strcmp(status.message, refusals[i].message) != 0) {
            fail_msg("%s: %s\n gives %d \"%s\"\n not    \"%s\"", key, refusals[i].value, (int)status.code,
                     status.message, refusals[i].message);
        }
    }
}

#define CHECK(key, refusals) check(key, refusals, sizeof(refusals) / sizeof((refusals)[0]))

static void test_document(void **state)
{
    (void)state;
    assert_ok(parse_with("version", "\"1.0\""));
    assert_error(parse(""), ADAMOE_BAD_INPUT, "FILE: line 1 column 0: ");
    assert_error(parse("{\"version\": \"1.0\",\n \"model\": "), ADAMOE_BAD_INPUT, "FILE: line 2 column ");
    assert_error(parse("{\"model\": {}} x"), ADAMOE_BAD_INPUT,
                 "FILE: line 1 column 15: end of file expected");
    assert_error(parse("{\"model\": 1, \"model\": 2}"), ADAMOE_BAD_INPUT, "duplicate object key");
    assert_error(parse("{\"version\": \"\xFF\"}"), ADAMOE_BAD_INPUT, "unable to decode byte 0xff");
    assert_error(parse("[]"), ADAMOE_BAD_INPUT, "FILE: the document: not an object");
    assert_error(parse("{}"), ADAMOE_BAD_INPUT, "FILE: model: absent");
    assert_error(parse_with("version", "\"2.0\""), ADAMOE_BAD_INPUT, "FILE: version: not \"1.0\"");
    assert_error(parse_with("version", "1"), ADAMOE_BAD_INPUT, "FILE: version: not \"1.0\"");
    assert_error(parse_with("truncation", "512"), ADAMOE_BAD_INPUT, "FILE: truncation: not an object");
    assert_error(parse_with("padding", "[]"), ADAMOE_BAD_INPUT, "FILE: padding: not an object");
    assert_error(parse_with("extra", "1"), ADAMOE_BAD_INPUT,
                 "FILE: the document: the key \"extra\" is not implemented");
}

static void test_absent_file(void **state)
{
    (void)state;
    adamoe_tokenizer *tokenizer = NULL;
    assert_error(adamoe_tokenizer_open("/no/such/tokenizer.json", &tokenizer), ADAMOE_BAD_INPUT,
                 "/no/such/tokenizer.json: open: ");
    assert_null(tokenizer);
}

static void test_deep_nesting(void **state)
{
    (void)state;
    enum { DEPTH = 1 << 20 };
    char *text = malloc(DEPTH + 1);
    assert_non_null(text);
    memset(text, '[', DEPTH);
    text[DEPTH] = '\0';
    assert_error(parse(text), ADAMOE_BAD_INPUT, "maximum parsing depth reached");
    free(text);
    static const refusal refusals[] = {
        {"{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Sequence\", \"pretokenizers\": ["
         "{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Sequence\", \"pretokenizers\": ["
         "{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Sequence\", \"pretokenizers\": ["
         "{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Sequence\", \"pretokenizers\": ["
         "{\"type\": \"Sequence\", \"pretokenizers\": []}]}]}]}]}]}]}]}]}",
         "FILE: pre_tokenizer.pretokenizers[0].pretokenizers[0].pretokenizers[0].pretokenizers[0]."
         "pretokenizers[0].pretokenizers[0].pretokenizers[0].pretokenizers[0]: sequences nested deeper than "
         "8"},
    };
    CHECK("pre_tokenizer", refusals);
}

static void test_model(void **state)
{
    (void)state;
    static const refusal refusals[] = {
        {"null", "FILE: model: not an object"},
        {"{}", "FILE: model.type: absent"},
        {"{\"type\": \"Unigram\"}", "FILE: model: Unigram is not implemented"},
        {"{\"type\": \"WordPiece\"}", "FILE: model: WordPiece is not implemented"},
        {MODEL(VOCAB ", " MERGES ", \"extra\": 1"), "FILE: model: the key \"extra\" is not implemented"},
        {MODEL(VOCAB ", " MERGES ", \"dropout\": 0.1"), "FILE: model.dropout: not implemented"},
        {MODEL(VOCAB ", " MERGES ", \"continuing_subword_prefix\": \"##\""),
         "FILE: model.continuing_subword_prefix: not implemented"},
        {MODEL(VOCAB ", " MERGES ", \"end_of_word_suffix\": \"</w>\""),
         "FILE: model.end_of_word_suffix: not implemented"},
        {MODEL(VOCAB ", " MERGES ", \"byte_fallback\": 1"), "FILE: model.byte_fallback: not true or false"},
        {MODEL(VOCAB ", " MERGES ", \"fuse_unk\": \"no\""), "FILE: model.fuse_unk: not true or false"},
        {MODEL(VOCAB ", " MERGES ", \"ignore_merges\": 0"), "FILE: model.ignore_merges: not true or false"},
        {MODEL(VOCAB ", " MERGES ", \"unk_token\": 3"), "FILE: model.unk_token: not a string"},
    };
    CHECK("model", refusals);
    /* What is off is accepted, in every way to say so. */
    assert_ok(
        parse_with("model", MODEL(VOCAB ", " MERGES ", \"dropout\": 0.0, \"fuse_unk\": null, \"unk_token\": "
                                        "null, \"continuing_subword_prefix\": \"\", "
                                        "\"end_of_word_suffix\": null")));
}

static void test_vocabulary(void **state)
{
    (void)state;
    static const refusal refusals[] = {
        {MODEL(MERGES), "FILE: model.vocab: absent"},
        {MODEL("\"vocab\": [\"a\"], " MERGES), "FILE: model.vocab: not an object"},
        {MODEL("\"vocab\": {\"a\": -1}, " MERGES),
         "FILE: model.vocab: \"a\" has no id between 0 and 4194303"},
        {MODEL("\"vocab\": {\"a\": 1.0}, " MERGES),
         "FILE: model.vocab: \"a\" has no id between 0 and 4194303"},
        {MODEL("\"vocab\": {\"a\": 4194304}, " MERGES),
         "FILE: model.vocab: \"a\" has no id between 0 and 4194303"},
        {MODEL("\"vocab\": {\"a\": 9223372036854775807}, " MERGES),
         "FILE: model.vocab: \"a\" has no id between 0 and 4194303"},
        {MODEL("\"vocab\": {\"a\": 0, \"b\": 0}, " MERGES),
         "FILE: model.vocab: the id 0 is that of \"a\" already"},
    };
    CHECK("model", refusals);
    assert_error(parse_with("model", MODEL("\"vocab\": {\"a\": 0, \"a\": 1}, " MERGES)), ADAMOE_BAD_INPUT,
                 "duplicate object key");
    assert_ok(parse_with("model", MODEL("\"vocab\": {\"a\": 4194303}, \"merges\": []")));
}

static void test_merges(void **state)
{
    (void)state;
    static const refusal refusals[] = {
        {MODEL(VOCAB), "FILE: model.merges: absent"},
        {MODEL(VOCAB ", \"merges\": {}"), "FILE: model.merges: not a list"},
        {MODEL(VOCAB ", \"merges\": [\"a b\", \"ab\"]"),
         "FILE: model.merges[1]: not two tokens with a blank between"},
        {MODEL(VOCAB ", \"merges\": [\"a b c\"]"),
         "FILE: model.merges[0]: not two tokens with a blank between"},
        {MODEL(VOCAB ", \"merges\": [\" b\"]"), "FILE: model.merges[0]: not two tokens with a blank between"},
        {MODEL(VOCAB ", \"merges\": [\"a \"]"), "FILE: model.merges[0]: \"\" is not in the vocabulary"},
        {MODEL(VOCAB ", \"merges\": [7]"), "FILE: model.merges[0]: neither a string nor a list of two"},
        {MODEL(VOCAB ", \"merges\": [[\"a\"]]"), "FILE: model.merges[0]: neither a string nor a list of two"},
        {MODEL(VOCAB ", \"merges\": [[\"a\", 1]]"),
         "FILE: model.merges[0]: neither a string nor a list of two"},
        {MODEL(VOCAB ", \"merges\": [[\"a\", \"b\", \"a\"]]"),
         "FILE: model.merges[0]: neither a string nor a list of two"},
        {MODEL(VOCAB ", \"merges\": [\"a b\", [\"c\", \"a\"]]"),
         "FILE: model.merges[1]: \"c\" is not in the vocabulary"},
        {MODEL(VOCAB ", \"merges\": [\"a c\"]"), "FILE: model.merges[0]: \"c\" is not in the vocabulary"},
        {MODEL(VOCAB ", \"merges\": [\"b a\"]"), "FILE: model.merges[0]: \"ba\" is not in the vocabulary"},
    };
    CHECK("model", refusals);
}

/* Tokens made to fall on one place of the hash table are refused: each look-up would search all of them. */
static void test_colliding_vocabulary(void **state)
{
    (void)state;
    char *text = NULL;
    size_t length = 0;
    FILE *stream = open_memstream(&text, &length);
    assert_non_null(stream);
    fprintf(stream, "{\"type\": \"BPE\", \"merges\": [], \"vocab\": {");
    size_t id = 0;
    for (unsigned i = 0; id < 600; i++) {
        char content[16];
        const int bytes = snprintf(content, sizeof content, "%x", i);
        if (adamoe_vocabulary_hash((adamoe_view){content, (size_t)bytes}) % 2048 < 4) {
            fprintf(stream, "%s\"%s\": %zu", id == 0 ? "" : ", ", content, id);
            id++;
        }
    }
    fprintf(stream, "}}");
    fclose(stream);
    assert_error(parse_with("model", text), ADAMOE_BAD_INPUT,
                 "FILE: model.vocab: more than 512 tokens collide in the hash table");
    free(text);
}

static void test_normalizer(void **state)
{
    (void)state;
    static const refusal refusals[] = {
        {"\"NFC\"", "FILE: normalizer: not an object"},
        {"{}", "FILE: normalizer.type: absent"},
        {"{\"type\": 3}", "FILE: normalizer.type: not a string"},
        {"{\"type\": \"NFKC\"}", "FILE: normalizer: NFKC is not implemented"},
        {"{\"type\": \"NFC\", \"x\": 1}", "FILE: normalizer: the key \"x\" is not implemented"},
        {"{\"type\": \"Sequence\"}", "FILE: normalizer.normalizers: absent"},
        {"{\"type\": \"Sequence\", \"normalizers\": 1}", "FILE: normalizer.normalizers: not a list"},
        {"{\"type\": \"Sequence\", \"normalizers\": [], \"x\": 1}",
         "FILE: normalizer: the key \"x\" is not implemented"},
        {"{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Prepend\", \"prepend\": \"_\"}, "
         "{\"type\": \"Lowercase\"}]}",
         "FILE: normalizer.normalizers[1]: Lowercase is not implemented"},
        {"{\"type\": \"Prepend\"}", "FILE: normalizer.prepend: absent"},
        {"{\"type\": \"Prepend\", \"prepend\": 1}", "FILE: normalizer.prepend: not a string"},
        {"{\"type\": \"Prepend\", \"prepend\": \"\", \"x\": 1}",
         "FILE: normalizer: the key \"x\" is not implemented"},
        {"{\"type\": \"Replace\", \"content\": \"\"}", "FILE: normalizer.pattern: not an object"},
        {"{\"type\": \"Replace\", \"pattern\": {}, \"content\": \"\"}",
         "FILE: normalizer.pattern.String: absent"},
        {"{\"type\": \"Replace\", \"pattern\": {\"Regex\": \"a\"}, \"content\": \"\"}",
         "FILE: normalizer.pattern: the key \"Regex\" is not implemented"},
        {"{\"type\": \"Replace\", \"pattern\": {\"String\": \"\"}, \"content\": \"\"}",
         "FILE: normalizer.pattern: empty"},
        {"{\"type\": \"Replace\", \"pattern\": {\"String\": \"a\"}}", "FILE: normalizer.content: absent"},
    };
    CHECK("normalizer", refusals);
}

#define ADDED(id, content, word, normalized, special)                                                        \
    "{\"id\": " id ", \"content\": " content ", \"single_word\": " word ", \"lstrip\": false, \"rstrip\": "  \
    "false, \"normalized\": " normalized ", \"special\": " special "}"

static void test_added_tokens(void **state)
{
    (void)state;
    static const refusal refusals[] = {
        {"{}", "FILE: added_tokens: not a list"},
        {"[1]", "FILE: added_tokens[0]: not an object"},
        {"[{}]", "FILE: added_tokens[0].id: absent"},
        {"[{\"id\": 3, \"content\": \"x\", \"x\": 1}]",
         "FILE: added_tokens[0]: the key \"x\" is not implemented"},
        {"[{\"id\": 3}]", "FILE: added_tokens[0].content: absent"},
        {"[{\"id\": 3, \"content\": \"x\"}]", "FILE: added_tokens[0].single_word: absent"},
        {"[" ADDED("-1", "\"x\"", "false", "false", "true") "]", "FILE: added_tokens[0].id: not a token id"},
        {"[" ADDED("4194304", "\"x\"", "false", "false", "true") "]",
         "FILE: added_tokens[0].id: not a token id"},
        {"[" ADDED("3", "5", "false", "false", "true") "]", "FILE: added_tokens[0].content: not a string"},
        {"[" ADDED("3", "\"x\"", "0", "false", "true") "]",
         "FILE: added_tokens[0].single_word: not true or false"},
        {"[" ADDED("3", "\"x\"", "false", "false", "1") "]",
         "FILE: added_tokens[0].special: not true or false"},
        {"[" ADDED("3", "\"\"", "false", "false", "true") "]",
         "FILE: added_tokens[0]: a text of 0 or more than 256 bytes"},
        {"[" ADDED("4", "\"x\"", "false", "false", "true") "]",
         "FILE: added_tokens[0]: the id 4 where the vocabulary demands 3"},
        {"[" ADDED("2", "\"x\"", "false", "false", "true") "]",
         "FILE: added_tokens[0]: the id 2 where the vocabulary demands 3"},
        {"[" ADDED("1", "\"a\"", "false", "false", "true") "]",
         "FILE: added_tokens[0]: the id 1 where the vocabulary demands 0"},
        {"[" ADDED("3", "\"x\"", "false", "false", "true") ", " ADDED("4", "\"x\"", "false", "true",
                                                                      "true") "]",
         "FILE: added_tokens[1]: the text of id 3 is given twice"},
    };
    CHECK("added_tokens", refusals);
    assert_ok(parse_with("added_tokens", "[" ADDED("0", "\"a\"", "false", "false", "true") ", " ADDED(
                                             "3", "\"x\"", "true", "true", "false") "]"));
}

/* The longest text that is accepted has 256 bytes. */
static void test_length_of_added_tokens(void **state)
{
    (void)state;
    char content[300];
    char document[600];
    for (size_t length = 256; length <= 257; length++) {
        memset(content, 'x', length);
        content[length] = '\0';
        snprintf(
            document, sizeof document,
            "[{\"id\": 3, \"content\": \"%s\", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, "
            "\"normalized\": false, \"special\": false}]",
            content);
        if (length == 256) {
            assert_ok(parse_with("added_tokens", document));
        } else {
            assert_error(parse_with("added_tokens", document), ADAMOE_BAD_INPUT,
                         "FILE: added_tokens[0]: a text of 0 or more than 256 bytes");
        }
    }
}

/* A pattern is the normal form of a token; two may become one, and it may be empty. */
static void test_normalized_tokens(void **state)
{
    (void)state;
    assert_ok(parse("{\"normalizer\": {\"type\": \"Prepend\", \"prepend\": \"_\"}, \"added_tokens\": [" ADDED(
        "0", "\"a\"", "false", "true", "true") "], \"model\": " MODEL(VOCAB ", " MERGES) "}"));
    static const char replace[] =
        "{\"normalizer\": {\"type\": \"Replace\", \"pattern\": {\"String\": \"x\"}, \"content\": \"%s\"}, "
        "\"added_tokens\": [" ADDED("3", "\"x\"", "false", "true", "true") ", " ADDED(
            "4", "\"y\"", "false", "true", "true") "], \"model\": " MODEL(VOCAB ", " MERGES) "}";
    char text[1024];
    (void)snprintf(text, sizeof text, replace, "");
    assert_error(parse(text), ADAMOE_BAD_INPUT,
                 "FILE: added_tokens[0]: a normal form of 0 or more than 256 bytes");
    (void)snprintf(text, sizeof text, replace, "y");
    assert_error(parse(text), ADAMOE_BAD_INPUT,
                 "FILE: added_tokens: the ids 3 and 4 have the same normal form");
    (void)snprintf(text, sizeof text, replace, "z");
    assert_ok(parse(text));
}

/* What is not applied is said; ids out of order are those that the package gives. */
static void test_notes(void **state)
{
    (void)state;
    static const struct noted {
        const char *members, *note;
    } documents[] = {
        {"\"padding\": null, \"truncation\": null", ""},
        {"\"padding\": {\"strategy\": \"BatchLongest\"}", "padding is not applied"},
        {"\"padding\": {}, \"truncation\": {\"max_length\": 512}",
         "truncation is not applied; padding is not applied"},
        {"\"added_tokens\": [" ADDED("4", "\"x\"", "false", "false", "true") ", " ADDED("3", "\"y\"", "false",
                                                                                        "false", "true") "]",
         "added_tokens get their ids in the order of the list"},
        {"\"added_tokens\": [" ADDED("3", "\"x\"", "false", "false", "true") ", " ADDED(
             "1", "\"b\"", "false", "false", "true") ", " ADDED("4", "\"y\"", "false", "false", "true") "]",
         ""},
    };
    for (size_t i = 0; i < sizeof documents / sizeof documents[0]; i++) {
        char text[2048];
        adamoe_tokenizer *tokenizer = NULL;
        (void)snprintf(text, sizeof text, "\xEF\xBB\xBF{%s, \"model\": %s}", documents[i].members,
                       MODEL(VOCAB ", " MERGES));
        assert_ok(adamoe_tokenizer_parse("FILE", text, strlen(text), &tokenizer));
        assert_string_equal(adamoe_tokenizer_note(tokenizer), documents[i].note);
        uint32_t id;
        if (i == 3) {
            assert_true(adamoe_tokenizer_id(tokenizer, "x", &id) && id == 3);
            assert_true(adamoe_tokenizer_id(tokenizer, "y", &id) && id == 4);
        }
        adamoe_tokenizer_close(tokenizer);
    }
    static const refusal refusals[] = {
        {"[" ADDED("5", "\"x\"", "false", "false", "true") ", " ADDED("3", "\"y\"", "false", "false",
                                                                      "true") "]",
         "FILE: added_tokens[0]: the id 5 where the vocabulary demands 3"},
        {"[" ADDED("3", "\"x\"", "false", "false", "true") ", " ADDED("3", "\"y\"", "false", "false",
                                                                      "true") "]",
         "FILE: added_tokens[1]: the id 3 where the vocabulary demands 4"},
    };
    CHECK("added_tokens", refusals);
}

static void test_pre_tokenizer(void **state)
{
    (void)state;
    static const refusal refusals[] = {
        {"7", "FILE: pre_tokenizer: not an object"},
        {"{\"type\": \"Whitespace\"}", "FILE: pre_tokenizer: Whitespace is not implemented"},
        {"{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Digits\", \"individual_digits\": true}, "
         "{\"type\": \"Punctuation\", \"behavior\": \"Isolated\"}]}",
         "FILE: pre_tokenizer.pretokenizers[1]: Punctuation is not implemented"},
        {"{\"type\": \"ByteLevel\"}", "FILE: pre_tokenizer.add_prefix_space: absent"},
        {"{\"type\": \"ByteLevel\", \"add_prefix_space\": 1}",
         "FILE: pre_tokenizer.add_prefix_space: not true or false"},
        {"{\"type\": \"ByteLevel\", \"add_prefix_space\": true, \"use_regex\": \"\"}",
         "FILE: pre_tokenizer.use_regex: not true or false"},
        {"{\"type\": \"ByteLevel\", \"add_prefix_space\": true, \"x\": \"\"}",
         "FILE: pre_tokenizer: the key \"x\" is not implemented"},
        {"{\"type\": \"Digits\"}", "FILE: pre_tokenizer.individual_digits: absent"},
        {"{\"type\": \"Metaspace\"}", "FILE: pre_tokenizer.replacement: absent"},
        {"{\"type\": \"Metaspace\", \"replacement\": \"__\"}",
         "FILE: pre_tokenizer.replacement: not one character"},
        {"{\"type\": \"Metaspace\", \"replacement\": \"_\", \"prepend_scheme\": \"last\"}",
         "FILE: pre_tokenizer.prepend_scheme: \"last\" is not implemented"},
        {"{\"type\": \"Metaspace\", \"replacement\": \"_\", \"prepend_scheme\": 1}",
         "FILE: pre_tokenizer.prepend_scheme: not a string"},
        {"{\"type\": \"Metaspace\", \"replacement\": \"_\", \"add_prefix_space\": false}",
         "FILE: pre_tokenizer.prepend_scheme: disagrees with add_prefix_space"},
        {"{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Digits\", \"individual_digits\": true}, "
         "{\"type\": \"Metaspace\", \"replacement\": \"_\", \"prepend_scheme\": \"first\"}]}",
         "FILE: pre_tokenizer.pretokenizers[1]: prepend_scheme \"first\" after another step is not "
         "implemented"},
        {"{\"type\": \"Split\"}", "FILE: pre_tokenizer.behavior: absent"},
        {"{\"type\": \"Split\", \"behavior\": \"isolated\"}",
         "FILE: pre_tokenizer.behavior: \"isolated\" is not implemented"},
        {"{\"type\": \"Split\", \"behavior\": \"Removed\"}", "FILE: pre_tokenizer.invert: absent"},
        {"{\"type\": \"Split\", \"behavior\": \"Removed\", \"invert\": false}",
         "FILE: pre_tokenizer.pattern: not an object"},
        {"{\"type\": \"Split\", \"behavior\": \"Removed\", \"invert\": false, \"pattern\": {}}",
         "FILE: pre_tokenizer.pattern.String: absent"},
        {"{\"type\": \"Split\", \"behavior\": \"Removed\", \"invert\": false, \"pattern\": "
         "{\"Regex\": \"a\", \"String\": \"a\"}}",
         "FILE: pre_tokenizer.pattern: both a String and a Regex"},
        {"{\"type\": \"Split\", \"behavior\": \"Removed\", \"invert\": false, \"pattern\": {\"String\": "
         "\"\"}}",
         "FILE: pre_tokenizer.pattern: the pattern: empty"},
    };
    CHECK("pre_tokenizer", refusals);
}

static void test_first_after_normalizer(void **state)
{
    (void)state;
    static const char text[] =
        "{\"normalizer\": {\"type\": \"Prepend\", \"prepend\": \"_\"}, \"pre_tokenizer\": {\"type\": "
        "\"Metaspace\", "
        "\"replacement\": \"_\", \"prepend_scheme\": \"first\"}, \"model\": " MODEL(VOCAB ", " MERGES) "}";
    assert_error(parse(text), ADAMOE_BAD_INPUT,
                 "FILE: pre_tokenizer: prepend_scheme \"first\" after another step is not implemented");
}

/* The patterns are written as in JSON, where a backslash is doubled. */
static adamoe_status parse_pattern(const char *pattern)
{
    char value[512];
    snprintf(value, sizeof value,
             "{\"type\": \"Split\", \"behavior\": \"Isolated\", \"invert\": false, \"pattern\": {\"Regex\": "
             "\"%s\"}}",
             pattern);
    return parse_with("pre_tokenizer", value);
}

static void test_patterns(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *reason;
    } refused[] = {
        {"a^b", "byte 2 of the pattern: an anchor is not implemented"},
        {"ab$", "byte 3 of the pattern: an anchor is not implemented"},
        {"\\\\w", "byte 1 of the pattern: this escape is not implemented"},
        {"a\\\\b", "byte 2 of the pattern: this escape is not implemented"},
        {"(a)\\\\1", "byte 4 of the pattern: this escape is not implemented"},
        {"\\\\x41", "byte 1 of the pattern: this escape is not implemented"},
        {"[\\\\h]", "byte 2 of the pattern: this escape is not implemented"},
        {"\\\\K", "byte 1 of the pattern: this escape is not implemented"},
        {"a\\\\", "byte 2 of the pattern: this escape is not implemented"},
        {"\\\\p{Han}", "byte 1 of the pattern: a property that is not a general category is not implemented"},
        {"x\\\\pL", "byte 2 of the pattern: a property that is not a general category is not implemented"},
        {"\\\\p{L&}", "byte 1 of the pattern: a property that is not a general category is not implemented"},
        {"\\\\p{^}", "byte 1 of the pattern: a property that is not a general category is not implemented"},
        {"\\\\p{L", "byte 1 of the pattern: a property that is not a general category is not implemented"},
        {"[a", "byte 3 of the pattern: an open class, or a class in a class, is not implemented"},
        {"[a[b]]", "byte 3 of the pattern: an open class, or a class in a class, is not implemented"},
        {"[[:alpha:]]", "byte 2 of the pattern: an open class, or a class in a class, is not implemented"},
        {"[a&&b]", "byte 3 of the pattern: an open class, or a class in a class, is not implemented"},
        {"[]a]", "byte 2 of the pattern: a class that begins with ] is not implemented"},
        {"[^]a]", "byte 3 of the pattern: a class that begins with ] is not implemented"},
        {"(?<name>a)", "byte 1 of the pattern: this kind of group is not implemented"},
        {"(?m:a)", "byte 1 of the pattern: this kind of group is not implemented"},
        {"(*FAIL)", "byte 1 of the pattern: this kind of group is not implemented"},
        {"(?#a)", "byte 1 of the pattern: this kind of group is not implemented"},
        {"(?R)", "byte 1 of the pattern: this kind of group is not implemented"},
        {"a{,3}", "byte 2 of the pattern: this interval is not implemented"},
        {"a{3", "byte 2 of the pattern: this interval is not implemented"},
        {"a{3}+", "byte 2 of the pattern: this interval is not implemented"},
        {"a{1,2}?", "byte 2 of the pattern: this interval is not implemented"},
        {"(a", "the pattern: missing closing parenthesis"},
        {"+", "the pattern: quantifier does not follow a repeatable item"},
        {"[z-a]", "the pattern: range out of order in character class"},
        {"a*", "the pattern: may match an empty text"},
        {"a|", "the pattern: may match an empty text"},
        {"(?=a)", "the pattern: may match an empty text"},
        {"", "the pattern: empty"},
    };
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        char message[256];
        snprintf(message, sizeof message, "FILE: pre_tokenizer.pattern: %s", refused[i].reason);
        const adamoe_status status = parse_pattern(refused[i].pattern);
        if (status.code != ADAMOE_BAD_INPUT || strcmp(status.message, message) != 0) {
            fail_msg("%s gives \"%s\", not \"%s\"", refused[i].pattern, status.message, message);
        }
    }
    assert_ok(parse_pattern(
        "(?i:'s)|[^\\\\r\\\\n\\\\p{Lu}\\\\p{N}\\\\-]++|\\\\p{^L}{2,}|a{1,3}(?!\\\\S)|(?<=x).|\\\\."));
}

#define TEMPLATE(single, special)                                                                            \
    "{\"type\": \"TemplateProcessing\", \"single\": " single ", \"pair\": [], \"special_tokens\": " special  \
    "}"
#define SEQUENCE_A "{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}"
#define SPECIAL_S  "{\"SpecialToken\": {\"id\": \"<s>\", \"type_id\": 0}}"

static void test_post_processor(void **state)
{
    (void)state;
    static const refusal refusals[] = {
        {"[]", "FILE: post_processor: not an object"},
        {"{\"type\": \"BertProcessing\"}", "FILE: post_processor: BertProcessing is not implemented"},
        {"{\"type\": \"ByteLevel\", \"x\": 1}", "FILE: post_processor: the key \"x\" is not implemented"},
        {TEMPLATE("1", "{}"), "FILE: post_processor.single: not a list"},
        {TEMPLATE("[]", "{}"), "FILE: post_processor.single: the sequence A is missing"},
        {TEMPLATE("[1]", "{}"), "FILE: post_processor.single[0]: not an object"},
        {TEMPLATE("[{}]", "{}"), "FILE: post_processor.single[0].id: absent"},
        {TEMPLATE("[{\"Text\": 1}]", "{}"),
         "FILE: post_processor.single[0]: the key \"Text\" is not implemented"},
        {TEMPLATE("[{\"Sequence\": {\"id\": \"B\", \"type_id\": 0}}]", "{}"),
         "FILE: post_processor.single[0]: a template for one text holds the sequence A once"},
        {TEMPLATE("[" SEQUENCE_A ", " SEQUENCE_A "]", "{}"),
         "FILE: post_processor.single[1]: a template for one text holds the sequence A once"},
        {TEMPLATE("[" SEQUENCE_A ", " SPECIAL_S "]", "{}"),
         "FILE: post_processor.single[1]: special_tokens has no list of ids for \"<s>\""},
        {TEMPLATE("[" SPECIAL_S ", " SEQUENCE_A "]", "{\"<s>\": {\"ids\": [0, 3]}}"),
         "FILE: post_processor.single[0]: \"<s>\" has an id that no token has"},
        {TEMPLATE("[" SPECIAL_S ", " SEQUENCE_A "]", "{\"<s>\": {\"ids\": [-1]}}"),
         "FILE: post_processor.single[0]: \"<s>\" has an id that no token has"},
        {TEMPLATE("[" SPECIAL_S ", " SEQUENCE_A "]", "{\"<s>\": {\"ids\": [4294967296]}}"),
         "FILE: post_processor.single[0]: \"<s>\" has an id that no token has"},
        {"{\"type\": \"Sequence\", \"processors\": [" TEMPLATE("[" SEQUENCE_A "]", "{}") ", " TEMPLATE(
             "[" SEQUENCE_A "]", "{}") "]}",
         "FILE: post_processor.processors[1]: a second template is not implemented"},
    };
    CHECK("post_processor", refusals);
    assert_ok(parse_with("post_processor",
                         TEMPLATE("[" SPECIAL_S ", " SEQUENCE_A "]", "{\"<s>\": {\"ids\": [0, 2]}}")));
}

static void test_decoder(void **state)
{
    (void)state;
    static const refusal refusals[] = {
        {"1", "FILE: decoder: not an object"},
        {"{\"type\": \"WordPiece\"}", "FILE: decoder: WordPiece is not implemented"},
        {"{\"type\": \"Sequence\", \"decoders\": [{\"type\": \"Fuse\"}, {\"type\": \"CTC\"}]}",
         "FILE: decoder.decoders[1]: CTC is not implemented"},
        {"{\"type\": \"Fuse\", \"x\": 1}", "FILE: decoder: the key \"x\" is not implemented"},
        {"{\"type\": \"ByteFallback\", \"x\": 1}", "FILE: decoder: the key \"x\" is not implemented"},
        {"{\"type\": \"ByteLevel\", \"x\": 1}", "FILE: decoder: the key \"x\" is not implemented"},
        {"{\"type\": \"Strip\", \"content\": \"ab\", \"start\": 1, \"stop\": 0}",
         "FILE: decoder.content: not one character"},
        {"{\"type\": \"Strip\", \"content\": \"a\", \"stop\": 0}", "FILE: decoder.start: absent"},
        {"{\"type\": \"Strip\", \"content\": \"a\", \"start\": 1, \"stop\": -1}",
         "FILE: decoder.stop: not a number of characters"},
        {"{\"type\": \"Replace\", \"pattern\": {\"String\": \"\"}, \"content\": \"\"}",
         "FILE: decoder.pattern: empty"},
        {"{\"type\": \"Metaspace\", \"replacement\": \"\"}", "FILE: decoder.replacement: not one character"},
        {"{\"type\": \"Metaspace\", \"replacement\": \"_\", \"prepend_scheme\": \"\"}",
         "FILE: decoder.prepend_scheme: \"\" is not implemented"},
    };
    CHECK("decoder", refusals);
}

/* Seventeen parts, where sixteen are allowed. */
static void test_number_of_parts(void **state)
{
    (void)state;
    static const struct {
        const char *key, *list, *part, *message;
    } kinds[] = {
        {"normalizer", "normalizers", "{\"type\": \"Prepend\", \"prepend\": \"\"}",
         "FILE: normalizer.normalizers[16]: more than 16 normalizers"},
        {"pre_tokenizer", "pretokenizers", "{\"type\": \"Digits\", \"individual_digits\": true}",
         "FILE: pre_tokenizer.pretokenizers[16]: more than 16 pre-tokenizers"},
        {"decoder", "decoders", "{\"type\": \"Fuse\"}", "FILE: decoder.decoders[16]: more than 16 decoders"},
    };
    for (size_t kind = 0; kind < sizeof kinds / sizeof kinds[0]; kind++) {
        for (size_t count = 16; count <= 17; count++) {
            char *value = NULL;
            size_t length = 0;
            FILE *stream = open_memstream(&value, &length);
            assert_non_null(stream);
            fprintf(stream, "{\"type\": \"Sequence\", \"%s\": [", kinds[kind].list);
            for (size_t i = 0; i < count; i++) {
                fprintf(stream, "%s%s", i == 0 ? "" : ", ", kinds[kind].part);
            }
            fprintf(stream, "]}");
            fclose(stream);
            if (count == 16) {
                assert_ok(parse_with(kinds[kind].key, value));
            } else {
                assert_error(parse_with(kinds[kind].key, value), ADAMOE_BAD_INPUT, kinds[kind].message);
            }
            free(value);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_document),
        cmocka_unit_test(test_absent_file),
        cmocka_unit_test(test_deep_nesting),
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_vocabulary),
        cmocka_unit_test(test_merges),
        cmocka_unit_test(test_colliding_vocabulary),
        cmocka_unit_test(test_normalizer),
        cmocka_unit_test(test_added_tokens),
        cmocka_unit_test(test_length_of_added_tokens),
        cmocka_unit_test(test_normalized_tokens),
        cmocka_unit_test(test_notes),
        cmocka_unit_test(test_pre_tokenizer),
        cmocka_unit_test(test_first_after_normalizer),
        cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_post_processor),
        cmocka_unit_test(test_decoder),
        cmocka_unit_test(test_number_of_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * tokenizer.json: byte-pair encoding with byte fallback and metaspace, `<s>` in front of every text.
 */
#include "generate/tokenizer_file.h"
#include "generate/json_print.h"

#include <stdlib.h>
#include <string.h>

/* Everything but the model: what the `tokenizers` package expects of this kind. */
static const char frame[] =
    "{\"version\": \"1.0\", \"truncation\": null, \"padding\": null, \"added_tokens\": ["
    "  {\"id\": 0, \"content\": \"<unk>\", \"single_word\": false, \"lstrip\": false, \"rstrip\": false,"
    "   \"normalized\": false, \"special\": true},"
    "  {\"id\": 1, \"content\": \"<s>\", \"single_word\": false, \"lstrip\": false, \"rstrip\": false,"
    "   \"normalized\": false, \"special\": true},"
    "  {\"id\": 2, \"content\": \"</s>\", \"single_word\": false, \"lstrip\": false, \"rstrip\": false,"
    "   \"normalized\": false, \"special\": true}],"
    " \"normalizer\": {\"type\": \"Sequence\", \"normalizers\": ["
    "  {\"type\": \"Prepend\", \"prepend\": \"\xe2\x96\x81\"},"
    "  {\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}, \"content\": \"\xe2\x96\x81\"}]},"
    " \"pre_tokenizer\": null,"
    " \"post_processor\": {\"type\": \"TemplateProcessing\","
    "  \"single\": [{\"SpecialToken\": {\"id\": \"<s>\", \"type_id\": 0}},"
    "   {\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}],"
    "  \"pair\": [{\"SpecialToken\": {\"id\": \"<s>\", \"type_id\": 0}},"
    "   {\"Sequence\": {\"id\": \"A\", \"type_id\": 0}},"
    "   {\"SpecialToken\": {\"id\": \"<s>\", \"type_id\": 1}},"
    "   {\"Sequence\": {\"id\": \"B\", \"type_id\": 1}}],"
    "  \"special_tokens\": {\"<s>\": {\"id\": \"<s>\", \"ids\": [1], \"tokens\": [\"<s>\"]}}},"
    " \"decoder\": {\"type\": \"Sequence\", \"decoders\": ["
    "  {\"type\": \"Replace\", \"pattern\": {\"String\": \"\xe2\x96\x81\"}, \"content\": \" \"},"
    "  {\"type\": \"ByteFallback\"}, {\"type\": \"Fuse\"},"
    "  {\"type\": \"Strip\", \"content\": \" \", \"start\": 1, \"stop\": 0}]},"
    " \"model\": {\"type\": \"BPE\", \"dropout\": null, \"unk_token\": \"<unk>\","
    "  \"continuing_subword_prefix\": null, \"end_of_word_suffix\": null, \"fuse_unk\": true,"
    "  \"byte_fallback\": true}}";

static bool add_token(json_t *vocabulary, const char *text)
{
    return json_object_set_new(vocabulary, text, json_integer((json_int_t)json_object_size(vocabulary))) == 0;
}

static bool add_tokens(json_t *vocabulary, const adamoe_byte_pairs *pairs)
{
    bool added =
        add_token(vocabulary, "<unk>") && add_token(vocabulary, "<s>") && add_token(vocabulary, "</s>");
    for (unsigned byte = 0; byte < 256 && added; byte++) {
        char text[8];
        (void)snprintf(text, sizeof text, "<0x%02X>", byte);
        added = add_token(vocabulary, text);
    }
    for (size_t i = pairs->characters; i < pairs->pieces && added; i++) {
        added = add_token(vocabulary, pairs->piece[i].text);
    }
    for (size_t i = 0; i < pairs->characters && added; i++) {
        added = add_token(vocabulary, pairs->piece[i].text);
    }
    return added;
}

static bool add_merges(json_t *merges, const adamoe_byte_pairs *pairs)
{
    bool added = true;
    for (size_t i = 0; i < pairs->merges && added; i++) {
        const adamoe_merge *merge = &pairs->merge[i];
        added = json_array_append_new(merges, json_sprintf("%s %s", pairs->piece[merge->left].text,
                                                           pairs->piece[merge->right].text)) == 0;
    }
    return added;
}

adamoe_status adamoe_tokenizer_file_write(const char *path, const adamoe_byte_pairs *pairs)
{
    json_t *document = json_loads(frame, 0, NULL);
    json_t *model = json_object_get(document, "model");
    json_t *vocabulary = json_object(), *merges = json_array();
    bool complete = add_tokens(vocabulary, pairs) && add_merges(merges, pairs);
    /* Both are taken over, also where that fails. */
    complete = json_object_set_new(model, "vocab", vocabulary) == 0 && complete;
    complete = json_object_set_new(model, "merges", merges) == 0 && complete;
    if (!complete) {
        json_decref(document);
        return adamoe_error(ADAMOE_ENVIRONMENT, "%s: json: out of memory", path);
    }
    return adamoe_json_print_file(path, document);
}

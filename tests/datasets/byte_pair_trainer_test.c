/*
 * Learning byte pairs: small texts whose merges follow by hand.
 */
#include "test.h"
#include "generate/byte_pair_trainer.h"

static adamoe_byte_pairs *train(const char *first, const char *second, size_t pieces)
{
    const char *const text[] = {first, second};
    adamoe_byte_pairs *pairs;
    assert_ok(adamoe_byte_pairs_train(text, second == NULL ? 1 : 2, pieces, &pairs));
    return pairs;
}

static void check_pieces(const adamoe_byte_pairs *pairs, const char *const *expected, size_t count)
{
    assert_int_equal(pairs->pieces, count);
    for (size_t i = 0; i < count; i++) {
        assert_string_equal(pairs->piece[i].text, expected[i]);
    }
}

/* By hand, with _ for U+2581: the words are _low twice and _lower once. (_,l), (l,o) and (o,w) stand three
 * times; (l,o) has the lowest indices. Then (_,lo) and (lo,w) stand three times, and _ is index 5,
 * lo is 6. At last (_lo,w); (w,e) and (e,r) stand once and are left alone. */
static void test_merges_by_hand(void **state)
{
    (void)state;
    static const char *const expected[] = {
        "e", "l", "o", "r", "w", "\342\226\201", "lo", "\342\226\201lo", "\342\226\201low"};
    adamoe_byte_pairs *pairs = train("low low", "lower", 100);
    check_pieces(pairs, expected, 9);
    assert_int_equal(pairs->characters, 6);
    assert_int_equal(pairs->merges, 3);
    static const adamoe_merge merges[] = {{1, 2, 6}, {5, 6, 7}, {7, 4, 8}};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(pairs->merge[i].left, merges[i].left);
        assert_int_equal(pairs->merge[i].right, merges[i].right);
        assert_int_equal(pairs->merge[i].result, merges[i].result);
    }
    adamoe_byte_pairs_free(pairs);
}

/* A word's blank belongs to it; digits and signs stand alone, however often they stand together. */
static void test_words(void **state)
{
    (void)state;
    static const char *const expected[] = {
        "!", "1", "?", "a", "\303\251", "\342\226\201", "a\303\251", "\342\226\201a\303\251"};
    adamoe_byte_pairs *pairs = train("a\303\251?!11 11?! a\303\251\n", "?!  a\303\251", 100);
    check_pieces(pairs, expected, 8);
    adamoe_byte_pairs_free(pairs);
}

/* "aaaa...": runs merge from the left, and no piece is longer than 16 characters. */
static void test_longest_piece(void **state)
{
    (void)state;
    char text[101] = {0};
    memset(text, 'a', 100);
    adamoe_byte_pairs *pairs = train(text, NULL, 100);
    size_t longest = 0;
    for (size_t i = 0; i < pairs->pieces; i++) {
        const size_t more_bytes = pairs->piece[i].text[0] == 'a' ? 0 : 2; /* the metaspace has three */
        assert_int_equal(pairs->piece[i].characters + more_bytes, strlen(pairs->piece[i].text));
        longest = pairs->piece[i].characters > longest ? pairs->piece[i].characters : longest;
    }
    assert_int_equal(longest, 16);
    adamoe_byte_pairs_free(pairs);
}

static void test_target(void **state)
{
    (void)state;
    adamoe_byte_pairs *pairs = train("low low", "lower", 7);
    assert_int_equal(pairs->pieces, 7);
    assert_int_equal(pairs->merges, 1);
    adamoe_byte_pairs_free(pairs);
    const char *const text[] = {"lower"};
    assert_error(adamoe_byte_pairs_train(text, 1, 5, &pairs), ADAMOE_BAD_INPUT,
                 "vocabulary: the texts hold more than 5 different characters");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_merges_by_hand),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_longest_piece),
        cmocka_unit_test(test_target),
    };
    return cmocka_run_group_tests_name("byte_pair_trainer", tests, NULL, NULL);
}

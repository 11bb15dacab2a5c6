/*
 * Stored numbers and operand rounding: exhaustively where there are few values, otherwise at the boundaries.
 */
#include "test.h"
#include "numbers.h"

static uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* Every half-precision value is what its definition says: (-1)^s 2^(e-15) 1.f, or 2^-14 0.f for e = 0. */
static void every_f16_widens_to_its_value(void **state)
{
    (void)state;
    for (unsigned bits = 0; bits < 0x10000u; ++bits) {
        const unsigned exponent = bits >> 10 & 31u, fraction = bits & 1023u;
        const float got = adamoe_f16_to_float((uint16_t)bits);
        if (exponent == 31) {
            assert_true(fraction == 0 ? isinf(got) : isnan(got));
            continue;
        }
        const double magnitude =
            exponent == 0 ? ldexp(fraction, -24) : ldexp(1024 + fraction, (int)exponent - 25);
        assert_true((double)got == ((bits & 0x8000u) != 0 ? -magnitude : magnitude));
        assert_int_equal(bits_of(got) >> 31, bits >> 15);
        assert_int_equal(adamoe_float_to_f16(got), bits); /* and narrows back to itself */
    }
}

static void every_bf16_survives_the_way_there_and_back(void **state)
{
    (void)state;
    for (unsigned bits = 0; bits < 0x10000u; ++bits) {
        const float value = adamoe_bf16_to_float((uint16_t)bits);
        assert_int_equal(bits_of(value), bits << 16);
        if (isnan(value)) {
            assert_true(isnan(adamoe_bf16_to_float(adamoe_float_to_bf16(value))));
        } else {
            assert_int_equal(adamoe_float_to_bf16(value), bits);
        }
    }
}

static void narrowing_rounds_to_nearest_even(void **state)
{
    (void)state;
    assert_int_equal(adamoe_float_to_bf16(1.0f + 0x1p-8f), 0x3f80);           /* a tie: down to even */
    assert_int_equal(adamoe_float_to_bf16(1.0f + 0x1p-7f + 0x1p-8f), 0x3f82); /* a tie: up to even */
    assert_int_equal(adamoe_float_to_bf16(1.0f + 0x1p-8f + 0x1p-20f), 0x3f81);
    assert_int_equal(adamoe_float_to_bf16(3.4e38f), 0x7f80); /* beyond the largest: infinity */
    assert_int_equal(adamoe_float_to_f16(1.0f + 0x1p-11f), 0x3c00);
    assert_int_equal(adamoe_float_to_f16(1.0f + 0x1p-10f + 0x1p-11f), 0x3c02);
    assert_int_equal(adamoe_float_to_f16(65519.0f), 0x7bff);
    assert_int_equal(adamoe_float_to_f16(65520.0f), 0x7c00);
    assert_int_equal(adamoe_float_to_f16(0x1p-25f), 0x0000); /* half the smallest: a tie, down to even */
    assert_int_equal(adamoe_float_to_f16(0x1.8p-24f), 0x0002);
    assert_int_equal(adamoe_float_to_f16(-0.0f), 0x8000);
    assert_int_equal(adamoe_float_to_f16(0x1.ffcp-15f + 0x1p-26f),
                     0x0400); /* a subnormal that rounds to normal */
}

static void unaligned_elements_are_read(void **state)
{
    (void)state;
    unsigned char bytes[13];
    const float values[3] = {1.5f, -2.25f, 3.0f};
    memcpy(bytes + 1, values, sizeof values);
    const adamoe_matrix matrix = {bytes + 1, ADAMOE_F32, 1, 3};
    double row[3];
    adamoe_matrix_row(&matrix, 0, row);
    assert_true(row[0] == 1.5 && row[1] == -2.25 && row[2] == 3.0);
}

static void int8_uses_one_scale_and_rounds_half_to_even(void **state)
{
    (void)state;
    double values[] = {127.0, -127.0, 2.5, 3.5, -2.5, 0.4, 0.0}; /* scale 1 */
    const double expected[] = {127.0, -127.0, 2.0, 4.0, -2.0, 0.0, 0.0};
    adamoe_round_operand(ADAMOE_INT8, values, 7);
    for (size_t i = 0; i < 7; ++i) {
        assert_true(values[i] == expected[i]);
    }
    double subnormal[] = {190 * 0x1p-149, -190 * 0x1p-149, 3 * 0x1p-149}; /* scale 1.496 -> 1 of 2^-149 */
    adamoe_round_operand(ADAMOE_INT8, subnormal, 3);
    assert_true(subnormal[0] == 127 * 0x1p-149 && subnormal[1] == -127 * 0x1p-149);
    assert_true(subnormal[2] == 3 * 0x1p-149);
    double zeros[] = {0.0, -0.0};
    adamoe_round_operand(ADAMOE_INT8, zeros, 2);
    assert_true(zeros[0] == 0.0 && zeros[1] == 0.0);
}

static void other_operands(void **state)
{
    (void)state;
    double value = 1.0 + 0x1p-30;
    adamoe_round_operand(ADAMOE_FLOAT64, &value, 1);
    assert_true(value == 1.0 + 0x1p-30);
    adamoe_round_operand(ADAMOE_FLOAT32, &value, 1);
    assert_true(value == 1.0);
    value = 1.0 + 0x1p-7 + 0x1p-8;
    adamoe_round_operand(ADAMOE_BFLOAT16, &value, 1);
    assert_true(value == 1.0 + 0x1p-6);
}

static void bytes_of_an_operand(void **state)
{
    (void)state;
    assert_int_equal(adamoe_arithmetic_bytes(ADAMOE_INT8), 1);
    assert_int_equal(adamoe_arithmetic_bytes(ADAMOE_BFLOAT16), 2);
    assert_int_equal(adamoe_arithmetic_bytes(ADAMOE_FLOAT32), 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_f16_widens_to_its_value),
        cmocka_unit_test(every_bf16_survives_the_way_there_and_back),
        cmocka_unit_test(narrowing_rounds_to_nearest_even),
        cmocka_unit_test(unaligned_elements_are_read),
        cmocka_unit_test(int8_uses_one_scale_and_rounds_half_to_even),
        cmocka_unit_test(other_operands),
        cmocka_unit_test(bytes_of_an_operand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * The kind `model`: a small model on the kernel.
 */
#include "check/cases/models.h"
#include "check/cases/words.h"
#include "check/kinds/kinds.h"
#include "check/kinds/needs.h"
#include "check/tiers/tiers.h"

static void print(const adamoe_case *c, adamoe_case_name *name)
{
    adamoe_name_append(name, "%s", adamoe_check_model_names[c->model]);
}

static bool parse(const char *text, adamoe_case *c)
{
    return adamoe_name_take_word(&text, "", adamoe_check_model_names, ADAMOE_CHECK_MODELS, &c->model);
}

static bool fits(const adamoe_case *c)
{
    return c->model < ADAMOE_CHECK_MODELS;
}

static adamoe_status list_all(adamoe_case_list *list, const adamoe_tiles *tiles, bool exhaustive)
{
    (void)tiles, (void)exhaustive;
    for (size_t i = 0; i < ADAMOE_CHECK_MODELS; ++i) {
        ADAMOE_TRY(adamoe_case_list_add(list, (adamoe_case){.model = i}));
    }
    return adamoe_ok();
}

const adamoe_case_kind adamoe_kind_model = {
    .name = "",
    .print = print,
    .parse = parse,
    .fits = fits,
    .list = list_all,
    .missing = adamoe_missing_product,
    .run = {[ADAMOE_TIER_MODEL] = adamoe_check_model_tier},
};

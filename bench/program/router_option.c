/*
 * See router_option.h.
 */
#include "program/router_option.h"
#include "layers/router_setup.h"

#include <string.h>

enum { OPTION_ROUTER = 0x2000, OPTION_SET };

static const struct argp_option options_list[] = {
    {"router", OPTION_ROUTER, "NAME", 0, "Route by this one (`adamoe routers' lists them)", 0},
    {"set", OPTION_SET, "PARAMETER=VALUE", 0, "Changes a parameter of the router; several times", 0},
    {0},
};

static void take_setting(struct argp_state *state, const char *text, adamoe_router_option *option)
{
    if (strchr(text, '=') == NULL || text[0] == '=') {
        argp_error(state, "--set: `%s' is not PARAMETER=VALUE", text);
    } else if (option->settings == ADAMOE_ROUTER_SETTINGS) {
        argp_error(state, "--set: more than %d", ADAMOE_ROUTER_SETTINGS);
    } else {
        option->set[option->settings++] = text;
    }
}

static error_t parse_option(int key, char *value, struct argp_state *state)
{
    adamoe_router_option *option = state->input;
    switch (key) {
    case OPTION_ROUTER:
        option->router = adamoe_router_find(value);
        if (option->router == NULL) {
            argp_error(state, "--router: no router is called `%s'", value);
        }
        return 0;
    case OPTION_SET:
        take_setting(state, value, option);
        return 0;
    case ARGP_KEY_END:
        if (option->router == NULL && option->settings > 0) {
            argp_error(state, "--set goes with --router");
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

const struct argp adamoe_router_argp = {.options = options_list, .parser = parse_option};

static adamoe_status set_values(const adamoe_router_option *option, double *value)
{
    for (size_t i = 0; i < option->settings; ++i) {
        char name[64];
        const size_t length = strcspn(option->set[i], "=");
        (void)snprintf(name, sizeof name, "%.*s", (int)(length < 63 ? length : 63), option->set[i]);
        const adamoe_status status =
            adamoe_router_set(option->router, value, name, option->set[i] + length + 1);
        if (status.code != ADAMOE_OK) {
            return adamoe_error(status.code, "--set: %.400s", status.message);
        }
    }
    return adamoe_ok();
}

adamoe_status adamoe_router_option_create(const adamoe_router_option *option,
                                          const adamoe_selection_options *selection, const adamoe_config *config,
                                          size_t top_k, adamoe_model_router *out)
{
    double value[ADAMOE_ROUTER_PARAMETERS];
    if (config->architecture.dense) {
        return adamoe_error(ADAMOE_BAD_INPUT, "--router: a dense model has no router");
    }
    if (adamoe_selection_given(selection)) {
        return adamoe_error(ADAMOE_BAD_INPUT,
                            "--router: --top-k, --norm and --null-kind are parameters of the "
                            "router (--set), which says how many rows gate2 has");
    }
    adamoe_router_usual_model_parameters(option->router, top_k, config->experts, value);
    ADAMOE_TRY(set_values(option, value));
    return adamoe_model_router_create(option->router, value, config->layers, config->experts,
                                      config->null_experts, out);
}

/*
 * The modes that a watched task must leave as it found them: tiles of AMX that were not released are found, said and
 * taken back, on whatever thread. The tiles are those in software, which every processor has.
 */
#include "test.h"
#include "amx/software_tiles.h"
#include "check/call/state.h"
#include "machine/team.h"

#define THREADS 3

static const adamoe_tile_config config = {.palette = 1, .row_bytes = {64}, .rows = {16}};

static void release_tiles(void *context, size_t i, uint32_t thread)
{
    (void)context;
    (void)i;
    (void)thread;
    adamoe_tile_loadconfig(&config);
    adamoe_tile_release();
}

static void leave_tiles(void *context, size_t i, uint32_t thread)
{
    (void)thread;
    adamoe_tile_loadconfig(&config);
    if (i != *(const size_t *)context) {
        adamoe_tile_release();
    }
}

static unsigned changed_by(void (*task)(void *context, size_t i, uint32_t thread), size_t task_that_leaves)
{
    adamoe_team *team = NULL;
    adamoe_watched_team watched;
    assert_ok(adamoe_team_create(THREADS, &team));
    adamoe_watch_team(team, &watched);
    watched.team.run(watched.team.state, 20, task, &task_that_leaves);
    adamoe_team_free(team);
    return atomic_load(&watched.changed);
}

static void tiles_left_in_use_are_found(void **state)
{
    (void)state;
    char text[128];
    assert_int_equal(changed_by(release_tiles, 0), 0);
    for (size_t i = 0; i < 20; ++i) {
        const unsigned changed = changed_by(leave_tiles, i);
        assert_int_equal(changed, ADAMOE_STATE_TILES);
        assert_int_equal(adamoe_software_tiles_unreleased(), 0); /* the watch took them back */
        adamoe_control_state_describe(changed, text, sizeof text);
        assert_string_equal(text, "tiles of AMX in use");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tiles_left_in_use_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * The tier `property`: objects over time. One is called some three hundred times in the same buffers, and nothing of the
 * process grows meanwhile; several are alive, are called in turn, inside each other's calls and at once, and are
 * released one by one. Each call gives what a fresh object gives.
 */
#include "check/tiers/lifetime.h"
#include "check/tiers/repeated.h"
#include "check/tiers/tiers.h"

#include <pthread.h>
#include <stdlib.h>

/* ------------------------------------------------------------------------------------------ one, many times */

/* More calls than a byte counts. */
enum { CALLS_OF_A_ROUND = 60, FRESH_OF_A_ROUND = 6 };

static adamoe_status fresh_round(void *context, bool *go_on)
{
    adamoe_lifetime *t = context;
    for (size_t i = 0; i < FRESH_OF_A_ROUND && *go_on; ++i) {
        ADAMOE_TRY(adamoe_lifetime_fresh(t, i % t->calls, false, t->got, go_on));
    }
    return adamoe_ok();
}

/* The first reading comes after a round, so that what is kept for each size is there. */
static adamoe_status repeat_fresh(adamoe_lifetime *t, bool *go_on)
{
    ADAMOE_TRY(fresh_round(t, go_on));
    return adamoe_check_for_growth(t->k, fresh_round, t, "object that is prepared and released", go_on);
}

/* One object in calls, and how many there were. */
typedef struct calling {
    adamoe_lifetime *of;
    adamoe_repeated *object;
    adamoe_splitmix64 random;
    size_t calls;
} calling;

static bool call_once(calling *c, size_t i)
{
    char what[80];
    if (!adamoe_lifetime_call_object(c->of, c->object, i, c->of->got)) {
        return false;
    }
    (void)snprintf(what, sizeof what, "call %zu of one object, and of a fresh one", ++c->calls);
    return adamoe_lifetime_judge(c->of, i, false, c->of->got, what);
}

static adamoe_status call_round(void *context, bool *go_on)
{
    calling *c = context;
    for (size_t n = 0; n < CALLS_OF_A_ROUND && *go_on; ++n) {
        *go_on = call_once(c, adamoe_splitmix64_below(&c->random, c->of->calls));
    }
    return adamoe_ok();
}

static adamoe_status call_often(adamoe_lifetime *t, adamoe_repeated *object)
{
    calling c = {
        .of = t, .object = object, .random = adamoe_random_for(adamoe_name_case(t->k->c).text, t->k->seed)};
    bool go_on = true;
    for (size_t i = 0; i < t->calls && go_on; ++i) {
        go_on = call_once(&c, i);
    }
    return adamoe_check_for_growth(t->k, call_round, &c, "call", &go_on);
}

static adamoe_status repeated_calls(adamoe_lifetime *t)
{
    const adamoe_call_manner manner = adamoe_check_manner(t->k, ADAMOE_GUARD_BACK);
    adamoe_call_outcome outcome;
    adamoe_repeated *object = NULL;
    bool go_on = true;
    ADAMOE_TRY(repeat_fresh(t, &go_on));
    if (!go_on) {
        return adamoe_ok();
    }
    ADAMOE_TRY(adamoe_lifetime_object(t, false, &manner, &outcome, &object));
    const adamoe_status status = object == NULL ? adamoe_ok() : call_often(t, object);
    ADAMOE_TRY(adamoe_repeated_free(object));
    ADAMOE_TRY(status);
    if (t->k->out->status != ADAMOE_CHECK_FAILED) {
        (void)adamoe_check_called(t->k, &outcome);
    }
    return adamoe_ok();
}

/* ------------------------------------------------------------------------------------------------- several */

/* Of the layer, of the layer once more, and of another one. */
enum { FIRST, TWIN, OTHER, OBJECTS };

typedef struct several {
    const adamoe_lifetime *of;
    adamoe_call_manner manner[OBJECTS];
    adamoe_call_outcome outcome[OBJECTS];
    adamoe_repeated *object[OBJECTS];
} several;

static bool call_one(const several *s, size_t which, size_t i, const char *what)
{
    return adamoe_lifetime_call_object(s->of, s->object[which], i, s->of->got) &&
           adamoe_lifetime_judge(s->of, i, which == OTHER, s->of->got, what);
}

/* In turn. */
static bool call_in_turn(const several *s)
{
    bool go_on = true;
    for (size_t i = 0; i < 3 * s->of->calls && go_on; ++i) {
        go_on = call_one(s, i % OBJECTS, i % s->of->calls, "beside other objects, and alone");
    }
    return go_on;
}

/* Calls of one object in a thread of its own, until a result is another one. */
typedef struct caller {
    const several *of;
    size_t which, calls, i; /* the call that was made last */
    float *y;
    bool failed;
} caller;

static void *call_in_thread(void *context)
{
    caller *c = context;
    for (size_t n = 0; n < c->calls && !c->failed; ++n) {
        c->i = n % c->of->of->calls;
        c->failed = !adamoe_lifetime_call_object(c->of->of, c->of->object[c->which], c->i, c->y) ||
                    adamoe_lifetime_differs(c->of->of, c->i, c->which == OTHER, c->y);
    }
    return NULL;
}

/* What a caller saw, as the result. */
static bool judge_caller(const caller *c, const char *what)
{
    return c->of->outcome[c->which].end == ADAMOE_CALL_DONE &&
           adamoe_lifetime_judge(c->of->of, c->i, c->which == OTHER, c->y, what);
}

static adamoe_status call_at_once(const several *s, bool *go_on)
{
    enum { CALLS = 200 };
    caller callers[2] = {{.of = s, .which = TWIN, .calls = CALLS}, {.of = s, .which = OTHER, .calls = CALLS}};
    pthread_t thread;
    ADAMOE_TRY(adamoe_check_floats(s->of->k->c->tokens * s->of->y_width, &callers[0].y));
    adamoe_status status = adamoe_check_floats(s->of->k->c->tokens * s->of->y_width, &callers[1].y);
    if (status.code == ADAMOE_OK && pthread_create(&thread, NULL, call_in_thread, &callers[1]) != 0) {
        status = adamoe_error(ADAMOE_ENVIRONMENT, "check: cannot start a thread");
    } else if (status.code == ADAMOE_OK) {
        (void)call_in_thread(&callers[0]);
        (void)pthread_join(thread, NULL);
        *go_on = judge_caller(&callers[0], "while another object computes, and alone") &&
                 judge_caller(&callers[1], "while another object computes, and alone");
    }
    free(callers[0].y);
    free(callers[1].y);
    return status;
}

/* A team between whose tasks another object computes, in another thread: what two threads may always do. */
typedef struct interrupted_team {
    adamoe_team team;
    caller inner;
    bool cannot_start;
} interrupted_team;

static void interrupt(interrupted_team *team)
{
    pthread_t thread;
    if (team->inner.failed || team->cannot_start) {
        return;
    }
    if (pthread_create(&thread, NULL, call_in_thread, &team->inner) != 0) {
        team->cannot_start = true;
    } else {
        (void)pthread_join(thread, NULL);
    }
}

static void run_interrupted(void *state, size_t tasks, void (*task)(void *context, size_t i, uint32_t thread),
                            void *context)
{
    interrupted_team *team = state;
    for (size_t i = 0; i < tasks; ++i) {
        task(context, i, (uint32_t)(i % team->team.threads));
        if (i == 0 || i == tasks / 2) {
            interrupt(team);
        }
    }
}

static adamoe_status call_inside(several *s, bool *go_on)
{
    interrupted_team team = {.inner = {.of = s, .which = OTHER, .calls = 1}};
    team.team =
        (adamoe_team){.state = &team, .threads = s->manner[FIRST].placement.threads, .run = run_interrupted};
    adamoe_call_outcome outcome;
    adamoe_call_manner manner = s->manner[FIRST];
    adamoe_repeated *outer = NULL;
    manner.team = &team.team;
    ADAMOE_TRY(adamoe_check_floats(s->of->k->c->tokens * s->of->y_width, &team.inner.y));
    adamoe_status status = adamoe_lifetime_object(s->of, false, &manner, &outcome, &outer);
    for (size_t i = 0; i < s->of->calls && *go_on && status.code == ADAMOE_OK && outer != NULL; ++i) {
        *go_on = adamoe_lifetime_call_object(s->of, outer, i, s->of->got) &&
                 adamoe_lifetime_judge(s->of, i, false, s->of->got,
                                       "with a call of another object between its tasks, and without");
        if (team.inner.failed) {
            *go_on = judge_caller(&team.inner, "between the tasks of another object, and alone");
        }
    }
    const adamoe_status freed = adamoe_repeated_free(outer);
    status = status.code == ADAMOE_OK ? freed : status;
    if (status.code == ADAMOE_OK && s->of->k->out->status == ADAMOE_CHECK_PASSED) {
        *go_on = adamoe_check_called(s->of->k, &outcome) && *go_on;
    }
    free(team.inner.y);
    return team.cannot_start ? adamoe_error(ADAMOE_ENVIRONMENT, "check: cannot start a thread") : status;
}

/* Each is released in its turn, and those that are left compute on. */
static adamoe_status release_one_by_one(several *s)
{
    bool go_on = true;
    for (size_t which = 0; which < OBJECTS; ++which) {
        for (size_t left = which; left < OBJECTS && go_on; ++left) {
            go_on = call_one(s, left, 0, "after another object was released, and alone");
        }
        adamoe_repeated *object = s->object[which];
        s->object[which] = NULL;
        ADAMOE_TRY(adamoe_repeated_free(object));
    }
    return adamoe_ok();
}

static adamoe_status run_several(several *s)
{
    bool go_on = true;
    for (size_t i = 0; i < OBJECTS && go_on; ++i) {
        /* threads in name, so that each has a team of its own */
        s->manner[i] = adamoe_check_manner(s->of->k, ADAMOE_GUARD_BACK);
        s->manner[i].team = NULL;
        ADAMOE_TRY(adamoe_lifetime_object(s->of, i == OTHER, &s->manner[i], &s->outcome[i], &s->object[i]));
        go_on = s->object[i] != NULL;
    }
    go_on = go_on && call_in_turn(s);
    if (go_on) {
        ADAMOE_TRY(call_inside(s, &go_on));
    }
    if (go_on) {
        ADAMOE_TRY(call_at_once(s, &go_on));
    }
    return go_on ? release_one_by_one(s) : adamoe_ok();
}

static adamoe_status several_objects(adamoe_lifetime *t)
{
    several s = {.of = t};
    adamoe_status status = run_several(&s);
    for (size_t i = 0; i < OBJECTS; ++i) {
        const adamoe_status freed = adamoe_repeated_free(s.object[i]);
        status = status.code == ADAMOE_OK ? freed : status;
        if (t->k->out->status != ADAMOE_CHECK_FAILED) {
            (void)adamoe_check_called(t->k, &s.outcome[i]);
        }
    }
    return status;
}

/* -------------------------------------------------------------------------------------------------- both */

adamoe_status adamoe_check_objects(const adamoe_checking *k, const adamoe_case_data *data)
{
    adamoe_lifetime t;
    bool go_on = false;
    adamoe_status status = adamoe_lifetime_create(k, data, &t, &go_on);
    if (status.code == ADAMOE_OK && go_on) {
        status = k->c->property == ADAMOE_PROPERTY_REPEATED_CALLS ? repeated_calls(&t) : several_objects(&t);
    }
    adamoe_lifetime_free(&t);
    return status;
}

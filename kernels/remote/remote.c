/*
 * Kernels in processes of their own: see remote.h. Calls are in call.c, starting the process in link.c.
 */
#include "remote/remote.h"
#include "remote/call.h"
#include "remote/link.h"

#include <stdlib.h>
#include <string.h>

/* Ends the process where the announcement is none: "COMMAND: announcement: ...". */
static adamoe_status refuse_announcement(remote_link *link, adamoe_status reason)
{
    static const char prefix[] = "announcement: ";
    const char *text = reason.message;
    if (strncmp(text, prefix, sizeof prefix - 1) == 0) {
        text += sizeof prefix - 1;
    }
    return adamoe_remote_refuse(&link->process, "announcement", "%s", text);
}

static bool supported(void *context, const char **why_not)
{
    const remote_kernel *k = context;
    if (k->announced.why_not != NULL && why_not != NULL) {
        *why_not = k->announced.why_not;
    }
    return k->announced.why_not == NULL;
}

static adamoe_status make_kernel(remote_link *link, const json_t *announced, remote_kernel *k)
{
    k->link = link;
    const adamoe_status status = adamoe_read_announced(announced, &k->announced);
    if (status.code != ADAMOE_OK) {
        return refuse_announcement(link, status);
    }
    k->kernel = k->announced.declared;
    k->kernel.release = remote_release;
    k->kernel.work_bytes = remote_work_bytes;
    k->kernel.experts = remote_experts;
    k->kernel.implementation = k->announced.implementation == NULL ? NULL : remote_implementation;
    const adamoe_slot slot = {.context = k, .supported = supported, .prepare = remote_prepare};
    return adamoe_slot_take(slot, &k->kernel)
               ? adamoe_ok()
               : adamoe_error(ADAMOE_ENVIRONMENT, "--command: %.150s: there is room for %d kernels",
                              link->command, ADAMOE_REMOTE_SLOTS);
}

static adamoe_status make_kernels(remote_link *link)
{
    const json_t *kernels = NULL;
    const adamoe_status status = adamoe_read_announcement(link->announcement, &kernels);
    if (status.code != ADAMOE_OK) {
        return refuse_announcement(link, status);
    }
    const size_t count = json_array_size(kernels);
    link->kernel = calloc(count, sizeof *link->kernel);
    if (link->kernel == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "--command: %.150s: out of memory", link->command);
    }
    for (; link->count < count; ++link->count) {
        ADAMOE_TRY(make_kernel(link, json_array_get(kernels, link->count), &link->kernel[link->count]));
    }
    return adamoe_ok();
}

adamoe_status adamoe_remote_open(const char *command, unsigned seconds, adamoe_remote **out)
{
    remote_link *link = calloc(1, sizeof *link);
    if (link == NULL) {
        return adamoe_error(ADAMOE_ENVIRONMENT, "--command: %.150s: out of memory", command);
    }
    link->command = command;
    link->seconds = seconds;
    (void)pthread_mutex_init(&link->mutex, NULL);
    adamoe_status status = remote_link_start(link, &link->announcement);
    if (status.code == ADAMOE_OK) {
        status = make_kernels(link);
    }
    if (status.code != ADAMOE_OK) {
        adamoe_remote_close(link);
        return status;
    }
    *out = link;
    return adamoe_ok();
}

void adamoe_remote_close(adamoe_remote *remote)
{
    if (remote == NULL) {
        return;
    }
    adamoe_remote_end(&remote->process);
    for (size_t i = 0; i < remote->count; ++i) {
        adamoe_slot_give_back(&remote->kernel[i].kernel);
    }
    adamoe_remote_region_free(&remote->inputs);
    adamoe_remote_region_free(&remote->outputs);
    (void)pthread_mutex_destroy(&remote->mutex);
    json_decref(remote->announcement);
    free(remote->kernel);
    free(remote);
}

size_t adamoe_remote_count(const adamoe_remote *remote)
{
    return remote->count;
}

const adamoe_kernel *adamoe_remote_at(const adamoe_remote *remote, size_t index)
{
    return &remote->kernel[index].kernel;
}

bool adamoe_remote_clock_of(const adamoe_kernel *kernel, adamoe_remote_clock *out)
{
    remote_kernel *k = adamoe_slot_context(kernel, remote_prepare);
    if (k == NULL) {
        return false;
    }
    (void)pthread_mutex_lock(&k->link->mutex);
    *out = k->clock;
    (void)pthread_mutex_unlock(&k->link->mutex);
    return true;
}

const char *adamoe_remote_implementation(const adamoe_kernel *kernel)
{
    const remote_kernel *k = adamoe_slot_context(kernel, remote_prepare);
    return k == NULL ? NULL : k->announced.implementation;
}

adamoe_status adamoe_remote_aftermath(const adamoe_kernel *kernel)
{
    remote_kernel *k = adamoe_slot_context(kernel, remote_prepare);
    if (k == NULL) {
        return adamoe_ok();
    }
    (void)pthread_mutex_lock(&k->link->mutex);
    adamoe_status status = k->link->broken;
    k->link->broken = adamoe_ok();
    if (status.code == ADAMOE_OK) {
        status = adamoe_remote_look(&k->link->process, "after the last call");
    }
    (void)pthread_mutex_unlock(&k->link->mutex);
    return status;
}

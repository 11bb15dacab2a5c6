/*
 * The process of a remote, started and started anew.
 */
#include "remote/link.h"

/* How long a call may take. */
#define SECONDS_TO_ANSWER 600

adamoe_status remote_link_start(remote_link *link, json_t **message)
{
    size_t length = 0;
    *message = NULL;
    ADAMOE_TRY(adamoe_remote_start(link->command, &link->process));
    adamoe_remote_patience(&link->process, link->seconds);
    ADAMOE_TRY(adamoe_remote_receive(&link->process, "announcement", link->message, &length));
    *message = json_loadb(link->message, length, JSON_REJECT_DUPLICATES, NULL);
    if (*message == NULL) {
        return adamoe_remote_refuse(&link->process, "announcement", "no JSON: `%.80s'", link->message);
    }
    adamoe_remote_patience(&link->process, SECONDS_TO_ANSWER);
    ++link->generation;
    return adamoe_ok();
}

/* A process that is started anew must be what it was: its kernels have been read. */
static adamoe_status start_again(remote_link *link)
{
    json_t *message = NULL;
    adamoe_status status = remote_link_start(link, &message);
    if (status.code == ADAMOE_OK && !json_equal(message, link->announcement)) {
        status = adamoe_remote_refuse(&link->process, "announcement",
                                      "started anew, it announces something else than before");
    }
    json_decref(message);
    return status;
}

adamoe_status remote_link_be_alive(remote_link *link)
{
    const adamoe_status broken = link->broken;
    link->broken = adamoe_ok();
    return broken.code != ADAMOE_OK ? broken : link->process.id != 0 ? adamoe_ok() : start_again(link);
}

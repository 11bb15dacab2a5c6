/*
 * Preloaded by a test: fsync lasts, as on a disk that is busy with other things. ADAMOE_TEST_SYNC_SECONDS says how long.
 */
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int fsync(int descriptor)
{
    const char *text = getenv("ADAMOE_TEST_SYNC_SECONDS");
    (void)descriptor;
    (void)nanosleep(&(struct timespec){text == NULL ? 0 : strtol(text, NULL, 10), 0}, NULL);
    return 0;
}

/*
 * The log of a training run.
 */
#include "train/log.h"
#include "machine/clock.h"
#include "files/output_file.h"
#include "train/folder.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static adamoe_status disk_error(const char *path)
{
    return adamoe_error(ADAMOE_ENVIRONMENT, "%s: write: %s", path, strerror(errno));
}

/* Copies the whole lines of steps up to `kept`. */
static void copy_lines(FILE *from, size_t kept, FILE *to)
{
    char *line = NULL;
    size_t room = 0, step = 0;
    for (ssize_t length; (length = getline(&line, &room, from)) > 0;) {
        if (line[length - 1] == '\n' && sscanf(line, "{\"step\": %zu", &step) == 1 && step <= kept) {
            (void)fwrite(line, 1, (size_t)length, to);
        }
    }
    free(line);
}

/* Always a new file, so that what a killed process left is never appended to. */
static adamoe_status rewrite(const char *path, size_t kept)
{
    adamoe_output_file *file = NULL;
    FILE *before = kept > 0 ? fopen(path, "re") : NULL;
    const adamoe_status status = adamoe_output_file_open(path, &file);
    if (status.code == ADAMOE_OK && before != NULL) {
        copy_lines(before, kept, adamoe_output_file_stream(file));
    }
    if (before != NULL) {
        (void)fclose(before);
    }
    return status.code == ADAMOE_OK ? adamoe_output_file_commit(file) : status;
}

adamoe_status adamoe_train_log_open(const char *folder, size_t kept, size_t steps, size_t every,
                                    adamoe_train_log *out)
{
    *out = (adamoe_train_log){.path = adamoe_train_path(folder, "log.jsonl"),
                              .steps = steps,
                              .every = every,
                              .began = adamoe_now(),
                              .seen = adamoe_now()};
    adamoe_status status = out->path == NULL ? adamoe_error(ADAMOE_ENVIRONMENT, "training: out of memory")
                                             : rewrite(out->path, kept);
    if (status.code == ADAMOE_OK) {
        out->file = fopen(out->path, "ae");
        status = out->file == NULL ? disk_error(out->path) : status;
    }
    if (status.code != ADAMOE_OK) {
        adamoe_train_log_close(out);
    }
    return status;
}

static void print_progress(adamoe_train_log *log, const adamoe_train_step *s)
{
    const double now = adamoe_now(), rate = (double)log->tokens / (now - log->seen);
    printf("step %zu/%zu  epoch %zu  loss %.4f  balance %.4f  load %.3f  all-null %.1f %%  %.0f tokens/s\n",
           s->step, log->steps, s->epoch + 1, s->result->loss.cross_entropy, s->result->loss.balance,
           s->result->load, 100.0 * s->result->all_null_share, rate);
    (void)fflush(stdout);
    log->seen = now;
    log->tokens = 0;
}

adamoe_status adamoe_train_log_step(adamoe_train_log *log, const adamoe_train_step *s)
{
    const adamoe_backprop_result *r = s->result;
    (void)fprintf(log->file,
                  "{\"step\": %zu, \"epoch\": %zu, \"cross_entropy\": %.9g, \"balance\": %.9g, "
                  "\"load\": %.9g, \"all_null_share\": %.9g, \"gradient_norm\": %.9g, "
                  "\"learning_rate\": %.9g, \"tokens\": %zu, \"targets\": %zu, \"seconds\": %.3f}\n",
                  s->step, s->epoch, r->loss.cross_entropy, r->loss.balance, r->load, r->all_null_share,
                  s->gradient_norm, s->learning_rate, r->tokens, r->loss.targets, adamoe_now() - log->began);
    if (fflush(log->file) != 0) {
        return disk_error(log->path);
    }
    log->tokens += r->tokens;
    if (s->step % log->every == 0 || s->step == log->steps) {
        print_progress(log, s);
    }
    return adamoe_ok();
}

void adamoe_train_log_close(adamoe_train_log *log)
{
    if (log->file != NULL) {
        (void)fclose(log->file);
    }
    free(log->path);
    *log = (adamoe_train_log){.path = NULL};
}

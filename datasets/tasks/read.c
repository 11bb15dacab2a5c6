/*
 * A task's data set, read from a file.
 */
#include "files/mapped_file.h"
#include "question_reader.h"
#include "tasks/task_line.h"

#include <string.h>

static adamoe_status read_line(const void *context, const adamoe_line *line, const json_t *object,
                               adamoe_question *question)
{
    return adamoe_task_line(context, line, object, question);
}

/* Parquet begins and ends with these four bytes. */
static adamoe_status refuse_parquet(const char *path, const char *text, size_t length)
{
    if (length < 4 || memcmp(text, "PAR1", 4) != 0) {
        return adamoe_ok();
    }
    return adamoe_error(ADAMOE_BAD_INPUT,
                        "%s: a parquet file, which is not read; this makes JSON lines of it: python3 -c "
                        "'import sys, pandas; pandas.read_parquet(sys.argv[1]).to_json(sys.argv[2], "
                        "orient=\"records\", lines=True)' %s questions.jsonl",
                        path, path);
}

adamoe_status adamoe_task_parse(const adamoe_task *task, const char *path, const char *text, size_t length,
                                adamoe_questions **out)
{
    ADAMOE_TRY(refuse_parquet(path, text, length));
    return adamoe_questions_parse_with(path, text, length, read_line, task, out);
}

adamoe_status adamoe_task_read(const adamoe_task *task, const char *path, adamoe_questions **out)
{
    adamoe_mapped_file file;
    ADAMOE_TRY(adamoe_mapped_file_open(path, &file));
    const adamoe_status status = adamoe_task_parse(task, path, (const char *)file.data, file.size, out);
    adamoe_mapped_file_close(&file);
    return status;
}

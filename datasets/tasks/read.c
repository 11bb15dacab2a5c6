/*
 * A task's data set, read from a file.
 */
#include "files/mapped_file.h"
#include "question_reader.h"
#include "tasks/task_line.h"

static adamoe_status read_line(const void *context, const adamoe_line *line, const json_t *object,
                               adamoe_question *question)
{
    return adamoe_task_line(context, line, object, question);
}

adamoe_status adamoe_task_parse(const adamoe_task *task, const char *path, const char *text, size_t length,
                                adamoe_questions **out)
{
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

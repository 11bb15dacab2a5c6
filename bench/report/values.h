/*
 * Values of a result file. What is absent or of another type is NaN, or the text that the caller names.
 */
#ifndef ADAMOE_REPORT_VALUES_H
#define ADAMOE_REPORT_VALUES_H

#include <jansson.h>

/* object[key] as a number; NaN where there is none. */
double adamoe_number_in(const json_t *object, const char *key);

/* list[i] as a number; NaN where there is none. */
double adamoe_number_at(const json_t *list, size_t i);

/* object[key] as a text; `otherwise` where there is none. */
const char *adamoe_text_in(const json_t *object, const char *key, const char *otherwise);

#endif

/*
 * Files that are something else than what their reader expects.
 */
#include "files/foreign.h"

#include <string.h>

#define BEGIN(bytes) bytes, sizeof bytes - 1

static const struct beginning {
    const char *bytes;
    size_t length;
    const char *what;
} beginnings[] = {
    /* what a clone without Git LFS leaves in place of a large file: a few lines of text */
    {BEGIN("version https://git-lfs"),
     "a Git LFS pointer, not the file itself; `git lfs pull` in its folder fetches it"},
    {BEGIN("\x1f\x8b\x08"), "compressed by gzip; `gunzip` unpacks it"},
    {BEGIN("\x28\xb5\x2f\xfd"), "compressed by zstd; `unzstd` unpacks it"},
    {BEGIN("BZh"), "compressed by bzip2; `bunzip2` unpacks it"},
    {BEGIN("\xfd"
           "7zXZ"),
     "compressed by xz; `unxz` unpacks it"},
    {BEGIN("PK\x03\x04"), "a zip archive, as PyTorch's own files are too; not implemented"},
    {BEGIN("PAR1"), "a parquet file, which is not read; python3 -c 'import sys, pandas; "
                    "pandas.read_parquet(sys.argv[1]).to_json(sys.argv[2], orient=\"records\", lines=True)' "
                    "FILE questions.jsonl makes JSON lines of it"},
    {BEGIN("GGUF"), "a GGUF file; datasets/convert/from_gguf.py makes a folder of it"},
    {BEGIN("\xff\xfe"), "UTF-16; `iconv -f UTF-16 -t UTF-8` makes UTF-8 of it"},
    {BEGIN("\xfe\xff"), "UTF-16; `iconv -f UTF-16 -t UTF-8` makes UTF-8 of it"},
    {BEGIN("<!DOCTYPE"), "a page of HTML, not the file itself"},
    {BEGIN("<!doctype"), "a page of HTML, not the file itself"},
    {BEGIN("<html"), "a page of HTML, not the file itself"},
};

const char *adamoe_foreign_file(const void *data, size_t size)
{
    for (size_t i = 0; i < sizeof beginnings / sizeof *beginnings; ++i) {
        if (size >= beginnings[i].length && memcmp(data, beginnings[i].bytes, beginnings[i].length) == 0) {
            return beginnings[i].what;
        }
    }
    return NULL;
}

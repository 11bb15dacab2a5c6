# Writes OUTPUT, a header with the commit that SOURCE_DIR is at, and whether tracked files differ from it. Runs with every
# build, and leaves the file alone where nothing changed, so that only what includes it is compiled anew.
execute_process(COMMAND git -C "${SOURCE_DIR}" rev-parse HEAD
    OUTPUT_VARIABLE commit RESULT_VARIABLE failed OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
set(dirty -1)
if(failed)
    set(commit "")
else()
    execute_process(COMMAND git --no-optional-locks -C "${SOURCE_DIR}" status --porcelain --untracked-files=no
        OUTPUT_VARIABLE changes RESULT_VARIABLE failed ERROR_QUIET)
    if(NOT failed AND changes STREQUAL "")
        set(dirty 0)
    elseif(NOT failed)
        set(dirty 1)
    endif()
endif()
file(CONFIGURE OUTPUT "${OUTPUT}" CONTENT
"#define ADAMOE_COMMIT \"${commit}\" /* empty: not known */
#define ADAMOE_DIRTY ${dirty} /* -1: not known */
")

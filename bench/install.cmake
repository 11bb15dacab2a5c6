# What `cmake --install` gives of the program: itself, its man page, completion, the data that `reproduce` reads, and
# the example plugin. reference/package/ gives the headers and the library.
include(GNUInstallDirs)

install(TARGETS adamoe RUNTIME)
file(GLOB shipped_folders ${CMAKE_SOURCE_DIR}/datasets/tiny-*/config.json)
list(TRANSFORM shipped_folders REPLACE /config.json$ "")
install(DIRECTORY ${shipped_folders} ${CMAKE_SOURCE_DIR}/datasets/wordnet
    DESTINATION ${CMAKE_INSTALL_DATADIR}/adamoe/datasets)
install(FILES ${CMAKE_SOURCE_DIR}/datasets/tiny-recipe.json ${CMAKE_SOURCE_DIR}/datasets/tiny-routers-recipe.json
        DESTINATION ${CMAKE_INSTALL_DATADIR}/adamoe/datasets)
install(FILES ${CMAKE_SOURCE_DIR}/LICENSE ${CMAKE_SOURCE_DIR}/README.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES ${CMAKE_BINARY_DIR}/bench/adamoe.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES ${CMAKE_SOURCE_DIR}/bench/completion/adamoe.bash
    DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME adamoe)
install(FILES ${CMAKE_SOURCE_DIR}/kernels/remote/adamoe_kernel.py DESTINATION ${CMAKE_INSTALL_DATADIR}/adamoe/python)
install(FILES ${CMAKE_SOURCE_DIR}/kernels/remote/example.py DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples)
install(FILES ${CMAKE_SOURCE_DIR}/tests/plugin/example.c DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples)

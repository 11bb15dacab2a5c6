# What `cmake --install` gives: the program with its man page, completion and the data that `reproduce` reads, the headers and the reference as a
# static library, and the files by which CMake and pkg-config find them. Everything is found relative to where it
# lies, so that a prefix can be moved.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

install(TARGETS adamoe RUNTIME)
file(RELATIVE_PATH installed_data
    ${CMAKE_INSTALL_FULL_BINDIR} ${CMAKE_INSTALL_FULL_DATADIR}/adamoe)
target_compile_definitions(adamoe PRIVATE ADAMOE_INSTALLED_DATA="${installed_data}")
install(TARGETS adamoe_reference EXPORT adamoe_targets
    ARCHIVE INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/adamoe)

# A plugin needs adamoe.h alone; the others are the reference's.
file(GLOB headers CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/reference/*.h)
install(FILES ${headers} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/adamoe)
add_library(adamoe_plugin INTERFACE)
install(TARGETS adamoe_plugin EXPORT adamoe_targets
    INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/adamoe)
set_target_properties(adamoe_plugin PROPERTIES EXPORT_NAME plugin)
set_target_properties(adamoe_reference PROPERTIES EXPORT_NAME reference)

file(GLOB shipped_folders ${CMAKE_SOURCE_DIR}/datasets/tiny-*/config.json)
list(TRANSFORM shipped_folders REPLACE /config.json$ "")
install(DIRECTORY ${shipped_folders} ${CMAKE_SOURCE_DIR}/datasets/wordnet
    DESTINATION ${CMAKE_INSTALL_DATADIR}/adamoe/datasets)
install(FILES ${CMAKE_SOURCE_DIR}/datasets/tiny-recipe.json DESTINATION ${CMAKE_INSTALL_DATADIR}/adamoe/datasets)
install(FILES ${CMAKE_SOURCE_DIR}/LICENSE ${CMAKE_SOURCE_DIR}/README.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES ${CMAKE_BINARY_DIR}/bench/adamoe.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES ${CMAKE_SOURCE_DIR}/bench/completion/adamoe.bash
    DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME adamoe)
install(FILES ${CMAKE_SOURCE_DIR}/tests/plugin/example.c DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples)

set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/adamoe)
install(EXPORT adamoe_targets NAMESPACE adamoe:: DESTINATION ${package_folder} FILE adamoe-targets.cmake)
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/adamoe-config.cmake.in
    ${CMAKE_BINARY_DIR}/adamoe-config.cmake INSTALL_DESTINATION ${package_folder})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/adamoe-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/adamoe-config.cmake ${CMAKE_BINARY_DIR}/adamoe-config-version.cmake
    DESTINATION ${package_folder})

# From the pkg-config file up to the prefix, whatever CMAKE_INSTALL_LIBDIR is.
file(RELATIVE_PATH ADAMOE_PC_PREFIX /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
configure_file(${CMAKE_CURRENT_LIST_DIR}/adamoe.pc.in ${CMAKE_BINARY_DIR}/adamoe.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/adamoe.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

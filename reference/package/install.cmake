# What a program that links the reference, or a plugin, needs of an installation: the headers, the library, and the
# files by which CMake and pkg-config find them. Everything is found relative to where it lies, so that a prefix can
# be moved.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

install(TARGETS adamoe_reference EXPORT adamoe_targets
    ARCHIVE INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/adamoe)

# A plugin needs adamoe.h alone; the others are the reference's.
install(DIRECTORY ${CMAKE_SOURCE_DIR}/reference/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/adamoe
    FILES_MATCHING PATTERN "*.h" PATTERN "package" EXCLUDE)
add_library(adamoe_plugin INTERFACE)
install(TARGETS adamoe_plugin EXPORT adamoe_targets
    INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/adamoe)
set_target_properties(adamoe_plugin PROPERTIES EXPORT_NAME plugin)
set_target_properties(adamoe_reference PROPERTIES EXPORT_NAME reference)

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

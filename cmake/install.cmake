# What `cmake --install` gives beside the libraries: the header, nanomodel.pc for pkg-config, and a package for
# find_package(nanomodel), whose target is nanomodel::nanomodel. All of it may be moved as a whole.
include(CMakePackageConfigHelpers)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/nanomodel)

install(FILES csrc/include/nanomodel.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})

file(RELATIVE_PATH NANOMODEL_PC_PREFIX /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
configure_file(cmake/nanomodel.pc.in ${CMAKE_BINARY_DIR}/nanomodel.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/nanomodel.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

target_include_directories(nanomodel INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
install(EXPORT nanomodel-targets FILE nanomodel-config.cmake NAMESPACE nanomodel:: DESTINATION ${package_dir})
# Before 1.0 a minor version may break what the one before promised.
write_basic_package_version_file(${CMAKE_BINARY_DIR}/nanomodel-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/nanomodel-config-version.cmake DESTINATION ${package_dir})

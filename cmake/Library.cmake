# The library for other programs: everything up to the engine as libhearth.a and libhearth.so, the headers of include/,
# and hearth.pc, which says how to link either. Only what HTH_API marks leaves the shared one.
include(GNUInstallDirs)
set(objects "")
foreach(layer ${HEARTH_LAYERS})
  get_target_property(type hth_${layer} TYPE)
  if(type STREQUAL "STATIC_LIBRARY")
    list(APPEND objects $<TARGET_OBJECTS:hth_${layer}>)
  endif()
  if(layer STREQUAL "engine")
    break()
  endif()
endforeach()

foreach(kind STATIC SHARED)
  string(TOLOWER "hearth_${kind}" target)
  add_library(${target} ${kind} ${objects})
  set_target_properties(${target} PROPERTIES OUTPUT_NAME hearth LINKER_LANGUAGE C)
  target_link_libraries(${target} PRIVATE hth_utf8proc Threads::Threads m)
endforeach()
set_target_properties(hearth_shared PROPERTIES VERSION "${PROJECT_VERSION}" SOVERSION "${PROJECT_VERSION_MAJOR}")
target_link_libraries(hearth_shared PRIVATE hth_flags)

file(GLOB headers CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/include/*.h")
configure_file("${PROJECT_SOURCE_DIR}/cmake/hearth.pc.in" "${PROJECT_BINARY_DIR}/hearth.pc" @ONLY)
install(TARGETS hearth_static hearth_shared ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}"
        LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}")
install(FILES ${headers} DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
install(FILES "${PROJECT_BINARY_DIR}/hearth.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")

# Defaults for what the extension has not said by now, places to install to, the macros, and CTest.

foreach(kind LICENSE README)
  if(NOT DEFINED EXTENSION_${kind}_FILE)
    set(EXTENSION_${kind}_FILE "${Slicer_${kind}_FILE}")
  endif()
endforeach()

set(Slicer_INSTALL_QTSCRIPTEDMODULES_LIB_DIR "${Slicer_QTSCRIPTEDMODULES_LIB_DIR}")

include(CTest)
include("${CMAKE_CURRENT_LIST_DIR}/ScriptedModule.cmake")

# slicerMacroBuildScriptedModule and slicer_add_python_unittest.
#
# Like the real one, slicerMacroBuildScriptedModule copies each file to the place under qt-scripted-modules (WITH_SUBDIR: under
# the folder there that is named like the source folder) that it has under the source folder, and installs that folder as it
# is: a file listed as ../elsewhere/file.py leaves it and gets lost. Real macros copy in the build step, this one at once, so
# that no build tool is needed.

macro(slicerMacroBuildScriptedModule)
  cmake_parse_arguments(_MODULE "WITH_GENERIC_TESTS;WITH_SUBDIR;VERBOSE" "NAME" "SCRIPTS;RESOURCES" ${ARGN})
  if(_MODULE_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "slicerMacroBuildScriptedModule does not know: ${_MODULE_UNPARSED_ARGUMENTS}")
  endif()
  foreach(argument NAME SCRIPTS)
    if(NOT DEFINED _MODULE_${argument})
      message(FATAL_ERROR "slicerMacroBuildScriptedModule needs ${argument}")
    endif()
  endforeach()

  set(_folder "${CMAKE_BINARY_DIR}/${Slicer_QTSCRIPTEDMODULES_LIB_DIR}")
  set(_installed "${_folder}/") # the slash: its contents, not the folder itself
  if(_MODULE_WITH_SUBDIR)
    get_filename_component(_name "${CMAKE_CURRENT_SOURCE_DIR}" NAME)
    set(_folder "${_folder}/${_name}")
    set(_installed "${_folder}")
  endif()

  foreach(_file IN LISTS _MODULE_SCRIPTS _MODULE_RESOURCES)
    if(NOT EXISTS "${CMAKE_CURRENT_SOURCE_DIR}/${_file}")
      message(FATAL_ERROR "slicerMacroBuildScriptedModule was given a file that does not exist: ${_file}")
    endif()
    configure_file("${_file}" "${_folder}/${_file}" COPYONLY)
  endforeach()

  install(DIRECTORY "${_installed}" DESTINATION "${Slicer_INSTALL_QTSCRIPTEDMODULES_LIB_DIR}" COMPONENT RuntimeLibraries)

  if(BUILD_TESTING AND _MODULE_WITH_GENERIC_TESTS)
    slicer_add_python_unittest(
      SCRIPT "qSlicer${_MODULE_NAME}ModuleGenericTest.py"
      SLICER_ARGS --no-main-window --additional-module-path "${_folder}"
      TESTNAME_PREFIX nomainwindow_
      )
  endif()
endmacro()

macro(slicer_add_python_unittest)
  cmake_parse_arguments(_UNITTEST "" "TESTNAME_PREFIX;SCRIPT" "SLICER_ARGS" ${ARGN})
  if(_UNITTEST_UNPARSED_ARGUMENTS OR NOT DEFINED _UNITTEST_SCRIPT)
    message(FATAL_ERROR "slicer_add_python_unittest needs SCRIPT and does not know: ${_UNITTEST_UNPARSED_ARGUMENTS}")
  endif()
  get_filename_component(_test "${_UNITTEST_SCRIPT}" NAME_WE)
  add_test(
    NAME "py_${_UNITTEST_TESTNAME_PREFIX}${_test}"
    COMMAND "${Slicer_LAUNCHER_EXECUTABLE}" --no-splash ${_UNITTEST_SLICER_ARGS} --python-code "${_test}"
    )
endmacro()

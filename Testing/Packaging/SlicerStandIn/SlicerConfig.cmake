# What find_package(Slicer) gives an extension, as far as an extension of scripted modules needs it: places and files to include.
# Slicer itself is not needed; behaviour was written down from Slicer's and CTK's macros, and is as strict as theirs.

set(Slicer_USE_FILE "${CMAKE_CURRENT_LIST_DIR}/UseSlicer.cmake")
set(Slicer_EXTENSION_GENERATE_CONFIG "${CMAKE_CURRENT_LIST_DIR}/GenerateConfig.cmake")
set(Slicer_EXTENSION_CPACK "${CMAKE_CURRENT_LIST_DIR}/Package.cmake")

# As on Windows and Linux, where each extension has a folder of its own with Slicer's layout
set(Slicer_QTSCRIPTEDMODULES_LIB_DIR "lib/Slicer-5.12/qt-scripted-modules")
set(Slicer_LAUNCHER_EXECUTABLE "Slicer")

set(Slicer_LICENSE_FILE "${CMAKE_CURRENT_LIST_DIR}/SlicerConfig.cmake")
set(Slicer_README_FILE "${CMAKE_CURRENT_LIST_DIR}/SlicerConfig.cmake")

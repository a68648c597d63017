# Slicer writes the extension's description from these variables; here they go into a file that the tests read.

file(WRITE "${CMAKE_BINARY_DIR}/description.txt" "NAME=${PROJECT_NAME}\n")
foreach(name
    CATEGORY CONTRIBUTORS DEPENDS DESCRIPTION HOMEPAGE ICONURL KEYWORDS LICENSE_FILE README_FILE RECOMMENDS SCREENSHOTURLS TIER)
  if(DEFINED EXTENSION_${name})
    file(APPEND "${CMAKE_BINARY_DIR}/description.txt" "${name}=${EXTENSION_${name}}\n")
  endif()
endforeach()

# Slicer's packages carry licence and readme; CPack stops where a file is not there.

foreach(kind LICENSE README)
  if(NOT EXISTS "${EXTENSION_${kind}_FILE}")
    message(FATAL_ERROR "EXTENSION_${kind}_FILE does not exist: ${EXTENSION_${kind}_FILE}")
  endif()
endforeach()

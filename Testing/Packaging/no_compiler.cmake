# project() looks for compilers of C and C++, which a module in Python does not need: with this toolchain CMake asks for none.

foreach(language C CXX)
  set(CMAKE_${language}_COMPILER "${CMAKE_COMMAND}") # must exist; it is never called
  set(CMAKE_${language}_COMPILER_FORCED TRUE)
  set(CMAKE_${language}_COMPILER_ID_RUN TRUE)
endforeach()

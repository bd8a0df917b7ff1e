# Compiler and linker flags, in the interface target hth_flags that everything links.
include(CheckCCompilerFlag)
include(CheckPIESupported)

add_library(hth_flags INTERFACE)

set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
# Line numbers only: where variables live would take half of the kernels' compile time.
set(CMAKE_C_FLAGS_RELEASE "-O3 -g1 -DNDEBUG")
set(CMAKE_C_FLAGS_DEBUG "-O1 -g -fno-omit-frame-pointer")

# Adds a flag where the compiler knows it.
function(hearth_flag flag)
  string(MAKE_C_IDENTIFIER "HAS${flag}" has)
  check_c_compiler_flag("${flag}" ${has})
  if(${has})
    target_compile_options(hth_flags INTERFACE "${flag}")
  endif()
endfunction()

# What _GNU_SOURCE or _DARWIN_C_SOURCE opens is used in src/os alone; -std=c17 hides POSIX otherwise.
target_compile_definitions(hth_flags INTERFACE _GNU_SOURCE _DARWIN_C_SOURCE _FILE_OFFSET_BITS=64)
target_include_directories(hth_flags INTERFACE "${PROJECT_SOURCE_DIR}/src" "${PROJECT_SOURCE_DIR}/include")

foreach(flag -Wall -Wextra -Wshadow -Wvla -Wformat=2 -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith
             -Wcast-qual)
  target_compile_options(hth_flags INTERFACE ${flag})
endforeach()
# gcc cannot know that hth_fail never returns HTH_OK and takes checked results for unset ones.
hearth_flag(-Wno-maybe-uninitialized)
if(HEARTH_WERROR)
  target_compile_options(hth_flags INTERFACE -Werror)
endif()

# Arithmetic: kernels ask for fused multiply-add by name, nothing else may fuse; no errno, no traps.
# What would change results (reordering, ignoring NaN) stays off.
foreach(flag -ffp-contract=off -fno-math-errno -fno-trapping-math)
  hearth_flag(${flag})
endforeach()

if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|amd64|AMD64)$")
  set(HEARTH_X86 ON)
  hearth_flag(-march=x86-64-v2)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64)$")
  set(HEARTH_ARM ON)
endif()

# Flags of one instruction-set level, by the end of the file's name.
function(hearth_level_flags file)
  if(HEARTH_X86 AND file MATCHES "/x86/.*_avx2\\.c$")
    set(flags -mavx2 -mfma -mf16c -mbmi2)
  elseif(HEARTH_X86 AND file MATCHES "/x86/.*_avx512\\.c$")
    set(flags -mavx2 -mfma -mf16c -mbmi2 -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni)
  elseif(HEARTH_ARM AND file MATCHES "/arm/.*_dotprod\\.c$")
    set(flags -march=armv8.2-a+dotprod+fp16)
  elseif(HEARTH_ARM AND file MATCHES "/arm/.*_i8mm\\.c$")
    set(flags -march=armv8.2-a+dotprod+fp16+i8mm)
  endif()
  # Unrolled and large: instrumented for the fuzzer they take minutes; unit tests run them between guard pages.
  if(HEARTH_FUZZ AND file MATCHES "/kernels/(x86|arm)/")
    list(APPEND flags -fno-sanitize=all)
  endif()
  if(flags)
    set_source_files_properties("${file}" PROPERTIES COMPILE_OPTIONS "${flags}")
  endif()
endfunction()

if(HEARTH_SANITIZE STREQUAL "address")
  set(sanitize -fsanitize=address,undefined -fno-sanitize-recover=all)
elseif(HEARTH_SANITIZE STREQUAL "thread")
  set(sanitize -fsanitize=thread)
elseif(HEARTH_SANITIZE)
  message(FATAL_ERROR "HEARTH_SANITIZE is '${HEARTH_SANITIZE}'; it can be 'address' or 'thread'")
endif()
if(HEARTH_FUZZ)
  if(NOT CMAKE_C_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "HEARTH_FUZZ needs clang; configure with -DCMAKE_C_COMPILER=clang")
  endif()
  list(APPEND sanitize -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all)
  # libFuzzer's usual name: checksums, which an input would hardly ever get right, are passed over.
  target_compile_definitions(hth_flags INTERFACE FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION)
endif()

if(sanitize)
  target_compile_options(hth_flags INTERFACE ${sanitize} -fno-omit-frame-pointer)
  target_link_options(hth_flags INTERFACE ${sanitize})
else()
  # Hardening. Sanitizers replace it where they are on.
  hearth_flag(-fstack-protector-strong)
  target_compile_options(hth_flags INTERFACE $<$<CONFIG:Release>:-U_FORTIFY_SOURCE>
                         $<$<CONFIG:Release>:-D_FORTIFY_SOURCE=2>)
endif()
check_pie_supported(LANGUAGES C)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
if(CMAKE_SYSTEM_NAME STREQUAL "Linux")
  target_link_options(hth_flags INTERFACE -Wl,-z,relro,-z,now)
endif()

# A loop that clang did not unroll as asked is slower, not wrong.
if(CMAKE_C_COMPILER_ID MATCHES "Clang")
  add_compile_options(-Wno-pass-failed)
endif()

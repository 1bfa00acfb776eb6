# Warnings, sanitizers and hardening: all of them properties of the target proxy_flags.
# A flag that the compiler at hand does not know is left out, so gcc 12 to 14 and clang 14 to 19
# build the same tree.
include(CheckCCompilerFlag)
include(CheckLinkerFlag)

function(proxy_compile_if_known)
  foreach(flag ${ARGN})
    string(MAKE_C_IDENTIFIER "cc${flag}" known)
    check_c_compiler_flag("${flag}" ${known})
    if(${known})
      target_compile_options(proxy_flags INTERFACE "${flag}")
    endif()
  endforeach()
endfunction()

function(proxy_link_if_known)
  foreach(flag ${ARGN})
    string(MAKE_C_IDENTIFIER "ld${flag}" known)
    check_linker_flag(C "${flag}" ${known})
    if(${known})
      target_link_options(proxy_flags INTERFACE "${flag}")
    endif()
  endforeach()
endfunction()

target_compile_options(proxy_flags INTERFACE
  -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes
  -Wvla -Wundef -Wformat=2 -Wimplicit-fallthrough -fno-omit-frame-pointer
  -Werror=format-security -Werror=implicit -Werror=incompatible-pointer-types
  -Werror=int-conversion)
proxy_compile_if_known(-Wtrampolines -Wbidi-chars=any)

# assert() and the debug information name files from the top of the tree, wherever that lies.
proxy_compile_if_known("-ffile-prefix-map=${CMAKE_SOURCE_DIR}/=")

if(PROXY_SANITIZE)
  target_compile_options(proxy_flags INTERFACE -fsanitize=${PROXY_SANITIZE} -fno-sanitize-recover=all)
  target_link_options(proxy_flags INTERFACE -fsanitize=${PROXY_SANITIZE})
endif()

if(PROXY_ANALYZE)
  target_compile_options(proxy_flags INTERFACE -fanalyzer)
endif()

if(PROXY_HARDEN)
  # -U first: some compilers predefine a lower level.
  target_compile_options(proxy_flags INTERFACE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 -fPIE)
  target_link_options(proxy_flags INTERFACE -pie)
  proxy_compile_if_known(
    -fstack-protector-strong
    -fstack-clash-protection
    -fcf-protection=full              # x86
    -mbranch-protection=standard      # arm64
    -ftrivial-auto-var-init=zero
    -fstrict-flex-arrays=3            # gcc 13, clang 16
    -fzero-init-padding-bits=all      # gcc 15
    -fno-delete-null-pointer-checks
    -fno-strict-overflow
    -fno-strict-aliasing)
  proxy_link_if_known(
    -Wl,-z,relro
    -Wl,-z,now
    -Wl,-z,noexecstack
    -Wl,--as-needed
    -Wl,--no-copy-dt-needed-entries)
endif()

# What nobody calls is left out, which only matters when whole archives are linked.
if(PROXY_STATIC)
  proxy_compile_if_known(-ffunction-sections -fdata-sections)
  proxy_link_if_known(-Wl,--gc-sections -Wl,-z,pack-relative-relocs)
  target_link_options(proxy_flags INTERFACE -Wl,-Map=$<TARGET_PROPERTY:NAME>.map)
endif()

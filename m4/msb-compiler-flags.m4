# SPDX-License-Identifier: LGPL-2.1-or-later
# MSB_COMPILER_FLAGS
# ------------------
# The flags every object is built with: language, warnings, hardening, and what
# --enable-werror, --enable-sanitizers and --enable-fuzzing ask for.  Results
# are MSB_CFLAGS and MSB_LDFLAGS (everything), AGENT_CFLAGS (the static agent,
# which no sanitizer and no PIE applies to).

AC_DEFUN([MSB_COMPILER_FLAGS], [
AC_ARG_ENABLE([werror],
  [AS_HELP_STRING([--enable-werror], [treat compiler warnings as errors (default: in a git checkout)])],
  [], [AS_IF([test -e "$srcdir/.git"], [enable_werror=yes], [enable_werror=no])])
AC_ARG_ENABLE([sanitizers],
  [AS_HELP_STRING([--enable-sanitizers@<:@=LIST@:>@], [build with sanitizers (default LIST: address,undefined)])],
  [AS_IF([test "x$enableval" = xyes], [enable_sanitizers=address,undefined])], [enable_sanitizers=no])
AC_ARG_ENABLE([fuzzing],
  [AS_HELP_STRING([--enable-fuzzing], [build the fuzz targets with libFuzzer (needs clang)])],
  [], [enable_fuzzing=no])

AC_LANG_PUSH([C])
msb_save_CFLAGS=$CFLAGS
m4_foreach_w([flag], [
  -Wall -Wextra -Wundef -Wshadow -Wstrict-prototypes -Wmissing-prototypes
  -Wold-style-definition -Wpointer-arith -Wwrite-strings -Wredundant-decls
  -Wformat=2 -Wformat-security -Wvla -Wimplicit-fallthrough -Wlogical-op
  -Wduplicated-cond -Wno-unused-parameter -Wno-missing-field-initializers
  -Wno-sign-compare], [
  CFLAGS="$msb_save_CFLAGS -Werror flag"
  AC_MSG_CHECKING([whether $CC accepts flag])
  AC_COMPILE_IFELSE([AC_LANG_PROGRAM], [AC_MSG_RESULT([yes]); MSB_WARNINGS="$MSB_WARNINGS flag"], [AC_MSG_RESULT([no])])
])
dnl What only holds a lock or a reference until the end of its scope is unused for some versions of clang.
CFLAGS="$msb_save_CFLAGS -Werror -Wunused-variable"
AC_MSG_CHECKING([whether $CC takes a variable with a cleanup for unused])
AC_COMPILE_IFELSE([AC_LANG_PROGRAM([[
  static void release (int *p) { *p = 0; }
  static int take (void) { return 1; }]], [[__attribute__ ((cleanup (release))) int held = take ();]])],
  [AC_MSG_RESULT([no])], [AC_MSG_RESULT([yes]); MSB_WARNINGS="$MSB_WARNINGS -Wno-unused-variable"])
AS_IF([test "x$enable_werror" = xyes], [MSB_WARNINGS="$MSB_WARNINGS -Werror"])

MSB_HARDENING="-fstack-protector-strong -fno-common -fno-strict-overflow"
AS_CASE([" $msb_save_CFLAGS "], [*" -O0 "*|*_FORTIFY_SOURCE*], [],
  [AS_IF([test "x$enable_sanitizers" = xno && test "x$enable_fuzzing" = xno],
     [MSB_HARDENING="$MSB_HARDENING -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2"])])
AS_CASE([$host_cpu], [x86_64], [MSB_HARDENING="$MSB_HARDENING -fcf-protection"])
MSB_LDFLAGS="-Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack -Wl,--as-needed"
MSB_PIE_CFLAGS="-fPIE"
MSB_PIE_LDFLAGS="-pie"

MSB_SANITIZE=
AS_IF([test "x$enable_sanitizers" != xno],
  [MSB_SANITIZE="-fsanitize=$enable_sanitizers -fno-omit-frame-pointer"])
dnl GCC warns that ThreadSanitizer does not know atomic_thread_fence(); tests/suppressions/tsan.supp has
dnl what comes of it.
AS_CASE([$enable_sanitizers], [*thread*],
  [CFLAGS="$msb_save_CFLAGS -Werror -Wno-tsan"
   AC_MSG_CHECKING([whether $CC accepts -Wno-tsan])
   AC_COMPILE_IFELSE([AC_LANG_PROGRAM], [AC_MSG_RESULT([yes]); MSB_SANITIZE="$MSB_SANITIZE -Wno-tsan"],
     [AC_MSG_RESULT([no])])])
AS_IF([test "x$enable_fuzzing" = xyes],
  [CFLAGS="$msb_save_CFLAGS -fsanitize=fuzzer"
   AC_MSG_CHECKING([whether $CC links libFuzzer programs])
   AC_LINK_IFELSE([AC_LANG_SOURCE([[
     #include <stddef.h>
     #include <stdint.h>
     int LLVMFuzzerTestOneInput (const uint8_t *p, size_t n);
     int LLVMFuzzerTestOneInput (const uint8_t *p, size_t n) { (void) p; (void) n; return 0; }]])],
     [AC_MSG_RESULT([yes])],
     [AC_MSG_RESULT([no]); AC_MSG_ERROR([--enable-fuzzing needs clang with libFuzzer: CC=clang])])
   MSB_SANITIZE="-fsanitize=address,undefined,fuzzer-no-link -fno-omit-frame-pointer"])
CFLAGS=$msb_save_CFLAGS
AC_LANG_POP([C])

MSB_CFLAGS="-std=gnu11 $MSB_WARNINGS $MSB_HARDENING $MSB_SANITIZE -pthread"
MSB_LDFLAGS="$MSB_LDFLAGS $MSB_SANITIZE -pthread"
AGENT_CFLAGS="-std=gnu11 $MSB_WARNINGS -Os -fno-common -fno-strict-overflow -ffunction-sections -fdata-sections"
AM_CONDITIONAL([ENABLE_FUZZING], [test "x$enable_fuzzing" = xyes])
AM_CONDITIONAL([ENABLE_SANITIZERS], [test -n "$MSB_SANITIZE"])
AC_SUBST([MSB_CFLAGS])
AC_SUBST([MSB_LDFLAGS])
AC_SUBST([MSB_PIE_CFLAGS])
AC_SUBST([MSB_PIE_LDFLAGS])
AC_SUBST([AGENT_CFLAGS])
])

#!/bin/sh
# Looks at the program as a file: was it really linked the way the release build asks for?
#   hardening.sh PROGRAM TREE
set -u
program=$1
tree=$2
export LC_ALL=C

head=$(readelf -hW "$program") && parts=$(readelf -lW "$program") &&
    dynamic=$(readelf -dW "$program") && symbols=$(readelf --dyn-syms -W "$program") || exit 1
status=0

# has WHAT TEXT PATTERN
has() {
    if printf '%s\n' "$2" | grep -Eq "$3"; then
        echo "yes  $1"
    else
        echo "NO   $1"
        status=1
    fi
}
# has_not WHAT TEXT PATTERN
has_not() {
    if printf '%s\n' "$2" | grep -E "$3"; then
        echo "NO   $1"
        status=1
    else
        echo "yes  $1"
    fi
}

has "position independent executable" "$head" 'Type: +DYN'
has "position independent executable, by flag" "$dynamic" 'FLAGS_1.*PIE'
has "relocations read-only" "$parts" 'GNU_RELRO'
has "all symbols bound at start" "$dynamic" 'FLAGS_1.*NOW'
has "stack not executable" "$parts" 'GNU_STACK.* RW +0x'
has_not "no segment both writable and executable" "$parts" 'LOAD.* RWE '
has "stack protector" "$symbols" '__stack_chk_fail'
has "checked library functions (_FORTIFY_SOURCE)" "$symbols" '__(memcpy|memset|memmove|[v]?snprintf|[v]?fprintf|printf|read|recv|fdelt)_chk'
has_not "no library search path inside" "$dynamic" 'R(UN)?PATH'
if grep -qF -e "$tree/" "$program"; then
    echo "NO   no path of the machine that built it"
    status=1
else
    echo "yes  no path of the machine that built it"
fi
exit $status

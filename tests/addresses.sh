# shellcheck shell=bash
# To be sourced. plain_addresses: what to start a program with a sanitizer by. Those of gcc 12 cannot
# map their shadow memory under wide address randomization.
# shellcheck disable=SC2034  # it is for who sources this
plain_addresses=()
if [ "$(cat /proc/sys/vm/mmap_rnd_bits 2>/dev/null || echo 28)" -gt 28 ] && setarch -R true 2>/dev/null; then
    plain_addresses=(setarch -R)
fi

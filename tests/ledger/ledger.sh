#!/usr/bin/env bash
# ./dev ledger: kills, starves and stops the program, its disk and PostgreSQL, and looks for doubles
# needs: @build @test
#
#     ./dev ledger [--only PART,...] [--keep]
#
# Takes hours; a part of it is in ./dev test. Programs that are wrong on purpose are built in
# build/ledger, and doubles have to be found with each of them. SEED=N makes the same choices again.
set -euo pipefail
cd "$(dirname "$0")/../.."

cmake --preset release >/dev/null
cmake --build --preset release --target oneshot-proxy ledger_shim unit_ledger.store_postgresql >/dev/null
failed=0
case " $* " in
*" --only "*) ;;
*)
    echo "==> a connection to PostgreSQL is cut at every byte of a claim"
    LEDGER_CUT_STEP=1 build/release/tests/unit_ledger.store_postgresql || failed=1
    ;;
esac
python3 -B tests/ledger/ledger.py --full --sabotaged build/ledger "$@" \
    build/release/oneshot-proxy build/release/tests/ledger/ledger_shim.so . || failed=1
exit $failed

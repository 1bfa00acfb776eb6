#!/bin/sh
# Lists the files of the tree whose names match one of the patterns ('*.c' 'dev' …), one a line;
# works in an unpacked archive too, where there is no git to ask.
set -eu
cd "$(dirname "$0")/.."
if [ -e .git ] && command -v git >/dev/null; then
    git ls-files --cached --others --exclude-standard
else
    find . \( -name build -o -name node_modules -o -name .git \) -prune -o -type f -print | sed 's|^\./||'
fi | while IFS= read -r file; do
    for pattern in "$@"; do
        # shellcheck disable=SC2254  # it is a pattern
        case ${file##*/} in
        $pattern) if [ -f "$file" ]; then echo "$file"; fi; break ;;
        esac
    done
done

#!/bin/bash
# Every test, in two processes side by side: much of the time is spent waiting (for clips to play, for containers,
# for Ansible). A folder's fixtures are dear, so a folder is never split.
set -uo pipefail
cd "$(dirname "$0")/.."
first=(tests/ansible tests/chaos tests/host tests/hosts tests/controller tests/publish tests/whole)
rest=()
for folder in tests/*/; do
    folder=${folder%/}
    case " ${first[*]} " in *" $folder "*) ;; *) rest+=("$folder") ;; esac
done
log=$(mktemp)
trap 'rm -f "$log"' EXIT
.venv/bin/pytest -p no:cacheprovider "${first[@]}" >"$log" 2>&1 &
.venv/bin/pytest -p no:cacheprovider "${rest[@]}"
code=$?
wait $!
other=$?
cat "$log"
[ "$code" = 0 ] && [ "$other" = 0 ]

#!/bin/bash
# Every test, in two processes side by side: much of the time is spent waiting (for clips to play, for containers,
# for Ansible). A folder's fixtures are dear, so a folder is never split. The lines of both come as they are written;
# what each of them failed and counted comes last.
set -uo pipefail
set -m # a background process of its own group takes SIGINT; without this bash would have it ignored
cd "$(dirname "$0")/.."
first=(tests/ansible tests/chaos tests/neighbour tests/jobs tests/docker_host)
rest=()
for folder in tests/*/; do
    folder=${folder%/}
    case " ${first[*]} " in *" $folder "*) ;; *) rest+=("$folder") ;; esac
done
logs=$(mktemp -d)
halves=()
# On Ctrl-C both end in order, as pytest does, and take with them what their fixtures began.
trap 'kill -INT "${halves[@]}" 2>/dev/null' INT TERM
trap 'rm -rf "$logs"' EXIT
.venv/bin/pytest -p no:cacheprovider "${first[@]}" >"$logs/1" 2>&1 &
halves+=($!)
.venv/bin/pytest -p no:cacheprovider "${rest[@]}" >"$logs/2" 2>&1 &
halves+=($!)
for half in 1 2; do
    tail --pid="${halves[half - 1]}" -n +1 -f "$logs/$half" | sed -u "s/^/$half | /" &
done

ended() { # a signal that is trapped ends `wait`, not what it waits for
    local code
    while wait "$1"; code=$?; kill -0 "$1" 2>/dev/null; do :; done
    return "$code"
}

ended "${halves[0]}"
code=$?
ended "${halves[1]}"
other=$?
wait
for half in 1 2; do
    echo
    sed -n '/^=.* short test summary info =/,$p' "$logs/$half" | grep . || tail -n 1 "$logs/$half"
done
[ "$code" = 0 ] && [ "$other" = 0 ]

#!/bin/sh
# Prints the path of a Python 3.13 that really runs. A pyenv shim can be on PATH and still fail, so each candidate is tried.
set -u

runs() {
    "$1" -c 'import sys, venv; raise SystemExit(sys.version_info[:2] != (3, 13))' >/dev/null 2>&1
}

if [ -n "${TOLLGATE_PYTHON:-}" ]; then
    candidates=$TOLLGATE_PYTHON
else
    candidates="python3.13 python3 $(ls -d "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.13.*/bin/python3.13 2>/dev/null | sort -t. -k3 -n -r | tr '\n' ' ')"
fi

for candidate in $candidates; do
    if runs "$candidate"; then
        "$candidate" -c 'import sys; print(sys.executable)'
        exit 0
    fi
done

cat >&2 <<'MESSAGE'
Tollgate needs Python 3.13 (the runtime of its Lambda functions) and found none that runs.
  - with pyenv:   pyenv install 3.13
  - on Debian:    apt-get install python3.13 python3.13-venv
  - or name one:  make run TOLLGATE_PYTHON=/path/to/python3.13
MESSAGE
exit 1

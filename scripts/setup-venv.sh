#!/bin/sh
# Make a virtual environment with heaptrail (editable) and its development tools.
# Works on a machine that has only python3: Debian splits ensurepip into python3-venv, which is installed when we may.
set -eu
python=$1
venv=$2

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "heaptrail needs Python 3.11 or later, and $python is $("$python" -V 2>&1)." >&2
    echo "try: make PYTHON=python3.11 (or a later one)" >&2
    exit 2
fi

make_venv() { "$python" -m venv --clear "$venv" 2>/dev/null; }

if [ ! -x "$venv/bin/pip" ] && ! make_venv; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "installing python3-venv ..." >&2
        version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        apt-get update -qq >/dev/null
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "python$version-venv" >/dev/null
        make_venv
    else
        echo "python3 cannot make a virtual environment here (ensurepip is missing)." >&2
        echo "try: sudo apt-get install python3-venv" >&2
        exit 2
    fi
fi

echo "installing heaptrail and its tools into $venv ..." >&2
"$venv/bin/pip" install --quiet --disable-pip-version-check -e '.[dev]' 2>&1 | grep -v '^WARNING' || true
"$venv/bin/heaptrail" --version >&2

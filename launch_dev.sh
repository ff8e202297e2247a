#!/usr/bin/env bash
# From a fresh clone to a running agent, or to the tests, in one command.
#
#   ./launch_dev.sh [ARGS]        set up .venv, then a full session of the built-in market (finagent demo ARGS)
#   ./launch_dev.sh serve [ARGS]  the HTTP application, reloaded when a file changes (uvicorn)
#   ./launch_dev.sh test [ARGS]   ruff, mypy --strict, import-linter, pytest with coverage; ARGS go to pytest,
#                                 and a selection of tests is not held to the coverage limits
#   ./launch_dev.sh test --full   the long proofs too
#
# FINAGENT_PYTHON names the interpreter (3.11 to 3.13); without it the newest one found is taken.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")"
root=$PWD
export FINAGENT_ENV=dev
unset PYTHONDONTWRITEBYTECODE # the tests start hundreds of processes: each would compile all modules again
venv=$root/.venv
py=$venv/bin/python
failed=()

now() { printf '%s' "${EPOCHREALTIME/,/.}"; }

step() { # step NAME COMMAND...: runs it, says how long it took, remembers a failure
  local name=$1 began status=0
  shift
  began=$(now)
  printf '==> %s\n' "$name" >&2
  "$@" || status=$?
  printf '    %s: %s after %s s\n' "$name" "$([ "$status" -eq 0 ] && echo ok || echo "FAILED ($status)")" \
    "$(awk -v a="$began" -v b="$(now)" 'BEGIN { printf "%.1f", b - a }')" >&2
  [ "$status" -eq 0 ] || failed+=("$name")
  return "$status"
}

die() { printf 'launch_dev.sh: %s\n' "$*" >&2; exit 1; }

suits() { "$1" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; }

find_python() {
  local candidate
  if [ -n "${FINAGENT_PYTHON:-}" ]; then
    suits "$FINAGENT_PYTHON" || die "FINAGENT_PYTHON=$FINAGENT_PYTHON is no Python 3.11 to 3.13 with venv: name another"
    printf '%s' "$FINAGENT_PYTHON"
    return
  fi
  for candidate in python3.13 python3.12 python3.11 python3 python; do
    if command -v "$candidate" >/dev/null && suits "$candidate"; then printf '%s' "$candidate"; return; fi
  done
  die "no Python 3.11 to 3.13 with venv found: install one, or name it with FINAGENT_PYTHON=/path/to/python3"
}

version_of() { "$1" -c 'import sys; print(*sys.version_info[:2], sep=".")' 2>/dev/null || true; }

digest() { if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi; }

make_venv() {
  local base
  base=$(find_python) || return
  "$base" -m venv --clear "$venv"
}

locked() { # locked FILE: exactly the versions and hashes of FILE; uv where it works (seconds), else pip
  UV_PYTHON_DOWNLOADS=never "$venv/bin/uv" pip install --quiet --python "$py" --require-hashes -r "$1" && return
  echo "    uv could not install $1; pip does it" >&2
  "$py" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$1"
}

build_tools() { "$py" -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/build.txt; }

project_itself() {
  "$py" -m pip install --quiet --disable-pip-version-check --no-deps --no-index --no-build-isolation -e "$root"
}

set_up() { # set_up runtime|dev
  local lock=requirements/$1.txt stamp=$venv/.finagent-$1 want wanted_version=""
  # The stamp is trusted only while it describes this folder, this lock and this project file.
  want=$(printf '%s' "$root" | cat - pyproject.toml requirements/build.txt "$lock" | digest)
  if [ -n "${FINAGENT_PYTHON:-}" ]; then
    find_python >/dev/null
    wanted_version=$(version_of "$FINAGENT_PYTHON")
  fi
  if ! suits "$py" || { [ -n "$wanted_version" ] && [ "$wanted_version" != "$(version_of "$py")" ]; }; then
    step "create .venv" make_venv || finish
  fi
  if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$want" ]; then return; fi
  rm -f "$stamp"
  step "install build tools" build_tools || finish
  step "install locked $1 dependencies" locked "$lock" || finish
  step "install finagent itself" project_itself || finish
  printf '%s\n' "$want" >"$stamp"
}

finish() {
  if [ "${#failed[@]}" -gt 0 ]; then
    printf 'launch_dev.sh: FAILED: %s\n' "$(IFS=,; printf '%s' "${failed[*]}")" >&2
    exit 1
  fi
  printf 'launch_dev.sh: all steps passed in %s s\n' "$SECONDS" >&2
  exit 0
}

run_tests() {
  local selection=() others=() argument whole=yes
  for argument in "$@"; do
    if [ "$argument" = --full ]; then
      export FINAGENT_FULL=1
      selection=(-m "full or not full")
    else
      others+=("$argument")
      whole=no
    fi
  done
  set_up dev
  step "ruff check" "$py" -m ruff check . || true
  step "ruff format" "$py" -m ruff format --check . || true
  step "mypy --strict" "$py" -m mypy --strict finagent || true
  step "import-linter" "$py" -c 'from importlinter.cli import lint_imports_command as main; main()' || true
  if [ "$whole" = yes ]; then
    rm -f .coverage .coverage.*
    step "pytest with coverage" "$py" -m pytest -n 2 --cov --cov-report=term --durations=40 ${selection[@]+"${selection[@]}"} || true
    step "domain covered to 100 %" "$py" -m coverage report --include='finagent/domain/*' --fail-under=100 || true
  else
    step "pytest ${others[*]}" "$py" -m pytest ${selection[@]+"${selection[@]}"} "${others[@]}" || true
  fi
  finish
}

case "${1:-}" in
  -h | --help) sed -n '2,/^set -/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]##*/}" ;;
  test) shift; run_tests "$@" ;;
  serve) shift; set_up runtime; exec "$py" -m uvicorn --factory finagent.app:make_app --reload --reload-dir finagent "$@" ;;
  *) set_up runtime; exec "$py" -m finagent demo "$@" ;;
esac

# Sourced by every script of this folder. A virtual environment with pinned packages and a folder to work in, both gone
# when the script ends. PYTHON names another interpreter (3.11 or newer); VENV names an environment to use and to keep,
# so that a run of all scripts installs torch once.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
venv=${VENV:-$folder/venv}
case $venv in /*) ;; *) venv=$PWD/$venv ;; esac
export HF_HOME="$folder/cache" HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false PYTHONWARNINGS=ignore

# install PACKAGE==VERSION ...
install() {
    [ -e "$venv/bin/python" ] || "${PYTHON:-python3}" -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --no-compile --disable-pip-version-check "$@"
}

# run: Python from standard input. Its exit status is the script's: 0 as described, 1 changed.
run() {
    cat >"$folder/finding.py"
    (cd "$folder" && "$venv/bin/python" finding.py)
}

# The same for Node.js: install_js PACKAGE@VERSION ..., run_js: a module from standard input.
install_js() {
    mkdir -p "$venv/js"
    npm install --prefix "$venv/js" --silent --ignore-scripts --no-audit --no-fund --no-save "$@"
}

run_js() {
    cat >"$folder/finding.mjs"
    ln -s "$venv/js/node_modules" "$folder/node_modules"
    (cd "$folder" && node finding.mjs)
}

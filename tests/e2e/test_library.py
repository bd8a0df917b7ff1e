"""The installed library: a program builds with it through pkg-config, and nothing but the interface can be seen in it."""
import os
import re
import shutil
import subprocess
import sys

import pytest

from conftest import ROOT, BUILD

pytestmark = pytest.mark.skipif(sys.platform != "linux" or not shutil.which("pkg-config"), reason="needs pkg-config on Linux")


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    if not (BUILD / "libhearth.so").exists():
        pytest.skip("this build has no library")
    prefix = tmp_path_factory.mktemp("installed")
    subprocess.run(["cmake", "--install", BUILD, "--prefix", prefix], check=True, stdout=subprocess.DEVNULL)
    return prefix


def pkg_config(prefix, *args):
    (pc,) = prefix.rglob("hearth.pc")
    env = {**os.environ, "PKG_CONFIG_PATH": str(pc.parent)}
    return subprocess.run(["pkg-config", *args, "hearth"], env=env, check=True, capture_output=True, text=True).stdout.split()


def interface():
    """Names of the functions that the headers declare for others."""
    text = "\n".join(path.read_text() for path in (ROOT / "include").glob("*.h"))
    text = re.sub(r"//[^\n]*", "", text)
    declarations = re.findall(r"^(?:HTH_API|HTH_CHECKED)\b[^;{]*?\b(hth_\w+)\(", text, re.M)
    assert len(declarations) > 25
    return set(declarations)


def test_only_the_interface_can_be_seen(installed):
    (library,) = (path for path in installed.rglob("libhearth.so") if path.exists())
    lines = subprocess.run(["nm", "-D", "--defined-only", library], check=True, capture_output=True, text=True).stdout.splitlines()
    seen = {line.split()[2].split("@")[0] for line in lines if line.split()[1] in "TDBRVW"}
    assert seen == interface()


@pytest.mark.parametrize("kind", ["shared", "static"])
@pytest.mark.parametrize("name", ["complete", "sample"])
def test_the_examples_build_and_run_against_it(installed, models, tmp_path, kind, name):
    (libdir,) = {path.parent for path in installed.rglob("libhearth.a")}
    libs = pkg_config(installed, "--libs", *(["--static"] if kind == "static" else []))
    if kind == "static":
        libs = [str(libdir / "libhearth.a") if word == "-lhearth" else word for word in libs]
    program = tmp_path / name
    source = ROOT / "examples" / f"{name}.c"
    subprocess.run([os.environ.get("CC", "cc"), "-std=c17", "-Wall", "-Werror", *pkg_config(installed, "--cflags"), source, "-o", program,
                    *libs], check=True)
    env = {**os.environ, "LD_LIBRARY_PATH": str(libdir)}
    done = subprocess.run([program, models("default"), "The capital of France is"], env=env, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert len(done.stdout) > 20 * (3 if name == "sample" else 1)
    if name == "sample":
        assert len(set(re.split(r"--- \d\n", done.stdout))) == 4  # three that differ


def test_headers_compile_alone_in_c_and_cpp(installed, tmp_path):
    (include,) = {path.parent for path in installed.rglob("hearth.h")}
    for language, standard in (("c", "c17"), ("c++", "c++17")):
        if not shutil.which("g++") and language == "c++":
            continue
        for header in include.glob("hearth*.h"):
            subprocess.run(["cc", "-x", language, f"-std={standard}", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", header],
                           check=True)

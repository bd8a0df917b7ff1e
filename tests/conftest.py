"""Where the Python tests find the program and the models, and how they run it.

HEARTH names the program (default build/release/hearth), HEARTH_MODELS the folder of fetched models
(default build/models). A test skips when what it needs is not there.
"""
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))
import fetch_models  # noqa: E402

os.environ.setdefault("HEARTH", str(ROOT / "build" / "release" / "hearth"))
if not os.access(os.environ["HEARTH"], os.X_OK):
    del os.environ["HEARTH"]
else:
    os.environ.setdefault("HEARTH_BIN", os.environ["HEARTH"])

# Probe programs lie beside the program, or in HEARTH_BUILD.
BUILD = pathlib.Path(os.environ.get("HEARTH_BUILD", ROOT / "build" / "release"))
os.environ.setdefault("HEARTH_PROBES", str(BUILD))
if (BUILD / "probe_quant").exists():
    os.environ.setdefault("HEARTH_PROBE_QUANT", str(BUILD / "probe_quant"))


@pytest.fixture(scope="session")
def hearth():
    """Path of the program."""
    path = os.environ.get("HEARTH")
    if not path:
        pytest.skip("the hearth program is not built: `make`")
    return path


@pytest.fixture(scope="session")
def run_hearth(hearth):
    """run_hearth(*args, stdin=b"", check=True, timeout=120, env={}) -> subprocess.CompletedProcess of bytes."""

    def run(*args, stdin=b"", check=True, timeout=120, env=None):
        done = subprocess.run(
            [hearth, *map(str, args)],
            input=stdin,
            capture_output=True,
            timeout=timeout,
            env={**os.environ, **(env or {})},
        )
        if check:
            assert done.returncode == 0, f"exit code {done.returncode}: {done.stderr.decode(errors='replace')[-2000:]}"
        return done

    return run


@pytest.fixture(scope="session")
def models():
    """models(NAME) -> path of a fetched file or folder; names as in tools/fetch_models.py."""

    def path_of(name):
        path = fetch_models.MODELS / fetch_models.ITEMS[name][2]
        if not path.exists():
            pytest.skip(f"the model '{name}' is not there: tools/fetch_models.py {name}")
        return path

    return path_of

"""Half an hour of conversations through 16 places: each is what it is alone, and memory does not grow."""
import os
import re
import subprocess
import sys

import pytest

from conftest import BUILD


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_half_an_hour_of_conversations_takes_no_memory():
    program = BUILD / "engine_test_soak"
    if not program.exists():
        pytest.skip("engine_test_soak is not built")
    done = subprocess.run([program], env={**os.environ, "HEARTH_SOAK_SECONDS": "1800"}, capture_output=True, text=True, timeout=3600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"conversations in \d+ s, \d+ kB of memory", done.stdout)

"""What an engine plans for keys, values and work space is what the process takes: within 3 percent, or 32 MB."""
import json
import subprocess
import sys

import pytest

from conftest import BUILD

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
CASES = [("default", 1024, 4, "f16")] + [
    pytest.param(*case, marks=pytest.mark.long)
    for case in [("default", 2048, 4, "f32"), ("default", 2048, 8, "q8_0"), ("gemma", 2048, 4, "f16"), ("gemma", 4096, 2, "q8_0")]
]


@pytest.mark.parametrize("model, n_ctx, n_sequence, kind", CASES)
def test_the_plan_is_what_is_taken(models, model, n_ctx, n_sequence, kind):
    probe = BUILD / "probe_memory"
    if not probe.exists():
        pytest.skip("probe_memory is not built")
    done = subprocess.run([probe, models(model), str(n_ctx), str(n_sequence), kind], capture_output=True, check=True, timeout=1200)
    said = json.loads(done.stdout)
    planned = said["kv"] + said["scratch"]
    assert abs(said["grown"] - planned) <= max(0.03 * planned, 32e6), said

"""Speculation never changes a token: the same ids with and without, at temperature 0 and above, in a line and in a tree,
guessed from n-grams and by a model."""
import json
import os
import pathlib
import subprocess

import pytest

COPY = """Repeat this list twice, exactly as it is.
1. alpha = first_value(settings, "alpha")
2. beta = second_value(settings, "beta")
3. gamma = third_value(settings, "gamma")
1. alpha = first_value(settings, "alpha")
2. beta = second_value("""


@pytest.fixture
def run_probe(tmp_path):
    path = pathlib.Path(os.environ.get("HEARTH_PROBES", "build/release")) / "probe_draft"
    if not path.exists():
        pytest.skip("probe_draft is not built")

    def run(model, *words, check=True):
        (tmp_path / "prompt").write_text(COPY)
        done = subprocess.run([path, model, tmp_path / "prompt", "n=40", *words], capture_output=True, timeout=300)
        if not check:
            return done
        assert done.returncode == 0, done.stderr.decode()
        return json.loads(done.stdout)

    return run


@pytest.mark.parametrize("words", [[], ["temp=1", "seed=11"], ["tree=1"], ["tree=1", "temp=1", "seed=5"], ["most=3"]], ids=" ".join)
def test_lookup_gives_the_tokens_of_the_model_alone(run_probe, models, words):
    answer = run_probe(models("default"), *words)
    assert answer["same"]
    assert answer["accepted"] > 5, "the test has seen no speculation"


def test_a_draft_model_gives_the_tokens_of_the_model_alone(run_probe, models):
    """The model drafts for itself: all is accepted at temperature 0, and with the same seed nearly all above."""
    model = models("default")
    greedy = run_probe(model, f"draft={model}")
    assert greedy["same"] and greedy["accepted"] >= 0.9 * greedy["drafted"] > 0
    drawn = run_probe(model, f"draft={model}", "temp=1", "seed=4")
    assert drawn["same"] and drawn["accepted"] >= 0.7 * drawn["drafted"] > 0


def test_a_draft_model_with_another_vocabulary_is_refused(run_probe, models):
    done = run_probe(models("default"), f"draft={models('gemma')}", check=False)
    assert done.returncode == 1 and b"draft model" in done.stderr

#!/usr/bin/env python3
"""Runs the unit tests of a build folder, then the Python tests, and counts test cases.

    tools/run_tests.py BUILD [--build JOBS] [--only REGEX] [--runner COMMAND] [--python[=long]]

With --build everything is built first; what does not build is one failure, and the rest runs. The last line is `N passed, M failed`. Exit code 1 when anything failed or nothing ran.
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import xml.etree.ElementTree

ROOT = pathlib.Path(__file__).resolve().parents[1]
TIMEOUT = 900  # seconds for one unit test program


def unit_tests(build, only):
    """[(name, command)] of what the build folder registered with ctest."""
    listing = subprocess.run(
        ["ctest", "--test-dir", str(build), "--show-only=json-v1"], capture_output=True, text=True, check=True
    )
    tests = [(t["name"], t["command"]) for t in json.loads(listing.stdout)["tests"] if "command" in t]
    return [t for t in tests if re.search(only, t[0])]


def count_cases(output, code):
    """Passed and failed test cases of one program. A program that dies, or fails without saying which
    case did, counts as one failure besides what it passed."""
    passed = len(re.findall(r"^\[ +OK ] ", output, re.M))
    failed = {m.group(1) for m in re.finditer(r"^\[ +(?:FAILED|ERROR) +] ([A-Za-z_]\w*)$", output, re.M)}
    n_failed = len(failed)
    if code != 0 and n_failed == 0:
        n_failed = 1
    if code == 0 and passed == 0 and "[==========]" not in output:
        passed = 1  # no cmocka program: the whole is one case
    return passed, n_failed


def run_build(build, jobs):
    """Builds all that can be built; says whether that was everything."""
    command = ["cmake", "--build", str(build), "-j", str(jobs), "--", "-k", "0"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode == 0:
        return True
    lines = done.stdout.decode(errors="replace").splitlines()
    print("\n".join(l for l in lines if not re.match(r"\[\d+/\d+\] (?:Building|Linking)", l)))
    print("FAIL build", flush=True)
    return False


def run_unit_test(command):
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=TIMEOUT
        )
        return done.stdout.decode(errors="replace"), done.returncode
    except OSError as e:
        return f"not built: {e}\n", 127
    except subprocess.TimeoutExpired as e:
        return (e.stdout or b"").decode(errors="replace") + f"\nended after {TIMEOUT} s\n", 124


def run_unit_tests(tests, runner):
    total = [0, 0]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = [(name, pool.submit(run_unit_test, runner + command)) for name, command in tests]
        for name, job in jobs:
            output, code = job.result()
            passed, failed = count_cases(output, code)
            total[0] += passed
            total[1] += failed
            print(f"{'FAIL' if failed else 'ok  '} {name}: {passed} passed, {failed} failed", flush=True)
            if failed:
                print(output, f"exit code {code}", flush=True)
    return total


def run_python_tests(build, which):
    """Runs pytest in its environment; counts come from its report, so that a crash of it is seen."""
    venv = ROOT / "build" / ("venv-long" if which == "long" else "venv")
    report = ROOT / "build" / "pytest.xml"
    report.unlink(missing_ok=True)
    env = dict(os.environ)
    env.setdefault("HEARTH_BUILD", str(build))
    env.setdefault("HEARTH", str(build / "hearth"))
    env.setdefault("HEARTH_BIN", env["HEARTH"])
    command = [venv / "bin" / "python", "-m", "pytest", "-q", "-rs", f"--junitxml={report}", ROOT / "tests"]
    command += ["-m", "long" if which == "long" else "not long"]
    if which != "long":  # those take all cores for themselves
        command += ["-n", min(os.cpu_count() or 1, 8), "--dist", "loadfile"]
    code = subprocess.run([str(c) for c in command], cwd=ROOT, env=env, stdin=subprocess.DEVNULL).returncode
    try:
        suites = xml.etree.ElementTree.parse(report).getroot().findall("testsuite")
    except (OSError, xml.etree.ElementTree.ParseError):
        return [0, 1]
    count = {k: sum(int(s.get(k, 0)) for s in suites) for k in ("tests", "failures", "errors", "skipped")}
    failed = count["failures"] + count["errors"]
    passed = max(0, count["tests"] - failed - count["skipped"])
    if code not in (0, 5) and failed == 0:  # 5: nothing was selected
        failed = 1
    return [passed, failed]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--build", dest="jobs", metavar="JOBS", help="build first, so many steps at once")
    parser.add_argument("--only", default="", help="run the unit tests whose name matches")
    parser.add_argument("--runner", default="", help="command in front of each unit test, as an emulator")
    parser.add_argument("--python", nargs="?", const="short", choices=["short", "long"])
    args = parser.parse_args()
    build = args.build.resolve()
    is_built = run_build(build, args.jobs) if args.jobs else True
    passed, failed = run_unit_tests(unit_tests(build, args.only), shlex.split(args.runner))
    failed += not is_built
    if args.python:
        more = run_python_tests(build, args.python)
        passed, failed = passed + more[0], failed + more[1]
    sys.stdout.flush()
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed or passed == 0 else 0)


if __name__ == "__main__":
    main()

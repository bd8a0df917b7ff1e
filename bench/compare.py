#!/usr/bin/env python3
"""Compares Hearth with llama.cpp and ik_llama.cpp on this machine: same files, same threads, in turns.

    bench/compare.py MODEL.gguf... --llama-bench PATH [--ik-llama-bench PATH] [--rounds 10] [--out build/compare]

One round measures the machine's limits and then, for every model, runs each program once; who begins changes from
round to round, because such machines are not equally fast from minute to minute. What counts is the median of the
rounds. After each round OUT.csv (every single measurement) and OUT.md (the table) are written anew; the last table is
printed too. With --append the rounds come to those that OUT.json remembers, so that a shared machine can be measured in
slices, and an interrupted run goes on.

With --users 1,8 Hearth also generates for eight sequences together, counted together. llama-bench has no such test;
where a peer's llama-batched-bench lies beside its llama-bench, that is asked.

Shares are of the median limits. For prompts: two operations per weight against the peak of the unit that Hearth says
it uses (8-bit integers: also against what vectors reach where there are tiles). For generated tokens: bytes of weights per second against the ceiling, which is how fast the probe reads
memory or, where that is more, how fast any of the programs read this file.
"""
import argparse
import csv
import datetime
import json
import os
import pathlib
import platform
import shlex
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
# Numbers of `hearth bench --machine`: what the CSV calls them, unit, divisor.
LIMITS = {
    "read_bytes_per_second": ("read", "GB/s", 1e9),
    "f32_ops_per_second": ("f32", "GFLOPS", 1e9),
    "bf16_ops_per_second": ("bf16", "GFLOPS", 1e9),
    "int8_ops_per_second": ("int8", "TOPS", 1e12),
    "int8_vector_ops_per_second": ("int8 in vectors", "TOPS", 1e12),
}


def run_json(command):
    """The JSON that a program prints; ends this program where there is none."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == 0:
        try:
            return json.loads(done.stdout)
        except json.JSONDecodeError:
            pass
    said = (done.stderr or done.stdout).strip().splitlines()
    sys.exit(f"compare: {shlex.join(command)}: exit code {done.returncode}: {said[-1] if said else 'no JSON'}")


def run_batched(command, args, path):
    """What llama-batched-bench measures of several sequences, as entries like llama-bench's."""
    users = [n for n in args.users.split(",") if int(n) > 1]
    if not users or not command[0].exists():
        return []
    depth, n_gen = args.depth.split(",")[0], args.n_gen.split(",")[0]
    n_ctx = max(map(int, users)) * (int(depth) + int(n_gen) + 1)
    command = [str(command[0].resolve()), "-m", str(path.resolve()), "-npp", str(max(int(depth), 1)), "-ntg", n_gen, "-npl", ",".join(users),
               "-c", str(n_ctx), "-t", str(args.threads), "--output-format", "jsonl"]
    with tempfile.TemporaryDirectory() as folder:  # it may leave a log where it runs
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    if done.returncode != 0:
        sys.exit(f"compare: {shlex.join(command)}: exit code {done.returncode}: {done.stderr.strip().splitlines()[-1:]}")
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    for line in [] if rows else (done.stdout + done.stderr).splitlines():  # ik_llama.cpp's prints a table only
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if len(cells) == 10 and cells[0].isdigit():
            rows.append({"tg": int(cells[1]), "pl": int(cells[2]), "speed_tg": float(cells[7])})
    return [dict(n_prompt=0, n_gen=r["tg"], n_depth=int(depth), n_users=r["pl"], avg_ts=r["speed_tg"]) for r in rows]


def test_name(entry):
    kind, n = ("pp", entry["n_prompt"]) if entry["n_prompt"] else ("tg", entry["n_gen"])
    depth, users = entry.get("n_depth", 0), entry.get("n_users", 1)
    return f"{kind}{n}" + (f" @ {depth}" if depth else "") + (f" x {users}" if users > 1 else "")


def peak_of(entry, limits):
    """Operations per second of the unit that multiplies this model's weights."""
    if entry["peak"] == "int8":
        return limits["int8_ops_per_second"]
    f32 = limits["f32_ops_per_second"]
    return max(f32, limits["bf16_ops_per_second"]) if entry["peak"] == "bf16" else f32


class Measurements:
    """Every measurement so far: speeds by (model, test, program), limits by name, and rows for the CSV."""

    def __init__(self, known=None):
        known = known or {}
        self.speeds = {tuple(key): values for key, values in known.get("speeds", [])}
        self.limits, self.rows = known.get("limits", {}), known.get("rows", [])
        # (model, test) -> Hearth's entry, which tells bytes and operations per token
        self.costs = {tuple(key): entry for key, entry in known.get("costs", [])}

    def n_round(self):
        return 1 + max((row[0] for row in self.rows), default=-1)

    def n_sample(self):
        return min(map(len, self.speeds.values()), default=0)

    def to_json(self):
        return json.dumps({"speeds": list(self.speeds.items()), "limits": self.limits, "rows": self.rows,
                           "costs": list(self.costs.items())})

    def add_limits(self, i_round, limits):
        for key, (name, unit, divisor) in LIMITS.items():
            if key not in limits:
                continue
            self.limits.setdefault(key, []).append(limits[key])
            self.rows.append((i_round, "machine", "", name, limits[key] / divisor, unit))

    def add(self, i_round, program, model, entries):
        for entry in entries:
            test = test_name(entry)
            self.speeds.setdefault((model, test, program), []).append(entry["avg_ts"])
            self.rows.append((i_round, program, model, test, entry["avg_ts"], "t/s"))
            if program == "hearth":
                self.costs[model, test] = entry

    def median(self, model, test, program):
        """None where the program has no such test."""
        speeds = self.speeds.get((model, test, program))
        return statistics.median(speeds) if speeds else None


def share_of(found, model, test, programs, limits):
    """What Hearth reaches of the limit, as text."""
    entry, speed = found.costs[model, test], found.median(model, test, "hearth")
    n_ops, vectors = entry["ops_per_token"] * speed, limits.get("int8_vector_ops_per_second", 0)
    in_vectors = f", {100 * n_ops / vectors:.0f} % in vectors" if entry["peak"] == "int8" and vectors else ""
    if entry["n_prompt"]:
        return f"{100 * n_ops / peak_of(entry, limits):.0f} % of {entry['peak']}{in_vectors}"
    n_bytes = entry["bytes_per_token"]
    if entry.get("n_users", 1) > 1:
        one = found.median(model, test.split(" x ")[0], "hearth")
        return f"{speed / one:.1f} times one" if one else ""
    ceiling = max([limits["read_bytes_per_second"]] + [n_bytes * (found.median(model, test, p) or 0) for p in programs])
    return f"{100 * n_bytes * speed / ceiling:.0f} % of read"


def load_note():
    """A sentence for the table when others use this machine: what it then measures is how programs bear that."""
    load, n = os.getloadavg()[0], os.cpu_count() or 1
    return f" The machine was not idle before (load {load:.1f} on {n} CPUs)." if load > 0.25 * n else ""


def write_table(found, programs, args, machine, note):
    limits = {key: statistics.median(values) for key, values in found.limits.items()}
    what = ", ".join(f"{name} {limits[key] / divisor:.3g} {unit}" for key, (name, unit, divisor) in LIMITS.items()
                     if key in limits)
    peers = programs[1:]
    head = ["model", "test", "hearth t/s"]
    for peer in peers:
        head += [f"{peer} t/s", "ratio"]
    lines = [
        f"{datetime.date.today()}, {machine['cpu_info']}, {machine['n_threads']} threads, {platform.system()} "
        f"{platform.machine()}; medians of {found.n_sample()} rounds. Limits: {what}.{note}",
        "",
        "| " + " | ".join(head + ["share of limit"]) + " |",
        "| :--- | :--- |" + " ---: |" * (len(head) - 2) + " :--- |",
    ]
    for model, test in found.costs:
        speed = found.median(model, test, "hearth")
        cells = [model, test, f"{speed:.1f}"]
        for peer in peers:
            other = found.median(model, test, peer)
            cells += [f"{other:.1f}", f"{speed / other:.2f}"] if other else ["", ""]
        lines.append("| " + " | ".join(cells + [share_of(found, model, test, programs, limits)]) + " |")
    return "\n".join(lines) + "\n"


def commands_of(args):
    """Program name -> the command without model; Hearth is the first."""
    tests = ["-p", args.n_prompt, "-n", args.n_gen, "-r", str(args.repetitions), "-o", "json", "-t", str(args.threads)]
    if args.depth != "0":  # ik_llama.cpp's does not know it
        tests += ["-d", args.depth]
    users = ["-b", args.users]
    commands = {"hearth": [args.hearth, "bench", *tests, *users, "--no-limits", *shlex.split(args.hearth_args)]}
    if args.llama_bench:
        commands["llama.cpp"] = [args.llama_bench, *tests, *shlex.split(args.llama_args)]
    if args.ik_llama_bench:
        commands["ik_llama.cpp"] = [args.ik_llama_bench, *tests, *shlex.split(args.ik_llama_args)]
    return commands


def measure(args, commands, note):
    memory = pathlib.Path(f"{args.out}.json")
    found = Measurements(json.loads(memory.read_text()) if args.append and memory.exists() else None)
    before = found.n_round()
    programs = list(commands)
    for i in range(before, before + args.rounds):
        machine = run_json([args.hearth, "bench", "--machine", "--json", "-t", str(args.threads)])
        found.add_limits(i, machine)
        first = i % len(programs)
        for path in args.models:
            for program in programs[first:] + programs[:first]:
                if not args.quiet:
                    print(f"round {i + 1} of {before + args.rounds}: {program} {path.name}", file=sys.stderr, flush=True)
                option = [str(path)] if program == "hearth" else ["-m", str(path)]
                found.add(i, program, path.name, run_json(commands[program] + option))
                if program != "hearth":
                    beside = pathlib.Path(commands[program][0]).with_name("llama-batched-bench")
                    found.add(i, program, path.name, run_batched([beside], args, path))
        check_complete(found, programs)
        table = write_all(found, programs, args, machine, note)
    return table


def check_complete(found, programs):
    for model, test in found.costs:
        for program in programs:
            if " x " not in test and (model, test, program) not in found.speeds:
                sys.exit(f"compare: {program} did not report {test} of {model}")


def write_all(found, programs, args, machine, note):
    """The measurements so far, so that an interrupted run has lost no more than its last round."""
    table = write_table(found, programs, args, machine, note)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{args.out}.csv", "w", newline="") as f:
        rows = csv.writer(f)
        rows.writerow(["round", "program", "model", "test", "value", "unit"])
        rows.writerows(found.rows)
    pathlib.Path(f"{args.out}.md").write_text(table)
    pathlib.Path(f"{args.out}.json").write_text(found.to_json())
    return table


def parse_arguments():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("models", nargs="+", type=pathlib.Path, help="GGUF files")
    p.add_argument("--hearth", default=os.environ.get("HEARTH", str(ROOT / "build" / "release" / "hearth")))
    p.add_argument("--llama-bench", help="path of llama.cpp's llama-bench")
    p.add_argument("--ik-llama-bench", help="path of ik_llama.cpp's llama-bench")
    p.add_argument("--rounds", type=int, default=10)
    p.add_argument("--repetitions", type=int, default=1, help="of each test in one run of a program (default: 1)")
    p.add_argument("-t", "--threads", type=int, default=os.cpu_count() or 1)
    p.add_argument("-p", "--n-prompt", default="512")
    p.add_argument("-n", "--n-gen", default="64")
    p.add_argument("-d", "--depth", default="0")
    p.add_argument("-b", "--users", default="1", help="sequences that Hearth generates together, such as 1,8")
    p.add_argument("--hearth-args", default="", help="more options for hearth bench, in one string")
    p.add_argument("--llama-args", default="", help="more options for llama-bench, such as '--repack 0'")
    p.add_argument("--ik-llama-args", default="", help="more options for ik_llama.cpp's")
    p.add_argument("--out", type=pathlib.Path, default=ROOT / "build" / "compare", help="path without ending")
    p.add_argument("--append", action="store_true", help="add to the rounds of an earlier run with the same --out")
    p.add_argument("--quiet", action="store_true", help="no progress on standard error")
    args = p.parse_args()
    if args.rounds < 1 or args.repetitions < 1:
        p.error("--rounds and --repetitions begin at 1")
    if len({path.name for path in args.models}) != len(args.models):
        p.error("two models have the same file name")
    for path in args.models:
        if not path.exists():
            p.error(f"{path} is not there")
    return args


def main():
    args = parse_arguments()
    commands = commands_of(args)
    note = load_note()
    if note:
        print(f"compare:{note}", file=sys.stderr)
    print(measure(args, commands, note), end="")


if __name__ == "__main__":
    main()

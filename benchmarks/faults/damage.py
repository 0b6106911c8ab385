"""Files of runs and of the cache, damaged in every way: is it named, and does the same command make it good?"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from amc.errors import RefusedInput
from amc.weights.verification import verify_run
from benchmarks.faults import machine
from benchmarks.faults.judging import differences, found, runs_below
from benchmarks.faults.killed import SETTINGS, Row, Sabotage

Damage = Callable[[bytes, np.random.Generator], bytes | None]


def _bit(content: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(content)
    changed[rng.integers(len(changed))] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _digit(content: bytes, rng: np.random.Generator) -> bytes:
    digits = [place for place, byte in enumerate(content) if chr(byte).isdigit()]
    if not digits:
        return _bit(content, rng)
    place = int(rng.choice(digits))
    changed = b"%d" % ((content[place] - 48 + int(rng.integers(1, 10))) % 10)
    return content[:place] + changed + content[place + 1 :]


def _cut(content: bytes, rng: np.random.Generator) -> bytes:
    return content[: int(rng.integers(len(content)))]


def _zeros(content: bytes, rng: np.random.Generator) -> bytes:
    begin = int(rng.integers(len(content)))
    end = min(begin + 512, len(content))
    lost = (b"\0" if any(content[begin:end]) else b"\xff") * (end - begin)
    return content[:begin] + lost + content[end:]


def _gone(_content: bytes, _rng: np.random.Generator) -> None:
    return None


def _longer(content: bytes, rng: np.random.Generator) -> bytes:
    return content + rng.bytes(40)


DAMAGES: dict[str, Damage] = {
    "flipped bit": _bit,
    "changed digit": _digit,
    "cut off": _cut,
    "a block of zeros": _zeros,
    "deleted": _gone,
    "bytes behind the end": _longer,
}


def damages(numbers: range, workshop: Path, sabotage: Sabotage | None = None) -> Iterator[Row]:
    """Damage one file of a run, finished or not, or of the cache, and give the command again."""
    bases = [
        _Base(workshop / name, name, finished)
        for name, finished in (("two stages", True), ("random", True), ("random", False))
    ]
    failures: dict[str, list[str]] = {name: [] for name in DAMAGES}
    tried = dict.fromkeys(DAMAGES, 0)
    for number in numbers:
        rng = np.random.default_rng(number)
        base = bases[number % len(bases)]
        kind = list(DAMAGES)[int(rng.integers(len(DAMAGES)))]
        name = base.names[(number // len(bases)) % len(base.names)]
        place = workshop / str(number)
        shutil.copytree(base.place, place)
        after = DAMAGES[kind]((place / name).read_bytes(), rng)
        (place / name).unlink() if after is None else (place / name).write_bytes(after)
        tried[kind] += 1
        wrong = base.judge(place, name, sabotage)
        if wrong:
            failures[kind].append(f"{base.setting}{'' if base.finished else ', unfinished'}, {name}: {wrong}")
        shutil.rmtree(place)
    for kind, count in tried.items():
        if count:
            yield Row(f"damage: {kind}", "runs of 1 and 2 stages, unfinished ones, cache", count, count, failures[kind])


class _Base:
    def __init__(self, place: Path, setting: str, finished: bool) -> None:
        self.place = place.with_name(f"{place.name} {finished}")
        self.setting, self.finished = setting, finished
        self.place.mkdir()
        machine.warm_up(SETTINGS[setting])
        machine.run(self.place, SETTINGS[setting])
        self.expected, self.with_cache = found(self.place), found(self.place, cache=True)
        if not finished:
            (run,) = runs_below(self.place)
            for path in run.iterdir():
                if path.suffix in (".png", ".html", ".safetensors") or path.name in (
                    "result.json",
                    "made.json",
                    "SHA256SUMS",
                ):
                    path.unlink()
            for name in ("trials.jsonl", "timings.jsonl"):
                lines = (run / name).read_bytes().splitlines(keepends=True)
                (run / name).write_bytes(b"".join(lines[:4]))
        self.names = sorted(
            str(path.relative_to(self.place))
            for path in self.place.rglob("*")
            if path.is_file() and path.suffix not in (".log", ".yaml", ".lock") and not path.name.startswith(".")
        )

    def judge(self, place: Path, name: str, sabotage: Sabotage | None) -> str:
        of_cache, deleted = name.startswith("cache"), not (place / name).exists()
        if of_cache:
            # Nothing but a run that needs it tells what a network in the cache is worth.
            shutil.rmtree(place / "outputs")
        named = not of_cache and self._named(place, sabotage)
        ended = machine.run(place, SETTINGS[self.setting], sabotage)
        if not self.finished and Path(name).name == "asked.json" and ended.code in (2, 4):
            return "" if len(machine.error_lines(ended)) == 1 and "asked.json" in ended.errors else ended.errors
        if ended.code != 0:
            return f"exit code {ended.code}: {ended.errors[-300:]}"
        if wrong := differences(place, self.with_cache if of_cache else self.expected, cache=of_cache):
            return f"not made good: {wrong}"
        (run,) = runs_below(place)
        logged = Path(name).name in (run / "search.log").read_text() or Path(name).name in ended.errors
        # Of a run that is not finished nothing tells that a file was there; what is lost is made again.
        unknown = deleted and (of_cache or not self.finished)
        return "" if named or logged or unknown else "named nowhere"

    @staticmethod
    def _named(place: Path, sabotage: Sabotage | None) -> bool:
        def verify() -> int:
            if sabotage is not None:
                sabotage()
            try:
                return any(file.damage for run in runs_below(place) for file in verify_run(run))
            except RefusedInput:
                return True

        return machine.in_child(verify, 2) == 1

"""Whether what a run left is what an undisturbed one leaves."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from amc.report.provenance import MADE
from amc.weights.verification import verify_run

TIMES = {"search_seconds", "latency_ms", "latencies", "sha256", "median_ms", "low_ms", "high_ms", "times", "since"}


def runs_below(place: Path) -> list[Path]:
    """Return the folders of runs below a place."""
    return sorted({path.parent for path in place.rglob("trials.jsonl") if not path.parent.name.startswith("stage")})


def found(place: Path, *, cache: bool = False) -> Mapping[str, Any]:
    """Return what runs left in a place, but for times: trials and weights byte by byte, results by their values.

    Args:
        place: where they ran.
        cache: whether the networks in the cache count. A run that was finished does not look for what is lost of them.
    """
    left: dict[str, Any] = {}
    for run in runs_below(place):
        for path in sorted(run.rglob("*")):
            name = str(path.relative_to(place))
            if path.is_dir() or path.suffix in (".log", ".yaml") or path.name.endswith(".lock"):
                continue
            left[name] = _values(path)
    for path in sorted((place / "cache").rglob("*.safetensors")) if cache else ():
        left[str(path.relative_to(place))] = path.read_bytes()
    left["left behind"] = sorted(str(path.relative_to(place)) for path in place.rglob(".*.part"))
    return left


def _values(path: Path) -> Any:  # noqa: ANN401  whatever stands for the file
    if path.name in ("trials.jsonl",) or path.suffix == ".safetensors":
        return path.read_bytes()
    if path.suffix == ".json" and path.name != MADE:
        try:
            return but_for_times(json.loads(path.read_text()))
        except ValueError:  # it is damaged
            return path.read_bytes()
    return path.suffix  # pictures, pages, seconds and digests of them: their being there, and being whole, is verified


def but_for_times(value: Any) -> Any:  # noqa: ANN401  JSON
    """Return JSON without what depends on the clock."""
    if isinstance(value, dict):
        return {key: but_for_times(each) for key, each in value.items() if key not in TIMES}
    return [but_for_times(each) for each in value] if isinstance(value, list) else value


def differences(place: Path, expected: Mapping[str, Any], *, cache: bool = False) -> str:
    """Return, in a line, what of a place is not as expected, or is damaged; empty where all is well."""
    left = found(place, cache=cache)
    different = sorted(key for key in {*expected, *left} if expected.get(key) != left.get(key))
    if different:
        return f"other {', '.join(different[:4])}"
    damage = [f"{run.name}/{file.name}" for run in runs_below(place) for file in verify_run(run) if file.damage]
    return f"damaged {', '.join(damage[:4])}" if damage else ""

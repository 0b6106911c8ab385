"""``python -m amc``: what there is."""

import sys

import amc

COMMANDS = {
    "search": "searches keep ratios, fine-tunes the best networks, measures and reports the winner",
    "train": "trains a dense network and keeps it for amc.search",
    "export": "writes a pruned network for onnxruntime, OpenVINO or torch, and compares it with torch",
    "profile": "measures a table of latencies for a network, here or on another machine",
    "compare": "says which search policy is best, from the folders of finished runs",
    "verify": "says what the folder of a run is worth: whether every file is whole and none is missing",
}


def main(arguments: list[str]) -> int:
    """List the commands, a line each, and return the exit code."""
    if "--version" in arguments:
        print(f"amc-search {amc.__version__}")
        return 0
    if arguments and arguments[0] not in ("-h", "--help"):
        known = ", ".join(f"python -m amc.{name}" for name in COMMANDS)
        print(f"amc: {arguments[0]!r} is no command; there are {known}", file=sys.stderr)
        return 2
    print(f"amc-search {amc.__version__}\n")
    for name, purpose in COMMANDS.items():
        print(f"{f'python -m amc.{name}':22} or {f'amc-{name}':12} {purpose}")
    print("\n--help after a command lists what can be asked of it. In Python: amc.prune, amc.load.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

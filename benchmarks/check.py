"""Figure: the default check of a submission as a share of what making it cost.

python benchmarks/check.py submissions/phase1/NAME --data DIR
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from isckit.judge.audit.manifest import read_manifest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="submission folder with its manifest")
    parser.add_argument("--data", type=Path, required=True, help="the images")
    arguments = parser.parse_args()
    run = read_manifest(arguments.folder)["costs"]["total"]["seconds"]
    kit = [sys.executable, "-m", "isckit", "check", str(arguments.folder), "--data", str(arguments.data)]
    for words, options in (("default", []), ("records only", ["--sample", "0"])):
        start = time.perf_counter()
        done = subprocess.run([*kit, *options], capture_output=True, text=True, check=False)
        spent = time.perf_counter() - start
        if done.returncode:
            sys.exit(done.stdout + done.stderr)
        print(f"{words:13} check {spent:6.1f} s, run {run:7.1f} s: {spent / run:.1%}")


if __name__ == "__main__":
    main()

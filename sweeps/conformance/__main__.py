"""`python -m sweeps.conformance --plugins DIR`: test a folder of plug-ins. Further arguments are
pytest's: `-k leaky_rnn` tests one file, `-x` stops at the first failure."""

import sys

SUITES = ("zoneout_core.conformance", "sweeps.conformance")
LACKING = "The conformance suite needs pytest. Install it with: pip install pytest\n"


def main() -> int:
    """Run the suites and return pytest's exit code; 0 = all rules hold."""
    try:
        import pytest
    except ImportError:
        sys.stderr.write(LACKING)
        return 2
    options = ["-p", f"{SUITES[0]}.options", "-o", "addopts=", "-p", "no:cacheprovider"]
    return pytest.main([*options, "--pyargs", *SUITES, *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())

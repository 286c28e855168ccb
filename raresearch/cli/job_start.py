"""What a job runs first: `python -m raresearch.cli.job_start VERSIONS ARGUMENTS…` checks versions, then is `raresearch ARGUMENTS…`."""

from __future__ import annotations

import json
import sys


def main() -> None:
    """Exit as the command line does; status 2 with one line where versions differ."""
    from raresearch.cli.main import main as command_line
    from raresearch.errors import UserError
    from raresearch.jobs.pins import check

    try:
        check(json.loads(sys.argv[1]))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    command_line(sys.argv[2:])


if __name__ == "__main__":
    main()

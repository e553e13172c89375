"""`python -m local.sagemaker`: run the stand-in."""

import argparse
import asyncio
import logging
import os
import sys
from pathlib import Path

from local.sagemaker.seed import DEFAULT_FILE
from local.sagemaker.server import Options, run
from local.sagemaker.settings import ACCOUNT, Settings


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="local.sagemaker", description=__doc__)
    parser.add_argument("--port", type=int, default=4599)
    parser.add_argument("--aws-endpoint", default="http://127.0.0.1:4566", help="the AWS emulator")
    parser.add_argument("--region", default="us-east-1")
    parser.add_argument("--account", default=ACCOUNT)
    parser.add_argument("--config", type=Path, default=DEFAULT_FILE, help="what exists from the start (TOML)")
    parser.add_argument("--state-dir", type=Path, help="where state outlives the process; none: nowhere")
    parser.add_argument("--bucket", help="where seeded async endpoints write")
    parser.add_argument("--success-topic", help="ARN of their success topic")
    parser.add_argument("--error-topic", help="ARN of their error topic")
    parser.add_argument("--log-level", default="WARNING")
    given = parser.parse_args()
    logging.basicConfig(level=given.log_level, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    settings = Settings(
        region=given.region,
        aws_endpoint=given.aws_endpoint,
        account=given.account,
        bucket=given.bucket,
        success_topic=given.success_topic,
        error_topic=given.error_topic,
    )
    code = 0
    try:
        asyncio.run(run(Options(given.port, settings, given.config, given.state_dir)))
    except OSError as error:
        print(f"SageMaker stand-in cannot serve on port {given.port}: {error}", file=sys.stderr)
        code = 1
    # Everything is stored and closed. Threads inside the model runtimes may still be at work, and would abort the
    # process if the interpreter were taken down around them.
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    main()

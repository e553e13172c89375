"""What the stand-in was told: where AWS is, how long instances take to start, where async results go."""

from dataclasses import dataclass, field

from local.sagemaker.wire import Json

ACCOUNT = "000000000000"


@dataclass(slots=True)
class Settings:
    """Settings; those of the last group may change while the server runs.

    Attributes:
        aws_endpoint: base URL of the AWS emulator (S3, SNS, EventBridge, Lambda, SQS).
        model_limit_seconds: how long a container may take to answer; AWS gives it 60 s.
        start_seconds: seconds for an instance to start, by `endpoint:NAME`, by instance type, or `default`.
        queue_limit: requests that may wait before one variant, beyond those in service.
        bucket: where seeded async endpoints write; they are made once it is known.
    """

    region: str
    aws_endpoint: str
    account: str = ACCOUNT
    queue_limit: int = 256
    model_limit_seconds: float = 60.0
    start_seconds: dict[str, float] = field(default_factory=lambda: {"default": 0.2})
    bucket: str | None = None
    success_topic: str | None = None
    error_topic: str | None = None

    def arn(self, kind: str, name: str) -> str:
        """Return the ARN of a SageMaker resource; AWS writes its name in lower case."""
        return f"arn:aws:sagemaker:{self.region}:{self.account}:{kind}/{name.lower()}"

    def log_arn(self, endpoint: str) -> str:
        """Return the URL-less log group a ModelError points at."""
        return f"arn:aws:logs:{self.region}:{self.account}:log-group:/aws/sagemaker/Endpoints/{endpoint}"

    def start_time(self, endpoint: str, instance_type: str, environment: Json) -> float:
        """Return how many seconds an instance takes to start.

        The model's own environment (`STANDIN_START_SECONDS`) goes first, then the endpoint, the instance
        type, the default.
        """
        if "STANDIN_START_SECONDS" in environment:
            return float(environment["STANDIN_START_SECONDS"])
        named = self.start_seconds.get(f"endpoint:{endpoint}", self.start_seconds.get(instance_type))
        return self.start_seconds.get("default", 0.2) if named is None else named

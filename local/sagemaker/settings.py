"""What the stand-in was told: where AWS is, how long instances take to start, where async results go."""

from dataclasses import dataclass, field

ACCOUNT = "000000000000"


@dataclass(slots=True)
class Settings:
    """Settings; those of the last group may change while the server runs.

    Attributes:
        aws_endpoint: base URL of the AWS emulator (S3, SNS, EventBridge, Lambda, SQS).
        model_limit_seconds: how long a container may take to answer; AWS gives it 60 s.
        start_seconds: seconds for an instance to start, by `endpoint:NAME`, by instance type, or `default`.
        queue_limit: requests that may wait before one variant, beyond those in service.
        metrics_seconds: how often CloudWatch metrics are sent, 0 for never; on AWS it is every minute.
        bucket: where seeded async endpoints write; they are made once it is known.
    """

    region: str
    aws_endpoint: str
    account: str = ACCOUNT
    queue_limit: int = 256
    model_limit_seconds: float = 60.0
    metrics_seconds: float = 60.0
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

    def start_time(self, name: str, instance_type: str) -> float:
        """Return how many seconds an instance takes to start: by `endpoint:NAME`, instance type, or default.

        The name may also be that of an inference component or a transform job.
        """
        named = self.start_seconds.get(f"endpoint:{name}", self.start_seconds.get(instance_type))
        return self.start_seconds.get("default", 0.2) if named is None else named

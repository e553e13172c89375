"""Transform jobs, through boto3."""

from functools import cached_property
from typing import TYPE_CHECKING

from tollgate.adapters.sagemaker.boto import ABSENT, boto_client, control_errors
from tollgate.ports.backends import TransformJob, TransformStatus
from tollgate.ports.objects import ObjectStore

if TYPE_CHECKING:
    from mypy_boto3_sagemaker import SageMakerClient

_MEGABYTE = 1_048_576
_MOST_MEGABYTES = 100
"""Of one record, and of all records that are worked on at the same time.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateTransformJob.html
"""

_RECORD_SECONDS = 600


class SageMakerTransform:
    """The `TransformBackend` of AWS. The client is made on first use, for boto3 is slow to import.

    Args:
        objects: the bucket of inputs and outputs.
        stack: value of the cost tag, by which bill and budgets find what a job costs.
    """

    def __init__(self, objects: ObjectStore, stack: str) -> None:
        self._objects = objects
        self._stack = stack

    @cached_property
    def _client(self) -> "SageMakerClient":
        client: SageMakerClient = boto_client("sagemaker")
        return client

    def start(self, job: TransformJob) -> None:
        """See `TransformBackend`."""
        megabytes = min(_MOST_MEGABYTES, max(1, -(-job.largest_record // _MEGABYTE)))
        with control_errors(f"transform job '{job.name}'", fine="ResourceInUse"):
            self._client.create_transform_job(
                TransformJobName=job.name,
                ModelName=job.road.target,
                MaxConcurrentTransforms=max(1, min(job.road.concurrency, _MOST_MEGABYTES // megabytes)),
                MaxPayloadInMB=megabytes,
                BatchStrategy="SingleRecord",
                ModelClientConfig={"InvocationsTimeoutInSeconds": _RECORD_SECONDS, "InvocationsMaxRetries": 1},
                TransformInput={
                    "DataSource": {
                        "S3DataSource": {
                            "S3DataType": "S3Prefix",
                            "S3Uri": self._objects.location_of(job.input_prefix),
                        }
                    },
                    "ContentType": job.content_type,
                    "SplitType": "Line",
                },
                TransformOutput={
                    "S3OutputPath": self._objects.location_of(job.output_prefix),
                    "Accept": "application/json",
                    "AssembleWith": "Line",
                },
                TransformResources={
                    "InstanceType": job.road.instance_type,  # type: ignore[typeddict-item]  # any of hundreds
                    "InstanceCount": job.road.instance_count,
                },
                DataProcessing={
                    "InputFilter": "$.body",
                    "OutputFilter": "$['id','SageMakerOutput']",
                    "JoinSource": "Input",
                },
                Tags=[{"Key": "InferenceType", "Value": "batch"}, {"Key": "tollgate:stack", "Value": self._stack}],
            )

    def describe(self, name: str) -> TransformStatus | None:
        """See `TransformBackend`."""
        from botocore.exceptions import ClientError  # noqa: PLC0415 -- see _client

        with control_errors(f"transform job '{name}'"):
            try:
                found = self._client.describe_transform_job(TransformJobName=name)
            except ClientError as error:
                # The name is always well formed, so a failed validation means that there is no such job.
                if error.response["Error"]["Code"] in ABSENT:
                    return None
                raise
        return TransformStatus(
            name=name,
            status=found["TransformJobStatus"],
            failure_reason=found.get("FailureReason"),
            started_at=found.get("TransformStartTime"),
            ended_at=found.get("TransformEndTime"),
        )

    def stop(self, name: str) -> None:
        """See `TransformBackend`."""
        from botocore.exceptions import ClientError  # noqa: PLC0415 -- see _client

        with control_errors(f"transform job '{name}'"):
            try:
                self._client.stop_transform_job(TransformJobName=name)
            except ClientError as error:
                if error.response["Error"]["Code"] not in ABSENT:
                    raise

"""What nearly every function needs."""

from tollgate.adapters.aws.transport import AwsTransport, TransportConfig
from tollgate.adapters.dynamodb.client import DynamoDBClient
from tollgate.adapters.system import SystemClock, TimeSortedIds
from tollgate.api.telemetry import Telemetry
from tollgate.settings import Settings, aws_environment


class Parts:
    """Clock, connections and telemetry of one execution environment."""

    def __init__(self, settings: Settings) -> None:
        self.clock = SystemClock()
        self.ids = TimeSortedIds()
        self.transport_config = TransportConfig.from_mapping(aws_environment())
        self.transport = AwsTransport(self.transport_config)
        self.tables = DynamoDBClient(self.transport)
        self.telemetry = Telemetry(
            namespace=settings.powertools_metrics_namespace,
            service=settings.powertools_service_name,
            level=settings.log_level,
        )

"""Processors, memory and GPUs of instance types, from AWS's pages on instance types and SageMaker's on hosting.

Only types that often host models are listed; for others the advice is "keep", because there is nothing to compare.
https://aws.amazon.com/ec2/instance-types/
"""

from collections.abc import Mapping
from dataclasses import dataclass

# Dense half-precision TFLOPS, from NVIDIA's data sheets: good enough to rank GPUs; measure before moving.
_GPU_TFLOPS: Mapping[str, float] = {"T4": 65.0, "A10G": 70.0, "L4": 121.0, "V100": 125.0}
_GPU_MEMORY_GB: Mapping[str, int] = {"T4": 16, "A10G": 24, "L4": 24, "V100": 16}


@dataclass(frozen=True, slots=True)
class InstanceShape:
    """One instance type; memory in GB, of a GPU each for `gpu_memory_gb`."""

    name: str
    vcpus: int
    memory_gb: int
    gpus: int = 0
    gpu: str = ""

    @property
    def family(self) -> str:
        """As in ``g5``."""
        return self.name.split(".")[1]

    @property
    def gpu_memory_gb(self) -> int:
        """Of all GPUs together."""
        return self.gpus * _GPU_MEMORY_GB.get(self.gpu, 0)

    @property
    def gpu_power(self) -> float:
        """Of all GPUs together, for comparing."""
        return self.gpus * _GPU_TFLOPS.get(self.gpu, 0.0)


def _sizes(family: str, gpu: str, *rows: tuple[str, int, int, int]) -> list[InstanceShape]:
    return [InstanceShape(f"ml.{family}.{size}", vcpus, memory, gpus, gpu) for size, vcpus, memory, gpus in rows]


def _gpu_sizes(family: str, gpu: str) -> list[InstanceShape]:
    """The one-GPU sizes and the first with four that the g families share."""
    return _sizes(
        family,
        gpu,
        ("xlarge", 4, 16, 1),
        ("2xlarge", 8, 32, 1),
        ("4xlarge", 16, 64, 1),
        ("8xlarge", 32, 128, 1),
        ("12xlarge", 48, 192, 4),
        ("16xlarge", 64, 256, 1),
    )


def _cpu_sizes(family: str, gb_per_vcpu: int, *sizes: tuple[str, int]) -> list[InstanceShape]:
    return _sizes(family, "", *((size, vcpus, vcpus * gb_per_vcpu, 0) for size, vcpus in sizes))


_GENERAL = (("large", 2), ("xlarge", 4), ("2xlarge", 8), ("4xlarge", 16), ("12xlarge", 48), ("24xlarge", 96))
_COMPUTE = (("large", 2), ("xlarge", 4), ("2xlarge", 8), ("4xlarge", 16), ("9xlarge", 36), ("18xlarge", 72))

SHAPES: Mapping[str, InstanceShape] = {
    shape.name: shape
    for shape in (
        *_cpu_sizes("m5", 4, *_GENERAL),
        *_cpu_sizes("c5", 2, *_COMPUTE),
        *_gpu_sizes("g4dn", "T4"),
        *_gpu_sizes("g5", "A10G"),
        *_gpu_sizes("g6", "L4"),
        *_sizes("p3", "V100", ("2xlarge", 8, 61, 1), ("8xlarge", 32, 244, 4), ("16xlarge", 64, 488, 8)),
    )
}

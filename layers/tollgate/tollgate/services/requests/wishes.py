"""What a caller may ask for about how a request is answered, beside the request itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tollgate.domain.choice.policy import CascadePolicy
    from tollgate.domain.trimming.policy import TrimmingPolicy


@dataclass(frozen=True, slots=True)
class Wishes:
    """The caller's wishes; nothing is one where it is None.

    Attributes:
        quality: the dial, 0..1, before the model's own.
        trim: how to trim.
        cascade: when a larger size is to be asked after all; True for the model's rules, False for never.
        conversation_id: requests with the same one stay with the same size and variant.
    """

    quality: float | None = None
    trim: TrimmingPolicy | None = None
    cascade: CascadePolicy | bool | None = None
    conversation_id: str = ""

    @property
    def chooses(self) -> bool:
        """Whether they ask for a choice among sizes where the model's owner did not."""
        return self.quality is not None or (self.cascade is not None and self.cascade is not False)

"""What a caller may ask for about how a request is answered, besides the request itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tollgate.domain.choice.policy import CascadePolicy
    from tollgate.domain.trimming.policy import TrimmingPolicy


@dataclass(frozen=True, slots=True)
class Wishes:
    """The caller's wishes. None means that the model's owner decides.

    Attributes:
        quality: the quality dial, 0 to 1.
        trim: how to trim the input.
        cascade: when to ask a larger size after all; True for the model's rules, False for never.
        conversation_id: requests with the same id stay with the same size and variant.
    """

    quality: float | None = None
    trim: TrimmingPolicy | None = None
    cascade: CascadePolicy | bool | None = None
    conversation_id: str = ""

    @property
    def chooses(self) -> bool:
        """Whether they ask for a choice among sizes, even where the model's owner did not."""
        return self.quality is not None or (self.cascade is not None and self.cascade is not False)

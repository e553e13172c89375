"""Catalogue versions in the registry table.

Items: pk ``catalogue``, sk ``version#00000012`` (a JSON document, never changed; packed if it is large) and sk
``current`` (a version number, and the stack's seal, which is made with the first one).
"""

import json
import os
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from tollgate.adapters.aws.errors import AwsError, ConditionalCheckFailedError
from tollgate.adapters.aws.translation import storage_errors
from tollgate.adapters.documents.catalogue import catalogue_document, catalogue_from_document
from tollgate.adapters.dynamodb.client import DynamoDBClient
from tollgate.adapters.dynamodb.large_text import packed, unpacked
from tollgate.domain.catalogue import Catalogue, InferenceType
from tollgate.domain.errors import CatalogueError, ConflictError, NoCatalogueError, StorageError
from tollgate.domain.jobs.job import Job

_PARTITION = "catalogue"
_CURRENT = {"pk": _PARTITION, "sk": "current"}
REFRESH_SECONDS = 15.0
"""How old the copy in an execution environment may get; an applied change is in force everywhere after this."""

_SOUGHT_SECONDS = 1.0
"""Between two readings for the sake of jobs of one version, of which there may be many after a roll-back."""


def _version_key(version: int) -> dict[str, str]:
    return {"pk": _PARTITION, "sk": f"version#{version:08d}"}


class RegistryCatalogue:
    """The catalogue in force, kept for 15 seconds.

    When the table cannot be read, an earlier copy goes on serving: an old catalogue is better than none.
    """

    def __init__(self, client: DynamoDBClient, table: str, monotonic: Callable[[], float]) -> None:
        self._client = client
        self._table = table
        self._monotonic = monotonic
        self._copy: Catalogue | None = None
        self._read_at = 0.0
        self._sought: dict[int, float] = {}
        self._earlier: Catalogue | None = None

    def current(self) -> Catalogue:
        """The catalogue in force.

        Raises:
            NoCatalogueError: none was applied yet.
            StorageError: it cannot be read and there is no earlier copy.
        """
        now = self._monotonic()
        if self._copy is not None and now - self._read_at < REFRESH_SECONDS:
            return self._copy
        try:
            self._copy = self._read(self._copy)
        except AwsError as error:
            if self._copy is None:
                raise StorageError(f"The catalogue cannot be read ({error.code}).", retry_after=5) from error
        self._read_at = now
        self._sought.clear()
        return self._copy

    def seen_by(self, job: Job) -> Catalogue:
        """The catalogue in force, read anew where the copy is of another version than the job was accepted with.

        Jobs of an older version have it read once a second at most: after a roll-back, theirs is in force again.

        Raises:
            NoCatalogueError: none was applied yet.
            StorageError: it cannot be read, and the copy is older than the job's.
        """
        copy, wanted = self.current(), job.catalogue_version
        now = self._monotonic()
        if wanted in {0, copy.version} or now < self._sought.get(wanted, now):
            return copy
        try:
            copy = self.newest()
        except StorageError:
            if copy.version < wanted:
                raise
        self._sought[wanted] = now + _SOUGHT_SECONDS
        return copy

    def knowing(self, resource: str, inference_type: InferenceType) -> Catalogue:
        """The catalogue in force, read anew before it is said that a deployment has no such road.

        Raises:
            NoCatalogueError: none was applied yet.
            StorageError: it cannot be read, and the copy does not have the road.
        """
        copy = self.current()
        return self.newest() if copy.way(resource, inference_type) is None else copy

    def of_version(self, version: int) -> Catalogue:
        """See `CatalogueSource`."""
        for copy in (self._copy, self._earlier):
            if copy is not None and copy.version == version:
                return copy
        try:
            self._earlier = self._stored(version)
        except AwsError as error:
            raise StorageError(f"The catalogue cannot be read ({error.code}).", retry_after=5) from error
        return self._earlier

    def newest(self) -> Catalogue:
        """The catalogue in force at this moment.

        Raises:
            NoCatalogueError: none was applied yet.
            StorageError: it cannot be read.
        """
        try:
            self._copy = self._read(self._copy, consistent=True)
        except AwsError as error:
            raise StorageError(f"The catalogue cannot be read ({error.code}).", retry_after=5) from error
        return self._copy

    def _read(self, copy: Catalogue | None, *, consistent: bool = False) -> Catalogue:
        pointer = self._client.get_item(self._table, _CURRENT, consistent=consistent)
        if pointer is None:
            raise NoCatalogueError("No catalogue was applied yet. Run: tollgate models apply models.toml")
        version = int(pointer["version"])
        if copy is not None and copy.version == version:
            return copy
        return self._stored(version)._replace(seal=pointer.get("seal", ""))

    def _stored(self, version: int) -> Catalogue:
        item = self._client.get_item(self._table, _version_key(version), consistent=True)
        if item is None:
            raise CatalogueError(f"Catalogue version {version} is missing from the registry.")
        try:
            return catalogue_from_document(json.loads(unpacked(item["document"]), parse_float=Decimal))
        except (KeyError, TypeError, ValueError) as error:
            # The code was rolled back, and the catalogue was not.
            raise CatalogueError(
                f"Catalogue version {version} was stored by another release of Tollgate, and this one cannot read it. "
                "Deploy that release, or run: tollgate models rollback VERSION"
            ) from error


class RegistryCatalogueWriter:
    """Stores new versions and moves the pointer; used by the command line."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def current_version(self) -> int:
        """Number of the version in force, 0 before the first."""
        with storage_errors("registry"):
            pointer = self._client.get_item(self._table, _CURRENT, consistent=True)
        return 0 if pointer is None else int(pointer["version"])

    def previous_version(self) -> int:
        """Number of the version that was in force before the one that is, 0 if there was none or nobody noted it."""
        with storage_errors("registry"):
            pointer = self._client.get_item(self._table, _CURRENT, consistent=True)
        return 0 if pointer is None else int(pointer.get("previous", 0))

    def newest_version(self) -> int:
        """Highest number stored, 0 before the first; after a roll-back it is above the one in force."""
        with storage_errors("registry"):
            page = self._client.query(
                self._table,
                key_condition="pk = :pk AND begins_with(sk, :prefix)",
                values={":pk": _PARTITION, ":prefix": "version#"},
                projection="sk",
                forward=False,
                limit=1,
                consistent=True,
            )
        return int(page.items[0]["sk"].removeprefix("version#")) if page.items else 0

    def document(self, version: int) -> Mapping[str, Any] | None:
        """The stored document of a version."""
        with storage_errors("registry"):
            item = self._client.get_item(self._table, _version_key(version), consistent=True)
        return None if item is None else json.loads(unpacked(item["document"]))

    def store(self, catalogue: Catalogue, *, now: datetime) -> None:
        """Store a new version; it is not yet in force.

        Raises:
            ConflictError: somebody else stored this number first.
        """
        item = {
            **_version_key(catalogue.version),
            "document": packed(json.dumps(catalogue_document(catalogue), separators=(",", ":"), sort_keys=True)),
            "created_at": now.isoformat(),
        }
        with storage_errors("registry"):
            try:
                self._client.put_item(self._table, item, condition="attribute_not_exists(pk)")
            except ConditionalCheckFailedError as error:
                raise ConflictError(f"Catalogue version {catalogue.version} exists already; apply again.") from error

    def ensure_seal(self) -> None:
        """Give the stack its seal, if its pointer is from a release that knew none."""
        with storage_errors("registry"):
            self._client.update_item(
                self._table,
                _CURRENT,
                update="SET seal = if_not_exists(seal, :seal)",
                condition="attribute_exists(pk)",
                values={":seal": os.urandom(16).hex()},
            )

    def point_to(self, version: int, *, expected: int) -> None:
        """Put a version in force, if the one in force is still the expected one (0 for none).

        Raises:
            ConflictError: somebody else moved the pointer.
        """
        condition = "attribute_not_exists(pk)" if expected == 0 else "version = :expected"
        with storage_errors("registry"):
            pointer = self._client.get_item(self._table, _CURRENT, consistent=True) or {}
            seal = pointer.get("seal") or os.urandom(16).hex()
            try:
                self._client.put_item(
                    self._table,
                    {**_CURRENT, "version": version, "previous": expected, "seal": seal},
                    condition=condition,
                    values=None if expected == 0 else {":expected": expected},
                )
            except ConditionalCheckFailedError as error:
                raise ConflictError("Another catalogue was applied at the same time; apply again.") from error

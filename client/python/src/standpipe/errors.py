"""The errors of the client."""

from __future__ import annotations

from typing import Any

import grpc

NO_EVENT = -1
"""AgentError.event of a request that was rejected as a whole."""

_FINAL = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)


class StandpipeError(Exception):
    """The base of all errors of this package."""


class BufferFull(StandpipeError):
    """A publisher's buffer had no room in the given time. The event is not sent."""


class Closed(StandpipeError):
    """The publisher is closed. Of an event without a response: whether it is stored is not known."""


class GivenUp(StandpipeError):
    """Events were without a response for as long as give_up. Whether they are stored is not known."""


class Unanswered(StandpipeError):
    """A flush or close ended before all events had their responses."""


class NotStored(StandpipeError):
    """Events were rejected since the last flush. The cause is the first one's error."""

    def __init__(self, text: str, count: int) -> None:
        super().__init__(text)
        self.count = count
        """The number of rejected events."""


class AgentError(StandpipeError):
    """The reason for which events are not stored, or for which this is not known."""

    def __init__(
        self,
        code: grpc.StatusCode,
        text: str,
        *,
        reason: str = "",
        event: int = NO_EVENT,
        retry_after: float = 0.0,
        next_sequence: int = 0,
    ) -> None:
        super().__init__(f"{code.name}: {text}")
        self.code = code
        self.text = text
        self.reason = reason
        """The agent's word, as "too_large" or "full". Empty: the error is not the agent's."""
        self.event = event
        """The index, from 0, of the event that breaks a rule in its request, or NO_EVENT."""
        self.retry_after = retry_after
        """The delay in seconds that the agent requests before a retry; 0: none."""
        self.next_sequence = next_sequence
        """The sequence that the agent expects, of a request that it rejected for its sequence; else 0."""

    @property
    def final(self) -> bool:
        """Whether the same request would be rejected again: nothing of it is stored.

        Other errors are worth a retry. Their outcome is unknown unless the text excludes it.
        """
        return self.code in _FINAL or self.too_large

    @property
    def too_large(self) -> bool:
        # The agent requests a delay when it has no room; without one the request is over its size.
        return self.code is grpc.StatusCode.RESOURCE_EXHAUSTED and self.retry_after == 0

    @property
    def unadmitted(self) -> bool:
        """Whether the agent rejected the sender, not an event."""
        return self.code in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)

    def alone(self) -> AgentError:
        """The error of the one event that it names."""
        text = self.text.removeprefix(f"event {self.event}: ")
        return AgentError(self.code, text, reason=self.reason, retry_after=self.retry_after)


def of_call(code: grpc.StatusCode, text: str | None, trailers: Any) -> AgentError:
    """The error of a call, with the details of its trailing metadata."""
    from google.rpc import error_details_pb2, status_pb2

    error = AgentError(code, text or "")
    for name, value in trailers or ():
        if name != "grpc-status-details-bin":
            continue
        status = status_pb2.Status()
        try:
            status.ParseFromString(value)
        except Exception:  # a proxy's
            continue
        for detail in status.details:
            if detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
                retry = error_details_pb2.RetryInfo()
                detail.Unpack(retry)
                error.retry_after = retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9
            elif detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
                info = error_details_pb2.ErrorInfo()
                detail.Unpack(info)
                error.reason = info.reason.lower()
                error.event = _number(info.metadata.get("event"), NO_EVENT)
                error.next_sequence = _number(info.metadata.get("next_sequence"), 0)
    return error


def of_rpc(error: grpc.RpcError) -> AgentError:
    """The error of a call that raised error."""
    code = getattr(error, "code", None)
    if code is None or code() is None:
        return AgentError(grpc.StatusCode.UNKNOWN, str(error))
    return of_call(code(), error.details(), error.trailing_metadata())


def _number(text: str | None, otherwise: int) -> int:
    return int(text) if text and text.isdigit() else otherwise

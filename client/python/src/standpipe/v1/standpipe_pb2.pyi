from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Ack(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ACK_UNSPECIFIED: _ClassVar[Ack]
    ACK_ACCEPTED: _ClassVar[Ack]
    ACK_DURABLE: _ClassVar[Ack]
    ACK_DELIVERED: _ClassVar[Ack]
ACK_UNSPECIFIED: Ack
ACK_ACCEPTED: Ack
ACK_DURABLE: Ack
ACK_DELIVERED: Ack

class ReadRequest(_message.Message):
    __slots__ = ("stream", "from_offset", "from_time_unix_nano", "from_oldest", "keys", "follow", "limit")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    FROM_OFFSET_FIELD_NUMBER: _ClassVar[int]
    FROM_TIME_UNIX_NANO_FIELD_NUMBER: _ClassVar[int]
    FROM_OLDEST_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    FOLLOW_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    stream: str
    from_offset: int
    from_time_unix_nano: int
    from_oldest: bool
    keys: _containers.RepeatedScalarFieldContainer[str]
    follow: bool
    limit: int
    def __init__(self, stream: _Optional[str] = ..., from_offset: _Optional[int] = ..., from_time_unix_nano: _Optional[int] = ..., from_oldest: bool = ..., keys: _Optional[_Iterable[str]] = ..., follow: bool = ..., limit: _Optional[int] = ...) -> None: ...

class ReadResponse(_message.Message):
    __slots__ = ("events", "next_offset", "end_offset")
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_OFFSET_FIELD_NUMBER: _ClassVar[int]
    END_OFFSET_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[StoredEvent]
    next_offset: int
    end_offset: int
    def __init__(self, events: _Optional[_Iterable[_Union[StoredEvent, _Mapping]]] = ..., next_offset: _Optional[int] = ..., end_offset: _Optional[int] = ...) -> None: ...

class StoredEvent(_message.Message):
    __slots__ = ("offset", "log_id", "event")
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    LOG_ID_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    offset: int
    log_id: str
    event: Event
    def __init__(self, offset: _Optional[int] = ..., log_id: _Optional[str] = ..., event: _Optional[_Union[Event, _Mapping]] = ...) -> None: ...

class StreamsRequest(_message.Message):
    __slots__ = ("pattern",)
    PATTERN_FIELD_NUMBER: _ClassVar[int]
    pattern: str
    def __init__(self, pattern: _Optional[str] = ...) -> None: ...

class StreamsResponse(_message.Message):
    __slots__ = ("streams",)
    STREAMS_FIELD_NUMBER: _ClassVar[int]
    streams: _containers.RepeatedCompositeFieldContainer[StreamInfo]
    def __init__(self, streams: _Optional[_Iterable[_Union[StreamInfo, _Mapping]]] = ...) -> None: ...

class StreamInfo(_message.Message):
    __slots__ = ("name", "next_offset")
    NAME_FIELD_NUMBER: _ClassVar[int]
    NEXT_OFFSET_FIELD_NUMBER: _ClassVar[int]
    name: str
    next_offset: int
    def __init__(self, name: _Optional[str] = ..., next_offset: _Optional[int] = ...) -> None: ...

class AppendRequest(_message.Message):
    __slots__ = ("stream", "events", "ack", "producer_id", "producer_sequence", "producer_next")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    PRODUCER_ID_FIELD_NUMBER: _ClassVar[int]
    PRODUCER_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    PRODUCER_NEXT_FIELD_NUMBER: _ClassVar[int]
    stream: str
    events: _containers.RepeatedCompositeFieldContainer[Event]
    ack: Ack
    producer_id: str
    producer_sequence: int
    producer_next: int
    def __init__(self, stream: _Optional[str] = ..., events: _Optional[_Iterable[_Union[Event, _Mapping]]] = ..., ack: _Optional[_Union[Ack, str]] = ..., producer_id: _Optional[str] = ..., producer_sequence: _Optional[int] = ..., producer_next: _Optional[int] = ...) -> None: ...

class Event(_message.Message):
    __slots__ = ("partition_key", "data", "time_unix_nano", "attributes")
    class AttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    PARTITION_KEY_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    TIME_UNIX_NANO_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    partition_key: str
    data: bytes
    time_unix_nano: int
    attributes: _containers.ScalarMap[str, str]
    def __init__(self, partition_key: _Optional[str] = ..., data: _Optional[bytes] = ..., time_unix_nano: _Optional[int] = ..., attributes: _Optional[_Mapping[str, str]] = ...) -> None: ...

class AppendResponse(_message.Message):
    __slots__ = ("first_offset", "count", "ack", "duplicate")
    FIRST_OFFSET_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    DUPLICATE_FIELD_NUMBER: _ClassVar[int]
    first_offset: int
    count: int
    ack: Ack
    duplicate: bool
    def __init__(self, first_offset: _Optional[int] = ..., count: _Optional[int] = ..., ack: _Optional[_Union[Ack, str]] = ..., duplicate: bool = ...) -> None: ...

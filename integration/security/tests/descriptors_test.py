import pytest
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError

from integration.security.descriptors import bad_fields, bad_messages
from integration.security.inputs import MARKER
from watertight.analytics.v1.analytics_pb2 import RecordUsageRequest
from watertight.events.v1.usage_pb2 import UsageEvent


def test_every_field_of_a_nested_message_is_tried() -> None:
    """Each field of the event in the request, and of the time in the event, has bad values."""
    tried = {what.split(" ")[0] for what, _ in bad_fields(RecordUsageRequest.DESCRIPTOR)}
    event = UsageEvent.DESCRIPTOR

    assert {f"event.{field.name}" for field in event.fields} <= tried
    assert {"event", "event.occurred_at.seconds", "event.occurred_at.nanos"} <= tried


def test_bad_value_has_the_last_word_beside_plain_ones() -> None:
    """What is refused only once all else is right is refused for the value that was meant."""
    found = dict(bad_messages(RecordUsageRequest.DESCRIPTOR))
    what = f"event.usage_id {MARKER * 2000!r:.30}"
    alone = RecordUsageRequest.FromString(found[what])
    beside = RecordUsageRequest.FromString(found[f"{what}, the rest plain"])

    assert alone.event.usage_id.startswith(MARKER)
    assert alone.event.usage_id == beside.event.usage_id
    assert (0, 1) == (alone.event.input_characters, beside.event.input_characters)


def test_garbage_is_no_value_of_its_field() -> None:
    """A text that is no UTF-8 does not parse."""
    found = dict(bad_fields(RecordUsageRequest.DESCRIPTOR))

    with pytest.raises(DecodeError):
        RecordUsageRequest.FromString(found["event.usage_id garbage"])


def test_type_without_bad_values_is_told() -> None:
    """A field of a type that nobody thought of fails the suite, which would pass it by."""
    file = FileDescriptorProto(name="new.proto", package="new")
    field = file.message_type.add(name="New").field.add(name="share", number=1)
    field.type = FieldDescriptorProto.TYPE_DOUBLE
    pool = DescriptorPool()
    pool.Add(file)

    with pytest.raises(NotImplementedError, match=r"new\.New\.share"):
        list(bad_fields(pool.FindMessageTypeByName("new.New")))

"""What can be wrong with an event."""

from __future__ import annotations

from crewmesh_kit.errors import InvalidRequest, NotFound, ValidationFailed


class EventWithoutOrganization(InvalidRequest):
    """An event on the topic must name its organization in the extension attribute crewmeshorg."""

    slug, title = "event-without-organization", "Event without organization"

    def __init__(self) -> None:
        super().__init__("The event does not say whose it is: set crewmeshorg to the organization's id.")


class UnstorableEvent(ValidationFailed):
    """The event is nested too deep, or holds text with U+0000 or half of a surrogate pair, which cannot be stored."""

    slug, title = "unstorable-event", "Unstorable event"

    def __init__(self, place: str, message: str) -> None:
        super().__init__(f"{place}: {message}. Correct it and send the event again.")


class UnfitEventType(ValidationFailed):
    """The event's type is one that only Crewmesh sends, or no type that CloudEvents has."""

    slug, title = "unfit-event-type", "Unfit event type"

    def __init__(self, wrong: str) -> None:
        super().__init__(f"The event cannot be taken: {wrong}.")


class NothingToRotate(NotFound):
    """The trigger is no webhook of this workflow, or it has no secret."""

    slug, title = "nothing-to-rotate", "Nothing to rotate"

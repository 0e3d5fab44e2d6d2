"""How talking fails, beyond the ways in which agents and models do."""

from __future__ import annotations

from crewmesh_kit.errors import Conflict, NotFound, PayloadTooLarge, UnsupportedMediaType, ValidationFailed


class ConversationNotFound(NotFound):
    """There is no such conversation, or it is somebody else's. ``GET /v1/conversations`` lists one's own."""

    slug, title = "conversation-not-found", "Conversation not found"

    def __init__(self, conversation: str) -> None:
        super().__init__(
            f"There is no conversation {conversation[:100]!r} of yours; GET /v1/conversations lists those there are."
        )


class ChatMessageNotFound(NotFound):
    """The conversation has no such message on any of its branches."""

    slug, title = "chat-message-not-found", "Message not found"

    def __init__(self, message: str) -> None:
        super().__init__(f"This conversation has no message {message[:100]!r}; its messages list those of the branch.")


class AttachmentNotFound(NotFound):
    """No such file is attached to the conversation. Attach it first."""

    slug, title = "attachment-not-found", "Attachment not found"

    def __init__(self, attachment: str) -> None:
        super().__init__(f"This conversation has no file {attachment[:100]!r}; its messages name those it has.")


class AnswerUnderWay(Conflict):
    """The conversation is being answered. Wait for the answer, or cancel it."""

    slug, title = "answer-under-way", "Answer under way"

    def __init__(self, answer: str) -> None:
        super().__init__(f"{answer} is being given; wait for it, or cancel it, and send this again.", answer=answer)


class NothingToCancel(Conflict):
    """No answer is under way in this conversation."""

    slug, title = "nothing-to-cancel", "Nothing to cancel"


class NoSuchContinuation(Conflict):
    """A message continues an answer or begins the conversation; an answer is given to a message of a person."""

    slug, title = "no-such-continuation", "Cannot continue there"


class ConversationFull(Conflict):
    """The conversation has as many messages, files, or bytes as it may. Begin another one."""

    slug, title = "conversation-full", "Conversation full"


class AttachmentRefused(UnsupportedMediaType):
    """The file is none that can be attached: text, Markdown, CSV, JSON, PNG, JPEG, GIF and WebP can."""

    slug, title = "attachment-refused", "Attachment refused"


class AttachmentTooLarge(PayloadTooLarge):
    """The file, or the image in it, is larger than what can be attached."""

    slug, title = "attachment-too-large", "Attachment too large"


class UnknownAttachment(ValidationFailed):
    """The message names a file that was not attached to this conversation. Attach it first."""

    slug, title = "unknown-attachment", "Unknown attachment"


class CrewTakesNoFiles(ValidationFailed):
    """The crew declares no input named documents, so that it could not read what is attached."""

    slug, title = "crew-takes-no-files", "The crew takes no files"


class CrewNotForChats(ValidationFailed):
    """The crew has inputs that no message can fill in: it needs exactly one that is required, or none."""

    slug, title = "crew-not-for-chats", "The crew cannot chat"


class AnswerLost(NotFound):
    """The work behind the answer was forgotten before it ended. Ask for the answer again."""

    slug, title, retryable = "answer-lost", "Answer lost", True

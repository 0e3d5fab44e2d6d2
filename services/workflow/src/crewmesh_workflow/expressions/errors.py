"""The errors of expressions.

ExpressionError            it cannot be read, or it has no value
└── NothingFoundError      what it names is not there; ``??`` goes on with something else
"""


class ExpressionError(ValueError):
    """An expression that cannot be read, or that has no value; the text says what to do."""


class NothingFoundError(ExpressionError):
    """A path that leads nowhere."""

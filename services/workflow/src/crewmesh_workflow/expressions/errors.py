"""The one error of expressions."""


class ExpressionError(ValueError):
    """An expression that cannot be read, or that finds nothing; the text says what to do."""

"""How many examples a property test draws."""

from hypothesis import settings

USUAL = 100  # what hypothesis draws where nobody says otherwise


def examples_of(number: int) -> int:
    """That many where the profile draws the usual number, and its share where it draws fewer.

    A number that stands in a test outdoes the profile's, so that a profile of few examples would
    be heeded by tests without a number only.
    """
    return max(number * min(settings.default.max_examples, USUAL) // USUAL, 1)

"""The exceptions that bad input raises, so that a caller can catch them all as one type."""


class VimnpError(ValueError):
    """Base of every error that a user's input can cause: a file, a picture or a setting."""


class ConfigError(VimnpError):
    """A configuration names something unknown, or its values do not go together."""


class WeightsError(VimnpError):
    """A ``.npz`` weights file is damaged, incomplete, hostile or of another network."""


class CheckpointError(VimnpError):
    """A PyTorch checkpoint cannot be read safely or is not a supported Vision Mamba."""


class HubError(VimnpError):
    """A name means no weights, or they cannot be fetched, or are not what they should be."""


class StateError(VimnpError):
    """A language model's state is of other weights, or a pass with it was interrupted."""


class ImageError(VimnpError):
    """A picture cannot be read, or an array is not a picture that the network takes."""


class CameraError(VimnpError):
    """A camera or a video cannot be opened, or gives no more pictures."""


class TextError(VimnpError):
    """A prompt, a tokenizer's file or a chat template cannot be used."""


def excerpt(reason: object, length: int = 100) -> str:
    """What another library says of a damaged file, fit for our message: cut short, and printable.

    It may echo what stands in the file, which is not for a terminal to obey.
    """
    text = str(reason)[:length]
    return "".join(character if character.isprintable() else "?" for character in text)
